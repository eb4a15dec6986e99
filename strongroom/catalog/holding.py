"""What must be kept and for how long: legal holds and retention rules. Must not delete anything itself.

A hold on a collection holds each of its documents. Whoever removes a document or replaces its content asks
`refuse_if_held` inside the same transaction, so that a hold counts from its commit.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, delete, insert, select
from sqlalchemy.dialects.sqlite import insert as upsert

from strongroom.catalog.base import CatalogBase
from strongroom.catalog.store import utc_now
from strongroom.catalog.tables import collections, documents, holds, retention
from strongroom.crypto import CATALOGUE_KEY
from strongroom.errors import HeldError, NotFoundError
from strongroom.types import Hold, Retention


def hold_on(conn: Connection, resource_ids: Iterable[str]) -> str | None:
    """Id of a hold on any of these documents or collections."""
    ids = list(resource_ids)
    for at in range(0, len(ids), 500):  # SQLite bounds the number of parameters
        found = conn.execute(select(holds.c.id).where(holds.c.resource_id.in_(ids[at : at + 500]))).scalar()
        if found is not None:
            return str(found)
    return None


def refuse_if_held(conn: Connection, document_id: str, others: Iterable[str]) -> None:
    """Raise `HeldError` when a hold covers the document; `others` are its collection and the documents inside it."""
    found = hold_on(conn, (document_id, *others))
    if found is not None:
        raise HeldError(
            f"document {document_id} is under legal hold {found}",
            hint="It is kept as it is until the hold is lifted: `strongroom holds list`.",
        )


class HoldingMixin(CatalogBase):
    """Methods of `Catalog` for whoever answers for what is kept."""

    def place_hold(self, resource: str, resource_id: str, *, reason: str, by: str) -> Hold:
        """Hold a `document` or a `collection` by id. Raises `NotFoundError` for one that does not exist."""
        hold_id, now = str(uuid.uuid4()), utc_now()
        table = documents if resource == "document" else collections
        with self.store.write() as conn:
            if conn.execute(select(table.c.id).where(table.c.id == resource_id)).scalar() is None:
                raise NotFoundError(f"{resource} {resource_id} does not exist", hint="Check the id.")
            sealed = self.vault.seal_text(CATALOGUE_KEY, reason, f"holds.reason:{hold_id}")
            conn.execute(
                insert(holds).values(
                    id=hold_id, resource=resource, resource_id=resource_id, reason=sealed, by=by, at=now
                )
            )
        return Hold(hold_id, resource, resource_id, reason, by, datetime.fromisoformat(now))

    def lift_hold(self, hold_id: str) -> None:
        """Lift a hold. Raises `NotFoundError`."""
        with self.store.write() as conn:
            if not conn.execute(delete(holds).where(holds.c.id == hold_id)).rowcount:
                raise NotFoundError(f"hold {hold_id} does not exist", hint="`strongroom holds list` shows them.")

    def refuse_held(self, resource_ids: Sequence[str]) -> None:
        """Raise `HeldError` when a hold covers one of these documents or collections, or a document's collection."""
        with self.store.read() as conn:
            above = set(resource_ids)
            for at in range(0, len(resource_ids), 500):
                batch = documents.c.id.in_(resource_ids[at : at + 500])
                above |= set(conn.execute(select(documents.c.collection_id).where(batch)).scalars())
            found = hold_on(conn, above)
        if found is not None:
            raise HeldError(f"legal hold {found} keeps this as it is", hint="`strongroom holds list` shows it.")

    def holds(self) -> list[Hold]:
        """Every hold, oldest first."""
        with self.store.read() as conn:
            rows = conn.execute(select(holds).order_by(holds.c.at)).all()
        return [
            Hold(
                row.id,
                row.resource,
                row.resource_id,
                self.vault.open_text(row.reason, f"holds.reason:{row.id}"),
                row.by,
                datetime.fromisoformat(row.at),
            )
            for row in rows
        ]

    def keep_for(self, collection_id: str, days: int | None) -> None:
        """Set how many days a collection's documents are kept after they last changed; `None` keeps them for good."""
        with self.store.write() as conn:
            conn.execute(delete(retention).where(retention.c.collection_id == collection_id))
            if days is not None:
                conn.execute(upsert(retention).values(collection_id=collection_id, keep_days=days))

    def retention(self) -> list[Retention]:
        """The rules in force, by collection."""
        with self.store.read() as conn:
            rows = conn.execute(
                select(retention, collections.c.name).join(collections, collections.c.id == retention.c.collection_id)
            ).all()
        return [
            Retention(
                row.collection_id,
                self.vault.open_text(row.name, f"collections.name:{row.collection_id}"),
                row.keep_days,
            )
            for row in rows
        ]

    def outlived(self, now: datetime | None = None) -> list[str]:
        """Ids of documents that have been kept longer than their collection's rule says, oldest first."""
        now = now or datetime.now(UTC)
        found: list[tuple[str, str]] = []
        with self.store.read() as conn:
            for rule in conn.execute(select(retention)).all():
                limit = (now - timedelta(days=rule.keep_days)).isoformat(timespec="microseconds")
                rows = conn.execute(
                    select(documents.c.updated_at, documents.c.id).where(
                        documents.c.collection_id == rule.collection_id, documents.c.updated_at < limit
                    )
                )
                found += [(row.updated_at, row.id) for row in rows]
        return [document_id for _, document_id in sorted(found)]
