"""Nothing that a document, its name, a question or a model says makes the browser fetch anything.

A trap listens on another port of this machine: whatever reaches it has left the page's origin. Two layers are tried
apart. With the browser's content policy switched off, the page itself must build nothing that fetches; with the policy
on, elements that a script puts into the page on purpose must fetch nothing. That the trap works is shown by the same
elements with the policy off.
"""

from __future__ import annotations

import base64
import re
import shutil
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from strongroom.types import (
    Answer,
    AnswerEvent,
    AskEvent,
    AskRequest,
    CitationsEvent,
    DocumentState,
    ErrorEvent,
    IngestRequest,
    Sentence,
    TextEvent,
    Usage,
)
from tests.e2e.test_ui_browser import CHIP, FLAGS, Watch, ui_over
from tests.fakes_engine import FakeEngine

playwright = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.browser

# The trap's address as one number: a browser reads it as 127.0.0.1, and no splitter of sentences stops at a dot.
HOST = "2130706433"
WORD = "zinnober"


def planted(base: str) -> list[str]:
    """Every way we know in which markup makes a browser fetch, or a Markdown renderer make such markup."""
    svg = base64.b64encode(f'<svg xmlns="http://www.w3.org/2000/svg"><image href="{base}/26"/></svg>'.encode()).decode()
    return [
        f"![x]({base}/1)",
        f"[![x]({base}/2)]({base}/3)",
        f"![x][r]\n\n[r]: {base}/4",
        f'![x]({base}/5 "title")',
        f"<{base}/6> {base}/7",
        f'<img src="{base}/8"><img srcset="{base}/9 2x">',
        f'<picture><source srcset="{base}/10"><img></picture>',
        f'<svg><image href="{base}/11"/><use xlink:href="{base}/12#a"/><feImage href="{base}/13"/></svg>',
        f"<svg onload=\"fetch('{base}/14')\"></svg><img src=x onerror=\"fetch('{base}/15')\">",
        f"<style>@import url({base}/16); *{{background:url({base}/17)}}</style>",
        f"<style>@font-face{{font-family:a;src:url({base}/18)}} *{{font-family:a}}</style>",
        f'<div style="background-image:url({base}/19)">x</div>',
        f'<link rel="stylesheet" href="{base}/20"><link rel="prefetch" href="{base}/21">',
        f'<link rel="preconnect" href="{base}"><link rel="dns-prefetch" href="{base}">',
        f'<link rel="icon" href="{base}/22"><link rel="modulepreload" href="{base}/23">',
        f'<meta http-equiv="refresh" content="0;url={base}/24"><base href="{base}/25">',
        f"![x](data:image/svg+xml;base64,{svg}) <img src='data:image/svg+xml;base64,{svg}'>",
        f'<iframe src="{base}/27"></iframe><iframe srcdoc="<img src={base}/28>"></iframe>',
        f'<object data="{base}/29"></object><embed src="{base}/30"><applet archive="{base}/31"></applet>',
        f'<video poster="{base}/32" src="{base}/33"></video><audio src="{base}/34" autoplay></audio>',
        f'<video><source src="{base}/64"><track default src="{base}/35"></video>',
        f'<script src="{base}/36"></script><script>fetch("{base}/37")</script>',
        f'<form action="{base}/38"><input type="image" src="{base}/39" autofocus onfocus="this.form.submit()"></form>',
        f'<a href="{base}/40" ping="{base}/41">x</a><area href="{base}/42">',
        f'<table background="{base}/43"><td background="{base}/44"></table><body background="{base}/45">',
        f'<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src={base}/46&gt;">',
        f'<noscript><p title="</noscript><img src={base}/47>">',
        f"$\\includegraphics{{{base}/48}}$ $$\\href{{{base}/49}}{{x}}$$ \\url{{{base}/50}}",
        f":red[![x]({base}/51)] :material/face: | a |\n|---|\n| ![x]({base}/52) |",
        f"&lt;img src={base}/53&gt; &#60;img src={base}/54&#62;",
        f"</p></div></blockquote><img src={base}/55> <!--><img src={base}/56>-->",
        f"[x]: <{base}/57>\n![x]\n> ![x]({base}/58)\n- ![x]({base}/59)\n```\n<img src={base}/60>\n```",
        f"<template><img src={base}/61></template><portal src={base}/62></portal><image src={base}/63>",
    ]


