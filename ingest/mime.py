"""Tell a file's type from its bytes. The name only breaks ties between kinds of text (a .csv and a .txt look alike).

Signatures are our own short list of what the parsers read or name in a refusal, so that a type is never guessed from
a file name and no system library (libmagic) decides. Must not unpack anything beyond a zip's directory: this runs in
the main process.
"""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

from ingest.encoding import decode, looks_binary
from strongroom.errors import ParseError

DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
PPTX = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
_HEAD = 64 * 1024
_PDF_OBJECT = re.compile(rb"^\d+ \d+ obj\b", re.MULTILINE)  # a PDF that lost its header is not prose
_OLE_SCAN = 8 * 1024 * 1024
_MIMETYPE_MAX = 200
_JSON_MAX = 4 * 1024 * 1024  # a longer one is called text, which is parsed alike

_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"II*\x00", "image/tiff"),
    (0, b"MM\x00*", "image/tiff"),
    (0, b"II+\x00", "image/tiff"),
    (0, b"GIF8", "image/gif"),
    (0, b"{\\rtf", "application/rtf"),
    (0, b"\x1f\x8b", "application/gzip"),
    (0, b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (0, b"Rar!\x1a\x07", "application/vnd.rar"),
    (0, b"BZh", "application/x-bzip2"),
    (0, b"\xfd7zXZ\x00", "application/x-xz"),
    (257, b"ustar", "application/x-tar"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"\xff\xfb", "audio/mpeg"),
    (0, b"\xff\xf3", "audio/mpeg"),
    (0, b"\xff\xf2", "audio/mpeg"),
    (0, b"\xff\xf1", "audio/aac"),
    (0, b"\xff\xf9", "audio/aac"),
    (0, b"fLaC", "audio/flac"),
    (0, b"OggS", "audio/ogg"),
    (0, b"\x7fELF", "application/x-executable"),
    (0, b"MZ", "application/x-msdownload"),
    (0, b"SQLite format 3\x00", "application/vnd.sqlite3"),
)
_FTYP = {
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"mif1": "image/heic",
    b"avif": "image/avif",
    b"heim": "image/heic",
    b"heis": "image/heic",
    b"msf1": "image/heic",
    b"M4A ": "audio/mp4",
    b"M4B ": "audio/mp4",
}
_ZIP_MIMETYPES = {
    "application/epub+zip",
    "application/vnd.oasis.opendocument.text",
    "application/vnd.oasis.opendocument.spreadsheet",
    "application/vnd.oasis.opendocument.presentation",
}
_OOXML = (("word/", DOCX), ("ppt/", PPTX), ("xl/", XLSX))
_OLE = (
    ("EncryptedPackage", "application/x-ole-encrypted"),
    ("__substg1.0_", "application/vnd.ms-outlook"),
    ("WordDocument", "application/msword"),
    ("PowerPoint Document", "application/vnd.ms-powerpoint"),
    ("Workbook", "application/vnd.ms-excel"),
    ("Book", "application/vnd.ms-excel"),
)
_WEB = {".html", ".htm", ".xls", ".doc"}  # programs save web pages under the last two
_BY_NAME = {
    ".csv": "text/csv",
    ".tsv": "text/tab-separated-values",
    ".tab": "text/tab-separated-values",
    ".md": "text/markdown",
    ".markdown": "text/markdown",
    ".rst": "text/x-rst",
    ".org": "text/org",
    ".eml": "message/rfc822",
}
_MAIL_HEADER = re.compile(
    r"^(from|to|cc|subject|date|message-id|received|mime-version|return-path|delivered-to|reply-to|content-type)"
    r"[ \t]*:",
    re.IGNORECASE | re.MULTILINE,
)
_HTML = re.compile(r"<!doctype\s+html|<html[\s>]|<head[\s>]|<body[\s>]", re.IGNORECASE)
_TAG = re.compile(r"<(p|div|h[1-6]|table|ul|ol|span|a|br|title|meta)\b[^>]*>", re.IGNORECASE)


