"""What a PDF page draws besides text: the boxes of straight lines and filled areas, as displayed."""

from __future__ import annotations

import ctypes

import numpy as np
import pypdfium2 as pdfium
import pypdfium2.raw as raw

from ingest.parse.build import Boxes
from ingest.parse.geometry import to_display
from ingest.parse.rulings import THIN, Rulings, from_boxes

MOST_OBJECTS = 20_000
_MOST_SEGMENTS = 400


def rulings_of(page: pdfium.PdfPage) -> Rulings:
    """The page's ruling lines; none where it draws so much that it must be a picture."""
    found: list[tuple[float, float, float, float]] = []
    _collect(page, raw.FPDFPage_CountObjects(page), raw.FPDFPage_GetObject, found, depth=0)
    if not found:
        return Rulings()
    boxes: Boxes = np.array(found, dtype=np.float32)
    thin = boxes.copy()
    # A line without thickness has no area, and what has no area counts as outside the page.
    thin[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 0.1)
    shown = to_display(page, thin)
    return from_boxes(tuple(box) for box in shown[~np.isnan(shown[:, 0])].tolist())


def _collect(
    holder: object, count: int, get: object, found: list[tuple[float, float, float, float]], depth: int
) -> None:
    left, bottom, right, top = (ctypes.c_float() for _ in range(4))
    for index in range(min(count, MOST_OBJECTS)):
        item = get(holder, index)  # type: ignore[operator]
        kind = raw.FPDFPageObj_GetType(item)
        if kind == raw.FPDF_PAGEOBJ_FORM and depth < 2:
            inner = raw.FPDFFormObj_CountObjects(item)
            _collect(item, inner, raw.FPDFFormObj_GetObject, found, depth + 1)
        if kind != raw.FPDF_PAGEOBJ_PATH:
            continue
        if not raw.FPDFPageObj_GetBounds(item, left, bottom, right, top):
            continue
        segments = raw.FPDFPath_CountSegments(item)
        fat = right.value - left.value > THIN and top.value - bottom.value > THIN
        if fat and not _stroked(item):
            continue  # the colour behind a row or a cell: it parts nothing
        if segments <= 5:
            found.append((left.value, bottom.value, right.value, top.value))
        elif segments <= _MOST_SEGMENTS:
            found += _strokes(item, segments)


def _stroked(item: object) -> bool:
    fill, stroke = ctypes.c_int(), ctypes.c_int()
    return bool(raw.FPDFPath_GetDrawMode(item, fill, stroke) and stroke.value)


def _strokes(item: object, count: int) -> list[tuple[float, float, float, float]]:
    """The straight lines of a path of many parts, each as a box without thickness."""
    matrix = raw.FS_MATRIX()
    raw.FPDFPageObj_GetMatrix(item, matrix)
    x, y = ctypes.c_float(), ctypes.c_float()
    lines = []
    last: tuple[float, float] | None = None
    begin: tuple[float, float] | None = None
    for index in range(count):
        segment = raw.FPDFPath_GetPathSegment(item, index)
        raw.FPDFPathSegment_GetPoint(segment, x, y)
        point = (
            matrix.a * x.value + matrix.c * y.value + matrix.e,
            matrix.b * x.value + matrix.d * y.value + matrix.f,
        )
        kind = raw.FPDFPathSegment_GetType(segment)
        if kind == raw.FPDF_SEGMENT_MOVETO:
            begin = point
        elif kind == raw.FPDF_SEGMENT_LINETO and last is not None:
            lines.append((last, point))
        last = point
        if raw.FPDFPathSegment_GetClose(segment) and begin is not None:
            lines.append((point, begin))
            last = begin
    return [
        (min(a[0], b[0]), min(a[1], b[1]), max(a[0], b[0]), max(a[1], b[1]))
        for a, b in lines
        if abs(a[0] - b[0]) < 1 or abs(a[1] - b[1]) < 1
    ]
