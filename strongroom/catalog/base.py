"""What the catalogue's parts share: the store, the vault, look-up fingerprints."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, select
from sqlalchemy.dialects.sqlite import insert as upsert

from strongroom.catalog.store import Store
from strongroom.catalog.tables import documents, meta, versions
from strongroom.crypto import Vault


class CatalogBase:
    """State of `Catalog`; its methods live in the modules beside this one, by who calls them."""

    def __init__(self, store: Store, vault: Vault) -> None:
        self.store = store
        self.vault = vault

    def _source_mac(self, uri: str) -> bytes:
        return self.vault.mac("source", uri)

    def _inside(self, conn: Connection, document_ids: Sequence[str]) -> list[str]:
        """Ids of the documents inside these, at any depth, outer ones first."""
        found: list[str] = []
        above = list(document_ids)
        while above:
            batch, above = above[:500], above[500:]
            below = list(conn.execute(select(documents.c.id).where(documents.c.parent_id.in_(batch))).scalars())
            found += below
            above += below
        return found

    def _key_of_version(self, conn: Connection, version_id: str) -> str | None:
        """Id of the key of the document that has this version; `None` when it was deleted or replaced."""
        query = select(documents.c.key_id).join(versions, versions.c.document_id == documents.c.id)
        return conn.execute(query.where(versions.c.id == version_id)).scalar()

    def get_meta(self, key: str) -> str | None:
        with self.store.read() as conn:
            return conn.execute(select(meta.c.value).where(meta.c.key == key)).scalar()

    def set_meta(self, key: str, value: str) -> None:
        with self.store.write() as conn:
            statement = upsert(meta).values(key=key, value=value)
            conn.execute(statement.on_conflict_do_update(index_elements=["key"], set_={"value": value}))
