"""Choose the sentences that go into the prompt and under the answer, from passages already found and released.

The reader says which words of each passage answer. Sentence by sentence that counts beside the cosine to the question,
words shared with it weighted by their rarity among the candidates, the kind of answer that it asks for, and the passage
around it (weights: docs/decisions/answer-style.md). Rank order is kept, near-duplicates are dropped, and the token
budget is counted by the model's own tokenizer; the best sentence is never cut. Must not search, and must not see a
passage that was not released.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from retrieval import cells, lexical, times
from retrieval.citations import PageReader
from retrieval.evidence import Evidence
from retrieval.sentences import MAX_CHARS, split_sentences
from strongroom import types
from strongroom.errors import NotFoundError
from strongroom.flags import touching
from strongroom.ports import Embedder, Reader, Vector, Vectors
from strongroom.types import ReadSpan, StoredChunk

MAX_SENTENCES = 60  # embedded per question: keeps reading well under a second on two cores
W_COSINE, W_OVERLAP = 0.32, 0.32
W_LENT = 0.10  # words of the question in the sentence before, the headings or the document's name
W_PASSAGE = 0.16  # words of the question in the whole passage
W_ECHO, ECHO_TERMS = 0.05, 2  # taken off a line that says next to nothing which the question does not say
W_KIND = 0.05  # a number where one is asked for, a name where a person is
W_SIDE = 0.15  # the date on which something begins or ends, where that is asked for
W_FLAGGED = 0.3  # taken off words that hide, or that talk to a machine: the last to be quoted as an answer
W_READ = 0.5  # the reader's say
W_RANK = 0.1  # the passage's place in the search result; all of the above shares the rest
UNFIT = 0.5  # of a span's score is left where it cannot be what the question asks for
W_SPAN = 0.7  # within it: the best span of the sentence against the relevance of its passage
SPANS = 3  # that the reader may name in one passage
QUOTE_CHARS = 400  # a span that runs on is cut at the last sentence end before this: longer quotes go unread
DATE_CHARS = 60  # a span longer than this is no date with a word or two beside it
NEIGHBOURS = 6  # sentences over which a span may run on
NEAR_DUPLICATE = 0.8  # Jaccard similarity of content words
FALL_OFF = 0.25  # a quote this far below the best one is noise, not support
THIN_TERMS = 4  # a sentence with fewer content words says too little alone
QUOTE_OVERHEAD = 24  # tokens for a quote's number, document name and delimiters in the prompt


class RankedChunk(Protocol):
    """A released passage with its scores, best first in its list (`retrieval.search.ScoredChunk`)."""

    @property
    def chunk(self) -> StoredChunk: ...
    @property
    def score(self) -> float: ...
    @property
    def dense(self) -> float | None: ...


@dataclass(frozen=True, slots=True)
class Candidate:
    """A sentence of a released passage with how well it fits the question.

    `before` and `ends` are the document offsets to which the quote may grow: the start of the sentence before (or its
    own), its own end and those of the sentences after it. `window` is the text around it, beginning at document offset
    `base`.
    """

    chunk: StoredChunk
    rank: int  # of its passage, 0 is the best
    start: int
    end: int
    before: int
    ends: tuple[int, ...]
    base: int
    window: str
    terms: frozenset[str]
    lent: frozenset[str]  # words of the sentence before, the headings and the document's name
    overlap: float = 0.0
    cosine: float = 0.0
    score: float = 0.0
    vector: Vector | None = field(default=None, compare=False, repr=False)
    spans: tuple[ReadSpan, ...] = ()  # that begin in the sentence, at document offsets, best first

    @property
    def text(self) -> str:
        return self.window[self.start - self.base : self.end - self.base]

    def words(self, span: ReadSpan) -> str:
        """What a span says, also where it runs on behind the sentence."""
        return self.window[span.start - self.base : span.end - self.base]

    @property
    def after(self) -> int:
        """The end of the sentence after it, or its own."""
        return self.ends[min(1, len(self.ends) - 1)]

    def reach(self, span: ReadSpan) -> int:
        """The sentence end at which a quote that begins here and holds the span ends, so that it stays readable."""
        fitting = [end for end in self.ends if end - self.start <= QUOTE_CHARS]
        return next((end for end in fitting if end >= span.end), max([self.end, *fitting]))


@dataclass(frozen=True, slots=True)
class Reading:
    """What reading the passages gave: their sentences, best first, and the question's vector."""

    candidates: tuple[Candidate, ...]
    vector: Vector
    chunks: tuple[RankedChunk, ...]  # the passages that could be read, in rank order
    said: tuple[types.Reading, ...] = ()  # by the reader, of each of them


