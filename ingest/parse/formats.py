"""The formats: what each is called, how it is parsed, where its citations point, what it needs, or why it is refused.

The one list behind the dispatch, the refusals and `docs/reference/formats.md`. Types come from `ingest.mime`, which
goes by content; the suffixes here are for people to read. Parsers are named and not imported, so that a child loads
the libraries of the formats it meets and no others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from ingest.mime import DOCX, PPTX, XLSX
from strongroom.types import ParsedDocument

ODF = "application/vnd.oasis.opendocument."


@dataclass(frozen=True, slots=True)
class Format:
    """One format. `parser` is `module:function` below `ingest.parse`, called with the path and, by keyword, what
    `takes` names of the parse's options. Without a parser the format is refused with `instead` as the hint."""

    mime: str
    name: str
    suffixes: str
    located: str = ""
    parser: str = ""
    takes: tuple[str, ...] = ()
    needs: str = ""
    instead: str = ""

    def load(self) -> Callable[..., ParsedDocument]:
        """Import the parser."""
        module, _, function = self.parser.partition(":")
        loaded: Callable[..., ParsedDocument] = getattr(import_module(f"ingest.parse.{module}"), function)
        return loaded


_OCR = ("ocr", "heartbeat")
_IMAGE = ("mime", *_OCR)
_ARCHIVE = ("mime", "sink", "passwords")
_AUDIO = ("mime", "speech", "heartbeat")

