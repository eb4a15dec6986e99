"""Parsers: the bytes of one file to one text with pages, headings and word boxes.

Runs in a sandboxed child (`ingest.sandbox`). Each format's library is imported when its first file arrives, so a
child that only sees PDFs stays small. Must not write anywhere, reach the network, or know of the catalogue.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ingest.mime import DOCX, PPTX, XLSX
from strongroom.errors import ParseError
from strongroom.types import OcrMode, ParsedDocument

# Part of what a version's parse is keyed by: raise it whenever any parser would give another text for the same bytes.
RECIPE = "parse-1"

Heartbeat = Callable[[], None]

_IMAGES = frozenset({"image/png", "image/jpeg", "image/tiff", "image/bmp", "image/gif", "image/webp"})
_UNSUPPORTED = {
    "application/msword": ("legacy Word (.doc)", "save it as .docx or PDF"),
    "application/vnd.ms-excel": ("legacy Excel (.xls)", "save it as .xlsx"),
    "application/vnd.ms-powerpoint": ("legacy PowerPoint (.ppt)", "save it as .pptx or PDF"),
    "application/vnd.ms-outlook": ("Outlook message (.msg)", "save it as .eml"),
    "application/rtf": ("rich text (.rtf)", "save it as .docx or PDF"),
    "application/epub+zip": ("e-book (.epub)", "save it as PDF or HTML"),
    "application/vnd.oasis.opendocument.text": ("OpenDocument text (.odt)", "save it as .docx or PDF"),
    "application/vnd.oasis.opendocument.spreadsheet": ("OpenDocument spreadsheet (.ods)", "save it as .xlsx"),
    "application/vnd.oasis.opendocument.presentation": ("OpenDocument slides (.odp)", "save it as .pptx or PDF"),
    "application/mbox": ("mailbox (.mbox)", "export its messages as .eml files"),
    "application/zip": ("zip archive", "unpack it and ingest the folder"),
    "image/heic": ("HEIC image", "save it as JPEG or PNG"),
}


def _nothing() -> None:
    return None


def parse_file(path: Path, mime: str, *, ocr: OcrMode = "auto", heartbeat: Heartbeat = _nothing) -> ParsedDocument:
    """Parse a file of a known type. `heartbeat` is called after each slow page (OCR), so a supervisor sees progress.

    Raises `ParseError` (empty, damaged, unsupported, no text) and `QuarantineError` (password, not safe to open).
    """
    document = _dispatch(path, mime, ocr, heartbeat)
    if not document.text.strip():
        raise ParseError("no text found in the document", hint="check that the file shows text when it is opened")
    return document


def _dispatch(path: Path, mime: str, ocr: OcrMode, heartbeat: Heartbeat) -> ParsedDocument:
    if mime == "application/pdf":
        from ingest.parse.pdf import parse_pdf

        return parse_pdf(path, ocr=ocr, heartbeat=heartbeat)
    if mime in _IMAGES:
        from ingest.parse.images import parse_image

        return parse_image(path, mime, ocr=ocr, heartbeat=heartbeat)
    if mime in {DOCX, PPTX, "text/html", "text/markdown"}:
        from ingest.parse.office import parse_office

        return parse_office(path, mime)
    if mime == XLSX:
        from ingest.parse.sheets import parse_workbook

        return parse_workbook(path)
    if mime in {"text/csv", "text/tab-separated-values"}:
        from ingest.parse.sheets import parse_delimited

        return parse_delimited(path, mime)
    if mime == "message/rfc822":
        from ingest.parse.mail import parse_mail

        return parse_mail(path)
    if mime == "application/xml":
        from ingest.parse.data import parse_xml

        return parse_xml(path)
    if mime in {"application/json", "application/x-ndjson"} or mime.startswith("text/"):
        from ingest.parse.text import parse_text

        return parse_text(path, mime)
    what, hint = _UNSUPPORTED.get(mime, (mime, "convert it to PDF or text and ingest that"))
    raise ParseError(f"unsupported type: {what}", hint=hint)
