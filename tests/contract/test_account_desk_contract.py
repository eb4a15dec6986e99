"""One contract for every `AccountDesk`, in process and over HTTP, and what API tokens may reach over HTTP."""

from __future__ import annotations

import re
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import pyotp
import pytest

from server.app import create_app
from server.guard import OPEN_PATHS, SIGN_IN, scope_for
from server.run import new_token
from server.settings import ServerSettings
from server.state import MOST_SIGNING
from strongroom.access import LOCAL_USER
from strongroom.accounts import Accounts, Desk
from strongroom.client.accounts import HttpDesk, SignInClient
from strongroom.engine import AccountDesk
from strongroom.errors import NotFoundError, NotPermittedError, SignInError, UnauthorizedError, UsageError
from strongroom.people import (
    SCOPES,
    AccountChange,
    Identity,
    NewAccount,
    PasswordChange,
    RedeemRequest,
    Role,
    Scope,
    SignInRequest,
    TokenRequest,
)
from tests.fakes_engine import FakeEngine
from tests.server_fixtures import Served, make_accounts, served

PASSWORD = "seven grey herons at dawn"
OTHER = "nine red kites over water"
Be = Callable[[str], AccountDesk]


class AccountDeskContract:
    """Subclasses provide `be`: the desk of a person as they have signed in; the built-in user is there already."""

    def add(self, be: Be, name: str, role: Role = "viewer") -> None:
        raise NotImplementedError

    def test_an_account_is_made_listed_changed_and_deleted(self, be: Be) -> None:
        owner = be(LOCAL_USER)
        invitation = owner.add_user(NewAccount("Anna", "editor"))
        assert invitation.name == "anna"
        assert invitation.code not in repr(invitation)
        assert [(a.name, a.role) for a in owner.users()] == [("anna", "editor"), (LOCAL_USER, "admin")]
        with pytest.raises(UsageError, match="exists"):
            owner.add_user(NewAccount("ANNA"))
        changed = owner.change_user("anna", AccountChange(role="auditor", disabled=True))
        assert (changed.role, changed.disabled) == ("auditor", True)
        assert owner.change_user("anna", AccountChange(disabled=False)).role == "auditor"
        owner.delete_user("anna")
        assert [a.name for a in owner.users()] == [LOCAL_USER]
        with pytest.raises(NotFoundError):
            owner.delete_user("anna")

    def test_one_s_own_account_and_nobody_else_s(self, be: Be) -> None:
        self.add(be, "anna")
        self.add(be, "ben")
        anna = be("anna")
        assert anna.me().name == "anna"
        assert [s.user for s in anna.sessions() if s.current] == ["anna"]
        theirs = be("ben").sessions()[0]
        for attempt in (
            anna.users,
            lambda: anna.sessions("ben"),
            lambda: anna.tokens("ben"),
            lambda: anna.end_sessions("ben"),
            lambda: anna.add_token(TokenRequest("x", ("read",)), "ben"),
            lambda: anna.change_user("ben", AccountChange(role="admin")),
            lambda: anna.delete_user("ben"),
            lambda: anna.invite("ben"),
            lambda: anna.unlock("ben"),
            lambda: anna.reset_factors("ben"),
            lambda: anna.set_password("ben", OTHER),
        ):
            with pytest.raises(NotPermittedError):
                attempt()
        said = []
        for session_id in (theirs.id, "no-such-session"):
            with pytest.raises(NotFoundError) as caught:
                anna.end_session(session_id)
            said.append(str(caught.value).replace(session_id, "ID"))
        assert said[0] == said[1]

    def test_tokens_are_made_listed_and_revoked(self, be: Be) -> None:
        self.add(be, "anna")
        anna = be("anna")
        made = anna.add_token(TokenRequest("nightly", ("ask", "read"), days=3))
        assert made.secret not in repr(made)
        (listed,) = anna.tokens()
        assert (listed.name, listed.scopes, listed.used) == ("nightly", ("read", "ask"), None)
        assert be(LOCAL_USER).tokens("anna") == [listed]
        anna.revoke_token(listed.id)
        assert anna.tokens() == []
        with pytest.raises(NotFoundError):
            anna.revoke_token(listed.id)
        with pytest.raises(UsageError):
            anna.add_token(TokenRequest("x", ("read",), days=1000))

    def test_password_second_factor_and_sessions(self, be: Be) -> None:
        self.add(be, "anna")
        first, second = be("anna"), be("anna")
        assert len(first.sessions()) >= 2
        with pytest.raises(UsageError):
            first.change_password(PasswordChange("short", PASSWORD))
        with pytest.raises(UsageError):
            first.change_password(PasswordChange(OTHER, "wrong"))
        first.change_password(PasswordChange(OTHER, PASSWORD))
        assert len(first.sessions()) == 1
        with pytest.raises(UsageError):
            first.confirm_totp("123456")
        setup = first.begin_totp()
        codes = first.confirm_totp(pyotp.TOTP(setup.secret).now())
        assert len(set(codes.codes)) == 10
        assert first.me().second_factors == ("totp",)
        with pytest.raises(UsageError):
            first.drop_factors("wrong")
        first.drop_factors(OTHER)
        assert first.me().second_factors == ()
        first.sign_out()
        second.close()

    def test_an_auditor_or_editor_administers_nothing(self, be: Be) -> None:
        for role in ("auditor", "editor"):
            self.add(be, f"the-{role}", role)
            with pytest.raises(NotPermittedError):
                be(f"the-{role}").users()

    def test_auditors_read_the_log_and_others_do_not(self, be: Be) -> None:
        for role in ("auditor", "viewer"):
            self.add(be, f"the-{role}", role)
        log = be("the-auditor").audit()
        assert log[0]["seq"] > log[1]["seq"]
        assert {"user.add", "sign-in"} <= {line["action"] for line in log}
        assert be("the-auditor").audit(before=log[-2]["seq"]) == log[-1:]
        assert be(LOCAL_USER).audit()[0]["action"] == "audit.read"
        with pytest.raises(NotPermittedError):
            be("the-viewer").audit()

    def test_security_keys_need_a_name(self, be: Be) -> None:
        self.add(be, "anna")
        with pytest.raises(UsageError, match="host name"):
            be("anna").begin_key("http://127.0.0.1:8601")
        options = be("anna").begin_key("http://localhost:8601")
        assert options["rp"] == {"name": "Strongroom", "id": "localhost"}
        with pytest.raises(UsageError):
            be("anna").add_key({"id": "x"}, "http://localhost:8601")


