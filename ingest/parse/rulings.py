"""Ruling lines: straight horizontal and vertical strokes, and the edges of filled boxes, joined where they continue.

Both drawn tables and the rules above and below a table's head are made of them. Knows nothing of text.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from strongroom.types import Box

THIN = 3.0  # points: a box thinner than this is a line
SHORT = 6.0
JOIN = 3.5
MOST = 3000


@dataclass(frozen=True, slots=True)
class Line:
    """A straight line: `at` is its y (horizontal) or x (vertical), from `start` to `end` along the other axis."""

    at: float
    start: float
    end: float

    def covers(self, position: float, slack: float = 2.0) -> bool:
        return self.start - slack <= position <= self.end + slack


@dataclass(frozen=True, slots=True)
class Rulings:
    """The lines of a page, each way sorted by position."""

    horizontal: tuple[Line, ...] = ()
    vertical: tuple[Line, ...] = ()


def from_boxes(boxes: Iterable[Box]) -> Rulings:
    """Lines from the boxes of drawn paths: a thin box is a line, any other gives its four edges."""
    across: list[Line] = []
    down: list[Line] = []
    for x0, y0, x1, y1 in boxes:
        width, height = x1 - x0, y1 - y0
        if height <= THIN and width > SHORT:
            across.append(Line((y0 + y1) / 2, x0, x1))
        elif width <= THIN and height > SHORT:
            down.append(Line((x0 + x1) / 2, y0, y1))
        elif width > SHORT and height > SHORT:
            across += [Line(y0, x0, x1), Line(y1, x0, x1)]
            down += [Line(x0, y0, y1), Line(x1, y0, y1)]
        if len(across) > MOST or len(down) > MOST:
            return Rulings()  # a drawing, not a table
    return Rulings(_joined(across), _joined(down))


def _joined(lines: list[Line]) -> tuple[Line, ...]:
    """Pieces of one line (a cell's border each) as one; lines closer than `THIN` are the same."""
    out: list[Line] = []
    for group in clusters([line.at for line in lines], THIN):
        pieces = sorted((lines[i] for i in group), key=lambda line: line.start)
        at = float(np.mean([piece.at for piece in pieces]))
        start, end = pieces[0].start, pieces[0].end
        for piece in pieces[1:]:
            if piece.start <= end + JOIN:
                end = max(end, piece.end)
            else:
                out.append(Line(at, start, end))
                start, end = piece.start, piece.end
        out.append(Line(at, start, end))
    return tuple(out)


def clusters(values: list[float], reach: float) -> list[list[int]]:
    """Indexes of values, grouped where neighbours lie within `reach` of the group's first, in ascending order."""
    groups: list[list[int]] = []
    first = 0.0
    for i in sorted(range(len(values)), key=values.__getitem__):
        if groups and values[i] - first <= reach:
            groups[-1].append(i)
        else:
            groups.append([i])
            first = values[i]
    return groups


def frames(rulings: Rulings) -> list[tuple[list[Line], list[Line]]]:
    """Lines that touch one another: the horizontal and vertical lines of each drawn grid."""
    across, down = rulings.horizontal, rulings.vertical
    if len(across) < 2 or len(down) < 2:
        return []
    y, left, right = (np.array([getattr(line, name) for line in across]) for name in ("at", "start", "end"))
    x, top, bottom = (np.array([getattr(line, name) for line in down]) for name in ("at", "start", "end"))
    touch = (left[:, None] - JOIN <= x) & (x <= right[:, None] + JOIN)
    touch &= (top - JOIN <= y[:, None]) & (y[:, None] <= bottom + JOIN)
    left_over = np.ones(len(across), dtype=bool)
    found = []
    for seed in range(len(across)):
        if not left_over[seed]:
            continue
        rows = np.zeros(len(across), dtype=bool)
        rows[seed] = True
        while True:
            columns = touch[rows].any(axis=0)
            grown = rows | touch[:, columns].any(axis=1)
            if (grown == rows).all():
                break
            rows = grown
        left_over &= ~rows
        if rows.sum() > 1 and columns.sum() > 1:
            found.append(([across[i] for i in np.flatnonzero(rows)], [down[i] for i in np.flatnonzero(columns)]))
    return found
