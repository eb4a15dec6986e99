"""Spreadsheets and delimited text: every row as a line that carries its column headers.

Read by openpyxl row by row and by Python's csv, not by `unstructured`: it loads a whole workbook several times over
(reports of 10 GB for 7 MB files) and raises on ragged or UTF-16 CSV. Sheets are pages without numbers.
"""

from __future__ import annotations

import csv
import datetime
import io
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError as XmlError

from ingest.mime import XLSX
from ingest.parse.build import DocumentBuilder
from ingest.parse.text import read_text
from strongroom.errors import ParseError
from strongroom.types import ParsedDocument

_CELL_LIMIT = 2_000_000
_SNIFF_LINES = 50


def parse_workbook(path: Path) -> ParsedDocument:
    """Every sheet of an xlsx workbook with the values Excel last computed; hidden sheets are read and named as such."""
    from openpyxl import load_workbook  # type: ignore[import-untyped]
    from openpyxl.utils.exceptions import InvalidFileException  # type: ignore[import-untyped]

    from ingest.parse.archive import check_archive

    check_archive(path)
    builder = DocumentBuilder()
    try:
        book = load_workbook(path, read_only=True, data_only=True, keep_links=False)
        try:
            cells = 0
            for sheet in book.worksheets:
                # The size stated for a sheet is often wrong: too small hides cells, too large fills rows with air.
                sheet.reset_dimensions()
                rows: list[list[str]] = []
                for row in sheet.iter_rows(values_only=True):
                    cells += max(len(row), 1)
                    if cells > _CELL_LIMIT:
                        raise ParseError(
                            f"the workbook has more than {_CELL_LIMIT:,} cells",
                            hint="export the sheets you need as CSV",
                        )
                    rows.append([cell_text(value) for value in row])
                if sheet.sheet_state != "visible":
                    builder.warn(f"sheet {sheet.title} is hidden")
                _add_table(builder, sheet.title, rows)
        finally:
            book.close()
    except ParseError:
        raise
    except (InvalidFileException, zipfile.BadZipFile, XmlError, KeyError, ValueError, OSError, TypeError, IndexError,
            AttributeError) as exc:  # fmt: skip
        raise ParseError("damaged workbook: it cannot be read", hint="get a fresh copy of the file") from exc
    return builder.build(XLSX)


def parse_delimited(path: Path, mime: str) -> ParsedDocument:
    """A CSV or TSV file as one sheet; ragged rows, quotes, UTF-16 and semicolons are fine."""
    text, warnings = read_text(path)
    delimiter = "\t" if mime == "text/tab-separated-values" else sniff_delimiter(text)
    csv.field_size_limit(10_000_000)
    try:
        rows = [[" ".join(cell.split()) for cell in row] for row in csv.reader(io.StringIO(text), delimiter=delimiter)]
    except csv.Error as exc:
        raise ParseError(f"the table cannot be read: {exc}", hint="check the quotes in the file") from exc
    builder = DocumentBuilder()
    for warning in warnings:
        builder.warn(warning)
    _add_table(builder, "table", rows)
    return builder.build(mime)


def sniff_delimiter(text: str) -> str:
    """The separator that splits the first lines most evenly: comma, semicolon, tab or bar."""
    lines = [line for line in text.split("\n") if line.strip()][:_SNIFF_LINES]

    def evenness(delimiter: str) -> tuple[float, int]:
        counts = [len(row) for row in csv.reader(lines, delimiter=delimiter)]
        widest = max(counts, default=1)
        if widest < 2:
            return (0.0, 0)
        common = max(set(counts), key=lambda count: (counts.count(count), count))
        return (counts.count(common) / len(counts) if common > 1 else 0.0, common)

    try:
        return max(",;\t|", key=evenness)
    except csv.Error:
        return ","


def cell_text(value: Any) -> str:
    """A cell as people read it: no trailing .0, dates in ISO form, white space collapsed."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else f"{value:.10g}"
    if isinstance(value, datetime.datetime):
        midnight = value.time() == datetime.time()
        return value.date().isoformat() if midnight else value.isoformat(sep=" ", timespec="minutes")
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return " ".join(str(value).split())


def _add_table(builder: DocumentBuilder, name: str, rows: Sequence[Sequence[str]]) -> None:
    lines = list(render_rows(rows))
    builder.add_block([("\n".join(lines), None)] if lines else [], kind="sheet", label=name or "sheet")


def render_rows(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Rows as lines. A row of words above a row that differs in kind is a header: rows below repeat it cell by cell.

    A blank row ends a table; a row with one filled cell is a caption and stands by itself.
    """
    table: list[Sequence[str]] = []
    for row in rows:
        if any(cell for cell in row):
            table.append(row)
        elif table:
            yield from _render_table(table)
            table = []
    yield from _render_table(table)


def _render_table(table: list[Sequence[str]]) -> Iterator[str]:
    start = 0
    while start < len(table) and sum(1 for cell in table[start] if cell) == 1:
        yield next(cell for cell in table[start] if cell)
        start += 1
    body = table[start:]
    if not body:
        return
    header = body[0] if _is_header(body) else None
    if header is not None:
        yield " | ".join(cell for cell in header if cell)
    for row in body[1:] if header is not None else body:
        cells = []
        for column, cell in enumerate(row):
            if cell:
                name = header[column] if header is not None and column < len(header) else ""
                cells.append(f"{name}: {cell}" if name and name != cell else cell)
        yield " | ".join(cells)


def _is_header(body: list[Sequence[str]]) -> bool:
    """The first row names columns: at least two words, all different, none a number, and rows below it."""
    names = [cell for cell in body[0] if cell]
    if len(body) < 2 or len(names) < 2 or len(set(names)) < len(names):
        return False
    return not any(_is_number(name) for name in names) and all(len(name) <= 80 for name in names)


def _is_number(text: str) -> bool:
    stripped = text.strip("()%$€£ +-").replace(",", "").replace(".", "")
    if stripped.isdigit() and len(stripped) == 4 and stripped[:2] in {"19", "20"}:
        return False  # a year makes a good column name
    return stripped.isdigit()
