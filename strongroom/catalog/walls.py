"""Walls in SQL: which groups must have nobody and nothing in common, and what would breach that.

Held three times: when a membership is made, when a grant is made, and when anything is read (`beyond` becomes
`AccessFilter.barred`). The last one holds even where the first two were got round.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from sqlalchemy import Connection, or_, select

from strongroom.catalog.tables import collections, documents, grants, memberships, users, walls
from strongroom.errors import WallError

_USER, _GROUP = "user:", "group:"
_BATCH = 300  # SQLite bounds the number of parameters
Pairs = frozenset[tuple[str, str]]


def pairs(conn: Connection) -> Pairs:
    """Every wall, as `(one, other)` in alphabetical order."""
    return frozenset((row.one, row.other) for row in conn.execute(select(walls.c.one, walls.c.other)))


def beyond(conn: Connection, groups: Iterable[str]) -> frozenset[str]:
    """The groups that a wall keeps apart from any of `groups`."""
    own, known = set(groups), pairs(conn)
    return frozenset({b for a, b in known if a in own} | {a for a, b in known if b in own})


def refuse_membership(conn: Connection, user_id: str) -> None:
    """Raise `WallError` when a person is on both sides of a wall, or was granted what lies beyond one."""
    known = pairs(conn)
    if not known:
        return
    own = set(conn.execute(select(memberships.c.group_name).where(memberships.c.user_id == user_id)).scalars())
    _refuse(own, known, "this person would be")
    mine = grants.c.principal == _USER + user_id
    granted = conn.execute(select(grants.c.resource_id).where(mine, grants.c.effect == "allow")).scalars()
    refuse_grants(conn, list(granted))


def refuse_grants(conn: Connection, resource_ids: Iterable[str]) -> None:
    """Raise `WallError` when one of these documents, or one in one of these collections, is open to both sides."""
    known = pairs(conn)
    if not known:
        return
    of_user: dict[str, set[str]] = defaultdict(set)
    for user_id, group in conn.execute(select(memberships.c.user_id, memberships.c.group_name)):
        of_user[user_id].add(group)
    for allow in _allowed(conn, list(resource_ids)):
        groups = {p.removeprefix(_GROUP) for p in allow if p.startswith(_GROUP)}
        for principal in allow:
            groups |= of_user.get(principal.removeprefix(_USER), set()) if principal.startswith(_USER) else set()
        _refuse(groups, known, "this would be open to people")


def refuse_wall(conn: Connection) -> None:
    """Raise `WallError` when a wall that was just entered is breached already."""
    for user_id, name in conn.execute(select(users.c.id, users.c.name).order_by(users.c.name)).all():
        own = set(conn.execute(select(memberships.c.group_name).where(memberships.c.user_id == user_id)).scalars())
        _refuse(own, pairs(conn), f"{name} is")
    refuse_grants(conn, conn.execute(select(collections.c.id)).scalars().all())


def _allowed(conn: Connection, resource_ids: Sequence[str]) -> Iterator[set[str]]:
    """The principals allowed to read each document that the resources are or hold, and each collection itself."""
    for at in range(0, len(resource_ids), _BATCH):
        batch = resource_ids[at : at + _BATCH]
        here = or_(documents.c.id.in_(batch), documents.c.collection_id.in_(batch))
        places = conn.execute(select(documents.c.id, documents.c.collection_id).where(here)).all()
        allow: dict[str, set[str]] = defaultdict(set)
        given = select(grants.c.resource_id, grants.c.principal).where(grants.c.effect == "allow")
        concerned = list({*batch, *(i for row in places for i in row)})
        for part in range(0, len(concerned), _BATCH):
            for resource_id, principal in conn.execute(
                given.where(grants.c.resource_id.in_(concerned[part : part + _BATCH]))
            ):
                allow[resource_id].add(principal)
        yield from (allow[i] for i in batch)
        yield from (allow[row.id] | allow[row.collection_id] for row in places)


def _refuse(groups: set[str], known: Pairs, what: str) -> None:
    for one, other in sorted(known):
        if one in groups and other in groups:
            raise WallError(
                f"{what} on both sides of the wall between {one} and {other}",
                hint="Take the person out of one group, or the grant away; what both need is granted to a third group.",
            )
