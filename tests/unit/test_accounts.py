"""Accounts by themselves: passwords, waiting, sessions, tokens, invitations, second factors. The test has the clock."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyotp
import pytest
from argon2 import PasswordHasher
from sqlalchemy import select, update

from strongroom.access import LOCAL_USER
from strongroom.accounts import Accounts, Desk, Passwords
from strongroom.accounts.accounts import IDLE, INVITATION_LIFE, LIFE, PENDING_LIFE
from strongroom.accounts.passwords import refuse_weak
from strongroom.accounts.throttle import FIRST_WAIT, FREE
from strongroom.audit import Origin, acting_from
from strongroom.catalog.tables import accounts as accounts_table
from strongroom.catalog.tables import sessions, tokens
from strongroom.errors import NotFoundError, NotPermittedError, SignInError, UsageError
from strongroom.people import (
    AccountChange,
    Identity,
    NewAccount,
    PasswordChange,
    RedeemRequest,
    Role,
    SecondFactor,
    SecondFactorRule,
    TokenRequest,
)
from tests.server_fixtures import make_accounts

PASSWORD = "seven grey herons at dawn"
OTHER = "nine red kites over water"


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def on(self, step: timedelta) -> None:
        self.now += step


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def book(tmp_path: Path, clock: Clock) -> Iterator[Accounts]:
    made = make_accounts(tmp_path / "a", clock=clock)
    yield made
    made.store.close()


@pytest.fixture
def owner(book: Accounts) -> Desk:
    return Desk(book, Identity(LOCAL_USER, "owner"))


def add(book: Accounts, name: str = "anna", role: Role = "viewer") -> Desk:
    """A user with a password, and their desk as they have signed in."""
    invitation = Desk(book, Identity(LOCAL_USER, "owner")).add_user(NewAccount(name, role))
    book.redeem(RedeemRequest(invitation.code, PASSWORD))
    return desk_of(book, name)


def desk_of(book: Accounts, name: str, password: str = PASSWORD) -> Desk:
    identity = book.identify(book.sign_in(name, password).session)
    assert identity is not None
    return Desk(book, identity)


def failures(book: Accounts) -> list[dict[str, object]]:
    return [e.detail for e in book.audit.entries() if e.action == "sign-in" and e.outcome == "refused"]


# ------------------------------------------------------------------------------------------------ passwords


@pytest.mark.parametrize(
    ("password", "word"),
    [
        ("short", "fewer"),
        ("x" * 129, "more than"),
        ("my name is Anna-Maria", "name"),
        ("password1234", "guessed"),
        ("qwertyuiop123", "guessed"),
        ("aaaaaaaaaaaaaa", "guessed"),
        ("P@ssw0rd12345", "guessed"),
    ],
)
def test_weak_passwords_are_refused_with_the_reason(password: str, word: str) -> None:
    with pytest.raises(UsageError, match=word):
        refuse_weak(password, "anna-maria")


def test_a_strong_password_without_digits_is_taken() -> None:
    refuse_weak(PASSWORD, "anna")


def test_hashes_are_argon2id_with_rfc_9106_s_second_choice() -> None:
    assert Passwords().hash(PASSWORD).startswith("$argon2id$v=19$m=65536,t=3,p=4$")


def test_a_hash_of_older_parameters_is_replaced_at_the_next_sign_in(book: Accounts) -> None:
    add(book)
    old = PasswordHasher(time_cost=2, memory_cost=32, parallelism=1).hash(PASSWORD)
    with book.store.write() as conn:
        conn.execute(update(accounts_table).values(password=old))
    book.sign_in("anna", PASSWORD)
    with book.store.read() as conn:
        kept = conn.execute(select(accounts_table.c.password)).scalars().all()
    assert old not in kept
    assert book.sign_in("anna", PASSWORD).session


# ------------------------------------------------------------------------------------------------ signing in


def test_names_are_folded_and_unknown_wrong_and_disabled_look_the_same(book: Accounts, owner: Desk) -> None:
    add(book)
    add(book, "ben")
    owner.change_user("ben", AccountChange(disabled=True))
    assert book.sign_in(" ANNA ", PASSWORD).session
    said = set()
    for name, password in (("anna", OTHER), ("nobody-here", PASSWORD), ("ben", PASSWORD), (LOCAL_USER, "")):
        with pytest.raises(SignInError) as caught:
            book.sign_in(name, password)
        said.add((str(caught.value), caught.value.hint, caught.value.http_status))
    assert len(said) == 1


def test_an_unknown_name_costs_one_hash_like_a_known_one(book: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    # GIVEN a count of what is verified
    add(book)
    seen: list[str | None] = []
    real = Passwords.matches
    monkeypatch.setattr(Passwords, "matches", lambda self, h, p: (seen.append(h), real(self, h, p))[1])
    # WHEN somebody tries a known, an unknown, and a waiting account
    for name in ["anna"] * (FREE["account"] + 2) + ["nobody"]:
        with pytest.raises(SignInError):
            book.sign_in(name, OTHER)
    # THEN each attempt verified once
    assert len(seen) == FREE["account"] + 3


def test_failures_make_an_account_wait_twice_as_long_each_time(book: Accounts, clock: Clock) -> None:
    add(book)
    for _ in range(FREE["account"]):
        with pytest.raises(SignInError):
            book.sign_in("anna", OTHER)
    with pytest.raises(SignInError):  # now the right one does not help either
        book.sign_in("anna", PASSWORD)
    clock.on(timedelta(seconds=FIRST_WAIT + 1))
    with pytest.raises(SignInError):
        book.sign_in("anna", OTHER)
    clock.on(timedelta(seconds=FIRST_WAIT + 1))
    with pytest.raises(SignInError):
        book.sign_in("anna", PASSWORD)
    clock.on(timedelta(seconds=FIRST_WAIT + 1))
    assert book.sign_in("anna", PASSWORD).session
    assert any(e.action == "sign-in.wait" for e in book.audit.entries())


def test_trying_a_waiting_account_does_not_make_it_wait_longer(book: Accounts, clock: Clock) -> None:
    add(book)
    for _ in range(FREE["account"] + 50):
        with pytest.raises(SignInError):
            book.sign_in("anna", OTHER)
    clock.on(timedelta(seconds=FIRST_WAIT + 1))
    assert book.sign_in("anna", PASSWORD).session


def test_one_address_that_tries_many_names_has_to_wait(book: Accounts) -> None:
    add(book)
    with acting_from(Origin("r", "203.0.113.9")):
        for number in range(FREE["address"]):
            with pytest.raises(SignInError):
                book.sign_in(f"user{number}", OTHER)
        with pytest.raises(SignInError):
            book.sign_in("anna", PASSWORD)
    with acting_from(Origin("r", "203.0.113.10")):
        assert book.sign_in("anna", PASSWORD).session


def test_guessing_from_many_threads_gets_no_more_guesses(book: Accounts) -> None:
    add(book)
    checked: list[bool] = []
    lock = threading.Lock()

    def guess() -> None:
        try:
            book.sign_in("anna", OTHER)
        except SignInError:
            with lock:
                checked.append(True)

    threads = [threading.Thread(target=guess) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    reasons = [f["reason"] for f in failures(book)]
    assert reasons.count("password") == FREE["account"]
    assert reasons.count("waits") == 20 - FREE["account"]


def test_a_name_that_is_nobody_s_is_not_written_down(book: Accounts) -> None:
    with pytest.raises(SignInError):
        book.sign_in("my-secret-password!", "x")
    assert not any("my-secret" in str(e) for e in book.audit.entries())


# ------------------------------------------------------------------------------------------------ sessions


def test_sessions_end_when_idle_and_by_age(book: Accounts, clock: Clock) -> None:
    add(book)
    session = book.sign_in("anna", PASSWORD).session
    for _ in range(3):
        clock.on(IDLE - timedelta(minutes=30))
        assert book.identify(session) is not None
    clock.on(LIFE - 3 * (IDLE - timedelta(minutes=30)))
    assert book.identify(session) is None
    idle = book.sign_in("anna", PASSWORD).session
    clock.on(IDLE + timedelta(seconds=1))
    assert book.identify(idle) is None


def test_secrets_are_not_in_the_database(book: Accounts) -> None:
    desk = add(book)
    session = book.sign_in("anna", PASSWORD).session
    token = desk.add_token(TokenRequest("x", ("read",))).secret
    invitation = Desk(book, Identity(LOCAL_USER, "owner")).add_user(NewAccount("ben")).code
    setup = desk.begin_totp()
    codes = desk.confirm_totp(pyotp.TOTP(setup.secret).at(book.clock())).codes
    book.store.scrub()
    raw = book.store.path.read_bytes()
    for secret in (session, token, invitation, setup.secret, PASSWORD, codes[0], codes[0].replace("-", "")):
        assert secret.encode() not in raw


@pytest.mark.parametrize(
    "change",
    [AccountChange(disabled=True), AccountChange(role="editor"), AccountChange(role="auditor")],
    ids=["disabled", "editor", "auditor"],
)
def test_a_change_by_an_administrator_ends_sessions(book: Accounts, owner: Desk, change: AccountChange) -> None:
    add(book)
    session = book.sign_in("anna", PASSWORD).session
    owner.change_user("anna", change)
    assert book.identify(session) is None


def test_a_new_password_ends_other_sessions_and_needs_the_old_one(book: Accounts) -> None:
    desk = add(book)
    other = book.sign_in("anna", PASSWORD).session
    with pytest.raises(UsageError, match="old password"):
        desk.change_password(PasswordChange(OTHER, "wrong"))
    assert book.identify(other) is not None
    desk.change_password(PasswordChange(OTHER, PASSWORD))
    assert book.identify(other) is None
    assert [s.current for s in desk.sessions()] == [True]
    with pytest.raises(SignInError):
        book.sign_in("anna", PASSWORD)


def test_sessions_are_listed_and_ended_by_their_owner_and_nobody_else(book: Accounts) -> None:
    anna, ben = add(book), add(book, "ben")
    (mine,) = [s for s in anna.sessions() if s.current]
    with pytest.raises(NotFoundError):
        ben.end_session(mine.id)
    with pytest.raises(NotPermittedError):
        ben.sessions("anna")
    with pytest.raises(NotPermittedError):
        ben.end_sessions("anna")
    anna.end_session(mine.id)
    assert mine.id not in {s.id for s in anna.sessions()}


# ------------------------------------------------------------------------------------------------ tokens


def test_a_token_has_its_scopes_and_its_end(book: Accounts, clock: Clock) -> None:
    desk = add(book)
    made = desk.add_token(TokenRequest("job", ("ask", "read"), days=2))
    identity = book.identify(made.secret)
    assert identity == Identity("anna", "token", made.token.id, frozenset({"read", "ask"}))
    assert [t.used is not None for t in desk.tokens()] == [True]
    clock.on(timedelta(days=2))
    assert book.identify(made.secret) is None


def test_a_revoked_token_and_one_of_a_disabled_user_are_dead(book: Accounts, owner: Desk) -> None:
    desk = add(book)
    first, second = (desk.add_token(TokenRequest("job", ("read",))) for _ in range(2))
    desk.revoke_token(first.token.id)
    assert book.identify(first.secret) is None
    owner.change_user("anna", AccountChange(disabled=True))
    assert book.identify(second.secret) is None


def test_a_token_cannot_make_tokens_nor_change_the_account(book: Accounts) -> None:
    # GIVEN an administrator's token with every scope
    desk = add(book, "root", "admin")
    made = desk.add_token(TokenRequest("all", ("read", "ask", "ingest", "admin")))
    identity = book.identify(made.secret)
    assert identity is not None
    by_token = Desk(book, identity)
    # THEN whatever would make it last longer or reach further is refused
    for attempt in (
        lambda: by_token.add_token(TokenRequest("more", ("admin",), days=366)),
        lambda: by_token.change_password(PasswordChange(OTHER, PASSWORD)),
        lambda: by_token.add_user(NewAccount("eve", "admin")),
        lambda: by_token.invite("root"),
        lambda: by_token.change_user("root", AccountChange(role="admin")),
        lambda: by_token.begin_totp(),
        lambda: by_token.drop_factors(PASSWORD),
        lambda: by_token.end_sessions(),
        lambda: by_token.set_password("root", OTHER),
    ):
        with pytest.raises(NotPermittedError):
            attempt()


def test_an_administrator_s_token_without_the_scope_does_not_list_users(book: Accounts) -> None:
    desk = add(book, "root", "admin")
    identity = book.identify(desk.add_token(TokenRequest("r", ("read",))).secret)
    assert identity is not None
    with pytest.raises(NotPermittedError):
        Desk(book, identity).users()


@pytest.mark.parametrize(
    "request_", [TokenRequest("", ("read",)), TokenRequest("x", ()), TokenRequest("x", ("read",), days=0)]
)
def test_a_token_needs_a_name_a_scope_and_an_end(book: Accounts, request_: TokenRequest) -> None:
    with pytest.raises(UsageError):
        add(book).add_token(request_)


# ------------------------------------------------------------------------------------------------ invitations


def test_the_first_administrator_is_made_once(book: Accounts) -> None:
    first, second = book.first_administrator(), book.first_administrator()
    assert first is not None
    assert second is not None
    with pytest.raises(SignInError):  # a later start takes the earlier link back
        book.redeem(RedeemRequest(first, PASSWORD, "root"))
    signed_in = book.redeem(RedeemRequest(second, PASSWORD, "root"))
    identity = book.identify(signed_in.session)
    assert identity is not None
    assert Desk(book, identity).me().role == "admin"
    assert book.first_administrator() is None
    with pytest.raises(SignInError):
        book.redeem(RedeemRequest(second, PASSWORD, "eve"))


def test_a_weak_password_leaves_the_invitation_good_and_time_does_not(
    book: Accounts, owner: Desk, clock: Clock
) -> None:
    code = owner.add_user(NewAccount("anna")).code
    with pytest.raises(UsageError):
        book.redeem(RedeemRequest(code, "short"))
    assert book.redeem(RedeemRequest(code, PASSWORD)).session
    late = owner.invite("anna").code
    clock.on(INVITATION_LIFE)
    with pytest.raises(SignInError):
        book.redeem(RedeemRequest(late, OTHER))


def test_an_invitation_ends_what_others_may_hold_of_the_account(book: Accounts, owner: Desk) -> None:
    desk = add(book)
    session = book.sign_in("anna", PASSWORD).session
    token = desk.add_token(TokenRequest("x", ("read",))).secret
    book.redeem(RedeemRequest(owner.invite("anna").code, OTHER))
    assert book.identify(session) is None
    assert book.identify(token) is None


@pytest.mark.parametrize("name", ["", "local", "SYSTEM", "a b", "-x", "x" * 65, "a\nb", "<i>"])
def test_names_that_could_mislead_are_refused(owner: Desk, name: str) -> None:
    with pytest.raises(UsageError):
        owner.add_user(NewAccount(name))


# ------------------------------------------------------------------------------------------------ administration


def test_only_administrators_administer(book: Accounts) -> None:
    for role in ("viewer", "editor", "auditor"):
        desk = add(book, f"the-{role}", role)  # type: ignore[arg-type]
        for attempt in (
            desk.users,
            lambda desk=desk: desk.add_user(NewAccount("eve", "admin")),
            lambda desk=desk, role=role: desk.change_user(f"the-{role}", AccountChange(role="admin")),
            lambda desk=desk: desk.delete_user("local"),
            lambda desk=desk: desk.add_token(TokenRequest("x", ("admin",)), "local"),
        ):
            with pytest.raises(NotPermittedError):
                attempt()


def test_an_administrator_who_is_downgraded_loses_it_at_once(book: Accounts, owner: Desk) -> None:
    desk = add(book, "root", "admin")
    assert desk.users()
    owner.change_user("root", AccountChange(role="viewer"))
    with pytest.raises(NotPermittedError):  # even with the identity that was found before
        desk.users()


def test_nobody_locks_themselves_or_the_owner_out(book: Accounts) -> None:
    desk = add(book, "root", "admin")
    for name in ("root", LOCAL_USER):
        with pytest.raises(UsageError):
            desk.change_user(name, AccountChange(disabled=True))
        with pytest.raises(UsageError):
            desk.delete_user(name)


def test_a_deleted_user_leaves_no_session_token_or_grant(book: Accounts, owner: Desk) -> None:
    desk = add(book)
    session = book.sign_in("anna", PASSWORD).session
    token = desk.add_token(TokenRequest("x", ("read",))).secret
    owner.delete_user("anna")
    assert book.identify(session) is None
    assert book.identify(token) is None
    with book.store.read() as conn:
        assert conn.execute(select(sessions)).all() == []
        assert conn.execute(select(tokens)).all() == []


# ------------------------------------------------------------------------------------------------ second factors


@pytest.fixture
def totp(book: Accounts, clock: Clock) -> tuple[pyotp.TOTP, tuple[str, ...]]:
    desk = add(book)
    app = pyotp.TOTP(desk.begin_totp().secret)
    codes = desk.confirm_totp(app.at(clock())).codes
    clock.on(timedelta(seconds=30))
    return app, codes


Totp = tuple[pyotp.TOTP, tuple[str, ...]]


def test_a_code_is_asked_for_and_works_once(book: Accounts, clock: Clock, totp: Totp) -> None:
    first = book.sign_in("anna", PASSWORD)
    assert (first.session, first.methods) == ("", ("totp",))
    assert book.identify(first.pending) is None
    code = totp[0].at(clock())
    assert book.second_factor(SecondFactor(first.pending, code)).session
    again = book.sign_in("anna", PASSWORD)
    with pytest.raises(SignInError):
        book.second_factor(SecondFactor(again.pending, code))
    with pytest.raises(SignInError):  # nor does the code of a step before it
        book.second_factor(SecondFactor(again.pending, totp[0].at(clock() - timedelta(seconds=30))))


def test_the_code_that_confirmed_the_app_does_not_sign_in(book: Accounts, clock: Clock, totp: Totp) -> None:
    pending = book.sign_in("anna", PASSWORD).pending
    with pytest.raises(SignInError):
        book.second_factor(SecondFactor(pending, totp[0].at(clock() - timedelta(seconds=30))))


def test_codes_cannot_be_guessed_by_beginning_again(book: Accounts, totp: Totp) -> None:
    # the right password must not give fresh guesses at the code
    for _ in range(FREE["account"] * 2):
        with suppress(SignInError):
            book.second_factor(SecondFactor(book.sign_in("anna", PASSWORD).pending, "000000"))
    reasons = [f["reason"] for f in failures(book)]
    assert 0 < reasons.count("second factor") < FREE["account"]
    assert "waits" in reasons


@pytest.mark.parametrize(
    ("rule", "role", "must"),
    [
        ("optional", "admin", False),
        ("administrators", "admin", True),
        ("administrators", "viewer", False),
        ("everybody", "viewer", True),
    ],
)
def test_where_a_second_factor_is_a_must_a_session_reaches_nothing_before_it_is_set_up(
    book: Accounts, clock: Clock, rule: SecondFactorRule, role: Role, *, must: bool
) -> None:
    # GIVEN somebody who signed in by password alone
    add(book, "ada", role)
    session = book.sign_in("ada", PASSWORD).session
    book.second_factor_rule = rule
    # THEN the session is of no use, where the rule says so, until the factor is set up
    identity = book.identify(session)
    assert identity is not None
    assert identity.unready == must
    desk = Desk(book, identity)
    if must and role == "admin":
        with pytest.raises(NotPermittedError):
            desk.users()
    app = pyotp.TOTP(desk.begin_totp().secret)
    desk.confirm_totp(app.at(clock()))
    assert not book.identify(session).unready  # type: ignore[union-attr]
    # AND whoever takes the factor off again is where they were
    desk.drop_factors(PASSWORD)
    assert book.identify(session).unready == must  # type: ignore[union-attr]


def test_a_recovery_code_works_once(book: Accounts, totp: Totp) -> None:
    _, codes = totp
    pending = book.sign_in("anna", PASSWORD).pending
    assert book.second_factor(SecondFactor(pending, codes[3].upper())).session
    again = book.sign_in("anna", PASSWORD).pending
    with pytest.raises(SignInError):
        book.second_factor(SecondFactor(again, codes[3]))


def test_a_second_step_that_took_too_long_is_over(book: Accounts, clock: Clock, totp: Totp) -> None:
    pending = book.sign_in("anna", PASSWORD).pending
    clock.on(PENDING_LIFE)
    with pytest.raises(SignInError):
        book.second_factor(SecondFactor(pending, totp[0].at(clock())))


def test_one_s_own_factors_go_by_password_and_an_administrator_takes_them_off(
    book: Accounts, owner: Desk, clock: Clock, totp: Totp
) -> None:
    pending = book.sign_in("anna", PASSWORD).pending
    identity = book.identify(book.second_factor(SecondFactor(pending, totp[0].at(clock()))).session)
    assert identity is not None
    with pytest.raises(UsageError):
        Desk(book, identity).drop_factors("wrong")
    assert owner.users()[0].second_factors == ("totp",)
    owner.reset_factors("anna")
    assert book.sign_in("anna", PASSWORD).session
    assert book.identify("") is None
    assert replace(identity, user="x") != identity


# ------------------------------------------------------------------------------------------------ audit


def test_every_way_in_and_out_is_on_record(book: Accounts, owner: Desk) -> None:
    with acting_from(Origin("req", "192.0.2.4")):
        desk = add(book)
        made = desk.add_token(TokenRequest("x", ("read",)))
        book.identify(made.secret)
        with pytest.raises(SignInError):
            book.sign_in("anna", OTHER)
        desk.sign_out()
    entries = list(book.audit.entries())
    assert {"user.add", "password.set", "sign-in", "token.add", "token.use", "sign-out"} <= {e.action for e in entries}
    assert {e.address for e in entries} == {"192.0.2.4"}
    assert {e.outcome for e in entries if e.action == "sign-in"} == {"ok", "refused"}
    text = str(entries)
    assert PASSWORD not in text
    assert made.secret not in text