def read(
    question: str,
    ranked: Sequence[RankedChunk],
    pages: PageReader,
    embedder: Embedder,
    reader: Reader,
    *,
    own: str | None = None,
    place: float = W_RANK,
) -> Reading:
    """Cut the passages into sentences, have them read, and score each sentence. One call to each model.

    `own` is the question without the words that it leans on, where it leans on an earlier one. `place` (0..0.5) is what
    a passage's place in `ranked` weighs. A passage whose document was removed since the search
    is left out. Raises `IntegrityError` when pages and passage disagree.
    """
    sentences: list[Candidate] = []
    readable: list[RankedChunk] = []
    for item in ranked:
        try:
            sentences.extend(_sentences(item.chunk, len(readable), pages))
        except NotFoundError:
            continue
        readable.append(item)
    vector = embedder.embed_query(question)
    said = _read_passages(question, sentences, len(readable), reader)
    found = _prefilter(question, _unique(_with_spans(sentences, said)))
    if not found:
        return Reading((), vector, tuple(readable), said)
    vectors = embedder.embed_documents([c.text for c in found])
    scored = _score(question, own or question, found, vectors, vectors @ vector, said, place)
    return Reading(tuple(scored), vector, tuple(readable), said)


def _read_passages(
    question: str, sentences: Sequence[Candidate], count: int, reader: Reader
) -> tuple[types.Reading, ...]:
    """What the reader says of each passage, completed to whole sentences; its spans at document offsets."""
    bounds = [(0, 0, "")] * count
    for c in sentences:
        start, end, _ = bounds[c.rank]
        low, high = (min(start, c.start), max(end, c.end)) if end else (c.start, c.end)
        text = c.window[low - c.base : high - c.base]
        bounds[c.rank] = low, high, times.without_posting(question, text) if c.chunk.locator.kind == "message" else text
    readings = reader.read(question, [text for _, _, text in bounds], spans=SPANS) if bounds else []
    return tuple(
        replace(r, spans=tuple(replace(s, start=s.start + at, end=s.end + at) for s in r.spans))
        for r, (at, _, _) in zip(readings, bounds, strict=True)
    )


def _with_spans(sentences: Sequence[Candidate], said: Sequence[types.Reading]) -> list[Candidate]:
    """Sentences with the spans that begin in them, also when it was an overlapping passage in which they were found."""
    best: dict[tuple[str, str], dict[tuple[int, int], ReadSpan]] = {}
    whose = {c.rank: (c.chunk.document.id, c.chunk.version_id) for c in sentences}
    for rank, document in whose.items():
        held = best.setdefault(document, {})
        for span in said[rank].spans:
            place = (span.start, span.end)
            if place not in held or held[place].score < span.score:
                held[place] = span
    out = []
    for c in sentences:
        here = [s for s in best[whose[c.rank]].values() if c.start <= s.start < c.end]
        inside = [replace(s, end=min(s.end, c.reach(s))) for s in here]
        out.append(replace(c, spans=tuple(sorted(inside, key=lambda s: (-s.score, s.start)))))
    return out


def _sentences(chunk: StoredChunk, rank: int, pages: PageReader) -> list[Candidate]:
    """The sentences that overlap the passage, completed from its pages where its edges cut them."""
    base, window = pages.window(chunk)
    spans = split_sentences(window)
    around = frozenset(lexical.terms(f"{chunk.document.name} {' '.join(chunk.headings)}"))
    out: list[Candidate] = []
    terms: frozenset[str] = frozenset()
    for i, span in enumerate(spans):
        start, end = base + span.start, base + span.end
        previous, terms = terms, frozenset(lexical.terms(window[span.start : span.end]))
        if end <= chunk.start or start >= chunk.end:
            continue
        before = base + spans[i - 1].start if i > 0 else start
        ends = tuple(base + s.end for s in spans[i : i + NEIGHBOURS])
        out.append(Candidate(chunk, rank, start, end, before, ends, base, window, terms, around | previous))
    return out


