"""What a parser child sends back: length-prefixed JSON and raw bytes, checked on arrival. Never pickle.

A child that a hostile file has taken over may send anything. Its frames are data: bounded, decoded by JSON, and
refused unless pages tile the text and offsets are in range. Standard library only.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from typing import Any, get_args

from strongroom.types import (
    PERSONAL_KINDS,
    Chunk,
    Flag,
    FlagKind,
    Heading,
    Locator,
    Page,
    ParsedDocument,
    PersonalData,
    PersonalSpan,
)

_HEADER = struct.Struct("<BQ")
_WORD_RECORD = 24
_MAX_REPEATED = 16  # characters of chunks for each character of text; an honest overlap stays far below

HELLO, RESULT, REFUSED, BEAT, BROKEN, BYTES, MEMBER = 1, 2, 3, 4, 5, 6, 7
_KINDS = frozenset({HELLO, RESULT, REFUSED, BEAT, BROKEN, BYTES, MEMBER})
_MAX_PATH = 2048
MOST_FLAGS = 500  # of one document

Read = Callable[[int], bytes]  # exactly that many bytes, or raises


class WireError(Exception):
    """The frame is malformed or too large."""


def frame(kind: int, payload: bytes) -> bytes:
    """A message between parser child and parent: its kind and length, then its bytes."""
    return _HEADER.pack(kind, len(payload)) + payload


def read_frame(read: Read, *, limit: int) -> tuple[int, bytes]:
    """The next frame. Raises `WireError` before reading a payload longer than `limit`."""
    kind, size = _HEADER.unpack(read(_HEADER.size))
    if kind not in _KINDS:
        raise WireError("unknown kind of frame")
    if size > limit:
        raise WireError(f"the result is over the limit of {limit} bytes")
    return kind, read(size)


def encode_member(path: str, refused: str | None) -> bytes:
    """What the BYTES frames before it were: a member's path, or also why its bytes are not to be used."""
    return json.dumps({"path": path, "refused": refused}).encode()


def decode_member(payload: bytes) -> tuple[str, str | None]:
    """The reverse. Raises `WireError` unless the path stays below its container."""
    try:
        head = json.loads(payload)
        path, refused = _typed(head["path"], str), head["refused"]
        path.encode()
    except (ValueError, KeyError, TypeError, RecursionError) as exc:
        raise WireError(f"malformed member ({type(exc).__name__})") from exc
    whole = path.isprintable() and 0 < len(path) <= _MAX_PATH
    _expect(whole and not {"", ".", ".."} & {*path.split("/")}, "a member with an unsafe path")
    return path, None if refused is None else _typed(refused, str)[:1000]