class TestDesk(AccountDeskContract):
    """In process."""

    @pytest.fixture
    def book(self, tmp_path: Path) -> Iterator[Accounts]:
        made = make_accounts(tmp_path / "a")
        yield made
        made.store.close()

    @pytest.fixture
    def be(self, book: Accounts) -> Be:
        def be(name: str) -> AccountDesk:
            if name == LOCAL_USER:
                return Desk(book, Identity(LOCAL_USER, "owner"))
            identity = book.identify(book.sign_in(name, PASSWORD).session)
            assert identity is not None
            return Desk(book, identity)

        self.book = book
        return be

    def add(self, be: Be, name: str, role: Role = "viewer") -> None:
        self.book.redeem(RedeemRequest(be(LOCAL_USER).add_user(NewAccount(name, role)).code, PASSWORD))


class TestHttpDesk(AccountDeskContract):
    """Through a server."""

    @pytest.fixture
    def be(self, tmp_path: Path) -> Iterator[Be]:
        with ExitStack() as stack:
            up = stack.enter_context(served(tmp_path, accounts=True))
            self.client = SignInClient(up.url)
            stack.callback(self.client.close)

            def be(name: str) -> AccountDesk:
                secret = up.token
                if name != LOCAL_USER:
                    secret = self.client.password(SignInRequest(name, PASSWORD), {}).session
                desk = HttpDesk(up.url, secret)
                stack.callback(desk.close)
                return desk

            yield be

    def add(self, be: Be, name: str, role: Role = "viewer") -> None:
        self.client.redeem(RedeemRequest(be(LOCAL_USER).add_user(NewAccount(name, role)).code, PASSWORD), {})

    def test_an_ended_session_is_refused(self, be: Be) -> None:
        self.add(be, "anna")
        first, second = be("anna"), be("anna")
        assert second.end_sessions() >= 1
        with pytest.raises(UnauthorizedError):
            first.me()


