"""Numbers, units and dates are compared exactly, in whatever notation they stand."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval import grounding
from retrieval.evidence import Evidence
from retrieval.facts import facts
from tests.answering import Shelf
from tests.fakes import FakeEmbedder, FakeReader


def unsaid(claim: str, quote: str) -> tuple[str, ...]:
    return facts(claim).unsaid([facts(quote)])


@pytest.mark.parametrize(
    ("claim", "quote"),
    [
        ("It ends on 3 March 2026.", "End date: 2026-03-03"),
        ("It ends on March 3, 2026.", "It ends on the 3rd of March 2026."),
        ("It ends on 03/03/2026.", "ends 3 Mar. 2026"),
        ("It ends on 2026-04-05.", "dated 04/05/2026"),
        ("It ends in March 2026.", "It ends on 3 March 2026."),
        ("It ends in 2026.", "It ends on 3 March 2026."),
        ("It costs 1.5 million euros.", "Price: €1,500,000"),
        ("It costs EUR 2,000.", "The fee of 2000 euros"),
        ("The rate is 30 per cent.", "a rate of 30 %"),
        ("Ninety days are given.", "within 90 days"),
        ("Notice is ninety (90) days.", "within 90 days"),
        ("10 working days", "ten business days"),
        ("It holds 12 items.", "12 pieces"),
        ("It takes 5 hours.", "hours: 5"),
    ],
)
def test_other_notations_say_the_same(claim: str, quote: str) -> None:
    assert unsaid(claim, quote) == ()


@pytest.mark.parametrize(
    ("claim", "quote", "words"),
    [
        ("It ends on 4 March 2026.", "It ends on 3 March 2026.", "4 March 2026"),
        ("It ends on 3 March 2027.", "It ends on 3 March 2026.", "3 March 2027"),
        ("It ends on 3 March 2026.", "It ends in March 2026.", "3 March 2026"),
        ("They are kept for 6 days.", "They are kept for 60 days, or 6 years.", "6 days"),
        ("The rate is 30 euros.", "The rate is 30 %.", "30 euros"),
        ("It costs 1.5 billion.", "It costs 1.5 million.", "1.5 billion"),
        ("It costs 15 euros.", "It costs 1.5 euros.", "15 euros"),
        ("It takes 3 days.", "It ends on 3 March 2026.", "3 days"),
        ("There are seven.", "There are eight.", "seven"),
    ],
)
def test_what_differs_is_named(claim: str, quote: str, words: str) -> None:
    assert words in unsaid(claim, quote)


@given(st.text(alphabet="0123456789 ./-%€$abcdMar,()", max_size=80))
def test_every_text_says_itself(text: str) -> None:
    assert unsaid(text, text) == ()


# ------------------------------------------------------------------------------------------------ in answers


def evidence(*texts: str) -> list[Evidence]:
    shelf = Shelf({f"d{i}": [text] for i, text in enumerate(texts)})
    return [
        Evidence(c, 0, len(c.text), c.text, 1.0, 1.0, 1.0, FakeEmbedder().embed_query(c.text)) for c in shelf.chunks()
    ]


@settings(max_examples=60, deadline=None)
@given(
    held=st.lists(st.integers(2, 9_999), min_size=1, max_size=4),
    told=st.integers(2, 9_999),
    cited=st.lists(st.integers(1, 6), max_size=3),
    unit=st.sampled_from(["", " euros", " days", " %", ".5", " million"]),
    frame=st.sampled_from(
        ["The fee is {}.", "It was {} in total, as agreed.", "Not {}, said the landlord.", "{} applies."]
    ),
)
def test_a_number_that_stands_in_no_quote_is_always_flagged(
    held: list[int], told: int, cited: list[int], unit: str, frame: str
) -> None:
    """Whatever is cited, and however alike the words are."""
    quotes = evidence(*(frame.format(f"{n}{unit}") for n in held))
    text = frame.format(f"{told}{unit}")
    marks = [(len(text), n) for n in cited]
    (sentence,) = grounding.check(text, marks, quotes, "What is the fee?", FakeEmbedder(), FakeReader())
    if told in held:
        assert sentence.unfounded == ()
    else:
        assert sentence.support == "unsupported"
        assert str(told) in " ".join(sentence.unfounded)


def test_invented_names_are_named_and_those_of_the_question_are_not() -> None:
    quotes = evidence("The lease of berth four was signed by Clara Gray in May.")
    text = "The lease of berth four was signed by Peter Gray in May."
    (sentence,) = grounding.check(text, [(len(text), 1)], quotes, "Who signed?", FakeEmbedder(), FakeReader())
    assert sentence.support == "unsupported"
    assert sentence.unfounded == ("Peter",)
    (asked,) = grounding.check(text, [(len(text), 1)], quotes, "Did Peter sign?", FakeEmbedder(), FakeReader())
    assert asked.unfounded == ()


def test_a_denial_is_compared_with_the_sentence_of_the_quote_that_it_is_about() -> None:
    quotes = evidence("The tenant may sublet the berth. The tenant may not keep dogs on the berth.")
    text = "The tenant may not sublet the berth."
    (sentence,) = grounding.check(text, [(len(text), 1)], quotes, "May it?", FakeEmbedder(), FakeReader())
    assert sentence.support != "supported"
