"""Which PDF pages need OCR, and reading those.

A page needs it when it shows something but its text is missing, a mere stamp on a scan, or garbage.
"""

from __future__ import annotations

import re
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
import pypdfium2 as pdfium
import pypdfium2.raw as raw
from numpy.typing import NDArray

from ingest.parse.build import Boxes
from ingest.parse.drawn import Drawn
from strongroom.types import Box

if TYPE_CHECKING:
    from ingest.parse.ocr import OcrPage

OCR_DPI = 200
OCR_MAX_PIXELS = 12_000_000
FAINT = 24  # a picture whose shades differ by less, of 255, shows nothing
# A page with fewer letters and digits than this may be a scan that only carries a stamp or a Bates number.
_FEW_CHARACTERS = 100
_SCAN_COVERAGE = 0.5
_WHOLE_PAGE = 0.8
_PICTURE = 0.25  # of the page: a picture from here on may be a page of its own, scanned and pasted
_STRAY_WORDS = 3
_FEW_DRAWINGS = 50
_GARBAGE_SHARE = 0.3
_ENOUGH_WORDS = 40
_JUDGED_WORDS = 200
_LATIN_WORD = re.compile(r"\b[A-Za-zÀ-ɏ]{3,}\b")
_VOWELS = str.maketrans(dict.fromkeys("aeiouyAEIOUYÀÁÂÃÄÅÆàáâãäåæÈÉÊËÌÍÎÏèéêëìíîïÒÓÔÕÖòóôõöØøÙÚÛÜÝùúûüýŒœ", "a"))
GARBAGE = re.compile("[\x00-\x01\x03-\x08\x0b\x0e-\x1f\x7f-\x9f\ufffd\ue000-\uf8ff\U000f0000-\U0010ffff]")
_CONTROLS = bytes(code for code in range(128) if GARBAGE.match(chr(code)))


def usable(text: str) -> int:
    return sum(1 for character in text if character.isalnum())


