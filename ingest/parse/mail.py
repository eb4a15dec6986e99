"""Mail messages: headers first, then the body; attachments are named, not opened.

Python's email package decodes; an HTML-only body goes through the HTML parser. Located as "message".
"""

from __future__ import annotations

import email
import email.policy
import re
from email.message import EmailMessage, MIMEPart
from pathlib import Path

from ingest.encoding import decode
from ingest.parse.build import DocumentBuilder
from strongroom.errors import ParseError, QuarantineError
from strongroom.types import ParsedDocument

_HEADERS = ("From", "To", "Cc", "Date", "Subject")
_ENCRYPTED = {"multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime"}


def parse_mail(path: Path) -> ParsedDocument:
    """Parse an .eml file. Raises `QuarantineError` when the body is encrypted, `ParseError` when there is none."""
    data = path.read_bytes()
    text, encoding = decode(data)
    if encoding.startswith(("utf-16", "utf-32")):  # saved by an editor: the message itself was bytes once
        data = text.encode("utf-8")
    try:
        message = email.message_from_bytes(data, policy=email.policy.default)
        return _build(message)
    except (LookupError, ValueError, AttributeError, IndexError, TypeError) as exc:
        raise ParseError(
            f"damaged message: it cannot be decoded ({type(exc).__name__})", hint="export it again"
        ) from exc


def _build(message: EmailMessage) -> ParsedDocument:
    builder = DocumentBuilder()
    headers = [f"{name}: {value}" for name in _HEADERS if (value := _header(message, name))]
    if message.get_content_type() in _ENCRYPTED and message.get_param("smime-type") != "signed-data":
        raise QuarantineError("an encrypted message", hint="decrypt it in the mail program and export it again")
    subject = _header(message, "Subject")
    paragraphs: list[tuple[str, int | None]] = [("\n".join(headers), None)]
    paragraphs += _body(message)
    names: list[str] = []
    for part in message.iter_attachments() if message.is_multipart() else ():
        name = _printable(part.get_filename() or "")
        if not name and part.get_content_type() == "text/plain" and not part.is_attachment():
            paragraphs += _paragraphs(_content(part))  # mail programs write on after a picture or a list's footer
        else:
            names.append(name or part.get_content_type())
    if names:
        paragraphs.append((f"Attachments: {', '.join(names)}", None))
        builder.warn(f"{len(names)} attachments were not read: {', '.join(names)}")
    builder.add_block(paragraphs, kind="message", label=subject or "message")
    return builder.build("message/rfc822", title=subject or None)


def _header(message: EmailMessage, name: str) -> str:
    """All values of a header, unfolded. A header too broken to parse is shown raw."""
    try:
        values = [str(value) for value in message.get_all(name, [])]
    except (ValueError, IndexError, AttributeError, TypeError, LookupError):
        values = [str(value) for key, value in message.raw_items() if key.lower() == name.lower()]
    return ", ".join(clean for value in values if (clean := _printable(" ".join(value.split()))))


def _body(message: EmailMessage) -> list[tuple[str, int | None]]:
    """Paragraphs of the plain body, or of the HTML one when there is no plain one."""
    plain = message.get_body(preferencelist=("plain",))
    if plain is not None:
        content = _content(plain)
        if content.strip():
            return _paragraphs(content)
    html = message.get_body(preferencelist=("html",))
    if html is None or not _content(html).strip():
        return []
    from ingest.parse.office import html_blocks

    return html_blocks(_content(html))


def _paragraphs(content: str) -> list[tuple[str, int | None]]:
    return [(block, None) for block in re.split(r"\n[ \t]*\n", content) if block.strip()]


def _content(part: MIMEPart) -> str:
    """Decoded text of a part; unknown charsets and broken transfer encodings fall back to detection."""
    try:
        content = part.get_content()
        if isinstance(content, str):
            return _printable(content.replace("\r\n", "\n").replace("\r", "\n"))
    except (LookupError, ValueError, KeyError):
        pass
    payload = part.get_payload(decode=True)
    return _printable(decode(payload)[0]) if isinstance(payload, bytes) else ""


def _printable(text: str) -> str:
    """Without lone surrogates, which the email package uses for undecodable bytes and no store accepts."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace").strip("\n")
