"""Summaries: a few sentences of a document that stand for the rest, or a tree of a model's own, each sentence cited.

With a model that writes well, LlamaIndex's tree summarisation reads every chunk, and each sentence that comes out is
compared with the document and cited, or marked as unsupported. Without one, sentences are taken from the document as
they stand: the passages nearest to the centre of all (centroid, Radev et al. 2004) and far from each other (maximal
marginal relevance, Carbonell and Goldstein 1998), and in each the sentence nearest to that centre. Small models invent,
so they are never asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from retrieval import grounding, lexical
from retrieval.evidence import Evidence
from retrieval.sentences import split_sentences
from retrieval.whole.desk import Opened, Passage, Work, each_document
from strongroom.ports import Vector, Vectors
from strongroom.types import GENERATED, DocumentInfo, Support
from strongroom.whole import Point, WholeItem, WholeProgress, WholeRequest

BALANCE = 0.7  # of maximal marginal relevance: nearness to the centre against likeness to what was taken
PASSAGES = 3  # read closely for each point wanted
SENTENCES = 160  # embedded for one document: a few seconds on two cores
FEWEST_WORDS = 6  # of a sentence that can stand for others
LONGEST = 450  # characters of one
EVIDENCE = 24  # sentences that a model's summary of a document is compared with, for each point


def summarise(
    request: WholeRequest, documents: Sequence[DocumentInfo], work: Work
) -> Iterator[WholeProgress | WholeItem]:
    """The points of each document in its order; of several documents, first those that stand for all of them."""
    by_document: list[Point] = []

    def read(opened: Opened) -> Iterator[Point]:
        make = _by_model if work.desk.llm is not None else _extracts
        rows = work.kept(
            opened, f"summarise/{request.points}", lambda: make(opened, request.points, work), again=request.again
        )
        for row in rows:
            yield _point(opened, row)

    for event in each_document(work, documents, read):
        if isinstance(event, Point):
            by_document.append(event)
        else:
            yield event
    if len(documents) > 1:
        yield from _of_all(by_document, request.points, work)
    yield from by_document


def _point(opened: Opened, row: list[object]) -> Point:
    """A point from what was kept: text or `None` for a quote, support, and the places that it is cited from."""
    text, support, places = row
    assert isinstance(places, list)
    citations = tuple(opened.cite(chunk, start, end, n) for n, (chunk, start, end) in enumerate(places, start=1))
    said: Support = support  # type: ignore[assignment]  # written by us
    if text is None:
        return Point(opened.ref, " ".join(citations[0].quote.split()), citations, said, extract=True)
    return Point(opened.ref, str(text), citations, said, extract=False, digital_source_type=GENERATED)


# ------------------------------------------------------------------------------------------------ without a model


def _extracts(opened: Opened, points: int, work: Work) -> list[list[object]]:
    work.go_on()
    chosen = _chosen(opened, points, work)
    return [[None, "supported", [[p.chunk.id, p.start, p.end]]] for p in chosen]


def _chosen(opened: Opened, points: int, work: Work) -> list[Passage]:
    """The sentences that stand for the document, in its order."""
    if not opened.chunks:
        return []
    centre = opened.vectors.mean(axis=0)
    near = apart(opened.vectors, opened.vectors @ centre, PASSAGES * points)
    close = {opened.chunks[i].id for i in near}
    shown = [p for p in opened.passages if p.chunk.id in close and not p.flags]  # nothing that people do not see
    candidates = [p for p in shown if _stands_alone(p.text)] or shown
    candidates = candidates[:: max(1, -(-len(candidates) // SENTENCES))]
    vectors = work.desk.embedder.embed_documents([p.text for p in candidates])
    picked = apart(vectors, vectors @ centre, points)
    return sorted((candidates[i] for i in picked), key=lambda p: p.start)


def apart(vectors: Vectors, scores: Vector, count: int) -> list[int]:
    """Indexes of up to `count` rows with high scores that are unlike each other, best first."""
    if not len(vectors):
        return []
    spread = float(scores.max() - scores.min()) or 1.0
    worth = (scores - scores.min()) / spread
    taken: list[int] = []
    likeness = np.full(len(vectors), -1.0)
    left = np.ones(len(vectors), dtype=bool)
    while len(taken) < min(count, len(vectors)):
        value = np.where(left, BALANCE * worth - (1 - BALANCE) * np.maximum(likeness, 0.0), -np.inf)
        best = int(value.argmax())
        if taken and likeness[best] > 0.95:  # a repetition says nothing new
            left[best] = False
            if not left.any():
                break
            continue
        taken.append(best)
        left[best] = False
        likeness = np.maximum(likeness, vectors @ vectors[best])
        if not left.any():
            break
    return taken


def _stands_alone(text: str) -> bool:
    """A sentence: no heading, no row of a table, no line of a table of contents."""
    if len(text) > LONGEST or " | " in text or "\t" in text or re.search(r"\.{4,}|(?:\. ){4,}|_{4,}", text):
        return False
    found = lexical.words(text)
    letters = [c for c in text if c.isalpha()]
    shouting = sum(c.isupper() for c in letters) > 0.6 * max(1, len(letters))
    whole = text.rstrip("\"'”’)]").endswith((".", "!", "?", "。", ";"))
    return len(found) >= FEWEST_WORDS and whole and not shouting


# ------------------------------------------------------------------------------------------------ with one


def _by_model(opened: Opened, points: int, work: Work) -> list[list[object]]:
    """A model's summary over all chunks, each sentence with the places that carry it."""
    from retrieval.whole.tree import summary

    llm = work.desk.llm
    assert llm is not None
    text = summary(opened.chunks, llm, points=points, go_on=work.go_on)
    evidence = _evidence(opened, text, work)
    sentences = grounding.check(
        text, (), evidence, opened.info.name, work.desk.embedder, work.desk.reader, nli=work.desk.nli
    )
    return [
        [s.text, s.support, [[e.chunk.id, e.start, e.end] for e in (evidence[n - 1] for n in s.citations)]]
        for s in sentences
    ]


