"""Follow-ups are completed with the user's own words, and questions that stand alone are left as they are."""

from __future__ import annotations

from retrieval.condense import MAX_ADDED, condense
from strongroom.types import Message


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
