"""Parsers: the bytes of one file to one text with pages, headings and word boxes.

Runs in a sandboxed child (`ingest.sandbox`). Each format's library is imported when its first file arrives, so a
child that only sees PDFs stays small. Must not write anywhere, reach the network, or know of the catalogue.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ingest.mime import detect
from ingest.parse.archive import ARCHIVES
from ingest.parse.formats import format_of
from ingest.parse.hostile import flagged
from ingest.parse.inside import Nowhere, Sink
from ingest.parse.locked import MAY_BE_LOCKED, unlocked
from strongroom.errors import ParseError
from strongroom.ports import SpeechModel
from strongroom.types import OcrMode, ParsedDocument

# Part of what a version's parse is keyed by: raise it whenever any parser would give another text for the same bytes.
RECIPE = "parse-11"

# Types whose text only lists what lies inside: nothing of it is worth searching.
LISTINGS = ARCHIVES | {"application/mbox"}
Heartbeat = Callable[[], None]


NO_TEXT = "open the file: it may be empty, or its words stand in pictures; saved as PDF, pictures are read too"


def _nothing() -> None:
    return None


def parse_file(
    path: Path,
    mime: str,
    *,
    ocr: OcrMode = "auto",
    heartbeat: Heartbeat = _nothing,
    members: Sink | None = None,
    passwords: Sequence[str] = (),
    speech: SpeechModel | None = None,
) -> ParsedDocument:
    """Parse a file of a known type. `heartbeat` is called after each slow page (OCR), so a supervisor sees progress.

    What lies inside it goes to `members` while it is read. `passwords` are tried in order on what is locked.
    `speech` transcribes recordings.

    Raises `ParseError` (empty, damaged, unsupported, no text) and `QuarantineError` (password, not safe to open).
    """
    if mime in MAY_BE_LOCKED:
        copy = unlocked(path, mime, passwords)
        if copy is not None:
            path, mime = copy, detect(copy)
    format_ = format_of(mime)
    if not format_.parser:
        raise ParseError(f"unsupported type: {format_.name}", hint=format_.instead)
    sink = members if members is not None else Nowhere()
    options = {
        "mime": mime,
        "ocr": ocr,
        "heartbeat": heartbeat,
        "sink": sink,
        "passwords": passwords,
        "speech": speech,
    }
    document = format_.load()(path, **{name: options[name] for name in format_.takes})
    if not document.text.strip():
        if mime.startswith("image/"):
            raise ParseError("no text was found in the image", hint="only pictures of text can be searched")
        raise ParseError("no text found in the document", hint=NO_TEXT)
    return flagged(document)
