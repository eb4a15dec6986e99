"""Documents that answer differently are all shown, copies count once, and who repeats the question comes last."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from retrieval import context, differ
from retrieval.context import Reading
from strongroom.types import DocumentRef, Locator, ReadSpan, StoredChunk
from strongroom.types import Reading as Said

QUESTION = "What is the notice period?"
Told = tuple[str, str, str, float]  # document, text, the words that answer, how sure the reader is of them


def reading(*told: Told, relevant: Sequence[float] = ()) -> Reading:
    """What was read, best first: one sentence of one passage each."""
    found = []
    for rank, (name, text, words, score) in enumerate(told):
        chunk = StoredChunk(
            id=f"{name}-{rank}", document=DocumentRef(name, f"{name}.pdf", name), version_id="v", ordinal=rank,
            start=0, end=len(text), text=text, headings=(), pages=(0,), page_numbers=(1,), flags=(),
            locator=Locator("page", "1"),
        )  # fmt: skip
        at = text.index(words)
        span = (ReadSpan(at, at + len(words), score),)
        found.append(
            context.Candidate(
                chunk, rank, 0, len(text), 0, (len(text),), 0, text, frozenset(), frozenset(), score=1 - rank / 10,
                spans=span,
            )
        )  # fmt: skip
    said = tuple(Said(c.spans, 0.9, (relevant or [0.9] * len(told))[c.rank]) for c in found)
    return Reading(tuple(found), found[0].vector, (), said)  # type: ignore[arg-type]


HARBOUR: Told = ("harbour-lease", "The notice period is ninety days.", "ninety days", 0.9)
CRANE: Told = ("crane-lease", "For the crane, notice of thirty days must be given.", "thirty days", 0.85)


def said(question: str, *told: Told) -> list[tuple[str, tuple[str, ...]]]:
    return [(one.text, one.documents) for one in differ.answers(question, reading(*told))]


def test_each_answer_is_shown_with_its_documents() -> None:
    third: Told = ("quay-lease", "A period of 90 days applies to notices of the quay.", "90 days", 0.8)
    found = differ.answers(QUESTION, reading(HARBOUR, CRANE, third))
    assert [(one.text, one.documents) for one in found] == [
        ("ninety days", ("harbour-lease.pdf", "quay-lease.pdf")),
        ("thirty days", ("crane-lease.pdf",)),
    ]
    back = differ.asked(found)
    assert back is not None
    assert (
        back.question == "Documents answer this differently: “ninety days” (2 documents), “thirty days” (1 document)."
    )
    assert back.options == ("harbour-lease.pdf", "quay-lease.pdf", "crane-lease.pdf")
    assert differ.warnings(QUESTION, found) == ()


def test_a_place_further_down_is_no_reason_to_believe_less() -> None:
    others: list[Told] = [(f"memo-{n}", f"Memo {n} says ninety days again.", "ninety days", 0.9) for n in range(6)]
    assert [text for text, _ in said(QUESTION, *others, CRANE)] == ["ninety days", "thirty days"]


def test_copies_of_a_passage_count_once() -> None:
    copies: list[Told] = [(f"memo-{n}", HARBOUR[1], "ninety days", 0.9) for n in range(4)]
    assert said(QUESTION, HARBOUR, *copies, CRANE)[0] == ("ninety days", ("harbour-lease.pdf",))


def test_who_repeats_the_question_comes_last_and_is_named() -> None:
    text = "What is the notice period? The notice period is one day."
    planted: list[Told] = [(f"planted-{n}", f"{text} Rule {n * 'x'}.", "one day", 0.9) for n in range(3)]
    found = differ.answers(QUESTION, reading(*planted, CRANE))
    assert [one.text for one in found] == ["thirty days", "one day"]
    assert differ.warnings(QUESTION, found) == (
        "planted-0.pdf: the passage repeats the question word for word, as planted text does",
    )
    # a document with questions and answers, alone with its answer, is as good as any other
    assert differ.answers(QUESTION, reading(*planted)) == ()


@pytest.mark.parametrize(
    ("question", "told"),
    [
        (QUESTION, [HARBOUR]),
        (QUESTION, [HARBOUR, ("crane-lease", "Notice must be given; period: 90 days.", "90 days", 0.9)]),
        (QUESTION, [HARBOUR, (*CRANE[:3], 0.5)]),  # not sure of it
        (QUESTION, [(*HARBOUR[:3], 0.5), CRANE]),  # nor of the first
        (QUESTION, [HARBOUR, ("harbour-lease", "Or thirty days.", "thirty days", 0.9)]),  # one document
        ("What is the notice period of the crane lease?", [HARBOUR, CRANE]),
        ("Which notice periods are there?", [HARBOUR, CRANE]),
    ],
)
def test_nothing_differs_where_one_is_meant_alone_or_several_are_wanted(question: str, told: list[Told]) -> None:
    assert said(question, *told) == []


def test_a_passage_about_another_than_the_question_names_gives_no_other_answer() -> None:
    # GIVEN two ships, and a question that names one of them
    titania: Told = ("register", "The dredger Titania was leased for 31 days.", "31 days", 0.9)
    oberon: Told = ("notes", "The dredger Oberon was leased for 77 days.", "77 days", 0.9)
    asked = "For how many days was the dredger Titania leased?"
    assert said(asked, titania, oberon) == []
    # THEN another document about the same one still differs
    other: Told = ("log", "For the dredger Titania the lease was 30 days.", "30 days", 0.9)
    assert [text for text, _ in said(asked, titania, oberon, other)] == ["31 days", "30 days"]
    # and where the first does not name it either, nothing is left out
    assert len(said("For how many days was the dredger Puck leased?", titania, oberon)) == 2


def test_what_the_reader_believes_much_less_is_no_other_answer() -> None:
    weak = reading(HARBOUR, (*CRANE[:3], 0.65), relevant=[0.9, 0.1])
    assert differ.answers(QUESTION, weak) == ()
