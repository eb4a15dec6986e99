"""PDF by PDFium: the text of each page with a box for every word, and OCR for pages that have none.

Text and word records are built together, character by character where anything is changed (line-end hyphens,
ligatures, control characters), so an offset always means the same characters in both. Reading order is PDFium's.
Boxes are those of the page as displayed: after CropBox and rotation, origin top left, in points.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pypdfium2 as pdfium
import pypdfium2.raw as raw
from numpy.typing import NDArray

from ingest.parse.build import Boxes, DocumentBuilder, Words, no_boxes
from strongroom.errors import ParseError, QuarantineError
from strongroom.types import OcrMode, ParsedDocument

OCR_DPI = 200
OCR_MAX_PIXELS = 12_000_000
# A page with fewer letters and digits than this may be a scan that only carries a stamp or a Bates number.
_FEW_CHARACTERS = 100
_SCAN_COVERAGE = 0.5
_FEW_DRAWINGS = 50
_GARBAGE_SHARE = 0.3

_HYPHENS = "\ufffe\x02"  # PDFium's marks for a hyphen at a line end that it joined across
_LIGATURES = str.maketrans(
    {"\ufb00": "ff", "\ufb01": "fi", "\ufb02": "fl", "\ufb03": "ffi", "\ufb04": "ffl", "\ufb05": "st", "\ufb06": "st"}
)
_WIDE = "\u2e80-\u303f\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uffef"
# A word, or the part of one before or after a line-end hyphen: the halves stand on two lines. Scripts without spaces
# get a record a character, so that a highlight does not cover the whole line.
_WORD = re.compile(rf"[{_WIDE}]|[^\s{_HYPHENS}{_WIDE}]+")
_SPECIAL = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f\xad\u200b-\u200f\u2060\ufeff\ufb00-\ufb06]")
_GARBAGE = re.compile("[\x00-\x01\x03-\x08\x0b\x0e-\x1f\x7f-\x9f\ufffd\ue000-\uf8ff\U000f0000-\U0010ffff]")
_HYPHEN = re.compile(f"[{_HYPHENS}]")
_KEEP_PREFIX = frozenset(
    {"non", "co", "pre", "post", "re", "anti", "self", "semi", "sub", "multi", "inter", "intra", "cross", "ex"}
    | {"counter", "off", "set", "long", "short", "well", "high", "low"}
)
_TITLE_NOISE = re.compile(r"^(untitled|document\s*\d*|slide \d+|powerpoint presentation|about:blank|.*[\\/].*)$", re.I)


@dataclass(slots=True)
class _RawPage:
    """One page as PDFium gives it: `spans` are the word parts in `text`, `boxes` their places as displayed."""

    text: str
    width: float | None
    height: float | None
    spans: list[tuple[int, int]] = field(default_factory=list)
    boxes: Boxes = field(default_factory=no_boxes)
    ocr: bool = False
    problem: str | None = None


def parse_pdf(path: Path, *, ocr: OcrMode = "auto", heartbeat: Callable[[], None] = lambda: None) -> ParsedDocument:
    """Parse a PDF; `ocr` says which pages are read by OCR: those without usable text, all, or none.

     Raises `QuarantineError` when it needs a password, `ParseError` when it is damaged or has no pages.

    Source of the reading order and of line-end hyphen marks: PDFium's text page. About 1 ms a page and core.
    """
    with closing(_open(path)) as document:
        count = len(document)
        if count == 0:
            raise ParseError("the PDF has no pages", hint="get a fresh copy of the file")
        pages = [_read_page(document, index, ocr) for index in range(count)]
        if all(page.problem and not page.ocr for page in pages):
            raise ParseError("damaged PDF: none of its pages can be read", hint="get a fresh copy of the file")
        builder = DocumentBuilder()
        words = _Vocabulary([page.text for page in pages])
        for index, page in enumerate(pages):
            if page.problem:
                builder.warn(f"page {index + 1}: {page.problem}")
            if page.ocr:
                _add_scanned(builder, document, index, page, words, always=ocr == "always")
                heartbeat()
            else:
                builder.add_page(_words(page, words), width=page.width, height=page.height)
            pages[index] = _RawPage("", None, None)  # its text and boxes are in the builder now
        return builder.build("application/pdf", title=_title(document))


def _open(path: Path) -> pdfium.PdfDocument:
    try:
        return pdfium.PdfDocument(path)
    except pdfium.PdfiumError as exc:
        code = getattr(exc, "err_code", None)
        if code == raw.FPDF_ERR_PASSWORD:
            raise QuarantineError("password protected", hint="save a copy without a password and ingest that") from exc
        if code == raw.FPDF_ERR_SECURITY:
            raise QuarantineError("encrypted in a way that cannot be opened", hint="save an unencrypted copy") from exc
        raise ParseError("damaged PDF: it cannot be opened", hint="get a fresh copy of the file") from exc


def _title(document: pdfium.PdfDocument) -> str | None:
    """The title in the metadata when it reads like one, not like a file name or a program's default."""
    try:
        title = str(document.get_metadata_value("Title"))
    except (pdfium.PdfiumError, UnicodeError):
        return None
    title = re.sub(r"^Microsoft (Word|PowerPoint|Excel) - ", "", " ".join(title.split()))
    title = re.sub(r"\.(docx?|pdf|pptx?|xlsx?|indd|qxd|rtf|txt|html?)$", "", title, flags=re.I)
    if not 3 <= len(title) <= 200 or _TITLE_NOISE.match(title) or _GARBAGE.search(title):
        return None
    return title if any(c.isalpha() for c in title) else None


