"""What both adapters do with a question before and after their engine: scope it, check it, fuse the two lists.

The fail-closed step stands here once: without principals no engine is asked at all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from retrieval.index import filters, fusion
from retrieval.index.filters import Conditions
from retrieval.index.sparse import SparseEncoder, SparseTerms
from strongroom.access import AccessFilter
from strongroom.errors import IndexMismatchError
from strongroom.ports import IndexQuery, Vector
from strongroom.types import IndexHit


class HybridIndex(ABC):
    """The searching half of `VectorIndex`; an adapter adds the engine."""

    def __init__(self, dimension: int) -> None:
        self._dimension = dimension
        self._encoder = SparseEncoder()

    def search(self, query: IndexQuery, access: AccessFilter, limit: int) -> list[IndexHit]:
        """Best `limit` candidates under `access`, best first. See `fusion.fuse` for the score."""
        depth = max(limit, fusion.DEPTH)
        dense, sparse = self.candidates(query, access, depth)
        return fusion.fuse(dense, sparse, limit=limit, depth=depth)

    def candidates(self, query: IndexQuery, access: AccessFilter, depth: int) -> tuple[fusion.Ranked, fusion.Ranked]:
        """The best `depth` by meaning and the best `depth` by words, before fusion."""
        conditions = filters.access_conditions(access)
        if conditions is None:
            return (), ()
        if query.dense.shape != (self._dimension,):
            raise IndexMismatchError(
                f"the question's vector has {query.dense.shape} values, the index holds {self._dimension}",
                hint="The index was built with another embedder: run `strongroom reindex`.",
            )
        ranked = self._ask(query.dense, self._encoder.query(query.text), conditions, depth)
        return ranked[0], ranked[1] if len(ranked) > 1 else ()

    @abstractmethod
    def _ask(self, dense: Vector, terms: SparseTerms, conditions: Conditions, depth: int) -> list[fusion.Ranked]:
        """Ask the engine: the dense list, then the BM25 list unless the question has no terms."""
