"""Spreadsheets and delimited text: xlsx by openpyxl's row reader, xls by xlrd, CSV and TSV by Python's csv.

Not through `unstructured`: it loads a whole workbook several times over (reports of 10 GB for 7 MB files) and raises on
ragged or UTF-16 CSV. Values are those that were last computed, shown as their number format shows them.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError as XmlError

from ingest.mime import XLSX
from ingest.parse.build import DocumentBuilder
from ingest.parse.cellformat import shown
from ingest.parse.grid import CellBudget, Grid, Row, add_grid
from ingest.parse.text import read_text
from strongroom.errors import ParseError
from strongroom.types import ParsedDocument

_SNIFF_LINES = 50
_BAD_BOOK = (zipfile.BadZipFile, XmlError, KeyError, ValueError, OSError, TypeError, IndexError, AttributeError)


def parse_workbook(path: Path) -> ParsedDocument:
    """Every sheet of an xlsx workbook with the values Excel last computed; hidden sheets are read and named as such."""
    from openpyxl import load_workbook  # type: ignore[import-untyped]
    from openpyxl.utils.exceptions import InvalidFileException  # type: ignore[import-untyped]

    from ingest.parse.archive import check_archive

    check_archive(path)
    builder = DocumentBuilder()
    budget = CellBudget()
    try:
        book = load_workbook(path, read_only=True, data_only=True, keep_links=False)
        try:
            for sheet in book.worksheets:
                add_grid(builder, _xlsx_grid(book, sheet, budget))
        finally:
            book.close()
    except ParseError:
        raise
    except (InvalidFileException, *_BAD_BOOK) as exc:
        raise ParseError("damaged workbook: it cannot be read", hint="get a fresh copy of the file") from exc
    return builder.build(XLSX)


def _xlsx_grid(book: Any, sheet: Any, budget: CellBudget) -> Grid:
    """One sheet, read by the row parser behind openpyxl's read-only mode, which alone sees merges and hidden rows.

    The size that the file states for a sheet is not used: too small it hides cells, too large it fills rows with air.
    """
    from openpyxl.styles.numbers import BUILTIN_FORMATS  # type: ignore[import-untyped]
    from openpyxl.utils import column_index_from_string, range_boundaries  # type: ignore[import-untyped]
    from openpyxl.worksheet._reader import WorkSheetParser  # type: ignore[import-untyped]

    grid = Grid(sheet.title, hidden=sheet.sheet_state != "visible")
    codes: dict[int, str] = {}

    def code_of(style: int) -> str:
        if style not in codes:
            number = book._cell_styles[style].numFmtId if style < len(book._cell_styles) else 0
            custom = number - 164
            codes[style] = (
                book._number_formats[custom]
                if 0 <= custom < len(book._number_formats)
                else BUILTIN_FORMATS.get(number, "General")
            )
        return codes[style]

    with sheet._get_source() as source:
        parser = WorkSheetParser(
            source,
            sheet._shared_strings,
            data_only=True,
            epoch=book.epoch,
            date_formats=book._date_formats,
            timedelta_formats=book._timedelta_formats,
        )
        for number, cells in parser.parse():
            if not cells:
                continue
            budget.take(cells[-1]["column"])
            row = [""] * cells[-1]["column"]
            for cell in cells:
                if cell["value"] is not None:
                    row[cell["column"] - 1] = shown(cell["value"], code_of(cell["style_id"]))
            if any(row):
                budget.take(number - len(grid.rows))
                grid.rows += [()] * (number - 1 - len(grid.rows))
                grid.rows.append(row)
        for number, facts in parser.row_dimensions.items():
            if facts.get("hidden") in {"1", "true"}:
                grid.hidden_rows.add(int(number) - 1)
        for letters, facts in parser.column_dimensions.items():
            if facts.get("hidden") in {"1", "true"}:
                begin = column_index_from_string(letters) - 1
                grid.hidden_columns.update(range(begin, min(int(facts.get("max", begin + 1)), begin + 1000)))
        for merged in parser.merged_cells.mergeCell if parser.merged_cells else ():
            left, top, right, bottom = range_boundaries(merged.ref)
            grid.merged.append((top - 1, left - 1, bottom - 1, right - 1))
    return grid


def parse_legacy_workbook(path: Path) -> ParsedDocument:
    """Every sheet of a BIFF workbook (.xls, Excel 2 to 2003), as `parse_workbook` does."""
    import struct

    import xlrd  # type: ignore[import-untyped]
    from xlrd.compdoc import CompDocError  # type: ignore[import-untyped]

    builder = DocumentBuilder()
    budget = CellBudget()
    try:
        with xlrd.open_workbook(
            path, formatting_info=True, on_demand=True, ragged_rows=True, logfile=io.StringIO()
        ) as book:
            for index in range(book.nsheets):
                add_grid(builder, _xls_grid(book, book.sheet_by_index(index), budget))
                book.unload_sheet(index)
    except ParseError:
        raise
    except (xlrd.XLRDError, CompDocError, struct.error, AssertionError, NotImplementedError, *_BAD_BOOK) as exc:
        if "encrypt" in str(exc).lower() or "password" in str(exc).lower():
            from strongroom.errors import QuarantineError

            raise QuarantineError("password protected", hint="save a copy without a password and ingest that") from exc
        raise ParseError("damaged workbook: it cannot be read", hint="get a fresh copy of the file") from exc
    return builder.build("application/vnd.ms-excel")


def _xls_grid(book: Any, sheet: Any, budget: CellBudget) -> Grid:
    grid = Grid(sheet.name, hidden=bool(sheet.visibility))
    for number in range(sheet.nrows):
        budget.take(sheet.row_len(number))
        grid.rows.append([_xls_text(book, cell) for cell in sheet.row(number)])
    grid.hidden_rows = {number for number, facts in sheet.rowinfo_map.items() if facts.hidden}
    grid.hidden_columns = {number for number, facts in sheet.colinfo_map.items() if facts.hidden}
    grid.merged = [(top, left, bottom - 1, right - 1) for top, bottom, left, right in sheet.merged_cells]
    return grid


def _xls_text(book: Any, cell: Any) -> str:
    import xlrd

    code = ""
    if cell.xf_index is not None and cell.xf_index < len(book.xf_list):
        known = book.format_map.get(book.xf_list[cell.xf_index].format_key)
        code = known.format_str if known is not None else ""
    if cell.ctype == xlrd.XL_CELL_DATE:
        try:
            return shown(xlrd.xldate_as_datetime(cell.value, book.datemode), code)
        except (xlrd.XLDateError, ValueError, OverflowError):
            return shown(cell.value)
    if cell.ctype == xlrd.XL_CELL_BOOLEAN:
        return shown(bool(cell.value))
    if cell.ctype == xlrd.XL_CELL_ERROR:
        return str(xlrd.error_text_from_code.get(cell.value, "#ERROR!"))
    return shown(cell.value or None if cell.ctype == xlrd.XL_CELL_TEXT else cell.value, code)


def parse_delimited(path: Path, mime: str) -> ParsedDocument:
    """A CSV or TSV file as one sheet; ragged rows, quotes, UTF-16 and semicolons are fine."""
    text, warnings, _ = read_text(path)
    delimiter = "\t" if mime == "text/tab-separated-values" else sniff_delimiter(text)
    csv.field_size_limit(10_000_000)
    builder = DocumentBuilder()
    for warning in warnings:
        builder.warn(warning)
    try:
        rows: list[Row] = list(_csv_rows(text, delimiter))
    except csv.Error as exc:
        raise ParseError(f"the table cannot be read: {exc}", hint="check the quotes in the file") from exc
    add_grid(builder, Grid("", rows=rows))
    return builder.build(mime)


def _csv_rows(text: str, delimiter: str) -> Iterator[list[str]]:
    budget = CellBudget()
    for row in csv.reader(io.StringIO(text), delimiter=delimiter):
        budget.take(len(row))
        yield [" ".join(cell.split()) for cell in row]


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
