"""The order in which the lines of a page are read, by where they stand."""

from __future__ import annotations

from statistics import median
from typing import Protocol, TypeVar

from strongroom.types import Box

_COLUMN_LINES = 4


class Placed(Protocol):
    """A line of print, or a piece of one between wide gaps."""

    @property
    def box(self) -> Box: ...


P = TypeVar("P", bound=Placed)


def reading_order(lines: list[P]) -> list[P]:
    """Lines as they are read: columns of prose one after the other, all else top down and left to right.

    A recursive cut along white space (after Nagy and Seth's XY-cut): a gutter between two columns of prose first,
    else the widest horizontal gap. Narrow columns are a table or a form, whose rows belong together, so no gutter is
    cut there.
    """
    if len(lines) < 2 * _COLUMN_LINES:
        return _by_rows(lines)
    gutter = _gutter(lines)
    if gutter is not None:
        left = [line for line in lines if (line.box[0] + line.box[2]) / 2 < gutter]
        right = [line for line in lines if (line.box[0] + line.box[2]) / 2 >= gutter]
        return reading_order(left) + reading_order(right)
    cut = _widest_gap(lines)
    if cut is None:
        return _by_rows(lines)
    above = [line for line in lines if line.box[1] < cut]
    below = [line for line in lines if line.box[1] >= cut]
    return reading_order(above) + reading_order(below)


def _by_rows(lines: list[P]) -> list[P]:
    """Rows from top to bottom, each from left to right; two lines share a row when half their height overlaps."""
    rows: list[list[P]] = []
    for line in sorted(lines, key=lambda item: (item.box[1] + item.box[3]) / 2):
        if rows and same_row(rows[-1][0], line):
            rows[-1].append(line)
        else:
            rows.append([line])
    return [line for row in rows for line in sorted(row, key=lambda item: item.box[0])]


def _gutter(lines: list[P]) -> float | None:
    """The x of a vertical white strip with a column of prose on either side, `None` when there is none."""
    left, right = min(line.box[0] for line in lines), max(line.box[2] for line in lines)
    height = median(line.box[3] - line.box[1] for line in lines)
    reach = left
    for line in sorted(lines, key=lambda item: item.box[0]):
        gap = line.box[0] - reach
        if gap > 0.4 * height and reach > left:
            middle = reach + gap / 2
            sides = [[x for x in lines if (x.box[0] < middle) == first] for first in (True, False)]
            if all(
                len(side) >= _COLUMN_LINES and median(x.box[2] - x.box[0] for x in side) > 0.25 * (right - left)
                for side in sides
            ):
                return middle
        reach = max(reach, line.box[2])
    return None


def _widest_gap(lines: list[P]) -> float | None:
    """The y where the widest horizontal white strip ends; `None` when nothing is wider than a fifth of a line."""
    ordered = sorted(lines, key=lambda item: item.box[1])
    widest, cut = 0.2 * median(line.box[3] - line.box[1] for line in lines), None
    reach = ordered[0].box[3]
    for line in ordered[1:]:
        if line.box[1] - reach > widest:
            widest, cut = line.box[1] - reach, line.box[1]
        reach = max(reach, line.box[3])
    return cut


def same_row(first: P, second: P) -> bool:
    overlap = min(first.box[3], second.box[3]) - max(first.box[1], second.box[1])
    return overlap > 0.5 * min(first.box[3] - first.box[1], second.box[3] - second.box[1])
