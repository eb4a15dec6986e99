"""What a PDF says outside the text of its pages: values filled into forms, the words of comments, attached files."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator
from contextlib import closing

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
    for annotation in _annotations(page):
        key = _KEYS.get(raw.FPDFAnnot_GetSubtype(annotation))
        words = _value(annotation, key).split() if key else []
        rect = raw.FS_RECTF()
        if words and raw.FPDFAnnot_GetRect(annotation, ctypes.byref(rect)):
            spaces += ["\n\n"] + [" "] * (len(words) - 1)
            texts += words
            rects += [(rect.left, min(rect.bottom, rect.top), rect.right, max(rect.bottom, rect.top))] * len(words)
    if not texts:
        return None
    return Words(spaces, texts, to_display(page, np.array(rects, dtype=np.float32)))


def has_attachments(page: pdfium.PdfPage) -> bool:
    """Whether files are pinned to the page."""
    return any(raw.FPDFAnnot_GetSubtype(note) == raw.FPDF_ANNOT_FILEATTACHMENT for note in _annotations(page))


def attachments(document: pdfium.PdfDocument, pages: Iterable[int]) -> Iterator[tuple[str, bytes | None]]:
    """Name and bytes of each file in the document's list of attachments, then of those pinned to `pages`.

    One that stands in both comes once. No bytes: it is empty or damaged.
    """
    listed = set()
    for index in range(document.count_attachments()):
        try:
            found = _opened(document.get_attachment(index))
        except pdfium.PdfiumError:  # the list names what is not there
            found = "", None
        listed.add(found[0])
        yield found
    for number in pages:
        with closing(document[number]) as page:
            for note in _annotations(page):
                handle = raw.FPDFAnnot_GetFileAttachment(note)
                if handle and (found := _opened(pdfium.PdfAttachment(handle, document)))[0] not in listed:
                    yield found


def _opened(attachment: pdfium.PdfAttachment) -> tuple[str, bytes | None]:
    try:
        name = attachment.get_name()
    except (pdfium.PdfiumError, UnicodeError):
        name = ""
    try:
        return name, bytes(attachment.get_data())
    except pdfium.PdfiumError:
        return name, None


def _annotations(page: pdfium.PdfPage) -> Iterator[object]:
    """Each annotation of the page, open until the next is asked for."""
    for index in range(min(raw.FPDFPage_GetAnnotCount(page), _MOST)):
        annotation = raw.FPDFPage_GetAnnot(page, index)
        if annotation:
            try:
                yield annotation
            finally:
                raw.FPDFPage_CloseAnnot(annotation)


def _value(annotation: object, key: bytes) -> str:
    size = raw.FPDFAnnot_GetStringValue(annotation, key, None, 0)
    if not 2 < size <= 2 * _CHARACTERS:
        return ""
    buffer = ctypes.create_string_buffer(size)
    raw.FPDFAnnot_GetStringValue(annotation, key, ctypes.cast(buffer, ctypes.POINTER(raw.FPDF_WCHAR)), size)
    text = buffer.raw[: size - 2].decode("utf-16-le", "replace")
    return "".join(character if character.isprintable() else " " for character in text)
