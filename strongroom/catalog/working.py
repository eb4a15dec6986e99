"""Work that was done for a document and is kept for the next time: sealed under the document's key, gone with it.

A row belongs to a version, so work on an older one is never taken for work on this one. Callers have checked that the
asker may read the document.
"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.dialects.sqlite import insert as upsert

from strongroom.catalog.base import CatalogBase
from strongroom.catalog.store import utc_now
from strongroom.catalog.tables import works


class WorkingMixin(CatalogBase):
    """Methods of `Catalog` for work over whole documents."""

    def kept_work(self, version_id: str, name: str) -> str | None:
        """What was kept for a version under this name."""
        found = self.vault.mac("work", name)
        with self.store.read() as conn:
            body = conn.execute(
                select(works.c.body).where(works.c.version_id == version_id, works.c.name_mac == found)
            ).scalar()
        return None if body is None else self.vault.open_text(body, f"works.body:{version_id}/{found.hex()}")

    def keep_work(self, version_id: str, name: str, body: str) -> None:
        """Keep it, in place of what was there. Does nothing for a version that is gone."""
        name_mac = self.vault.mac("work", name)
        with self.store.write() as conn:
            key_id = self._key_of_version(conn, version_id)
            if key_id is None:
                return
            sealed = self.vault.seal_text(key_id, body, f"works.body:{version_id}/{name_mac.hex()}")
            row = upsert(works).values(version_id=version_id, name_mac=name_mac, body=sealed, at=utc_now())
            conn.execute(
                row.on_conflict_do_update(
                    index_elements=["version_id", "name_mac"], set_={"body": row.excluded.body, "at": row.excluded.at}
                )
            )
