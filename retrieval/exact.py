"""The very words that answer, out of the quotes: one span, or several where the question asks for a list.

Must not add a word: a span is a piece of its quote, and the quote is a piece of the document.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from retrieval import lexical
from retrieval.citations import PageReader
from retrieval.evidence import Evidence
from retrieval.stream import plain
from strongroom.types import Exact, ReadSpan

MOST = 6  # spans of a list
CLOSE = 0.5  # a further item of a list scores at least this share of the best
_LIST = re.compile(
    r"^\s*(?:list|name|enumerate)\b"
    r"|\b(?:which|what)\s+(?:\w+\s+){0,3}?(?:are|were|have)\b"
    r"|\bwho\s+(?:are|were)\b|\bwhat\s+(?:are|were)\b|\b(?:the\s+)?parties\b"
    r"|\bwhat\s+(?:two|three|four|five|six|all)\b|\bwhich\s+(?:two|three|four|five|six|all)\b",
    re.IGNORECASE,
)


def wants_list(question: str) -> bool:
    """Whether several answers are asked for. English cues; in doubt, one."""
    return bool(_LIST.search(question))


def find(question: str, evidence: Sequence[Evidence], pages: PageReader) -> tuple[Exact, ...]:
    """The exact words, best first; the best quote as a whole where the reader saw no span in it."""
    best = evidence[0]
    if not best.spans:
        return (_exact(best, 1, ReadSpan(best.start, best.end, best.score), pages),)
    first = best.spans[0]
    chosen = [(1, best, first)]
    if wants_list(question):
        rest = [(n, e, s) for n, e in enumerate(evidence, start=1) for s in e.spans if s is not first]
        for n, item, span in sorted(rest, key=lambda found: -found[2].score):
            if len(chosen) == MOST or span.score < CLOSE * first.score:
                break
            if not any(_says(span, item, other, held) for _, held, other in chosen):
                chosen.append((n, item, span))
    return tuple(_exact(item, n, span, pages) for n, item, span in chosen)


def _words(item: Evidence, span: ReadSpan) -> str:
    return item.text[span.start - item.start : span.end - item.start]


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