def _evidence(opened: Opened, text: str, work: Work) -> list[Evidence]:
    """For each sentence of a summary, the sentences of the document's nearest passages."""
    spans = split_sentences(text)
    if not spans or not opened.chunks:
        return []
    asked = work.desk.embedder.embed_documents([text[s.start : s.end] for s in spans])
    nearest = np.argsort(-(asked @ opened.vectors.T), axis=1)[:, :3]
    close = {opened.chunks[int(i)].id for row in nearest for i in row}
    candidates = [p for p in opened.passages if p.chunk.id in close]
    said = [frozenset(lexical.terms(text[s.start : s.end])) for s in spans]
    overlaps = [max(len(t & mine) for t in said) for mine in (frozenset(lexical.terms(p.text)) for p in candidates)]
    order = sorted(range(len(candidates)), key=lambda i: (-overlaps[i], i))[: EVIDENCE * len(spans)]
    kept = [candidates[i] for i in sorted(order[:SENTENCES])]
    vectors = work.desk.embedder.embed_documents([p.text for p in kept])
    return [Evidence(p.chunk, p.start, p.end, p.text, 1.0, 0.0, 0.0, v) for p, v in zip(kept, vectors, strict=True)]


# ------------------------------------------------------------------------------------------------ over several


def _of_all(by_document: Sequence[Point], points: int, work: Work) -> Iterator[Point]:
    """The points that stand for all documents: chosen among theirs, so that each stays cited."""
    sure = [p for p in by_document if p.support == "supported" and p.citations]
    work.go_on()
    if not sure:
        return
    vectors = work.desk.embedder.embed_documents([p.text for p in sure])
    for index in apart(vectors, vectors @ vectors.mean(axis=0), points):
        yield replace(sure[index], document=None)
