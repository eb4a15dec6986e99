"""A sentence is supported only when a cited quote carries it, with the same numbers, names and sense."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from retrieval.evidence import Evidence
from retrieval.grounding import assign, check
from retrieval.sentences import split_sentences
from strongroom.types import Sentence
from tests.answering import Shelf
from tests.fakes import FakeEmbedder, FakeReader

EMBEDDER = FakeEmbedder(512)


class Agreeing(FakeReader):
    """A reader that believes everything: only the rules may object."""

    def support(self, claim: str, evidence: Sequence[str]) -> list[float]:
        return [1.0] * len(evidence)


READER = Agreeing()
QUOTES = [
    "The tenant Jane Doe pays a monthly rent of 900 euros to the landlord from May 2021.",
    "The landlord does not insure the furniture of the tenant against fire.",
]


def evidence() -> list[Evidence]:
    chunks = Shelf({f"d{i}": [text] for i, text in enumerate(QUOTES)}).chunks()
    vectors = EMBEDDER.embed_documents(QUOTES)
    return [Evidence(c, c.start, c.end, c.text, 1.0, 1.0, 1.0, v) for c, v in zip(chunks, vectors, strict=True)]


def judge(text: str, *numbers: int, question: str = "What does the tenant pay?") -> Sentence:
    found = check(text, [(len(text), n) for n in numbers], evidence(), question, EMBEDDER, READER)
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize(
    ("text", "support"),
    [
        (QUOTES[0], "supported"),
        ("The tenant pays a monthly rent of 900 euros.", "supported"),
        ("The tenant pays a monthly rent of 950 euros.", "unsupported"),  # a number from nowhere
        ("The tenant pays a monthly rent of 900 euros from June 2021.", "unsupported"),  # another month
        ("The tenant John Doe pays a monthly rent of 900 euros.", "unsupported"),  # another name
        ("The tenant does not pay a monthly rent of 900 euros.", "partial"),  # the opposite
        ("Rain is likely on the northern coast tomorrow.", "unsupported"),
        ("The tenant usually pays rent by a standing order at some bank.", "partial"),
    ],
)
def test_support_follows_the_cited_quote(text: str, support: str) -> None:
    assert judge(text, 1).support == support


def test_a_name_that_only_the_question_holds_is_at_most_partial() -> None:
    text = "The tenant of Selby Tower pays a monthly rent of 900 euros."
    assert judge(text, 1, question="What does the tenant of Selby Tower pay?").support == "partial"


def test_a_sentence_is_judged_by_the_quote_it_cites_not_by_a_better_one() -> None:
    assert judge("The tenant pays a monthly rent of 900 euros.", 2).support == "unsupported"


def test_a_sentence_without_a_citation_gets_the_quote_that_carries_it() -> None:
    found = judge("The landlord does not insure the furniture of the tenant against fire.")
    assert (found.citations, found.support) == ((2,), "supported")
    assert judge("Rain is likely tomorrow.").citations == ()
    assert judge("The tenant pays a monthly rent of 950 euros to the landlord from May 2021.").citations == ()


def test_invented_numbers_are_kept_as_invalid() -> None:
    found = judge("The tenant pays a monthly rent of 900 euros.", 7, 1, 0)
    assert (found.citations, found.invalid, found.support) == ((1,), (7, 0), "supported")


def test_without_quotes_nothing_is_supported() -> None:
    found = check("The tenant pays.", [(3, 1)], [], "Who pays?", EMBEDDER, READER)
    assert (found[0].support, found[0].citations, found[0].invalid) == ("unsupported", (), (1,))


def test_no_text_gives_no_sentences() -> None:
    assert check(" \n", [(0, 1)], evidence(), "q", EMBEDDER, READER) == ()


def test_marks_belong_to_the_sentence_they_stand_in_or_behind() -> None:
    text = "Alpha is here. Beta is there.\nGamma is gone."
    spans = [(s.start, s.end) for s in split_sentences(text)]
    begins = text.index("Gamma")
    assert assign(text, spans, [(13, 1), (14, 2), (20, 3), (begins, 4), (len(text), 5)]) == [(1, 2), (3,), (4, 5)]
    assert assign(text, spans, [(0, 9)])[0] == (9,)


ROW = "Item: Maintenance dredging | Budget (EUR): 2365 | Outturn (EUR): 2140"
YEARS = "Line: Maintenance dredging | Outturn 2025/26: 2140 | Budget 2026/27: 2365 | Change: 225"


@pytest.mark.parametrize(
    ("quote", "text", "support"),
    [
        (ROW, "The budget for maintenance dredging is 2140.", "partial"),  # the outturn's number
        (ROW, "The budget for maintenance dredging is 2365.", "supported"),
        (ROW, "The outturn for maintenance dredging is 2140.", "supported"),
        (ROW, "Maintenance dredging: the budget is 2365, the outturn 2140.", "supported"),
        (ROW, "The item maintenance dredging cost EUR 2140.", "supported"),  # names no column of numbers
        (YEARS, "The budget for maintenance dredging is 2140.", "partial"),
        (YEARS, "The budget for maintenance dredging is 2365.", "supported"),
        ("Item: Dredging | 2025: 12 | 2026: 14", "The dredging of 2025 cost 14.", "partial"),
        ("The fee is 100,000 euros a year.", "The fee is 100", "unsupported"),  # a part of the number
        ("The rate is 2.5 percent.", "The rate is 2", "unsupported"),
    ],
)
def test_a_number_must_be_whole_and_under_its_own_label(quote: str, text: str, support: str) -> None:
    chunk = Shelf({"d": [quote]}).chunks()[0]
    vector = EMBEDDER.embed_documents([text])[0]  # as near as can be: only the rules may object
    found = Evidence(chunk, chunk.start, chunk.end, chunk.text, 1.0, 1.0, 1.0, vector)
    assert [s.support for s in check(text, [(len(text), 1)], [found], "What is it?", EMBEDDER, READER)] == [support]


@pytest.mark.parametrize(
    ("text", "support"),
    [
        ("The lease was signed by John Miller for Harbour Holdings.", "supported"),
        ("The lease was signed by Miller, John for Harbour Holdings.", "supported"),
        ("The lease was signed by John Smith for Harbour Holdings.", "partial"),  # words of two names
        ("The lease was signed by John Millers for Harbour Holdings.", "partial"),  # the same stem, another name
        ("The lease was signed by John Baker for Harbour Holdings.", "unsupported"),
    ],
)
def test_names_are_those_of_the_quote_letter_for_letter(text: str, support: str) -> None:
    quote = "The lease was signed by John Miller and his sister Anna Smith for Harbour Holdings."
    (chunk,) = Shelf({"d": [quote]}).chunks()
    quotes = [Evidence(chunk, chunk.start, chunk.end, quote, 1.0, 1.0, 1.0, EMBEDDER.embed_documents([quote])[0])]
    (found,) = check(text, [(len(text), 1)], quotes, "Who signed?", EMBEDDER, READER)
    assert found.support == support
