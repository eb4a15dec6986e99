"""Two-person approval: what one person asked for and another allowed. Must not decide who may do either."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, func, insert, or_, select, update

from strongroom.access import AccessFilter
from strongroom.catalog import grants
from strongroom.catalog.base import CatalogBase
from strongroom.catalog.store import utc_now
from strongroom.catalog.tables import clearances, collections, deletions, users
from strongroom.crypto import CATALOGUE_KEY
from strongroom.errors import NotFoundError, NotPermittedError, UsageError
from strongroom.types import Clearance, TwoPersonAction

LASTS = timedelta(hours=72)  # to be decided, and to be used
LONGEST_REASON = 1_000  # characters


class ClearingMixin(CatalogBase):
    """Methods of `Catalog` for what needs two people."""

    def ask_clearance(
        self, action: TwoPersonAction, *, collection_id: str, document_id: str | None, reason: str, by: str
    ) -> Clearance:
        """Enter a request. Raises `UsageError` without a reason."""
        if not 0 < len(reason.strip()) <= LONGEST_REASON:
            raise UsageError("a reason is needed", hint=f"Say why, in at most {LONGEST_REASON:,} characters.")
        clearance_id, now = str(uuid.uuid4()), datetime.now(UTC)
        with self.store.write() as conn:
            conn.execute(
                insert(clearances).values(
                    id=clearance_id,
                    action=action,
                    collection_id=collection_id,
                    document_id=document_id,
                    reason=self.vault.seal_text(CATALOGUE_KEY, reason.strip(), f"clearances.reason:{clearance_id}"),
                    by=_user_id(conn, by),
                    at=now.isoformat(timespec="microseconds"),
                    expires=(now + LASTS).isoformat(timespec="microseconds"),
                )
            )
        return self.clearance(clearance_id)

    def clearance(self, clearance_id: str) -> Clearance:
        """Raises `NotFoundError`."""
        found = [c for c in self.clearances() if c.id == clearance_id]
        if not found:
            raise NotFoundError(
                f"clearance {clearance_id} does not exist", hint="`strongroom clearances list` shows them."
            )
        return found[0]

    def clearances(self) -> list[Clearance]:
        """Every request, oldest first."""
        with self.store.read() as conn:
            rows = conn.execute(select(clearances).order_by(clearances.c.at, clearances.c.id)).all()
            people = {r.id: r.name for r in conn.execute(select(users.c.id, users.c.name))}
            names = {r.id: r.name for r in conn.execute(select(collections.c.id, collections.c.name))}
        opened = {i: self.vault.open_text(name, f"collections.name:{i}") for i, name in names.items()}
        return [self._clearance(row, people, opened.get(row.collection_id, "")) for row in rows]

    def decide_clearance(self, clearance_id: str, *, allow: bool, by: str) -> Clearance:
        """Allow or deny a request. Raises `NotPermittedError` for whoever made it, `UsageError` when it is too late."""
        with self.store.write() as conn:
            row = conn.execute(select(clearances).where(clearances.c.id == clearance_id)).first()
            if row is None:
                raise NotFoundError(f"clearance {clearance_id} does not exist", hint="Look at the list.")
            decider = _user_id(conn, by)
            if row.by == decider:
                raise NotPermittedError("nobody decides on a request of their own", hint="Ask a second person.")
            if row.decision is not None or row.expires <= utc_now():
                raise UsageError(f"clearance {clearance_id} is no longer open", hint="Ask for a new one.")
            values = {"decision": "allowed" if allow else "denied", "decided_by": decider, "decided_at": utc_now()}
            conn.execute(update(clearances).where(clearances.c.id == clearance_id).values(values))
        return self.clearance(clearance_id)

    def cleared(self, action: TwoPersonAction, collection: str, document_id: str | None, *, by: str) -> str | None:
        """Id of a clearance in force that lets `by` do this with the collection of that name, or with one document."""
        with self.store.read() as conn:
            whole = clearances.c.document_id.is_(None)
            covers = whole if document_id is None else or_(whole, clearances.c.document_id == document_id)
            place = select(collections.c.id).where(collections.c.name_mac == self.vault.mac("collection", collection))
            found: str | None = conn.execute(
                select(clearances.c.id).where(
                    clearances.c.action == action,
                    clearances.c.collection_id == place.scalar_subquery(),
                    covers,
                    clearances.c.by == select(users.c.id).where(users.c.name == by).scalar_subquery(),
                    clearances.c.decided_by != clearances.c.by,
                    clearances.c.decision == "allowed",
                    clearances.c.expires > utc_now(),
                )
            ).scalar()
        return found

    def deleted_lately(self, by: str) -> int:
        """How many documents a person deleted in the last 24 hours."""
        since = (datetime.now(UTC) - timedelta(hours=24)).isoformat(timespec="microseconds")
        with self.store.read() as conn:
            mine = (deletions.c.by == by, deletions.c.at > since)
            return int(conn.execute(select(func.count()).select_from(deletions).where(*mine)).scalar_one())

    def may_decide(self, access: AccessFilter, clearance: Clearance) -> bool:
        """Whether a person may write what a request is about."""
        with self.store.read() as conn:
            row = conn.execute(select(clearances).where(clearances.c.id == clearance.id)).first()
            return row is not None and grants.may_write(
                conn, grants.as_of_now(conn, access), row.collection_id, row.document_id
            )

    def _clearance(self, row: Row[Any], people: dict[str, str], collection: str) -> Clearance:
        at, expires = datetime.fromisoformat(row.at), datetime.fromisoformat(row.expires)
        state: Any = row.decision or "waiting"
        if expires <= datetime.now(UTC) and state != "denied":
            state = "expired"
        return Clearance(
            id=row.id,
            action=row.action,
            collection=collection,
            document=row.document_id,
            reason=self.vault.open_text(row.reason, f"clearances.reason:{row.id}"),
            by=people.get(row.by, row.by),
            at=at,
            expires=expires,
            state=state,
            decided_by=row.decided_by and people.get(row.decided_by, row.decided_by),
            decided_at=row.decided_at and datetime.fromisoformat(row.decided_at),
        )


def _user_id(conn: Connection, name: str) -> str:
    found = conn.execute(select(users.c.id).where(users.c.name == name)).scalar()
    if found is None:
        raise NotFoundError(f"user {name!r} does not exist", hint="Check the name.")
    return str(found)