FORMATS: tuple[Format, ...] = (
    Format("application/pdf", "PDF", ".pdf", "page", "pdf:parse_pdf", (*_OCR, "passwords", "sink")),
    # office
    Format(DOCX, "Word document", ".docx .docm", "section", "office:parse_office", ("mime",)),
    Format(PPTX, "PowerPoint slides", ".pptx .pptm", "slide", "office:parse_office", ("mime",)),
    Format(XLSX, "Excel workbook", ".xlsx .xlsm", "sheet", "sheets:parse_workbook"),
    Format("application/msword", "legacy Word", ".doc", "section", "convert:parse_legacy", ("mime",), "LibreOffice"),
    Format(
        "application/vnd.ms-powerpoint",
        "legacy PowerPoint",
        ".ppt",
        "slide",
        "convert:parse_legacy",
        ("mime",),
        "LibreOffice",
    ),
    Format("application/vnd.ms-excel", "legacy Excel", ".xls", "sheet", "sheets:parse_legacy_workbook"),
    Format(f"{ODF}text", "OpenDocument text", ".odt", "section", "convert:parse_with_pandoc", ("mime",)),
    Format(f"{ODF}spreadsheet", "OpenDocument spreadsheet", ".ods", "sheet", "opendocument:parse_spreadsheet"),
    Format(f"{ODF}presentation", "OpenDocument slides", ".odp", "slide", "opendocument:parse_slides"),
    Format("application/rtf", "rich text", ".rtf", "section", "convert:parse_with_pandoc", ("mime",)),
    Format("application/epub+zip", "e-book", ".epub", "section", "convert:parse_with_pandoc", ("mime",)),
    Format("application/x-ole-encrypted", "encrypted office file", "", instead="save a copy without a password"),
    # web and text
    Format("text/html", "web page", ".html .htm .xhtml", "section", "office:parse_office", ("mime",)),
    Format("text/markdown", "Markdown", ".md", "section", "office:parse_office", ("mime",)),
    Format("text/x-rst", "reStructuredText", ".rst", "section", "convert:parse_with_pandoc", ("mime",)),
    Format("text/org", "Org", ".org", "section", "convert:parse_with_pandoc", ("mime",)),
    Format("application/xml", "XML", ".xml", "line", "data:parse_xml"),
    Format("application/json", "JSON", ".json", "line", "text:parse_text", ("mime",)),
    Format("application/x-ndjson", "JSON lines", ".ndjson .jsonl", "line", "text:parse_text", ("mime",)),
    Format("text/csv", "comma- or semicolon-separated table", ".csv", "sheet", "sheets:parse_delimited", ("mime",)),
    Format("text/tab-separated-values", "tab-separated table", ".tsv", "sheet", "sheets:parse_delimited", ("mime",)),
    Format("text/plain", "plain text and source code", ".txt .log .py …", "line", "text:parse_text", ("mime",)),
    # mail and archives
    Format("message/rfc822", "mail message", ".eml", "message", "mail:parse_mail", ("sink",)),
    Format("application/mbox", "mailbox", ".mbox", "section", "mail:parse_mailbox", ("sink",)),
    Format("application/vnd.ms-outlook", "Outlook message", ".msg", "message", "outlook:parse_outlook", ("sink",)),
    Format("application/zip", "zip archive", ".zip", "section", "archive:parse_archive", _ARCHIVE),
    Format("application/x-tar", "tar archive", ".tar", "section", "archive:parse_archive", _ARCHIVE),
    Format("application/gzip", "gzip file", ".gz .tar.gz .tgz", "section", "archive:parse_archive", _ARCHIVE),
    Format("application/x-bzip2", "bzip2 file", ".bz2 .tar.bz2", "section", "archive:parse_archive", _ARCHIVE),
    Format("application/x-xz", "xz file", ".xz .tar.xz", "section", "archive:parse_archive", _ARCHIVE),
    Format("application/x-7z-compressed", "7z archive", ".7z", "section", "archive:parse_archive", _ARCHIVE),
    Format("application/vnd.rar", "RAR archive", ".rar", instead="unpack it and ingest the folder"),
    # images
    Format("image/png", "PNG image", ".png", "page", "images:parse_image", _IMAGE),
    Format("image/jpeg", "JPEG image", ".jpg .jpeg", "page", "images:parse_image", _IMAGE),
    Format("image/tiff", "TIFF scan", ".tif .tiff", "page", "images:parse_image", _IMAGE),
    Format("image/bmp", "bitmap image", ".bmp", "page", "images:parse_image", _IMAGE),
    Format("image/gif", "GIF image", ".gif", "page", "images:parse_image", _IMAGE),
    Format("image/webp", "WebP image", ".webp", "page", "images:parse_image", _IMAGE),
    Format("image/heic", "HEIC image", ".heic .heif", "page", "images:parse_image", _IMAGE),
    # recordings
    Format("audio/wav", "WAV recording", ".wav", "time", "audio:parse_audio", _AUDIO, "a speech model"),
    Format("audio/mpeg", "MP3 recording", ".mp3", "time", "audio:parse_audio", _AUDIO, "a speech model"),
    Format("audio/flac", "FLAC recording", ".flac", "time", "audio:parse_audio", _AUDIO, "a speech model"),
    Format("audio/ogg", "Ogg recording", ".ogg .opus", "time", "audio:parse_audio", _AUDIO, "a speech model"),
    Format("audio/mp4", "AAC recording", ".m4a", "time", "audio:parse_audio", _AUDIO, "a speech model, FFmpeg"),
    Format("audio/aac", "raw AAC recording", ".aac", "time", "audio:parse_audio", _AUDIO, "a speech model, FFmpeg"),
    # refused by name, with what to do instead
    Format("application/vnd.sqlite3", "SQLite database", ".db .sqlite", instead="export its tables as CSV"),
    Format("application/x-executable", "program (ELF)", "", instead="leave programs out of the folder"),
    Format("application/x-msdownload", "program (Windows)", ".exe .dll", instead="leave programs out of the folder"),
    Format("image/avif", "AVIF image", ".avif", instead="save it as JPEG or PNG"),
    Format("video/mp4", "video", ".mp4 .mov", instead="extract its sound as WAV or M4A and ingest that"),
)

BY_MIME = {format_.mime: format_ for format_ in FORMATS}


def format_of(mime: str) -> Format:
    """The format of a MIME type; text of any kind is plain text, and what is not listed is refused by its type."""
    if mime not in BY_MIME and mime.startswith("text/"):
        mime = "text/plain"
    return BY_MIME.get(mime) or Format(mime, mime, "", instead="convert it to PDF or text and ingest that")
