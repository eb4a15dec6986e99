"""Plain text documents: verbatim but for line ends, located by lines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ingest.encoding import decode
from ingest.parse.hostile import located, odd_characters
from ingest.parse.letters import normalised
from strongroom.errors import ParseError, QuarantineError
from strongroom.types import Flag, Heading, Locator, Page, ParsedDocument

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f]")
LINES_PER_PAGE = 60


class Decoded(NamedTuple):
    """A file's text. `odd` are lines with characters that hide or reorder words, and what is odd about each."""

    text: str
    warnings: tuple[str, ...]
    odd: tuple[tuple[str, str], ...]

    def flags(self, text: str) -> tuple[Flag, ...]:
        """Where the odd lines stand in the text that a parser made of this one."""
        return tuple(located(text, self.odd, "characters"))


def read_text(path: Path) -> Decoded:
    """The decoded text of a file and warnings about it. Raises `ParseError` when there is none."""
    data = path.read_bytes()
    if not data:
        raise ParseError("the file is empty", hint="replace the file, or remove it")
    text, encoding = decode(data)
    cleaned = normalised(_CONTROL.sub(" ", text))
    if not cleaned.strip():
        raise ParseError("no text found: the file holds only white space", hint="replace the file, or remove it")
    lost = cleaned.count("\ufffd")
    warnings = (f"{lost} characters could not be decoded as {encoding}",) if lost else ()
    return Decoded(cleaned, warnings, tuple(_odd_lines(text)))


def _odd_lines(raw: str) -> Iterator[tuple[str, str]]:
    if odd_characters(raw) is not None:
        for line in raw.splitlines():
            if (what := odd_characters(line)) is not None:
                yield re.sub(r"<[^<>]{1,300}>", " ", normalised(line)), what


def is_cipher_text(data: bytes) -> bool:
    """Whether it is one PGP message in its armour (RFC 9580, section 6.2): letters, none of which can be read."""
    return data[:200].lstrip().startswith(b"-----BEGIN PGP MESSAGE-----")


def parse_text(path: Path, mime: str) -> ParsedDocument:
    """A plain text file, verbatim but for line ends, as runs of lines (`locator` "lines 1-60").

    Raises `ParseError` when there is none, `QuarantineError` when it is encrypted.
    """
    decoded = read_text(path)
    text, warnings = decoded.text, decoded.warnings
    if is_cipher_text(text[:200].encode("utf-8", "replace")):
        raise QuarantineError("encrypted with PGP", hint="decrypt it and ingest that")
    return ParsedDocument(
        text=text,
        pages=line_pages(text),
        mime=mime,
        headings=plain_headings(text),
        warnings=warnings,
        flags=decoded.flags(text),
    )


def line_pages(text: str) -> tuple[Page, ...]:
    """Cut a text into runs of about sixty lines, at a blank line where one is near; the label names the lines."""
    pages: list[Page] = []
    start = first = offset = 0
    lines = re.findall(r"[^\n]*\n|[^\n]+", text)  # as editors count: form feeds and the like end no line
    for line, content in enumerate(lines, start=1):
        offset += len(content)
        count = line - first
        full = count >= LINES_PER_PAGE and (not content.strip() or count >= LINES_PER_PAGE + 20)
        if (full and line < len(lines)) or line == len(lines):
            label = f"{first + 1}-{line}" if line > first + 1 else f"{line}"
            pages.append(Page(len(pages), None, Locator("line", label), start, offset))
            start, first = offset, line
    return tuple(pages)


_NUMBERED = re.compile(
    r"(?:(?:ARTICLE|SECTION|CHAPTER|PART|Article|Section|Chapter|Part)\s+[\dIVXLC]+\b|\d+(?:\.\d+)*\.?\s+[A-Z])"
)


def plain_headings(text: str) -> tuple[Heading, ...]:
    """Lines that stand alone between blank lines and look like headings: numbered or in capitals, and short."""
    headings: list[Heading] = []
    for match in re.finditer(r"(?:\A|\n[ \t]*\n)[ \t]*([^\n]{3,80}?)[ \t]*(?=\n[ \t]*\n)", text):
        line = match.group(1)
        letters = [c for c in line if c.isalpha()]
        capitals = len(letters) >= 3 and all(c.isupper() for c in letters if c.lower() != c.upper()) and line.isupper()
        numbered = _NUMBERED.match(line) is not None and not line.endswith((".", ";", ","))
        if capitals or numbered:
            depth = re.match(r"\d+((?:\.\d+)*)", line)
            level = 1 + (depth.group(1).count(".") if depth else 0)
            headings.append(Heading(match.start(1), match.end(1), min(level, 6)))
    return tuple(headings)