def _unique(sentences: Sequence[Candidate]) -> list[Candidate]:
    """Drop sentences that overlapping passages share, and those without a word; the better passage keeps them."""
    seen: set[tuple[str, str, int]] = set()
    out: list[Candidate] = []
    for c in sentences:
        key = (c.chunk.document.id, c.chunk.version_id, c.start)
        if key not in seen and any(ch.isalnum() for ch in c.text):
            seen.add(key)
            out.append(c)
    return out


def _prefilter(question: str, sentences: list[Candidate]) -> list[Candidate]:
    """Add the overlap with the question, and keep the `MAX_SENTENCES` most promising in their order."""
    asked = lexical.terms(question)
    weights = lexical.rarity([c.terms for c in sentences])
    missing = lexical.unseen(len(sentences))
    scored = [replace(c, overlap=lexical.coverage(asked, c.terms, weights, missing)) for c in sentences]
    if len(scored) <= MAX_SENTENCES:
        return scored
    order = sorted(
        range(len(scored)), key=lambda i: (-(scored[i].overlap + _prior(scored[i].rank) + 2 * _best(scored[i])), i)
    )
    return [scored[i] for i in sorted(order[:MAX_SENTENCES])]


def _best(c: Candidate) -> float:
    """How sure the reader is of the best span that begins in the sentence, 0 without one."""
    return c.spans[0].score if c.spans else 0.0


def read_score(c: Candidate, said: Sequence[types.Reading]) -> float:
    """What the reader says of a sentence (0..1): its best span, and how relevant its passage is."""
    return W_SPAN * _best(c) + (1 - W_SPAN) * said[c.rank].relevant


def _prior(rank: int) -> float:
    """1 for the best passage, falling with its rank."""
    return 1.0 / (1.0 + 0.5 * rank)


def _score(
    question: str,
    own: str,
    found: list[Candidate],
    vectors: Vectors,
    cosines: Vector,
    said: Sequence[types.Reading],
    place: float,
) -> list[Candidate]:
    """Put the scores (0..1) in, best first."""
    asked, kind, side = lexical.terms(question), lexical.wanted(question), times.asked(question)
    weights, missing = lexical.rarity([c.terms for c in found]), lexical.unseen(len(found))
    passages = {c.chunk.id: frozenset(lexical.terms(c.chunk.text)) for c in found}
    out = []
    for c, vector, cosine in zip(found, vectors, cosines, strict=True):
        here, lent, passage = (
            lexical.coverage(asked, held, weights, missing)
            for held in (c.terms, c.terms | c.lent, c.lent | passages[c.chunk.id])
        )
        score = (
            W_COSINE * max(float(cosine), 0.0)
            + W_OVERLAP * here
            + W_LENT * (lent - here)
            + W_PASSAGE * passage
            + W_KIND * lexical.offers(c.text, kind, question)
            - (W_ECHO if len(c.terms - set(asked)) < ECHO_TERMS else 0.0)
        )
        spans = _in_cells(question, own, c, weights, missing)
        if side is not None:
            spans = _on_its_side(question, c, side, spans)
        c = replace(c, spans=_fitting(question, c, kind, spans))
        score = W_READ * read_score(c, said) + place * _prior(c.rank) + (1 - W_READ - place) * score
        if side is not None:
            score += W_SIDE * times.offers(c.text, side)
        if touching(c.chunk.flags, c.start, c.end):
            score -= W_FLAGGED
        out.append(replace(c, overlap=here, cosine=float(cosine), score=score, vector=vector))
    return sorted(out, key=lambda c: (-c.score, c.rank, c.start))


def _fitting(
    question: str, c: Candidate, kind: Literal["number", "name"] | None, spans: Sequence[ReadSpan]
) -> tuple[ReadSpan, ...]:
    """The spans, those that cannot answer behind the others and less sure: words that the question says itself, and
    words without a number where one is asked for."""
    out = []
    for span in spans:
        words = c.words(span)
        unfit = lexical.echoes(words, question) or (kind == "number" and not lexical.offers(words, kind, question))
        out.append(replace(span, score=UNFIT * span.score) if unfit else span)
    return tuple(sorted(out, key=lambda s: -s.score))


