"""What stands before the first element of an XML text: document types and entities, with which bombs are built.

One gate before every library that reads XML out of a zip-based document (python-docx, python-pptx, openpyxl, lxml,
pandoc), so that none of them ever sees an entity. Expat reads the beginning only, and loads nothing.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable
from typing import Any
from xml.parsers import expat

from strongroom.errors import QuarantineError

_PIECE = 16 << 10
_LONGEST = 1 << 20
_UNREADABLE = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError)


class _SeenError(Exception):
    """The root element has begun."""


def check_markup(archive: zipfile.ZipFile, *, doctype: bool) -> None:
    """Refuse a zip-based document of which any part declares entities or, unless `doctype`, a document type.

    Every member is looked at, whatever its name: which parts are read as XML is for the document to say.
    """
    for info in archive.infolist():
        try:
            with archive.open(info) as member:
                _check(info.filename, member.read, doctype=doctype)
        except _UNREADABLE:
            continue  # the parser of its format says what is wrong with it, if it matters


def _check(name: str, read: Callable[[int], bytes], *, doctype: bool) -> None:
    parser = expat.ParserCreate()

    def refuse(what: str) -> None:
        shown = "".join(char if char.isprintable() else "\ufffd" for char in name)[:100]
        raise QuarantineError(
            f"its part {shown} declares {what}, as bombs do", hint="check where it comes from, or save it anew"
        )

    def entity(*_: Any) -> None:
        refuse("XML entities")

    def typed(*_: Any) -> None:
        if not doctype:
            refuse("an XML document type")

    def begun(*_: Any) -> None:
        raise _SeenError

    parser.EntityDeclHandler = entity
    parser.StartDoctypeDeclHandler = typed
    parser.StartElementHandler = begun
    length = 0
    try:
        while piece := read(_PIECE):
            parser.Parse(piece, False)
            length += len(piece)
            if length > _LONGEST:
                refuse("a megabyte before its first element")
    except (_SeenError, expat.ExpatError):
        return  # sound so far, or no XML
