"""Plain OCR of one page image by rapidocr; its three ONNX models ride in the wheel, nothing is fetched.

Lines come back in reading order, columns one after the other, with boxes in points and the engine's confidence. A
line's box is shared out over its words by their length, because the engine measures lines. A page that lies on its side
or upside down is turned upright first, and its boxes are turned back. Must only run in a parser child.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest.parse.build import Words
from ingest.parse.geometry import turned
from ingest.parse.order import reading_order, same_row
from strongroom.errors import ParseError
from strongroom.types import Box

MIN_SCORE = 0.5
_MAX_SIDE = 2000
_TELLING = 6  # characters from which a line says which way it lies
_ASKED = 12


@dataclass(frozen=True, slots=True)
class OcrLine:
    """One line of text, its box in points (origin top left) and the engine's confidence, 0 to 1."""

    text: str
    box: Box
    score: float


@dataclass(frozen=True, slots=True)
class OcrPage:
    """Lines in reading order; `confidence` is their mean weighted by length, 0 when there are none.

    Boxes are those of the page turned upright, `width` x `height` points; turning it clockwise by `quarters` quarter
    turns gives the page as displayed.
    """

    lines: tuple[OcrLine, ...]
    confidence: float
    quarters: int = 0
    width: float = 0.0
    height: float = 0.0


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
    quarters = _quarters(image, output)
    if quarters:
        image = np.ascontiguousarray(np.rot90(image, quarters))  # counter-clockwise
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
    height, width = (side * points_per_pixel for side in image.shape[:2])
    return OcrPage(ordered, round(confidence, 4), quarters, width, height)


def _quarters(image: NDArray[np.uint8], output: Any) -> int:
    """Counter-clockwise quarter turns that set the page upright, by the longest lines found on it.

    Lines that are taller than wide lie on their side; which way is up is for the engine's own line classifier to say.
    """
    spans = [
        (float(c[:, 0].min()), float(c[:, 1].min()), float(c[:, 0].max()), float(c[:, 1].max())) for c in output.boxes
    ]
    spans = [box for box, text in zip(spans, output.txts, strict=True) if len(str(text)) >= _TELLING]
    if len(spans) < 2:
        return 0
    spans.sort(key=lambda box: -max(box[2] - box[0], box[3] - box[1]))
    spans = spans[:_ASKED]
    tall = sum(box[3] - box[1] > 1.5 * (box[2] - box[0]) for box in spans)
    sideways = 2 * tall > len(spans)
    crops = [image[int(y0) : int(y1) + 1, int(x0) : int(x1) + 1] for x0, y0, x1, y1 in spans]
    if sideways:
        crops = [np.rot90(crop) for crop in crops]
    verdicts = _engine().text_cls([np.ascontiguousarray(crop) for crop in crops]).cls_res
    over = 2 * sum(label == "180" and score > 0.8 for label, score in verdicts) > len(crops)
    return (3 if over else 1) if sideways else (2 if over else 0)


def words_of(page: OcrPage) -> Words:
    """The page's words with boxes as displayed: one line of text a row, a blank line where the page leaves one."""
    words = upright_words(page)
    return words._replace(boxes=turned(words.boxes, page.quarters, page.width, page.height))


def upright_words(page: OcrPage) -> Words:
    """The same with boxes of the page turned upright."""
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
    if same_row(previous, line):
        return " "
    height = min(line.box[3] - line.box[1], previous.box[3] - previous.box[1])
    return "\n\n" if line.box[1] - previous.box[3] > 0.9 * height else "\n"
