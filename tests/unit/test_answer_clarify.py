"""A question is asked back where the answer would be a guess between documents, and nowhere else."""

from __future__ import annotations

import pytest

from retrieval import clarify
from retrieval.evidence import Evidence
from strongroom.types import Message, ReadSpan
from tests.answering import Shelf
from tests.fakes import FakeEmbedder

QUESTION = "What is the notice period?"


def quotes(**texts: tuple[str, str, float]) -> list[Evidence]:
    """Quotes by document: text, the words that answer, and a score."""
    shelf = Shelf({name.replace("_", "-"): [text] for name, (text, _, _) in texts.items()})
    out = []
    for chunk, (text, words, score) in zip(shelf.chunks(), texts.values(), strict=True):
        at = text.index(words)
        span = (ReadSpan(at, at + len(words), score),)
        vector = FakeEmbedder().embed_query(text)
        out.append(Evidence(chunk, 0, len(text), text, score, 0.5, 0.5, vector, span))
    return out


TWO = quotes(
    harbour_lease=("The notice period is ninety days.", "ninety days", 0.90),
    crane_lease=("The notice period is thirty days.", "thirty days", 0.88),
)


@pytest.mark.parametrize(
    ("question", "asked"),
    [
        ("When does it end?", True),
        ("Who signed them?", True),
        ("When does the Harbour lease end, and who signed it?", False),
        ("When does the lease end?", False),
    ],
)
def test_a_pronoun_for_nothing_is_asked_about(question: str, asked: bool) -> None:
    assert (clarify.unresolved(question, (), TWO) is not None) is asked
    assert clarify.unresolved(question, (Message("user", "The lease?"),), TWO) is None
    assert clarify.unresolved(question, (), TWO[:1]) is None  # only one document can be meant
