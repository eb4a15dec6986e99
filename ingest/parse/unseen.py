"""Words of a PDF page that nobody sees: without ink, in the paper's colour, too small, or outside the page.

Most pages cost one call a word and two a text object. Where words may be invisible for what lies behind or over them
(white ones, transparent ones, those on a picture), the page is drawn once and each is looked at: a word in whose box
nothing stands out is not seen. So a scan's own text layer, which has the picture's ink below it, passes. Not found:
dark text on a dark drawn area, and text that is hidden below a drawn area.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby, repeat
from typing import Any

import numpy as np
import pypdfium2 as pdfium
import pypdfium2.raw as raw

from ingest.parse.build import Boxes
from ingest.parse.geometry import to_display
from ingest.parse.scans import FAINT
from strongroom.types import Box

NO_INK, WHITE, TINY, OUTSIDE = "drawn without ink", "the colour of the paper", "smaller than 2 pt", "outside the page"
LEAST_WORDS = 2  # without a place, side by side: a single one may be a character that PDFium made up
_TINY = 2.2  # points of line height and of two letters' width: what a font of less than 2 points takes
_PALE = 235  # of 255, in each colour
_FAINT_ALPHA = 30
_MOST_DRAWN = 40  # pages of a document that are drawn for this: each takes some 20 ms
_SCALE = 1.5  # pixels a point
_MOST_OBJECTS = 2_000  # of a page that are looked through for pictures: plans and maps draw a hundred thousand

_INVISIBLE = frozenset({raw.FPDF_TEXTRENDERMODE_INVISIBLE, raw.FPDF_TEXTRENDERMODE_CLIP})


def _quick(name: str, result: type, *arguments: type) -> Callable[..., Any]:
    """A function of PDFium that takes addresses and keeps the interpreter's lock: each of these returns at once."""
    address = ctypes.cast(getattr(raw, name), ctypes.c_void_p).value or 0
    return ctypes.PYFUNCTYPE(result, *arguments)(address)


_P, _I = ctypes.c_void_p, ctypes.c_int
_object_of = _quick("FPDFText_GetTextObject", _P, _P, _I)
_mode_of = _quick("FPDFTextObj_GetTextRenderMode", _I, _P)
_fill_of = _quick("FPDFPageObj_GetFillColor", _I, _P, _P, _P, _P, _P)
_stroke_of = _quick("FPDFPageObj_GetStrokeColor", _I, _P, _P, _P, _P, _P)
_type_of = _quick("FPDFPageObj_GetType", _I, _P)
_page_object = _quick("FPDFPage_GetObject", _P, _P, _I)
_form_object = _quick("FPDFFormObj_GetObject", _P, _P, ctypes.c_ulong)


@dataclass(slots=True)
class Looks:
    """How many pages of a document may still be drawn."""

    left: int = _MOST_DRAWN


def unseen_words(
    page: pdfium.PdfPage,
    textpage: pdfium.PdfTextPage,
    spans: list[tuple[int, int]],
    boxes: Boxes,
    char_of: Callable[[int], int] | None,
    looks: Looks,
) -> dict[str, Boxes]:
    """Boxes of unseen words by what hides them. `boxes` are those of the page's words, as displayed."""
    if not len(boxes):
        return {}
    lengths = np.array([end - start for start, end in spans])
    inked, painted = _by_object(textpage, spans, char_of)
    why = np.full(len(boxes), "", dtype=object)
    with np.errstate(invalid="ignore"):
        w, h = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
        small = (np.minimum(w, h) < _TINY) & (np.maximum(w, h) / lengths < _TINY / 1.3) & (lengths > 1)
    on_picture = _inside(boxes, _pictures(page))
    doubtful = (~painted | on_picture) & ~np.isnan(boxes[:, 0])
    why[~inked & ~on_picture] = NO_INK
    why[small] = TINY
    doubtful &= why == ""
    if doubtful.any() and looks.left > 0:
        looks.left -= 1
        blank = _blank(page, boxes, doubtful)
        why[blank & ~inked] = NO_INK
        why[blank & inked] = WHITE
    return {str(reason): boxes[why == reason] for reason in set(why) - {""}}


def words_outside(text: str, spans: list[tuple[int, int]], boxes: Boxes) -> list[str]:
    """Runs of words that lie outside the page: `boxes` has no place for them, so they are told by what they say."""
    runs: list[str] = []
    lost = np.nonzero(np.isnan(boxes[:, 0]))[0].tolist()
    for _, group in groupby(enumerate(lost), key=lambda pair: pair[1] - pair[0]):
        run = [spans[i] for _, i in group]
        if len(run) >= LEAST_WORDS:
            runs.append(text[run[0][0] : run[-1][1]])
    return runs


