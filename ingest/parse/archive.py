"""Checks on zip-based documents before any library unpacks them."""

from __future__ import annotations

import zipfile
from pathlib import Path

from strongroom.errors import ParseError, QuarantineError

_MAX_UNPACKED = 1 << 30
_SUSPICIOUS = 100 << 20
_MAX_RATIO = 200


def check_archive(path: Path) -> None:
    """Refuse a zip-based document that would unpack to an absurd size, going by its directory."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError) as exc:
        raise ParseError("damaged document: its archive cannot be read", hint="get a fresh copy of the file") from exc
    unpacked = sum(member.file_size for member in members)
    packed = max(sum(member.compress_size for member in members), 1)
    if unpacked > _MAX_UNPACKED or (unpacked > _SUSPICIOUS and unpacked / packed > _MAX_RATIO):
        raise QuarantineError(
            f"a decompression bomb: {packed} bytes would unpack to {unpacked}", hint="check where the file comes from"
        )
