"""Words of a PDF page that nobody sees: without ink, in the paper's colour, too small, or outside the page.

Most pages cost two calls a text object: where all stand out and there is no picture, only small words are looked
for. Elsewhere each word is asked for its object. Where words may be invisible for what lies behind or over them
(white ones, transparent ones, those on a picture), the page is drawn once and each is looked at: a word in whose box
nothing stands out is not seen. So a scan's own text layer, which has the picture's ink below it, passes. Not found:
dark text on a dark drawn area, and text that is hidden below a drawn area.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby, repeat

import numpy as np
import pypdfium2 as pdfium
import pypdfium2.raw as raw

from ingest.parse.build import Boxes, Spans
from ingest.parse.drawn import Drawn, I, P, quick
from ingest.parse.scans import FAINT

NO_INK, WHITE, TINY, OUTSIDE = "drawn without ink", "the colour of the paper", "smaller than 2 pt", "outside the page"
LEAST_WORDS = 2  # without a place, side by side: a single one may be a character that PDFium made up
_TINY = 2.2  # points of line height and of two letters' width: what a font of less than 2 points takes
_PALE = 235  # of 255, in each colour
_FAINT_ALPHA = 30
_MOST_DRAWN = 40  # pages of a document that are drawn for this: each takes some 20 ms
_SCALE = 1.5  # pixels a point

_INVISIBLE = frozenset({raw.FPDF_TEXTRENDERMODE_INVISIBLE, raw.FPDF_TEXTRENDERMODE_CLIP})


_object_of = quick("FPDFText_GetTextObject", P, P, I)
_mode_of = quick("FPDFTextObj_GetTextRenderMode", I, P)
_fill_of = quick("FPDFPageObj_GetFillColor", I, P, P, P, P, P)
_stroke_of = quick("FPDFPageObj_GetStrokeColor", I, P, P, P, P, P)


@dataclass(slots=True)
class Looks:
    """How many pages of a document may still be drawn."""

    left: int = _MOST_DRAWN


def unseen_words(
    page: pdfium.PdfPage,
    textpage: pdfium.PdfTextPage,
    spans: Spans,
    boxes: Boxes,
    char_of: Callable[[int], int] | None,
    looks: Looks,
    drawn: Drawn,
) -> dict[str, Boxes]:
    """Boxes of unseen words by what hides them. `boxes` are those of the page's words, as displayed."""
    if not len(boxes):
        return {}
    lengths = spans[:, 1] - spans[:, 0]
    with np.errstate(invalid="ignore"):
        w, h = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
        small = (np.minimum(w, h) < _TINY) & (np.maximum(w, h) / lengths < _TINY / 1.3) & (lengths > 1)
    pictures = drawn.pictures()
    if not len(pictures) and _all_stands_out(drawn, most=len(spans)):
        return {TINY: boxes[small]} if small.any() else {}
    inked, painted = _by_object(textpage, spans, char_of)
    why = np.full(len(boxes), "", dtype=object)
    on_picture = _inside(boxes, pictures)
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


def words_outside(text: str, spans: Spans, boxes: Boxes) -> list[str]:
    """Runs of words that lie outside the page: `boxes` has no place for them, so they are told by what they say."""
    runs: list[str] = []
    lost = np.nonzero(np.isnan(boxes[:, 0]))[0].tolist()
    for _, group in groupby(enumerate(lost), key=lambda pair: pair[1] - pair[0]):
        run = [i for _, i in group]
        if len(run) >= LEAST_WORDS:
            runs.append(text[spans[run[0], 0] : spans[run[-1], 1]])
    return runs


def _all_stands_out(drawn: Drawn, *, most: int) -> bool:
    """True when every text object is drawn in ink that stands out, which spares asking word by word.

    Not looked into where there are more than `most` objects.
    """
    objects = drawn.of(raw.FPDF_PAGEOBJ_TEXT)
    if not drawn.whole or len(objects) > most:
        return False
    inked, painted = _inks(objects)
    return bool(inked.all() and painted.all())


def _by_object(
    textpage: pdfium.PdfTextPage, spans: Spans, char_of: Callable[[int], int] | None
) -> tuple[np.ndarray, np.ndarray]:
    """For each word whether it is drawn with ink, and whether with a colour that stands out on white paper."""
    handle = ctypes.cast(textpage.raw, ctypes.c_void_p).value
    starts = spans[:, 0].tolist()
    if char_of is not None:
        starts = [char_of(start) for start in starts]
    objects = list(map(_object_of, repeat(handle), starts))
    distinct = [item for item in dict.fromkeys(objects) if item is not None]
    place: dict[int | None, int] = {item: at for at, item in enumerate([*distinct, None])}
    at = np.array([place[item] for item in objects])
    inked, painted = _inks(distinct)
    return np.append(inked, True)[at], np.append(painted, True)[at]  # without an object nothing is said against it


def _inks(items: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """For each text object whether it is drawn with ink, and whether in a colour that stands out on white paper."""
    modes = list(map(_mode_of, items))
    shades = np.zeros((len(items), 4), dtype=np.uint32)  # red, green, blue, how opaque
    first, size = shades.ctypes.data, shades.itemsize
    places = [range(first + i * size, first + i * size + shades.nbytes, 4 * size) for i in range(4)]
    told = np.array(list(map(_fill_of, items, *places)), dtype=bool)
    for i, mode in enumerate(modes):
        if mode == raw.FPDF_TEXTRENDERMODE_STROKE:
            told[i] = _stroke_of(items[i], *(place[i] for place in places))
    inked = np.array([mode not in _INVISIBLE for mode in modes], dtype=bool)
    pale = (shades[:, :3].min(axis=1) >= _PALE) | (shades[:, 3] < _FAINT_ALPHA)
    return inked, ~(inked & told & pale)


def _inside(boxes: Boxes, areas: Boxes) -> np.ndarray:
    """For each word whether its middle lies in one of the areas."""
    inside = np.zeros(len(boxes), dtype=bool)
    x, y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    with np.errstate(invalid="ignore"):
        for x0, y0, x1, y1 in areas[:200].tolist():
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
