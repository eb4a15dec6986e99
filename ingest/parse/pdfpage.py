"""One PDF page as PDFium reads it: its text, the words in it, and their boxes as displayed.

Text and word records are built together, character by character where anything is changed (line-end hyphens,
ligatures, control characters), so an offset always means the same characters in both. Boxes are those of the page as
displayed: after CropBox and rotation, origin top left, in points.
"""

from __future__ import annotations

import ctypes
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import repeat

import numpy as np
import pypdfium2 as pdfium
import pypdfium2.raw as raw
from numpy.typing import NDArray

from ingest.parse.build import Boxes, Spans, Words, no_boxes
from ingest.parse.drawings import rulings_of
from ingest.parse.drawn import Drawn, I, P, quick
from ingest.parse.geometry import to_display, turned
from ingest.parse.hostile import odd_characters
from ingest.parse.notes import has_attachments, notes_of
from ingest.parse.rows import TABLE_LINES, wide_gaps
from ingest.parse.rulings import Rulings
from ingest.parse.scans import needs_ocr, unread_pictures, usable
from ingest.parse.unseen import Looks, unseen_words, words_outside
from strongroom.types import Box, OcrMode

MOST_POINTS = 200_000.0  # 70 m: no sheet is longer, so such a page is never drawn
_ASKED = 7
_loose_box = quick("FPDFText_GetLooseCharBox", I, P, I, P)
_HYPHENS = "\ufffe\x02"  # PDFium's marks for a hyphen at a line end that it joined across
_LIGATURES = str.maketrans(
    {"\ufb00": "ff", "\ufb01": "fi", "\ufb02": "fl", "\ufb03": "ffi", "\ufb04": "ffl", "\ufb05": "st", "\ufb06": "st"}
)
_WIDE = "\u2e80-\u303f\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uffef"
_GAP, _LETTER, _ALONE = 0, 1, 2
_BEYOND = 0x10000
_LAST = np.array([0, 1])  # from the end of a word to its last character
_SPECIAL = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f\xad\u200b-\u200f\u2060\ufeff\ufb00-\ufb06]")
_HYPHEN = re.compile(f"[{_HYPHENS}]")
_KEEP_PREFIX = frozenset(
    {"non", "co", "pre", "post", "re", "anti", "self", "semi", "sub", "multi", "inter", "intra", "cross", "ex"}
    | {"counter", "off", "set", "long", "short", "well", "high", "low"}
)


@dataclass(slots=True)
class RawPage:
    """One page as PDFium gives it: `spans` are the word parts in `text`, `boxes` their places on the upright page.

    Turning the upright page clockwise by `quarters` quarter turns gives the page as displayed: text that is printed
    sideways is read upright.
    """

    text: str
    width: float | None
    height: float | None
    spans: Spans = field(default_factory=lambda: np.empty((0, 2), dtype=np.int64))
    boxes: Boxes = field(default_factory=no_boxes)
    rulings: Rulings = field(default_factory=Rulings)
    gaps: int | None = None  # lines of print that wide gaps break, where that was counted
    quarters: int = 0
    notes: Words | None = None  # what forms and comments say, with boxes as displayed
    attachments: bool = False  # files are pinned to it
    ocr: bool = False
    unseen: dict[str, Boxes] = field(default_factory=dict)  # boxes, as displayed, of words that do not show, by reason
    outside: list[str] = field(default_factory=list)  # runs of words that lie outside the page
    odd: list[tuple[str, Boxes]] = field(default_factory=list)  # words with odd characters in them, and what is odd
    pictures: list[Box] = field(default_factory=list)  # large pictures without words over them, as displayed
    problem: str | None = None


# ------------------------------------------------------------------------------------------------ reading pages


