"""Cells, tables, and what the words of a page look like to those that look for them."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field

from ingest.parse.build import Words
from ingest.parse.rows import Row, Segment, segments
from ingest.parse.rulings import Rulings
from strongroom.types import Box

MOST_COLUMNS = 60
_LEAST_FILLED = 0.35
_NUMBER = re.compile(r"[\d.,:/%$€£¥()\[\]*†‡§+±<>=~\-–—−]+[a-z]?\)?$")
_MISSING = frozenset({"na", "n/a", "(x)", "x", "nm", "nil", "none"})
SIGN = re.compile(r"[$€£¥]$")
YEAR = re.compile(r"\(?(19|20)\d\d([-–/]\d{2,4})?\)?[,:*]?$")


@dataclass(slots=True)
class Cell:
    """A cell over rows `row..row_end` and columns `column..column_end`, both inclusive."""

    row: int
    column: int
    row_end: int
    column_end: int
    words: list[int]


@dataclass(slots=True)
class Table:
    """Cells with words, in reading order; the first `head` rows name the columns."""

    box: Box
    rows: int
    columns: int
    head: int
    cells: list[Cell] = field(default_factory=list)

    def words(self) -> set[int]:
        return {word for cell in self.cells for word in cell.words}


class TablePage:
    def __init__(self, words: Words, rulings: Rulings) -> None:
        self.texts = words.texts
        self.boxes = words.boxes
        self.places = words.boxes.tolist()  # one word's box at a time is far cheaper to take from lists
        self.centers = ((words.boxes[:, 0] + words.boxes[:, 2]) / 2).tolist()
        self.rulings = rulings
        self._segments: dict[tuple[tuple[int, ...], float], list[Segment]] = {}

    def segments(self, row: Row, gap: float) -> list[Segment]:
        """A row cut at gaps wider than `gap` line heights; kept, because every step asks again."""
        key = (row.words, gap)
        if key not in self._segments:
            self._segments[key] = segments(row, self.places, gap)
        return self._segments[key]

    def text(self, words: list[int] | tuple[int, ...]) -> str:
        return " ".join(self.texts[word] for word in words)

    def numeric(self, words: list[int] | tuple[int, ...]) -> bool:
        """True for a number, a dash, or a mark that there is none."""
        return all(is_number(self.texts[word]) for word in words)


def is_number(text: str) -> bool:
    return bool(_NUMBER.match(text)) or text.lower() in _MISSING


def finished(page: TablePage, cells: list[Cell], box: Box, *, head: int) -> Table | None:
    """Renumber rows and columns without the empty ones; `None` when what is left is no table."""
    cells = _without_titles(cells, max((cell.column_end for cell in cells), default=0))
    used_rows = sorted({row for cell in cells for row in (cell.row, cell.row_end)})
    used_columns = sorted({cell.column for cell in cells})
    starts = sorted({cell.row for cell in cells})
    if len(starts) < 2 or len(used_columns) < 2 or len(cells) < 4:
        return None
    if len(cells) < _LEAST_FILLED * len(starts) * len(used_columns):
        return None  # a chart, or a form
    rows = sorted(starts)
    row_of = {row: bisect_right(rows, row) - 1 for row in used_rows}
    for cell in cells:
        cell.row, cell.row_end = row_of[cell.row], row_of[cell.row_end]
        cell.column, cell.column_end = (
            bisect_right(used_columns, cell.column) - 1,
            bisect_right(used_columns, cell.column_end) - 1,
        )
    cells.sort(key=lambda cell: (cell.row, cell.column))
    return Table(box, len(rows), len(used_columns), sum(row < head for row in rows), cells)


def _without_titles(cells: list[Cell], last_column: int) -> list[Cell]:
    """Without rows at the top and bottom that are one cell of running text: a title or notes inside the frame."""
    while cells:
        for edge in (min(cell.row for cell in cells), max(cell.row for cell in cells)):
            row = [cell for cell in cells if cell.row <= edge <= cell.row_end]
            whole = len(row) == 1 and row[0].column == 0 and row[0].column_end == last_column
            if len(row) == 1 and (whole or len(row[0].words) > 8):
                cells = [cell for cell in cells if cell is not row[0]]
                break
        else:
            break
    return cells
