"""Two ranked lists, dense and BM25, into one: the weighted sum of their standardised scores.

Ranks alone (RRF) throw away how far ahead a passage is; the raw scores of the two lists are not comparable. Each
list's scores are turned into z-scores over that list and added, the words counting more than the meaning. The
comparison with RRF and DBSF is in docs/decisions/fusion.md, the choice of the weight in docs/decisions/retrieval.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import sqrt

from strongroom.types import IndexHit

DEPTH = 100  # candidates asked of each list, whatever the caller's limit (more if the limit is larger)
DENSE_WEIGHT, SPARSE_WEIGHT = 0.3, 1.0

Ranked = Sequence[tuple[str, float]]  # (chunk id, score), best first


def fuse(
    dense: Ranked, sparse: Ranked, *, limit: int, depth: int, dense_weight: float = DENSE_WEIGHT
) -> list[IndexHit]:
    """Best `limit` of both lists, best first; equal scores in order of id, so that results repeat.

    `depth` is how many entries each list was asked for. A candidate missing from a list counts with that list's
    lowest score; a BM25 list shorter than `depth` holds every match, so there it counts with 0, which is its score.
    `IndexHit.score` compares hits of one search, not of two.
    """
    cosine, terms = dict(dense), dict(sparse)
    ids = sorted(cosine.keys() | terms.keys())
    if not ids or limit <= 0:
        return []
    every_match = len(terms) < depth
    known = {i: terms.get(i, 0.0) for i in ids} if every_match else terms
    meaning, words = _standardise(ids, cosine), _standardise(ids, known)
    hits = [
        IndexHit(i, dense_weight * a + SPARSE_WEIGHT * b, dense=cosine.get(i), sparse=terms.get(i))
        for i, a, b in zip(ids, meaning, words, strict=True)
    ]
    hits.sort(key=lambda hit: (-hit.score, hit.chunk_id))
    return hits[:limit]


def _standardise(ids: Iterable[str], scores: dict[str, float]) -> list[float]:
    """z-scores of `ids` by the mean and deviation of `scores`; ids without a score get the lowest."""
    if not scores:
        return [0.0 for _ in ids]
    values = scores.values()
    mean = sum(values) / len(scores)
    deviation = sqrt(sum((v - mean) ** 2 for v in values) / len(scores))
    if deviation < 1e-9:  # all alike: the list says nothing about order
        return [0.0 for _ in ids]
    floor = min(values)
    return [(scores.get(i, floor) - mean) / deviation for i in ids]
