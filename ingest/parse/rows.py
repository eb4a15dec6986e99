"""Words of a page as lines of print: what stands side by side, whatever order the file has it in.

Geometry only. `em` is a line's height as the boxes give it, about 1.2 times the type size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ingest.parse.build import Boxes
from strongroom.types import Box

WORD_GAP = 0.5  # of a line's height: words closer than this are one phrase
CELL_GAP = 0.9  # further apart than this they may be two cells


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
    tallest = 1.2 * sorted(box[3] - box[1] for box in part)[len(part) // 2]  # a bullet's font may claim two lines
    heights = [min(box[3] - box[1], tallest) for box in part]
    middles = [(box[1] + box[3]) / 2 for box in part]
    groups: list[list[int]] = []
    center = height = 0.0
    for i in sorted(range(len(part)), key=middles.__getitem__):
        if groups and middles[i] - center <= 0.5 * max(height, heights[i]):
            groups[-1].append(i)
            height = max(height, heights[i])
            center += (middles[i] - center) / len(groups[-1])
        else:
            groups.append([i])
            center, height = middles[i], heights[i]
    rows = []
    for group in groups:
        group.sort(key=lambda i: part[i][0])
        rows.append(
            Row(
                tuple(chosen[i] for i in group),
                part[group[0]][0],
                min(part[i][1] for i in group),
                max(part[i][2] for i in group),
                max(part[i][3] for i in group),
                sorted(heights[i] for i in group)[len(group) // 2],
            )
        )
    return rows


def segments(row: Row, boxes: Boxes, gap: float) -> list[Segment]:
    """Cut a row where white space is wider than `gap` times its line height."""
    found: list[Segment] = []
    run: list[int] = []
    left = right = 0.0
    for word, (x0, _, x1, _) in zip(row.words, boxes[list(row.words)].tolist(), strict=True):
        if run and x0 - right > gap * row.em:
            found.append(Segment(left, right, tuple(run), row.y0, row.y1))
            run = []
        if not run:
            left, right = x0, x1
        run.append(word)
        right = max(right, x1)
    if run:
        found.append(Segment(left, right, tuple(run), row.y0, row.y1))
    return found


def wide_gaps(boxes: Boxes) -> int:
    """How many lines of print are broken by a wide gap, next to another such line: cheap, so that plain pages cost
    nothing more."""
    part = boxes[~np.isnan(boxes[:, 0])]
    if len(part) < 4:
        return 0
    heights = part[:, 3] - part[:, 1]
    em = float(np.median(heights))
    middles = (part[:, 1] + part[:, 3]) / 2
    order = np.argsort(middles, kind="stable")
    line = np.cumsum(np.diff(middles[order], prepend=middles[order[0]]) > 0.4 * em)
    by_line = np.lexsort((part[order, 0], line))
    lines, ordered = line[by_line], part[order][by_line]
    gaps = ordered[1:, 0] - ordered[:-1, 2]
    broken = lines[1:][(lines[1:] == lines[:-1]) & (gaps > CELL_GAP * em)]
    return int((np.diff(np.unique(broken)) == 1).sum()) + 1
