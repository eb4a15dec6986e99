"""Tables as CSV, XLSX or JSON files, written so that no cell can run in a spreadsheet program, and read for questions.

Words of documents are untrusted: a cell that begins like a formula (`=`, `+`, `-`, `@`, tab, carriage return) gets an
apostrophe in front, by which spreadsheet programs show it as text (OWASP, "CSV injection"). Plain numbers are left
alone. In XLSX every cell is of the type text besides.
"""

from __future__ import annotations

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


def fill_xlsx(
    source: Path, out: Path, *, first: int, columns: Sequence[str], rows: Mapping[int, Sequence[str]]
) -> None:
    """Write `source` with further columns from the 0-based column `first` on; `rows` are cells by 0-based row.

    Formats, widths and formulas of the first worksheet's own cells stay as they are.
    """
    from openpyxl import load_workbook
    from openpyxl.styles import Alignment  # type: ignore[import-untyped]

    book = load_workbook(source)
    sheet = book.worksheets[0]
    for row, cells in {0: columns, **rows}.items():
        for offset, text in enumerate(cells):
            cell = sheet.cell(row=row + 1, column=first + offset + 1)
            cell.value = neutral(text)
            cell.data_type = "s"
            cell.alignment = Alignment(wrap_text=True, vertical="top")
    content = io.BytesIO()
    book.save(content)
    replace_file(out, content.getvalue())


# ------------------------------------------------------------------------------------------------ questionnaires


@dataclass(frozen=True, slots=True)
class Grid:
    """The cells of a sheet as text; the first row holds titles."""

    rows: tuple[tuple[str, ...], ...]

    def column(self, wanted: str | None) -> int:
        """The 0-based column of the questions: by its title, its letter, or the first whose title speaks of questions.

        Raises `UsageError` when it is not there.
        """
        titles = [cell.strip() for cell in (self.rows[0] if self.rows else ())]
        if wanted is not None:
            for i, title in enumerate(titles):
                if title.casefold() == wanted.strip().casefold():
                    return i
            if re.fullmatch(r"[A-Za-z]", wanted) and ord(wanted.upper()) - ord("A") < self.width:
                return ord(wanted.upper()) - ord("A")
            raise UsageError(f"the sheet has no column {wanted!r}", hint=f"It has {', '.join(titles) or 'no titles'}.")
        for i, title in enumerate(titles):
            if re.search(r"question|requirement|frage|prompt", title, re.IGNORECASE):
                return i
        if self.width == 1:
            return 0
        raise UsageError("it is not clear which column holds the questions", hint="Name it with `--column`.")

    @property
    def width(self) -> int:
        return max(map(len, self.rows), default=0)


def read_grid(path: Path) -> Grid:
    """Read a CSV or XLSX sheet as text (formulas as their last values). Raises `UsageError`."""
    try:
        if path.suffix.lower() == ".xlsx":
            rows = _read_xlsx(path)
        else:
            with path.open(encoding="utf-8-sig", newline="") as source:
                text = source.read()
            try:
                dialect: Any = csv.Sniffer().sniff(text[:8192], delimiters=",;\t")
            except csv.Error:
                dialect = csv.excel
            rows = tuple(tuple(row) for row in csv.reader(io.StringIO(text, newline=""), dialect))
    except OSError as exc:
        raise UsageError(f"cannot read {path}: {exc.strerror}", hint="Give a CSV or XLSX file.") from exc
    except (UnicodeDecodeError, csv.Error) as exc:
        raise UsageError(f"{path} is no CSV file in UTF-8 ({exc})", hint="Save it as UTF-8 CSV or as XLSX.") from exc
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
