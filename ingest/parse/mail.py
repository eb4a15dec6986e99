"""Mail messages: headers first, then the body once; what is attached becomes a document of its own.

Python's email package decodes .eml, `ingest.parse.outlook` .msg; an HTML-only body goes through the HTML parser. Quoted
replies stay: they are what this message says. Located as "message".
"""

from __future__ import annotations

import email
import email.policy
import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from email.message import EmailMessage, Message
from pathlib import Path

from ingest.encoding import decode
from ingest.parse.build import DocumentBuilder
from ingest.parse.hidden import hidden_in_html
from ingest.parse.hostile import located
from ingest.parse.inside import Members, Sink
from ingest.parse.text import is_cipher_text
from strongroom.errors import ParseError, QuarantineError
from strongroom.types import ParsedDocument

HEADERS = ("From", "To", "Cc", "Date", "Subject", "Message-ID", "In-Reply-To")
_ENCRYPTED = {"multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime"}
_NO_DOCUMENTS = {"application/pkcs7-signature", "application/x-pkcs7-signature", "application/pgp-signature"}
_LOCKED_MAIL, _UNLOCK_MAIL = "an encrypted message", "decrypt it in the mail program and export it again"
_DECORATION = 20_000  # bytes; a picture in the text below this is a logo or a spacer, not something to read
_ENDINGS = {"text/plain": ".txt", "text/html": ".html", "message/rfc822": ".eml", "application/pdf": ".pdf"}
_ERRORS = (LookupError, ValueError, AttributeError, IndexError, TypeError)


@dataclass(frozen=True, slots=True)
class Attached:
    """A part to hand over: its name and bytes, or why there are none."""

    name: str
    data: bytes | None
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Mail:
    """A message as its reader gives it, whatever file it came in."""

    headers: list[tuple[str, str]]
    plain: str
    html: str
    attached: Iterable[Attached]
    more: tuple[str, ...] = ()  # text after the body, such as a list's footer


def parse_mail(path: Path, *, sink: Sink) -> ParsedDocument:
    """Parse an .eml file. Raises `QuarantineError` when the body is encrypted, `ParseError` when there is none."""
    data = path.read_bytes()
    text, encoding = decode(data)
    if encoding.startswith(("utf-16", "utf-32")):  # saved by an editor: the message itself was bytes once
        data = text.encode("utf-8")
    try:
        message = email.message_from_bytes(data, policy=email.policy.default)
        return document_of(_read(message), "message/rfc822", Members(sink, packed=len(data)))
    except _ERRORS as exc:
        raise ParseError(
            f"damaged message: it cannot be decoded ({type(exc).__name__})", hint="export it again"
        ) from exc


def document_of(mail: Mail, mime: str, members: Members) -> ParsedDocument:
    """One message as a document; its attachments go to `members`. Raises `QuarantineError` for cipher text."""
    if is_cipher_text(mail.plain.encode("utf-8", "replace")):
        raise QuarantineError(_LOCKED_MAIL, hint=_UNLOCK_MAIL)
    builder = DocumentBuilder()
    paragraphs: list[tuple[str, int | None]] = [("\n".join(f"{name}: {value}" for name, value in mail.headers), None)]
    paragraphs += _body(mail.plain, mail.html)
    for text in mail.more:
        paragraphs += _paragraphs(text)
    for part in mail.attached:
        if part.data is None:
            members.refuse(part.name, part.refused)
        elif is_cipher_text(part.data):
            if not (mail.plain.strip() or mail.html.strip()):  # PGP/MIME, which Outlook takes for attachments
                raise QuarantineError(_LOCKED_MAIL, hint=_UNLOCK_MAIL)
            members.refuse(part.name, "encrypted with PGP: save it decrypted and ingest that")
        else:
            members.add(part.name, [part.data])
    if members.listing:
        paragraphs.append((f"Attachments: {', '.join(members.listing)}", None))
    if members.notes:
        builder.warn(f"{len(members.notes)} attachments were not read: {'; '.join(members.notes[:20])}")
    subject = dict(mail.headers).get("Subject")
    builder.add_block(paragraphs, kind="message", label=subject or "message")
    document = builder.build(mime, title=subject)
    if not mail.html.strip():
        return document
    return replace(document, flags=(*document.flags, *located(document.text, hidden_in_html(mail.html))))


def parse_mailbox(path: Path, *, sink: Sink) -> ParsedDocument:
    """An mbox file: each message becomes a document, repeated ones once; the mailbox itself lists them.

    A message is named by its Message-ID, so that it stays the same document when others are added before it.
    """
    members = Members(sink, packed=path.stat().st_size)
    seen: set[tuple[str, str]] = set()
    lines: list[str] = []
    repeated = 0
    for data in _messages(path):
        message = email.message_from_bytes(data, policy=email.policy.default)
        digest = hashlib.sha256(data.partition(b"\n\n")[2]).hexdigest()
        message_id = _header(message, "Message-ID").strip("<> ")
        if message_id and (message_id, digest) in seen:
            repeated += 1
            continue
        seen.add((message_id, digest))
        subject = _header(message, "Subject")
        folder = re.sub(r"[/\\]", "_", message_id) or hashlib.sha256(data).hexdigest()[:16]
        members.add(f"{folder}/{_file_name(subject)}.eml", [data])
        lines.append(f"{_header(message, 'Date')}  {_header(message, 'From')}  {subject}".strip())
    if not lines:
        raise ParseError("no message found in the mailbox", hint="export it again")
    builder = DocumentBuilder()
    builder.add_block(((line, None) for line in lines), kind="section", label="messages", joiner="\n")
    if repeated:
        builder.warn(f"{repeated} messages stand in it more than once")
    return builder.build("application/mbox")


