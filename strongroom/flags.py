"""What a flag of a document's text says to a person, and which flags touch a place."""

from __future__ import annotations

from collections.abc import Iterable

from strongroom.types import Flag, FlagKind

_WORDS: dict[FlagKind, str] = {
    "hidden": "text that does not show on the page",
    "characters": "characters that hide or reorder words",
    "encoded": "encoded text",
    "instruction": "reads like an instruction to a language model",
}


def described(flag: Flag) -> str:
    """`text that does not show on the page (drawn without ink)`."""
    detail = f"“{flag.detail}”" if flag.kind == "instruction" else flag.detail
    return f"{_WORDS[flag.kind]} ({detail})"


def touching(flags: Iterable[Flag], start: int, end: int) -> tuple[Flag, ...]:
    """Those flags that share a character with `[start, end)`."""
    return tuple(f for f in flags if f.start < end and f.end > start)
