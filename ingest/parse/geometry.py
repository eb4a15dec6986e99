"""Boxes from PDF user space to the page as displayed, and from pages lying on their side to upright ones."""

from __future__ import annotations

import ctypes

import numpy as np
import pypdfium2 as pdfium
import pypdfium2.raw as raw

from ingest.parse.build import Boxes


def to_display(page: pdfium.PdfPage, user: Boxes) -> Boxes:
    """Rectangles of PDF user space on the page as displayed; NaN for those that lie outside it."""
    bounds = raw.FS_RECTF()
    raw.FPDF_GetPageBoundingBox(page, ctypes.byref(bounds))
    left, bottom, right, top = bounds.left, bounds.bottom, bounds.right, bounds.top
    x0, y0, x1, y1 = user.T
    rotation = page.get_rotation()
    width, height = right - left, top - bottom
    if rotation == 0:
        columns = (x0 - left, top - y1, x1 - left, top - y0)
    elif rotation == 90:
        columns = (y0 - bottom, x0 - left, y1 - bottom, x1 - left)
    elif rotation == 180:
        columns = (right - x1, y0 - bottom, right - x0, y1 - bottom)
    else:
        columns = (top - y1, right - x1, top - y0, right - x0)
    if rotation in (90, 270):
        width, height = height, width
    boxes = np.empty_like(user)
    for i, (column, limit) in enumerate(zip(columns, (width, height, width, height), strict=True)):
        np.minimum(np.maximum(column, 0), limit, out=boxes[:, i])
    inside = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    if not inside.all():
        boxes[~inside] = np.nan
    return boxes


def turned(boxes: Boxes, quarters: int, width: float, height: float) -> Boxes:
    """Boxes of a page of `width` x `height` after it was turned clockwise by `quarters` quarter turns."""
    x0, y0, x1, y1 = boxes.T
    if quarters % 4 == 1:
        return np.stack((height - y1, x0, height - y0, x1), axis=1)
    if quarters % 4 == 2:
        return np.stack((width - x1, height - y1, width - x0, height - y0), axis=1)
    if quarters % 4 == 3:
        return np.stack((y0, width - x1, y1, width - x0), axis=1)
    return boxes
