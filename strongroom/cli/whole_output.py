"""How work over whole documents is shown: progress on stderr, items on stdout, tables in files."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import typer

from strongroom.cli.common import printable, to_json
from strongroom.cli.progress import LINE_EVERY_S
from strongroom.files import require_writable
from strongroom.types import EXTRACTIVE, Citation
from strongroom.whole import Cell, Difference, Point, Row, WholeDone, WholeItem, WholeProgress
from strongroom.words import counted, duration, place


class ProgressLine:
    """One line on stderr: rewritten on a terminal, now and then elsewhere."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._due = time.monotonic() + (0.0 if self._live else LINE_EVERY_S)

    def __call__(self, progress: WholeProgress) -> None:
        if time.monotonic() < self._due:
            return
        line = printable(progress_line(progress))
        if self._live:
            from rich.cells import set_cell_size

            sys.stderr.write(f"\r\x1b[2K{set_cell_size(line, self._width()).rstrip()}")  # a wrapped line would stay
            sys.stderr.flush()
            self._due = time.monotonic() + 0.1
        else:
            typer.echo(line, err=True)
            self._due = time.monotonic() + LINE_EVERY_S

    def _width(self) -> int:
        try:
            return max(20, os.get_terminal_size(sys.stderr.fileno()).columns - 1)
        except OSError:
            return 79

    def clear(self) -> None:
        if self._live:
            sys.stderr.write("\r\x1b[2K")
            sys.stderr.flush()


def progress_line(progress: WholeProgress) -> str:
    """Where the work stands: counts, rate, time left."""
    fresh = progress.done - progress.reused
    parts = [f"{progress.done:,} of {progress.total:,} {progress.unit}"]
    if progress.reused:
        parts.append(f"{progress.reused:,} kept from before")
    if fresh > 0 and progress.seconds > 0:
        rate = fresh / progress.seconds
        parts.append(f"{rate:.1f} {progress.unit}/s" if rate >= 0.1 else f"{duration(1 / rate)} each")
        if progress.done < progress.total:
            parts.append(f"about {duration((progress.total - progress.done) / rate)} left")
    if progress.current:
        parts.append(f"at {progress.current}")
    return ", ".join(parts)


class Table:
    """Rows for `--out`, with the items that a JSON file holds instead.

    Written when all are there, so that no file looks whole and is not.
    """

    def __init__(self, path: Path | None, columns: list[str]) -> None:
        """Raise `UsageError` where the file could not be written, before the work begins."""
        from strongroom.spreadsheet import suffix_of

        self._path, self._columns = path, columns
        self._json = path is not None and suffix_of(path) == ".json"
        self._rows: list[list[str]] = []
        self._items: list[Any] = []
        if path is not None:
            require_writable(path)

    def add(self, item: WholeItem, cells: list[str]) -> None:
        if self._json:
            self._items.append(to_json(item))
        elif self._path is not None:
            self._rows.append(cells)

    def write(self) -> None:
        """Write the file, where one was asked for."""
        from strongroom.spreadsheet import write_table

        if self._path is not None:
            write_table(self._path, self._columns, self._rows, data=self._items if self._json else None)
            typer.echo(f"{counted(len(self._items) or len(self._rows), 'row')} in {self._path}", err=True)


def cited(citation: Citation | None) -> tuple[str, str]:
    """A citation's quote in one line, and its place; both empty without one."""
    return ("", "") if citation is None else (" ".join(citation.quote.split()), place(citation.page, citation.locator))


def cell_texts(cell: Cell) -> list[str]:
    """Value, words, confidence, place, quote and flags of a cell, as a table shows them."""
    quote, where = cited(cell.citation)
    if not cell.found:
        quote = f"(nearest passage) {quote}" if quote else ""
    value = cell.value if cell.found else "not found"
    return [value, cell.text, f"{cell.confidence:.2f}", where, quote, ", ".join(cell.flags)]


def print_point(point: Point) -> None:
    """A point of a summary with its places, on one line."""
    label = {"supported": "", "partial": " (partly supported)", "unsupported": " (unsupported)"}[point.support]
    places = "; ".join(f"{c.document.name}, {place(c.page, c.locator)}" for c in point.citations)
    text = f"“{point.text}”" if point.extract else point.text
    typer.echo(printable(f"- {text}{label} [{places or 'no quote carries this'}]"))


def print_difference(difference: Difference) -> None:
    """A difference, and below it what each document says."""
    words = {"facts": "other facts", "wording": "other wording", "only": "only in one"}[difference.change]
    typer.echo(printable(f"{words}: {difference.topic}" if difference.topic else words))
    for side in difference.sides:
        quote, where = cited(side.citation)
        facts = f" ({', '.join(side.facts)})" if side.facts else ""
        said = f"“{quote}”{facts}" if quote else "nothing of the kind"
        typer.echo(printable(f"  {side.document.name}{f', {where}' if where else ''}: {said}"))


def print_row(row: Row) -> None:
    """A document, and below it its fields with their places."""
    typer.echo(printable(row.document.name))
    for cell in row.cells:
        value, _, confidence, where, _, flags = cell_texts(cell)
        told = f"  {cell.field}: {value} [{where}] ({confidence}{'; ' + flags if flags else ''})"
        typer.echo(printable(told))


def print_done(done: WholeDone) -> None:
    """Totals and what was left out, on stderr."""
    extracts = done.model == EXTRACTIVE
    by_model = (
        "chosen by {}, each a part of its quote" if done.task == "extract" else "written by {}, each sentence checked"
    )
    how = "words of the documents, no model wrote" if extracts else by_model.format(done.model)
    documents = f" from {counted(done.documents, 'document')}" if done.documents else ""
    kept = f", {counted(done.reused, 'part')} kept from before" if done.reused else ""
    typer.echo(f"{counted(done.items, 'item')}{documents} in {duration(done.seconds)}{kept}; {how}", err=True)
    for name, reason in done.left_out:
        typer.echo(printable(f"left out: {name} ({reason})"), err=True)
