"""Metrics of one question against cases worked by hand."""

from __future__ import annotations

import math

import pytest

from evals import metrics


def found(*items: set[int]) -> list[frozenset[int]]:
    return [frozenset(i) for i in items]


@pytest.mark.parametrize(
    ("answer", "gold", "f1"),
    [
        ("The Eiffel Tower!", "eiffel tower", 1.0),
        ("the tall tower", "Eiffel Tower", 0.5),  # one of two words on either side
        ("in Paris, France", "Paris", 2 * (1 / 3) / (1 / 3 + 1)),
        ("London", "Paris", 0.0),
        ("", "Paris", 0.0),
        ("a", "the", 1.0),  # nothing is left of either
        ("东京都", "东京", 0.8),  # by character: 2 of 3 and 2 of 2
    ],
)
def test_token_f1(answer: str, gold: str, f1: float) -> None:
    assert metrics.token_f1(answer, [gold]) == pytest.approx(f1)


def test_the_best_accepted_answer_counts() -> None:
    assert metrics.token_f1("31 May", ["May", "31 May", "31"]) == 1.0
    assert metrics.exact_match("On 31 May.", ["on 31 May"]) == 1.0
    assert metrics.exact_match("31 May 2026", ["31 May"]) == 0.0


def test_repeated_words_count_as_often_as_they_stand_there() -> None:
    assert metrics.token_f1("yes yes yes", ["yes"]) == pytest.approx(0.5)


@pytest.mark.parametrize("measure", [metrics.token_f1, metrics.exact_match])
def test_nothing_to_compare_with_is_an_error_and_no_score(measure: object) -> None:
    with pytest.raises(ValueError, match="no accepted answer"):
        measure("x", [])  # type: ignore[operator]


CLAUSE = "Either party may terminate this Agreement upon ninety days prior written notice to the other party"


@pytest.mark.parametrize(
    ("text", "gold", "held"),
    [
        ("It ends on 31\nMay 2026.", "31 May 2026", True),
        ("The date is 131 May", "31 May", False),  # whole words only
        (CLAUSE + " at any time.", CLAUSE, True),
        ("may terminate this Agreement upon ninety days prior written notice to", CLAUSE, True),  # part of a clause
        ("This Agreement is made between the party and the other party on notice", CLAUSE, False),
        ("terminate this Agreement", CLAUSE, False),  # too short to stand for the clause
        ("", CLAUSE, False),
        (CLAUSE, "—", False),
    ],
)
def test_what_holds_a_gold_passage(text: str, gold: str, held: bool) -> None:
    assert metrics.holds(text, gold) is held


def test_ranks() -> None:
    ranked = found(set(), {2}, {1}, {2})
    assert [metrics.hit(ranked, depth) for depth in (1, 2, 8)] == [0.0, 1.0, 1.0]
    assert metrics.reciprocal_rank(ranked) == 0.5
    assert metrics.reciprocal_rank(found(set(), set())) == 0.0
    assert metrics.hit([], 5) == 0.0


def test_a_gold_item_gains_once() -> None:
    assert metrics.gains(found({1}, {1}, {1, 2}, {2})) == [True, False, True, False]


def test_ndcg_worked_by_hand() -> None:
    """Two gold pages, found at ranks 1 and 3: (1 + 1/2) over (1 + 1/log2 3)."""
    assert metrics.ndcg(found({1}, {1}, {2}), 2, 8) == pytest.approx(1.5 / (1 + 1 / math.log2(3)))
    assert metrics.ndcg(found({1}, {2}), 2, 8) == 1.0
    assert metrics.ndcg(found({7}), 5, 1) == 1.0  # nothing better fits into one place
    assert metrics.ndcg(found(set(), set()), 1, 8) == 0.0
    with pytest.raises(ValueError, match="no gold item"):
        metrics.ndcg([], 0, 8)


def test_precision_and_recall() -> None:
    cited = found({1}, set(), {1}, {2})
    assert metrics.share_right(cited) == 0.75
    assert metrics.share_found(cited, 4) == 0.5
    assert metrics.share_right([]) is None
    assert metrics.share_found([], 2) == 0.0
