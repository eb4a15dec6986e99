"""Signing in, and who a credential stands for.

Whatever goes wrong at signing in has one error, one message and the same work behind it, so that neither text nor time
says whether an account exists, is disabled, or has to wait. Every attempt is on record; a name that was typed and is
nobody's is recorded as a keyed fingerprint, since it may be a password in the wrong field.
"""

from __future__ import annotations

import secrets
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from strongroom.access import LOCAL_USER
from strongroom.accounts import rows
from strongroom.accounts.factors import SecondFactors
from strongroom.accounts.passwords import Passwords, refuse_weak
from strongroom.accounts.rows import Person, digest, folded, stamp
from strongroom.accounts.throttle import Throttle
from strongroom.audit import Audit, current
from strongroom.catalog.store import Store
from strongroom.catalog.tables import invitations, sessions, tokens, users
from strongroom.crypto import Vault
from strongroom.errors import SignInError, UsageError
from strongroom.people import (
    SCOPES,
    SESSION_PREFIX,
    Identity,
    Invitation,
    RedeemRequest,
    Scope,
    SecondFactor,
    SecondFactorRule,
    SignedIn,
)
from strongroom.signin import CodeBook

TOKEN_PREFIX = "srt_"  # noqa: S105 - how a token begins
IDLE = timedelta(hours=8)
LIFE = timedelta(hours=24)
INVITATION_LIFE = timedelta(days=3)
PENDING_LIFE = timedelta(minutes=5)
_NOTED_EVERY = timedelta(seconds=60)  # how often a session's last use is written down


def refused() -> SignInError:
    """The one answer to everything that is wrong at signing in."""
    return SignInError(
        "signing in did not work: name, password or code are not right, or there were too many attempts",
        hint="Try again in some minutes, or ask an administrator for a fresh link.",
    )


@dataclass(frozen=True, slots=True)
class _Pending:
    """A sign-in whose password was right and whose second factor is awaited."""

    user_id: str
    agent: str
    until: datetime
    challenge: bytes


