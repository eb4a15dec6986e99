"""The value that carries a quote through answering: chosen by `context`, cited by `citations`, checked by
`grounding`."""

from __future__ import annotations

from dataclasses import dataclass, field

from strongroom.ports import Vector
from strongroom.types import ReadSpan, StoredChunk


@dataclass(frozen=True, slots=True)
class Evidence:
    """A verbatim quote at document offsets `[start, end)` of the chunk's document, with what spoke for it.

    `cosine` and `overlap` (0..1) compare it with the question; `score` combines them with the chunk's rank.
    `vector` is the unit vector of the sentence it was chosen for.
    """

    chunk: StoredChunk
    start: int
    end: int
    text: str
    score: float
    cosine: float
    overlap: float
    vector: Vector = field(compare=False, repr=False)
    spans: tuple[ReadSpan, ...] = ()  # at document offsets inside the quote: the words that answer, best first
