"""Numbers, names and shared words are told the same way however they are written."""

from __future__ import annotations

import pytest

from retrieval import lexical


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It costs 1,250.00 euros", {"1250"}),
        ("It costs 1250 euros", {"1250"}),
        ("It costs 1.250.000,50", {"1250000.5"}),
        ("ten of 007", {"10", "7"}),
        ("from 1990 to -5", {"1990", "-5"}),
        ("no digits", set()),
    ],
)
def test_numbers_are_written_one_way(text: str, expected: set[str]) -> None:
    assert lexical.numbers(text) == expected


def test_names_are_capitalised_words_inside_sentences() -> None:
    found = lexical.names("Acme Corporation hired Jane Doe in Oslo. The contract ended.")
    assert {lexical.stem(w) for w in ("acme", "corporation", "jane", "doe", "oslo")} == found


def test_endings_do_not_keep_words_apart() -> None:
    assert lexical.terms("The contracts terminated") == lexical.terms("contract terminates")


def test_chinese_is_compared_by_pairs() -> None:
    assert set(lexical.terms("合同期限")) & set(lexical.terms("本合同的期限"))


def test_coverage_weighs_rare_words() -> None:
    texts = [lexical.terms("harbour lease fee"), lexical.terms("harbour fee"), lexical.terms("harbour")]
    weights, missing = lexical.rarity(texts), lexical.unseen(3)
    asked = lexical.terms("harbour lease")
    assert lexical.coverage(asked, texts[0], weights, missing) == 1.0
    assert lexical.coverage(asked, texts[1], weights, missing) < 0.5
    assert lexical.coverage([], texts[0], weights, missing) == 0.0


@pytest.mark.parametrize(
    ("text", "expected"), [("He did not pay", True), ("He paid", False), ("not without pay", False)]
)
def test_negation_is_counted(text: str, expected: bool) -> None:
    assert lexical.negated(text) is expected


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("What was research and development expense in the third quarter?", "number"),
        ("What is the budget for maintenance dredging?", "number"),
        ("What were total net sales of the group?", "number"),
        ("What is the income statement?", None),
        ("What is the sales tax clause?", None),
        ("What is the definition of net sales?", None),
        ("Who signed it?", "name"),
    ],
)
def test_the_kind_of_word_that_is_asked_for(question: str, kind: str | None) -> None:
    assert lexical.wanted(question) == kind


@pytest.mark.parametrize(
    ("question", "is_open"),
    [
        ("Which company signed?", True),
        ("When does it end?", True),
        ("Is it Acme or Heron?", False),
        ("Which is longer, the lease or the licence?", False),
        ("Is the lease signed?", False),
    ],
)
def test_an_open_question_is_not_answered_by_its_own_words(question: str, is_open: bool) -> None:
    assert lexical.is_open(question) is is_open