class Accounts:
    """The accounts of one data directory. Safe from any thread."""

    def __init__(
        self,
        store: Store,
        vault: Vault,
        audit: Audit,
        *,
        passwords: Passwords | None = None,
        second_factor: SecondFactorRule = "optional",
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`second_factor` says who may do nothing before they have set one up, of those who sign in by password."""
        self.store = store
        self.vault = vault
        self.audit = audit
        self.passwords = passwords or Passwords()
        self.second_factor_rule = second_factor
        self.clock = clock
        self.throttle = Throttle(store, vault, clock=lambda: clock().timestamp())
        self.factors = SecondFactors(store, vault, clock=clock)
        self._pending: dict[str, _Pending] = {}
        self._lock = threading.Lock()

    # ------------------------------------------------------------------------------------------------ signing in

    def sign_in(self, name: str, password: str, *, agent: str = "") -> SignedIn:
        """Sign in by name and password. Raises `SignInError`, alike for every reason."""
        typed = folded(name)[:128]
        free = self._attempt(typed)
        with self.store.read() as conn:
            found = rows.person(conn, typed)
        usable = found is not None and not found.disabled and found.password is not None
        right = self.passwords.matches(found.password if found is not None and usable else None, password)
        if not (free and right) or found is None or found.password is None:
            self._failed(typed, found, "password" if free else "waits")
            raise refused()
        if self.passwords.stale(found.password):
            with self.store.write() as conn:
                rows.put(conn, found.id, password=self.passwords.hash(password))
        return self._password_was_right(found, agent)

    def _password_was_right(self, found: Person, agent: str) -> SignedIn:
        methods = self.factors.methods(found)
        if not methods:
            return self._signed_in(found, agent, "password")
        pending = secrets.token_urlsafe(32)
        now = self.clock()
        with self._lock:
            self._pending = {k: p for k, p in self._pending.items() if p.until > now}
            self._pending[pending] = _Pending(found.id, agent, now + PENDING_LIFE, secrets.token_bytes(32))
        return SignedIn(found.name, pending=pending, methods=methods)

    def second_factor(self, answer: SecondFactor) -> SignedIn:
        """Finish signing in with a code or a security key. Raises `SignInError`."""
        with self._lock:
            pending = self._pending.get(answer.pending)
        if pending is None or pending.until <= self.clock():
            self._failed("", None, "expired")
            raise refused()
        with self.store.read() as conn:
            found = rows.person_by_id(conn, pending.user_id)
        if found is None or found.disabled:
            raise refused()
        free = self._attempt(found.name)
        method = self.factors.check(found, answer, pending.challenge) if free else None
        if method is None:
            self._failed(found.name, found, "second factor" if free else "waits")
            raise refused()
        with self._lock:
            if self._pending.pop(answer.pending, None) is None:  # somebody was faster with the same code
                raise refused()
        return self._signed_in(found, pending.agent, method)

    def key_challenge(self, pending: str, origin: str) -> dict[str, object]:
        """What the browser asks a security key for, in the second step. Raises `SignInError`."""
        with self._lock:
            found = self._pending.get(pending)
        if found is None or found.until <= self.clock():
            raise refused()
        return self.factors.key_request(found.user_id, found.challenge, origin)

    def by_link(self, code: str, book: CodeBook, *, agent: str = "") -> SignedIn:
        """Sign in as the built-in user by a link that the owner of the data directory made."""
        if not book.redeem(code):
            self._failed("", None, "link")
            raise refused()
        with self.store.read() as conn:
            found = rows.person(conn, LOCAL_USER)
        if found is None:
            raise refused()
        return self._signed_in(found, agent, "link")

    def by_provider(self, found: Person, *, agent: str = "") -> SignedIn:
        """Sign in whom an identity provider has named."""
        if found.disabled:
            self._failed(found.name, found, "disabled")
            raise refused()
        return self._signed_in(found, agent, "single sign-on")

    def _signed_in(self, found: Person, agent: str, method: str) -> SignedIn:
        secret, session_id, now = SESSION_PREFIX + secrets.token_urlsafe(32), str(uuid.uuid4()), self.clock()
        with self.store.write() as conn:
            conn.execute(delete(sessions).where(sessions.c.created_at < stamp(now - LIFE)))
            conn.execute(
                insert(sessions).values(
                    id=session_id,
                    user_id=found.id,
                    digest=digest(secret),
                    created_at=stamp(now),
                    seen_at=stamp(now),
                    address=current().address[:64],
                    agent=_plain(agent),
                )
            )
            rows.put(conn, found.id, seen_at=stamp(now))
        self.throttle.succeeded(found.name, current().address)
        self.audit.append(found.name, "sign-in", found.id, session=session_id, method=method)
        return SignedIn(found.name, session=secret)

    def _attempt(self, name: str) -> bool:
        free, begun = self.throttle.attempt([("account", name), ("address", current().address)])
        if begun:
            self.audit.append("system", "sign-in.wait", self._shown(name), outcome="refused")
        return free

    def _failed(self, name: str, found: Person | None, why: str) -> None:
        actor = "unknown" if found is None else found.name
        self.audit.append(actor, "sign-in", self._shown(name), outcome="refused", reason=why)

    def _shown(self, name: str) -> str:
        return self.vault.mac("sign-in.name", name).hex()[:32] if name else ""

    # ------------------------------------------------------------------------------------------------ credentials

    def identify(self, secret: str) -> Identity | None:
        """Who a session or token stands for now; `None` for one that is unknown, expired or of a disabled user."""
        if secret.startswith(SESSION_PREFIX):
            return self._by_session(secret)
        if secret.startswith(TOKEN_PREFIX):
            return self._by_token(secret)
        return None

    def _by_session(self, secret: str) -> Identity | None:
        now = self.clock()
        with self.store.read() as conn:
            row = conn.execute(select(sessions).where(sessions.c.digest == digest(secret))).first()
            found = None if row is None else rows.person_by_id(conn, row.user_id)
        if row is None or found is None or found.disabled:
            return None
        if row.seen_at <= stamp(now - IDLE) or row.created_at <= stamp(now - LIFE):
            return None
        if row.seen_at <= stamp(now - _NOTED_EVERY):
            with self.store.write() as conn:
                conn.execute(update(sessions).where(sessions.c.id == row.id).values(seen_at=stamp(now)))
        return Identity(found.name, "session", row.id, frozenset() if self.lacks_factor(found) else frozenset(SCOPES))

    def lacks_factor(self, person: Person) -> bool:
        """Whether the person must set up a second factor before anything else."""
        asked = {"optional": False, "administrators": person.role == "admin", "everybody": True}
        return asked[self.second_factor_rule] and person.password is not None and not self.factors.methods(person)

    def _by_token(self, secret: str) -> Identity | None:
        now = self.clock()
        with self.store.read() as conn:
            row = conn.execute(select(tokens).where(tokens.c.digest == digest(secret))).first()
            found = None if row is None else rows.person_by_id(conn, row.user_id)
        if row is None or found is None or found.disabled or row.expires_at <= stamp(now):
            return None
        if row.used_at is None or row.used_at <= stamp(now - _NOTED_EVERY):
            with self.store.write() as conn:
                conn.execute(update(tokens).where(tokens.c.id == row.id).values(used_at=stamp(now)))
            self.audit.append(found.name, "token.use", row.id)
        return Identity(found.name, "token", row.id, frozenset(read_scopes(row.scopes)))

    def sign_out(self, identity: Identity) -> None:
        """End the session that makes this request."""
        if identity.kind != "session":
            return
        with self.store.write() as conn:
            ended = conn.execute(delete(sessions).where(sessions.c.id == identity.id)).rowcount
        if ended:
            self.audit.append(identity.user, "sign-out", session=identity.id)

    def ways_in(self) -> list[dict[str, Any]]:
        """By what each person may sign in, and what they have for a second step; for the evidence report."""
        with self.store.read() as conn:
            names = conn.execute(select(users.c.name).order_by(users.c.name)).scalars().all()
            found = [p for name in names if (p := rows.person(conn, name)) is not None]
        return [
            {
                "user": p.name,
                "role": p.role,
                "disabled": p.disabled,
                "password": p.password is not None,
                "single_sign_on": p.issuer is not None,
                "second_factor": list(self.factors.methods(p)),
            }
            for p in found
        ]

    # ------------------------------------------------------------------------------------------------ invitations

    def first_administrator(self) -> str | None:
        """A fresh one-time code to make the first administrator; `None` once one can sign in."""
        code = secrets.token_urlsafe(24)
        with self.store.write() as conn:
            if self._administered(conn):
                conn.execute(delete(invitations).where(invitations.c.user_id.is_(None)))
                return None
            rows.invite(conn, None, code, self.clock() + INVITATION_LIFE)
        return code

    def administered(self) -> bool:
        """True once an administrator other than the built-in user can sign in."""
        with self.store.read() as conn:
            return self._administered(conn)

    def _administered(self, conn: Connection) -> bool:
        admins = conn.execute(select(users.c.name).where(users.c.role == "admin", users.c.name != LOCAL_USER))
        found = [rows.person(conn, name) for name in admins.scalars().all()]
        return any(p is not None and not p.disabled and (p.password or p.issuer) for p in found)

    def invitation(self, conn: Connection, user_id: str, name: str) -> Invitation:
        """A fresh one-time code for a user."""
        code, expires = secrets.token_urlsafe(24), self.clock() + INVITATION_LIFE
        rows.invite(conn, user_id, code, expires)
        return Invitation(name, expires, code)

    def redeem(self, request: RedeemRequest, *, agent: str = "") -> SignedIn:
        """Set the password that an invitation is for, and sign in.

        Earlier sessions and tokens of the account end: the code may have been asked for because somebody else had them.
        Raises `SignInError` for a bad code, and `UsageError` for a bad name or password, which leaves the code good.
        """
        free = self._attempt("invitation:" + request.code[:16])
        with self.store.read() as conn:
            wanted = rows.invitation(conn, request.code, self.clock()) if free else None
            invited = None if wanted is None or wanted.user_id is None else rows.person_by_id(conn, wanted.user_id)
        if wanted is None:
            self._failed("", None, "invitation")
            raise refused()
        refuse_weak(request.password, rows.clean_name(request.name) if invited is None else invited.name)
        hashed = self.passwords.hash(request.password)
        with self.store.write() as conn:
            if not rows.use_invitation(conn, request.code) or (invited is None and self._administered(conn)):
                raise refused()
            user_id = rows.add_user(conn, request.name, "admin") if invited is None else invited.id
            rows.put(conn, user_id, password=hashed)
            ended = rows.end_sessions(conn, user_id) + rows.end_tokens(conn, user_id)
            found = rows.person_by_id(conn, user_id)
        if found is None or found.disabled:
            raise refused()
        if invited is None:
            self.audit.append(found.name, "user.add", found.id, role="admin", first=True)
        self.audit.append(found.name, "password.set", found.id, ended=ended)
        return self._password_was_right(found, agent)


def new_token_secret() -> str:
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def read_scopes(text: str) -> tuple[Scope, ...]:
    """Scopes out of the table."""
    return tuple(scope for scope in SCOPES if scope in text.split(" "))


def parse_scopes(scopes: tuple[str, ...]) -> str:
    """Scopes as the table holds them. Raises `UsageError`."""
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown or not scopes:
        raise UsageError(f"unknown scope {', '.join(unknown) or '(none)'}", hint=f"Choose of {', '.join(SCOPES)}.")
    return " ".join(scope for scope in SCOPES if scope in scopes)


def _plain(agent: str) -> str:
    """A browser's name for itself, as it may be shown: printable and short."""
    return "".join(c for c in agent if c.isprintable())[:120]
