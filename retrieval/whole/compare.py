"""Where documents differ: their sentences aligned, and differences of words and of facts cited side by side.

The first document is compared with each of the others. A sentence is looked for in the passages of the other document
that are nearest in meaning or stand under the same heading, and word for word everywhere. Two that share most of their
words (Dice coefficient of content words, weighted by rarity) are one clause in two wordings; what differs in numbers,
dates and names then is said apart, because one digit matters more than a turn of phrase. Every sentence of both is
looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from retrieval import lexical
from retrieval.whole import values
from retrieval.whole.desk import Opened, Passage, Work
from strongroom.errors import IntegrityError, NotFoundError
from strongroom.types import DocumentInfo
from strongroom.whole import Change, Difference, Side, WholeItem, WholeProgress, WholeRequest

NEAREST = 4  # passages of the other document that a sentence is looked for in, by meaning
SAME_CLAUSE = 0.55  # share of words from which two sentences are wordings of one clause
EVERY = 40  # sentences from one report of progress to the next
_ORDER: dict[Change, int] = {"facts": 0, "wording": 1, "only": 2}


@dataclass(slots=True)
class _Read:
    """A document with what its sentences are compared by."""

    opened: Opened
    sentences: list[Passage]
    terms: list[frozenset[str]]
    folded: dict[str, list[int]] = field(default_factory=dict)  # the same words, wherever they stand
    by_chunk: dict[str, list[int]] = field(default_factory=dict)
    by_heading: dict[str, list[int]] = field(default_factory=dict)

    @classmethod
    def of(cls, opened: Opened) -> _Read:
        sentences = list(opened.passages)
        read = cls(opened, sentences, [frozenset(lexical.terms(p.text)) for p in sentences])
        places = {chunk.id: (chunk.start, chunk.end) for chunk in opened.chunks}
        for i, p in enumerate(sentences):
            read.folded.setdefault(lexical.fold(p.text), []).append(i)
            read.by_heading.setdefault(_heading(p), []).append(i)
            for chunk_id, (start, end) in places.items():
                if p.start < end and start < p.end:
                    read.by_chunk.setdefault(chunk_id, []).append(i)
        return read


def compare(
    request: WholeRequest, documents: Sequence[DocumentInfo], work: Work
) -> Iterator[WholeProgress | WholeItem]:
    """The differences between the first document and each other: facts first, then wording, then what one has alone."""
    opened = [one for one in (work.open(info) for info in documents) if one is not None]
    if len(opened) < 2:
        raise NotFoundError("fewer than two of these documents can be read", hint="Name two documents or more.")
    read = []
    for one in opened:
        work.go_on()
        yield work.progress(one.info.name)
        try:
            read.append(_Read.of(one))
        except (NotFoundError, IntegrityError) as exc:
            raise NotFoundError(f"{one.info.name} cannot be compared: {exc}", hint=exc.hint) from exc
    first, *others = read
    work.total = sum(len(first.sentences) + len(other.sentences) for other in others)
    work.done = 0
    for other in others:
        pair = _Pair(first, other)
        for done in pair.align(work):
            work.done += done
            yield work.progress(other.opened.info.name)
        yield from pair.differences()
    yield work.progress()


class _Pair:
    """Two documents being compared."""

    def __init__(self, a: _Read, b: _Read) -> None:
        self._a, self._b = a, b
        self._weights = lexical.rarity([*a.terms, *b.terms])
        self._matched: list[tuple[int, int, float]] = []
        self._taken: set[int] = set()
        self._alone: list[int] = []

    def align(self, work: Work) -> Iterator[int]:
        """Find each sentence of the first in the second; yields how many were looked at since the last time."""
        a, b = self._a, self._b
        near = _nearest(a.opened, b.opened)
        free = {words: list(places) for words, places in b.folded.items()}
        rest = []
        for i, p in enumerate(a.sentences):
            same = free.get(lexical.fold(p.text))
            if same:
                self._taken.add(same.pop(0))
            else:
                rest.append(i)
        yield len(a.sentences) - len(rest)
        scored: list[tuple[float, int, int]] = []
        for n, i in enumerate(rest, start=1):
            work.go_on()
            p = a.sentences[i]
            chunks = near.get(p.chunk.id, ())
            where = {j for c in chunks for j in b.by_chunk.get(c, ())}
            if _heading(p):
                where.update(b.by_heading.get(_heading(p), ()))
            for j in where - self._taken:
                likeness = self._likeness(a.terms[i], b.terms[j])
                if likeness >= SAME_CLAUSE:
                    scored.append((likeness, i, j))
            if n % EVERY == 0:
                yield EVERY
        yield len(rest) % EVERY
        paired: set[int] = set()
        for likeness, i, j in sorted(scored, key=lambda s: (-s[0], s[1], abs(s[2] - s[1]))):
            if i not in paired and j not in self._taken:
                paired.add(i)
                self._taken.add(j)
                self._matched.append((i, j, likeness))
        self._alone = [i for i in rest if i not in paired]
        yield len(b.sentences)

    def differences(self) -> Iterator[Difference]:
        """What was found, most telling first, each kind in the order of the documents."""
        a, b = self._a, self._b
        found: list[tuple[int, int, Difference]] = []
        for i, j, likeness in self._matched:
            p, q = a.sentences[i], b.sentences[j]
            mine, theirs = _facts(p.text), _facts(q.text)
            if lexical.fold(p.text) == lexical.fold(q.text):
                continue
            change: Change = "facts" if mine != theirs else "wording"
            if change == "wording" and lexical.words(p.text) == lexical.words(q.text):
                continue  # other punctuation or spacing
            sides = (_side(a, [p], mine - theirs), _side(b, [q], theirs - mine))
            found.append((_ORDER[change], p.start, Difference(_topic(p), change, sides, round(likeness, 3))))
        for read, other, alone, late in (
            (a, b, self._alone, 0),
            (b, a, [j for j in range(len(b.sentences)) if j not in self._taken], 1),
        ):
            for run in _runs(read, alone):
                here, there = _side(read, run, set()), Side(other.opened.ref, None)
                sides = (here, there) if read is a else (there, here)
                place = run[0].start
                found.append((_ORDER["only"] + late, place, Difference(_topic(run[0]), "only", sides, 0.0)))
        for _, _, difference in sorted(found, key=lambda f: f[:2]):
            yield difference

    def _likeness(self, x: frozenset[str], y: frozenset[str]) -> float:
        """Dice coefficient of two sets of words, weighted by rarity."""
        total = sum(self._weights[t] for t in x) + sum(self._weights[t] for t in y)
        return 2 * sum(self._weights[t] for t in x & y) / total if total else 0.0


def _nearest(a: Opened, b: Opened) -> dict[str, list[str]]:
    """For each chunk of the first document, the ids of the nearest chunks of the second."""
    if not len(a.chunks) or not len(b.chunks):
        return {}
    out: dict[str, list[str]] = {}
    count = min(NEAREST, len(b.chunks))
    for row, chunk in enumerate(a.chunks):
        cosines = b.vectors @ a.vectors[row]
        out[chunk.id] = [b.chunks[int(i)].id for i in np.argpartition(-cosines, count - 1)[:count]]
    return out


def _runs(read: _Read, alone: Sequence[int]) -> Iterator[list[Passage]]:
    """Neighbouring sentences of one chunk together: one difference, one quote."""
    run: list[Passage] = []
    last = -2
    for i in alone:
        p = read.sentences[i]
        if not read.terms[i]:
            continue  # a number of a page, a rule
        if run and (i != last + 1 or p.chunk.id != run[0].chunk.id):
            yield run
            run = []
        run.append(p)
        last = i
    if run:
        yield run


def _side(read: _Read, run: Sequence[Passage], facts: set[str]) -> Side:
    citation = read.opened.cite(run[0].chunk.id, run[0].start, run[-1].end)
    return Side(read.opened.ref, citation, tuple(sorted(facts)))


def _topic(p: Passage) -> str:
    return p.chunk.headings[-1] if p.chunk.headings else ""


def _heading(p: Passage) -> str:
    return lexical.fold(_topic(p)).strip("0123456789.()§ ")


def _facts(text: str) -> set[str]:
    """Numbers, dates and names of a sentence, written one way."""
    days, money = values.dates(text, relative=False), values.amounts(text)
    found = {f"{d.date}/{d.until}" if d.until else d.date for d in days} | {m.value for m in money}
    blank = list(text)
    for start, end in [(d.start, d.end) for d in days] + [(m.start, m.end) for m in money]:
        blank[start:end] = " " * (end - start)
    rest = "".join(blank)
    return found | lexical.strict_numbers(rest) | {f"“{name}”" for name in lexical.names(rest)}