# Everything in the page, also inside shadow roots, that would fetch from the trap or could have.
FETCHERS = """(hosts) => {
  const found = [], framing = ["iframe", "object", "embed", "applet", "portal", "base"];
  const away = (words) => hosts.some((host) => (words || "").includes(host));
  const names = ["src", "srcset", "href", "xlink:href", "data", "poster", "action", "formaction", "background", "ping",
                 "style", "srcdoc", "archive", "codebase", "manifest", "onload", "onerror", "onfocus"];
  const walk = (root) => {
    for (const node of root.querySelectorAll("*")) {
      for (const name of names)
        if (away(node.getAttribute(name))) found.push(`${node.localName} ${name}`);
      if (["style", "script"].includes(node.localName) && away(node.textContent)) found.push(node.localName);
      if (node.localName === "meta" && away(node.content)) found.push("meta");
      if (framing.includes(node.localName)) found.push(node.localName);
      if (away(getComputedStyle(node).backgroundImage)) found.push(`${node.localName} background`);
      if (node.shadowRoot) walk(node.shadowRoot);
    }
  };
  walk(document);
  return found;
}"""


class Trap:
    """A listener that counts every connection and hangs up."""

    def __init__(self) -> None:
        trap = self
        self.hits: list[bytes] = []

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                trap.hits.append(self.request.recv(200))

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.base = f"http://{HOST}:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Hostile(FakeEngine):
    """Every word that it says of documents, and every word of its answers, is planted."""

    def __init__(self, plants: list[str]) -> None:
        super().__init__()
        self.plants = plants

    def _passages(self, question: str, collection: str | None) -> list[tuple[float, Any, int, int]]:
        return [(0.9, d, 0, len(d.text)) for d in self._documents.values()]

    def ask(self, request: AskRequest, *, cancel: Any = None) -> Iterator[AskEvent]:
        citations = self._citations(request)
        yield CitationsEvent(citations)
        if "broken" in request.question:
            yield ErrorEvent(" ".join(self.plants), hint=" ".join(self.plants), code=1)
            return
        for plant in self.plants:
            yield TextEvent(plant + "\n\n")
        sentences = tuple(Sentence(p, s, (1,)) for p in self.plants for s in ("supported", "partial", "unsupported"))
        sentences += (Sentence(citations[0].quote, "supported", (1,)),)
        answer = Answer(
            "\n\n".join(self.plants), "nothing" in request.question, 0.9, sentences, citations, self.plants[0],
            Usage(1, 1), {"retrieve": 1.0, "first_token": 2.0, "total": 3.0}, style="fluent",
        )  # fmt: skip
        yield AnswerEvent(answer)


@pytest.fixture(scope="module")
def trap() -> Iterator[Trap]:
    trap = Trap()
    yield trap
    trap.server.shutdown()
    trap.server.server_close()


@pytest.fixture(scope="module")
def hostile(trap: Trap, tmp_path_factory: pytest.TempPathFactory) -> Hostile:
    """An engine whose documents hold, and are named and failed by, planted markup."""
    root = tmp_path_factory.mktemp("hostile")
    engine = Hostile(planted(trap.base))
    for number, plant in enumerate(engine.plants):
        (root / f"{number}.txt").write_text(f"{WORD}\n\n{plant}\n\n{WORD}")
    engine.ingest(IngestRequest((str(root),), collection=engine.plants[0]), on_event=lambda _event: None)
    for number, document in enumerate(engine._documents.values()):
        document.info = replace(document.info, name=engine.plants[number % len(engine.plants)])
        if number % 4 == 3:
            document.info = replace(document.info, state=DocumentState.FAILED, reason=document.info.name)
    return engine


def _page(browser: Any, watch: Watch, *, policy: bool) -> Any:
    page = browser.new_context(bypass_csp=not policy, viewport={"width": 1360, "height": 860}).new_page()
    page.set_default_timeout(60_000)
    watch.on(page)
    return page