# ------------------------------------------------------------------------------------------------ API tokens


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("tokens"), accounts=True) as running:
        assert running.accounts is not None
        owner = Desk(running.accounts, Identity(LOCAL_USER, "owner"))
        for name, role in (("root", "admin"), ("anna", "viewer")):
            code = owner.add_user(NewAccount(name, role)).code  # type: ignore[arg-type]
            running.accounts.redeem(RedeemRequest(code, PASSWORD))
        yield running


def token(up: Served, user: str, *scopes: Scope) -> dict[str, str]:
    assert up.accounts is not None
    made = Desk(up.accounts, Identity(LOCAL_USER, "owner")).add_token(TokenRequest("t", scopes), user)
    return {"Authorization": f"Bearer {made.secret}"}


REQUESTS: list[tuple[Scope, str, str, Any]] = [
    ("read", "GET", "/api/documents", None),
    ("read", "POST", "/api/search", {"question": "notice"}),
    ("ask", "POST", "/api/ask", {"question": "notice"}),
    ("ingest", "POST", "/api/ingest/unchanged", {"collection": "default", "offers": []}),
    ("ingest", "DELETE", "/api/documents/x", None),
    ("admin", "GET", "/api/watches", None),
    ("admin", "POST", "/api/verify", None),
]


@pytest.mark.parametrize(("needed", "method", "path", "body"), REQUESTS)
def test_a_token_reaches_what_its_scope_says(up: Served, needed: Scope, method: str, path: str, body: Any) -> None:
    for scope in SCOPES:
        answer = up.http.request(method, path, json=body, headers=token(up, "root", scope))
        assert (answer.status_code == 403) == (scope != needed), scope


@pytest.mark.parametrize(
    "path",
    ["/api//watches", "/api/./watches", "/api/documents/../watches", "/API/watches", "/api/documents%2f..%2fwatches"],
)
def test_no_spelling_of_a_path_widens_a_scope(up: Served, path: str) -> None:
    sent = httpx.Request("GET", f"{up.url}{path}", headers=token(up, "root", "read"))
    sent = httpx.Request("GET", httpx.URL(up.url).copy_with(raw_path=path.encode()), headers=sent.headers)
    assert up.http.send(sent).status_code in (403, 404)


def test_every_route_is_in_the_table_of_scopes_or_for_administrators(tmp_path: Path) -> None:
    app = create_app(lambda _user, *, by: FakeEngine(), token=new_token(), settings=ServerSettings(spool_dir=tmp_path))
    reached: dict[Scope, set[str]] = {scope: set() for scope in SCOPES}
    for path, methods in app.openapi()["paths"].items():
        if path not in OPEN_PATHS and not path.startswith(SIGN_IN):
            for method in map(str.upper, methods):
                reached[scope_for(method, path.replace("{", "").replace("}", ""))].add(f"{method} {path}")
    assert all(reached.values())
    assert all(r.startswith("GET ") or r == "POST /api/search" for r in reached["read"])
    account = [
        r for r in set().union(*reached.values()) if re.search("users|tokens|sessions|grants|watches|/account/", r)
    ]
    assert len(account) > 20
    assert set(account) <= reached["admin"]


def test_a_token_without_admin_acts_as_nobody_else(up: Served) -> None:
    headers = token(up, "root", "read")
    assert up.http.get("/api/documents", headers=headers).status_code == 200
    assert up.http.get("/api/documents", headers={**headers, "X-Strongroom-As": "anna"}).status_code == 403


@pytest.mark.parametrize("secret", ["x", "srt_", "srs_", "srt_" + "a" * 43, "srs_" + "é" * 9])
def test_what_is_no_credential_opens_nothing(up: Served, secret: str) -> None:
    headers = {"Authorization": f"Bearer {secret}".encode()}
    assert up.http.get("/api/account", headers=headers).status_code == 401  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------ floods