# ------------------------------------------------------------------------------------------------ reading pages


def _read_page(document: pdfium.PdfDocument, index: int, ocr: OcrMode) -> _RawPage:
    try:
        page = document[index]
    except pdfium.PdfiumError:
        return _RawPage("", None, None, problem="cannot be loaded")
    try:
        width, height = page.get_size()
        try:
            textpage = page.get_textpage()
        except pdfium.PdfiumError:
            return _RawPage("", width, height, ocr=ocr != "never", problem="its text cannot be read")
        try:
            text, char_of = _text_of(textpage)
            result = _RawPage(text, width, height)
            result.ocr = ocr == "always" or (ocr == "auto" and _needs_ocr(page, text))
            if _usable(text) or not result.ocr:
                result.spans = [match.span() for match in _WORD.finditer(text)]
                result.boxes = _measure(page, textpage, result.spans, char_of)
            return result
        finally:
            textpage.close()
    finally:
        page.close()


def _text_of(textpage: pdfium.PdfTextPage) -> tuple[str, Callable[[int], int] | None]:
    """All text of the page, and the map from an offset in it to PDFium's character index (`None`: they are equal)."""
    count = raw.FPDFText_CountChars(textpage)
    if count <= 0:
        return "", None
    buffer = (ctypes.c_ushort * (2 * count + 2))()  # a character outside the BMP takes two units
    written = raw.FPDFText_GetText(textpage, 0, count, buffer)
    text = bytes(buffer)[: max(written - 1, 0) * 2].decode("utf-16-le", "replace")
    if len(text) == count:
        return text, None
    # PDFium leaves some characters out of the text, so offsets and indexes drift apart; ask it for each word.
    lookup = raw.FPDFText_GetCharIndexFromTextIndex
    if written - 1 != count:
        return text, lambda offset: int(lookup(textpage, offset))
    units = [0]
    for character in text:
        units.append(units[-1] + (2 if ord(character) > 0xFFFF else 1))
    return text, lambda offset: units[offset]


def _measure(
    page: pdfium.PdfPage,
    textpage: pdfium.PdfTextPage,
    spans: list[tuple[int, int]],
    char_of: Callable[[int], int] | None,
) -> Boxes:
    """Boxes of words, shape `(n, 4)`, NaN where PDFium has none: two calls a word, on its first and last character."""
    if not spans:
        return no_boxes()
    ends = [index for start, end in spans for index in (start, end - 1)]
    if char_of is not None:
        ends = [char_of(index) for index in ends]
    rects = (raw.FS_RECTF * len(ends))()
    handle, loose = textpage.raw, raw.FPDFText_GetLooseCharBox
    failed = [i for i, (index, rect) in enumerate(zip(ends, rects, strict=True)) if not loose(handle, index, rect)]
    # FS_RECTF is left, top, right, bottom
    values = np.frombuffer(rects, dtype=np.float32).reshape(-1, 2, 4).copy()
    values.reshape(-1, 4)[failed] = np.nan
    left, top, right, bottom = (values[:, :, i] for i in range(4))
    user = np.stack([left.min(1), bottom.min(1), right.max(1), top.max(1)], axis=1)
    return _to_display(page, user)


def _to_display(page: pdfium.PdfPage, user: Boxes) -> Boxes:
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
    boxes = np.stack(columns, axis=1)
    boxes[:, 0::2] = np.clip(boxes[:, 0::2], 0, width)
    boxes[:, 1::2] = np.clip(boxes[:, 1::2], 0, height)
    outside = ~((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]))
    boxes[outside] = np.nan
    return boxes


# ------------------------------------------------------------------------------------------------ text of a page


class _Vocabulary:
    """Decides whether a line-end hyphen belongs to the word, by how the rest of the document writes it."""

    def __init__(self, texts: list[str]) -> None:
        self._texts = texts
        self._words: frozenset[str] | None = None

    def keeps_hyphen(self, left: str, right: str) -> bool:
        """True for "non-|breaching", False for "docu-|ment"."""
        left, right = re.sub(r"^\W+", "", left), re.sub(r"\W+$", "", right)
        if not left or not right or not left[-1].isalpha() or not right[0].islower():
            return True
        if self._words is None:
            whole = re.sub(rf"\S*[{_HYPHENS}]\S*", " ", " ".join(self._texts))
            found = re.findall(r"[^\W_]+(?:-[^\W_]+)*", whole.lower())
            self._words = frozenset(found)
        left, right = left.lower(), right.lower()
        if f"{left}-{right}" in self._words:
            return True
        if f"{left}{right}" in self._words:
            return False
        return left.rsplit("-", 1)[-1] in _KEEP_PREFIX or (left in self._words and right in self._words)


