"""Runs over a fake engine: what is kept, what is asked again, what a report may contain."""

from __future__ import annotations

import fcntl
import json
import re
import stat
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from evals import figures, generate, report, runs, scoring
from evals.questions import Question, QuestionSet
from strongroom.config import Settings
from strongroom.errors import LockedError, StrongroomError, UsageError
from strongroom.types import (
    Answer,
    AskEvent,
    AskRequest,
    Citation,
    DocumentRef,
    ErrorEvent,
    IngestRequest,
    Locator,
    SearchRequest,
    SearchResult,
    Sentence,
    Span,
    Usage,
)
from tests.fakes_engine import FakeEngine

QUESTIONS = QuestionSet(
    "office",
    (
        Question("1", "When is the fee due?", ("policy.txt",), answers=("in June",), cluster="policy.txt"),
        Question(
            "2", "How long is the notice period?", ("policy.txt",), answers=("ninety days",), cluster="policy.txt"
        ),
        Question("3", "Who paints the elephant house?", unanswerable=True, kind="silent", cluster="zoo.txt"),
    ),
)


def stocked(fake: FakeEngine, tmp_path: Path) -> FakeEngine:
    """The engine with two documents in it."""
    for name, text in {
        "policy.txt": "The notice period is ninety days.\nThe fee is due in June.\n",
        "zoo.txt": "The lion house is painted in spring by the keepers of the zoo.\n",
    }.items():
        (tmp_path / name).write_text(text)
        fake.ingest(IngestRequest((str(tmp_path / name),)), on_event=lambda _e: None)
    fake.requests.clear()
    return fake


@pytest.fixture
def engine(tmp_path: Path) -> FakeEngine:
    return stocked(FakeEngine(), tmp_path)


def about(**more: Any) -> dict[str, Any]:
    return runs.describe(QUESTIONS, Settings(), documents="d", answers=True) | more


def measured(engine: FakeEngine, folder: Path, **more: Any) -> runs.Run:
    return runs.run(QUESTIONS, engine, folder=folder, about=about(**more), on_progress=lambda _p: None)


def asked(engine: FakeEngine) -> list[str]:
    return [r.question for r in engine.requests if isinstance(r, AskRequest)]


def test_a_run_keeps_values_for_its_owner_alone(engine: FakeEngine, tmp_path: Path) -> None:
    run = measured(engine, tmp_path / "run")
    assert [row["id"] for row in run.rows] == ["1", "2", "3"]
    assert run.rows[0]["values"]["document_hit@1"] == 1.0
    assert run.rows[0]["values"]["quote@1"] == 1.0
    assert "document_hit@1" not in run.rows[2]["values"]
    assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o700
    for path in (tmp_path / "run").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_broken_off_run_goes_on_where_it_stopped(engine: FakeEngine, tmp_path: Path) -> None:
    """GIVEN a run killed while it wrote its second result. WHEN repeated. THEN the first is not asked again."""
    measured(engine, tmp_path / "run")
    results = tmp_path / "run" / "results.jsonl"
    whole = results.read_bytes()
    first, second, _ = whole.splitlines(keepends=True)
    results.write_bytes(first + second[:40])
    engine.requests.clear()
    run = measured(engine, tmp_path / "run")
    assert len(asked(engine)) == 2
    assert [row["id"] for row in run.rows] == ["1", "2", "3"]
    assert len(results.read_bytes().splitlines()) == 3
    assert all(json.loads(line) for line in results.read_bytes().splitlines())


def test_results_of_other_code_or_settings_are_not_mixed(engine: FakeEngine, tmp_path: Path) -> None:
    measured(engine, tmp_path / "run")
    with pytest.raises(UsageError, match="something else: code changed"):
        measured(engine, tmp_path / "run", code="other")


