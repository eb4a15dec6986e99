"""Reports as HTML pages: what they say, that hostile names stay words, and that a page is written whole or not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

import pytest

from strongroom import app as wiring
from strongroom.cli import report
from strongroom.cli.run import run
from strongroom.errors import ExitCode
from strongroom.types import (
    DocumentInfo,
    DocumentRef,
    DocumentState,
    DoubtfulPage,
    FileOutcome,
    IngestRequest,
    IngestSummary,
    Locator,
)
from tests.fakes_engine import FakeEngine, make_pdf

HOSTILE = [
    "<script>alert(1)</script>.pdf",
    "</title></style><script src=//evil.example/x.js></script>",
    '"><img src=x onerror=alert(1)>.png',
    "' onmouseover='alert(1).txt",
    "a.<svg onload=alert(1)>",
    "b.x\" onload='alert(1)'",
    "{{ 77777 * 7 }}{% include '/etc/passwd' %}.docx",
    "<!-- <link rel=stylesheet href=http://evil.example/x.css> -->",
    "invoice\u202efdp.exe",
    "bell\x07 esc\x1b[2J null\x00.txt",
    "undecodable \udcff.txt",
    "<base href=http://evil.example/><meta http-equiv=refresh content=0>",
]
INERT = {
    "html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "br", "bdi", "dl", "div", "dt", "dd", "figure",
    "figcaption", "svg", "line", "rect", "text", "span", "table", "thead", "tbody", "tr", "th", "td", "details",
    "summary", "b", "ul", "li",
}  # fmt: skip
MAY_BE_SET = {
    "lang", "charset", "http-equiv", "content", "name", "class", "viewbox", "role", "aria-label", "x", "y", "x1", "x2",
    "y1", "y2", "width", "height", "transform", "open",
}  # fmt: skip
NOW = datetime(2026, 2, 3, tzinfo=UTC)


class Page(HTMLParser):
    """What a page holds: its elements, the attributes they have, and its words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.policies: list[str] = []
        self.words = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if ("http-equiv", "Content-Security-Policy") in attrs:
            self.policies += [value or "" for name, value in attrs if name == "content"]
        if tag == "meta":
            assert ("http-equiv", "refresh") not in attrs

    def handle_data(self, data: str) -> None:
        self.words += data


def run_report(
    outcomes: list[FileOutcome], *, collection: str = "default", doubts: list[DoubtfulPage] | None = None
) -> str:
    record = report.RunRecord()
    counts: dict[str, int] = {}
    for outcome in outcomes:
        record.add(outcome)
        counts[outcome.outcome] = counts.get(outcome.outcome, 0) + 1
    summary = IngestSummary(counts, len(outcomes), sum(o.pages for o in outcomes if o.outcome == "indexed"), 5, 4.0)
    return report.run_page(record, summary, IngestRequest(("in",), collection=collection), doubts or [])


def stored(name: str, state: DocumentState = DocumentState.INDEXED, reason: str | None = None) -> DocumentInfo:
    return DocumentInfo(
        name,
        name,
        "file:///in/" + quote(name, errors="surrogateescape"),
        "default",
        state,
        "x",
        2000,
        3,
        4,
        reason,
        NOW,
        NOW,
        "v",
    )


def assert_inert(text: str) -> Page:
    page = Page(text)
    assert page.tags <= INERT
    assert page.attributes <= MAY_BE_SET
    assert page.policies == ["default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"]
    assert "url(" not in text
    assert "@import" not in text
    assert not set(text) & set("\u202e\x00\x07\x1b\udcff")
    return page


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_words_stay_words_wherever_they_come_in(name: str) -> None:
    doubts = [DoubtfulPage(DocumentRef("d", name, name), 0, Locator(name, name), 0.4)]
    outcomes = [
        FileOutcome(name, "failed", reason=name, seconds=2.0),
        FileOutcome(name, "indexed", "d", 1, 1, seconds=3.0),
    ]
    page = assert_inert(run_report(outcomes, collection=name, doubts=doubts))
    library = report.library_page([stored(name, DocumentState.FAILED, name)], name, doubts)
    for text in (page.words, assert_inert(library).words):
        assert report.printable(name) in text
    assert "544439" not in page.words  # the name is no template either