def _words(page: _RawPage, vocabulary: _Vocabulary) -> Words:
    """The page's words in reading order, cleaned, each with the white space before it and its box."""
    text = page.text
    special = _SPECIAL.search(text) is not None
    hyphens = _HYPHEN.search(text) is not None
    tops, bottoms = page.boxes[:, 1].tolist(), page.boxes[:, 3].tolist()
    spaces: list[str] = []
    texts: list[str] = []
    kept: list[int] = []
    previous = 0
    for i, (start, end) in enumerate(page.spans):
        piece = text[start:end]
        if special and _SPECIAL.search(piece):
            piece = _SPECIAL.sub("", piece.translate(_LIGATURES))
            if not piece:
                continue
        gap = text[previous:start]
        if gap == " " or gap == "" or not texts:
            space = gap if texts else ""
        elif hyphens and _HYPHEN.search(gap):
            space = ""
            if vocabulary.keeps_hyphen(texts[-1], piece):
                texts[-1] += "-"
        elif "\n" in gap or "\r" in gap:
            last = kept[-1]
            space = _break(tops[last], bottoms[last], tops[i], bottoms[i])
        else:
            space = " "
        spaces.append(space)
        texts.append(piece)
        kept.append(i)
        previous = end
    if hyphens and texts and _HYPHEN.search(text, previous):
        texts[-1] += "-"
    return Words(spaces, texts, page.boxes[kept] if len(kept) < len(page.spans) else page.boxes)


def _break(last_top: float, last_bottom: float, top: float, bottom: float) -> str:
    """A new line, or a blank line where the page leaves more than most of a line's height free."""
    return "\n\n" if top - last_bottom > 0.7 * min(last_bottom - last_top, bottom - top) else "\n"


# ------------------------------------------------------------------------------------------------ scanned pages


def _usable(text: str) -> int:
    return sum(1 for character in text if character.isalnum())


def _needs_ocr(page: pdfium.PdfPage, text: str) -> bool:
    """True when the page shows something but its text layer is missing, a mere stamp on a scan, or garbage."""
    solid = len(text) - sum(map(text.count, " \r\n\t\xa0"))
    if solid and len(_GARBAGE.findall(text)) > _GARBAGE_SHARE * solid:
        return True
    if solid >= 4 * _FEW_CHARACTERS:
        return False
    usable = _usable(text)
    if usable >= _FEW_CHARACTERS:
        return False
    if usable == 0 and _draws_something(page):
        return True
    width, height = page.get_size()
    area = max(width * height, 1.0)
    return any(_area(item) > _SCAN_COVERAGE * area for item in page.get_objects([raw.FPDF_PAGEOBJ_IMAGE], max_depth=3))


def _draws_something(page: pdfium.PdfPage) -> bool:
    """True for a picture, a form, or drawings enough to be letters drawn as outlines; a few ruled lines are nothing."""
    count = raw.FPDFPage_CountObjects(page)
    if count >= _FEW_DRAWINGS:
        return True
    kinds = {raw.FPDFPageObj_GetType(raw.FPDFPage_GetObject(page, i)) for i in range(count)}
    return bool(kinds - {raw.FPDF_PAGEOBJ_PATH, raw.FPDF_PAGEOBJ_TEXT})


def _area(item: Any) -> float:
    try:
        left, bottom, right, top = item.get_bounds()
    except pdfium.PdfiumError:
        return 0.0
    return float(abs(right - left) * abs(top - bottom))


def _add_scanned(
    builder: DocumentBuilder,
    document: pdfium.PdfDocument,
    index: int,
    page: _RawPage,
    vocabulary: _Vocabulary,
    *,
    always: bool,
) -> None:
    """Read a page by OCR; keep the text layer where OCR finds less than it holds, unless `always` was asked for."""
    garbage = _GARBAGE.search(page.text) is not None
    layer = Words([], [], no_boxes()) if garbage else _words(page, vocabulary)
    width, height = page.width or 0.0, page.height or 0.0
    image, scale = _render(document, index, width, height) if width > 0 and height > 0 else (None, 1.0)
    if image is not None:
        from ingest.parse.ocr import read_image, words_of  # loads onnxruntime: only when a scan turns up

        result = read_image(image, points_per_pixel=1 / scale)
        found = sum(_usable(line.text) for line in result.lines)
        if found and (garbage or always or found >= _usable(page.text)):
            builder.add_page(words_of(result), width=width, height=height, ocr_confidence=result.confidence)
            return
    if not layer.texts:
        builder.warn(f"page {index + 1}: no text found" + (", by OCR either" if image is not None else ""))
    builder.add_page(layer, width=page.width, height=page.height)


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
            if int(image.max()) - int(image.min()) < 24:
                return None, scale
        if image.ndim == 2 or image.shape[2] == 1:
            image = np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2)
        return np.ascontiguousarray(image[:, :, :3]), scale
