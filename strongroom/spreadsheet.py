"""Tables as CSV, XLSX or JSON files, written so that no cell can run in a spreadsheet program, and read for questions.

Words of documents are untrusted: a cell that begins like a formula (`=`, `+`, `-`, `@`, tab, carriage return) gets an
apostrophe in front, by which spreadsheet programs show it as text (OWASP, "CSV injection"). Plain numbers are left
alone. In XLSX every cell is of the type text besides.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strongroom.errors import UsageError
from strongroom.files import replace_file

_STARTS = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")
_HARMLESS = re.compile(r"[-+]?\d+(?:[.,]\d+)*%?\Z|-+\Z")  # numbers, and the dash that stands for nothing
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")  # not allowed in XLSX
_LONGEST = 32_767  # characters of an XLSX cell
SUFFIXES = (".csv", ".xlsx", ".json")
MAX_ROWS = 100_000  # of a sheet that is read


def neutral(text: str) -> str:
    """The text as a cell that no spreadsheet program takes for a formula, also after it trims white space."""
    text = _CONTROL.sub("\ufffd", text)
    if text.lstrip(" \n\u00a0").startswith(_STARTS) and not _HARMLESS.match(text):
        text = "'" + text
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def suffix_of(path: Path) -> str:
    """`.csv`, `.xlsx` or `.json`. Raises `UsageError` for another."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(
            f"{path} is no table that can be written", hint=f"Name a file that ends in {', '.join(SUFFIXES)}."
        )
    return suffix


