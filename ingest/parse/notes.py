"""What a PDF page says outside its own text: values filled into forms, and the words of comments."""

from __future__ import annotations

import ctypes

import numpy as np
import pypdfium2 as pdfium
import pypdfium2.raw as raw

from ingest.parse.build import Words
from ingest.parse.geometry import to_display

_MOST = 2000
_CHARACTERS = 20_000
_KEYS = {
    raw.FPDF_ANNOT_WIDGET: b"V",
    raw.FPDF_ANNOT_TEXT: b"Contents",
    raw.FPDF_ANNOT_FREETEXT: b"Contents",
    raw.FPDF_ANNOT_HIGHLIGHT: b"Contents",
    raw.FPDF_ANNOT_STAMP: b"Contents",
}


def notes_of(page: pdfium.PdfPage) -> Words | None:
    """The words of filled fields and comments in the file's order, each with the box of its field or mark."""
    spaces: list[str] = []
    texts: list[str] = []
    rects: list[tuple[float, float, float, float]] = []
    for index in range(min(raw.FPDFPage_GetAnnotCount(page), _MOST)):
        annotation = raw.FPDFPage_GetAnnot(page, index)
        if not annotation:
            continue
        try:
            key = _KEYS.get(raw.FPDFAnnot_GetSubtype(annotation))
            words = _value(annotation, key).split() if key else []
            rect = raw.FS_RECTF()
            if words and raw.FPDFAnnot_GetRect(annotation, ctypes.byref(rect)):
                spaces += ["\n\n"] + [" "] * (len(words) - 1)
                texts += words
                rects += [(rect.left, min(rect.bottom, rect.top), rect.right, max(rect.bottom, rect.top))] * len(words)
        finally:
            raw.FPDFPage_CloseAnnot(annotation)
    if not texts:
        return None
    return Words(spaces, texts, to_display(page, np.array(rects, dtype=np.float32)))


def _value(annotation: object, key: bytes) -> str:
    size = raw.FPDFAnnot_GetStringValue(annotation, key, None, 0)
    if not 2 < size <= 2 * _CHARACTERS:
        return ""
    buffer = ctypes.create_string_buffer(size)
    raw.FPDFAnnot_GetStringValue(annotation, key, ctypes.cast(buffer, ctypes.POINTER(raw.FPDF_WCHAR)), size)
    text = buffer.raw[: size - 2].decode("utf-16-le", "replace")
    return "".join(character if character.isprintable() else " " for character in text)