def _messages(path: Path) -> Iterator[bytes]:
    """The messages of an mbox file, one at a time, with the quoting of `From ` lines undone (mboxrd).

    A separator is a `From ` line that ends in a year, at the start or after an empty line: text that happens to begin
    with "From" is not taken for one.
    """
    lines: list[bytes] = []
    empty = True
    begun = False
    with path.open("rb") as file:
        for line in file:
            if empty and _SEPARATOR.match(line):
                if begun:
                    yield b"".join(lines)
                lines, begun, empty = [], True, False
                continue
            bare = line.rstrip(b"\r\n")
            lines.append((line[1:] if _QUOTED.match(line) else line[: len(bare)] + b"\n").replace(b"\r\n", b"\n"))
            empty = not bare
    if begun:
        yield b"".join(lines)


_SEPARATOR = re.compile(rb"From .*\d{4}\s*$")
_QUOTED = re.compile(rb">+From ")


def _file_name(subject: str) -> str:
    """A subject as a file name."""
    return re.sub(r"[/\\]", "_", subject)[:120].strip(" .") or "message"


# ------------------------------------------------------------------------------------------------ .eml


def _read(message: EmailMessage) -> Mail:
    if message.get_content_type() in _ENCRYPTED and message.get_param("smime-type") != "signed-data":
        raise QuarantineError(_LOCKED_MAIL, hint=_UNLOCK_MAIL)
    headers = [(name, value) for name in HEADERS if (value := _header(message, name))]
    plain, html = message.get_body(preferencelist=("plain",)), message.get_body(preferencelist=("html",))
    attached: list[Attached] = []
    more: list[str] = []
    for part in _leaves(message):
        if part is plain or part is html:
            continue
        name, kind = _printable(part.get_filename() or ""), part.get_content_type()
        if kind == "message/delivery-status" or (not name and kind == "text/plain" and not part.is_attachment()):
            more.append(_content(part))  # mail programs write on after a picture or a list's footer
        elif kind not in _NO_DOCUMENTS:
            found = _attached(part, name, kind)
            if found is not None:
                attached.append(found)
    return Mail(headers, _content(plain) if plain else "", _content(html) if html else "", attached, tuple(more))


def _leaves(message: Message) -> Iterator[EmailMessage]:
    """Parts that hold content, in order; a message inside the message is one part."""
    if message.get_content_maintype() == "multipart" and message.is_multipart():
        for part in message.get_payload():
            yield from _leaves(part)  # type: ignore[arg-type]
    else:
        yield message  # type: ignore[misc]


def _attached(part: EmailMessage, name: str, kind: str) -> Attached | None:
    """A part as a file. A small picture that belongs to the text is none."""
    payload = part.get_payload()
    if kind == "message/rfc822" and isinstance(payload, list) and payload and isinstance(payload[0], Message):
        inner = payload[0]
        return Attached(name or f"{_file_name(_header(inner, 'Subject'))}.eml", inner.as_bytes())
    data = part.get_payload(decode=True)
    if not isinstance(data, bytes):
        data = str(part.get_payload()).encode("utf-8", "replace")
    if kind.startswith("image/") and part.get_content_disposition() != "attachment" and len(data) < _DECORATION:
        return None
    if not name:
        name = f"part{_ENDINGS.get(kind, '.' + re.sub(r'[^a-z0-9]', '', part.get_content_subtype())[:8])}"
    return Attached(name.replace("/", "_").replace("\\", "_"), data)


def _header(message: Message, name: str) -> str:
    """All values of a header, unfolded. A header too broken to parse is shown raw."""
    try:
        values = [str(value) for value in message.get_all(name, [])]
    except _ERRORS:
        values = [str(value) for key, value in message.raw_items() if key.lower() == name.lower()]
    return ", ".join(clean for value in values if (clean := _printable(" ".join(value.split()))))


def _body(plain: str, html: str) -> list[tuple[str, int | None]]:
    """The body once: the plain text, unless it only says that the message is HTML."""
    if html.strip():
        from ingest.parse.office import html_blocks

        if not plain.strip():
            return html_blocks(html)
        blocks = html_blocks(html)
        if sum(len(text) for text, _ in blocks) > 4 * len(plain) + 200:
            return blocks
    return _paragraphs(plain)


def _paragraphs(content: str) -> list[tuple[str, int | None]]:
    return [(block, None) for block in re.split(r"\n[ \t]*\n", content) if block.strip()]


def _content(part: Message) -> str:
    """Decoded text of a part; unknown charsets and broken transfer encodings fall back to detection."""
    if part.get_content_type() == "message/delivery-status":
        return _printable(part.as_string())
    try:
        content = part.get_content()  # type: ignore[attr-defined]
        if isinstance(content, str):
            return _printable(content.replace("\r\n", "\n").replace("\r", "\n"))
    except (LookupError, ValueError, KeyError):
        pass
    payload = part.get_payload(decode=True)
    return _printable(decode(payload)[0]) if isinstance(payload, bytes) else ""


def _printable(text: str) -> str:
    """Without lone surrogates, which the email package uses for undecodable bytes and no store accepts."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace").strip("\n")
