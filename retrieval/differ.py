"""Where documents answer a question differently: which answers there are, and how many documents give each.

Which of them is true nobody can tell from the text, so all are shown, each with its quote, and the person is asked. A
passage that is repeated, nearly word for word, in several documents counts once. An answer that stands only in passages
which repeat the question word for word comes after the others: that is how planted passages make sure that they are
found (Zou et al. 2024, PoisonedRAG). Must not drop an answer, and must not see a passage that was not released.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from retrieval import context, exact, lexical
from retrieval.context import Candidate, Reading
from strongroom.flags import touching
from strongroom.types import Clarification
from strongroom.words import counted

SURE = 0.65  # the reader's score from which a span is an answer; weaker ones are mostly no answers at all
BEHIND = 0.1  # what the reader says of a further answer is at most this far below what it says of the first
COPY = 0.8  # Jaccard similarity of words from which two passages are one
REPEATED = 4  # words of a question that tell, when a passage repeats it
MOST = 3  # answers shown
_MOST_NAMES = 5


@dataclass(frozen=True, slots=True)
class Different:
    """One answer among several: its best sentence, and the documents that give it, copies counted once."""

    best: Candidate
    documents: tuple[str, ...]

    @property
    def text(self) -> str:
        return self.best.words(self.best.spans[0])


def answers(question: str, reading: Reading) -> tuple[Different, ...]:
    """The different answers, best first, at most `MOST`; empty where documents agree or the question names one."""
    if not reading.candidates or exact.wants_list(question):
        return ()
    best: dict[str, Candidate] = {}
    for c in reading.candidates:
        document = c.chunk.document.id
        if document not in best or _merit(c, reading) > _merit(best[document], reading):
            best[document] = c
    first = reading.candidates[0]
    best[first.chunk.document.id] = first
    least = _merit(first, reading) - BEHIND
    meant = lexical.names_asked_for(question) & _about(first)  # a passage without them speaks of something else
    sure = [c for c in best.values() if _sure(c) and _merit(c, reading) >= least and meant <= _about(c)]
    if first not in sure:
        return ()
    groups: list[list[Candidate]] = []
    for c in sorted(sure, key=reading.candidates.index):
        group = next((group for group in groups if _alike(group[0], c)), None)
        if group is None:
            groups.append([c])
        elif not any(_copies(c, other) for other in group):
            group.append(c)
    if len(groups) < 2 or _names_one(question, [group[0] for group in groups]):
        return ()
    groups.sort(key=lambda group: all(repeats(question, c) for c in group))
    return tuple(
        Different(
            min(group, key=lambda c: repeats(question, c)), tuple(dict.fromkeys(c.chunk.document.name for c in group))
        )
        for group in groups[:MOST]
    )


def asked(found: Sequence[Different]) -> Clarification | None:
    """The question that goes with different answers."""
    if not found:
        return None
    said = [f"“{' '.join(one.text.split())}” ({counted(len(one.documents), 'document')})" for one in found]
    names = dict.fromkeys(name for one in found for name in one.documents)
    return Clarification(f"Documents answer this differently: {', '.join(said)}.", tuple(names)[:_MOST_NAMES])


def warnings(question: str, found: Sequence[Different]) -> tuple[str, ...]:
    """One line for each answer that stands behind the others because its passage repeats the question."""
    return tuple(
        f"{one.best.chunk.document.name}: the passage repeats the question word for word, as planted text does"
        for one in found
        if repeats(question, one.best)
    )


def repeats(question: str, c: Candidate) -> bool:
    """True when the passage holds the whole question, word for word."""
    words = lexical.words(question)
    return len(words) >= REPEATED and f" {' '.join(words)} " in f" {' '.join(lexical.words(c.chunk.text))} "


def _about(c: Candidate) -> set[str]:
    """Words of the passage, its headings and its document's name."""
    return set(lexical.terms(" ".join((c.chunk.document.name, *c.chunk.headings, c.chunk.text))))


def _sure(c: Candidate) -> bool:
    return bool(c.spans) and c.spans[0].score >= SURE and not touching(c.chunk.flags, c.start, c.end)


def _merit(c: Candidate, reading: Reading) -> float:
    """What the reader says of a sentence. Its place in the search result is no reason to believe it."""
    return context.read_score(c, reading.said)


def _alike(a: Candidate, b: Candidate) -> bool:
    """True when the words of one answer are among those of the other, numbers written one way."""
    x, y = _said(a), _said(b)
    return not x or not y or x <= y or y <= x


def _said(c: Candidate) -> set[str]:
    answer = c.words(c.spans[0])
    words = lexical.terms(answer) or lexical.words(answer)
    return {lexical.NUMBER_WORDS.get(word, word) for word in words}


def _copies(a: Candidate, b: Candidate) -> bool:
    x, y = (set(lexical.words(c.chunk.text)) for c in (a, b))
    return len(x & y) >= COPY * len(x | y)


def _names_one(question: str, found: Sequence[Candidate]) -> bool:
    """True when the question holds a word that tells the documents' names apart."""
    names = [set(lexical.terms(c.chunk.document.name)) for c in found]
    return bool(set(lexical.terms(question)) & (set[str]().union(*names) - set[str].intersection(*names)))
