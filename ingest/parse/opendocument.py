"""OpenDocument spreadsheets and slides, read from their `content.xml`. (Text, .odt, goes through pandoc.)

A spreadsheet's cells hold their text as shown, so dates and percentages need no formatting here. The XML is read in one
pass, without entities or external references.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from lxml import etree  # type: ignore[import-untyped]

from ingest.parse.archive import check_archive
from ingest.parse.build import DocumentBuilder
from ingest.parse.grid import CellBudget, Grid, add_grid, render_rows
from strongroom.errors import ParseError
from strongroom.types import ParsedDocument

_ODF = "urn:oasis:names:tc:opendocument:xmlns:"
_TABLE, _TEXT, _OFFICE = f"{{{_ODF}table:1.0}}", f"{{{_ODF}text:1.0}}", f"{{{_ODF}office:1.0}}"
_DRAW, _STYLE = f"{{{_ODF}drawing:1.0}}", f"{{{_ODF}style:1.0}}"
_PRESENTATION = f"{{{_ODF}presentation:1.0}}"
_REPEAT_LIMIT = 1000  # a row or column repeated more often than this is the sheet's empty rest, drawn or coloured


def parse_spreadsheet(path: Path) -> ParsedDocument:
    """Every sheet of an .ods workbook. Raises `ParseError` when damaged, `QuarantineError` for a bomb."""
    builder = DocumentBuilder()
    budget = CellBudget()
    hidden: set[str] = set()
    with _content(path) as source:
        for element in _elements(source, {f"{_STYLE}style", f"{_TABLE}table"}):
            if element.tag == f"{_STYLE}style":
                properties = element.find(f"{_STYLE}table-properties")
                if properties is not None and properties.get(f"{_TABLE}display") == "false":
                    hidden.add(element.get(f"{_STYLE}name", ""))
            elif element.getparent() is not None and element.getparent().tag == f"{_OFFICE}spreadsheet":
                add_grid(builder, _grid(element, hidden, budget))
                element.clear()
    return builder.build("application/vnd.oasis.opendocument.spreadsheet")


def parse_slides(path: Path) -> ParsedDocument:
    """Every slide of an .odp file, numbered; notes follow their slide. Raises as `parse_spreadsheet` does."""
    builder = DocumentBuilder()
    title: str | None = None
    number = 0
    with _content(path) as source:
        for page in _elements(source, {f"{_DRAW}page"}):
            number += 1
            content = list(_slide(page))
            title = title or next((text for text, level in content if level == 1), None)
            builder.add_block(content, kind="slide", label=str(number), number=number)
            page.clear()
    return builder.build("application/vnd.oasis.opendocument.presentation", title=title)


def _content(path: Path) -> IO[bytes]:
    check_archive(path, doctype=True)  # early ones name theirs
    try:
        return zipfile.ZipFile(path).open("content.xml")
    except (zipfile.BadZipFile, KeyError, OSError, NotImplementedError, RuntimeError, ValueError) as exc:
        raise _damaged() from exc


def _damaged() -> ParseError:
    return ParseError("damaged document: its content cannot be read", hint="get a fresh copy of the file")


def _elements(source: IO[bytes], tags: set[str]) -> Iterator[Any]:
    try:
        for _, element in etree.iterparse(
            source, events=("end",), tag=tuple(tags), resolve_entities=False, no_network=True, load_dtd=False
        ):
            yield element
    except (etree.XMLSyntaxError, zipfile.BadZipFile, OSError, EOFError) as exc:
        raise _damaged() from exc


# ------------------------------------------------------------------------------------------------ sheets


def _grid(table: Any, hidden: set[str], budget: CellBudget) -> Grid:
    grid = Grid(table.get(f"{_TABLE}name", ""), hidden=table.get(f"{_TABLE}style-name", "") in hidden)
    waiting = 0  # blank rows, which only count when something follows them
    for row in table.iter(f"{_TABLE}table-row"):
        cells, spans = _row(row, budget)
        repeat = _count(row, "number-rows-repeated")
        if not cells:
            waiting += repeat
            continue
        budget.take(waiting)
        grid.rows += [()] * waiting
        waiting = 0
        for _ in range(min(repeat, _REPEAT_LIMIT)):
            number = len(grid.rows)
            budget.take(len(cells))
            if row.get(f"{_TABLE}visibility") in {"collapse", "filter"}:
                grid.hidden_rows.add(number)
            grid.merged += [(number, left, number + rows - 1, left + width - 1) for left, rows, width in spans]
            grid.rows.append(cells)
    return grid


def _row(row: Any, budget: CellBudget) -> tuple[list[str], list[tuple[int, int, int]]]:
    """The texts of a row up to its last filled cell, and `(column, rows, columns)` of the merged cells in it."""
    cells: list[str] = []
    spans: list[tuple[int, int, int]] = []
    blank = 0
    for cell in row.iterchildren(f"{_TABLE}table-cell", f"{_TABLE}covered-table-cell"):
        text = " ".join(" ".join(_paragraph(p) for p in cell.iterchildren(f"{_TEXT}p")).split())
        repeat = _count(cell, "number-columns-repeated")
        if not text:
            blank += repeat
            continue
        budget.take(blank)
        cells += [""] * blank
        blank = 0
        down, across = _count(cell, "number-rows-spanned"), _count(cell, "number-columns-spanned")
        if down > 1 or across > 1:
            spans.append((len(cells), down, across))
        cells += [text] * min(repeat, _REPEAT_LIMIT)
    return cells, spans


def _count(element: Any, name: str) -> int:
    value = element.get(f"{_TABLE}{name}", "1")
    return int(value) if value.isdigit() and 0 < int(value) < 1 << 24 else 1


# ------------------------------------------------------------------------------------------------ slides


def _slide(page: Any) -> Iterator[tuple[str, int | None]]:
    for frame in page:
        notes = frame.tag == f"{_PRESENTATION}notes"
        level = 1 if frame.get(f"{_PRESENTATION}class") == "title" else None
        for text in _texts(frame):
            yield (f"Notes: {text}" if notes else text), level


def _texts(element: Any) -> Iterator[str]:
    """Paragraphs below an element in order; tables as rows that carry their headers, list items with a dash."""
    for child in element:
        if not isinstance(child.tag, str):
            continue
        if child.tag in {f"{_TEXT}p", f"{_TEXT}h"}:
            text = " ".join(_paragraph(child).split())
            if text:
                yield f"- {text}" if child.getparent().tag == f"{_TEXT}list-item" else text
        elif child.tag == f"{_TABLE}table":
            rows = [
                [" ".join(" ".join(_texts(cell)).split()) for cell in row.iterchildren(f"{_TABLE}table-cell")]
                for row in child.iter(f"{_TABLE}table-row")
            ]
            yield "\n".join(render_rows(rows))
        else:
            yield from _texts(child)


def _paragraph(element: Any) -> str:
    """The text of a paragraph; `text:s`, tabs and line breaks are spaces, annotations are left out."""
    pieces = [element.text or ""]
    for child in element:
        if child.tag in {f"{_TEXT}s", f"{_TEXT}tab", f"{_TEXT}line-break"}:
            pieces.append(" ")
        elif isinstance(child.tag, str) and child.tag != f"{_OFFICE}annotation":
            pieces.append(_paragraph(child))
        pieces.append(child.tail or "")
    return "".join(pieces)