def _on_its_side(question: str, c: Candidate, side: times.Side, spans: Sequence[ReadSpan]) -> tuple[ReadSpan, ...]:
    """The spans of a sentence for a question that asks when something begins or ends.

    One whose only dates are of the other side is less sure; where "when" is asked, the date stands for a clause.
    """
    dates = times.dates(c.text)
    meant = [(c.start + start, c.start + end) for start, end, found in dates if found == side]
    other = [(c.start + start, c.start + end) for start, end, found in dates if found not in (side, None)]
    out = []
    for span in spans:
        held = [(start, end) for start, end in meant if start < span.end and end > span.start]
        among = span.end - span.start > DATE_CHARS or any(start < span.end and end > span.start for start, end in other)
        if held and among and times.asks_when(question):
            span = ReadSpan(*held[0], span.score)
        elif not held and any(start < span.end and end > span.start for start, end in other):
            span = replace(span, score=UNFIT * span.score)
        out.append(span)
    if meant and times.asks_when(question) and not any(s.start < meant[0][1] and s.end > meant[0][0] for s in out):
        out.append(ReadSpan(*meant[0], _best(c)))
    return tuple(out)


def _in_cells(question: str, own: str, c: Candidate, weights: dict[str, float], missing: float) -> tuple[ReadSpan, ...]:
    """The spans of a sentence; in a table's row, the cells that answer.

    A row that the question names is sure by the share of the question that name and label say, with the document's name
    and the headings: the reader, which learned from prose, knows little of rows.
    """
    found = cells.answering(question, c.text, [(s.start - c.start, s.end - c.start) for s in c.spans], own=own)
    if found is None:
        return c.spans
    asked = lexical.terms(question)
    around = lexical.terms(f"{c.chunk.document.name} {' '.join(c.chunk.headings)}")
    named = lexical.coverage(found.name, asked, weights, missing)
    sure = named * lexical.coverage(asked, {*found.name, *found.label, *around}, weights, missing)
    return tuple(ReadSpan(c.start + start, c.start + end, max(_best(c), sure)) for start, end in found.places)


# ------------------------------------------------------------------------------------------------ choosing


def choose(
    reading: Reading,
    *,
    count_tokens: Callable[[str], int],
    budget: int,
    max_quotes: int = 6,
    first: Sequence[Candidate] = (),
) -> tuple[Evidence, ...]:
    """The best quotes in rank order within `budget` tokens; at least one whenever there is a candidate.

    A quote that is too short to stand alone grows to its neighbour. A quote that does not fit is passed over for a
    shorter one behind it; the best one is always in, whole. `first` (one of each of several documents) come before all
    others, and all of them.
    """
    chosen: list[Evidence] = []
    used = 0
    for candidate in (*first, *(c for c in reading.candidates if c not in first)):
        ahead = candidate in first
        if chosen and not ahead and candidate.score < reading.candidates[0].score - FALL_OFF:
            break
        evidence = _grown(candidate)
        if not ahead and any(_repeats(evidence, other) for other in chosen):
            continue
        cost = count_tokens(evidence.text) + QUOTE_OVERHEAD
        if chosen and not ahead and used + cost > budget:
            continue
        chosen.append(evidence)
        used += cost
        if len(chosen) == max_quotes:
            break
    return tuple(chosen)


def _grown(c: Candidate) -> Evidence:
    """The candidate as a quote, with a neighbour when it is a heading, says too little, or its words run on into it."""
    start, end = c.start, c.reach(c.spans[0]) if c.spans else c.end
    thin = end == c.end and (len(c.terms) < THIN_TERMS or c.text.endswith((":", "：")) or c.text.isupper())
    if thin and c.after > end and c.after - start <= MAX_CHARS:
        end = c.after
    elif thin and c.before < start and end - c.before <= MAX_CHARS:
        start = c.before
    text = c.window[start - c.base : end - c.base]
    assert c.vector is not None
    inside = tuple(s for s in c.spans if s.end <= end)
    return Evidence(c.chunk, start, end, text, c.score, c.cosine, c.overlap, c.vector, inside)


def _repeats(a: Evidence, b: Evidence) -> bool:
    """True when two quotes overlap in the document or say nearly the same words."""
    same = a.chunk.document.id == b.chunk.document.id and a.chunk.version_id == b.chunk.version_id
    if same and a.start < b.end and b.start < a.end:
        return True
    x, y = set(lexical.words(a.text)), set(lexical.words(b.text))
    if not x or not y or lexical.numbers(a.text) != lexical.numbers(b.text):
        return False
    return len(x & y) / len(x | y) >= NEAR_DUPLICATE