def read_page(document: pdfium.PdfDocument, index: int, ocr: OcrMode, looks: Looks | None = None) -> RawPage:
    """Read a page. With `looks`, words that do not show on it are noted too."""
    try:
        page = document[index]
    except pdfium.PdfiumError:
        return RawPage("", None, None, problem="cannot be loaded")
    try:
        width, height = page.get_size()
        try:
            textpage = page.get_textpage()
        except pdfium.PdfiumError:
            return RawPage("", width, height, ocr=ocr != "never", problem="its text cannot be read")
        try:
            text, char_of = _text_of(textpage)
            drawn = Drawn(page)
            result = RawPage(text, width, height, notes=notes_of(page), attachments=has_attachments(page))
            sheet = max(width, height) <= MOST_POINTS
            result.ocr = sheet and (ocr == "always" or (ocr == "auto" and needs_ocr(page, text, drawn)))
            if not result.ocr or usable(text):
                result.spans = word_spans(text)
                result.boxes = _measure(page, textpage, result.spans, char_of)
                if looks is not None:
                    result.unseen = unseen_words(page, textpage, result.spans, result.boxes, char_of, looks, drawn)
                    result.outside = words_outside(text, result.spans, result.boxes)
                    result.odd = _odd(text, result.spans, result.boxes)
                if sheet and ocr == "auto" and not result.ocr:
                    result.pictures = unread_pictures(page, result.boxes, drawn)
                result.quarters = _quarters(page, textpage, result.spans, char_of)
                if result.quarters:
                    result.boxes = turned(result.boxes, -result.quarters, width, height)
                else:
                    result.gaps = wide_gaps(result.boxes)
                    if result.gaps >= TABLE_LINES:
                        result.rulings = rulings_of(page, drawn)
            return result
        finally:
            textpage.close()
    finally:
        page.close()


def _odd(text: str, spans: Spans, boxes: Boxes) -> list[tuple[str, Boxes]]:
    """Lines with odd characters: what is odd, and the boxes of their words."""
    if text.isascii() or odd_characters(text) is None:
        return []
    found, at = [], 0
    for line in text.splitlines(keepends=True):
        what = odd_characters(line)
        if what is not None:
            found.append((what, boxes[(spans[:, 0] < at + len(line)) & (spans[:, 1] > at)]))
        at += len(line)
    return found


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


