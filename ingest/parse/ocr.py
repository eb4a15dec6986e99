"""Plain OCR of one page image by rapidocr; its three ONNX models ride in the wheel, nothing is fetched.

Lines come back in reading order, columns one after the other, with boxes in points and the engine's confidence. A
line's box is shared out over its words by their length, because the engine measures lines. Must only run in a parser
child.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest.parse.build import Words
from strongroom.errors import ParseError
from strongroom.types import Box

MIN_SCORE = 0.5
_MAX_SIDE = 2000
_COLUMN_LINES = 4


@dataclass(frozen=True, slots=True)
class OcrLine:
    """One line of text, its box in points (origin top left) and the engine's confidence, 0 to 1."""

    text: str
    box: Box
    score: float


@dataclass(frozen=True, slots=True)
class OcrPage:
    """Lines in reading order; `confidence` is their mean weighted by length, 0 when there are none."""

    lines: tuple[OcrLine, ...]
    confidence: float


@lru_cache(maxsize=1)
def _engine() -> Any:
    """The recogniser, loaded once a process (about a second). Raises `ParseError` when its models are not installed."""
    import rapidocr

    models = Path(rapidocr.__file__).parent / "models"
    # rapidocr fetches a model that is missing: refuse before it can try.
    if len(list(models.glob("*.onnx"))) < 3:
        raise ParseError("OCR models are not installed", hint="reinstall the rapidocr package from its full wheel")
    threads = max(1, min(2, len(os.sched_getaffinity(0)) // 2))
    return rapidocr.RapidOCR(
        params={
            "Global.log_level": "critical",
            "Global.text_score": MIN_SCORE,
            "Global.max_side_len": _MAX_SIDE,
            "EngineConfig.onnxruntime.intra_op_num_threads": threads,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        }
    )


def read_image(image: NDArray[np.uint8], *, points_per_pixel: float) -> OcrPage:
    """Recognise a page image of shape `(height, width, 3)`, blue-green-red, as displayed."""
    output = _engine()(image)
    if output is None or output.boxes is None or not output.txts:
        return OcrPage((), 0.0)
    lines = []
    for corners, text, score in zip(output.boxes, output.txts, output.scores, strict=True):
        cleaned = " ".join(str(text).split())
        if not cleaned:
            continue
        xs, ys = corners[:, 0] * points_per_pixel, corners[:, 1] * points_per_pixel
        box = (float(xs.min()), float(ys.min()), float(xs.max()), float(ys.max()))
        lines.append(OcrLine(cleaned, box, float(score)))
    ordered = tuple(reading_order(lines))
    weight = sum(len(line.text) for line in ordered)
    confidence = sum(line.score * len(line.text) for line in ordered) / weight if weight else 0.0
    return OcrPage(ordered, round(confidence, 4))


def reading_order(lines: list[OcrLine]) -> list[OcrLine]:
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


def _by_rows(lines: list[OcrLine]) -> list[OcrLine]:
    """Rows from top to bottom, each from left to right; two lines share a row when half their height overlaps."""
    rows: list[list[OcrLine]] = []
    for line in sorted(lines, key=lambda item: (item.box[1] + item.box[3]) / 2):
        if rows and _same_row(rows[-1][0], line):
            rows[-1].append(line)
        else:
            rows.append([line])
    return [line for row in rows for line in sorted(row, key=lambda item: item.box[0])]


def _gutter(lines: list[OcrLine]) -> float | None:
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


def _widest_gap(lines: list[OcrLine]) -> float | None:
    """The y where the widest horizontal white strip ends; `None` when nothing is wider than a fifth of a line."""
    ordered = sorted(lines, key=lambda item: item.box[1])
    widest, cut = 0.2 * median(line.box[3] - line.box[1] for line in lines), None
    reach = ordered[0].box[3]
    for line in ordered[1:]:
        if line.box[1] - reach > widest:
            widest, cut = line.box[1] - reach, line.box[1]
        reach = max(reach, line.box[3])
    return cut


def _same_row(first: OcrLine, second: OcrLine) -> bool:
    overlap = min(first.box[3], second.box[3]) - max(first.box[1], second.box[1])
    return overlap > 0.5 * min(first.box[3] - first.box[1], second.box[3] - second.box[1])


def words_of(page: OcrPage) -> Words:
    """The page's words: one line of text a row, a blank line where the page leaves one."""
    spaces: list[str] = []
    texts: list[str] = []
    boxes: list[Box] = []
    previous: OcrLine | None = None
    for line in page.lines:
        x0, y0, x1, y1 = line.box
        step = (x1 - x0) / max(len(line.text), 1)
        offset = 0
        space = _space_between(previous, line)
        for word in line.text.split(" "):
            spaces.append(space)
            texts.append(word)
            boxes.append((x0 + offset * step, y0, x0 + (offset + len(word)) * step, y1))
            offset += len(word) + 1
            space = " "
        previous = line
    return Words(spaces, texts, np.array(boxes, dtype=np.float32).reshape(-1, 4))


def _space_between(previous: OcrLine | None, line: OcrLine) -> str:
    if previous is None:
        return ""
    if _same_row(previous, line):
        return " "
    height = min(line.box[3] - line.box[1], previous.box[3] - previous.box[1])
    return "\n\n" if line.box[1] - previous.box[3] > 0.9 * height else "\n"
