"""Sizes, times, counts and places in words, as the command line and the pages show them."""

from __future__ import annotations

from strongroom.types import Locator

DOUBTFUL = 0.7
"""Pages of which OCR was less sure are named."""


def size(count: int) -> str:
    """Bytes as people write them, in powers of ten."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if round(value) < 1000:  # else 999,999 were 1000 kB
            return f"{value:.0f} {unit}" if unit == "B" or value >= 10 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def duration(seconds: float) -> str:
    """Seconds in words: `42 s`, `3 min 5 s`, `2 h 10 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def counted(count: int, what: str) -> str:
    """How many, and of what: `1 page`, `2 pages`."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def place(page: int | None, locator: Locator) -> str:
    """Where something stands: `page 3`, `slide 2`, `sheet Budget`."""
    if page is not None and locator.kind == "page":
        return f"page {page}"
    return f"{locator.kind} {locator.label}".strip()


def places(numbers: tuple[int, ...], first: Locator) -> str:
    """Where something stands that may reach over several pages: `page 3`, `pages 3 to 4`, `sheet Budget`."""
    if len(numbers) > 1:
        return f"{first.kind}s {numbers[0]} to {numbers[-1]}"
    return place(numbers[0] if numbers else None, first)
