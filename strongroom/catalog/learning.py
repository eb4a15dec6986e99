"""Readers trained on approved answers, and on which documents. The weights are files; here is what is known of them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from strongroom.access import AccessFilter
from strongroom.catalog import grants
from strongroom.catalog.base import CatalogBase
from strongroom.catalog.store import utc_now
from strongroom.catalog.tables import documents, reader_sources, readers
from strongroom.types import TrainedReader


def retire_readers(conn: Connection, document_id: str) -> None:
    """Mark what was trained on a document that is being deleted, in the same transaction."""
    trained = select(reader_sources.c.reader_id).where(reader_sources.c.document_id == document_id)
    conn.execute(update(readers).where(readers.c.id.in_(trained)).values(state="stale"))


class LearningMixin(CatalogBase):
    """Methods of `Catalog` for readers of our own training."""

    def begin_reader(self, document_ids: Iterable[str]) -> str:
        """Record, before training begins, what a reader will be trained on; returns its id."""
        reader_id = str(uuid.uuid4())
        with self.store.write() as conn:
            conn.execute(insert(readers).values(id=reader_id, state="candidate", at=utc_now(), scores="{}"))
            conn.execute(
                insert(reader_sources),
                [{"reader_id": reader_id, "document_id": d} for d in dict.fromkeys(document_ids)],
            )
        return reader_id

    def settle_reader(self, reader_id: str, *, use: bool, scores: Mapping[str, float]) -> str:
        """Put a candidate into use in place of the one before it, or discard it; returns the state that it has now.

        A candidate that became stale while it was trained stays stale.
        """
        with self.store.write() as conn:
            mine = (readers.c.id == reader_id) & (readers.c.state == "candidate")
            if use and conn.execute(select(readers.c.id).where(mine)).scalar() is not None:
                conn.execute(update(readers).where(readers.c.state == "in use").values(state="rolled back"))
            values = {"state": "in use" if use else "discarded", "scores": json.dumps(dict(scores), sort_keys=True)}
            conn.execute(update(readers).where(mine).values(**values))
            return str(conn.execute(select(readers.c.state).where(readers.c.id == reader_id)).scalar_one())

    def roll_reader_back(self) -> str | None:
        """Take the trained reader out of use; the product's own answers again. Returns its id, `None` without one."""
        current = self.current_reader()
        with self.store.write() as conn:
            conn.execute(update(readers).where(readers.c.state == "in use").values(state="rolled back"))
        return current

    def current_reader(self) -> str | None:
        """Id of the trained reader in use."""
        with self.store.read() as conn:
            found: str | None = conn.execute(select(readers.c.id).where(readers.c.state == "in use")).scalar()
        return found

    def reader_documents(self, reader_id: str) -> set[str]:
        """Ids of the documents that a reader was trained on."""
        with self.store.read() as conn:
            mine = reader_sources.c.reader_id == reader_id
            return set(conn.execute(select(reader_sources.c.document_id).where(mine)).scalars())

    def may_use_reader(self, reader_id: str, access: AccessFilter) -> bool:
        """Whether `access` reads every document that a reader was trained on: its weights are made of their words."""
        with self.store.read() as conn:
            whole = replace(grants.as_of_now(conn, access), collections=None)
            rows = conn.execute(
                select(reader_sources.c.document_id, documents.c.collection_id)
                .outerjoin(documents, documents.c.id == reader_sources.c.document_id)
                .where(reader_sources.c.reader_id == reader_id)
            ).all()
            if not rows or any(row.collection_id is None for row in rows):
                return False
            found = grants.principals_by_resource(conn, {i for row in rows for i in row})
        return all(whole.may_read(*grants.merge(found[row.document_id], found[row.collection_id])) for row in rows)

    def readers(self) -> list[TrainedReader]:
        """Every reader trained here, oldest first."""
        with self.store.read() as conn:
            rows = conn.execute(select(readers).order_by(readers.c.at, readers.c.id)).all()
            sources = conn.execute(select(reader_sources.c.reader_id)).scalars().all()
        return [
            TrainedReader(
                row.id, row.state, datetime.fromisoformat(row.at), sources.count(row.id), json.loads(row.scores)
            )
            for row in rows
        ]
