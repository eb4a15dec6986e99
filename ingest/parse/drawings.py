"""What a PDF page draws besides text: the boxes of straight lines and filled areas, as displayed."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

import numpy as np
import pypdfium2 as pdfium
import pypdfium2.raw as raw

from ingest.parse.build import Boxes
from ingest.parse.drawn import Drawn, I, P, bounds_of, quick
from ingest.parse.geometry import to_display
from ingest.parse.rulings import THIN, Rulings, from_boxes

_MOST_SEGMENTS = 400
_segments_of = quick("FPDFPath_CountSegments", I, P)


def rulings_of(page: pdfium.PdfPage, drawn: Drawn) -> Rulings:
    """The page's ruling lines; none where it draws so much that it must be a picture."""
    found = list(_collect(drawn))
    if not found:
        return Rulings()
    boxes: Boxes = np.array(found, dtype=np.float32)
    thin = boxes.copy()
    # A line without thickness has no area, and what has no area counts as outside the page.
    thin[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 0.1)
    shown = to_display(page, thin)
    return from_boxes(tuple(box) for box in shown[~np.isnan(shown[:, 0])].tolist())


def _collect(drawn: Drawn) -> Iterator[tuple[float, float, float, float]]:
    handles = drawn.of(raw.FPDF_PAGEOBJ_PATH)
    boxes = bounds_of(handles)
    fat = (boxes[:, 2] - boxes[:, 0] > THIN) & (boxes[:, 3] - boxes[:, 1] > THIN)
    known = ~np.isnan(boxes[:, 0])
    segments = list(map(_segments_of, handles))
    for handle, (left, bottom, right, top), is_known, is_fat, count in zip(
        handles, boxes.tolist(), known.tolist(), fat.tolist(), segments, strict=True
    ):
        if not is_known:
            continue
        if is_fat and not _stroked(ctypes.cast(handle, raw.FPDF_PAGEOBJECT)):
            continue  # the colour behind a row or a cell: it parts nothing
        if count <= 5:
            yield left, bottom, right, top
        elif count <= _MOST_SEGMENTS:
            yield from _strokes(ctypes.cast(handle, raw.FPDF_PAGEOBJECT), count)


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
