"""Accounts in SQL: users and how they sign in, invitations, sessions, tokens. No policy here but the unique names."""

from __future__ import annotations

import hashlib
import re
import unicodedata
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from strongroom.access import LOCAL_USER, user_principal
from strongroom.catalog.store import utc_now
from strongroom.catalog.tables import accounts, grants, invitations, memberships, security_keys, sessions, tokens, users
from strongroom.errors import NotFoundError, UsageError
from strongroom.people import Role

_NAME = re.compile(r"[\w][\w.@+-]{0,63}")
RESERVED = frozenset({LOCAL_USER, "system", "nobody", "unknown"})


@dataclass(frozen=True, slots=True)
class Person:
    """A user with what their signing in needs."""

    id: str
    name: str
    role: Role
    password: str | None
    disabled: bool
    issuer: str | None
    totp: bytes | None
    totp_new: bytes | None
    totp_step: int


_PERSON = select(
    users.c.id,
    users.c.name,
    users.c.role,
    accounts.c.password,
    accounts.c.disabled_at,
    accounts.c.issuer,
    accounts.c.totp,
    accounts.c.totp_new,
    accounts.c.totp_step,
).select_from(users.outerjoin(accounts, accounts.c.user_id == users.c.id))


def digest(secret: str) -> bytes:
    """What is kept of a random secret. It has 256 bits, so a plain hash cannot be guessed back."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()


def clean_name(name: str) -> str:
    """A name as it is kept: compatibility characters folded, lower case. Raises `UsageError`."""
    kept = unicodedata.normalize("NFKC", name).strip().casefold()
    if not _NAME.fullmatch(kept) or kept in RESERVED:
        raise UsageError(
            "that is no name for an account", hint="Up to 64 letters, digits and . _ - + @; not a name of the system."
        )
    return kept


def folded(name: str) -> str:
    """A name as somebody typed it, for looking it up."""
    return unicodedata.normalize("NFKC", name).strip().casefold()


def person(conn: Connection, name: str) -> Person | None:
    """The user of that name."""
    return _person(conn.execute(_PERSON.where(users.c.name == name)).first())


def person_by_id(conn: Connection, user_id: str) -> Person | None:
    return _person(conn.execute(_PERSON.where(users.c.id == user_id)).first())


def person_by_subject(conn: Connection, issuer: str, subject: str) -> Person | None:
    """The user that an identity provider knows by this subject."""
    wanted = (accounts.c.issuer == issuer) & (accounts.c.subject == subject)
    return _person(conn.execute(_PERSON.where(wanted)).first())


def known(conn: Connection, name: str) -> Person:
    """The user of that name. Raises `NotFoundError`."""
    found = person(conn, folded(name))
    if found is None:
        raise NotFoundError(f"user {name!r} does not exist", hint="`strongroom users list` shows them.")
    return found


def _person(row: Any) -> Person | None:
    if row is None:
        return None
    return Person(
        row.id,
        row.name,
        row.role,
        row.password,
        row.disabled_at is not None,
        row.issuer,
        row.totp,
        row.totp_new,
        row.totp_step or 0,
    )


def add_user(conn: Connection, name: str, role: Role) -> str:
    """Make a user; returns the id. Raises `UsageError` when the name is taken."""
    kept = clean_name(name)
    if person(conn, kept) is not None:
        raise UsageError(f"user {kept!r} exists", hint="Choose another name.")
    user_id = str(uuid.uuid4())
    conn.execute(insert(users).values(id=user_id, name=kept, role=role, created_at=utc_now()))
    return user_id


def remove_user(conn: Connection, user_id: str) -> None:
    """Remove a user with everything of the account, and the grants that named them."""
    conn.execute(delete(grants).where(grants.c.principal == user_principal(user_id)))
    conn.execute(delete(users).where(users.c.id == user_id))


def put(conn: Connection, user_id: str, **values: Any) -> None:
    """Set columns of a user's account, made when there is none."""
    statement = upsert(accounts).values(user_id=user_id, **values)
    conn.execute(statement.on_conflict_do_update(index_elements=["user_id"], set_=values))


def set_role(conn: Connection, user_id: str, role: Role) -> None:
    conn.execute(update(users).where(users.c.id == user_id).values(role=role))


def set_groups(conn: Connection, user_id: str, groups: frozenset[str]) -> None:
    """Make a user a member of these groups and no other."""
    conn.execute(delete(memberships).where(memberships.c.user_id == user_id))
    for group in sorted(groups):
        conn.execute(insert(memberships).values(user_id=user_id, group_name=group))


def groups_of(conn: Connection, user_id: str) -> tuple[str, ...]:
    found = conn.execute(select(memberships.c.group_name).where(memberships.c.user_id == user_id)).scalars()
    return tuple(sorted(found))


def invite(conn: Connection, user_id: str | None, code: str, expires: datetime) -> None:
    """Keep a one-time code; earlier ones of the same user (or for the first administrator) no longer count."""
    same = invitations.c.user_id.is_(None) if user_id is None else invitations.c.user_id == user_id
    conn.execute(delete(invitations).where(same))
    conn.execute(insert(invitations).values(digest=digest(code), user_id=user_id, expires_at=stamp(expires)))


def invitation(conn: Connection, code: str, now: datetime) -> Row[Any] | None:
    """The invitation of a code; `None` for one that is unknown, used or too old."""
    good = (invitations.c.digest == digest(code)) & (invitations.c.expires_at > stamp(now))
    return conn.execute(select(invitations).where(good)).first()


def use_invitation(conn: Connection, code: str) -> bool:
    """Use a code up; false when somebody else just did."""
    return conn.execute(delete(invitations).where(invitations.c.digest == digest(code))).rowcount == 1


def end_sessions(conn: Connection, user_id: str, *, but: str = "") -> int:
    """End every session of a user except one."""
    return conn.execute(delete(sessions).where(sessions.c.user_id == user_id, sessions.c.id != but)).rowcount


def end_tokens(conn: Connection, user_id: str) -> int:
    return conn.execute(delete(tokens).where(tokens.c.user_id == user_id)).rowcount


def key_count(conn: Connection, user_id: str) -> int:
    """How many security keys a user has."""
    return len(conn.execute(select(security_keys.c.id).where(security_keys.c.user_id == user_id)).all())


def stamp(at: datetime) -> str:
    """A time as the tables hold it."""
    return at.isoformat(timespec="microseconds")
