"""Questions of several steps: how they are taken apart, bounded, shown, and put together."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import pytest

from retrieval import decompose
from retrieval.steps import Stepper
from strongroom.access import NOBODY, AccessFilter
from strongroom.errors import CancelledError, ModelError
from strongroom.types import Answer, AnswerEvent, AskEvent, AskRequest, CitationsEvent, StageEvent, TextEvent, Usage
from tests.fakes import FakeChatModel, FakeEmbedder
from tests.fakes_engine import FakeEngine


def by_rules(question: str, most: int) -> list[str]:
    return decompose.by_rules(question, most, FakeEmbedder())


@pytest.mark.parametrize(
    ("question", "parts"),
    [
        ("Who signs the agreement?", ["Who signs the agreement?"]),
        ("What are the terms and conditions?", ["What are the terms and conditions?"]),
        ("When does the lease end? Who signs?", ["When does the lease end?", "Who signs?"]),
        (
            "What is the notice period of the lease, and who may terminate it?",
            ["What is the notice period of the lease?", "notice period lease: who may terminate it?"],
        ),
        (
            "What is the difference between the notice period of contract A and that of contract B?",
            ["What is the notice period of contract A?", "What is the notice period of contract B?"],
        ),
        (
            "Compare the revenue of Apple and Intel in 2020.",
            ["What is the revenue of Apple in 2020?", "What is the revenue of Intel in 2020?"],
        ),
        (
            "What was the net income of both Apple and Intel?",
            ["What was the net income of Apple?", "What was the net income of Intel?"],
        ),
        (
            "What is the notice period for each of Supply, Lease and Loan?",
            ["What is the notice period for Supply?", "What is the notice period for Lease?",
             "What is the notice period for Loan?"],
        ),
        (
            "What tax rate did Apple report, and how does this compare to the statutory tax rate?",
            ["What tax rate did Apple report?", "What is the statutory tax rate?"],
        ),
        (
            "How does the rent in the last quarter compare to previous quarters?",
            ["How does the rent in the last quarter compare to previous quarters?"],
        ),
        (
            "How did rates move? List this separately for each period.",
            ["How did rates move? List this separately for each period."],
        ),
    ],
)  # fmt: skip
def test_rules_take_a_question_apart(question: str, parts: list[str]) -> None:
    found = by_rules(question, 8)
    assert [p.casefold() for p in found] == [p.casefold() for p in parts]
    asked = {word.strip("?.,:").casefold() for word in question.split()} | {"what", "is"}
    assert {word.strip("?.,:").casefold() for part in found for word in part.split()} <= asked, "no word is added"


def test_there_are_never_more_parts_than_allowed() -> None:
    question = "What is due for each of A, B, C, D, E and F?"
    assert len(by_rules(question, 3)) == 3
    many = FakeChatModel(reply=lambda _m, _o: json.dumps({"questions": [f"q{n}?" for n in range(30)]}))
    assert len(decompose.by_model(question, 4, many)) == 4


@pytest.mark.parametrize("reply", ["", "no json", '{"questions": []}', '{"questions": [""]}', '{"other": 1}', "[]"])
def test_a_model_that_writes_nonsense_leaves_the_question_whole(reply: str) -> None:
    model = FakeChatModel(reply=lambda _m, _o: reply)
    assert decompose.by_model("Who signs, and when?", 4, model) == ["Who signs, and when?"]


class Answers:
    """The fake engine's answers, with usage, and an error where the question asks for one."""

    def __init__(self, engine: FakeEngine, tokens: int = 10) -> None:
        self.engine, self.tokens = engine, tokens
        self.asked: list[str] = []

    def answer(
        self, request: AskRequest, *, access: AccessFilter, cancel: threading.Event | None = None, where: str = ""
    ) -> Iterator[AskEvent]:
        self.asked.append(request.question)
        if "explode" in request.question:
            raise ModelError("the model broke")
        for event in self.engine.ask(request, cancel=cancel):
            if isinstance(event, AnswerEvent):
                a = event.answer
                event = AnswerEvent(
                    Answer(a.answer, a.abstained, a.confidence, a.sentences, a.citations, a.model,
                           Usage(self.tokens, 0), a.timings_ms, a.id)
                )  # fmt: skip
            yield event


