"""Grants in SQL: the principals that may and may not read a document, and a person's principals.

Grants of a collection apply to each of its documents, grants of a document are added to them, and a denial wins.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from sqlalchemy import Connection, select
from sqlalchemy.dialects.sqlite import insert

from strongroom.access import group_principal, user_principal
from strongroom.catalog.store import utc_now
from strongroom.catalog.tables import grants, memberships, users

Principals = tuple[frozenset[str], frozenset[str]]  # allowed, denied


def add_grant(conn: Connection, principal: str, resource: str, resource_id: str, effect: str = "allow") -> None:
    """Add a grant; adding it twice changes nothing."""
    conn.execute(
        insert(grants)
        .values(
            id=str(uuid.uuid4()),
            principal=principal,
            resource=resource,
            resource_id=resource_id,
            effect=effect,
            created_at=utc_now(),
        )
        .on_conflict_do_nothing()
    )


def principals_by_resource(conn: Connection, resource_ids: Iterable[str]) -> dict[str, Principals]:
    """Allowed and denied principals of each resource (collections and documents alike)."""
    ids = list(dict.fromkeys(resource_ids))
    allow: dict[str, set[str]] = {i: set() for i in ids}
    deny: dict[str, set[str]] = {i: set() for i in ids}
    for at in range(0, len(ids), 500):  # SQLite bounds the number of parameters
        rows = conn.execute(
            select(grants.c.resource_id, grants.c.principal, grants.c.effect).where(
                grants.c.resource_id.in_(ids[at : at + 500])
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
    return a[0] | b[0], a[1] | b[1]


def user_principals(conn: Connection, name: str) -> frozenset[str]:
    """Every principal a user acts as; empty for an unknown user, which reads nothing."""
    user_id = conn.execute(select(users.c.id).where(users.c.name == name)).scalar()
    if user_id is None:
        return frozenset()
    groups = conn.execute(select(memberships.c.group_name).where(memberships.c.user_id == user_id)).scalars()
    return frozenset({user_principal(user_id), *map(group_principal, groups)})
