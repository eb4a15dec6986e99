"""Word boxes of a page, packed small, and the boxes of a quote made from them.

A layout is a run of little-endian records `<IIffff`: start offset, end offset (document offsets), x0, y0, x1, y1 in
points with the origin at the top left. 24 bytes a word keep pickling and encryption cheap; a page of 500 words takes
12 kB before compression. Standard library only.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from strongroom.types import Box

_WORD = struct.Struct("<IIffff")


def pack_words(words: Iterable[tuple[int, int, float, float, float, float]]) -> bytes:
    """Pack `(start, end, x0, y0, x1, y1)` records in reading order."""
    return b"".join(_WORD.pack(*w) for w in words)


def unpack_words(layout: bytes) -> Iterator[tuple[int, int, float, float, float, float]]:
    """Yield the records of a packed layout. Raises `struct.error` if the length is not a whole number of records."""
    return _WORD.iter_unpack(layout)


def boxes_for(layout: bytes, start: int, end: int) -> tuple[Box, ...]:
    """Boxes that cover the words overlapping `[start, end)`, one for each run of words on a line.

    Two neighbouring words share a line when their vertical extents overlap by more than half of the smaller height and
    the second does not start far to the left (a new column or line) or far to the right (a column gap) of the first.
    """
    boxes: list[list[float]] = []
    for w_start, w_end, x0, y0, x1, y1 in unpack_words(layout):
        if w_end <= start:
            continue
        if w_start >= end:
            break
        if boxes and _same_line(boxes[-1], x0, y0, y1):
            last = boxes[-1]
            last[0], last[1] = min(last[0], x0), min(last[1], y0)
            last[2], last[3] = max(last[2], x1), max(last[3], y1)
        else:
            boxes.append([x0, y0, x1, y1])
    return tuple((round(b[0], 2), round(b[1], 2), round(b[2], 2), round(b[3], 2)) for b in boxes)


def _same_line(last: list[float], x0: float, y0: float, y1: float) -> bool:
    height = min(last[3] - last[1], y1 - y0)
    overlap = min(last[3], y1) - max(last[1], y0)
    near = last[0] - height <= x0 <= last[2] + 4 * max(height, 1.0)
    return near and overlap > 0.5 * height
