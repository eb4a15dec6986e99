"""Words of a page as lines of print: what stands side by side, whatever order the file has it in.

Geometry only. `em` is a line's height as the boxes give it, about 1.2 times the type size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ingest.parse.build import Boxes

WORD_GAP = 0.5  # of a line's height: words closer than this are one phrase
CELL_GAP = 0.9  # further apart than this they may be two cells


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of words without a wide gap, left to right; `words` are indexes into the page's words."""

    x0: float
    x1: float
    words: tuple[int, ...]

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
    chosen = np.flatnonzero(~np.isnan(boxes[:, 0])) if indexes is None else np.array(indexes, dtype=np.int64)
    if not len(chosen):
        return []
    part = boxes[chosen]
    middles, heights = (part[:, 1] + part[:, 3]) / 2, part[:, 3] - part[:, 1]
    heights = np.minimum(heights, 1.2 * np.median(heights))  # a bullet's font may claim two lines
    groups: list[list[int]] = []
    center = height = 0.0
    for i in np.argsort(middles, kind="stable").tolist():
        middle, tall = float(middles[i]), float(heights[i])
        if groups and middle - center <= 0.5 * max(height, tall):
            groups[-1].append(i)
            if tall > height:
                height = tall
            center += (middle - center) / len(groups[-1])
        else:
            groups.append([i])
            center, height = middle, tall
    rows = []
    for group in groups:
        group.sort(key=lambda i: float(part[i, 0]))
        box = part[group]
        rows.append(
            Row(
                tuple(chosen[group].tolist()),
                float(box[:, 0].min()),
                float(box[:, 1].min()),
                float(box[:, 2].max()),
                float(box[:, 3].max()),
                float(np.median(heights[group])),
            )
        )
    return rows


def segments(row: Row, boxes: Boxes, gap: float) -> list[Segment]:
    """Cut a row where white space is wider than `gap` times its line height."""
    found: list[Segment] = []
    run: list[int] = []
    left = right = 0.0
    for word in row.words:
        x0, x1 = float(boxes[word, 0]), float(boxes[word, 2])
        if run and x0 - right > gap * row.em:
            found.append(Segment(left, right, tuple(run)))
            run = []
        if not run:
            left, right = x0, x1
        run.append(word)
        right = max(right, x1)
    if run:
        found.append(Segment(left, right, tuple(run)))
    return found


def wide_gaps(boxes: Boxes) -> int:
    """How many lines of print are broken by a wide gap: cheap, so that plain pages cost nothing more."""
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
    return len(np.unique(broken))