def detect(path: Path) -> str:
    """The MIME type of a file. Raises `ParseError` for an empty file or one of no known type."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as exc:
        raise ParseError(f"the file cannot be read: {exc.strerror}", hint="check its permissions") from exc
    if not head:
        raise ParseError("the file is empty", hint="replace the file, or remove it")
    mime = _binary_type(path, head)
    if mime is not None:
        return mime
    if looks_binary(head):
        raise ParseError(
            f"unsupported type: binary data of no known format (it begins with {head[:4].hex(' ')})",
            hint="convert it to PDF or text and ingest that",
        )
    return _text_type(path, head)


def _binary_type(path: Path, head: bytes) -> str | None:
    if b"%PDF-" in head[:1024] or (_PDF_OBJECT.search(head[:1024]) and b"endobj" in head):
        return "application/pdf"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip_type(path)
    if head.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        return _ole_type(path)
    if head[4:8] == b"ftyp":
        # Sound alone often bears the brand of video: here the name breaks the tie.
        video = "audio/mp4" if path.suffix.lower() == ".m4a" else "video/mp4"
        return _FTYP.get(head[8:12], video)
    if head.startswith(b"RIFF"):
        return {b"WEBP": "image/webp", b"WAVE": "audio/wav"}.get(head[8:12], "application/x-riff")
    if head.startswith(b"BM") and len(head) > 26 and head[6:10] == b"\x00\x00\x00\x00":
        return "image/bmp"
    for offset, magic, mime in _SIGNATURES:
        if head.startswith(magic, offset) and (len(magic) > 3 or looks_binary(head)):
            return mime
    return None


def _zip_type(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            # The formats demand that this member is stored. A compressed one is not opened: what it would unpack to
            # in this process is whatever its maker wanted, whatever size the directory states.
            if "mimetype" in names and archive.getinfo("mimetype").compress_type == zipfile.ZIP_STORED:
                with archive.open("mimetype") as member:
                    declared = member.read(_MIMETYPE_MAX).decode("ascii", "replace").strip()
                if declared in _ZIP_MIMETYPES:
                    return declared
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError, ValueError) as exc:
        raise ParseError("damaged: a zip-based file whose directory cannot be read", hint="get a fresh copy") from exc
    if "[Content_Types].xml" in names:
        for prefix, mime in _OOXML:
            if any(name.startswith(prefix) for name in names):
                return mime
    return "application/zip"


def _ole_type(path: Path) -> str:
    with path.open("rb") as file:
        data = file.read(_OLE_SCAN)
    for stream, mime in _OLE:
        if stream.encode("utf-16-le") in data:
            return mime
    return "application/x-ole-storage"


def _text_type(path: Path, head: bytes) -> str:
    text, _ = decode(head)
    start = text.lstrip()[:4096]
    suffix = path.suffix.lower()
    if start.startswith("<?xml"):
        return "text/html" if _HTML.search(start[:1024]) else "application/xml"
    if start.startswith("<") and (_HTML.search(start) or (suffix in _WEB and _TAG.search(start))):
        return "text/html"
    if start[:1] in {"{", "["} and (kind := _json_type(path, len(head))):
        return kind
    if text.startswith("From ") and _is_mail(text.partition("\n")[2]):
        return "message/rfc822" if suffix == ".eml" else "application/mbox"
    if _is_mail(start):
        return "message/rfc822"
    if suffix in _BY_NAME:
        return _BY_NAME[suffix]
    if suffix in _WEB and _TAG.search(text):
        return "text/html"
    if suffix not in {".txt", ".text", ".log"} and (kind := _table_type(text)):
        return kind
    return "text/plain"


def _is_mail(text: str) -> bool:
    """True when the first paragraph is a block of RFC 5322 header lines with at least two known ones."""
    block = text.split("\n\n", 1)[0][:8192]
    lines = block.split("\n")
    known = {match.group(1).lower() for match in _MAIL_HEADER.finditer(block)}
    headers = sum(1 for line in lines if re.match(r"[!-9;-~]+[ \t]*:|[ \t]", line))
    personal = known & {"from", "to", "subject", "date", "message-id", "received", "mime-version"}
    return len(known) >= 2 and len(personal) >= 2 and headers >= 0.9 * len([line for line in lines if line.strip()])


def _json_type(path: Path, head_size: int) -> str | None:
    if path.stat().st_size > _JSON_MAX:
        return None
    text, _ = decode(path.read_bytes())
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        lines = [line for line in text.split("\n") if line.strip()][:20]
        try:
            return (
                "application/x-ndjson"
                if len(lines) > 1 and all(isinstance(json.loads(x), dict | list) for x in lines)
                else None
            )
        except (ValueError, RecursionError):
            return None
    return "application/json"


def _table_type(text: str) -> str | None:
    """Tab-, comma- or semicolon-separated when the first lines all split into the same number of columns."""
    lines = [line for line in text.split("\n")[:50] if line.strip()][:20]
    if len(lines) < 3:
        return None
    for delimiter, mime in (("\t", "text/tab-separated-values"), (";", "text/csv"), (",", "text/csv")):
        counts = {line.count(delimiter) for line in lines}
        if len(counts) == 1 and counts.pop() >= 1:
            return mime
    return None
