"""Two ranked lists, dense and BM25, into one: the sum of their standardised scores.

Ranks alone (RRF) throw away how far ahead a passage is; raw scores of the two are not comparable. Each list's scores
are therefore turned into z-scores over the candidates of both lists, clipped to three standard deviations so that a
single rare word (a typo in one document) cannot outvote everything, and added with equal weight. The comparison with
RRF and DBSF, and the choice of depth, are in docs/decisions/fusion.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

from strongroom.types import IndexHit

DEPTH = 100  # candidates asked of each list, whatever the caller's limit (more if the limit is larger)
_CLIP = 3.0

Ranked = Sequence[tuple[str, float]]  # (chunk id, score), best first


def fuse(dense: Ranked, sparse: Ranked, *, limit: int, depth: int) -> list[IndexHit]:
    """Best `limit` of both lists, best first; equal scores in order of id, so that results repeat.

    A candidate missing from a list counts with that list's lowest score, or with 0 where the BM25 list holds fewer
    than `depth` entries: it then holds every match, so the candidate shares no term with the question.
    `IndexHit.score` compares hits of one search, not of two.
    """
    cosine, terms = dict(dense), dict(sparse)
    ids = sorted(cosine.keys() | terms.keys())
    if not ids or limit <= 0:
        return []
    dense_z = _standardise(ids, cosine, floor=min(cosine.values(), default=0.0))
    exhausted = len(terms) < depth
    sparse_z = _standardise(ids, terms, floor=0.0 if exhausted else min(terms.values()))
    hits = [
        IndexHit(chunk_id=i, score=a + b, dense=cosine.get(i), sparse=terms.get(i))
        for i, a, b in zip(ids, dense_z, sparse_z, strict=True)
    ]
    hits.sort(key=lambda hit: (-hit.score, hit.chunk_id))
    return hits[:limit]


def _standardise(ids: Sequence[str], scores: dict[str, float], *, floor: float) -> list[float]:
    values = [scores.get(i, floor) for i in ids]
    mean = sum(values) / len(values)
    deviation = sqrt(sum((v - mean) ** 2 for v in values) / len(values))
    if deviation < 1e-9:  # all alike: the list says nothing about order
        return [0.0] * len(values)
    return [max(-_CLIP, min(_CLIP, (v - mean) / deviation)) for v in values]
