"""How documents are shown in a terminal: the list, one document's facts, its passages, its pages as small pictures."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from strongroom.cli.common import printable
from strongroom.cli.naming import distinct_length, shown_path
from strongroom.files import replace_file
from strongroom.flags import described
from strongroom.types import DocumentInfo
from strongroom.words import place, places, size

if TYPE_CHECKING:
    from strongroom.engine import Engine
    from strongroom.types import DocumentDetail, StoredChunk


def print_list(shown: list[DocumentInfo], found: list[DocumentInfo]) -> None:
    """Documents as a table; `found` are all of which these are `shown`."""
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    beginning = distinct_length([d.id for d in found])
    # the beginning of an id is enough for every command, and leaves a narrow terminal room for names and reasons
    table = Table(
        Column("id", no_wrap=True, min_width=beginning),
        Column("name", overflow="fold", ratio=1),
        Column("state", no_wrap=True),
        Column("pages", justify="right", no_wrap=True),
        Column("chunks", justify="right", no_wrap=True),
        Column("collection", overflow="fold", max_width=20),
        box=None,
        header_style="bold",
        expand=True,
    )
    for d in shown:
        cell = Text(printable(d.name))
        if d.reason:
            cell.append("\n" + printable(d.reason), style="dim")
        rest = (d.state.value, str(d.pages), str(d.chunks), Text(printable(d.collection)))
        table.add_row(d.id[:beginning], cell, *rest)
    Console().print(table if shown else "No documents.")
    if len(shown) < len(found):
        typer.echo(f"{len(found) - len(shown)} more; raise `--limit` to see them", err=True)


def write_thumbnails(opened: Engine, detail: DocumentDetail, folder: Path) -> list[Path]:
    """A small PNG of each page. Raises `NotFoundError` for formats that have no page images."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for page in detail.pages:
        path = folder / f"page-{page.index + 1:04}.png"
        replace_file(path, opened.page_image(detail.document.id, page.index, dpi=40))
        written.append(path)
    return written


def print_detail(detail: DocumentDetail) -> None:
    """Everything about a document but its words."""
    for key, value in _facts(detail).items():
        if value is not None:
            typer.echo(printable(f"{key:12} {value}"))
    _section(
        "Versions",
        ("version", "added", "state", "size", "pages", "chunks", ""),
        [
            (v.id[:12], _time(v.added), v.state.value, size(v.size), v.pages, v.chunks, "current" if v.current else "")
            for v in detail.versions
        ],
    )
    _section(
        "Pages",
        ("place", "characters", "chunks", "OCR confidence"),
        [
            (
                place(p.number, p.locator),
                f"{p.characters:,}",
                p.chunks,
                "" if p.ocr_confidence is None else f"{p.ocr_confidence:.2f}",
            )
            for p in detail.pages
        ],
    )
    _section(
        "Suspicious text",
        ("place", "what"),
        [(place(p.number, p.locator), described(flag)) for p in detail.pages for flag in p.flags],
    )
    _section("Inside it", ("id", "name"), [(m.id, m.name) for m in detail.members])


def _facts(detail: DocumentDetail) -> dict[str, object]:
    d, parent = detail.document, detail.parent
    personal = None if d.personal is None else ", ".join(f"{n} {kind}" for kind, n in d.personal.items())
    return {
        "id": d.id,
        "name": d.name,
        "path": shown_path(d),
        "collection": d.collection,
        "state": d.state.value,
        "reason": d.reason,
        "type": d.mime,
        "size": size(d.size),
        "pages": d.pages,
        "chunks": d.chunks,
        "added": f"{_time(d.added)} UTC",
        "updated": f"{_time(d.updated)} UTC",
        "personal": "none found" if personal == "" else personal,
        "inside": parent and f"{parent.name} ({parent.id})",
    }


def _section(title: str, header: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
    """A table under its title; nothing for no rows."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not rows:
        return
    table = Table(*header, box=None, header_style="bold")
    for row in rows:
        table.add_row(*(Text(printable(str(cell)), overflow="fold") for cell in row))
    typer.echo(f"\n{title}")
    Console().print(table)


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}"


def print_chunk(chunk: StoredChunk) -> None:
    """A passage under its place and headings."""
    where = " | ".join(filter(None, (places(chunk.page_numbers, chunk.locator), " > ".join(chunk.headings))))
    typer.echo(printable(f"\n[{chunk.ordinal}] {where}"))
    typer.echo("\n".join(printable(line) for line in chunk.text.splitlines()))
