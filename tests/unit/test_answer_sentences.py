"""Sentences keep their places: exact offsets, nothing lost, and no cut inside an abbreviation or a number."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.sentences import MAX_CHARS, split_sentences


def cut(text: str) -> list[str]:
    return [text[s.start : s.end] for s in split_sentences(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It is due. It was paid.", ["It is due.", "It was paid."]),
        ("Acme Inc. signed it. Beta did not.", ["Acme Inc. signed it.", "Beta did not."]),
        ("They work for Acme Inc. The term is long.", ["They work for Acme Inc.", "The term is long."]),
        ("See No. 5 and Sec. 4.2 Fees. Stop.", ["See No. 5 and Sec. 4.2 Fees.", "Stop."]),
        ("The U.S. Government paid. Good.", ["The U.S. Government paid.", "Good."]),
        ("Mr. J. Smith left. He ran.", ["Mr. J. Smith left.", "He ran."]),
        ("It costs 3.5 million. 5 people came.", ["It costs 3.5 million.", "5 people came."]),
        ("1. The Supplier pays. 2. The Buyer waits.", ["1. The Supplier pays.", "2. The Buyer waits."]),
        ('He said "Stop." Then he left.', ['He said "Stop."', "Then he left."]),
        ("Why? Because! Yes.", ["Why?", "Because!", "Yes."]),
        ("It ended.[12] They left.", ["It ended.[12]", "They left."]),
        ("今天很好。我们走吧！好吗？好", ["今天很好。", "我们走吧！", "好吗？", "好"]),
        ("ما هذا؟ هذا كتاب. نعم", ["ما هذا؟", "هذا كتاب.", "نعم"]),
    ],
)
def test_stops_end_sentences_and_abbreviations_do_not(text: str, expected: list[str]) -> None:
    assert cut(text) == expected


def test_wrapped_lines_are_one_sentence() -> None:
    text = (
        "This agreement begins on the first of May and\nends when either party gives notice to\nthe other. It renews."
    )
    assert cut(text) == [text[: text.index(" It renews")], "It renews."]


def test_blank_lines_headings_bullets_and_rows_are_boundaries() -> None:
    text = (
        "ARTICLE I\nDefinitions and terms that are used in this agreement.\n\n"
        "- first item\n- second item\n(a) third item\nFee | 100\nTax | 20"
    )
    assert cut(text) == [
        "ARTICLE I",
        "Definitions and terms that are used in this agreement.",
        "- first item",
        "- second item",
        "(a) third item",
        "Fee | 100",
        "Tax | 20",
    ]


@given(st.text(alphabet=st.sampled_from("ab A.!?。؟\n\r\t |-1(\"'”[],;:\u2028\f"), max_size=200))
def test_sentences_lose_nothing_and_stay_in_order(text: str) -> None:
    spans = split_sentences(text)
    at = 0
    for span in spans:
        assert at <= span.start < span.end <= len(text)
        assert not text[at : span.start].strip()
        assert text[span.start : span.end] == text[span.start : span.end].strip()
        at = span.end
    assert not text[at:].strip()


@given(st.text(max_size=300), st.integers(min_value=5, max_value=60))
def test_no_sentence_is_longer_than_the_limit(text: str, limit: int) -> None:
    spans = split_sentences(text, max_chars=limit)
    assert all(s.end - s.start <= limit for s in spans)
    kept = "".join(text[s.start : s.end] for s in spans)
    assert "".join(kept.split()) == "".join(text.split())


def test_text_without_stops_is_cut_at_white_space() -> None:
    text = " ".join(["word"] * 1000)
    pieces = cut(text)
    assert max(map(len, pieces)) <= MAX_CHARS
    assert all(set(piece.split()) == {"word"} for piece in pieces)
