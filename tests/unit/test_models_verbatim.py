"""Quoting mode: whatever tokens are chosen, only slices of the sources come out."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.verbatim import SEPARATOR, VerbatimConstraint, Vocabulary

END = 0


def _vocabulary(sources: list[str], seed: int) -> Vocabulary:
    """All single bytes, random slices of the sources (also through characters), and slices led by a space."""
    rng = random.Random(seed)
    data = " ".join(sources).encode("utf-8", "replace")
    pieces = [b"", *(bytes([value]) for value in range(256))]
    for _ in range(40):
        start = rng.randrange(max(1, len(data)))
        piece = b" ".join(data[start : start + rng.randint(1, 12)].split()) or b"x"
        pieces += [piece, b" " + piece]
    return Vocabulary(pieces, [END])


def _generate(sources: list[str], vocabulary: Vocabulary, seed: int, *, limit: int, words: bool = False) -> str:
    rng = random.Random(seed)
    quotes = VerbatimConstraint(sources, vocabulary, words=words)
    out = ""
    for _ in range(limit):
        token = rng.choice(quotes.allowed())
        if token == END:
            break
        out += quotes.accept(token)
    return out


_texts = st.lists(
    st.text(alphabet=st.sampled_from("ab .!?\n\t éß漢。…\"'1,;\r\u00a0🙂A"), min_size=0, max_size=60),
    min_size=1,
    max_size=4,
)


@settings(max_examples=200, deadline=None)
@given(sources=_texts, seed=st.integers(0, 10_000), limit=st.integers(1, 80), words=st.booleans())
def test_every_run_is_a_slice_of_a_source(sources: list[str], seed: int, limit: int, words: bool) -> None:
    out = _generate(sources, _vocabulary(sources, seed), seed, limit=limit, words=words)
    for run in out.split(SEPARATOR):
        assert any(run in source for source in sources), run


@settings(max_examples=100, deadline=None)
@given(sources=_texts, seed=st.integers(0, 10_000))
def test_generation_always_ends_and_never_gets_stuck(sources: list[str], seed: int) -> None:
    # GIVEN a bound that no set of distinct quotes can exceed: one token for each byte of each source
    vocabulary = _vocabulary(sources, seed)
    quotes = VerbatimConstraint(sources, vocabulary)
    rng = random.Random(seed)
    bound = sum(len(source.encode("utf-8", "replace")) for source in sources) + 2
    # WHEN the model never wants to stop
    for _ in range(bound):
        choices = quotes.allowed()
        going = [token for token in choices if token != END]
        quotes.accept(rng.choice(going or choices))
        if quotes.finished:
            break
    # THEN it runs out of text
    assert quotes.finished


def test_the_model_cannot_stop_inside_a_sentence_or_before_quoting() -> None:
    vocabulary = Vocabulary([b"", b"The ", b"rent ", b"is due.", b"Cats", b" sleep."], [END])
    quotes = VerbatimConstraint(["The rent is due. Cats sleep."], vocabulary)
    assert quotes.allowed() == [1, 4]
    assert quotes.accept(1) == "The "
    assert quotes.allowed() == [2]
    assert quotes.accept(2) == "rent "
    assert quotes.accept(3) == "is due."
    assert quotes.allowed() == [END, 4]


def test_runs_are_joined_by_the_separator_and_not_repeated() -> None:
    vocabulary = Vocabulary([b"", b"One.", b"Two.", b" Two."], [END])
    quotes = VerbatimConstraint(["One. Two."], vocabulary)
    assert quotes.accept(2) == "Two."
    assert quotes.accept(1) == f"{SEPARATOR}One."
    assert quotes.allowed() == [END]


def test_going_on_in_the_same_source_needs_no_separator() -> None:
    vocabulary = Vocabulary([b"", b"One.", b" Two."], [END])
    quotes = VerbatimConstraint(["One.\n Two."], vocabulary)
    assert quotes.accept(1) + quotes.accept(2) == "One.\n Two."


def test_a_token_outside_the_mask_is_refused() -> None:
    quotes = VerbatimConstraint(["One."], Vocabulary([b"", b"One.", b"Two."], [END]))
    with pytest.raises(ValueError, match="does not begin"):
        quotes.accept(2)


def test_without_sources_the_only_way_is_the_end() -> None:
    quotes = VerbatimConstraint(["  "], Vocabulary([b"", b"a"], [END]))
    assert quotes.allowed() == [END]


def test_numbering_belongs_to_the_sentence_that_it_opens() -> None:
    pieces = [b"", b"It ends.", b" 4.", b" CREDIT is given."]
    quotes = VerbatimConstraint(["It ends. 4. CREDIT is given."], Vocabulary(pieces, [END]))
    quotes.accept(1)
    quotes.accept(2)
    assert quotes.allowed() == [3]


def test_abbreviations_do_not_end_a_sentence() -> None:
    pieces = [b"", b"See Art.", b" 5 of Dr.", b" Who.", b" Next."]
    quotes = VerbatimConstraint(["See Art. 5 of Dr. Who. Next."], Vocabulary(pieces, [END]))
    quotes.accept(1)
    assert quotes.allowed() == [2]
    quotes.accept(2)
    assert quotes.allowed() == [3]
    quotes.accept(3)
    assert quotes.allowed() == [END, 4]
