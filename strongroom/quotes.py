"""Which words of a quote answer, for whoever marks them: on a page, in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from strongroom.types import Answer, Citation, Span


def exact_spans(answer: Answer, n: int) -> tuple[Span, ...]:
    """Where the words that answer stand in the quote of citation `n`."""
    return tuple(span for found in answer.exact if found.citation == n for span in found.spans)


def marked(citation: Citation, answer: Answer) -> list[dict[str, Any]]:
    """The quote in pieces (see `segments`), those that answer marked."""
    start = citation.spans[0].start
    return segments(citation.quote, [(s.start - start, s.end - start) for s in exact_spans(answer, citation.n)])


def segments(text: str, spans: Sequence[tuple[int, int]]) -> list[dict[str, Any]]:
    """A text cut into marked and unmarked pieces; joined, the pieces are the text again.

    Spans are clipped to the text; overlapping ones are merged; empty ones are dropped.
    """
    out: list[dict[str, Any]] = []
    at = 0
    for start, end in sorted((max(0, s), min(len(text), e)) for s, e in spans):
        start = max(start, at)
        if start >= end:
            continue
        if start > at:
            out.append({"text": text[at:start], "mark": False})
        if out and out[-1]["mark"] and start == at:
            out[-1]["text"] += text[start:end]
        else:
            out.append({"text": text[start:end], "mark": True})
        at = end
    if at < len(text):
        out.append({"text": text[at:], "mark": False})
    return out
