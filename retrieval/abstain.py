"""Decide outside the model whether the documents answer a question at all.

A small logistic function over scores that retrieval and reading already made; small models do not refuse when they are
told to. The weights are fitted offline by `evals/fit_abstention.py`; how good they are, and for which kind of question
they are poor, is written in docs/decisions/abstention.md. Must not look at the language model or its words.
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
    margin: float  # how far the best passage stands above the median passage
    sentence: float  # best cosine of question and sentence
    passage_words: float  # rarity-weighted share of the question's words in the best passage (with name and headings)
    sentence_words: float  # the same in the best sentence
    absent: float  # rarity-weighted share of the question's words that no passage holds
    both: float  # best mean of cosine and word share in one sentence


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
    dense = sorted((c.dense for c in reading.chunks if c.dense is not None), reverse=True)
    best = dense[0] if dense else 0.0
    return Features(
        dense=best,
        margin=best - dense[len(dense) // 2] if dense else 0.0,
        sentence=max(c.cosine for c in reading.candidates),
        passage_words=max(lexical.coverage(asked, text, weights, missing) for text in texts),
        sentence_words=max(c.overlap for c in reading.candidates),
        absent=1.0 - lexical.coverage(asked, everywhere, weights, missing) if asked else 0.0,
        both=max(0.5 * c.cosine + 0.5 * c.overlap for c in reading.candidates),
    )


THRESHOLD = 0.35  # answers below it are withheld
DEFAULT = Calibration(weights=(0.0,) * 7, bias=0.0)
