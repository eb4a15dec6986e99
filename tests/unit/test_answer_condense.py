"""Follow-ups are completed with the user's own words, and questions that stand alone are left as they are."""

from __future__ import annotations

import pytest

from retrieval import condense as module
from retrieval.condense import MAX_ADDED, leans_on, points_back
from strongroom.types import Message
from tests.fakes import FakeEmbedder


def condense(question: str, history: list[Message]) -> str:
    return module.condense(question, history, FakeEmbedder())


def user(*questions: str) -> list[Message]:
    return [Message("user", q) for q in questions]


def test_a_question_that_stands_alone_is_unchanged() -> None:
    question = "What is the notice period of the Harbour lease?"
    assert condense(question, user("Who insures the crane?")) == question
    assert condense("Why?", []) == "Why?"


def test_a_follow_up_gets_the_words_it_leans_on() -> None:
    history = [*user("What is the notice period of the Harbour lease?"), Message("assistant", "Ninety days, Bob says.")]
    found = condense("And who may extend it?", history)
    assert found.endswith("And who may extend it?")
    assert {"notice", "period", "Harbour", "lease"} <= set(found.replace(":", "").split())
    assert "Bob" not in found  # a model's words never steer the search


def test_a_chain_of_follow_ups_reaches_the_last_full_question() -> None:
    found = condense(
        "Why that?", user("Who owns the pier at Norhaven?", "Where is the old bridge in Selby town?", "And when?")
    )
    assert "Selby" in found
    assert "Norhaven" not in found


def test_what_is_added_is_bounded() -> None:
    found = condense("Why?", user(" ".join(f"word{i}" for i in range(200))))
    assert len(found.split()) <= MAX_ADDED + 1


@pytest.mark.parametrize(
    ("question", "back"),
    [
        ("When does it end?", True),
        ("Is that the last one?", True),
        ("And those?", True),
        ("Which clause says that the tenant pays?", False),
        ("What is owed to those who left?", False),
        ("Is there a rule for dogs?", False),
        ("Which fees other than rent are due?", False),
    ],
)
def test_words_that_point_forward_are_not_taken_to_point_back(question: str, back: bool) -> None:
    assert points_back(question) is back


def test_a_short_question_of_another_topic_is_left_alone() -> None:
    history = user("What is the notice period of the Harbour lease?")
    assert leans_on("Who pays wages?", history, FakeEmbedder()) == []
    assert condense("Who pays wages?", history) == "Who pays wages?"
    assert "Harbour" in condense("Who pays the lease?", history)  # shares a word
    assert "Harbour" in condense("Who pays it?", history)  # points back
    assert "Harbour" in condense("Why?", history)  # names nothing


def test_a_long_history_costs_no_more_than_its_last_turns() -> None:
    history = [m for i in range(200) for m in user(f"What is topic number{i} about here? " + "x " * 5_000)]
    found = condense("And why?", history)
    assert "number199" in found
    assert "number198" not in found
    assert len(found) < 400


def test_a_long_question_is_what_stands_at_its_end() -> None:
    told = "We act for Norhaven Port and look at many agreements, signed in many places and at different times. " * 3
    assert module.asked(f"{told}Please be precise: which law governs?") == "norhaven port: which law governs?"
    # a short question, and a long one that asks nothing by a mark, stay as they are
    short = "We act for Norhaven Port: which law governs?"
    assert module.asked(short) == short
    assert module.asked(told) == told
