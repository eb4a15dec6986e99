"""7z archives, by py7zr (LGPL-2.1, a package of its own that anyone may replace)."""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import py7zr
from py7zr.exceptions import ArchiveError, PasswordRequired, UnsupportedCompressionMethodError
from py7zr.io import Py7zIO, WriterFactory

from ingest.parse.inside import Members, safe_path
from strongroom.errors import LOCKED, LOCKED_HINT, ParseError, QuarantineError

_BROKEN = (ArchiveError, lzma.LZMAError, zlib.error, EOFError, ValueError, KeyError, IndexError, TypeError, OSError)


def unpack_7z(path: Path, members: Members, passwords: Sequence[str]) -> None:
    """Hand over the members. Raises `QuarantineError` when the archive is locked and no password fits."""
    with path.open("rb") as file:
        try:
            try:
                with py7zr.SevenZipFile(file) as archive:
                    locked = archive.needs_password()
                    if not locked:
                        _unpack(archive, members)
                        return
            except PasswordRequired:
                locked = True
            for password in passwords:
                if _fits(path, password, members):
                    file.seek(0)
                    with py7zr.SevenZipFile(file, password=password) as archive:
                        _unpack(archive, members)
                    return
        except UnsupportedCompressionMethodError as exc:
            raise ParseError(
                "unsupported type: a 7z archive compressed by a method that is not known", hint="unpack it"
            ) from exc
        except _BROKEN as exc:
            if isinstance(exc, OSError) and exc.errno is not None:
                raise
            raise ValueError("damaged") from exc
    raise QuarantineError(LOCKED, hint=LOCKED_HINT)


def _fits(path: Path, password: str, members: Members) -> bool:
    """True when the password opens the archive: its checksums are right to the end."""
    try:
        with path.open("rb") as file, py7zr.SevenZipFile(file, password=password) as archive:
            archive.extract(targets=_wanted(archive)[0], factory=_Each(members.count, lambda _name: None))
    except (*_BROKEN, PasswordRequired):
        return False
    return True


def _unpack(archive: py7zr.SevenZipFile, members: Members) -> None:
    wanted, empty, refused = _wanted(archive)
    for name, reason in refused:
        members.refuse(name, reason)
    if wanted - empty:
        archive.extract(
            targets=wanted - empty,
            factory=_Each(lambda _size: None, lambda name: members.end(name, None), members.write),
        )
    for name in sorted(empty):
        members.end(name, None)


def _wanted(archive: py7zr.SevenZipFile) -> tuple[set[str], set[str], list[tuple[str, str]]]:
    """Names to take, those of them that are empty, and names that are not taken with the reason."""
    wanted, empty, refused = set(), set(), []
    for info in archive.list():
        if info.is_directory:
            continue
        _, problem = safe_path(info.filename)
        if info.is_symlink:
            problem = problem or "a symbolic link"
        if problem is not None:
            refused.append((info.filename, problem))
            continue
        wanted.add(info.filename)
        if not info.uncompressed:
            empty.add(info.filename)
    return wanted, empty, refused


class _Each(WriterFactory):
    """Passes each member on while py7zr unpacks it."""

    def __init__(
        self, count: Callable[[int], None], end: Callable[[str], None], write: Callable[[bytes], None] | None = None
    ) -> None:
        self._count = count
        self._end = end
        self._write = write

    def create(self, filename: str) -> Py7zIO:
        return _Writer(self, filename)

    def take(self, data: bytes) -> None:
        self._count(len(data))
        if self._write is not None:
            self._write(data)

    def finish(self, name: str) -> None:
        self._end(name)


class _Writer(Py7zIO):
    def __init__(self, each: _Each, name: str) -> None:
        self._each = each
        self._name = name
        self._size = 0
        self._closed = False

    def write(self, s: bytes | bytearray) -> int:
        self._each.take(bytes(s))
        self._size += len(s)
        return len(s)

    def read(self, size: int | None = None) -> bytes:
        return b""

    def seek(self, offset: int, whence: int = 0) -> int:
        return offset

    def flush(self) -> None:
        return None

    def size(self) -> int:
        return self._size

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._each.finish(self._name)