def test_a_folder_that_holds_something_else_is_left_alone(engine: FakeEngine, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("x")
    with pytest.raises(UsageError, match="holds no run"):
        measured(engine, tmp_path)
    with pytest.raises(UsageError, match="holds no run"):
        runs.load(tmp_path)


def test_two_runs_do_not_write_into_one_folder(engine: FakeEngine, tmp_path: Path) -> None:
    measured(engine, tmp_path / "run")
    with (tmp_path / "run" / "results.jsonl").open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(LockedError, match="another run writes"):
            measured(engine, tmp_path / "run")


def test_what_is_no_run_is_said_to_be_none(tmp_path: Path) -> None:
    for manifest in ("[1]", "7", "{"):
        (tmp_path / "run.json").write_text(manifest)
        with pytest.raises(UsageError, match="holds no run"):
            runs.load(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "results.jsonl").write_text('7\n{"a": 1}\nnull\n')
    assert runs.load(tmp_path).rows == ()


def test_settings_secrets_and_places_stay_out_of_a_run() -> None:
    settings = Settings(qdrant_api_key="hunter2", data_dir="/secret/place")  # type: ignore[arg-type]
    text = json.dumps(runs.describe(QUESTIONS, settings, documents="d", answers=True))
    assert "hunter2" not in text
    assert "secret" not in text


class Failing(FakeEngine):
    """Fails at questions with this word."""

    def search(self, request: SearchRequest) -> SearchResult:
        if "fee" in request.question:
            raise StrongroomError("the fee is secret")
        return super().search(request)


def test_a_question_that_fails_is_kept_as_failed_and_asked_again(engine: FakeEngine, tmp_path: Path) -> None:
    run = measured(stocked(Failing(), tmp_path), tmp_path / "run")
    found = figures.of_run(run)
    assert (found["failed"], found["measured"]) == (1, 2)
    assert "the fee is secret" in report.page(run, found)
    assert figures.of_run(measured(engine, tmp_path / "run"))["failed"] == 0
    assert asked(engine) == ["When is the fee due?"]


def test_ten_failures_in_a_row_end_the_run(tmp_path: Path) -> None:
    many = QuestionSet("many", tuple(Question(str(i), "the fee", unanswerable=True) for i in range(20)))
    with pytest.raises(StrongroomError, match="secret"):
        runs.run(many, Failing(), folder=tmp_path / "run", about=about(), on_progress=lambda _p: None)
    assert len(runs.load(tmp_path / "run").rows) == 9


class BreakingOff(FakeEngine):
    def ask(self, request: AskRequest, *, cancel: object = None) -> Iterator[AskEvent]:
        yield ErrorEvent("the model is gone", "pull it", 12)


def test_an_error_event_is_that_error(tmp_path: Path) -> None:
    engine = stocked(BreakingOff(), tmp_path)
    assert {row["error"] for row in measured(engine, tmp_path / "run").rows} == {"the model is gone"}


def test_progress_tells_the_time_left(engine: FakeEngine, tmp_path: Path) -> None:
    said: list[runs.Progress] = []
    runs.run(QUESTIONS, engine, folder=tmp_path / "run", about=about(), on_progress=said.append)
    assert [(p.done, p.total) for p in said] == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert said[0].seconds_left is None
    assert said[-1].seconds_left == 0.0


# ------------------------------------------------------------------------------------------------ values

POLICY = DocumentRef("d", "policy.pdf", "file:///policy.pdf")


def citation(n: int, page: int, quote: str, document: DocumentRef = POLICY) -> Citation:
    return Citation(n, document, page, Locator("page", str(page)), quote, (Span(page, 0, 1),), 1.0, "c")


def answer(*citations: Citation, words: str = "x", abstained: bool = False) -> Answer:
    sentences = tuple(Sentence(c.quote, "supported", (c.n,), verbatim=True) for c in citations[:2])
    timings = {"total": 1.0, "first_token": 1.0}
    return Answer(words, abstained, 0.9, () if abstained else sentences, citations, "m", Usage(), timings)


PAGED = Question("q", "?", ("policy.pdf",), pages=(2, 4), answers=("ninety days",))


def test_citations_are_judged_by_page_and_quotes_by_words() -> None:
    given = answer(citation(1, 2, "It is long."), citation(2, 3, "So be it."), citation(3, 4, "It is ninety days."))
    values = scoring.of_answer(PAGED, given)
    assert (values["citation_precision"], values["citation_recall"]) == (0.5, 0.5)  # only 1 and 2 were used
    assert (values["quote@1"], values["quote@3"]) == (0.0, 1.0)
    assert not scoring.is_wrong(PAGED, given)


def test_the_right_page_of_another_document_is_wrong() -> None:
    other = DocumentRef("e", "other.pdf", "file:///other.pdf")
    given = answer(citation(1, 2, "It is ninety days.", other))
    assert scoring.of_answer(PAGED, given)["citation_precision"] == 0.0
    assert scoring.is_wrong(PAGED, given)


def test_a_refusal_counts_as_missed_but_its_passages_are_judged() -> None:
    given = answer(citation(1, 2, "It is ninety days."), abstained=True)
    values = scoring.of_answer(PAGED, given)
    assert (values["missed"], values["f1_no_answer"], values["quote@1"]) == (1.0, 0.0, 1.0)
    assert "citation_precision" not in values
    assert not scoring.is_wrong(PAGED, given)


def test_an_unanswerable_question_is_right_when_turned_down() -> None:
    question = Question("q", "?", unanswerable=True)
    told, refused = answer(citation(1, 1, "x")), answer(abstained=True)
    assert scoring.of_answer(question, told)["false_answer"] == 1.0
    assert scoring.of_answer(question, refused)["f1_no_answer"] == 1.0
    assert scoring.is_wrong(question, told)
    assert scoring.is_wrong(question, refused)  # to show it would be an error, whatever the threshold


def test_without_a_document_the_words_decide() -> None:
    question = Question("q", "?", answers=("ninety days",))
    assert not scoring.is_wrong(question, answer(citation(1, 1, "It is ninety days.")))
    assert scoring.is_wrong(question, answer(citation(1, 1, "It is ten days.")))


def test_every_value_has_a_meaning(engine: FakeEngine, tmp_path: Path) -> None:
    run = measured(engine, tmp_path / "run")
    assert {name for row in run.rows for name in row["values"]} <= set(scoring.METRICS)


# ------------------------------------------------------------------------------------------------ reports

HOSTILE = "</p><script>alert(1)</script><img src=http://evil.example/x onerror=alert(2)>\"'&"


def hostile(row: dict[str, Any]) -> dict[str, Any]:
    """The row with markup in every text."""

    def spoil(value: Any) -> Any:
        if isinstance(value, str):
            return value + HOSTILE
        if isinstance(value, list):
            return [spoil(v) for v in value]
        return value

    texts = ("question", "kind", "gold", "gold_place", "hits", "answer")
    quotes = [{k: v + HOSTILE for k, v in quote.items()} for quote in row["quotes"]]
    return row | {key: spoil(row[key]) for key in texts} | {"quotes": quotes, "abstained": False, "wrong": True}


class Markup(HTMLParser):
    """What a browser would see in a page: tags, attributes and the style sheet."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.style = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        if self.lasttag == "style":
            self.style += data


def inert(page: str) -> None:
    """Nothing in the page runs, fetches or leads elsewhere."""
    seen = Markup(page)
    assert not seen.tags & {"script", "img", "iframe", "object", "embed", "link", "a", "form", "base", "image", "use"}
    assert not {name for name in seen.attributes if name.startswith("on") or name in ("href", "src", "style")}
    assert not re.search(r"url\(|@import", seen.style)
    assert "default-src 'none'" in page


def test_words_of_documents_and_questions_cannot_act_in_a_report(engine: FakeEngine, tmp_path: Path) -> None:
    run = measured(engine, tmp_path / "run")
    spoilt = runs.Run(run.folder, run.about | {"set": HOSTILE}, tuple(map(hostile, run.rows)))
    page = report.page(spoilt, figures.of_run(spoilt))
    assert "&lt;script&gt;alert(1)" in page
    inert(page)


def test_a_report_has_its_plots_and_worst_cases(engine: FakeEngine, tmp_path: Path) -> None:
    run = measured(engine, tmp_path / "run")
    rows = [row | {"abstained": False, "confidence": 0.95} if row["unanswerable"] else row for row in run.rows]
    page = report.page(run, figures.of_run(runs.Run(run.folder, run.about, tuple(rows))))
    assert page.count("<svg") == 3
    shown = report.page(runs.Run(run.folder, run.about, tuple(rows)), figures.of_run(run))
    assert "Answered though there is no answer: 1" in shown
    assert "Who paints the elephant house?" in shown


def test_a_search_only_run_is_reported_without_answers(engine: FakeEngine, tmp_path: Path) -> None:
    run = measured(engine, tmp_path / "run", answers=False)
    found = figures.of_run(run)
    assert (found["abstention"], found["tokens"]) == (None, None)
    assert "When not to answer" not in report.page(run, found)
    assert asked(engine) == []


def test_two_runs_are_compared_question_by_question(engine: FakeEngine, tmp_path: Path) -> None:
    first = measured(engine, tmp_path / "a")
    worse = [row | {"values": row["values"] | {"quote@1": 0.0}} if row["id"] == "1" else row for row in first.rows]
    second = runs.Run(tmp_path / HOSTILE.replace("/", "|"), first.about | {"settings": {"search_k": 3}}, tuple(worse))
    found = figures.compared(first, second)
    entry = found["metrics"]["quote@1"]
    assert (entry["difference"], entry["wins"], entry["losses"]) == (-0.5, 0, 1)
    assert found["metrics"]["document_hit@1"]["difference"] == 0.0
    assert found["changed"]["search_k"] == [8, 3]
    inert(report.comparison(found))


def test_runs_without_a_common_question_are_not_compared(engine: FakeEngine, tmp_path: Path) -> None:
    first = measured(engine, tmp_path / "a")
    second = runs.Run(tmp_path, first.about, ({**first.rows[0], "id": "x"},))
    with pytest.raises(UsageError, match="no question in common"):
        figures.compared(first, second)


# ------------------------------------------------------------------------------------------------ drafts


@pytest.fixture
def library(tmp_path: Path) -> FakeEngine:
    fake = FakeEngine()
    for name, text in {
        "lease.txt": "The annual rent of the warehouse is EUR 48,000 including service charges.\n"
        "The tenant may not sublet.\nThe deposit must be paid to the landlord within 14 days of signing.\n",
        "gardens.txt": "The oldest tree of the park is a copper beech planted by the mayor.\n",
    }.items():
        (tmp_path / name).write_text(text)
        fake.ingest(IngestRequest((str(tmp_path / name),)), on_event=lambda _e: None)
    return fake


def test_drafts_ask_for_what_a_sentence_states(library: FakeEngine) -> None:
    drafts = generate.generate(library, count=10, unanswerable=5)
    assert all(q.draft for q in drafts)
    by_answer = {q.answers[0]: q for q in drafts if q.answers}
    assert set(by_answer) == {
        "EUR 48,000 including service charges",
        "14 days",
        "a copper beech planted by the mayor",
    }
    assert by_answer["EUR 48,000 including service charges"].text == (
        "In lease: What is the annual rent of the warehouse?"
    )
    assert "within ____ of signing" in by_answer["14 days"].text
    wrong = [q for q in drafts if q.unanswerable]
    assert {q.text for q in wrong} == {
        "In gardens: What is the annual rent of the warehouse?",
        "In lease: What is the oldest tree of the park?",
    }


def test_drafts_ask_for_figures_of_rows_that_their_name_tells_apart(tmp_path: Path) -> None:
    (tmp_path / "budget.txt").write_text(
        "Section: Costs | Line: Insurance | Budget: 1,415\nSection: Costs | Line: Security | Budget: 1,535\n"
        "Net sales of the whole year | 2025: 90 | 2024: 80\nSection: Costs | Line: Costs | Budget: 12\n"
    )
    fake = FakeEngine()
    fake.ingest(IngestRequest((str(tmp_path / "budget.txt"),)), on_event=lambda _e: None)
    assert {(q.text, q.answers[0]) for q in generate.generate(fake, count=9)} == {
        ("What is the budget for Insurance?", "1,415"),
        ("What is the budget for Security?", "1,535"),
        ("What is Net sales of the whole year in 2024?", "80"),
    }


def test_drafts_are_the_same_every_time(library: FakeEngine) -> None:
    assert generate.generate(library, count=2) == generate.generate(library, count=2)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("How much rent does the warehouse cost a year?", "written by a model"),
        ("The rent is high.", "template"),  # no question
        ("Is the annual rent EUR 48,000 including service charges?", "template"),  # gives the answer away
        ("What is love?", "template"),  # about something else
    ],
)
def test_a_models_question_is_taken_only_when_it_is_one(said: str, kind: str, library: FakeEngine) -> None:
    from tests.fakes import FakeChatModel

    write: Callable[[str, str], str | None] = generate.model_writer(FakeChatModel(reply=lambda *_: said))
    drafts = generate.generate(library, count=10, write=write)
    assert {q.kind for q in drafts if q.answers[0].startswith("EUR")} == {kind}


def test_nothing_to_ask_about_is_said() -> None:
    with pytest.raises(StrongroomError, match="no document to ask about"):
        generate.generate(FakeEngine(), count=3)
