"""From a question to released passages: embed, search the index, recheck in the catalogue, drop repetitions.

The index only narrows; `release` (the catalogue) decides what may be shown, and nothing reaches a caller without it.
Knows neither engine nor catalogue: both come in as ports. Must not build prompts, call a language model or log words
of a question or a document.
"""

from __future__ import annotations

import hashlib
import re
import time
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from retrieval.condense import condense
from strongroom.access import AccessFilter
from strongroom.errors import UsageError
from strongroom.ports import Embedder, IndexQuery, Reranker, VectorIndex
from strongroom.types import IndexHit, Message, SearchHit, SearchResult, StoredChunk

Release = Callable[[Sequence[str], AccessFilter], list[StoredChunk]]

_OVERFETCH = 4  # candidates asked for each passage wanted, so that rechecks and repetitions do not shrink the result
_FEWEST = 32
_SPARE = 4  # released beyond k at a time, for the few that are turned down or repeat another
_RERANKED = 24  # passages that a reranker reads
_MOST = 1_000  # candidates at most, however many of them the catalogue turns down
_LONGEST_QUESTION = 4_000  # characters; more is a pasted document, which no embedder reads to its end anyway


@dataclass(frozen=True, slots=True)
class ScoredChunk:
    """A released passage with its scores. `score` compares passages of one search; `dense` is the cosine.

    Where a reranker is in use, `score` is its own. `dense` or `sparse` is `None` where that side of the search did not
    return the passage among its candidates.
    """

    chunk: StoredChunk
    score: float
    dense: float | None
    sparse: float | None


class Searcher:
    """Hybrid search under an access filter. Holds no state between calls; as thread-safe as its parts.

    `release(chunk_ids, access)` returns the chunks that exist, are current and may be read, in the order given.
    """

    def __init__(
        self, *, index: VectorIndex, embedder: Embedder, release: Release, reranker: Reranker | None = None
    ) -> None:
        self._index, self._embedder, self._release = index, embedder, release
        self._reranker = reranker

    def search(
        self, question: str, *, access: AccessFilter, k: int, history: Sequence[Message] = ()
    ) -> tuple[list[ScoredChunk], dict[str, float]]:
        """Return the best `k` passages, best first, and milliseconds by step (`embed`, `index`, `release`, `total`,
        and `rerank` where a reranker is in use).

        Fewer than `k` come back only when there are no more that may be read. Raises `UsageError` for a question
        without text and for `k < 1`.
        """
        started = time.perf_counter()
        if k < 1:
            raise UsageError(f"k is {k}", hint="Ask for at least one passage.")
        text = condense(clean_question(question), history, self._embedder)[:_LONGEST_QUESTION]
        query = IndexQuery(dense=self._embedder.embed_query(text), text=text)
        timings = {"embed": _ms_since(started), "index": 0.0, "release": 0.0}
        wanted = k if self._reranker is None else max(k, _RERANKED)
        limit = min(max(_OVERFETCH * wanted, _FEWEST), max(_MOST, k))
        while True:
            step = time.perf_counter()
            hits = self._index.search(query, access, limit)
            timings["index"] += _ms_since(step)
            step = time.perf_counter()
            found = self._released(hits, access, wanted)
            timings["release"] += _ms_since(step)
            if len(found) >= wanted or len(hits) < limit or limit >= _MOST:
                break
            limit = min(limit * _OVERFETCH, _MOST)
        if self._reranker is not None:
            step = time.perf_counter()
            found = _reranked(self._reranker, text, found)
            timings["rerank"] = _ms_since(step)
        timings["total"] = _ms_since(started)
        return found[:k], timings

    def _released(self, hits: Sequence[IndexHit], access: AccessFilter, k: int) -> list[ScoredChunk]:
        """The best of `hits` that may be read, without repetitions; text is only opened as far down as it is needed."""
        found: list[ScoredChunk] = []
        step = k + _SPARE
        for at in range(0, len(hits), step):
            part = hits[at : at + step]
            chunks = self._release([hit.chunk_id for hit in part], access)
            found = _without_repetitions([*found, *_scored(part, chunks)])
            if len(found) >= k:
                break
        return found


def to_search_result(
    found: Iterable[ScoredChunk], timings_ms: dict[str, float], *, id: str | None = None
) -> SearchResult:
    """The result as front ends show it: page numbers where the format has pages, text as it stands in the document."""
    hits = tuple(
        SearchHit(
            document=item.chunk.document,
            pages=item.chunk.page_numbers,
            locator=item.chunk.locator,
            text=item.chunk.text,
            score=item.score,
            chunk_id=item.chunk.id,
        )
        for item in found
    )
    return SearchResult(hits=hits, timings_ms=dict(timings_ms), id=id)


def clean_question(question: str) -> str:
    """One line of plain text, at most 4,000 characters. Raises `UsageError` when no letter and no digit is left."""
    plain = unicodedata.normalize("NFC", question)
    plain = "".join(c if unicodedata.category(c)[0] != "C" else " " for c in plain)
    plain = " ".join(plain.split())[:_LONGEST_QUESTION]
    if not any(c.isalnum() for c in plain):
        raise UsageError("the question is empty", hint="Write what you want to know.")
    return plain


def _scored(hits: Sequence[IndexHit], chunks: Sequence[StoredChunk]) -> list[ScoredChunk]:
    """Join released chunks to their scores, in the order of `hits`; what was not asked for is ignored."""
    released = {chunk.id: chunk for chunk in chunks}
    return [
        ScoredChunk(released[hit.chunk_id], hit.score, hit.dense, hit.sparse)
        for hit in hits
        if hit.chunk_id in released
    ]


def _reranked(reranker: Reranker, question: str, found: Sequence[ScoredChunk]) -> list[ScoredChunk]:
    """The passages by the reranker's scores, best first; each is read with its document's name and its headings."""
    texts = ["\n".join([item.chunk.document.name, *item.chunk.headings, item.chunk.text]) for item in found]
    scored = [replace(item, score=score) for item, score in zip(found, reranker.scores(question, texts), strict=True)]
    return sorted(scored, key=lambda item: -item.score)


def _without_repetitions(found: Iterable[ScoredChunk]) -> list[ScoredChunk]:
    """Keep the best of passages with the same words: copies and repeated page headers crowd others out."""
    seen: set[bytes] = set()
    kept: list[ScoredChunk] = []
    for item in found:
        words = " ".join(re.findall(r"\w+", item.chunk.text.casefold())) or item.chunk.id
        digest = hashlib.blake2b(words.encode(), digest_size=16).digest()
        if digest not in seen:
            seen.add(digest)
            kept.append(item)
    return kept


def _ms_since(started: float) -> float:
    return (time.perf_counter() - started) * 1000.0
