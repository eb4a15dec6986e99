"""Accounts as one person may see and change them: their own, or everybody's for administrators.

What changes how one signs in needs a session (or the owner of the data directory): an API token cannot make itself
last longer or reach further.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, insert, select

from strongroom.access import LOCAL_USER
from strongroom.accounts import rows
from strongroom.accounts.accounts import IDLE, LIFE, Accounts, new_token_secret, parse_scopes, read_scopes
from strongroom.accounts.passwords import refuse_weak
from strongroom.accounts.rows import Person, digest, stamp
from strongroom.catalog.tables import accounts as accounts_table
from strongroom.catalog.tables import sessions, tokens, users
from strongroom.errors import NotFoundError, NotPermittedError, UsageError
from strongroom.people import (
    ROLES,
    Account,
    AccountChange,
    Identity,
    Invitation,
    NewAccount,
    NewToken,
    PasswordChange,
    RecoveryCodes,
    Session,
    Token,
    TokenRequest,
    TotpSetup,
)

LONGEST_TOKEN_DAYS = 366
AUDIT_PAGE = 200


class Desk:
    """Implements `strongroom.engine.AccountDesk` in process, for the person that `identity` names."""

    def __init__(self, accounts: Accounts, identity: Identity) -> None:
        self._accounts = accounts
        self._me = identity

    # ------------------------------------------------------------------------------------------------ everybody

    def users(self) -> list[Account]:
        self._require_admin("users.list")
        with self._accounts.store.read() as conn:
            names = conn.execute(select(users.c.name).order_by(users.c.name)).scalars().all()
        return [self._account(name) for name in names]

    def add_user(self, request: NewAccount) -> Invitation:
        self._require_admin("user.add", session=True)
        _known_role(request.role)
        with self._accounts.store.write() as conn:
            user_id = rows.add_user(conn, request.name, request.role)
            invitation = self._accounts.invitation(conn, user_id, rows.clean_name(request.name))
        self._audit("user.add", user_id, role=request.role)
        return invitation

    def invite(self, name: str) -> Invitation:
        self._require_admin("user.invite", session=True)
        with self._accounts.store.write() as conn:
            found = self._other(rows.known(conn, name))
            invitation = self._accounts.invitation(conn, found.id, found.name)
        self._accounts.throttle.forgive(found.name)
        self._audit("user.invite", found.id)
        return invitation

    def change_user(self, name: str, change: AccountChange) -> Account:
        self._require_admin("user.change", session=True)
        if change.role is not None:
            _known_role(change.role)
        with self._accounts.store.write() as conn:
            found = self._other(rows.known(conn, name))
            if change.role is not None:
                rows.set_role(conn, found.id, change.role)
            if change.disabled is not None:
                rows.put(conn, found.id, disabled_at=stamp(self._accounts.clock()) if change.disabled else None)
            ended = rows.end_sessions(conn, found.id)
        self._audit("user.change", found.id, ended=ended, role=change.role, disabled=change.disabled)
        return self._account(found.name)

    def unlock(self, name: str) -> None:
        self._require_admin("user.unlock", session=True)
        with self._accounts.store.read() as conn:
            found = rows.known(conn, name)
        self._accounts.throttle.forgive(found.name)
        self._audit("user.unlock", found.id)

    def delete_user(self, name: str) -> None:
        self._require_admin("user.delete", session=True)
        with self._accounts.store.write() as conn:
            found = self._other(rows.known(conn, name))
            rows.remove_user(conn, found.id)
        self._audit("user.delete", found.id)

    def reset_factors(self, name: str) -> None:
        self._require_admin("factors.reset", session=True)
        with self._accounts.store.read() as conn:
            found = self._other(rows.known(conn, name))
        self._accounts.factors.drop(found)
        with self._accounts.store.write() as conn:
            rows.end_sessions(conn, found.id)
        self._audit("factors.reset", found.id)

    # ------------------------------------------------------------------------------------------------ sessions, tokens

    def sessions(self, user: str | None = None) -> list[Session]:
        found = self._whose(user, "sessions.list")
        now = self._accounts.clock()
        with self._accounts.store.read() as conn:
            query = select(sessions).where(sessions.c.user_id == found.id).order_by(sessions.c.created_at)
            kept = conn.execute(query).all()
        listed = []
        for row in kept:
            created, seen = datetime.fromisoformat(row.created_at), datetime.fromisoformat(row.seen_at)
            expires = min(created + LIFE, seen + IDLE)
            if expires > now:
                current = row.id == self._me.id
                listed.append(Session(row.id, found.name, created, seen, expires, row.address, row.agent, current))
        return listed

    def end_session(self, session_id: str) -> None:
        self._require_session("session.end")
        with self._accounts.store.write() as conn:
            owner = conn.execute(select(sessions.c.user_id).where(sessions.c.id == session_id)).scalar()
            self._require_own(conn_owner=owner, what=f"session {session_id}")
            conn.execute(delete(sessions).where(sessions.c.id == session_id))
        self._audit("session.end", session_id)

    def end_sessions(self, user: str | None = None) -> int:
        self._require_session("session.end")
        found = self._whose(user, "session.end")
        with self._accounts.store.write() as conn:
            ended = rows.end_sessions(conn, found.id, but=self._me.id)
        self._audit("session.end", found.id, ended=ended)
        return ended

    def tokens(self, user: str | None = None) -> list[Token]:
        found = self._whose(user, "tokens.list")
        with self._accounts.store.read() as conn:
            kept = conn.execute(select(tokens).where(tokens.c.user_id == found.id).order_by(tokens.c.created_at)).all()
        return [
            Token(
                row.id,
                found.name,
                row.name,
                read_scopes(row.scopes),
                datetime.fromisoformat(row.created_at),
                datetime.fromisoformat(row.expires_at),
                None if row.used_at is None else datetime.fromisoformat(row.used_at),
            )
            for row in kept
        ]

    def add_token(self, request: TokenRequest, user: str | None = None) -> NewToken:
        self._require_session("token.add")
        found = self._whose(user, "token.add")
        scopes, name = parse_scopes(request.scopes), request.name.strip()
        if not 0 < len(name) <= 64 or not name.isprintable():
            raise UsageError("the token has no name, or one too long", hint="Say what it is for, in 64 characters.")
        if not 0 < request.days <= LONGEST_TOKEN_DAYS:
            raise UsageError(f"a token cannot last {request.days} days", hint=f"1 to {LONGEST_TOKEN_DAYS}.")
        now, secret, token_id = self._accounts.clock(), new_token_secret(), str(uuid.uuid4())
        expires = now + timedelta(days=request.days)
        with self._accounts.store.write() as conn:
            conn.execute(
                insert(tokens).values(
                    id=token_id,
                    user_id=found.id,
                    name=name,
                    digest=digest(secret),
                    scopes=scopes,
                    created_at=stamp(now),
                    expires_at=stamp(expires),
                )
            )
        self._audit("token.add", token_id, user=found.id, scopes=scopes)
        return NewToken(Token(token_id, found.name, name, read_scopes(scopes), now, expires), secret)

    def revoke_token(self, token_id: str) -> None:
        self._require_session("token.revoke")
        with self._accounts.store.write() as conn:
            owner = conn.execute(select(tokens.c.user_id).where(tokens.c.id == token_id)).scalar()
            self._require_own(conn_owner=owner, what=f"token {token_id}")
            conn.execute(delete(tokens).where(tokens.c.id == token_id))
        self._audit("token.revoke", token_id)

    # ------------------------------------------------------------------------------------------------ one's own

    def me(self) -> Account:
        return self._account(self._me.user)

    def change_password(self, change: PasswordChange) -> None:
        """Set one's own password; other sessions end. Raises `UsageError` for a wrong old or a weak new one."""
        self._require_session("password.set")
        found = self._person()
        if self._me.user == LOCAL_USER:
            raise UsageError("the built-in user has no password", hint="Make an account: `strongroom users add`.")
        if found.password is not None:
            free, _ = self._accounts.throttle.attempt([("account", found.name)])
            if not (self._accounts.passwords.matches(found.password, change.old) and free):
                self._audit("password.set", found.id, outcome="refused")
                raise UsageError("the old password is not right", hint="Try again in some minutes, or ask for a link.")
            self._accounts.throttle.forgive(found.name)
        refuse_weak(change.new, found.name)
        hashed = self._accounts.passwords.hash(change.new)
        with self._accounts.store.write() as conn:
            rows.put(conn, found.id, password=hashed)
            ended = rows.end_sessions(conn, found.id, but=self._me.id)
        self._audit("password.set", found.id, ended=ended)

    def set_password(self, name: str, password: str) -> None:
        """Set somebody's password, for the owner of the data directory alone. Sessions and tokens end."""
        if self._me.kind != "owner":
            raise NotPermittedError("only the owner of the data directory sets passwords", hint="Send an invitation.")
        with self._accounts.store.read() as conn:
            found = self._other(rows.known(conn, name))
        refuse_weak(password, found.name)
        hashed = self._accounts.passwords.hash(password)
        with self._accounts.store.write() as conn:
            rows.put(conn, found.id, password=hashed)
            ended = rows.end_sessions(conn, found.id) + rows.end_tokens(conn, found.id)
        self._accounts.throttle.forgive(found.name)
        self._audit("password.set", found.id, ended=ended)

    def begin_totp(self) -> TotpSetup:
        self._require_session("factor.add")
        return self._accounts.factors.begin_totp(self._signing_in())

    def confirm_totp(self, code: str) -> RecoveryCodes:
        self._require_session("factor.add")
        found = self._signing_in()
        codes = self._accounts.factors.confirm_totp(found, code)
        self._audit("factor.add", found.id, method="totp")
        return codes

    def begin_key(self, origin: str) -> dict[str, object]:
        self._require_session("factor.add")
        return self._accounts.factors.begin_key(self._signing_in(), origin)

    def add_key(self, credential: dict[str, object], origin: str) -> RecoveryCodes:
        self._require_session("factor.add")
        found = self._signing_in()
        codes = self._accounts.factors.add_key(found, credential, origin)
        self._audit("factor.add", found.id, method="key")
        return codes or RecoveryCodes(())

    def drop_factors(self, password: str) -> None:
        """Take one's own second factors off, by password."""
        self._require_session("factors.drop")
        found = self._person()
        free, _ = self._accounts.throttle.attempt([("account", found.name)])
        if not (self._accounts.passwords.matches(found.password, password) and free):
            self._audit("factors.drop", found.id, outcome="refused")
            raise UsageError("the password is not right", hint="Try again in some minutes.")
        self._accounts.throttle.forgive(found.name)
        self._accounts.factors.drop(found)
        self._audit("factors.drop", found.id)

    def audit(self, before: int | None = None) -> list[dict[str, Any]]:
        if "admin" not in self._me.scopes or self._person().role not in ("admin", "auditor"):
            self._audit("audit.read", outcome="refused")
            raise NotPermittedError(f"{self._me.user} may not read the audit log", hint="Auditors and admins may.")
        found = self._accounts.audit.newest(before=before, limit=AUDIT_PAGE)
        self._audit("audit.read", entries=len(found), newest=found[0]["seq"] if found else 0)
        return found

    def sign_out(self) -> None:
        self._accounts.sign_out(self._me)

    def close(self) -> None:
        """Nothing to release: the accounts belong to whoever made them."""

    # ------------------------------------------------------------------------------------------------

    def _person(self) -> Person:
        with self._accounts.store.read() as conn:
            return rows.known(conn, self._me.user)

    def _signing_in(self) -> Person:
        """Oneself, as somebody who signs in by password: who does not has no first factor to add a second to."""
        found = self._person()
        if found.password is None:
            raise UsageError("this account has no password", hint="The identity provider asks for second factors.")
        return found

    def _account(self, name: str) -> Account:
        with self._accounts.store.read() as conn:
            found = rows.known(conn, name)
            row = conn.execute(select(users.c.created_at).where(users.c.id == found.id)).one()
            seen = conn.execute(select(accounts_table.c.seen_at).where(accounts_table.c.user_id == found.id)).scalar()
            groups = rows.groups_of(conn, found.id)
        until = self._accounts.throttle.waits_until(found.name)
        return Account(
            found.name,
            found.role,
            datetime.fromisoformat(row.created_at),
            groups,
            found.disabled,
            found.password is not None,
            found.issuer is not None,
            self._accounts.factors.methods(found),
            None if seen is None else datetime.fromisoformat(seen),
            None if until is None else datetime.fromtimestamp(until, self._accounts.clock().tzinfo),
        )

    def _is_admin(self) -> bool:
        return "admin" in self._me.scopes and self._person().role == "admin"

    def _require_admin(self, action: str, *, session: bool = False) -> None:
        if session:
            self._require_session(action)
        if not self._is_admin():
            self._audit(action, outcome="refused")
            raise NotPermittedError(f"{self._me.user} may not administer accounts", hint="Ask an administrator.")

    def _require_session(self, action: str) -> None:
        if self._me.kind == "token":
            self._audit(action, outcome="refused")
            raise NotPermittedError("an API token may not change accounts", hint="Sign in for that.")

    def _whose(self, user: str | None, action: str) -> Person:
        """Oneself, or somebody else for administrators."""
        if user is None or user == self._me.user:
            return self._person()
        self._require_admin(action)
        with self._accounts.store.read() as conn:
            return rows.known(conn, user)

    def _require_own(self, *, conn_owner: str | None, what: str) -> None:
        """Raise the same error for what does not exist and for what is somebody else's."""
        if conn_owner is None or not (self._is_admin() or conn_owner == self._person().id):
            raise NotFoundError(f"{what} does not exist", hint="List them first.")

    def _other(self, found: Person) -> Person:
        if found.name in (LOCAL_USER, self._me.user):
            raise UsageError(
                f"{found.name} cannot be changed this way", hint="Another administrator changes your own account."
            )
        return found

    def _audit(self, action: str, subject: str = "", *, outcome: str = "ok", **detail: object) -> None:
        self._accounts.audit.append(self._me.user, action, subject, outcome=outcome, **detail)  # type: ignore[arg-type]


def _known_role(role: str) -> None:
    if role not in ROLES:
        raise UsageError(f"there is no role {role!r}", hint=f"Choose of {', '.join(ROLES)}.")