def gibberish(text: str) -> bool:
    """True for Latin letters that form no words: what a font gives whose map to characters is broken.

    Words of every language in Latin script hold vowels, and vowels are neither rare nor most of their letters. Short
    texts and lists of codes are not judged, long ones by words taken evenly from them.
    """
    tokens = text.split()
    words = _LATIN_WORD.findall(" ".join(tokens[:: len(tokens) // _JUDGED_WORDS or 1]))
    if len(words) < _ENOUGH_WORDS:
        return False
    marked = " ".join(words).translate(_VOWELS)
    vowels = marked.count("a") / (len(marked) - len(words) + 1)
    with_vowel = sum("a" in word for word in marked.split(" ")) / len(words)
    return not 0.2 <= vowels <= 0.65 or with_vowel < 0.6


def _garbage(text: str) -> int:
    if text.isascii():
        return len(text) - len(text.encode().translate(None, _CONTROLS))
    return len(GARBAGE.findall(text))


def needs_ocr(page: pdfium.PdfPage, text: str, drawn: Drawn) -> bool:
    """True when the page shows something but its text layer is missing, a mere stamp on a scan, or garbage."""
    solid = len(text) - sum(map(text.count, " \r\n\t\xa0"))
    if solid and _garbage(text) > _GARBAGE_SHARE * solid:
        return True
    if gibberish(text):
        return True
    if solid >= 4 * _FEW_CHARACTERS:
        return False
    letters = usable(text)
    if letters >= _FEW_CHARACTERS:
        return _invisible(page) and bool(pictures(page, drawn, _WHOLE_PAGE))
    if letters == 0 and _draws_something(page):
        return True
    return bool(pictures(page, drawn, _SCAN_COVERAGE))


def pictures(page: pdfium.PdfPage, drawn: Drawn, least: float) -> list[Box]:
    """Boxes, as displayed, of pictures that cover more than this share of the page."""
    shown = drawn.pictures()
    if not len(shown):
        return []
    width, height = page.get_size()
    large = (shown[:, 2] - shown[:, 0]) * (shown[:, 3] - shown[:, 1]) > least * max(width * height, 1.0)
    return [(x0, y0, x1, y1) for x0, y0, x1, y1 in shown[large].tolist()]


def unread_pictures(page: pdfium.PdfPage, boxes: Boxes, drawn: Drawn) -> list[Box]:
    """Large pictures with no words over them: a scan pasted into a page of text. `boxes` are the page's words."""
    large = pictures(page, drawn, _PICTURE)
    if not large:
        return []
    width, height = page.get_size()
    placed = boxes[~np.isnan(boxes[:, 0])]
    if not any(
        _room(placed[(placed[:, 0] < right) & (placed[:, 2] > left)], height) > _PICTURE * height
        for left, right in ((0.0, width / 2), (width / 2, width))
    ):
        return []
    x, y = (placed[:, 0] + placed[:, 2]) / 2, (placed[:, 1] + placed[:, 3]) / 2
    return [
        (x0, y0, x1, y1)
        for x0, y0, x1, y1 in large
        if ((x > x0) & (x < x1) & (y > y0) & (y < y1)).sum() <= _STRAY_WORDS
    ]


def _room(boxes: Boxes, height: float) -> float:
    """The highest strip without words."""
    if not len(boxes):
        return height
    order = boxes[:, 1].argsort()
    tops = np.append(boxes[order, 1], height)
    reached = np.insert(np.maximum.accumulate(boxes[order, 3]), 0, 0.0)
    return float((tops - reached).max())


def _invisible(page: pdfium.PdfPage) -> bool:
    """True when all text is drawn so that it does not show: what scanners lay over a scan."""
    modes = {raw.FPDFTextObj_GetTextRenderMode(item) for item in page.get_objects([raw.FPDF_PAGEOBJ_TEXT], max_depth=3)}
    return modes == {raw.FPDF_TEXTRENDERMODE_INVISIBLE}


def _draws_something(page: pdfium.PdfPage) -> bool:
    """True for a picture, a form, or drawings enough to be letters drawn as outlines; a few ruled lines are nothing."""
    count = raw.FPDFPage_CountObjects(page)
    if count >= _FEW_DRAWINGS:
        return True
    kinds = {raw.FPDFPageObj_GetType(raw.FPDFPage_GetObject(page, i)) for i in range(count)}
    return bool(kinds - {raw.FPDF_PAGEOBJ_PATH, raw.FPDF_PAGEOBJ_TEXT})


def read_scan(document: pdfium.PdfDocument, index: int, width: float, height: float) -> OcrPage | None:
    """The page by OCR, in points of the page as displayed; `None` when it is blank."""
    image, scale = _render(document, index, width, height) if width > 0 and height > 0 else (None, 1.0)
    if image is None:
        return None
    from ingest.parse.ocr import read_image  # loads onnxruntime: only when a scan turns up

    return read_image(image, points_per_pixel=1 / scale)


def read_picture(document: pdfium.PdfDocument, index: int, width: float, height: float, box: Box) -> OcrPage | None:
    """The part of a page inside `box` by OCR, in points from the box's corner; `None` when there is nothing to see."""
    image, scale = _render(document, index, width, height)
    if image is None:
        return None
    x0, y0, x1, y1 = (round(side * scale) for side in box)
    part = np.ascontiguousarray(image[y0:y1, x0:x1])
    if not part.size or int(part.max()) - int(part.min()) < FAINT:
        return None
    from ingest.parse.ocr import read_image

    return read_image(part, points_per_pixel=1 / scale)


def _render(
    document: pdfium.PdfDocument, index: int, width: float, height: float
) -> tuple[NDArray[np.uint8] | None, float]:
    """The page as displayed and its pixels per point; `None` when it is blank, which saves OCR's seconds."""
    with closing(document[index]) as page:
        for scale in (
            min(0.5, 1000 / max(width, height)),
            min(OCR_DPI / 72, (OCR_MAX_PIXELS / (width * height)) ** 0.5),
        ):
            with closing(page.render(scale=scale, rev_byteorder=False, prefer_bgrx=False)) as bitmap:
                image = bitmap.to_numpy().copy()
            if int(image.max()) - int(image.min()) < FAINT:
                return None, scale
        if image.ndim == 2 or image.shape[2] == 1:
            image = np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2)
        return np.ascontiguousarray(image[:, :, :3]), scale
