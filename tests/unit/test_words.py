"""Sizes, times and places in words: the same in a terminal and on a page."""

from __future__ import annotations

import pytest

from strongroom import words
from strongroom.types import Locator


@pytest.mark.parametrize(
    ("count", "written"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (43_210, "43 kB"),
        (999_999, "1.0 MB"),
        (2_500_000_000, "2.5 GB"),
        (5 * 10**12, "5.0 TB"),
    ],
)
def test_sizes_are_written_as_people_do(count: int, written: str) -> None:
    assert words.size(count) == written


def test_times_are_written_as_people_do() -> None:
    assert [words.duration(s) for s in (42, 185, 7800)] == ["42 s", "3 min 5 s", "2 h 10 min"]


@pytest.mark.parametrize(
    ("page", "locator", "written"),
    [
        (3, Locator("page", "iii"), "page 3"),
        (2, Locator("slide", "2"), "slide 2"),
        (None, Locator("sheet", "Budget"), "sheet Budget"),
        (None, Locator("section", ""), "section"),
    ],
)
def test_places_are_named_as_people_do(page: int | None, locator: Locator, written: str) -> None:
    assert words.place(page, locator) == written


def test_what_reaches_over_pages_names_the_first_and_the_last() -> None:
    assert words.places((3, 4, 5), Locator("page", "3")) == "pages 3 to 5"
    assert words.places((2, 3), Locator("slide", "2")) == "slides 2 to 3"
    assert words.places((), Locator("sheet", "Budget")) == "sheet Budget"
