"""Which end of a period a question asks for, and which end each date of a sentence is."""

from __future__ import annotations

import pytest

from retrieval import context, times
from retrieval.citations import PageReader
from retrieval.facts import day_places
from tests.answering import ACCESS, Shelf, ShelfSearch
from tests.fakes import FakeEmbedder
from tests.unit.test_answer_context import PointingReader

HEADER = "From: Ann <ann@example.org>\nDate: Wed, 21 Dec 2022 10:28:53 -0600\nSubject: Family Day\n\nBring a cake."


@pytest.mark.parametrize(
    ("question", "side"),
    [
        ("When does the lease expire?", "end"),
        ("Until when does the lease run?", "end"),
        ("what is the Expiration Date?", "end"),
        ("When did the sponsorship agreement start?", "start"),
        ("What is the effective date of the lease?", "start"),
        ("When does the notice take effect?", "start"),
        ("When did the war begin and end?", None),
        ("When must the termination fee be paid?", None),
        ("Who may end the lease?", None),
        ("When is the rent due?", None),
    ],
)
def test_the_end_that_a_question_asks_for(question: str, side: str | None) -> None:
    assert times.asked(question) == side


@pytest.mark.parametrize(
    ("sentence", "sides"),
    [
        ("made and entered into as of June 1st, 2020 (the “Effective Date”)", ["start"]),
        ("12 months from the Effective Date on June 1st 2020 and expiring May 31st 2021", ["start", "end"]),
        ("shall commence on January 1, 2010 and extend through December 31, 2010", ["start", "end"]),
        ("two years from May 1, 2013 to April 30, 2015", ["start", "end"]),
        ("TERM: November 01, 2014 to October 31, 2017", ["start", "end"]),
        ("Termination Date: December 31, 2023", ["end"]),
        ("August 31, 2006 is the day on which it expires", ["end"]),
        ("the 5th day of February, 2020, the effective date", ["start"]),
        ("The dynasty ended in 1368.", ["end"]),
        ("from 1998-2003", ["start", "end"]),
        ("may terminate by notice at any time prior to December 31, 2010", [None]),
        ("The port authority wrote on 3 May 2026 about fenders.", [None]),
        ("under the Securities Act of 1933, effective now", []),
    ],
)
def test_which_end_of_a_period_a_date_is(sentence: str, sides: list[str | None]) -> None:
    assert [side for _, _, side in times.dates(sentence)] == sides


def test_dates_are_found_whole() -> None:
    text = "on the 23rd day of December, 2003 or 07/31/2003, or 2003-12-23, or in May 2004, not in 2004.5"
    assert [text[a:b] for a, b in day_places(text)] == [
        "23rd day of December, 2003",
        "07/31/2003",
        "2003-12-23",
        "May 2004",
    ]


def test_a_term_is_worth_less_than_a_date_and_only_where_the_end_is_asked_for() -> None:
    term = "The initial term of this Agreement shall be two (2) years from the Effective Date."
    assert times.offers(term, "end") == times.TERM
    assert times.offers(term, "start") == 0
    assert times.offers("It ends on 3 May 2026.", "end") == 1
    assert times.offers("Two years ago a crane fell.", "end") == 0


def answer(question: str, text: str, *seen: str) -> str:
    shelf, embedder = Shelf({"lease": [text]}), FakeEmbedder(64)
    ranked, _ = ShelfSearch(shelf, embedder).search(question, access=ACCESS, k=8)
    reading = context.read(question, ranked, PageReader(shelf.page), embedder, PointingReader(*seen))
    quote = context.choose(reading, count_tokens=len, budget=1 << 20)[0]
    return quote.text[quote.spans[0].start - quote.start : quote.spans[0].end - quote.start]


LEASE = "The lease was made on 1 May 2020 by both, is for a year, and is ending on 30 April 2021."


@pytest.mark.parametrize(
    ("question", "seen", "said"),
    [
        ("When does the lease expire?", ("1 May 2020", "30 April 2021"), "30 April 2021"),
        ("When does the lease expire?", ("1 May 2020",), "30 April 2021"),
        ("When does the lease start?", ("30 April 2021", "1 May 2020"), "1 May 2020"),
        ("When is the lease?", ("1 May 2020", "30 April 2021"), "1 May 2020"),  # no side: the reader's word stands
    ],
)
def test_the_date_of_the_side_that_is_asked_for_answers(question: str, seen: tuple[str, ...], said: str) -> None:
    assert answer(question, LEASE, *seen) == said


def test_a_clause_gives_way_to_its_date_only_where_when_is_asked() -> None:
    clause = (
        "Subject to section 14 hereof the term shall commence on January 1, 2010 and extend through December 31, 2010"
    )
    assert answer("When does the term end?", f"{clause}.", clause) == "December 31, 2010"
    assert answer("What is the end date of the term?", f"{clause}.", clause) == clause


@pytest.mark.parametrize("question", ["When is the family day?", "On what date is the cake needed?"])
def test_the_day_on_which_a_message_was_sent_is_not_the_day_it_speaks_of(question: str) -> None:
    seen = times.without_posting(question, HEADER)
    assert "2022" not in seen
    assert len(seen) == len(HEADER)
    assert seen.index("Subject") == HEADER.index("Subject")


@pytest.mark.parametrize("question", ["When was the mail sent?", "When did Ann write to me?", "Who brings a cake?"])
def test_who_asks_about_the_message_itself_gets_its_day(question: str) -> None:
    assert times.without_posting(question, HEADER) == HEADER