def test_a_run_is_told_with_every_file_that_needs_a_look() -> None:
    bad = [FileOutcome(f"/in/scan {n}.tiff", "quarantined", reason="It is protected.") for n in range(40)]
    good = [FileOutcome(f"/in/{n}.pdf", "indexed", f"d{n}", 10, 20, seconds=float(n)) for n in range(1, 31)]
    doubts = [DoubtfulPage(DocumentRef("d1", "1.pdf", "x"), 3, Locator("page", "4"), 0.412)]
    words = Page(run_report([*bad, *good, FileOutcome("/in/old.txt", "unchanged", "o", 7777, 1)], doubts=doubts)).words
    assert all(f"/in/scan {n}.tiff" in words for n in range(40))
    assert "It is protected." in words
    assert "75.0" in words  # 300 pages in 4 seconds
    slowest = words.partition("Slowest files")[2]
    assert slowest.index("/in/30.pdf") < slowest.index("/in/29.pdf") < slowest.index("/in/11.pdf")
    assert "/in/10.pdf" not in slowest
    assert "/in/old.txt" not in words
    assert "7,777" not in words  # pages that this run has not read
    assert "page 4" in words
    assert "41%" in words


def test_nothing_wrong_is_said_in_words() -> None:
    words = Page(run_report([FileOutcome("a.pdf", "indexed", "d", 1, 1, seconds=0.05)])).words
    assert "Nothing: no file failed" in words
    assert "Pages that OCR was not sure of" not in words
    assert Page(run_report([])).words  # no files at all, no seconds: still a page


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[FakeEngine, Path]:
    fake, folder = FakeEngine(), tmp_path / "in"
    folder.mkdir()
    (folder / "lease.pdf").write_bytes(make_pdf([["First page."], ["Second page."]]))
    (folder / "bad.bin").write_bytes(b"x\0BAD")
    monkeypatch.setattr(wiring, "open_engine", lambda *_a, **_k: fake)
    return fake, folder


def test_ingest_writes_a_report_of_the_run(engine: tuple[FakeEngine, Path], tmp_path: Path) -> None:
    out = tmp_path / "run.html"
    assert run(["ingest", str(engine[1]), "--report", str(out)]) == ExitCode.PARTIAL
    words = assert_inert(out.read_text(encoding="utf-8")).words
    assert "bad.bin" in words
    assert "The file is damaged." in words
    assert list(tmp_path.glob(".*")) == []  # nothing half written stays


def test_documents_report_tells_the_state_of_the_library(engine: tuple[FakeEngine, Path], tmp_path: Path) -> None:
    fake, folder = engine
    fake.ingest(IngestRequest((str(folder),)), on_event=lambda _e: None)
    (lease,) = (d for d in fake._documents.values() if d.info.name == "lease.pdf")
    lease.info = replace(lease.info, state=DocumentState.FAILED, reason="It is torn.")
    out = tmp_path / "library.html"
    assert run(["documents", "report", str(out)]) == ExitCode.OK
    words = assert_inert(out.read_text(encoding="utf-8")).words
    assert "lease.pdf" in words
    assert "It is torn." in words


@pytest.mark.parametrize("name", ["contract.pdf", "no-such-folder/report.html", "folder.html"])
def test_a_place_that_no_report_belongs_to_is_refused_before_the_work(
    engine: tuple[FakeEngine, Path], tmp_path: Path, name: str
) -> None:
    (tmp_path / "folder.html").mkdir()
    (tmp_path / "contract.pdf").write_text("precious")
    assert run(["ingest", str(engine[1]), "--report", str(tmp_path / name)]) == ExitCode.USAGE
    assert engine[0].documents() == []
    assert (tmp_path / "contract.pdf").read_text() == "precious"


def test_watching_has_no_end_to_report(engine: tuple[FakeEngine, Path], tmp_path: Path) -> None:
    assert run(["ingest", str(engine[1]), "--watch", "--report", str(tmp_path / "r.html")]) == ExitCode.USAGE
