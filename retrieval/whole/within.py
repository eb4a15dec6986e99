"""Search inside a document that is open anyway: every chunk is scored, none is left out by an index.

Cosine of the vectors and the share of the question's words (by rarity within the document), added.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from retrieval import lexical
from retrieval.whole.desk import Opened
from strongroom.ports import Embedder
from strongroom.types import StoredChunk


@dataclass(frozen=True, slots=True)
class Scored:
    """A chunk of an open document with its scores."""

    chunk: StoredChunk
    score: float
    dense: float | None


class Within:
    """Ranks all chunks of an opened document for a question."""

    def __init__(self, opened: Opened, embedder: Embedder) -> None:
        self._embedder = embedder
        self._chunks, self._vectors = opened.chunks, opened.vectors
        self._terms = [frozenset(lexical.terms(f"{' '.join(c.headings)} {c.text}")) for c in self._chunks]
        self._weights, self._missing = lexical.rarity(self._terms), lexical.unseen(len(self._terms))

    def best(self, question: str, k: int) -> list[Scored]:
        """The `k` best chunks, best first."""
        if not self._chunks:
            return []
        cosines = self._vectors @ self._embedder.embed_query(question)
        asked = lexical.terms(question)
        shares = [lexical.coverage(asked, held, self._weights, self._missing) for held in self._terms]
        scores = cosines + np.asarray(shares)
        order = np.argsort(-scores, kind="stable")[:k]
        return [Scored(self._chunks[i], float(scores[i]), float(cosines[i])) for i in order]
