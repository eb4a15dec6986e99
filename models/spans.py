"""From start and end logits to spans of text. Numpy only; the same code scores training runs and answers questions.

A span's score is start plus end logit; the score of "no answer" is that of position 0 (Devlin et al. 2019, SQuAD 2.0).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.pairs import Window

LONGEST = 160  # tokens: 95 % of contract clauses are shorter
DISCOUNT = 0.25  # times the root of a span's length, off its score: answers stay short, and clauses are found whole


@dataclass(frozen=True, slots=True)
class Scored:
    """A character span of a passage. `margin` is the span's score less that of "no answer" in its window."""

    start: int
    end: int
    margin: float


def window_spans(
    window: Window, logits: NDArray[np.float32], *, count: int = 4, longest: int = LONGEST, discount: float = DISCOUNT
) -> list[Scored]:
    """The best spans of one window that do not overlap, best first; `logits` is `[tokens, 2]`."""
    size = len(window.places)
    if size == 0:
        return []
    first = window.first
    start, end = logits[first : first + size, 0], logits[first : first + size, 1]
    null = float(logits[0, 0] + logits[0, 1])
    scores = start[:, None] + end[None, :]
    lengths = np.arange(size)[None, :] - np.arange(size)[:, None]
    allowed = (lengths >= 0) & (lengths < longest)
    scores = np.where(allowed, scores - discount * np.sqrt(np.maximum(lengths, 0)), -np.inf)
    found: list[Scored] = []
    for _ in range(count):
        best = int(np.argmax(scores))
        a, b = divmod(best, size)
        score = float(scores[a, b])
        if not np.isfinite(score):
            break
        found.append(Scored(window.places[a][0], window.places[b][1], score - null))
        scores[: b + 1, a:] = -np.inf  # every span that begins at or before b and ends at or after a
    return found


def merge(found: Sequence[Scored], count: int) -> list[Scored]:
    """The best spans over all windows of a passage, without those that overlap a better one."""
    kept: list[Scored] = []
    for span in sorted(found, key=lambda s: (-s.margin, s.start)):
        if len(kept) == count:
            break
        if all(span.end <= other.start or span.start >= other.end for other in kept):
            kept.append(span)
    return kept
