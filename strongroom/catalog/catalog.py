"""`Catalog`: the truth about documents, in one object put together from its parts."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from strongroom.access import LOCAL_USER
from strongroom.catalog.approving import ApprovingMixin
from strongroom.catalog.clearing import ClearingMixin
from strongroom.catalog.detail import DetailMixin
from strongroom.catalog.granting import GrantingMixin
from strongroom.catalog.holding import HoldingMixin, refuse_if_held
from strongroom.catalog.keeping import KeepingMixin
from strongroom.catalog.learning import LearningMixin
from strongroom.catalog.reading import ReadingMixin
from strongroom.catalog.records import Collection
from strongroom.catalog.store import utc_now
from strongroom.catalog.tables import (
    chunks,
    collections,
    deletions,
    documents,
    memberships,
    users,
    versions,
)
from strongroom.catalog.tables import (
    grants as grants_table,
)
from strongroom.catalog.watching import WatchingMixin
from strongroom.catalog.working import WorkingMixin
from strongroom.errors import NotFoundError, UsageError
from strongroom.types import DeletionReceipt

OUT_OF_REACH = (
    "backups of the key store made before this deletion, until they expire",
    "blocks that flash storage has remapped",
)


class Catalog(
    KeepingMixin,
    WorkingMixin,
    GrantingMixin,
    ClearingMixin,
    WatchingMixin,
    HoldingMixin,
    ApprovingMixin,
    LearningMixin,
    DetailMixin,
    ReadingMixin,
):
    """Documents, versions, chunks, grants. Thread-safe; one process writes at a time (the data directory's lock)."""

    # ------------------------------------------------------------------------------------------------ collections

    def ensure_collection(self, name: str, *, owner: str = LOCAL_USER) -> Collection:
        """The collection of that name, made (and granted to `owner` alone) if it does not exist."""
        name_mac = self.vault.mac("collection", name)
        with self.store.write() as conn:
            found = conn.execute(select(collections.c.id).where(collections.c.name_mac == name_mac)).scalar()
            if found is not None:
                return Collection(found, name)
            return self._new_collection(conn, name, owner=owner)

    def collection(self, name: str) -> Collection:
        """The collection of that name. Raises `NotFoundError`."""
        with self.store.read() as conn:
            found = conn.execute(
                select(collections.c.id).where(collections.c.name_mac == self.vault.mac("collection", name))
            ).scalar()
        if found is None:
            raise NotFoundError(f"collection {name!r} does not exist", hint="`strongroom collections` lists them.")
        return Collection(found, name)

    def collections(self) -> list[Collection]:
        """Every collection, by name. For those who administer; what a user may see goes through `documents`."""
        with self.store.read() as conn:
            rows = conn.execute(select(collections.c.id, collections.c.name)).all()
        named = [Collection(r.id, self.vault.open_text(r.name, f"collections.name:{r.id}")) for r in rows]
        return sorted(named, key=lambda c: c.name.casefold())

    # ------------------------------------------------------------------------------------------------ users

    def ensure_user(self, name: str, role: str, groups: tuple[str, ...] = ()) -> str:
        """Make a user unless one of that name exists; returns the id."""
        with self.store.write() as conn:
            conn.execute(
                upsert(users)
                .values(id=str(uuid.uuid4()), name=name, role=role, created_at=utc_now())
                .on_conflict_do_nothing()
            )
            user_id = conn.execute(select(users.c.id).where(users.c.name == name)).scalar_one()
            for group in groups:
                conn.execute(upsert(memberships).values(user_id=user_id, group_name=group).on_conflict_do_nothing())
        return str(user_id)

    def role(self, name: str) -> str | None:
        """The role of a user, or `None` for an unknown one."""
        with self.store.read() as conn:
            return conn.execute(select(users.c.role).where(users.c.name == name)).scalar()

    def people(self) -> list[tuple[str, str]]:
        """`(name, role)` of every user, by name."""
        with self.store.read() as conn:
            return [(row.name, row.role) for row in conn.execute(select(users).order_by(users.c.name))]

    # ------------------------------------------------------------------------------------------------ deletion

    def key_of(self, document_id: str) -> str:
        """Id of the document's data key. Raises `NotFoundError`."""
        with self.store.read() as conn:
            key_id = conn.execute(select(documents.c.key_id).where(documents.c.id == document_id)).scalar()
        if key_id is None:
            raise NotFoundError(f"document {document_id} does not exist", hint="It may have been deleted.")
        return str(key_id)

    def delete_document(self, document_id: str, *, by: str, bury: bool = True) -> DeletionReceipt:
        """Remove the rows of a document and of those inside it, and destroy their keys; points go on the removal list.

        With `bury`, its content is remembered by fingerprint, so that a later ingest of the same file leaves it out.

        The rows and the ledger entries go in one transaction; the keys are destroyed right after it, and
        `finish_deletions` repeats that after a crash in between. Raises `NotFoundError`, and `HeldError` under a hold.
        """
        with self.store.write() as conn:
            row = conn.execute(select(documents.c.collection_id).where(documents.c.id == document_id)).first()
            if row is None:
                raise NotFoundError(f"document {document_id} does not exist", hint="It may have been deleted already.")
            refuse_if_held(conn, document_id, (row.collection_id, *self._inside(conn, [document_id])))
            if bury:
                self._bury(conn, document_id)
                held_by = select(documents.c.parent_version_id).where(documents.c.id == document_id)
                self._one_less(conn, conn.execute(held_by).scalar())
            members = self._inside(conn, [document_id])
            keys, destroyed = [], Counter[str]()
            for each in [document_id, *members]:
                key_id, counts = self._delete_rows(conn, each, by=by)
                keys.append(key_id)
                destroyed.update(counts)
            now = utc_now()
        self.vault.keys.destroy(keys)
        return DeletionReceipt(
            document_id, datetime.fromisoformat(now), by, dict(destroyed), OUT_OF_REACH, tuple(members)
        )

    def finish_deletions(self) -> int:
        """Destroy keys that a crash left behind a committed deletion; returns how many there were."""
        with self.store.read() as conn:
            key_ids = list(conn.execute(select(deletions.c.key_id)).scalars())
        return self.vault.keys.destroy(set(key_ids) & self.vault.keys.ids())

    def replay_deletions(self, destroyed: set[str], *, by: str) -> list[str]:
        """Delete documents whose keys are known to be destroyed: they came back with an older copy of the data.

        A key that is merely missing proves nothing; such documents are left for `verify` to report.
        """
        with self.store.write() as conn:
            rows = conn.execute(select(documents.c.id, documents.c.key_id)).all()
            gone = [row.id for row in rows if row.key_id in destroyed]
            for document_id in gone:
                self._delete_rows(conn, document_id, by=by)
        return gone

    def unsettled_deletions(self) -> list[DeletionReceipt]:
        """Deletions whose receipt was not signed yet: what follows from them may not all have been done."""
        with self.store.read() as conn:
            rows = conn.execute(select(deletions).where(deletions.c.receipt.is_(None))).all()
        return [
            DeletionReceipt(
                row.document_id, datetime.fromisoformat(row.at), row.by, json.loads(row.destroyed), OUT_OF_REACH
            )
            for row in rows
        ]

    def keep_receipts(self, receipts: Mapping[str, str]) -> None:
        """Store signed receipts (JSON) by document id."""
        with self.store.write() as conn:
            for document_id, receipt in receipts.items():
                conn.execute(update(deletions).where(deletions.c.document_id == document_id).values(receipt=receipt))

    def receipts(self) -> list[str]:
        """Every signed receipt (JSON), oldest first."""
        signed = deletions.c.receipt.is_not(None)
        with self.store.read() as conn:
            return list(conn.execute(select(deletions.c.receipt).where(signed).order_by(deletions.c.at)).scalars())

    def deleted_keys(self) -> dict[str, str]:
        """Ids of the keys that deletions destroyed, by document id (for `verify`)."""
        with self.store.read() as conn:
            return {row.document_id: row.key_id for row in conn.execute(select(deletions))}

    def delete_collection(self, collection_id: str) -> None:
        """Remove an empty collection with its grants and rules. Raises `UsageError` while it has documents."""
        with self.store.write() as conn:
            if conn.execute(select(documents.c.id).where(documents.c.collection_id == collection_id)).first():
                raise UsageError("the collection has documents", hint="Delete them first.")
            conn.execute(delete(grants_table).where(grants_table.c.resource_id == collection_id))
            conn.execute(delete(collections).where(collections.c.id == collection_id))

    # ------------------------------------------------------------------------------------------------ facts

    def chunk_ids(self, version_id: str) -> set[str]:
        """Ids of a version's chunks (for `verify`)."""
        with self.store.read() as conn:
            return set(conn.execute(select(chunks.c.id).where(chunks.c.version_id == version_id)).scalars())

    def version_files(self) -> list[tuple[str, str, str]]:
        """`(document id, version id, state)` of every version (for `verify` of the originals)."""
        with self.store.read() as conn:
            rows = conn.execute(select(versions.c.document_id, versions.c.id, versions.c.state)).all()
        return [(r.document_id, r.id, r.state) for r in rows]

    def close(self) -> None:
        self.store.close()
