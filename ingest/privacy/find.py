"""Put the findings of all recognisers together: no two of the result overlap."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable

from ingest.privacy import numbers, words
from strongroom.types import PersonalSpan

DETECTOR = "personal-1"
"""Names the rules; bump it with every change that finds other things in the same text."""

LEAST = 0.5
"""Findings less sure than this are dropped."""


def find(text: str) -> tuple[PersonalSpan, ...]:
    """Personal data in a text, in its order. Of overlapping findings the surer one stays, of equal ones the longer."""
    return settle([*numbers.find(text), *words.find(text)])


def settle(found: Iterable[PersonalSpan]) -> tuple[PersonalSpan, ...]:
    """The findings that count, in the order of the text, none overlapping another."""
    kept: list[PersonalSpan] = []
    free: list[tuple[int, int]] = []
    sure = sorted((s for s in found if s.score >= LEAST), key=lambda s: (-s.score, s.start - s.end, s.start))
    for span in sure:
        at = bisect_left(free, (span.start, span.end))
        before = at > 0 and free[at - 1][1] > span.start
        after = at < len(free) and free[at][0] < span.end
        if not before and not after:
            insort(free, (span.start, span.end))
            kept.append(span)
    return tuple(sorted(kept, key=lambda s: s.start))
