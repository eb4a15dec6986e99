"""Single sign-on against a real provider in a process of its own, and against one that forges what it can."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc.jwk import RSAKey

from strongroom import airgap
from strongroom.access import LOCAL_USER
from strongroom.accounts import Accounts, Desk
from strongroom.accounts.sso import Provider, SingleSignOn
from strongroom.catalog import Catalog
from strongroom.errors import ConfigError, SignInError, StrongroomError, UsageError
from strongroom.people import AccountChange, Identity, NewAccount, SsoReturn
from tests.oidc import Forger, forger, real_provider
from tests.server_fixtures import make_accounts

BACK = "http://127.0.0.1:8601/sign-in/return"


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    airgap.enforce()
    with real_provider() as found:
        yield found


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Accounts]:
    made = make_accounts(tmp_path / "a")
    yield made
    made.store.close()


@pytest.fixture
def owner(book: Accounts) -> Desk:
    return Desk(book, Identity(LOCAL_USER, "owner"))


def at_provider(url: str, subject: str) -> SsoReturn:
    """What a browser brings back after signing in at the real provider."""
    answer = httpx.post(url, data={"sub": subject}, trust_env=False)
    assert answer.status_code == 302
    there = urlsplit(answer.headers["location"])
    assert f"{there.scheme}://{there.netloc}{there.path}" == BACK
    query = parse_qs(there.query)
    return SsoReturn(query["state"][0], query["code"][0])


def sign_in(sso: SingleSignOn, subject: str) -> Identity:
    done = sso.finish(at_provider(sso.begin(BACK).url, subject))
    found = sso._accounts.identify(done.session)
    assert found is not None
    return found


# ------------------------------------------------------------------------------------------------ a real provider


def test_people_sign_in_get_an_account_and_their_groups(book: Accounts, owner: Desk, issuer: str) -> None:
    sso = SingleSignOn(Provider(issuer, "strongroom", "secret"), book)
    identity = sign_in(sso, "s-ben")
    me = Desk(book, identity).me()
    assert (me.name, me.role, me.groups, me.sso, me.password) == ("ben", "viewer", ("Legal",), True, False)
    assert sign_in(sso, "s-ben").user == "ben"
    assert [a.name for a in owner.users()] == ["ben", LOCAL_USER]


def test_the_request_carries_pkce_state_and_nonce(book: Accounts, issuer: str) -> None:
    sso = SingleSignOn(Provider(issuer, "strongroom", "secret"), book)
    one, two = sso.begin(BACK), sso.begin(BACK)
    asked = [{k: v[0] for k, v in parse_qs(urlsplit(there.url).query).items()} for there in (one, two)]
    assert asked[0]["response_type"] == "code"
    assert asked[0]["code_challenge_method"] == "S256"
    assert asked[0]["state"] == one.state
    for name in ("code_challenge", "state", "nonce"):
        assert len(asked[0][name]) >= 43
        assert asked[0][name] != asked[1][name]
    assert "secret" not in one.url


def test_a_code_or_state_is_good_once(book: Accounts, issuer: str) -> None:
    sso = SingleSignOn(Provider(issuer, "strongroom", "secret"), book)
    returned = at_provider(sso.begin(BACK).url, "s-ben")
    sso.finish(returned)
    with pytest.raises(SignInError):
        sso.finish(returned)
    again = sso.begin(BACK)
    with pytest.raises(SignInError):  # the used code with a fresh state
        sso.finish(SsoReturn(again.state, returned.code))


def test_the_admin_group_makes_administrators_and_the_required_one_lets_in(book: Accounts, issuer: str) -> None:
    sso = SingleSignOn(Provider(issuer, "strongroom", "s", admin_group="Admins", required_group="Legal"), book)
    assert Desk(book, sign_in(sso, "s-anna")).me().role == "admin"
    assert Desk(book, sign_in(sso, "s-ben")).me().role == "viewer"
    with pytest.raises(SignInError):
        sign_in(sso, "s-eve")


def test_groups_follow_the_provider(book: Accounts, issuer: str) -> None:
    sso = SingleSignOn(Provider(issuer, "strongroom", "s"), book)
    sign_in(sso, "s-anna")
    catalog = Catalog(book.store, book.vault)
    catalog.join("Left", "anna")
    catalog.leave("Admins", "anna")
    assert Desk(book, sign_in(sso, "s-anna")).me().groups == ("Admins", "Legal")


def test_a_wall_between_two_groups_keeps_the_person_out(book: Accounts, issuer: str) -> None:
    Catalog(book.store, book.vault).add_wall("Admins", "Legal", by=LOCAL_USER)
    sso = SingleSignOn(Provider(issuer, "strongroom", "s"), book)
    with pytest.raises(SignInError):
        sign_in(sso, "s-anna")
    assert sign_in(sso, "s-ben").user == "ben"


def test_a_name_of_the_provider_takes_no_account_over(book: Accounts, owner: Desk, issuer: str) -> None:
    owner.add_user(NewAccount("ben", "admin"))
    sso = SingleSignOn(Provider(issuer, "strongroom", "s"), book)
    with pytest.raises(UsageError, match="taken"):
        sign_in(sso, "s-ben")
    with pytest.raises(UsageError, match="not possible"):  # who calls themselves like the built-in user
        sign_in(sso, "s-eve")


def test_a_disabled_person_stays_out(book: Accounts, owner: Desk, issuer: str) -> None:
    sso = SingleSignOn(Provider(issuer, "strongroom", "s"), book)
    sign_in(sso, "s-ben")
    owner.change_user("ben", AccountChange(disabled=True))
    with pytest.raises(SignInError):
        sign_in(sso, "s-ben")


# ------------------------------------------------------------------------------------------------ a false provider


@pytest.fixture
def bad() -> Iterator[Forger]:
    with forger() as made:
        yield made


def finish(bad: Forger, sso: SingleSignOn) -> Any:
    there = sso.begin(BACK)
    query = parse_qs(urlsplit(there.url).query)
    bad.nonce = bad.claims.pop("nonce!", query["nonce"][0])
    bad.challenge = query["code_challenge"][0]
    return sso.finish(SsoReturn(there.state, "code"))


def test_a_true_token_is_taken_and_pkce_is_kept(book: Accounts, bad: Forger) -> None:
    sso = SingleSignOn(Provider(bad.issuer, "strongroom", "s"), book)
    assert finish(bad, sso).user == "anna"
    assert 43 <= len(bad.verifier) <= 128


FORGERIES: dict[str, Callable[[Forger], None]] = {
    "nonce": lambda f: f.claims.update({"nonce!": "another"}),
    "no nonce": lambda f: f.claims.update(nonce=None),
    "audience": lambda f: f.claims.update(aud="another"),
    "audiences": lambda f: f.claims.update(aud=["another", "strongroom"]),
    "party": lambda f: f.claims.update(aud=["another", "strongroom"], azp="another"),
    "issuer": lambda f: f.claims.update(iss="http://127.0.0.1:1"),
    "expired": lambda f: f.claims.update(exp=1_000_000),
    "no end": lambda f: f.claims.update(exp=None),
    "no subject": lambda f: f.claims.update(sub=None),
    "unsigned": lambda f: setattr(f, "algorithm", "none"),
    "signed by another key": lambda f: setattr(f, "published", RSAKey.generate_key(2048, parameters={"kid": "one"})),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_token_signs_nobody_in(book: Accounts, owner: Desk, bad: Forger, forgery: str) -> None:
    FORGERIES[forgery](bad)
    with pytest.raises(SignInError):
        finish(bad, SingleSignOn(Provider(bad.issuer, "strongroom", "s"), book))
    assert [a.name for a in owner.users()] == [LOCAL_USER]
    assert any(e.action == "sign-in" and e.outcome == "refused" for e in book.audit.entries())


def test_the_public_key_is_no_secret_to_sign_with(book: Accounts, bad: Forger) -> None:
    # the classic: an HMAC keyed by the provider's public key
    bad.algorithm = "HS256"
    with pytest.raises(SignInError):
        finish(bad, SingleSignOn(Provider(bad.issuer, "strongroom", "s"), book))


def test_a_provider_that_calls_itself_otherwise_is_not_believed(book: Accounts, bad: Forger) -> None:
    bad.facts = {"issuer": "https://login.example"}
    with pytest.raises(StrongroomError, match="otherwise"):
        finish(bad, SingleSignOn(Provider(bad.issuer, "strongroom", "s"), book))


def test_only_allowed_hosts_over_tls_are_providers(book: Accounts) -> None:
    good = Provider("https://login.example", "strongroom", "s")
    with pytest.raises(ConfigError, match="allowed"):
        SingleSignOn(good, book)
    airgap.enforce(["login.example"])
    SingleSignOn(good, book)
    with pytest.raises(ConfigError, match="https"):
        SingleSignOn(replace(good, issuer="http://login.example"), book)


def test_a_provider_that_is_away_is_said_clearly(book: Accounts) -> None:
    with pytest.raises(StrongroomError, match="does not answer"):
        SingleSignOn(Provider("http://127.0.0.1:9", "strongroom", "s"), book).begin(BACK)
