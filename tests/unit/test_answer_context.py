"""The prompt never overflows and the best quote is never cut, whatever quotes, history and window there are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval import context, prompt
from retrieval.citations import PageReader
from retrieval.context import QUOTE_OVERHEAD
from retrieval.evidence import Evidence
from strongroom.types import Message, Reading, ReadSpan
from tests.answering import ACCESS, Shelf, ShelfSearch
from tests.fakes import FakeChatModel, FakeEmbedder, FakeReader

LLM = FakeChatModel()
ZERO = np.zeros(4, dtype=np.float32)

_words = st.lists(st.sampled_from(["rent", "lease", "of", "900", "EUR", "[1]", "<<<", "年", "tenant."]), min_size=1)
_quote = _words.map(lambda words: " ".join(words)[:600])
_history = st.lists(
    st.builds(Message, st.sampled_from(["user", "assistant"]), st.text(alphabet="ab <|[]", max_size=900)), max_size=9
)


def evidence(texts: list[str]) -> list[Evidence]:
    chunks = Shelf({f"d{i}": [text] for i, text in enumerate(texts)}).chunks()
    return [Evidence(c, c.start, c.end, c.text, 1.0, 1.0, 1.0, ZERO) for c in chunks]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(texts=st.lists(_quote, min_size=1, max_size=8), history=_history, question=_quote, limit=st.integers(1, 900))
def test_a_prompt_fits_its_window_whenever_the_best_quote_and_the_question_do(
    texts: list[str], history: list[Message], question: str, limit: int
) -> None:
    quotes = evidence(texts)
    least = LLM.count_prompt(prompt.build(question, quotes[:1]))
    messages, kept = prompt.fit(question, quotes, history, count_prompt=LLM.count_prompt, limit=limit)
    # the best quotes are in, in their order, each of them whole, and the question is
    assert kept == tuple(quotes[: len(kept)])
    assert kept[0] is quotes[0]
    assert messages[0].content.endswith(prompt.passages(kept))
    assert messages[-1].content == prompt.disarm(question)
    # never an overflow; what cannot fit at all goes to the model as it is, which refuses it by name
    assert LLM.count_prompt(messages) <= max(limit, least)
    # and nothing is left out that has room: no quote before all of the history
    if len(kept) < len(quotes):
        assert len(messages) == 2
        assert LLM.count_prompt(prompt.build(question, quotes[: len(kept) + 1])) > limit


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    pages=st.lists(_words.map(". ".join), min_size=1, max_size=6),
    question=_quote,
    budget=st.integers(0, 400),
    most=st.integers(1, 8),
)
def test_quotes_stay_within_the_budget_in_rank_order_and_the_best_is_whole(
    pages: list[str], question: str, budget: int, most: int
) -> None:
    shelf, embedder = Shelf({"lease": pages}), FakeEmbedder(64)
    ranked, _ = ShelfSearch(shelf, embedder).search(question, access=ACCESS, k=8)
    reading = context.read(question, ranked, PageReader(shelf.page), embedder, FakeReader())
    chosen = context.choose(reading, count_tokens=LLM.count_tokens, budget=budget, max_quotes=most)
    assert bool(chosen) == bool(reading.candidates)
    if not chosen:
        return
    best = reading.candidates[0]
    assert chosen[0].start <= best.start
    assert best.end <= chosen[0].end
    assert len(chosen) <= most
    spent = sum(LLM.count_tokens(quote.text) + QUOTE_OVERHEAD for quote in chosen)
    assert spent <= budget or len(chosen) == 1
    assert [quote.score for quote in chosen] == sorted((quote.score for quote in chosen), reverse=True)
    assert all(shelf.text("lease")[quote.start : quote.end] == quote.text for quote in chosen)


class LongReader(FakeReader):
    """Takes everything from its first word to the end of the passage for the answer."""

    def read(self, question: str, passages: Sequence[str], *, spans: int = 3) -> list[Reading]:
        return [Reading((ReadSpan(0, len(text), 0.9),), 0.9, 0.9) for text in passages]


@settings(deadline=None, derandomize=True)
@given(sentences=st.lists(st.integers(0, 30), min_size=1, max_size=9))
def test_words_that_run_on_are_cut_at_a_sentence_end_and_the_quote_stays_readable(sentences: list[int]) -> None:
    page = " ".join(
        f"The tenant of berth {'abcdefghi'[n]} pays {'monthly rent ' * words}and it ends here."
        for n, words in enumerate(sentences)
    )
    shelf, embedder = Shelf({"lease": [page]}), FakeEmbedder(64)
    ranked, _ = ShelfSearch(shelf, embedder).search("rent", access=ACCESS, k=8)
    reading = context.read("rent", ranked, PageReader(shelf.page), embedder, LongReader())
    for quote in context.choose(reading, count_tokens=LLM.count_tokens, budget=1 << 20):
        alone = quote.text.count("ends here.") <= 1
        assert alone or len(quote.text) <= context.QUOTE_CHARS
        assert alone or quote.text.endswith("ends here.")
        assert all(quote.start <= span.start < span.end <= quote.end for span in quote.spans)


class PointingReader(FakeReader):
    """Sees an answer in each of the words it is told to look for, surest first."""

    def __init__(self, *seen: str) -> None:
        super().__init__()
        self._seen = seen

    def read(self, question: str, passages: Sequence[str], *, spans: int = 3) -> list[Reading]:
        def found(text: str) -> tuple[ReadSpan, ...]:
            places = [(text.find(words), words) for words in self._seen]
            return tuple(ReadSpan(p, p + len(w), 0.9 - 0.1 * n) for n, (p, w) in enumerate(places) if p >= 0)

        return [Reading(found(text), 0.9, 0.9) for text in passages]


@pytest.mark.parametrize(
    ("question", "sentence", "seen", "answer"),
    [
        (
            "Which company manufactures for Bellweather?",
            "The bars of Bellweather are manufactured by Heron Foods.",
            ("Bellweather", "Heron Foods"),
            "Heron Foods",
        ),
        (
            "What was research expense in 2023?",
            "Research expense rose because of headcount, to 7,442 in 2023.",
            ("because of headcount", "7,442"),
            "7,442",
        ),
        (
            "Is it Bellweather or Heron?",
            "The maker is Bellweather, of Heron Foods.",
            ("Bellweather", "Heron Foods"),
            "Bellweather",
        ),
        (
            "Why did expense rise?",
            "Expense rose to 7,442 because of staff.",
            ("because of staff", "7,442"),
            "because of staff",
        ),
    ],
)
def test_words_that_cannot_be_the_answer_come_behind_those_that_can(
    question: str, sentence: str, seen: tuple[str, str], answer: str
) -> None:
    shelf, embedder = Shelf({"report": [sentence]}), FakeEmbedder(64)
    ranked, _ = ShelfSearch(shelf, embedder).search(question, access=ACCESS, k=8)
    reading = context.read(question, ranked, PageReader(shelf.page), embedder, PointingReader(*seen))
    quote = context.choose(reading, count_tokens=len, budget=1 << 20)[0]
    best = quote.spans[0]
    assert quote.text[best.start - quote.start : best.end - quote.start] == answer