def test_a_flood_of_sign_ins_holds_up_nobody_who_is_signed_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # GIVEN passwords that take long to check, and more attempts at once than are let wait
    hold, codes = threading.Event(), list[int]()
    monkeypatch.setattr(Accounts, "sign_in", lambda *_a, **_k: hold.wait(20))
    with served(tmp_path, accounts=True) as up:

        def attempt() -> None:
            body = {"name": "anna", "password": "x"}
            codes.append(httpx.post(f"{up.url}/api/sign-in/password", json=body, trust_env=False).status_code)

        threads = [threading.Thread(target=attempt) for _ in range(MOST_SIGNING + 8)]
        for thread in threads:
            thread.start()
        # WHEN the surplus was told to come back
        deadline = time.monotonic() + 20
        while len(codes) < 8 and time.monotonic() < deadline:
            time.sleep(0.02)
        # THEN the others still wait, and whoever is in gets answers
        assert codes == [429] * 8
        begun = time.monotonic()
        assert up.http.get("/api/documents").status_code == 200
        assert time.monotonic() - begun < 5
        hold.set()
        for thread in threads:
            thread.join(20)


# ------------------------------------------------------------------------------------------------ time


def test_time_does_not_tell_an_unknown_name_from_a_known_one(tmp_path: Path) -> None:
    """Interleaved; Welch's t as in dudect (Reparaz, Balasch, Verbauwhede 2017), whose bound is 4.5."""
    book = make_accounts(tmp_path / "a")
    owner = Desk(book, Identity(LOCAL_USER, "owner"))
    book.redeem(RedeemRequest(owner.add_user(NewAccount("anna")).code, PASSWORD))
    book.passwords.warm_up()
    seconds: dict[str, list[float]] = {"known": [], "unknown": []}
    for number in range(80):
        for kind, name in (("known", "anna"), ("unknown", "nobody")):
            book.throttle.forgive(name)
            begun = time.perf_counter()
            with suppress(SignInError):
                book.sign_in(name, f"wrong password {number}")
            seconds[kind].append(time.perf_counter() - begun)
            book.throttle.succeeded(name, "")
    cut = sorted(seconds["known"] + seconds["unknown"])[int(160 * 0.9)]  # a busy machine's long tail says nothing
    known, unknown = ([s for s in seconds[kind] if s <= cut] for kind in ("known", "unknown"))
    spread = statistics.variance(known) / len(known) + statistics.variance(unknown) / len(unknown)
    assert abs(statistics.mean(known) - statistics.mean(unknown)) / spread**0.5 < 4.5
    book.store.close()


def test_without_a_second_factor_that_is_a_must_only_ones_own_account_is_reached(up: Served) -> None:
    # GIVEN an administrator who signs in by password alone, where administrators must have a second factor
    assert up.accounts is not None
    session = {"Authorization": f"Bearer {up.accounts.sign_in('root', PASSWORD).session}"}
    up.accounts.second_factor_rule = "administrators"
    try:
        # THEN nothing of the documents, of others or of the log is reached, by no way
        for _, method, path, body in [
            *REQUESTS,
            ("admin", "GET", "/api/users", None),
            ("admin", "GET", "/api/audit", None),
        ]:
            answer = up.http.request(method, path, json=body, headers=session)
            assert (answer.status_code, "second factor" in answer.text) == (403, True), path
        for method, path, status in (
            ("GET", "/api/account/../users", 403),
            ("GET", "/api/accountx", 403),
            ("GET", "/api/sessions?user=anna", 403),
            ("POST", "/api/tokens", 403),
            ("GET", "/api/account", 200),
            ("GET", "/api/sessions", 200),
            ("POST", "/api/account/totp", 200),
        ):
            assert up.http.request(method, path, headers=session).status_code == status, path
        # AND who is not an administrator is not held up
        other = {"Authorization": f"Bearer {up.accounts.sign_in('anna', PASSWORD).session}"}
        assert up.http.get("/api/documents", headers=other).status_code == 200
    finally:
        up.accounts.second_factor_rule = "optional"
