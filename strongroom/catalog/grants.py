"""Grants in SQL: the principals that may and may not read a document, and a person as a filter.

Grants of a collection apply to each of its documents, grants of a document are added to them, and a denial wins.
Whoever changes a grant says so to the index in the same transaction (`note_change`), so that a crash loses nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import replace

from sqlalchemy import Connection, literal, select
from sqlalchemy.dialects.sqlite import insert

from strongroom.access import AccessFilter, group_principal, user_principal
from strongroom.catalog import walls
from strongroom.catalog.store import utc_now
from strongroom.catalog.tables import documents, grants, memberships, regrants, users
from strongroom.types import Effect, Right

Principals = tuple[frozenset[str], frozenset[str]]  # allowed, denied
BATCH = 500  # SQLite bounds the number of parameters

_NO_DOCUMENTS = frozenset({"auditor"})  # roles that read no document, whatever was granted


def add_grant(
    conn: Connection,
    principal: str,
    resource: str,
    resource_id: str,
    effect: Effect = "allow",
    *,
    right: Right = "read",
) -> None:
    """Add a grant; adding it twice changes nothing, and the right of one that is there stays as it is."""
    conn.execute(
        insert(grants)
        .values(
            id=str(uuid.uuid4()),
            principal=principal,
            resource=resource,
            resource_id=resource_id,
            effect=effect,
            right=right,
            created_at=utc_now(),
        )
        .on_conflict_do_nothing()
    )


def note_change(conn: Connection, resource: str, resource_id: str) -> None:
    """Put the documents that a changed grant is about on the list of those that the index must be told of."""
    change = str(uuid.uuid4())
    concerned = documents.c.id if resource == "document" else documents.c.collection_id
    rows = select(documents.c.id, literal(change)).where(concerned == resource_id)
    statement = insert(regrants).from_select(["document_id", "change"], rows)
    conn.execute(
        statement.on_conflict_do_update(index_elements=["document_id"], set_={"change": statement.excluded.change})
    )


def principals_by_resource(conn: Connection, resource_ids: Iterable[str]) -> dict[str, Principals]:
    """Allowed and denied principals of each resource (collections and documents alike)."""
    ids = list(dict.fromkeys(resource_ids))
    allow: dict[str, set[str]] = {i: set() for i in ids}
    deny: dict[str, set[str]] = {i: set() for i in ids}
    for at in range(0, len(ids), BATCH):
        rows = conn.execute(
            select(grants.c.resource_id, grants.c.principal, grants.c.effect).where(
                grants.c.resource_id.in_(ids[at : at + BATCH])
            )
        )
        for resource_id, principal, effect in rows:
            (allow if effect == "allow" else deny)[resource_id].add(principal)
    return {i: (frozenset(allow[i]), frozenset(deny[i])) for i in ids}


def document_principals(conn: Connection, document_id: str, collection_id: str) -> Principals:
    """Who may and may not read one document, its collection's grants included."""
    found = principals_by_resource(conn, (document_id, collection_id))
    return merge(found[document_id], found[collection_id])


def merge(a: Principals, b: Principals) -> Principals:
    """Who is allowed and who is denied by either, such as a document and its collection."""
    return a[0] | b[0], a[1] | b[1]


def may_write(conn: Connection, access: AccessFilter, collection_id: str, document_id: str | None = None) -> bool:
    """Whether a person may change a collection, or one of its documents: as for reading, with a grant to write."""
    ids = (collection_id,) if document_id is None else (collection_id, document_id)
    found = principals_by_resource(conn, ids)
    allow, deny = found[ids[0]] if len(ids) == 1 else merge(found[ids[0]], found[ids[1]])
    given = select(grants.c.principal).where(
        grants.c.resource_id.in_(ids), grants.c.effect == "allow", grants.c.right == "write"
    )
    writers = frozenset(conn.execute(given).scalars())
    return access.may_read(allow, deny) and bool(access.principals & writers)


def reader(conn: Connection, name: str) -> AccessFilter:
    """What a user may read now; nothing for an unknown user and for one whose role reads no documents."""
    return _reader(conn, conn.execute(select(users.c.id).where(users.c.name == name)).scalar())


def as_of_now(conn: Connection, access: AccessFilter) -> AccessFilter:
    """The filter, narrowed to what its person may still do in this snapshot: it may have been made a while ago."""
    ids = [p.removeprefix("user:") for p in access.principals if p.startswith("user:")]
    if len(ids) != 1:
        return access
    now = _reader(conn, ids[0])
    return replace(access, principals=access.principals & now.principals, barred=access.barred | now.barred)


def _reader(conn: Connection, user_id: str | None) -> AccessFilter:
    role = conn.execute(select(users.c.role).where(users.c.id == user_id)).scalar()
    if user_id is None or role is None or role in _NO_DOCUMENTS:
        return AccessFilter(frozenset())
    groups = groups_of(conn, user_id)
    barred = frozenset(map(group_principal, walls.beyond(conn, groups)))
    return AccessFilter(frozenset({user_principal(user_id), *map(group_principal, groups)}), barred=barred)


def groups_of(conn: Connection, user_id: str) -> frozenset[str]:
    """The groups that a person is in."""
    return frozenset(conn.execute(select(memberships.c.group_name).where(memberships.c.user_id == user_id)).scalars())
