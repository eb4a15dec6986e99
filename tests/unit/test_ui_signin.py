"""The sign-in and account pages as a browser meets them, attacked as another site or person would."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

import httpx
import pyotp
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from strongroom.access import LOCAL_USER
from strongroom.accounts import Accounts, Desk
from strongroom.listen import BackgroundServer, bind
from strongroom.people import AccountChange, Identity, NewAccount, RedeemRequest, Role
from tests.server_fixtures import Served, served
from ui import connection
from ui.connection import COOKIE
from ui.gate import Gate

PASSWORD = "seven grey herons at dawn"


async def _whose(request: Request) -> Response:
    """What a page of the UI does: ask the server as the person at this browser."""
    peer = connection.peer(request.cookies[COOKIE])
    return PlainTextResponse(peer.desk.me().name)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("signin"), accounts=True) as running:
        connection.configure(running.url, running.token)
        yield running


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    inner = Starlette(routes=[Route("/", _whose)])
    with BackgroundServer(Gate(inner, policy="default-src 'none'"), bind("127.0.0.1", 0)) as server:
        yield server.url


@pytest.fixture
def book(up: Served) -> Accounts:
    assert up.accounts is not None
    return up.accounts


@pytest.fixture
def owner(book: Accounts) -> Desk:
    return Desk(book, Identity(LOCAL_USER, "owner"))


class Browser:
    """A browser that fills forms in, and says where they come from."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = httpx.Client(base_url=url, trust_env=False, timeout=20, follow_redirects=False)

    def post(self, path: str, origin: str | None = "own", **fields: str) -> httpx.Response:
        headers = {} if origin is None else {"Origin": self.url if origin == "own" else origin}
        return self.http.post(path, data=fields, headers=headers)

    def sign_in(self, name: str, password: str = PASSWORD) -> httpx.Response:
        return self.post("/sign-in", name=name, password=password)

    @property
    def cookie(self) -> str | None:
        return self.http.cookies.get(COOKIE)


@pytest.fixture
def browser(url: str) -> Iterator[Browser]:
    made = Browser(url)
    yield made
    made.http.close()


@pytest.fixture
def other(url: str) -> Iterator[Browser]:
    made = Browser(url)
    yield made
    made.http.close()


_count = iter(range(1000))


def add(book: Accounts, role: Role = "viewer") -> str:
    """A person with a password; returns the name."""
    name = f"person{next(_count)}"
    code = Desk(book, Identity(LOCAL_USER, "owner")).add_user(NewAccount(name, role)).code
    book.redeem(RedeemRequest(code, PASSWORD))
    return name


def field(page: str, name: str) -> str:
    return html.unescape(re.findall(rf'name="{name}" value="([^"]*)"', page)[0])


def secret(page: str) -> str:
    return html.unescape(re.findall(r'class="secret">([^<]+)<', page)[0])


# ------------------------------------------------------------------------------------------------ signing in


def test_two_people_at_once_are_each_themselves(browser: Browser, other: Browser, book: Accounts) -> None:
    anna, ben = add(book), add(book)
    assert browser.sign_in(anna).status_code == 303
    assert other.sign_in(ben).status_code == 303
    for _ in range(5):
        assert browser.http.get("/").text == anna
        assert other.http.get("/").text == ben


def test_a_wrong_password_gives_the_form_again_and_no_cookie(browser: Browser, book: Accounts) -> None:
    known = browser.sign_in(add(book), "wrong")
    unknown = browser.sign_in("nobody-of-that-name", "wrong")
    assert known.status_code == unknown.status_code == 403
    assert known.text == unknown.text
    assert browser.cookie is None


def test_no_page_of_ours_has_a_script_but_for_security_keys(browser: Browser, book: Accounts) -> None:
    browser.sign_in(add(book, "admin"))
    for path in ("/sign-in", "/welcome?code=x", "/people", "/account"):
        page = browser.http.get(path)
        policy = page.headers["content-security-policy"]
        assert page.status_code == 200
        assert "unsafe" not in policy
        assert re.findall(r"<script(?! src=\"/sign-in/key.js\" defer>)", page.text) == []
        assert ("script-src 'self'" in policy) == (path == "/account")
        assert re.findall(r"\son\w+=|style=|https?://", page.text) == []


