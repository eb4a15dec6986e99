"""Words of a page as lines of print: what stands side by side, whatever order the file has it in.

Geometry only. `em` is a line's height as the boxes give it, about 1.2 times the type size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ingest.parse.build import Boxes
from strongroom.types import Box

WORD_GAP = 0.5  # of a line's height: words closer than this are one phrase
CELL_GAP = 0.9  # further apart than this they may be two cells
TABLE_LINES = 2  # with fewer lines broken by wide gaps, a page holds no table


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of words without a wide gap, left to right; `words` are indexes into the page's words."""

    x0: float
    x1: float
    words: tuple[int, ...]
    y0: float = 0.0
    y1: float = 0.0

    @property
    def box(self) -> Box:
        return self.x0, self.y0, self.x1, self.y1

    @property
    def center(self) -> float:
        return (self.x0 + self.x1) / 2


@dataclass(frozen=True, slots=True)
class Row:
    """Words on one line of print, left to right."""

    words: tuple[int, ...]
    x0: float
    y0: float
    x1: float
    y1: float
    em: float

    @property
    def middle(self) -> float:
        return (self.y0 + self.y1) / 2


def visual_rows(boxes: Boxes, indexes: list[int] | None = None) -> list[Row]:
    """Rows from top to bottom; raised and lowered marks belong to the line they stand at."""
    chosen = np.flatnonzero(~np.isnan(boxes[:, 0])).tolist() if indexes is None else indexes
    if not chosen:
        return []
    # Plain lists: a page has hundreds of words and dozens of rows, too few for numpy to be worth its calls.
    part = boxes[chosen].tolist()
    heights = [box[3] - box[1] for box in part]
    tallest = 1.2 * sorted(heights)[len(part) // 2]  # a bullet's font may claim two lines
    heights = [height if height < tallest else tallest for height in heights]
    middles = [(box[1] + box[3]) / 2 for box in part]
    groups: list[list[int]] = []
    group: list[int] = []
    center = high = 0.0
    for i in sorted(range(len(part)), key=middles.__getitem__):
        middle, height = middles[i], heights[i]
        if group and middle - center <= 0.5 * (height if height > high else high):
            group.append(i)
            if height > high:
                high = height
            center += (middle - center) / len(group)
        else:
            group = [i]
            groups.append(group)
            center, high = middle, height
    lefts = [box[0] for box in part]
    rows = []
    for group in groups:
        group.sort(key=lefts.__getitem__)
        _, tops, rights, bottoms = zip(*[part[i] for i in group], strict=True)
        em = sorted([heights[i] for i in group])[len(group) // 2]
        rows.append(Row(tuple([chosen[i] for i in group]), lefts[group[0]], min(tops), max(rights), max(bottoms), em))
    return rows


def segments(row: Row, places: Sequence[Sequence[float]], gap: float) -> list[Segment]:
    """Cut a row where white space is wider than `gap` times its line height; `places` are the page's boxes as lists."""
    found: list[Segment] = []
    run: list[int] = []
    left = right = 0.0
    wide = gap * row.em
    for word in row.words:
        x0, _, x1, _ = places[word]
        if run and x0 - right > wide:
            found.append(Segment(left, right, tuple(run), row.y0, row.y1))
            run = []
        if not run:
            left, right = x0, x1
        run.append(word)
        if x1 > right:
            right = x1
    if run:
        found.append(Segment(left, right, tuple(run), row.y0, row.y1))
    return found


def wide_gaps(boxes: Boxes) -> int:
    """How many lines of print are broken by a wide gap, next to another such line: cheap, so that plain pages cost
    nothing more."""
    part = boxes[~np.isnan(boxes[:, 0])]
    if len(part) < 4:
        return 0
    # Bare ufuncs: `median`, `diff` and `unique` cost more than the rest, and every page comes through here.
    heights = np.sort(part[:, 3] - part[:, 1])
    em = float(heights[(len(part) - 1) // 2] + heights[len(part) // 2]) / 2
    middles = (part[:, 1] + part[:, 3]) / 2
    order = middles.argsort(kind="stable")
    middles = middles[order]
    line = np.zeros(len(part), dtype=np.int32)
    np.cumsum(middles[1:] - middles[:-1] > 0.4 * em, out=line[1:])
    by_line = np.lexsort((part[order, 0], line))
    lines, ordered = line[by_line], part[order[by_line]]
    gaps = ordered[1:, 0] - ordered[:-1, 2]
    broken = lines[1:][(lines[1:] == lines[:-1]) & (gaps > CELL_GAP * em)]
    return int(np.count_nonzero(broken[1:] - broken[:-1] == 1)) + 1
