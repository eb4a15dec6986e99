"""The very words that answer, out of the quotes: one span, or several where the question asks for a list.

Must not add a word: a span is a piece of its quote, and the quote is a piece of the document. Quotes that were flagged
(hidden words, orders to a machine) answer only where there are no others.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from retrieval import cells, lexical
from retrieval.citations import PageReader
from retrieval.evidence import Evidence
from retrieval.stream import plain
from strongroom.flags import touching
from strongroom.types import Exact, ReadSpan

MOST = 6  # spans of a list
CLOSE = 0.5  # a further item of a list scores at least this share of the best
_LIST = re.compile(
    r"^\s*(?:list|name|enumerate|compare)\b"
    r"|\b(?:which|what)\s+(?:\w+\s+){0,3}?(?:are|were|have)\b"
    r"|\bwho\s+(?:are|were)\b|\bwhat\s+(?:are|were)\b|\b(?:the\s+)?parties\b"
    r"|\bwhat\s+(?:two|three|four|five|six|all)\b|\bwhich\s+(?:two|three|four|five|six|all)\b",
    re.IGNORECASE,
)
# Plural in form alone: "what were the net sales" asks for one figure.
_ONE_FIGURE = re.compile(
    r"\bwhat\s+(?:are|were)\s+(?:[\w'’-]+\s+){0,4}?(?:sales|revenues|earnings|proceeds|expenses|costs|expenditures|profits)\b",
    re.IGNORECASE,
)


def wants_list(question: str) -> bool:
    """Whether several answers are asked for. English cues; in doubt, one."""
    return bool(_LIST.search(question)) and not _ONE_FIGURE.search(question)


def find(question: str, evidence: Sequence[Evidence], pages: PageReader, *, each: int = 0) -> tuple[Exact, ...]:
    """The exact words, best first; the best quote as a whole where the reader saw no answer in it.

    The first `each` quotes answer differently: the best words of each of them.
    """
    if each:
        return tuple(_exact(e, n, _in_its_cell(e, e.spans[0]), pages) for n, e in enumerate(evidence[:each], start=1))
    numbered = _trusted(evidence)
    number, best = numbered[0]
    if not best.spans or lexical.echoes(_words(best, best.spans[0]), question):
        return (_exact(best, number, ReadSpan(best.start, best.end, best.score), pages),)
    first = _in_its_cell(best, best.spans[0])
    chosen = [(number, best, first)]
    if wants_list(question):
        found = [
            (n, e, s) for n, e in numbered if _as_meant(question, e, best) for s in e.spans if s is not best.spans[0]
        ]
        rest = [(n, e, _in_its_cell(e, s)) for n, e, s in found]
        for n, item, span in sorted(rest, key=lambda each: -each[2].score):
            if len(chosen) == MOST or span.score < CLOSE * first.score:
                break
            if not any(_says(span, item, other, held) for _, held, other in chosen):
                chosen.append((n, item, span))
    return tuple(_exact(item, n, span, pages) for n, item, span in chosen)


def choices(evidence: Sequence[Evidence]) -> tuple[str, ...]:
    """What a model may choose from: the spans that the reader saw, and quotes in which it saw none, best first."""
    out: dict[str, None] = {}
    for _, item in _trusted(evidence):
        spans = [_in_its_cell(item, span) for span in item.spans]
        out.update(dict.fromkeys([_words(item, span) for span in spans] or [item.text]))
    return tuple(out)


def chosen(runs: Sequence[str], evidence: Sequence[Evidence], pages: PageReader) -> tuple[Exact, ...]:
    """The runs that a model chose, each in the best quote that holds it; a run that stands in none is left out."""
    out: list[Exact] = []
    for run in dict.fromkeys(runs):
        place = next(((n, e) for n, e in enumerate(evidence, start=1) if run.strip() and run in e.text), None)
        if place is not None and len(out) < MOST:
            n, item = place
            start = item.start + item.text.index(run)
            score = max((s.score for s in item.spans if s.start < start + len(run) and s.end > start), default=0.0)
            out.append(_exact(item, n, ReadSpan(start, start + len(run), score), pages))
    return tuple(out)


def _trusted(evidence: Sequence[Evidence]) -> list[tuple[int, Evidence]]:
    """The quotes that may answer, with their numbers: those that nothing is flagged in, or all where there are none."""
    numbered = list(enumerate(evidence, start=1))
    return [(n, e) for n, e in numbered if not touching(e.chunk.flags, e.start, e.end)] or numbered


def _as_meant(question: str, item: Evidence, best: Evidence) -> bool:
    """Whether a quote may add to a list. Where the best one is a row of a table that the question names, only rows that
    it names as well: "what are the ship dues" asks for one row."""
    named = cells.pointed(question, best.text)
    return not named or named <= (cells.pointed(question, item.text) or frozenset())


def _words(item: Evidence, span: ReadSpan) -> str:
    return item.text[span.start - item.start : span.end - item.start]


def _in_its_cell(item: Evidence, span: ReadSpan) -> ReadSpan:
    """A span without what it took from the next cell of a table's row."""
    words = _words(item, span).split(cells.BETWEEN, 1)[0]
    return replace(span, end=span.start + len(words)) if words.strip() else span


def _says(span: ReadSpan, item: Evidence, other: ReadSpan, held: Evidence) -> bool:
    """True when one of two spans repeats the words of the other."""
    a, b = lexical.words(_words(item, span)), lexical.words(_words(held, other))
    return not a or set(a) <= set(b) or set(b) <= set(a)


def _exact(item: Evidence, n: int, span: ReadSpan, pages: PageReader) -> Exact:
    return Exact(
        text=plain(_words(item, span)),
        citation=n,
        score=round(span.score, 4),
        spans=pages.spans(item.chunk, span.start, span.end),
    )
