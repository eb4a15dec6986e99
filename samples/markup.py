"""Read the small markup in which the sample documents are written (samples/source/*.md).

A front matter of `key: value` lines, then blocks: headings (`#`, `##`), paragraphs, numbered clauses (`1.1 text`),
bullets, pipe tables and directives (`@name argument`). It is a subset of Markdown with clauses and directives added and
it must not grow into a general parser. Standard library only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["heading", "paragraph", "clause", "bullet", "table", "directive", "note"]

_CLAUSE = re.compile(r"^(\d+\.\d+|\(\d+\)) (.+)$")


@dataclass(frozen=True, slots=True)
class Block:
    """One block. `level` is the heading level, `label` a clause number or directive name, `rows` a table's cells."""

    kind: Kind
    text: str = ""
    level: int = 0
    label: str = ""
    rows: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Source:
    """One source file: its front matter and its blocks in order."""

    name: str
    meta: dict[str, str]
    blocks: tuple[Block, ...]


def read_source(path: Path) -> Source:
    """Parse one source file. Raises `ValueError` when the front matter is missing."""
    lines = path.read_text(encoding="utf-8").splitlines()
    if not lines or lines[0] != "---":
        raise ValueError(f"{path.name}: no front matter")
    end = lines.index("---", 1)
    meta = dict(line.split(": ", 1) for line in lines[1:end])
    return Source(path.stem, meta, tuple(_blocks(lines[end + 1 :])))


def _blocks(lines: list[str]) -> list[Block]:
    blocks: list[Block] = []
    table: list[tuple[str, ...]] = []
    for line in [*lines, ""]:
        if line.startswith("|"):
            cells = tuple(c.strip() for c in line.strip().strip("|").split("|"))
            if not all(set(c) <= {"-", ":"} for c in cells):
                table.append(cells)
            continue
        if table:
            blocks.append(Block("table", rows=tuple(table)))
            table = []
        if line.strip():
            blocks.append(_block(line))
    return blocks


def _block(line: str) -> Block:
    if line.startswith("#"):
        marks, text = line.split(" ", 1)
        return Block("heading", text, level=len(marks))
    if line.startswith("@"):
        name, _, text = line[1:].partition(" ")
        return Block("directive", text, label=name)
    if line.startswith("- "):
        return Block("bullet", line[2:])
    if line.startswith("note: "):
        return Block("note", line[6:])
    if clause := _CLAUSE.match(line):
        return Block("clause", clause[2], label=clause[1])
    return Block("paragraph", line)


def rich(text: str) -> str:
    """Turn `**bold**` into reportlab's inline tags, other text escaped."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", escaped)


def plain(text: str) -> str:
    """Drop `**` marks."""
    return text.replace("**", "")
