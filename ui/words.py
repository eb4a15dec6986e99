"""Words and numbers as the pages show them. Pure functions; `say` alone makes HTML."""

from __future__ import annotations

from html import escape

from strongroom.types import Locator


def say(text: str, css: str = "sr-say") -> str:
    """Text as one paragraph of HTML in which nothing of the text is markup."""
    return f'<p class="{css}">{escape(text)}</p>'


def place(page: int | None, locator: Locator) -> str:
    """Where a quote stands, in words: `page 3`, `sheet Budget`."""
    if page is not None and locator.kind == "page":
        return f"page {page}"
    return f"{locator.kind} {locator.label}".strip()


def size_words(size: int) -> str:
    """A size in bytes as people write it."""
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{value:.0f} {unit}" if unit == "B" or value >= 10 else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError("unreachable")


def counted(count: int, what: str) -> str:
    """How many, and of what: `1 page`, `2 pages`."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
