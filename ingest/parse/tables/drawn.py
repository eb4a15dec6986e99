"""Tables drawn as grids: squares between ruling lines, joined where no line parts them."""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise

import numpy as np

from ingest.parse.rows import visual_rows
from ingest.parse.rulings import Line, clusters
from ingest.parse.tables.cells import MOST_COLUMNS, YEAR, Cell, Table, TablePage, finished, is_number


def drawn(page: TablePage, across: list[Line], down: list[Line]) -> Table | None:
    """A grid of lines as a table, or `None` when it frames something else."""
    ys = [float(np.mean([across[i].at for i in g])) for g in clusters([line.at for line in across], 3.0)]
    xs = [float(np.mean([down[i].at for i in g])) for g in clusters([line.at for line in down], 3.0)]
    if len(ys) < 2 or len(xs) < 2:
        return None
    top, bottom = ys[0], ys[-1]
    # Rows may reach beyond the outer vertical lines: their horizontal lines say how far.
    left, right = min(line.start for line in across), max(line.end for line in across)
    if xs[0] - left > 20:
        xs.insert(0, left)
    if right - xs[-1] > 20:
        xs.append(right)
    if min(_covered(across, at, xs) for at in (top, bottom)) < 0.6:
        return None  # pieces of lines that happen to touch
    boxes = page.boxes
    middle = (boxes[:, 1] + boxes[:, 3]) / 2
    center = (boxes[:, 0] + boxes[:, 2]) / 2
    with np.errstate(invalid="ignore"):
        inside = np.flatnonzero((middle > top) & (middle < bottom) & (center > xs[0] - 2) & (center < xs[-1] + 2))
    if len(inside) < 4 or not 2 <= len(xs) - 1 <= MOST_COLUMNS:
        return None
    ys = _with_text_rows(page, inside.tolist(), xs, ys)
    if len(ys) < 3:
        return None
    grid = _Grid(xs, ys, across, down)
    cells = grid.cells()
    place: dict[tuple[int, int], Cell] = {}
    for cell in cells:
        for row in range(cell.row, cell.row_end + 1):
            for column in range(cell.column, cell.column_end + 1):
                place[row, column] = cell
    for word in inside.tolist():
        row = min(max(bisect_right(ys, float(middle[word])) - 1, 0), len(ys) - 2)
        column = min(max(bisect_right(xs, float(center[word])) - 1, 0), len(xs) - 2)
        place[row, column].words.append(word)
    filled = [cell for cell in cells if cell.words]
    for cell in filled:
        cell.words = [word for row in visual_rows(boxes, cell.words) for word in row.words]
    table = finished(page, filled, (xs[0], top, xs[-1], bottom), head=0)
    if table is not None:
        table.head = _head_rows(page, table.cells, table.rows)
    return table


def _covered(across: list[Line], at: float, xs: list[float]) -> float:
    """How much of the width the lines at one height cover."""
    length = sum(line.end - line.start for line in across if abs(line.at - at) <= 3.5)
    return length / (xs[-1] - xs[0])


def _with_text_rows(page: TablePage, inside: list[int], xs: list[float], ys: list[float]) -> list[float]:
    """Heights of row borders: the lines, and the space between lines of print where a band holds rows of numbers."""
    rows = visual_rows(page.boxes, inside)
    out = list(ys)
    for top, bottom in pairwise(ys):
        band = [row for row in rows if top < row.middle < bottom]
        if len(band) < 2:
            continue
        full = 0
        for row in band:
            columns = {bisect_right(xs, page.centers[w]) for w in row.words}
            numbers = sum(1 for word in row.words if is_number(page.texts[word]))
            full += len(columns) > 1 and 2 * numbers >= len(row.words) - 2 and numbers > 0
        if full < 2 or 2 * full < len(band):
            continue
        out += [(above.y1 + below.y0) / 2 for above, below in pairwise(band)]
    return sorted(out)


class _Grid:
    """Grid squares, joined where no line parts them."""

    def __init__(self, xs: list[float], ys: list[float], across: list[Line], down: list[Line]) -> None:
        self.xs, self.ys = xs, ys
        self._across, self._down = across, down

    def cells(self) -> list[Cell]:
        rows, columns = len(self.ys) - 1, len(self.xs) - 1
        owner: dict[tuple[int, int], Cell] = {}
        found: list[Cell] = []
        for row in range(rows):
            for column in range(columns):
                if (row, column) in owner:
                    continue
                right = column
                while right + 1 < columns and (row, right + 1) not in owner and not self._parted_right(row, right):
                    right += 1
                bottom = row
                while bottom + 1 < rows and all(not self._parted_below(bottom, c) for c in range(column, right + 1)):
                    bottom += 1
                cell = Cell(row, column, bottom, right, [])
                found.append(cell)
                for r in range(row, bottom + 1):
                    for c in range(column, right + 1):
                        owner[r, c] = cell
        return found

    def _parted_right(self, row: int, column: int) -> bool:
        at, middle = self.xs[column + 1], (self.ys[row] + self.ys[row + 1]) / 2
        return any(abs(line.at - at) <= 3.5 and line.covers(middle) for line in self._down) or not any(
            abs(line.at - at) <= 3.5 for line in self._down
        )

    def _parted_below(self, row: int, column: int) -> bool:
        at, middle = self.ys[row + 1], (self.xs[column] + self.xs[column + 1]) / 2
        near = [line for line in self._across if abs(line.at - at) <= 3.5]
        # Outside the vertical lines rows are parted like those beside them.
        return not near or self._open(column) or any(line.covers(middle) for line in near)

    def _open(self, column: int) -> bool:
        sides = (self.xs[column], self.xs[column + 1])
        return any(all(abs(line.at - side) > 3.5 for line in self._down) for side in sides)


def _head_rows(page: TablePage, cells: list[Cell], rows: int) -> int:
    """Rows of a drawn grid above the first one that holds numbers; one when there are only words."""
    for row in range(rows):
        held = [cell for cell in cells if cell.row <= row <= cell.row_end and cell.column > 0]
        if not held:
            continue
        numbers = sum(1 for cell in held if page.numeric(cell.words))
        years = all(YEAR.match(page.text(cell.words)) for cell in held)
        if 2 * numbers >= len(held) and not years:
            return row if row <= 5 else 1
    first = [cell for cell in cells if cell.row == 0]
    return 1 if len(first) > 1 and all(len(cell.words) <= 8 for cell in first) else 0
