"""People at browsers: two at once, single sign-on at a real provider, a security key (Chromium's virtual one)."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import httpx
import pytest

from strongroom.access import LOCAL_USER
from strongroom.accounts import Desk
from strongroom.accounts.sso import Provider
from strongroom.engine import Engine
from strongroom.people import Identity, NewAccount, RedeemRequest, Role
from strongroom.types import IngestRequest
from tests.e2e.test_ui_browser import FLAGS, _free_port, _process
from tests.fakes_engine import FakeEngine
from tests.oidc import real_provider
from tests.server_fixtures import served, write_documents

playwright = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.browser

PASSWORD = "seven grey herons at dawn"


@dataclass
class Site:
    """The UI as a process, over a server with accounts; each person has an engine of their own."""

    port: int
    engines: dict[str, FakeEngine]

    def at(self, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    root, port = tmp_path_factory.mktemp("people"), _free_port()
    engines = {name: FakeEngine() for name in (LOCAL_USER, "anna", "ben", "s-ben")}
    engines["anna"].ingest(IngestRequest((str(write_documents(root / "docs")),)), on_event=lambda _event: None)

    def engine_for(user: str, *, by: str) -> Engine:
        assert user == by
        return engines[user]

    with ExitStack() as stack:
        provider = Provider(stack.enter_context(real_provider()), "strongroom", "secret", name="the office")
        up = stack.enter_context(served(root, engine_for=engine_for, accounts=True, provider=provider))
        assert up.accounts is not None
        owner = Desk(up.accounts, Identity(LOCAL_USER, "owner"))
        people: tuple[tuple[str, Role], ...] = (("anna", "editor"), ("carl", "viewer"))
        for name, role in people:
            up.accounts.redeem(RedeemRequest(owner.add_user(NewAccount(name, role)).code, PASSWORD))
        engines["carl"] = FakeEngine()
        ui = stack.enter_context(_process("ui", "--data-dir", str(root), "--port", str(port)))
        deadline = time.monotonic() + 60
        while True:
            try:
                httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False).raise_for_status()
                break
            except httpx.TransportError:
                assert ui.poll() is None, "the UI process ended"
                assert time.monotonic() < deadline, "the UI did not start"
                time.sleep(0.1)
        yield Site(port, engines)


@pytest.fixture
def browser() -> Iterator[playwright.Browser]:
    flags = [f.replace("EXCLUDE 127.0.0.1", "EXCLUDE 127.0.0.1, EXCLUDE localhost") for f in FLAGS]
    with playwright.sync_playwright() as started:
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        opened = started.chromium.launch(executable_path=chromium, args=flags)
        yield opened
        opened.close()


def sign_in(page: playwright.Page, address: str, name: str) -> None:
    page.set_default_timeout(60_000)
    page.goto(f"{address}/sign-in")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()


def test_two_people_at_once_see_what_is_theirs(browser: playwright.Browser, site: Site) -> None:
    # GIVEN anna with documents and carl with none, each at a browser
    anna, carl = browser.new_context().new_page(), browser.new_context().new_page()
    sign_in(anna, site.at(), "anna")
    sign_in(carl, site.at(), "carl")
    # THEN each page is about its own
    anna.get_by_text("your 2 documents").wait_for()
    carl.get_by_text("No documents yet").wait_for()
    anna.get_by_placeholder("Ask your documents").fill("What is the notice period for termination?")
    anna.get_by_placeholder("Ask your documents").press("Enter")
    anna.get_by_text("thirty days").first.wait_for()
    assert "thirty days" not in carl.content()
    assert site.engines["carl"].requests == []
    # WHEN carl signs in where anna was, in the same browser
    anna.get_by_role("link", name="Sign out").click()
    anna.get_by_role("heading", name="Signed out").wait_for()
    sign_in(anna, site.at(), "carl")
    # THEN nothing of hers is left on the page
    anna.get_by_text("No documents yet").wait_for()
    assert "thirty days" not in anna.content()


def test_an_open_page_shows_nothing_of_the_person_before(browser: playwright.Browser, site: Site) -> None:
    # GIVEN a tab in which anna has asked, and in a second tab of the same browser carl signs in
    context = browser.new_context()
    tab, second = context.new_page(), context.new_page()
    sign_in(tab, site.at(), "anna")
    tab.get_by_placeholder("Ask your documents").fill("What is the notice period for termination?")
    tab.get_by_placeholder("Ask your documents").press("Enter")
    tab.get_by_text("thirty days").first.wait_for()
    sign_in(second, site.at(), "carl")
    second.get_by_text("No documents yet").wait_for()
    # WHEN the first tab does something: its session is over, so the first click only makes it connect anew, as carl
    with tab.expect_websocket():
        tab.get_by_text("New conversation").click()
    tab.get_by_role("link", name="Documents").click()
    # THEN it is carl's page
    tab.get_by_text("No documents yet").wait_for()
    assert "thirty days" not in tab.content()


def test_single_sign_on_in_a_browser(browser: playwright.Browser, site: Site) -> None:
    page = browser.new_context().new_page()
    page.set_default_timeout(60_000)
    page.goto(site.at())
    page.get_by_role("link", name="Sign in with the office").click()
    page.get_by_text("s-ben").first.wait_for()
    page.get_by_role("button", name="s-ben").click()
    page.get_by_text("No documents yet").wait_for()
    page.get_by_role("link", name="Account").click()
    page.get_by_role("heading", name="ben").wait_for()
    assert "single sign-on" in page.content()


def test_a_security_key_is_set_up_and_asked_for(browser: playwright.Browser, site: Site) -> None:
    context = browser.new_context()
    page = context.new_page()
    devtools = context.new_cdp_session(page)
    devtools.send("WebAuthn.enable")
    key = {"protocol": "ctap2", "transport": "usb", "hasUserVerification": True, "isUserVerified": True}
    devtools.send("WebAuthn.addVirtualAuthenticator", {"options": {**key, "automaticPresenceSimulation": True}})
    # WHEN carl sets the key up
    sign_in(page, site.at("localhost"), "carl")
    page.get_by_text("No documents yet").wait_for()
    page.goto(f"{site.at('localhost')}/account")
    page.get_by_role("button", name="Set up a security key").click()
    page.get_by_text("The security key is set up.").wait_for()
    assert "recovery codes" in page.content()
    # THEN it is asked for, and lets in
    page.get_by_role("link", name="Sign out").click()
    sign_in(page, site.at("localhost"), "carl")
    page.get_by_role("button", name="Use a security key").click()
    page.get_by_text("No documents yet").wait_for()
    page.goto(f"{site.at('localhost')}/account")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Remove second factors").click()
    page.get_by_text("Second factors removed.").wait_for()
