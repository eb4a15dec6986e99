"""The searcher: recheck before release, over-fetching, repetitions, question clean-up."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from retrieval.search import Searcher, clean_question, to_search_result
from strongroom.access import AccessFilter
from strongroom.errors import UsageError
from strongroom.ports import IndexQuery
from strongroom.types import DocumentRef, IndexHit, Locator, Message, StoredChunk
from tests.fakes import FakeEmbedder

ANN = AccessFilter(frozenset({"user:ann"}))


def chunk(id: str, text: str | None = None) -> StoredChunk:
    return StoredChunk(
        id=id,
        document=DocumentRef(f"doc-{id}", f"{id}.pdf", f"file:///{id}.pdf"),
        version_id="v",
        ordinal=0,
        start=0,
        end=10,
        text=text if text is not None else f"text of {id}",
        headings=(),
        pages=(2,),
        page_numbers=(3,),
        locator=Locator("page", "3"),
    )


class ListIndex:
    """An index that returns a fixed ranking; remembers what it was asked."""

    def __init__(self, ids: Sequence[str]) -> None:
        self.ids, self.asked = list(ids), []  # type: ignore[var-annotated]

    def search(self, query: IndexQuery, access: AccessFilter, limit: int) -> list[IndexHit]:
        self.asked.append((query, access, limit))
        return [IndexHit(i, 10.0 - n, dense=0.5, sparse=None) for n, i in enumerate(self.ids[:limit])]


class Release:
    """A catalogue that releases every id but those in `refuse`; remembers what it was asked."""

    def __init__(self, refuse: Sequence[str] = (), texts: dict[str, str] | None = None) -> None:
        self.refuse, self.texts, self.asked = set(refuse), texts or {}, []  # type: ignore[var-annotated]

    def __call__(self, ids: Sequence[str], access: AccessFilter) -> list[StoredChunk]:
        self.asked.append((list(ids), access))
        return [chunk(i, self.texts.get(i)) for i in ids if i not in self.refuse]


def searcher(index: ListIndex, release: Release) -> Searcher:
    return Searcher(index=index, embedder=FakeEmbedder(), release=release)  # type: ignore[arg-type]


def test_hits_come_back_in_rank_order_with_scores_and_timings() -> None:
    index, release = ListIndex(["a", "b", "c"]), Release()
    found, timings = searcher(index, release).search("What?", access=ANN, k=2)
    assert [(f.chunk.id, f.score, f.dense) for f in found] == [("a", 10.0, 0.5), ("b", 9.0, 0.5)]
    assert set(timings) == {"embed", "index", "release", "total"}
    assert timings["total"] >= timings["index"] >= 0
    assert index.asked[0][1] is ANN
    assert release.asked[0][1] is ANN


def test_refused_hits_do_not_shrink_the_result_and_are_never_returned() -> None:
    ids = [f"p{n:03d}" for n in range(400)]
    index, release = ListIndex(ids), Release(refuse=ids[:300])
    found, _ = searcher(index, release).search("What?", access=ANN, k=5)
    assert [f.chunk.id for f in found] == ids[300:305]
    limits = [limit for _, _, limit in index.asked]
    assert limits == sorted(set(limits))


def test_everything_refused_ends_after_a_bounded_number_of_tries() -> None:
    ids = [f"p{n:04d}" for n in range(5_000)]
    index = ListIndex(ids)
    found, _ = searcher(index, Release(refuse=ids)).search("What?", access=ANN, k=5)
    assert found == []
    assert len(index.asked) <= 5
    assert max(limit for _, _, limit in index.asked) <= 1_000


def test_a_catalogue_that_returns_more_than_asked_releases_nothing_extra() -> None:
    def release(ids: Sequence[str], access: AccessFilter) -> list[StoredChunk]:
        return [chunk("stranger"), *(chunk(i) for i in ids)]

    found, _ = Searcher(index=ListIndex(["a"]), embedder=FakeEmbedder(), release=release).search(  # type: ignore[arg-type]
        "What?", access=ANN, k=5
    )
    assert [f.chunk.id for f in found] == ["a"]


def test_repeated_text_is_shown_once_and_makes_room() -> None:
    texts = {"a": "Page 1 of 9", "b": "PAGE 1, of 9.", "c": "other words"}
    found, _ = searcher(ListIndex(["a", "b", "c"]), Release(texts=texts)).search("What?", access=ANN, k=2)
    assert [f.chunk.id for f in found] == ["a", "c"]


def test_texts_without_words_are_not_taken_for_repetitions() -> None:
    found, _ = searcher(ListIndex(["a", "b"]), Release(texts={"a": "---", "b": "***"})).search("?x", access=ANN, k=5)
    assert len(found) == 2


def test_bad_requests() -> None:
    ours = searcher(ListIndex(["a"]), Release())
    for question in ("", "  \n\t", "\u200b\x00"):
        with pytest.raises(UsageError):
            ours.search(question, access=ANN, k=3)
    with pytest.raises(UsageError):
        ours.search("What?", access=ANN, k=0)


def test_question_is_cleaned_and_cut() -> None:
    assert clean_question("  What\n is\x00  due? ") == "What is due?"
    assert len(clean_question("x" * 10_000)) == 4_000


def test_history_reaches_the_index() -> None:
    index = ListIndex(["a"])
    searcher(index, Release()).search(
        "And its term?", access=ANN, k=1, history=[Message("user", "What is the Northwind lease?")]
    )
    assert "Northwind" in index.asked[0][0].text


def test_search_result_shows_page_numbers_and_keeps_the_id() -> None:
    found, timings = searcher(ListIndex(["a"]), Release()).search("What?", access=ANN, k=1)
    result = to_search_result(found, timings, id="q-7")
    assert result.id == "q-7"
    assert result.hits[0].pages == (3,)
    assert result.hits[0].document.name == "a.pdf"
    assert result.hits[0].chunk_id == "a"
    assert result.timings_ms["total"] == timings["total"]
