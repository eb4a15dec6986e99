"""Dates, money and numbers in running text: what is found, how it is written, what is flagged."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.whole import values
from retrieval.whole.timeline import reads_day_first


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dated the 1st day of May, 2014 by", [("2014-05-01", "", ())]),
        ("the 20t h day of December 2018", [("2018-12-20", "", ())]),
        ("on May 8, 2014.", [("2014-05-08", "", ())]),
        ("am 3. März 2019 in Köln", [("2019-03-03", "", ())]),
        ("2014-05-06", [("2014-05-06", "", ())]),
        ("due 03/04/2014", [("2014-03-04", "", (values.AMBIGUOUS,))]),
        ("due 04/04/2014", [("2014-04-04", "", ())]),
        ("due 13/04/2014", [("2014-04-13", "", ())]),
        ("seit 1.4.2014", [("2014-04-01", "", ())]),
        ("on 3/14/15", [("2015-03-14", "", (values.TWO_DIGITS,))]),
        ("from 1 May to 3 June 2014", [("2014-05-01", "2014-06-03", (values.RANGE,))]),
        ("on 1-3 May 2014", [("2014-05-01", "2014-05-03", (values.RANGE,))]),
        ("between May 1, 2013 and June 2, 2014", [("2013-05-01", "2014-06-02", (values.RANGE,))]),
        ("from 2011 to 2013", [("2011", "2013", (values.RANGE,))]),
        ("in Q3 2014", [("2014-07", "2014-09", (values.RANGE,))]),
        ("by 31 March every year", [("--03-31", "", ("no year",))]),
        ("within thirty (30) days after delivery.", [("", "", (values.RELATIVE,))]),
        ("31 February 2014", []),
        ("Section 12.3.2014 applies", []),
        ("Party 2 may be asked", []),
        ("version 1.2.3 of 10.0.0.14", []),
    ],
)
def test_dates(text: str, expected: list[tuple[str, str, tuple[str, ...]]]) -> None:
    assert [(d.date, d.until, d.flags) for d in values.dates(text)] == expected


def test_a_document_tells_which_of_its_numbers_are_days() -> None:
    assert reads_day_first(["on 13/04/2014", "on 25/12/2014", "on 1/2/2014"])
    assert not reads_day_first(["on 04/13/2014", "on 1/2/2014"])
    assert values.dates("on 1/2/2014", day_first=True)[0].date == "2014-02-01"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$1,250,000.50", [("USD 1250000.50", ("which dollar?",))]),
        ("US$ 2.5 million", [("USD 2500000", ())]),
        ("EUR 3.000.000,00", [("EUR 3000000.00", ())]),
        ("3 million euros", [("EUR 3000000", ())]),
        ("£400 and CHF 1'000", [("GBP 400", ()), ("CHF 1000", ())]),
        ("a meeting of 12 people", []),
    ],
)
def test_amounts(text: str, expected: list[tuple[str, tuple[str, ...]]]) -> None:
    assert [(a.value, a.flags) for a in values.amounts(text)] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("thirty (30) days", ["30"]), ("twenty-five years", ["25"]), ("5.5% of 1,000", ["5.5%", "1000"]), ("5 m", ["5"])],
)
def test_numbers(text: str, expected: list[str]) -> None:
    assert [n.value for n in values.numbers(text)] == expected


@given(st.text(alphabet="0123456789/.- $€,MayJune()thirtydays\n'’", max_size=60))
@settings(max_examples=150, deadline=None)
def test_whatever_the_text_places_are_inside_it(text: str) -> None:
    for found in (*values.dates(text), *values.amounts(text), *values.numbers(text)):
        assert 0 <= found.start < found.end <= len(text)
        assert text[found.start : found.end].strip()