def _by_object(
    textpage: pdfium.PdfTextPage, spans: list[tuple[int, int]], char_of: Callable[[int], int] | None
) -> tuple[np.ndarray, np.ndarray]:
    """For each word whether it is drawn with ink, and whether with a colour that stands out on white paper."""
    handle = ctypes.cast(textpage.raw, ctypes.c_void_p).value
    starts = [start for start, _ in spans] if char_of is None else [char_of(start) for start, _ in spans]
    objects = list(map(_object_of, repeat(handle), starts))
    known: dict[int | None, tuple[bool, bool]] = {None: (True, True)}
    shades = (ctypes.c_uint * 4)()
    first = ctypes.addressof(shades)
    places = tuple(first + i * ctypes.sizeof(ctypes.c_uint) for i in range(4))
    for item in set(objects) - {None}:
        known[item] = _ink(item, shades, places)
    both = np.array([known[item] for item in objects], dtype=bool)
    return both[:, 0], both[:, 1]


def _ink(item: int, shades: ctypes.Array[ctypes.c_uint], places: tuple[int, ...]) -> tuple[bool, bool]:
    mode = _mode_of(item)
    if mode in _INVISIBLE:
        return False, True
    if not (_stroke_of if mode == raw.FPDF_TEXTRENDERMODE_STROKE else _fill_of)(item, *places):
        return True, True
    return True, min(shades[0], shades[1], shades[2]) < _PALE and shades[3] >= _FAINT_ALPHA


def _pictures(page: pdfium.PdfPage) -> list[Box]:
    """Boxes, as displayed, of the page's pictures."""
    bounds: list[Box] = []
    handle = ctypes.cast(page.raw, ctypes.c_void_p).value
    _collect(handle, raw.FPDFPage_CountObjects(page), _page_object, bounds, depth=0)
    if not bounds:
        return []
    return [(x0, y0, x1, y1) for x0, y0, x1, y1 in to_display(page, np.array(bounds, dtype=np.float32)).tolist()]


def _collect(holder: int | None, count: int, get: Callable[..., Any], bounds: list[Box], depth: int) -> None:
    left, bottom, right, top = (ctypes.c_float() for _ in range(4))
    items = list(map(get, repeat(holder), range(min(count, _MOST_OBJECTS))))
    kinds = list(map(_type_of, items))
    for item, kind in zip(items, kinds, strict=True):
        if kind == raw.FPDF_PAGEOBJ_IMAGE:
            if raw.FPDFPageObj_GetBounds(ctypes.cast(item, raw.FPDF_PAGEOBJECT), left, bottom, right, top):
                bounds.append((left.value, bottom.value, right.value, top.value))
        elif kind == raw.FPDF_PAGEOBJ_FORM and depth < 2:
            inner = raw.FPDFFormObj_CountObjects(ctypes.cast(item, raw.FPDF_PAGEOBJECT))
            _collect(item, inner, _form_object, bounds, depth + 1)


def _inside(boxes: Boxes, areas: list[Box]) -> np.ndarray:
    """For each word whether its middle lies in one of the areas."""
    inside = np.zeros(len(boxes), dtype=bool)
    x, y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    with np.errstate(invalid="ignore"):
        for x0, y0, x1, y1 in areas[:200]:
            inside |= (x > x0) & (x < x1) & (y > y0) & (y < y1)
    return inside


def _blank(page: pdfium.PdfPage, boxes: Boxes, asked: np.ndarray) -> np.ndarray:
    """For each word asked about whether nothing stands out in its box on the drawn page."""
    width, height = page.get_size()
    blank = np.zeros(len(boxes), dtype=bool)
    if not 0 < width * height * _SCALE**2 <= 12_000_000:
        return blank
    bitmap = page.render(scale=_SCALE, grayscale=True, may_draw_forms=False)
    try:
        shades = bitmap.to_numpy().reshape(bitmap.height, bitmap.width, -1)[:, :, 0]
        for i in np.nonzero(asked)[0].tolist():
            x0, y0, x1, y1 = (round(float(v) * _SCALE) for v in boxes[i])
            area = shades[max(y0, 0) : max(y1, y0 + 1), max(x0, 0) : max(x1, x0 + 1)]
            blank[i] = area.size > 0 and int(area.max()) - int(area.min()) < FAINT
    finally:
        bitmap.close()
    return blank
