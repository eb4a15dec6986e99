"""Decide outside the model whether the documents answer a question at all.

A small logistic function over scores that search, sentences and the reader already made; small models do not refuse
when they are told to. The weights are fitted offline by `evals/fit_abstention.py`; how good they are, and for which
kind of question they are poor, is written in docs/decisions/abstention.md. Must not look at the language model or its
words.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass, fields

from retrieval import lexical
from retrieval.context import Reading

NOT_FOUND = "Not found in your documents."


@dataclass(frozen=True, slots=True)
class Features:
    """What the score looks at; every value lies in about 0..1. The order is that of the weights."""

    dense: float  # best cosine of question and passage
    sentence: float  # best cosine of question and sentence
    passage_words: float  # rarity-weighted share of the question's words in the best passage (with name and headings)
    strangers: float  # share of the question's names and numbers that no passage holds; 0 when it has none
    answerable: float  # the reader's best probability that a passage holds an answer
    span: float  # the score of its best span
    relevant: float  # its best probability that a passage is the one to show


@dataclass(frozen=True, slots=True)
class Calibration:
    """Weights of the logistic function and its bias."""

    weights: tuple[float, ...]
    bias: float

    def probability(self, features: Features) -> float:
        """Calibrated probability (0..1) that the documents answer the question."""
        total = self.bias + sum(w * x for w, x in zip(self.weights, astuple(features), strict=True))
        return 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, total))))


def features(question: str, reading: Reading) -> Features:
    """The features of a question after its passages were read. All zero when nothing was found."""
    if not reading.candidates:
        return Features(*(0.0 for _ in fields(Features)))
    asked = lexical.terms(question)
    texts = [
        frozenset(lexical.terms(f"{c.chunk.document.name} {' '.join(c.chunk.headings)} {c.chunk.text}"))
        for c in reading.chunks
    ]
    weights, missing = lexical.rarity(texts), lexical.unseen(len(texts))
    everywhere = frozenset().union(*texts)
    names = frozenset[str]() if lexical.german(question) else lexical.names(question)
    named = {t for t in asked if t in names or any(c.isdigit() for c in t)}
    return Features(
        dense=max((c.dense for c in reading.chunks if c.dense is not None), default=0.0),
        sentence=max(c.cosine for c in reading.candidates),
        passage_words=max(lexical.coverage(asked, text, weights, missing) for text in texts),
        strangers=len(named - everywhere) / len(named) if named else 0.0,
        answerable=max((r.answerable for r in reading.said), default=0.0),
        span=max((s.score for r in reading.said for s in r.spans), default=0.0),
        relevant=max((r.relevant for r in reading.said), default=0.0),
    )


THRESHOLD = 0.35  # answers below it are withheld
DEFAULT = Calibration(
    weights=(6.596, 5.244, 2.726, -2.305, 0.0, 0.0, 0.0), bias=-7.735
)  # all-minilm-l6-v2: another embedder, another fit