def test_names_and_agents_stay_text(browser: Browser, book: Accounts) -> None:
    browser.http.headers["User-Agent"] = "<script>alert(1)</script>"
    name = add(book)
    browser.sign_in(name)
    browser.post("/account/token", label="<img src=x onerror=alert(1)>", days="9", **{"scope-read": "1"})
    page = browser.http.get("/account").text
    assert "<img" not in page
    assert "<script>" not in page
    assert "&lt;img" in page


# ------------------------------------------------------------------------------------------------ other sites


@pytest.mark.parametrize("origin", [None, "null", "http://evil.example", "https://127.0.0.1"])
@pytest.mark.parametrize("path", ["/sign-in", "/sign-in/second", "/welcome", "/account/password", "/people/add"])
def test_forms_of_other_sites_are_refused(browser: Browser, book: Accounts, path: str, origin: str | None) -> None:
    browser.sign_in(add(book, "admin"))
    before = len(Desk(book, Identity(LOCAL_USER, "owner")).users())
    answer = browser.post(path, origin, name="eve", password=PASSWORD, new=PASSWORD, again=PASSWORD, role="admin")
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers
    assert len(Desk(book, Identity(LOCAL_USER, "owner")).users()) == before


def test_a_session_is_new_at_each_sign_in_and_the_earlier_one_ends(browser: Browser, book: Accounts) -> None:
    # GIVEN a browser into which somebody has put a session of theirs
    mallory, anna = add(book), add(book)
    browser.sign_in(mallory)
    planted = browser.cookie
    # WHEN a person signs in there
    browser.sign_in(anna)
    # THEN it is not the session of before, which is over
    assert planted is not None
    assert browser.cookie != planted
    assert book.identify(planted) is None
    assert browser.http.get("/").text == anna


@pytest.mark.parametrize("value", ["", "x", "srs_" + "a" * 43])
def test_a_planted_cookie_never_becomes_a_session(browser: Browser, book: Accounts, value: str) -> None:
    browser.http.cookies.set(COOKIE, value)
    answer = browser.sign_in(add(book))
    assert answer.status_code == 303
    assert browser.http.cookies.get(COOKIE, domain="127.0.0.1", path="/") != value


@pytest.mark.parametrize(
    "path",
    [
        "/sign-in?next=http://evil.example",
        "/sign-in/return?state=x&code=y&redirect_uri=http://evil.example",
        "/login?token=x&next=//evil.example",
        "/logout?next=//evil.example",
    ],
)
def test_nothing_of_an_address_decides_where_a_browser_goes(browser: Browser, path: str) -> None:
    answer = browser.http.get(path)
    assert "evil.example" not in answer.text
    assert "evil.example" not in str(answer.headers)


def test_a_sign_in_that_another_browser_began_is_not_finished(browser: Browser) -> None:
    browser.http.cookies.set("strongroom_sso", "mine")
    answer = browser.http.get("/sign-in/return", params={"state": "theirs", "code": "c"})
    assert answer.status_code == 403
    assert COOKIE not in str(answer.headers)


def test_a_link_to_sign_out_on_another_site_signs_nobody_out(browser: Browser, book: Accounts) -> None:
    # such a request comes without the strict cookie, so nothing may be told to forget it
    answer = httpx.get(f"{browser.url}/logout", trust_env=False)
    assert "set-cookie" not in answer.headers


# ------------------------------------------------------------------------------------------------ the account


def test_signing_out_ends_the_session(browser: Browser, book: Accounts) -> None:
    browser.sign_in(add(book))
    cookie = browser.cookie
    browser.http.get("/logout")
    assert book.identify(str(cookie)) is None
    browser.http.cookies.set(COOKIE, str(cookie))
    assert browser.http.get("/").status_code == 401


