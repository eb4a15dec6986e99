"""The body of a table: lines of print as rows of cells, and what only looks like a table."""

from __future__ import annotations

import re
from bisect import bisect_right
from itertools import pairwise
from statistics import median

from ingest.parse.rows import CELL_GAP, WORD_GAP, Row
from ingest.parse.tables.cells import SIGN, TablePage
from ingest.parse.tables.head import centered, cut, is_body

_MARKER = re.compile(r"([•●○■▪–—*·\-\ue000-\uf8ff]|\(?[A-Za-z0-9]{1,4}[.)]|\d+(\.\d+)*\.?)$")


Held = dict[tuple[int, int], list[int]]


def body_rows(page: TablePage, body: list[Row], borders: list[float]) -> list[Held]:
    """Rows of the body as words by columns; lines of print that continue the row above are joined to it."""
    rows: list[Held] = []
    gaps = [below.y0 - above.y1 for above, below in pairwise(body)]
    em = median(row.em for row in body)
    tight, wide = (min(gaps), max(gaps)) if gaps else (0.0, 0.0)
    numbers = sum(is_body(page, row, borders) for row in body)
    prose = 3 * numbers < len(body)
    spaced = (
        prose
        and not _lined_up(page, body, borders, tight + 0.25 * em)
        and wide - tight > 0.3 * em
        and sum(gap < tight + 0.15 * em for gap in gaps) * 4 > len(gaps)
    )
    previous: Row | None = None
    left, right = min(row.x0 for row in body), max(row.x1 for row in body)
    for row in body:
        held: Held = {}
        parts = page.segments(row, WORD_GAP)
        if len(parts) == 1 and not page.numeric(row.words) and centered(row, left, right):
            rows.append({(0, 0): list(row.words)})  # a heading of the rows below it
            previous = row
            continue
        for part in parts:
            for piece in cut(page, part, borders, row.em):
                first = bisect_right(borders, page.centers[piece.words[0]])
                held.setdefault((first, first), []).extend(piece.words)
        gap = row.y0 - previous.y1 if previous is not None else 0.0
        if rows and _continues(page, rows[-1], held, gap=gap, em=em, prose=prose, spaced=spaced, tight=tight):
            for columns, words in held.items():
                rows[-1].setdefault(columns, []).extend(words)
        else:
            _move_signs(page, held)
            rows.append(held)
        previous = row
    return rows


def _move_signs(page: TablePage, held: Held) -> None:
    """A currency sign at the end of a cell belongs to the number in the next one."""
    for columns in sorted(held):
        right = held.get((columns[0] + 1, columns[1] + 1))
        if right and len(held[columns]) > 1 and SIGN.match(page.texts[held[columns][-1]]):
            right.insert(0, held[columns].pop())


def _lined_up(page: TablePage, body: list[Row], borders: list[float], reach: float) -> bool:
    """True when most lines of print close below another one fill the first column and one more: rows of their own."""
    close = [row for above, row in pairwise(body) if row.y0 - above.y1 < reach]
    full = sum(row.x0 < borders[0] < row.x1 and len(page.segments(row, CELL_GAP)) > 1 for row in close)
    return 2 * full > len(close)


def _continues(
    page: TablePage, above: Held, held: Held, *, gap: float, em: float, prose: bool, spaced: bool, tight: float
) -> bool:
    """True when a line of print goes on with the cells of the row above it."""
    if gap > 0.6 * em:
        return False
    if spaced:
        return gap < tight + 0.25 * em
    numeric = any(page.numeric(words) for columns, words in held.items() if columns[0] > 0)
    first, above_first = held.get((0, 0)), above.get((0, 0))
    if first is None:
        return not numeric and all(columns in above for columns in held)
    if above_first is None or not page.texts[first[0]][:1].islower():
        return False
    # "of cash flows" below "Effect of exchange rates on": one of the two lines carries the values.
    return len(above) == 1 or len(held) == 1 or (prose and not numeric)


def is_prose(page: TablePage, rows: list[Held], columns: int, extents: list[tuple[float, float]]) -> bool:
    """True for what only looks like a table: columns of running text, lists with their marks, lists of contents."""
    by_column: list[list[list[int]]] = [[] for _ in range(columns)]
    for held in rows:
        for (first, _), words in held.items():
            by_column[first].append(words)
    if any(not cells for cells in by_column[:1]):
        return True
    running = 0
    for column, cells in enumerate(by_column):
        if not cells:
            continue
        width = max(extents[column][1] - extents[column][0], 1.0)
        full = [
            page.places[words[-1]][2] - page.places[words[0]][0] > 0.75 * width and len(words) >= 4 for words in cells
        ]
        running += 2 * sum(full) >= len(cells) and len(cells) >= 3 and median(len(words) for words in cells) >= 4
    if running >= 2 or (running and columns == 2 and sum(len(held) > 1 for held in rows) * 2 < len(rows)):
        return True
    markers = [len(words) == 1 and bool(_MARKER.match(page.texts[words[0]])) for words in by_column[0]]
    return columns == 2 and 5 * sum(markers) >= 4 * len(markers)
