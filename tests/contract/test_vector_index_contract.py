"""One suite for every `VectorIndex`: embedded on disk, Qdrant's in-memory client, a real server when there is one."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from qdrant_client import QdrantClient

from retrieval.index.edge import EdgeIndex
from retrieval.index.server import ServerIndex, connect
from strongroom.access import NOBODY, AccessFilter
from strongroom.errors import IndexMismatchError, IndexUnreachableError, IntegrityError
from strongroom.ports import IndexPoint, IndexQuery, VectorIndex
from tests.fakes import FakeEmbedder

DIMENSION = 64
EMBEDDER = FakeEmbedder(DIMENSION)
ANN = AccessFilter(frozenset({"user:ann", "group:legal"}))


@pytest.fixture(params=["edge", "memory", pytest.param("server", marks=pytest.mark.qdrant)])
def open_fresh(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], VectorIndex]]:
    """Open the index of this parameter; a second call opens the same data again."""
    opened: list[VectorIndex] = []
    memory = QdrantClient(":memory:")
    collection = f"test-{uuid.uuid4().hex}"

    def open_one() -> VectorIndex:
        index: VectorIndex
        if request.param == "edge":
            index = EdgeIndex(tmp_path / "index", DIMENSION)
        elif request.param == "memory":
            index = ServerIndex(memory, DIMENSION, collection=collection)
        else:
            client = connect(os.environ["STRONGROOM_TEST_QDRANT_URL"])
            index = ServerIndex(client, DIMENSION, collection=collection)
        opened.append(index)
        return index

    yield open_one
    for index in opened:
        index.close()
    if request.param == "server":
        connect(os.environ["STRONGROOM_TEST_QDRANT_URL"]).delete_collection(collection)


@pytest.fixture
def index(open_fresh: Callable[[], VectorIndex]) -> VectorIndex:
    return open_fresh()


def point(
    text: str,
    *,
    document: str = "doc-1",
    version: str = "v-1",
    collection: str = "col-1",
    allow: tuple[str, ...] = ("group:legal",),
    deny: tuple[str, ...] = (),
    id: str | None = None,
) -> IndexPoint:
    return IndexPoint(
        id=id or str(uuid.uuid5(uuid.NAMESPACE_URL, f"{document}/{version}/{text}")),
        dense=EMBEDDER.embed_query(text),
        text=text,
        document_id=document,
        version_id=version,
        collection_id=collection,
        allow=allow,
        deny=deny,
    )


def query(text: str) -> IndexQuery:
    return IndexQuery(dense=EMBEDDER.embed_query(text), text=text)


def found(index: VectorIndex, text: str, access: AccessFilter = ANN, limit: int = 10) -> list[str]:
    return [hit.chunk_id for hit in index.search(query(text), access, limit)]


class TestVectorIndexContract:
    def test_compacting_changes_nothing_that_can_be_found(self, index: VectorIndex) -> None:
        index.upsert([point("fees are due"), point("the lease ends", version="v-2")])
        index.delete_versions(["v-2"])
        index.compact(patience=60)
        assert found(index, "fees") == [point("fees are due").id]
        assert index.count() == 1
        index.compact()
        index.clear()
        index.compact(patience=60)
        assert index.count() == 0

    def test_search_ranks_the_matching_passage_first_with_both_scores(self, index: VectorIndex) -> None:
        # GIVEN three passages
        lease = point("The lease ends on 31 December 2027.")
        fees = point("Fees are due within thirty days of the invoice.")
        law = point("This agreement is governed by the law of Norway.")
        index.upsert([lease, fees, law])
        # WHEN a question shares words with one of them
        hits = index.search(query("When are the fees due?"), ANN, 3)
        # THEN that one is first and carries its cosine and its BM25 score
        assert hits[0].chunk_id == fees.id
        assert hits[0].dense == pytest.approx(float(fees.dense @ query("When are the fees due?").dense), abs=1e-4)
        assert hits[0].sparse is not None
        assert hits[0].sparse > 0
        assert [h.score for h in hits] == sorted((h.score for h in hits), reverse=True)

    def test_limit_is_kept_and_zero_gives_nothing(self, index: VectorIndex) -> None:
        index.upsert([point(f"clause number {n} about rent") for n in range(30)])
        assert len(index.search(query("rent clause"), ANN, 7)) == 7
        assert index.search(query("rent clause"), ANN, 0) == []

    def test_empty_index_and_question_without_words(self, index: VectorIndex) -> None:
        assert index.search(query("anything"), ANN, 5) == []
        index.upsert([point("some text")])
        assert len(index.search(query("?!"), ANN, 5)) == 1  # the dense side still answers

    def test_text_without_words_is_stored(self, index: VectorIndex) -> None:
        odd = point("--- !!! ---")
        index.upsert([odd])
        assert index.count() == 1
        assert found(index, "anything") == [odd.id]

    # ------------------------------------------------------------------------------------ access

    def test_without_principals_nothing_matches(self, index: VectorIndex) -> None:
        index.upsert([point("open secret", allow=("group:everyone", "user:ann"))])
        assert found(index, "open secret", NOBODY) == []
        assert found(index, "open secret", AccessFilter(frozenset())) == []
        assert found(index, "open secret", AccessFilter(frozenset(), frozenset({"col-1"}))) == []

    def test_point_without_allowed_principals_is_never_found(self, index: VectorIndex) -> None:
        index.upsert([point("nobody may read this", allow=())])
        assert found(index, "nobody may read this") == []

    def test_only_allowed_principals_find_it(self, index: VectorIndex) -> None:
        mine = point("salary table", document="mine", allow=("user:ann",))
        theirs = point("salary table", document="theirs", allow=("user:bob",))
        index.upsert([mine, theirs])
        assert found(index, "salary table") == [mine.id]
        assert found(index, "salary table", AccessFilter(frozenset({"user:bob"}))) == [theirs.id]
        assert found(index, "salary table", AccessFilter(frozenset({"user:eve"}))) == []

    def test_deny_wins_over_allow(self, index: VectorIndex) -> None:
        index.upsert([point("merger plan", allow=("group:legal", "user:ann"), deny=("user:ann",))])
        assert found(index, "merger plan") == []
        assert len(found(index, "merger plan", AccessFilter(frozenset({"group:legal"})))) == 1

    def test_collections_narrow(self, index: VectorIndex) -> None:
        one = point("travel policy", document="a", collection="col-1")
        two = point("travel policy", document="b", collection="col-2")
        index.upsert([one, two])
        principals = ANN.principals
        assert found(index, "travel policy", AccessFilter(principals, frozenset({"col-2"}))) == [two.id]
        assert set(found(index, "travel policy", AccessFilter(principals, frozenset({"col-1", "col-2"})))) == {
            one.id,
            two.id,
        }
        assert found(index, "travel policy", AccessFilter(principals, frozenset({"col-3"}))) == []
        assert found(index, "travel policy", AccessFilter(principals, frozenset())) == []

    def test_hidden_documents_do_not_move_scores(self, index: VectorIndex) -> None:
        # GIVEN ten passages a person may read, one of which names a rare word
        readable = [point(f"readable passage {n} about rent and deposits") for n in range(9)]
        readable.append(point("readable passage on the Zanzibar project"))
        index.upsert(readable)
        before = index.search(query("Zanzibar project rent"), ANN, 10)
        # WHEN fifty documents that the person may not read use that word
        index.upsert(
            [point(f"hidden Zanzibar project note {n}", document=f"hidden-{n}", allow=("user:bob",)) for n in range(50)]
        )
        after = index.search(query("Zanzibar project rent"), ANN, 10)
        # THEN no score changes, neither its parts nor the order
        assert [h.chunk_id for h in after] == [h.chunk_id for h in before]
        assert [h.sparse for h in after] == pytest.approx([h.sparse for h in before], rel=1e-6)
        assert [h.score for h in after] == pytest.approx([h.score for h in before], rel=1e-6)
        # AND the test can fail: the same words in readable documents do move it
        index.upsert([point(f"open Zanzibar project note {n}", document=f"open-{n}") for n in range(50)])
        moved = {h.chunk_id: h.sparse for h in index.search(query("Zanzibar project rent"), ANN, 100)}
        assert moved[before[0].chunk_id] != pytest.approx(before[0].sparse, rel=1e-3)

    def test_set_access_replaces_principals_of_one_document(self, index: VectorIndex) -> None:
        one, two = point("first page", document="d1"), point("second page", document="d1")
        other = point("third page", document="d2")
        index.upsert([one, two, other])
        index.set_access("d1", ["user:bob"], [])
        assert found(index, "page") == [other.id]
        bob = AccessFilter(frozenset({"user:bob"}))
        assert set(found(index, "page", bob)) == {one.id, two.id}
        index.set_access("d1", ["user:bob"], ["user:bob"])
        assert found(index, "page", bob) == []
        index.set_access("unknown", ["user:bob"], [])  # nothing to change, no error
        assert index.all_points() == {one.id: "v-1", two.id: "v-1", other.id: "v-1"}

    # ------------------------------------------------------------------------------------ writing

    def test_upsert_is_idempotent_and_replaces(self, index: VectorIndex) -> None:
        old = point("rent is 100 euros", id=str(uuid.uuid4()))
        index.upsert([old])
        index.upsert([old])
        assert index.count() == 1
        new = point("deposit is 300 dollars", id=old.id, version="v-2", allow=("user:ann",))
        index.upsert([new])
        assert index.count() == 1
        assert index.all_points() == {old.id: "v-2"}
        assert index.vectors([old.id])[old.id] == pytest.approx(new.dense, abs=1e-6)
        legal = AccessFilter(frozenset({"group:legal"}))
        assert found(index, "rent euros", legal) == []
        (hit,) = index.search(query("deposit dollars"), ANN, 5)
        assert hit.sparse is not None

    def test_upsert_of_nothing(self, index: VectorIndex) -> None:
        index.upsert([])
        assert index.count() == 0

    def test_delete_versions(self, index: VectorIndex) -> None:
        old, new = point("text", version="v-1"), point("text", version="v-2")
        other = point("text", document="doc-2", version="v-3")
        index.upsert([old, new, other])
        index.delete_versions(["v-1", "unknown"])
        index.delete_versions(["v-1"])
        assert index.all_points() == {new.id: "v-2", other.id: "v-3"}
        assert found(index, "text", limit=5) == sorted([new.id, other.id])
        index.delete_versions([])
        assert index.count() == 2

    def test_clear_leaves_a_working_index(self, index: VectorIndex) -> None:
        index.upsert([point("something")])
        index.clear()
        assert index.count() == 0
        assert index.all_points() == {}
        again = point("something else")
        index.upsert([again])
        assert found(index, "something") == [again.id]

    def test_broken_vectors_are_refused_before_anything_is_written(self, index: VectorIndex) -> None:
        good = point("good")
        short = IndexPoint(str(uuid.uuid4()), np.ones(3, np.float32), "t", "d", "v", "c", ("a",))
        broken = IndexPoint(str(uuid.uuid4()), np.full(DIMENSION, np.nan, np.float32), "t", "d", "v", "c", ("a",))
        with pytest.raises(IndexMismatchError):
            index.upsert([good, short])
        with pytest.raises(IntegrityError):
            index.upsert([good, broken])
        with pytest.raises(IndexMismatchError):
            index.search(IndexQuery(np.ones(3, np.float32), "t"), ANN, 3)
        assert index.count() == 0

    # ------------------------------------------------------------------------------------ reading

    def test_vectors_by_id(self, index: VectorIndex) -> None:
        one, two = point("alpha"), point("beta")
        index.upsert([one, two])
        got = index.vectors([two.id, one.id, str(uuid.uuid4()), "not-an-id", one.id])
        assert set(got) == {one.id, two.id}
        assert got[one.id].dtype == np.float32
        assert got[one.id] == pytest.approx(one.dense, abs=1e-6)

    def test_version_points(self, index: VectorIndex) -> None:
        first = [point(f"p{n}", version="v-1") for n in range(5)]
        index.upsert([*first, point("q", version="v-2")])
        assert index.version_points("v-1") == {p.id for p in first}
        assert index.version_points("v-9") == set()

    def test_all_points_goes_over_every_page(self, index: VectorIndex) -> None:
        points = [point(f"p{n}", version=f"v-{n % 7}") for n in range(2_500)]
        index.upsert(points)
        assert index.count() == 2_500
        assert index.all_points() == {p.id: p.version_id for p in points}

    def test_other_scripts_and_numbers_are_found_by_their_words(self, index: VectorIndex) -> None:
        # GIVEN vectors that say nothing, so that only the words decide
        flat = np.full(DIMENSION, DIMENSION**-0.5, np.float32)
        texts = {"zh": "本合同受中华人民共和国法律管辖。", "ru": "Договор действует до конца года.", "nr": "See 10.13."}
        ids = {}
        for key, text in texts.items():
            p = point(text)
            ids[key] = p.id
            index.upsert([IndexPoint(p.id, flat, text, p.document_id, p.version_id, p.collection_id, p.allow)])
        # WHEN the question holds one of its words THEN that passage is first
        for key, question in {"zh": "哪国法律?", "ru": "договор", "nr": "section 10.13"}.items():
            assert index.search(IndexQuery(flat, question), ANN, 3)[0].chunk_id == ids[key]

    def test_name_picks_the_document_and_the_other_words_pick_the_passage(self, index: VectorIndex) -> None:
        # GIVEN two leases whose clauses are alike, and vectors that say nothing
        flat = np.full(DIMENSION, DIMENSION**-0.5, np.float32)
        clauses = ("This Harbour Lease is made by Ann.", "Rent is due monthly.", "Harbour Lease of the harbour.")
        ids = {}
        for name in ("Harbour Lease", "Garden Lease"):
            for n, text in enumerate(clauses):
                p = point(text, document=name)
                ids[name, n] = p.id
                index.upsert([replace(p, dense=flat, name=name, opening=n == 0)])
        # WHEN a question names one THEN its clause comes first, before passages that only repeat the name
        asked = IndexQuery(flat, "When is the rent due under the Garden Lease?")
        assert index.search(asked, ANN, 6)[0].chunk_id == ids["Garden Lease", 1]
        asked = IndexQuery(flat, "When is the rent due under the Harbour Lease?")
        assert index.search(asked, ANN, 6)[0].chunk_id == ids["Harbour Lease", 1]
        # AND a question that says nothing besides the name finds how the document opens
        assert index.search(IndexQuery(flat, "What is the Garden Lease?"), ANN, 6)[0].chunk_id == ids["Garden Lease", 0]
        # AND another name takes the old one's place
        p = point(clauses[1], document="Garden Lease")
        index.upsert([replace(p, dense=flat, name="Orchard Contract")])
        assert index.search(IndexQuery(flat, "Orchard contract"), ANN, 6)[0].chunk_id == p.id

    # ------------------------------------------------------------------------------------ life cycle

    def test_flush_close_and_reopen_keep_everything(self, open_fresh: Callable[[], VectorIndex]) -> None:
        index = open_fresh()
        kept = point("kept for good")
        index.upsert([kept])
        index.flush()
        if isinstance(index, EdgeIndex):  # one process, one opener; the in-memory client would lose its data
            index.close()
        again = open_fresh()
        assert again.all_points() == {kept.id: kept.version_id}
        assert found(again, "kept") == [kept.id]

    def test_close_twice_then_every_method_raises(self, index: VectorIndex) -> None:
        index.upsert([point("text")])
        index.close()
        index.close()
        calls: list[Callable[[], object]] = [
            lambda: index.upsert([point("text")]),
            lambda: index.delete_versions(["v-1"]),
            lambda: index.set_access("doc-1", [], []),
            lambda: index.search(query("text"), ANN, 3),
            lambda: index.version_points("v-1"),
            lambda: index.vectors([str(uuid.uuid4())]),
            index.all_points,
            index.count,
            index.flush,
            index.clear,
        ]
        for call in calls:
            with pytest.raises(IndexUnreachableError) as caught:
                call()
            assert caught.value.hint


# ------------------------------------------------------------------------------------------------ congruence

_WORDS = ["rent", "deposit", "notice", "Norway", "2027", "clause", "termination", "合同"]
_texts = st.lists(st.sampled_from(_WORDS), min_size=1, max_size=6).map(" ".join)
_small = st.integers(0, 3)
_principals = st.lists(st.sampled_from(["user:a", "user:b", "group:g"]), max_size=2, unique=True)
_operations = st.lists(
    st.one_of(
        st.tuples(st.just("upsert"), st.integers(0, 11), _texts, _small, _principals, _principals),
        st.tuples(st.just("delete_versions"), _small),
        st.tuples(st.just("set_access"), _small, _principals, _principals),
        st.tuples(st.just("search"), _texts, _principals),
        st.tuples(st.just("clear")),
    ),
    min_size=3,
    max_size=14,
)


@settings(max_examples=10, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations=_operations)
def test_both_adapters_agree_over_random_operations(
    operations: list[tuple[object, ...]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    edge = EdgeIndex(tmp_path_factory.mktemp("edge"), DIMENSION)
    memory = ServerIndex(QdrantClient(":memory:"), DIMENSION)
    start: list[tuple[object, ...]] = [
        ("upsert", n, f"{_WORDS[n]} {_WORDS[n + 1]}", n % 4, ["user:a"], []) for n in range(6)
    ]
    try:
        for operation in start:
            _apply(edge, operation)
            _apply(memory, operation)
        asked: tuple[object, ...] = ("search", "rent deposit notice", ["user:a"])
        assert _apply(edge, asked)  # so that the agreement below is not one of empty lists alone
        for operation in [asked, *operations, asked]:
            assert _apply(edge, operation) == _apply(memory, operation)
        assert edge.all_points() == memory.all_points()
        assert edge.count() == memory.count()
    finally:
        edge.close()
        memory.close()


def _apply(index: VectorIndex, operation: tuple[object, ...]) -> object:
    match operation:
        case ("upsert", int(n), str(text), int(document), list(allow), list(deny)):
            index.upsert(
                [
                    point(
                        text,
                        id=str(uuid.UUID(int=n)),
                        document=f"d{document}",
                        version=f"v{document}",
                        collection=f"c{document % 2}",
                        allow=tuple(allow),
                        deny=tuple(deny),
                    )
                ]
            )
        case ("delete_versions", int(n)):
            index.delete_versions([f"v{n}"])
        case ("set_access", int(n), list(allow), list(deny)):
            index.set_access(f"d{n}", allow, deny)
        case ("search", str(text), list(principals)):
            hits = index.search(query(text), AccessFilter(frozenset(principals)), 20)
            return {h.chunk_id: (_rounded(h.dense), _rounded(h.sparse), _rounded(h.score)) for h in hits}
        case ("clear",):
            index.clear()
        case _:
            raise AssertionError(operation)
    return None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3) + 0.0