def write_table(path: Path, columns: Sequence[str], rows: Sequence[Sequence[str]], *, data: Any = None) -> None:
    """Write a table in the format of the file's suffix, in one step: the file is the old one or the new one.

    `data` is what a JSON file holds (by default one object a row); CSV and XLSX hold the rows.
    """
    suffix = suffix_of(path)
    if suffix == ".json":
        value = [dict(zip(columns, row, strict=True)) for row in rows] if data is None else data
        content = (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode()
    elif suffix == ".csv":
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerows([[neutral(cell) for cell in row] for row in [columns, *rows]])
        content = text.getvalue().encode("utf-8-sig")  # without the mark, Excel takes it for the local code page
    else:
        content = _xlsx([list(columns), *map(list, rows)])
    replace_file(path, content)


def _xlsx(rows: Sequence[Sequence[str]]) -> bytes:
    from openpyxl import Workbook  # type: ignore[import-untyped]
    from openpyxl.cell import WriteOnlyCell  # type: ignore[import-untyped]

    book = Workbook(write_only=True)
    sheet = book.create_sheet("Strongroom")
    for row in rows:
        cells = []
        for text in row:
            cell = WriteOnlyCell(sheet, value=neutral(text))
            cell.data_type = "s"
            cells.append(cell)
        sheet.append(cells)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def fill_xlsx(source: Path, out: Path, cells: Mapping[tuple[int, int], str]) -> None:
    """Write `source` with further cells, by 0-based row and column of its first worksheet.

    Formats, widths and formulas of the sheet's own cells stay as they are; cells merged over a place are parted.
    """
    from openpyxl import load_workbook
    from openpyxl.styles import Alignment  # type: ignore[import-untyped]

    book = load_workbook(source)
    sheet = book.worksheets[0]
    for merged in list(sheet.merged_cells.ranges):
        if any(
            merged.min_row <= row + 1 <= merged.max_row and merged.min_col <= column + 1 <= merged.max_col
            for row, column in cells
        ):
            sheet.unmerge_cells(str(merged))
    for (row, column), text in cells.items():
        cell = sheet.cell(row=row + 1, column=column + 1)
        cell.value = neutral(text)
        cell.data_type = "s"
        cell.alignment = Alignment(wrap_text=True, vertical="top")
    content = io.BytesIO()
    book.save(content)
    replace_file(out, content.getvalue())


# ------------------------------------------------------------------------------------------------ questionnaires


_ASKS = re.compile(r"\bquestions?\b|\brequirements?\b|\bfrage(?:n|text)?\b|\bprompts?\b", re.IGNORECASE)
_COUNTS = re.compile(r"\b(?:id|no|nr|number|nummer|type|category)\b\.?", re.IGNORECASE)  # "Question no."
_LONGEST_TITLE = 60  # characters; what is longer is a sentence about the sheet
_TITLES_WITHIN = 20  # rows; above the titles may stand the sheet's name and a word of introduction


@dataclass(frozen=True, slots=True)
class Grid:
    """The cells of a sheet as text."""

    rows: tuple[tuple[str, ...], ...]

    def questions(self, wanted: str | None) -> tuple[int, int]:
        """The 0-based row of the titles and column of the questions: by its title, its letter, or the first whose title
        speaks of questions.

        Raises `UsageError` when it is not there.
        """
        top = [[cell.strip() for cell in row] for row in self.rows[:_TITLES_WITHIN]]
        if not any(map(any, top)):
            raise UsageError("the sheet is empty", hint="Its first row holds titles; questions follow it.")
        found = self._named(top, wanted) if wanted is not None else _speaking(top)
        if found is None and wanted is not None:
            titles = next(row for row in top if any(row))
            raise UsageError(
                f"the sheet has no column {wanted!r}", hint=f"It has {', '.join(filter(None, titles)) or 'no titles'}."
            )
        if found is None and self.width == 1:
            found = next(i for i, row in enumerate(top) if any(row)), 0
        if found is None:
            raise UsageError("it is not clear which column holds the questions", hint="Name it with `--column`.")
        title = top[found[0]][found[1]]
        if title.endswith("?") and len(title.split()) > 3:
            raise UsageError(
                f"row {found[0] + 1} holds a question where a title is expected: {title}",
                hint='Put a row of titles above the questions, as in "Question".',
            )
        return found

    def _named(self, top: list[list[str]], wanted: str) -> tuple[int, int] | None:
        for i, row in enumerate(top):
            for j, title in enumerate(row):
                if title.casefold() == wanted.strip().casefold():
                    return i, j
        if not re.fullmatch(r"[A-Za-z]", wanted) or ord(wanted.upper()) - ord("A") >= self.width:
            return None
        column = ord(wanted.upper()) - ord("A")
        speaking = _speaking(top)
        if speaking is not None and column < len(top[speaking[0]]) and top[speaking[0]][column]:
            return speaking[0], column
        return next(((i, column) for i, row in enumerate(top) if column < len(row) and row[column]), None)

    @property
    def width(self) -> int:
        return max(map(len, self.rows), default=0)


def _speaking(top: list[list[str]]) -> tuple[int, int] | None:
    """The first title that speaks of questions; in a row of several titles before one that stands alone."""
    for fewest in (2, 1):
        for i, row in enumerate(top):
            if sum(map(bool, row)) >= fewest:
                for j, title in enumerate(row):
                    if len(title) <= _LONGEST_TITLE and _ASKS.search(title) and not _COUNTS.search(title):
                        return i, j
    return None


def read_grid(path: Path) -> Grid:
    """Read a CSV or XLSX sheet as text (formulas as their last values). Raises `UsageError`."""
    try:
        if path.suffix.lower() == ".xlsx":
            rows = _read_xlsx(path)
        else:
            data = path.read_bytes()
            wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # "Unicode text" of spreadsheet programs
            text = data.decode("utf-16" if wide else "utf-8-sig")
            try:
                dialect: Any = csv.Sniffer().sniff(text[:8192], delimiters=",;\t")
            except csv.Error:
                dialect = csv.excel
            rows = tuple(tuple(row) for row in csv.reader(io.StringIO(text, newline=""), dialect))
    except OSError as exc:
        raise UsageError(f"cannot read {path}: {exc.strerror}", hint="Give a CSV or XLSX file.") from exc
    except (UnicodeDecodeError, csv.Error) as exc:
        raise UsageError(
            f"{path} is neither XLSX nor a CSV file in UTF-8 ({exc})", hint="Save it as UTF-8 CSV or as XLSX."
        ) from exc
    if len(rows) > MAX_ROWS:
        raise UsageError(f"{path} has more than {MAX_ROWS:,} rows", hint="Split it.")
    last = max((i for i, row in enumerate(rows) if any(cell.strip() for cell in row)), default=-1)
    return Grid(rows[: last + 1])


def _read_xlsx(path: Path) -> tuple[tuple[str, ...], ...]:
    import zipfile

    from openpyxl import load_workbook
    from openpyxl.utils.exceptions import InvalidFileException  # type: ignore[import-untyped]

    try:
        book = load_workbook(path, read_only=True, data_only=True)
        sheet = book.worksheets[0]
        rows = tuple(
            tuple("" if value is None else str(value) for value in row)
            for row in sheet.iter_rows(max_row=MAX_ROWS + 1, values_only=True)
        )
        book.close()
    except (InvalidFileException, zipfile.BadZipFile, KeyError, ValueError, IndexError) as exc:
        raise UsageError(f"{path} is no XLSX file", hint="Save it again in a spreadsheet program.") from exc
    return rows