def _looked_at(page: Any, trap: Trap) -> list[str]:
    page.wait_for_timeout(300)  # what was going to be fetched has been asked for
    return list(page.evaluate(FETCHERS, [HOST, trap.base.replace(HOST, "127.0.0.1") + "/"]))


def test_words_of_documents_names_questions_and_models_make_a_browser_fetch_nothing(
    trap: Trap, hostile: Hostile, tmp_path: Path
) -> None:
    watch, found = Watch(), list[str]()
    with ui_over(tmp_path, lambda: hostile) as make_link, playwright.sync_playwright() as started:
        link = make_link()
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = started.chromium.launch(executable_path=chromium, args=FLAGS)

        # GIVEN a page without the browser's content policy WHEN a planted question gets a planted answer
        page = _page(browser, watch, policy=False)
        page.goto(link)
        box = page.get_by_placeholder("Ask your documents")
        box.fill("\n".join(hostile.plants)[:3900])
        box.press("Enter")
        page.get_by_role("button", name=CHIP).first.wait_for()
        assert page.get_by_text(f"![x]({trap.base}/1)").count() >= 3  # shown as it is written
        found += _looked_at(page, trap)
        # AND its source is opened
        page.get_by_role("button", name=CHIP).first.click()
        page.locator("mark").first.wait_for()
        assert WORD in page.locator("mark").first.inner_text()
        found += _looked_at(page, trap)
        # AND an answer fails with planted words, and another is not found
        for question, seen in (("broken", "![x]("), ("nothing", "Not found in your documents")):
            box.fill(question)
            box.press("Enter")
            page.get_by_text(seen).last.wait_for()
            page.wait_for_timeout(500)
            found += _looked_at(page, trap)
        # AND the list of documents, the details of one, its passages and reasons are looked at
        page.get_by_role("link", name="Documents").click()
        page.get_by_role("button", name=re.compile("^Details of ")).first.click()
        page.get_by_role("button", name="Show its passages").click()
        page.get_by_text(WORD).first.wait_for()
        found += _looked_at(page, trap)
        page.get_by_role("button", name=re.compile("^Try .* again$", re.DOTALL)).first.click()
        page.get_by_role("dialog").wait_for()
        found += _looked_at(page, trap)
        # THEN nothing was built that fetches, nothing ran, and nothing came to the trap or to any other host
        assert found == []
        assert trap.hits == []
        assert watch.dialogs == []
        assert watch.hosts == {link.split("/")[2]}

        # GIVEN a page with its policy WHEN a script puts the same markup in as markup
        guarded = _page(browser, Watch(), policy=True)
        guarded.goto(link.split("/login")[0] + "/login?token=")  # the policy stands on every page of the gate
        insert = (
            "(plants) => plants.map((p) => { const d = document.createElement('div'); document.body.append(d);"
            " d.innerHTML = p.replace(/<(meta|base)[^>]*>/g, ''); })"
        )
        guarded.evaluate(insert, hostile.plants)
        guarded.evaluate(f"fetch('{trap.base}/fetch').catch(() => 0)")
        guarded.evaluate(f"navigator.sendBeacon('{trap.base}/beacon')")
        guarded.evaluate(f"new EventSource('{trap.base}/events')")
        guarded.evaluate(f"new WebSocket('{trap.base.replace('http', 'ws')}/socket')")
        guarded.wait_for_timeout(1000)
        # THEN it refuses every one of them
        assert trap.hits == []

        # AND that is the policy's doing: without it the trap is hit
        open_page = _page(browser, Watch(), policy=False)
        open_page.goto(link.split("/login")[0] + "/login?token=")
        open_page.evaluate(insert, [p for p in hostile.plants if "<form" not in p])  # one form leaves the page
        open_page.wait_for_timeout(1000)
        paths = {int(m[1]) for hit in trap.hits if (m := re.match(rb"GET /(\d+)", hit))}
        assert {8, 11, 16, 20, 27, 29, 32} <= paths
        assert len(_looked_at(open_page, trap)) > 30
        browser.close()
