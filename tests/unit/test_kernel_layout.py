"""Boxes of a quote from the word boxes of its page."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.layout import boxes_for, pack_words, unpack_words

# Two lines of two words: "ab cd" / "ef gh"
WORDS = [(0, 2, 10, 10, 20, 20), (3, 5, 24, 10, 40, 20), (6, 8, 10, 24, 20, 34), (9, 11, 24, 24, 40, 34)]


def test_words_of_a_line_become_one_box_and_lines_stay_apart() -> None:
    assert boxes_for(pack_words(WORDS), 0, 11) == ((10, 10, 40, 20), (10, 24, 40, 34))


def test_only_words_that_overlap_the_quote_are_covered() -> None:
    assert boxes_for(pack_words(WORDS), 3, 8) == ((24, 10, 40, 20), (10, 24, 20, 34))
    assert boxes_for(pack_words(WORDS), 5, 6) == ()


def test_columns_side_by_side_stay_apart() -> None:
    words = [(0, 2, 10, 10, 60, 20), (3, 5, 300, 10, 350, 20)]
    assert boxes_for(pack_words(words), 0, 5) == ((10, 10, 60, 20), (300, 10, 350, 20))


def test_a_torn_layout_is_an_error_not_a_guess() -> None:
    with pytest.raises(struct.error):
        boxes_for(pack_words(WORDS)[:-1], 0, 11)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 600), st.integers(0, 800)), max_size=30))
def test_every_word_of_the_quote_lies_inside_some_box(raw: list[tuple[int, int, int]]) -> None:
    words = [(10 * i, 10 * i + 1 + w, x, y, x + 5 + w, y + 10) for i, (w, x, y) in enumerate(raw)]
    boxes = boxes_for(pack_words(words), 0, 1000)
    for _, _, x0, y0, x1, y1 in unpack_words(pack_words(words)):
        assert any(b[0] <= x0 and b[1] <= y0 and b[2] >= x1 and b[3] >= y1 for b in boxes)
