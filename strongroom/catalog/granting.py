"""Groups, grants and walls: the methods of `Catalog` for whoever decides who may read and write what.

Every change is one transaction that also says which documents the index must be told of. Must not ask whether the
caller may make the change: that is the engine's work.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, delete, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from strongroom.access import AccessFilter, group_principal, user_principal
from strongroom.catalog import grants, walls
from strongroom.catalog.base import CatalogBase
from strongroom.catalog.grants import Principals
from strongroom.catalog.records import Collection
from strongroom.catalog.store import utc_now
from strongroom.catalog.tables import collections, documents, memberships, regrants, users
from strongroom.catalog.tables import grants as grants_table
from strongroom.catalog.tables import walls as walls_table
from strongroom.crypto import CATALOGUE_KEY
from strongroom.errors import NotFoundError, NotPermittedError, UsageError
from strongroom.types import Effect, Grant, Group, Right, Wall

LONGEST_NAME = 64  # characters of a group's name


class GrantingMixin(CatalogBase):
    """Methods of `Catalog` for permissions."""

    # ------------------------------------------------------------------------------------------------ collections

    def open_collection(self, name: str, *, user: str, groups: Sequence[str] = ()) -> Collection:
        """The collection of that name for writing; a new one belongs to `user`, and `groups` may read it.

        Raises `NotPermittedError` when the user may not write into the one that there is.
        """
        with self.store.write() as conn:
            found = conn.execute(
                select(collections.c.id).where(collections.c.name_mac == self.vault.mac("collection", name))
            ).scalar()
            if found is None:
                made = self._new_collection(conn, name, owner=user)
                for group in groups:
                    grants.add_grant(conn, group_principal(named(group)), "collection", made.id)
                walls.refuse_grants(conn, (made.id,))
                return made
            if not grants.may_write(conn, grants.reader(conn, user), found):
                raise NotPermittedError(
                    f"{user} may not write into a collection called {name!r}",
                    hint="Choose another name, or ask an administrator for a grant to write.",
                )
        return Collection(found, name)

    def collection_id(self, name: str) -> str | None:
        """Id of the collection of that name, if there is one."""
        mine = collections.c.name_mac == self.vault.mac("collection", name)
        with self.store.read() as conn:
            found: str | None = conn.execute(select(collections.c.id).where(mine)).scalar()
        return found

    def may_write(self, access: AccessFilter, collection: str, document_id: str | None = None) -> bool:
        """Whether `access` may change the collection of that name, or one of its documents."""
        with self.store.read() as conn:
            found = conn.execute(
                select(collections.c.id).where(collections.c.name_mac == self.vault.mac("collection", collection))
            ).scalar()
            return found is not None and grants.may_write(conn, grants.as_of_now(conn, access), found, document_id)

    def _new_collection(self, conn: Connection, name: str, *, owner: str) -> Collection:
        collection_id = str(uuid.uuid4())
        conn.execute(
            insert(collections).values(
                id=collection_id,
                name_mac=self.vault.mac("collection", name),
                name=self.vault.seal_text(CATALOGUE_KEY, name, f"collections.name:{collection_id}"),
                created_at=utc_now(),
            )
        )
        owner_id = conn.execute(select(users.c.id).where(users.c.name == owner)).scalar()
        if owner_id is not None:
            grants.add_grant(conn, user_principal(owner_id), "collection", collection_id, right="write")
        return Collection(collection_id, name)

    def writable(self, access: AccessFilter) -> frozenset[str]:
        """Ids of the collections and documents that `access` may write."""
        with self.store.read() as conn:
            now = grants.as_of_now(conn, access)
            given = and_(grants_table.c.principal.in_(now.principals), grants_table.c.right == "write")
            start = set(conn.execute(select(grants_table.c.resource_id).where(given)).scalars())
            inside = select(documents.c.id, documents.c.collection_id)
            places = [r for r in conn.execute(inside) if r.id in start or r.collection_id in start]
            here = [i for i in conn.execute(select(collections.c.id)).scalars() if i in start]
            found = {i for i in here if grants.may_write(conn, now, i)}
            found |= {r.id for r in places if grants.may_write(conn, now, r.collection_id, r.id)}
        return frozenset(found)

    def hidden_within(self, collection: str, access: AccessFilter) -> frozenset[str]:
        """Ids of the documents of the collection of that name that `access` may not read."""
        with self.store.read() as conn:
            place = select(collections.c.id).where(collections.c.name_mac == self.vault.mac("collection", collection))
            inside = select(documents.c.id).where(documents.c.collection_id == place.scalar_subquery())
            ids = list(conn.execute(inside).scalars())
            now = grants.as_of_now(conn, access)
        return frozenset(i for i, who in self.principals_of(ids).items() if not now.may_read(*who))

    # ------------------------------------------------------------------------------------------------ groups

    def groups(self) -> list[Group]:
        """Groups that have members or grants, by name."""
        found: dict[str, list[str]] = defaultdict(list)
        with self.store.read() as conn:
            granted = select(grants_table.c.principal).where(grants_table.c.principal.startswith("group:")).distinct()
            for principal in conn.execute(granted).scalars():
                found[principal.removeprefix("group:")] = []
            rows = conn.execute(
                select(memberships.c.group_name, users.c.name).join(users, users.c.id == memberships.c.user_id)
            )
            for group, user in rows:
                found[group].append(user)
        return [Group(name, tuple(sorted(members))) for name, members in sorted(found.items())]

    def join(self, group: str, user: str) -> bool:
        """Put a user into a group; false when it was there already. Raises `NotFoundError` and `WallError`."""
        with self.store.write() as conn:
            user_id = _user_id(conn, user)
            values = {"user_id": user_id, "group_name": named(group)}
            added = conn.execute(upsert(memberships).values(values).on_conflict_do_nothing()).rowcount > 0
            walls.refuse_membership(conn, user_id)
        return added

    def leave(self, group: str, user: str) -> None:
        """Take a user out of a group. Raises `NotFoundError` when it is not in it."""
        with self.store.write() as conn:
            mine = (memberships.c.user_id == _user_id(conn, user), memberships.c.group_name == group)
            if not conn.execute(delete(memberships).where(*mine)).rowcount:
                raise NotFoundError(
                    f"{user} is not in a group called {group!r}", hint="`strongroom groups list` shows them."
                )

    # ------------------------------------------------------------------------------------------------ grants

    def grants(self, resource_id: str | None = None) -> list[Grant]:
        """Every grant, or those of one collection or document, oldest first. Names of collections, not of documents."""
        query = select(grants_table).order_by(grants_table.c.created_at, grants_table.c.id)
        if resource_id is not None:
            query = query.where(grants_table.c.resource_id == resource_id)
        with self.store.read() as conn:
            rows = conn.execute(query).all()
            of_user = {row.id: row.name for row in conn.execute(select(users.c.id, users.c.name))}
            names = {r.id: r.name for r in conn.execute(select(collections.c.id, collections.c.name))}
        opened = {i: self.vault.open_text(name, f"collections.name:{i}") for i, name in names.items()}
        found = []
        for row in rows:
            kind, _, who = row.principal.partition(":")
            principal = f"user:{of_user.get(who, who)}" if kind == "user" else row.principal
            name, at = opened.get(row.resource_id, ""), datetime.fromisoformat(row.created_at)
            found.append(Grant(row.id, principal, row.resource, row.resource_id, name, row.effect, row.right, at))
        return found

    def grant(
        self, principal: str, resource: str, resource_id: str, effect: Effect = "allow", right: Right = "read"
    ) -> Grant:
        """Add a grant for `user:NAME` or `group:NAME`, or change the right of the one that there is.

        What lies inside a document goes along. Raises `NotFoundError` for what does not exist, `WallError`.
        """
        with self.store.write() as conn:
            known = documents if resource == "document" else collections
            if conn.execute(select(known.c.id).where(known.c.id == resource_id)).first() is None:
                raise NotFoundError(f"{resource} {resource_id} does not exist", hint="Check the id or the name.")
            stored = _principal(conn, principal)
            resources = [resource_id]
            if resource == "document":
                resources += self._inside(conn, [resource_id])
            for each in resources:
                grants.add_grant(conn, stored, resource, each, effect, right=right)
                same = _same(stored, each, effect)
                conn.execute(update(grants_table).where(*same).values(right=right))
                grants.note_change(conn, resource, each)
            if effect == "allow":
                walls.refuse_grants(conn, resources)
            grant_id = conn.execute(select(grants_table.c.id).where(*_same(stored, resource_id, effect))).scalar_one()
        return next(g for g in self.grants(resource_id) if g.id == grant_id)

    def revoke(self, grant_id: str) -> None:
        """Take a grant away; from what lies inside the document too. Raises `NotFoundError`."""
        with self.store.write() as conn:
            row = conn.execute(select(grants_table).where(grants_table.c.id == grant_id)).first()
            if row is None:
                raise NotFoundError(f"grant {grant_id} does not exist", hint="`strongroom grants list` shows them.")
            resources = [row.resource_id]
            if row.resource == "document":
                resources += self._inside(conn, [row.resource_id])
            for each in resources:
                conn.execute(delete(grants_table).where(*_same(row.principal, each, row.effect)))
                grants.note_change(conn, row.resource, each)

    def grant_groups(self, collection_id: str, document_id: str, groups: Sequence[str]) -> bool:
        """Let groups read a document of the collection and what lies inside it; true when one could not before."""
        wanted = {group_principal(named(group)) for group in groups}
        with self.store.write() as conn:
            here = (documents.c.id == document_id, documents.c.collection_id == collection_id)
            if conn.execute(select(documents.c.id).where(*here)).first() is None:
                return False
            own = grants.principals_by_resource(conn, (document_id,))[document_id]
            if wanted <= own[0]:
                return False
            resources = [document_id, *self._inside(conn, [document_id])]
            for each in resources:
                for principal in wanted:
                    grants.add_grant(conn, principal, "document", each)
                grants.note_change(conn, "document", each)
            walls.refuse_grants(conn, resources)
        return True

    # ------------------------------------------------------------------------------------------------ the index

    def regrants(self) -> dict[str, str]:
        """Documents whose principals the index must be told, each with the change that said so."""
        with self.store.read() as conn:
            return {row.document_id: row.change for row in conn.execute(select(regrants))}

    def regrants_done(self, told: Mapping[str, str]) -> None:
        """Take documents off the list, unless a later change put them on it again."""
        with self.store.write() as conn:
            for document_id, change in told.items():
                same = (regrants.c.document_id == document_id, regrants.c.change == change)
                conn.execute(delete(regrants).where(*same))

    def principals_of(self, document_ids: Iterable[str]) -> dict[str, Principals]:
        """Who may and may not read these documents as the catalogue stands; gone ones are left out."""
        ids = list(dict.fromkeys(document_ids))
        with self.store.read() as conn:
            place: dict[str, str] = {}
            for at in range(0, len(ids), grants.BATCH):
                batch = documents.c.id.in_(ids[at : at + grants.BATCH])
                rows = conn.execute(select(documents.c.id, documents.c.collection_id).where(batch))
                place |= {row.id: row.collection_id for row in rows}
            found = grants.principals_by_resource(conn, {*place, *place.values()})
        return {i: grants.merge(found[i], found[collection]) for i, collection in place.items()}

    # ------------------------------------------------------------------------------------------------ walls

    def walls(self) -> list[Wall]:
        """Every wall, by name."""
        with self.store.read() as conn:
            rows = conn.execute(select(walls_table).order_by(walls_table.c.one, walls_table.c.other)).all()
        return [Wall(row.one, row.other, row.by, datetime.fromisoformat(row.at)) for row in rows]

    def add_wall(self, one: str, other: str, *, by: str) -> Wall:
        """Keep two groups apart from now on. Raises `WallError` when they have somebody or something in common."""
        one, other = sorted((named(one), named(other)))
        if one == other:
            raise UsageError("a wall stands between two groups", hint="Name two different ones.")
        now = utc_now()
        with self.store.write() as conn:
            values = {"one": one, "other": other, "by": by, "at": now}
            conn.execute(upsert(walls_table).values(values).on_conflict_do_nothing())
            walls.refuse_wall(conn)
        return Wall(one, other, by, datetime.fromisoformat(now))

    def remove_wall(self, one: str, other: str) -> None:
        """Raises `NotFoundError`."""
        one, other = sorted((one, other))
        with self.store.write() as conn:
            here = (walls_table.c.one == one, walls_table.c.other == other)
            if not conn.execute(delete(walls_table).where(*here)).rowcount:
                raise NotFoundError(
                    f"there is no wall between {one!r} and {other!r}", hint="`strongroom walls list` shows them."
                )


def named(group: str) -> str:
    """A group's name, checked: it appears in lists, in messages and in the index. Raises `UsageError`."""
    name = group.strip()
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        raise UsageError(
            f"{group!r} cannot be the name of a group", hint=f"Use 1 to {LONGEST_NAME} printable characters."
        )
    return name


def _user_id(conn: Connection, name: str) -> str:
    found = conn.execute(select(users.c.id).where(users.c.name == name)).scalar()
    if found is None:
        raise NotFoundError(f"user {name!r} does not exist", hint="Check the name.")
    return str(found)


def _principal(conn: Connection, spelled: str) -> str:
    kind, _, name = spelled.partition(":")
    if kind == "user" and name:
        return user_principal(_user_id(conn, name))
    if kind == "group" and name:
        return group_principal(named(name))
    raise UsageError(f"{spelled!r} is nobody", hint="Write `user:NAME` or `group:NAME`.")


def _same(principal: str, resource_id: str, effect: str) -> tuple[ColumnElement[bool], ...]:
    return (
        grants_table.c.principal == principal,
        grants_table.c.resource_id == resource_id,
        grants_table.c.effect == effect,
    )
