"""Archives: their members become documents of their own, the archive itself is a list of them.

zip, tar (also gzipped, bzipped, xz), single compressed files and 7z. Nothing is unpacked to disk: bytes go straight to
`Members`, which bounds them. Also checks zip-based office files before any library unpacks them.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from ingest.parse.build import DocumentBuilder
from ingest.parse.inside import BOMB_HINT, PIECE, Members, RefusedError, Sink
from ingest.parse.prolog import check_markup
from strongroom.errors import LOCKED, LOCKED_HINT, ParseError, QuarantineError
from strongroom.types import ParsedDocument

_MAX_UNPACKED = 1 << 30
_SUSPICIOUS = 100 << 20
_MAX_RATIO = 200
_DAMAGED = "get a fresh copy of the file"
_CLEAR = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_AES = 99
_WRONG = (RuntimeError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError)

ARCHIVES = frozenset(
    {
        "application/zip",
        "application/x-tar",
        "application/gzip",
        "application/x-bzip2",
        "application/x-xz",
        "application/x-7z-compressed",
    }
)


def parse_archive(path: Path, mime: str, *, sink: Sink, passwords: Sequence[str] = ()) -> ParsedDocument:
    """Hand over an archive's members; the document returned lists them.

    Raises `QuarantineError` for bombs and for an archive that is locked as a whole, `ParseError` when it is damaged or
    empty. A locked, unsafe or damaged member is refused by itself.
    """
    members = Members(sink, packed=path.stat().st_size)
    try:
        if mime == "application/zip":
            _zip(path, members, passwords)
        elif mime == "application/x-7z-compressed":
            from ingest.parse.sevenzip import unpack_7z

            unpack_7z(path, members, passwords)
        elif mime == "application/x-tar":
            with path.open("rb") as file:
                _tar(file, members)
        else:
            _compressed(path, mime, members)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError) as exc:
        if isinstance(exc, OSError) and exc.errno is not None:
            raise  # of this machine, not of the archive
        if not members.listing:
            raise ParseError("damaged archive: it cannot be read", hint=_DAMAGED) from exc
        members.refuse("(the rest)", "the archive is damaged from here on")
    if not members.listing:
        raise ParseError("an empty archive", hint="there is nothing in it to ingest")
    return listing(members, mime, title=None)


def listing(members: Members, mime: str, *, title: str | None) -> ParsedDocument:
    """A document that only names what lies inside it."""
    builder = DocumentBuilder()
    builder.add_block(((line, None) for line in members.listing), kind="section", label="contents", joiner="\n")
    if members.notes:
        builder.warn(f"{len(members.notes)} members were not read: {'; '.join(members.notes[:20])}")
    return builder.build(mime, title=title)


# ------------------------------------------------------------------------------------------------ zip


def check_archive(path: Path, *, doctype: bool = False) -> None:
    """Refuse a zip-based document that would unpack to an absurd size, going by its directory, or declares entities.

    Office Open XML allows no document types (ECMA-376, part 2); formats that do pass `doctype`.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            unpacked = sum(member.file_size for member in members)
            packed = max(sum(member.compress_size for member in members), 1)
            if unpacked > _MAX_UNPACKED or (unpacked > _SUSPICIOUS and unpacked / packed > _MAX_RATIO):
                raise QuarantineError(
                    f"a decompression bomb: {packed} bytes would unpack to {unpacked}",
                    hint="check where the file comes from",
                )
            _check_overlap(archive)
            check_markup(archive, doctype=doctype)
    except (zipfile.BadZipFile, OSError, ValueError) as exc:
        raise ParseError("damaged document: its archive cannot be read", hint=_DAMAGED) from exc


def _check_overlap(archive: zipfile.ZipFile) -> None:
    """Refuse members that share bytes: the bomb of David Fifield, "A better zip bomb", WOOT 2019.

    Python's own check (CVE-2024-0450) came with 3.11.8 and 3.12.2, so it cannot be counted on.
    """
    end = 0
    for info in sorted(archive.infolist(), key=lambda info: info.header_offset):
        if info.header_offset < end:
            raise QuarantineError("a zip bomb: its members overlap", hint=BOMB_HINT)
        end = info.header_offset + 30 + info.compress_size  # a local header has 30 bytes before its name