def encode_result(document: ParsedDocument, chunks: list[Chunk]) -> bytes:
    """A document and its chunks: a JSON head with the text, then the pages' layouts one after the other."""
    head = {
        "text": document.text,
        "mime": document.mime,
        "title": document.title,
        "warnings": list(document.warnings),
        "headings": [[h.start, h.end, h.level] for h in document.headings],
        "pages": [
            [
                p.number,
                p.locator.kind,
                p.locator.label,
                p.start,
                p.end,
                p.width,
                p.height,
                len(p.layout),
                p.ocr_confidence,
            ]
            for p in document.pages
        ],
        "flags": [[f.kind, f.start, f.end, f.detail] for f in document.flags],
        "chunks": [[c.start, c.end, list(c.headings), list(c.pages)] for c in chunks],
        "personal": None
        if document.personal is None
        else [document.personal.detector, [[s.kind, s.start, s.end, s.score] for s in document.personal.spans]],
    }
    body = json.dumps(head, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    return b"".join([struct.pack("<Q", len(body)), body, *(p.layout for p in document.pages)])


def decode_result(payload: bytes) -> tuple[ParsedDocument, list[Chunk]]:
    """The reverse, with every claim checked. Raises `WireError`."""
    try:
        (size,) = struct.unpack_from("<Q", payload)
        if size > len(payload) - 8:
            raise WireError("the head is cut short")
        head = json.loads(payload[8 : 8 + size])
        return _document(head, memoryview(payload)[8 + size :])
    except (struct.error, ValueError, KeyError, TypeError, IndexError, OverflowError, RecursionError) as exc:
        raise WireError(f"malformed result ({type(exc).__name__})") from exc


def _document(head: dict[str, Any], layouts: memoryview) -> tuple[ParsedDocument, list[Chunk]]:
    text = _typed(head["text"], str)
    length = len(text)
    pages: list[Page] = []
    position = offset = 0
    for number, kind, label, start, end, width, height, size, confidence in head["pages"]:
        _expect(start == position and start <= end <= length, "pages do not tile the text")
        _expect(isinstance(size, int) and size >= 0 and size % _WORD_RECORD == 0, "a layout has a broken length")
        _expect(offset + size <= len(layouts), "a layout is cut short")
        _expect(kind in {"page", "slide", "sheet", "section", "message", "line", "time"}, "unknown kind of locator")
        layout = bytes(layouts[offset : offset + size])
        _check_layout(layout, start, end)
        locator = Locator(kind, _typed(label, str))
        _expect(number is None or number == len(pages) + 1, "a page is numbered out of order")
        pages.append(
            Page(len(pages), number, locator, start, end, _number(width), _number(height), layout, _number(confidence))
        )
        position, offset = end, offset + size
    _expect(position == length and offset == len(layouts), "pages do not cover the text")
    document = ParsedDocument(
        text=text,
        pages=tuple(pages),
        mime=_typed(head["mime"], str),
        title=None if head["title"] is None else _typed(head["title"], str),
        headings=tuple(
            Heading(*_span(start, end, length, least=0), int(level)) for start, end, level in head["headings"]
        ),
        warnings=tuple(_typed(warning, str) for warning in head["warnings"]),
        flags=_flags(head["flags"], length),
        personal=_personal(head["personal"], length),
    )
    return document, _chunks(head["chunks"], document)


def _personal(found: Any, length: int) -> PersonalData | None:
    if found is None:
        return None
    detector, rows = found
    spans, position = [], 0
    for kind, start, end, score in rows:
        start, end = _span(start, end, length)
        _expect(kind in PERSONAL_KINDS, "an unknown kind of personal data")
        _expect(start >= position, "findings overlap")
        spans.append(PersonalSpan(kind, start, end, min(1.0, _number(score) or 0.0)))
        position = end
    return PersonalData(_typed(detector, str)[:32], tuple(spans))


def _chunks(rows: list[Any], document: ParsedDocument) -> list[Chunk]:
    chunks = []
    left = _MAX_REPEATED * len(document.text)
    for ordinal, (start, end, headings, touched) in enumerate(rows):
        start, end = _span(start, end, len(document.text))
        left -= end - start
        _expect(left >= 0, "the chunks repeat the text too often")  # a short frame must not become gigabytes here
        _expect(all(isinstance(page, int) and 0 <= page < len(document.pages) for page in touched), "unknown page")
        path = tuple(_typed(heading, str) for heading in headings)
        chunks.append(Chunk(ordinal, start, end, document.text[start:end], path, tuple(touched)))
    return chunks


def _flags(rows: list[Any], length: int) -> tuple[Flag, ...]:
    _expect(len(rows) <= MOST_FLAGS, "too many flags")
    flags = []
    for kind, start, end, detail in rows:
        _expect(kind in get_args(FlagKind), "unknown kind of flag")
        flags.append(Flag(kind, *_span(start, end, length), _typed(detail, str)[:200]))
    return tuple(flags)


def _check_layout(layout: bytes, start: int, end: int) -> None:
    """Word offsets stay inside their page: a highlight must not reach into another."""
    if layout:
        offsets = memoryview(layout).cast("I")
        _expect(min(offsets[0::6]) >= start and max(offsets[1::6]) <= end, "a word lies outside its page")


def _span(start: Any, end: Any, length: int, *, least: int = 1) -> tuple[int, int]:
    _expect(isinstance(start, int) and isinstance(end, int), "a span is no number")
    _expect(0 <= start <= end - least and end <= length, "a span is out of range")
    return start, end


def _number(value: Any) -> float | None:
    if value is None:
        return None
    number = float(value)
    _expect(math.isfinite(number) and number >= 0, "a measure is out of range")
    return number


def _typed(value: Any, kind: type[str]) -> str:
    _expect(isinstance(value, kind), "a field has the wrong type")
    return str(value)


def _expect(condition: bool, problem: str) -> None:
    if not condition:
        raise WireError(problem)