def _quarters(
    page: pdfium.PdfPage,
    textpage: pdfium.PdfTextPage,
    spans: Spans,
    char_of: Callable[[int], int] | None,
) -> int:
    """Clockwise quarter turns at which most of the page's text is printed, asked of a few words."""
    turns = []
    for start, end in spans[:: max(len(spans) // _ASKED, 1)].tolist():
        if end - start > 1:
            angle = raw.FPDFText_GetCharAngle(textpage, char_of(start) if char_of is not None else start)
            turns.append(round(math.degrees(angle) / 90) if angle >= 0 else 0)
    if not turns:
        return 0
    most = max(set(turns), key=turns.count)
    if 2 * turns.count(most) <= len(turns):
        return 0
    return int(page.get_rotation() // 90 + most) % 4


def _measure(
    page: pdfium.PdfPage,
    textpage: pdfium.PdfTextPage,
    spans: Spans,
    char_of: Callable[[int], int] | None,
) -> Boxes:
    """Boxes of words, shape `(n, 4)`, NaN where PDFium has none: two calls a word, on its first and last character."""
    if not len(spans):
        return no_boxes()
    ends = (spans - _LAST).ravel().tolist()
    if char_of is not None:
        ends = [char_of(index) for index in ends]
    rects = (raw.FS_RECTF * len(ends))()
    first, size = ctypes.addressof(rects), ctypes.sizeof(raw.FS_RECTF)
    handle = ctypes.cast(textpage.raw, ctypes.c_void_p).value
    done = list(map(_loose_box, repeat(handle), ends, range(first, first + size * len(ends), size)))
    # FS_RECTF is left, top, right, bottom
    values = np.frombuffer(rects, dtype=np.float32).reshape(-1, 2, 4)
    if not all(done):
        values = values.copy()
        values.reshape(-1, 4)[~np.array(done, dtype=bool)] = np.nan
    begin, end = values[:, 0], values[:, 1]
    low, high = np.minimum(begin, end), np.maximum(begin, end)
    return to_display(page, np.stack([low[:, 0], low[:, 3], high[:, 2], high[:, 1]], axis=1))


# ------------------------------------------------------------------------------------------------ text of a page


def word_spans(text: str) -> Spans:
    """Where words begin and end, or the parts of one before and after a line-end hyphen, which stand on two lines.

    Scripts without spaces get a record a character, so that a highlight does not cover the whole line.
    """
    kinds = _kinds()[np.minimum(_codes(text), _BEYOND)]
    edge = np.ones(len(kinds) + 1, dtype=bool)
    edge[1:-1] = (kinds[1:] != kinds[:-1]) | (kinds[1:] == _ALONE)
    edges = np.flatnonzero(edge)
    begins = edges[:-1]
    words = kinds[begins] != _GAP if len(kinds) else np.zeros(len(begins), dtype=bool)
    return np.stack((begins[words], edges[1:][words]), axis=1)


def _codes(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)


@lru_cache(maxsize=1)
def _kinds() -> NDArray[np.uint8]:
    """What each character below `_BEYOND` is to a word, and at `_BEYOND` what all others are."""
    kinds = np.full(_BEYOND + 1, _LETTER, dtype=np.uint8)
    plain = "".join(map(chr, range(_BEYOND)))
    for pattern, kind in ((rf"[\s{_HYPHENS}]", _GAP), (f"[{_WIDE}]", _ALONE)):
        kinds[[match.start() for match in re.finditer(pattern, plain)]] = kind
    return kinds


class Vocabulary:
    """How the document writes: whether a line-end hyphen belongs to the word, and how high its words usually are."""

    def __init__(self, texts: list[str], boxes: Sequence[Boxes] = ()) -> None:
        self._texts = texts
        placed = np.concatenate([box[:, 3] - box[:, 1] for box in boxes]) if boxes else no_boxes()[:, 0]
        placed = placed[~np.isnan(placed)]
        self.height = float(np.median(placed)) if len(placed) else None
        self._words: frozenset[str] | None = None

    def keeps_hyphen(self, left: str, right: str) -> bool:
        """True for "non-|breaching", False for "docu-|ment"."""
        left, right = re.sub(r"^\W+", "", left), re.sub(r"\W+$", "", right)
        if not left or not right or not left[-1].isalpha() or not right[0].islower():
            return True
        if self._words is None:
            tokens = {token for text in self._texts for token in text.split()}
            whole = (t for t in tokens if not _HYPHEN.search(t) and not (t[-1] == "-" and len(t) > 1))
            found = re.findall(r"[^\W_]+(?:-[^\W_]+)*", " ".join(whole).lower())
            self._words = frozenset(found)
        left, right = left.lower(), right.lower()
        if f"{left}-{right}" in self._words:
            return True
        if f"{left}{right}" in self._words:
            return False
        return left.rsplit("-", 1)[-1] in _KEEP_PREFIX or (left in self._words and right in self._words)


def words_of(page: RawPage, vocabulary: Vocabulary) -> Words:
    """The page's words in reading order, cleaned, each with the white space before it and its box."""
    text, spans, boxes = page.text, page.spans, page.boxes
    hyphens = _HYPHEN.search(text) is not None
    texts = text.split()  # as a rule the same words, at half the cost
    if hyphens or len(texts) != len(spans):
        texts = [text[start:end] for start, end in spans.tolist()]
    if _SPECIAL.search(text):
        texts = [_clean(piece) if _SPECIAL.search(piece) else piece for piece in texts]
        kept = [i for i, piece in enumerate(texts) if piece]
        if len(kept) < len(spans):
            texts, spans, boxes = [texts[i] for i in kept], spans[kept], boxes[kept]
    if not texts:
        return Words([], [], boxes)
    ends, starts = spans[:-1, 1], spans[1:, 0]
    joined = starts == ends
    spaces = ["", *["" if is_joined else " " for is_joined in joined.tolist()]]
    tops, bottoms = boxes[:, 1].tolist(), boxes[:, 3].tolist()
    wide = np.flatnonzero(~joined & ((starts - ends > 1) | (_codes(text)[ends] != ord(" "))))
    for i, begin, end in zip((wide + 1).tolist(), ends[wide].tolist(), starts[wide].tolist(), strict=True):
        gap = text[begin:end]
        if hyphens and _HYPHEN.search(gap):
            spaces[i] = ""
            if vocabulary.keeps_hyphen(texts[i - 1], texts[i]):
                texts[i - 1] += "-"
        elif "\n" in gap or "\r" in gap:
            spaces[i] = _break(tops[i - 1], bottoms[i - 1], tops[i], bottoms[i])
    if hyphens and _HYPHEN.search(text, int(spans[-1, 1])):
        texts[-1] += "-"
    return Words(spaces, texts, boxes)


def _clean(piece: str) -> str:
    return _SPECIAL.sub("", piece.translate(_LIGATURES))


def _break(last_top: float, last_bottom: float, top: float, bottom: float) -> str:
    """A new line, or a blank line where the page leaves more than most of a line's height free."""
    return "\n\n" if top - last_bottom > 0.7 * min(last_bottom - last_top, bottom - top) else "\n"