def _zip(path: Path, members: Members, passwords: Sequence[str]) -> None:
    with zipfile.ZipFile(path) as archive:
        _check_overlap(archive)
        for info in archive.infolist():
            if info.is_dir():
                continue
            if (info.external_attr >> 16) & 0o170000 == 0o120000:
                members.refuse(info.filename, "a symbolic link")
            elif info.flag_bits & 0x1:
                members.add(info.filename, _locked_member(path, archive, info, members, passwords))
            elif info.compress_type not in _CLEAR:
                members.refuse(info.filename, f"compressed by a method that is not known ({info.compress_type})")
            else:
                members.add(info.filename, _pieces(lambda info=info: archive.open(info)))  # type: ignore[misc]


def _locked_member(
    path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo, members: Members, passwords: Sequence[str]
) -> Iterator[bytes]:
    """Bytes of an encrypted member, by the first password that fits. Nothing is passed on before one does."""
    opened: Any = archive
    if info.compress_type == _AES:
        import pyzipper

        opened = pyzipper.AESZipFile(path)
    try:
        for password in passwords:
            try:
                with opened.open(info.filename, pwd=password.encode()) as member:
                    while piece := member.read(PIECE):  # to its end: old zip encryption lets 1 wrong in 256 begin
                        members.count(len(piece))
                with opened.open(info.filename, pwd=password.encode()) as member:
                    while piece := member.read(PIECE):
                        yield piece
            except _WRONG:
                continue
            return
        raise RefusedError(f"{LOCKED}: {LOCKED_HINT}")
    finally:
        if opened is not archive:
            opened.close()


# ------------------------------------------------------------------------------------------------ tar, gz, bz2, xz


def _tar(file: IO[bytes], members: Members) -> None:
    """Members of a tar, read once from front to end."""
    with tarfile.open(fileobj=file, mode="r|") as archive:
        for info in archive:
            if info.isdir():
                continue
            if info.issym():
                members.refuse(info.name, "a symbolic link")
            elif info.islnk():
                members.refuse(info.name, "a hard link")
            elif not info.isreg():
                members.refuse(info.name, "a device or pipe")
            else:
                members.add(info.name, _pieces(lambda info=info: archive.extractfile(info)))  # type: ignore[misc]


def _compressed(path: Path, mime: str, members: Members) -> None:
    """A compressed tar, or one compressed file."""
    opener: Any = {"application/gzip": gzip.open, "application/x-bzip2": bz2.open, "application/x-xz": lzma.open}[mime]
    with opener(path) as file:
        head = file.read(512)
    with opener(path) as file:
        if head[257:262] == b"ustar" or _old_tar(head):
            _tar(_Counted(file, members), members)  # type: ignore[arg-type]
        else:
            # Where a file lies while it is read says nothing lasting about its name, but for the ending.
            members.add(f"content{Path(path.stem).suffix}", _pieces(lambda: file))


def _old_tar(head: bytes) -> bool:
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "replace")
    except tarfile.TarError:
        return False
    return True


class _Counted:
    """A decompressed stream whose every byte counts: a tar can skip gigabytes that belong to no member."""

    def __init__(self, file: IO[bytes], members: Members) -> None:
        self._file = file
        self._members = members

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._members.count(len(data))
        return data


def _pieces(opened: Callable[[], IO[bytes] | None]) -> Iterator[bytes]:
    """A member's bytes; what is wrong with it refuses it alone."""
    try:
        member = opened()
        while member is not None and (piece := member.read(PIECE)):
            yield piece
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, NotImplementedError) as exc:
        raise RefusedError("it is damaged") from exc
    except OSError as exc:
        if exc.errno is not None:
            raise
        raise RefusedError("it is damaged") from exc
