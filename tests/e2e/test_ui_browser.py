"""A person at the browser: ask, watch the answer come, click a citation, see the words on the page.

Once over a fake engine (fast, hostile text) and once over the whole product as `strongroom up` starts it. Chromium is
told to resolve no name at all, and whatever it still asks for is recorded: nothing but the UI's own address may appear.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from strongroom.listen import bind
from strongroom.signin import make_code
from strongroom.types import DocumentState, IngestRequest
from tests.egress import refused_connections
from tests.fakes_engine import FakeEngine
from tests.server_fixtures import served, write_documents

playwright = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
CHIP = re.compile(r"^Citation 1:")


@dataclass(slots=True)
class Watch:
    """What a page did on the side: the hosts it asked for, what it complained about, the dialogs it opened."""

    hosts: set[str] = field(default_factory=set)
    complaints: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)

    def on(self, page: playwright.Page) -> None:
        page.on("request", lambda request: self._asked(request.url))
        page.on("websocket", lambda socket: self._asked(socket.url))
        page.on("console", lambda message: self.complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: (self.dialogs.append(dialog.message), dialog.dismiss()))

    def _asked(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("blob", "data"):  # made by the page itself, from what it already has
            self.hosts.add(parts.netloc)


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture(scope="module")
def browser() -> Iterator[playwright.Browser]:
    with playwright.sync_playwright() as started:
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        opened = started.chromium.launch(executable_path=chromium, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: playwright.Browser, watch: Watch) -> Iterator[playwright.Page]:
    """A page without cookies or anything else of an earlier test."""
    page = browser.new_page(viewport={"width": 1360, "height": 860})
    page.set_default_timeout(60_000)
    watch.on(page)
    yield page
    page.close()


def _free_port() -> int:
    sock = bind("127.0.0.1", 0)
    port: int = sock.getsockname()[1]
    sock.close()
    return port


@contextmanager
def _process(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([sys.executable, "-m", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[FakeEngine], Callable[[], str]]]:
    """The UI as a process, over whichever engine stands in the list; and what makes a sign-in link."""
    engines = [FakeEngine()]
    with ui_over(tmp_path_factory.mktemp("site"), lambda: engines[0]) as link:
        yield engines, link


@pytest.fixture
def fake_ui(site: tuple[list[FakeEngine], Callable[[], str]], tmp_path: Path) -> tuple[str, FakeEngine]:
    """A sign-in link, and the fresh engine that answers."""
    engines, link = site
    engines[0] = engine = FakeEngine(pause=0.04)
    engine.ingest(IngestRequest((str(write_documents(tmp_path / "docs")),)), on_event=lambda _event: None)
    return link(), engine


@contextmanager
def ui_over(folder: Path, engine: Callable[[], FakeEngine]) -> Iterator[Callable[[], str]]:
    """The UI over an engine, for the time of the block; gives what makes a sign-in link, which works once."""
    port = _free_port()
    with (
        served(folder, engine_for=lambda _user, **_by: engine(), accounts=True) as up,
        _process("ui", "--data-dir", str(folder), "--port", str(port)) as ui,
    ):
        base, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 60
        while True:
            try:
                httpx.get(f"{base}/healthz", trust_env=False).raise_for_status()
                break
            except httpx.TransportError:
                assert ui.poll() is None, "the UI process ended"
                assert time.monotonic() < deadline, "the UI did not start"
                time.sleep(0.1)
        yield lambda: f"{base}/login?token={make_code(up.token)}"


def _ask(page: playwright.Page, question: str) -> None:
    box = page.get_by_placeholder("Ask your documents")
    box.fill(question)
    box.press("Enter")


def _seen_while_waiting(page: playwright.Page, chips: int) -> list[str]:
    """The streaming text at every look, until the finished answer with its first citation stands there."""
    seen: list[str] = []
    deadline = time.monotonic() + 120
    while page.get_by_role("button", name=CHIP).count() < chips:
        texts = page.locator(".sr-say").all_inner_texts()
        seen += texts[-1:] if texts and texts[-1] not in seen else []
        assert time.monotonic() < deadline, "no answer"
        page.wait_for_timeout(40)
    return seen


def _check_highlight(page: playwright.Page) -> None:
    """The page image is there, and every highlight has a size and lies inside it."""
    image = page.locator("img[alt^='Image of']")
    image.wait_for()
    page.wait_for_function("(image) => image.complete && image.naturalWidth > 0", arg=image.element_handle())
    sheet = image.bounding_box()
    marks = page.locator("rect.mark")
    assert marks.count() > 0
    for mark in marks.all():
        box = mark.bounding_box()
        assert box is not None
        assert sheet is not None
        assert box["width"] > 20
        assert box["height"] > 4
        assert sheet["x"] <= box["x"] <= box["x"] + box["width"] <= sheet["x"] + sheet["width"]
        assert sheet["y"] <= box["y"] <= box["y"] + box["height"] <= sheet["y"] + sheet["height"]


def _own(link: str) -> set[str]:
    return {urlsplit(link).netloc}


# ------------------------------------------------------------------------------------------------ over a fake engine


def test_ask_watch_click_see(page: playwright.Page, watch: Watch, fake_ui: tuple[str, FakeEngine]) -> None:
    link, _ = fake_ui
    # WHEN a person signs in and asks
    page.goto(link)
    _ask(page, "What is the notice period for termination?")
    # THEN the answer grows before their eyes
    seen = _seen_while_waiting(page, 1)
    assert len(seen) >= 3
    assert all(later.startswith(earlier) for earlier, later in pairwise(seen))
    # AND what the documents do not carry is said in words
    assert page.get_by_text("not supported by your documents").is_visible()
    assert page.get_by_text("partly supported").is_visible()
    # WHEN they choose citation 1 by keyboard
    page.get_by_role("button", name=CHIP).first.focus()
    page.keyboard.press("Enter")
    # THEN the page stands beside the conversation with the words highlighted
    _check_highlight(page)
    assert page.get_by_text("Page 1 of 2").is_visible()
    # AND pages can be turned, which takes the highlight away
    page.get_by_role("button", name="Next").click()
    page.get_by_text("Page 2 of 2").wait_for()
    page.locator("img[alt='Image of Supply contract.pdf, page 2']").wait_for()
    assert page.locator("rect.mark").count() == 0
    assert watch.hosts == _own(link)
    assert watch.complaints == []


def test_text_of_documents_and_models_never_becomes_markup(
    page: playwright.Page, watch: Watch, fake_ui: tuple[str, FakeEngine]
) -> None:
    link, _ = fake_ui
    page.goto(link)
    # GIVEN an answer that quotes HTML and a Markdown link
    _ask(page, "img src onerror alert click evil")
    _seen_while_waiting(page, 1)
    assert page.get_by_text("<img src=x onerror=alert(1)>").first.is_visible()
    # WHEN its source is opened
    page.get_by_role("button", name=CHIP).first.click()
    page.locator("mark").wait_for()
    assert "<img src=x" in page.locator("mark").inner_text()
    # THEN nothing of it ran, loads or links
    assert page.locator("img[src='x']").count() == 0
    assert page.locator("a[href*='evil']").count() == 0
    assert watch.dialogs == []
    assert watch.hosts == _own(link)


def test_an_unanswerable_question_is_not_answered(page: playwright.Page, fake_ui: tuple[str, FakeEngine]) -> None:
    page.goto(fake_ui[0])
    _ask(page, "Who won the zebra marathon championship?")
    page.get_by_text("Not found in your documents").wait_for()


def test_stop_ends_the_answer_and_the_generation(page: playwright.Page, fake_ui: tuple[str, FakeEngine]) -> None:
    link, engine = fake_ui
    engine.pause = 0.3
    page.goto(link)
    _ask(page, "What is the notice period for termination?")
    page.locator(".sr-say").first.wait_for()
    page.get_by_test_id("stChatInputStopButton").click()
    page.get_by_text("Nothing above was checked").wait_for()
    assert engine.asked_cancel.wait(10)


def test_files_are_added_shown_and_deleted(
    page: playwright.Page, watch: Watch, fake_ui: tuple[str, FakeEngine], tmp_path: Path
) -> None:
    link, engine = fake_ui
    (tmp_path / "memo ä.txt").write_text("The gate opens at five.")
    (tmp_path / "bad.bin").write_bytes(b"x\0BAD")
    # WHEN two files are added, one of which cannot be read
    page.goto(link)
    page.get_by_role("link", name="Documents").click()
    page.get_by_text("Add documents").click()
    page.set_input_files("input[type=file]", [tmp_path / "memo ä.txt", tmp_path / "bad.bin"])
    page.get_by_text("memo ä.txt").wait_for()
    page.get_by_role("button", name="Add", exact=True).click()
    # THEN each one's outcome is told, and the good one is in the list
    page.get_by_role("button", name="Open memo ä.txt").wait_for()
    outcomes = page.get_by_role("list", name="What became of each file")
    assert "The file is damaged." in outcomes.inner_text()
    assert "memo ä.txt" in outcomes.inner_text()
    # WHEN it is deleted THEN there is a receipt and it is gone
    page.get_by_role("button", name="Delete memo ä.txt").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.get_by_text("Originals destroyed: 1").wait_for()
    assert "memo ä.txt" not in {d.name for d in engine.documents()}
    assert watch.hosts == _own(link)
    assert watch.complaints == []


def test_a_document_is_looked_into_and_a_failed_one_tried_again(
    page: playwright.Page, watch: Watch, fake_ui: tuple[str, FakeEngine], tmp_path: Path
) -> None:
    link, engine = fake_ui
    # GIVEN a document with markup in its name that has failed
    name = "<img src=x onerror=alert(1)>.txt"
    note = next(d for d in engine._documents.values() if d.info.name == "canteen.txt")
    note.info = replace(note.info, name=name, state=DocumentState.FAILED, reason="It is <b>torn</b>.", version="")
    page.goto(link)
    page.get_by_role("link", name="Documents").click()
    # WHEN details of the good one are opened THEN its pages stand there as pictures
    page.get_by_role("button", name="Details of Supply contract.pdf").click()
    thumbs = page.get_by_role("list", name="Pages").locator("img")
    thumbs.first.wait_for()
    page.wait_for_function("(image) => image.complete && image.naturalWidth > 0", arg=thumbs.first.element_handle())
    assert thumbs.count() == 2
    assert 200 < thumbs.first.evaluate("(image) => image.naturalWidth") < 500  # small, not the size of the viewer
    # AND its passages are there once they are asked for
    page.get_by_role("button", name="Show its passages").click()
    page.get_by_text("The liability cap is two million euros.").wait_for()
    # AND a thumbnail opens that page, and closing it leads back
    page.get_by_role("button", name=re.compile("^Open Page 2")).click()
    page.get_by_text("Page 2 of 2").wait_for()
    page.get_by_role("button", name="Close").click()
    page.get_by_role("button", name=re.compile("^Open Page 2")).wait_for()
    # WHEN the failed one is tried again with a mended file
    page.get_by_role("button", name=f"Try {name} again").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("It is <b>torn</b>.").wait_for()  # its title is there before its text
    assert "It is <b>torn</b>." in dialog.inner_text()
    (tmp_path / "mended.txt").write_text("Lunch is served at one.")
    dialog.locator("input[type=file]").set_input_files(tmp_path / "mended.txt")
    dialog.get_by_role("button", name="Try again").click()
    # THEN it is ready under its old name, and nothing of the name became markup
    page.get_by_role("button", name=f"Open {name}").wait_for()
    page.get_by_text("1 added").wait_for()
    assert page.locator("img[src='x']").count() == 0
    assert watch.dialogs == []
    assert watch.hosts == _own(link)
    assert watch.complaints == []


def test_a_reload_keeps_the_session_and_signing_out_ends_it(
    page: playwright.Page, fake_ui: tuple[str, FakeEngine]
) -> None:
    page.goto(fake_ui[0])
    page.get_by_placeholder("Ask your documents").wait_for()
    assert "token" not in page.url
    page.reload()
    page.get_by_placeholder("Ask your documents").wait_for()
    assert page.evaluate("document.cookie").find("strongroom_session") == -1
    page.get_by_role("link", name="Sign out").click()
    page.get_by_text("Signed out").wait_for()
    page.goto(fake_ui[0].split("/login")[0])
    page.get_by_role("heading", name="Sign in").wait_for()


# ------------------------------------------------------------------------------------------------ the whole product


@pytest.mark.models
def test_the_product_answers_from_the_samples(page: playwright.Page, watch: Watch, tmp_path: Path) -> None:
    # GIVEN the product as `strongroom up` starts it, with the samples
    samples = [json.loads(line) for line in (ROOT / "samples" / "questions.jsonl").read_text().splitlines()]
    wanted = next(s for s in samples if s["id"] == "contract-termination-notice")
    data, port = str(tmp_path / "data"), _free_port()
    folder = tmp_path / "shelf"
    folder.mkdir()
    for name in (wanted["document"], "tariff-notice-2026.html", "pilotage-direction-7.txt"):
        shutil.copy(ROOT / "samples" / "documents" / name, folder)
    arguments = (
        "strongroom",
        "up",
        "--data-dir",
        data,
        "--port",
        "0",
        "--ui-port",
        str(port),
        "--samples",
        str(folder),
    )
    with _process(*arguments) as product:
        assert product.stdout is not None
        lines = iter(product.stdout.readline, "")
        link = next(match.group() for line in lines if (match := re.search(r"http://\S+/login\S+", line)))
        # WHEN a person asks what the samples answer
        page.goto(link)
        _ask(page, wanted["question"])
        _seen_while_waiting(page, 1)
        # THEN the page says in which style it answers, and marks the words that answer in their sentence
        assert page.get_by_text("In your documents' own words").is_visible()
        assert page.locator("p.found").inner_text()
        assert page.locator("q.quoted mark").count() >= 1
        # AND keeps what the person says of it
        page.get_by_role("button", name="Right", exact=True).click()
        page.get_by_text("Kept as right").wait_for()
        # AND the first citation quotes the answer, and its page shows the words highlighted
        assert wanted["answer"].split("'")[0] in page.locator("blockquote").first.inner_text()
        assert wanted["document"] in page.get_by_role("button", name=re.compile("^Open source 1")).inner_text()
        page.get_by_role("button", name=CHIP).first.click()
        _check_highlight(page)
        assert page.locator("rect.exact").count() >= 1
        assert page.get_by_text(f"Page {wanted['pages'][0]} of").is_visible()
        assert page.locator(".sr-doc").inner_text() == wanted["document"]
        # AND neither the page nor the product asked for anything elsewhere
        assert watch.hosts == _own(link)
        assert watch.complaints == []
    assert refused_connections(tmp_path / "data") == []
