"""Decide outside the model whether the documents answer a question at all.

Two small logistic functions over scores that search, sentences and the reader already made, multiplied: is the topic in
the documents, and does a passage that was found hold an answer. Small models do not refuse when they are told to. The
weights are fitted offline by `evals/fit_abstention.py`; how good they are, and for which kind of question they are
poor, is written in docs/decisions/abstention.md. Must not look at the language model or its words.
"""

from __future__ import annotations

import json
import math
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path

from retrieval import lexical
from retrieval.context import Reading
from strongroom.errors import ConfigError

NOT_FOUND = "Not found in your documents."


@dataclass(frozen=True, slots=True)
class Features:
    """What the score looks at; every value lies in about 0..1. The order is that of the weights."""

    dense: float  # best cosine of question and passage
    sentence: float  # best cosine of question and sentence
    passage_words: float  # rarity-weighted share of the question's words in the best passage (with name and headings)
    strangers: float  # share of the question's names and numbers that no passage holds; 0 when it has none
    answerable: float  # the reader's best probability that a passage holds an answer


TOPIC = slice(0, 4)  # features that tell whether the documents speak of it at all
ANSWER = slice(3, 5)  # features that tell whether they answer


@dataclass(frozen=True, slots=True)
class Calibration:
    """Weights and bias of the two logistic functions, in the order of the features."""

    topic: tuple[float, ...]
    topic_bias: float
    answer: tuple[float, ...]
    answer_bias: float
    scale: float = 1.0  # of the log-odds, and what is added: `strongroom eval calibrate` fits them to own questions
    shift: float = 0.0

    def probability(self, features: Features) -> float:
        """Probability (0..1) that the documents answer the question: that they speak of it, and that they say it."""
        values = astuple(features)
        speaks = _logistic(self.topic, values[TOPIC], self.topic_bias)
        both = speaks * _logistic(self.answer, values[ANSWER], self.answer_bias)
        return (
            both if (self.scale, self.shift) == (1.0, 0.0) else _logistic((self.scale,), (log_odds(both),), self.shift)
        )


def log_odds(probability: float) -> float:
    """Log-odds of a probability, at most about 14 to either side."""
    inside = min(max(probability, 1e-6), 1 - 1e-6)
    return math.log(inside / (1 - inside))


def calibrated(path: Path, *, embedder: str) -> Calibration:
    """The product's calibration, fitted to an organisation's own questions by `strongroom eval calibrate`.

    Raises `ConfigError` for a file that is missing or damaged, or that was made with another embedder: its numbers say
    nothing here.
    """
    again = "Make it with `strongroom eval calibrate`, or take `calibration` out of the settings."
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        scale, shift, made_with = float(body["scale"]), float(body["shift"]), body["embedder"]
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise ConfigError(f"calibration = {str(path)!r} is no calibration file", hint=again) from exc
    if not (math.isfinite(scale) and math.isfinite(shift) and scale >= 0):
        raise ConfigError(f"calibration = {str(path)!r} holds no usable numbers", hint=again)
    if made_with != embedder:
        raise ConfigError(f"calibration = {str(path)!r} was made with the embedder {made_with!r}", hint=again)
    return replace(DEFAULT, scale=scale, shift=shift)


def _logistic(weights: tuple[float, ...], values: tuple[float, ...], bias: float) -> float:
    total = bias + sum(w * x for w, x in zip(weights, values, strict=True))
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
    names = lexical.names_asked_for(question)
    named = {t for t in asked if t in names or any(c.isdigit() for c in t)}
    return Features(
        dense=max((c.dense for c in reading.chunks if c.dense is not None), default=0.0),
        sentence=max(c.cosine for c in reading.candidates),
        passage_words=max(lexical.coverage(asked, text, weights, missing) for text in texts),
        strangers=len(named - everywhere) / len(named) if named else 0.0,
        answerable=max((r.answerable for r in reading.said), default=0.0),
    )


THRESHOLD = 0.3  # answers below it are withheld
DEFAULT = Calibration(  # all-minilm-l6-v2 and the reader that comes with the product: others, another fit
    topic=(8.915, 11.696, 4.954, -6.652), topic_bias=-11.369, answer=(-4.515, 1.553), answer_bias=-0.65
)