def test_a_role_that_is_taken_away_counts_in_the_middle_of_a_session(
    browser: Browser, book: Accounts, owner: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_BELIEVED", 0.0)
    name = add(book, "admin")
    browser.sign_in(name)
    assert browser.http.get("/people").status_code == 200
    owner.change_user(name, AccountChange(role="viewer"))
    assert browser.http.get("/people").status_code == 401
    browser.sign_in(name)
    assert browser.http.get("/people").status_code == 403


def test_the_password_is_changed_on_the_page(browser: Browser, other: Browser, book: Accounts) -> None:
    name, new = add(book), "nine red kites over water"
    browser.sign_in(name)
    other.sign_in(name)
    assert browser.post("/account/password", old="wrong", new=new, again=new).status_code == 400
    assert browser.post("/account/password", old=PASSWORD, new=new, again="other").status_code == 400
    assert browser.post("/account/password", old=PASSWORD, new=new, again=new).status_code == 200
    assert book.identify(str(browser.cookie)) is not None
    assert book.identify(str(other.cookie)) is None
    assert browser.sign_in(name, new).status_code == 303


def test_an_authenticator_app_is_set_up_and_asked_for(browser: Browser, book: Accounts) -> None:
    name = add(book)
    browser.sign_in(name)
    setup = browser.post("/account/totp")
    assert "<svg" in setup.text
    app = pyotp.TOTP(secret(setup.text))
    done = browser.post("/account/totp/confirm", code=app.at(book.clock()))
    recovery = re.findall(r"([a-z2-9]{4}-[a-z2-9]{4}-[a-z2-9]{4})<br>", done.text)
    assert len(recovery) == 10
    # WHEN the person signs in again
    browser.http.get("/logout")
    asked = browser.sign_in(name)
    assert (asked.status_code, browser.cookie) == (200, None)
    pending = field(asked.text, "pending")
    assert browser.post("/sign-in/second", pending=pending, code="000000").status_code == 403
    assert browser.post("/sign-in/second", pending=pending, code=recovery[0]).status_code == 303
    assert browser.http.get("/").text == name


def test_an_auditor_sees_the_log_as_text_and_others_do_not(browser: Browser, other: Browser, book: Accounts) -> None:
    book.audit.append("<b>x</b>", "ask", "<script>alert(1)</script>", note="<img src=x>")
    browser.sign_in(add(book, "auditor"))
    page = browser.http.get("/audit")
    assert page.status_code == 200
    assert "&lt;script&gt;" in page.text
    assert re.findall(r"<b>|<script|<img", page.text) == []
    other.sign_in(add(book, "editor"))
    assert other.http.get("/audit").status_code == 403


def test_a_token_is_shown_once(browser: Browser, book: Accounts) -> None:
    browser.sign_in(add(book))
    made = browser.post("/account/token", label="nightly", days="9", **{"scope-read": "1"})
    token = secret(made.text)
    assert book.identify(token) is not None
    assert token not in browser.http.get("/account").text


def test_people_are_added_by_administrators_alone(browser: Browser, other: Browser, book: Accounts) -> None:
    browser.sign_in(add(book, "admin"))
    added = browser.post("/people/add", name="newcomer", role="editor")
    link = secret(added.text)
    assert link.startswith(f"{browser.url}/welcome?code=")
    code = link.partition("code=")[2]
    assert code in other.http.get(f"/welcome?code={code}").text
    assert other.post("/welcome", code=code, password=PASSWORD, again="x").status_code == 400
    assert other.post("/welcome", code=code, password=PASSWORD, again=PASSWORD).status_code == 303
    assert other.http.get("/").text == "newcomer"
    assert other.http.get("/people").status_code == 403
    assert other.post("/people/add", name="eve", role="admin").status_code == 403
    assert other.post("/people/change", name="newcomer", what="role", role="admin").status_code == 403
    # an account goes when the question was answered, not before
    asked = browser.post("/people/change", name="newcomer", what="delete", role="editor")
    assert "Delete the account newcomer?" in asked.text
    assert other.http.get("/").text == "newcomer"
    browser.post("/people/change", name="newcomer", what="delete-for-good")
    assert "newcomer" not in browser.http.get("/people").text


def test_the_browser_s_address_is_on_record_and_cannot_be_claimed(browser: Browser, up: Served, book: Accounts) -> None:
    name = add(book)
    browser.sign_in(name)
    headers = {"X-Strongroom-For": "198.51.100.1", "X-Strongroom-Gate": "guess"}
    body = {"name": name, "password": PASSWORD}
    httpx.post(f"{up.url}/api/sign-in/password", json=body, headers=headers, trust_env=False).raise_for_status()
    seen = [e.address for e in book.audit.entries() if e.action == "sign-in" and e.actor == name and e.address]
    assert set(seen) == {"127.0.0.1"}
