"""Fusion of the two ranked lists, and the access filter in neutral form."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.index.filters import access_conditions, access_payload
from retrieval.index.fusion import DENSE_WEIGHT, fuse
from strongroom.access import NOBODY, AccessFilter


def ids(hits: list, /) -> list[str]:  # type: ignore[type-arg]
    return [hit.chunk_id for hit in hits]


def test_first_in_both_lists_wins_and_keeps_its_raw_scores() -> None:
    hits = fuse([("a", 0.9), ("b", 0.5)], [("a", 7.0), ("c", 1.0)], limit=3, depth=100)
    assert ids(hits)[0] == "a"
    assert (hits[0].dense, hits[0].sparse) == (0.9, 7.0)
    by_id = {hit.chunk_id: hit for hit in hits}
    assert by_id["b"].sparse is None
    assert by_id["c"].dense is None


def test_one_list_alone_keeps_its_order() -> None:
    dense = [("a", 0.9), ("b", 0.5), ("c", 0.1)]
    assert ids(fuse(dense, [], limit=3, depth=100)) == ["a", "b", "c"]
    assert ids(fuse([], dense, limit=3, depth=100)) == ["a", "b", "c"]
    assert fuse([], [], limit=3, depth=100) == []


def test_a_single_lexical_match_counts_although_its_list_has_no_spread() -> None:
    # GIVEN one passage that alone shares a word with the question, and is last by meaning
    dense = [(f"p{n:02d}", 0.5 - n / 1000) for n in range(50)]
    # WHEN fused THEN it comes first, and the rest keep their order
    assert ids(fuse(dense, [("p49", 6.0)], limit=3, depth=100)) == ["p49", "p00", "p01"]


def test_words_count_more_than_meaning() -> None:
    dense = [("a", 0.9), ("b", 0.1)]
    sparse = [("b", 9.0), ("a", 1.0)]
    scores = {hit.chunk_id: hit.score for hit in fuse(dense, sparse, limit=2, depth=2)}
    assert scores == pytest.approx({"a": DENSE_WEIGHT - 1.0, "b": 1.0 - DENSE_WEIGHT})
    scores = {hit.chunk_id: hit.score for hit in fuse(dense, sparse, limit=2, depth=2, dense_weight=2.0)}
    assert scores["a"] > scores["b"]


def test_equal_scores_come_in_order_of_id() -> None:
    assert ids(fuse([("b", 0.5), ("a", 0.5), ("c", 0.5)], [], limit=2, depth=100)) == ["a", "b"]


def test_missing_from_a_full_list_counts_as_its_lowest() -> None:
    full = [("a", 3.0), ("b", 2.0), ("c", 1.0)]
    by_meaning = [("d", 0.5), ("c", 0.5)]
    hits = {h.chunk_id: h.score for h in fuse(by_meaning, full, limit=4, depth=3)}
    assert hits["d"] == pytest.approx(hits["c"])
    hits = {h.chunk_id: h.score for h in fuse(by_meaning, full, limit=4, depth=4)}
    assert hits["d"] < hits["c"]


_ranked = st.dictionaries(st.sampled_from("abcdefghij"), st.floats(-1, 20, width=32), max_size=10).map(
    lambda d: sorted(d.items(), key=lambda kv: -kv[1])
)


@settings(derandomize=True, deadline=None)
@given(dense=_ranked, sparse=_ranked, limit=st.integers(0, 12))
def test_fused_list_is_a_sorted_cut_of_the_union(
    dense: list[tuple[str, float]], sparse: list[tuple[str, float]], limit: int
) -> None:
    hits = fuse(dense, sparse, limit=limit, depth=100)
    union = {i for i, _ in dense} | {i for i, _ in sparse}
    assert len(hits) == min(limit, len(union))
    assert len(set(ids(hits))) == len(hits)
    assert set(ids(hits)) <= union
    assert all(a.score >= b.score for a, b in itertools.pairwise(hits))


def test_filter_fails_closed() -> None:
    assert access_conditions(NOBODY) is None
    assert access_conditions(AccessFilter(frozenset())) is None
    assert access_conditions(AccessFilter(frozenset({"user:a"}), frozenset())) is None
    conditions = access_conditions(AccessFilter(frozenset({"user:a", "group:g"}), frozenset({"c"})))
    assert conditions is not None
    assert conditions.must == (("allow", ("group:g", "user:a")), ("collection_id", ("c",)))
    assert conditions.must_not == (("deny", ("group:g", "user:a")),)


def test_payload_holds_sorted_sets() -> None:
    assert access_payload(("b", "a", "b"), ()) == {"allow": ["a", "b"], "deny": []}