@pytest.fixture
def answers(tmp_path) -> Answers:  # type: ignore[no-untyped-def]
    from strongroom.types import IngestRequest

    (tmp_path / "a.txt").write_text(
        "The notice period of the lease is thirty days. The tenant may terminate the lease."
    )
    (tmp_path / "b.txt").write_text("The notice period of the loan is ten days.")
    engine = FakeEngine()
    engine.ingest(IngestRequest((str(tmp_path),)), on_event=lambda _e: None)
    return Answers(engine)


QUESTION = "What is the notice period of the lease, and what is the notice period of the loan?"


def test_each_step_is_shown_and_cited(answers: Answers) -> None:
    events = list(Stepper(answers, by_rules, most=4).answer(AskRequest(QUESTION, id="q"), access=NOBODY))
    steps = [e.detail for e in events if isinstance(e, StageEvent) and e.stage == "step"]
    assert steps == [
        "1 of 2: What is the notice period of the lease?",
        "2 of 2: What is the notice period of the loan?",
    ]
    # one list of citations, before the words, numbered through
    kinds = [e.kind for e in events]
    assert kinds.count("citations") == kinds.count("text") == kinds.count("answer") == 1
    assert kinds.index("citations") < kinds.index("text")
    (citations,) = (e.citations for e in events if isinstance(e, CitationsEvent))
    assert [c.n for c in citations] == list(range(1, len(citations) + 1))
    answer = events[-1].answer  # type: ignore[union-attr]
    assert answer.citations == citations
    assert answer.answer == "".join(e.text for e in events if isinstance(e, TextEvent))
    assert "thirty days" in answer.answer
    assert "ten days" in answer.answer
    cited = {n for s in answer.sentences for n in s.citations}
    assert cited <= {c.n for c in citations}
    quotes = {c.n: c.quote for c in citations}
    (lease, loan) = [s for s in answer.sentences if s.support == "supported"]
    assert "thirty" in quotes[lease.citations[0]]
    assert "ten" in quotes[loan.citations[0]]
    assert (answer.id, answer.usage.prompt_tokens, answer.abstained) == ("q", 20, False)


def test_a_simple_question_is_answered_as_ever(answers: Answers) -> None:
    request = AskRequest("What is the notice period of the loan?")
    stepped = list(Stepper(answers, by_rules, most=4).answer(request, access=NOBODY))
    assert stepped[0] == StageEvent("decomposing")
    assert stepped[1:] == list(answers.answer(request, access=NOBODY))


def test_tokens_are_bounded_and_what_was_not_asked_is_named(answers: Answers) -> None:
    answers.tokens = 100
    stepper = Stepper(answers, by_rules, most=4, most_tokens=100)
    *_, last = stepper.answer(AskRequest(QUESTION), access=NOBODY)
    assert len(answers.asked) == 1
    assert isinstance(last, AnswerEvent)
    (warning,) = last.answer.warnings
    assert "the notice period of the loan" in warning


def test_what_goes_wrong_in_a_step_is_raised(answers: Answers) -> None:
    stepper = Stepper(answers, lambda _q, _n: ["What is the notice period?", "explode"], most=4)
    with pytest.raises(ModelError, match="the model broke"):
        list(stepper.answer(AskRequest(QUESTION), access=NOBODY))


def test_a_cancelled_question_ends(answers: Answers) -> None:
    cancel = threading.Event()
    answers.engine.pause = 0.01
    events = Stepper(answers, by_rules, most=4).answer(AskRequest(QUESTION), access=NOBODY, cancel=cancel)
    next(events)
    cancel.set()
    with pytest.raises(CancelledError):
        list(events)
    assert len(answers.asked) < 2
