"""Outlook messages (.msg), by python-oxmsg (MIT): the same document as the message saved as .eml would give."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ingest.parse.inside import Members, Sink
from ingest.parse.mail import HEADERS, Attached, Mail, document_of
from strongroom.errors import ParseError, QuarantineError
from strongroom.types import ParsedDocument

_MIME = "application/vnd.ms-outlook"


def parse_outlook(path: Path, *, sink: Sink) -> ParsedDocument:
    """Parse a .msg file. Raises `QuarantineError` when it is encrypted, `ParseError` when it is damaged."""
    import oxmsg

    try:
        message: Any = oxmsg.Message.load(str(path))
        kind = str(message.message_class or "")
        if kind.lower().endswith(("smime", "smime.encrypted")):
            raise QuarantineError("an encrypted message", hint="decrypt it in Outlook and save it again")
        mail = Mail(_headers(message), _text(message.body), _text(message.html_body), _attachments(message))
        return document_of(mail, _MIME, Members(sink, packed=path.stat().st_size))
    except ParseError:
        raise
    except Exception as exc:
        if isinstance(exc, MemoryError):
            raise
        raise ParseError(
            f"damaged message: it cannot be decoded ({type(exc).__name__})", hint="save it again in Outlook"
        ) from exc


def _headers(message: Any) -> list[tuple[str, str]]:
    """Transport headers where the message has them, else what Outlook itself noted."""
    sent = {name.lower(): " ".join(str(value).split()) for name, value in message.message_headers.items()}
    own = {
        "from": message.sender,
        "to": ", ".join(f"{r.name} <{r.email_address}>" for r in message.recipients),
        "date": message.sent_date and message.sent_date.strftime("%a, %d %b %Y %H:%M:%S +0000"),
        "subject": message.subject,
    }
    found = [(name, str(sent.get(name.lower()) or own.get(name.lower()) or "")) for name in HEADERS]
    return [(name, _text(value)) for name, value in found if value]


def _attachments(message: Any) -> Iterator[Attached]:
    for number, part in enumerate(message.attachments, start=1):
        name = _text(part.file_name or "") or f"attachment {number}"
        name = name.replace("/", "_").replace("\\", "_")
        data = part.file_bytes if part.attached_by_value else None
        yield Attached(name, data, "an item of Outlook's own inside the message: save it as a file")


def _text(value: str | bytes | None) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return (value or "").replace("\r\n", "\n").replace("\0", "").encode("utf-8", "replace").decode("utf-8")
