"""What a parser child hands over from inside a container, on its parent's side: bytes in, files in the spool out.

The child is not trusted: how many members, how many bytes and which names is decided here.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from ingest import wire
from ingest.limits import Limits
from strongroom.types import Member


class ReceivedMembers:
    """The members of one container: their bytes go to files in `spool`, within the limits."""

    def __init__(self, spool: Path, limits: Limits) -> None:
        self._spool = spool
        self._limits = limits
        self._part: tuple[int, str] | None = None  # the member whose bytes are coming in
        self._size = 0
        self._left = limits.member_bytes
        self._paths: set[str] = set()
        self.done: list[Member] = []

    def write(self, data: bytes) -> None:
        """More bytes of the member that is coming in."""
        self._left -= len(data)
        if self._left < 0:
            raise wire.WireError(f"it unpacks to more than {self._limits.member_bytes >> 20} MiB")
        if self._part is None:
            self._part = tempfile.mkstemp(prefix="member-", dir=self._spool)
        with open(self._part[0], "wb", closefd=False) as out:
            out.write(data)
        self._size += len(data)

    def end(self, payload: bytes) -> None:
        """The bytes so far were a whole member, or one that is not to be used."""
        path, refused = wire.decode_member(payload)
        if path in self._paths:
            raise wire.WireError("two members of one path")
        if len(self.done) >= self._limits.members:
            raise wire.WireError(f"it holds more than {self._limits.members} documents")
        self._paths.add(path)
        if refused is None and self._part is None:
            self.write(b"")
        size, file = self._size, self._close()
        if file is not None and refused is not None:
            Path(file).unlink()
            file = None
        elif file is not None:  # types of text are told apart by the ending of the name
            file = str(Path(file).rename(file + ending(path)))
        self.done.append(Member(path, file, size, refused))

    def discard(self) -> None:
        """Remove everything: the container is not used."""
        if (file := self._close()) is not None:
            Path(file).unlink(missing_ok=True)
        for member in self.done:
            if member.file is not None:
                Path(member.file).unlink(missing_ok=True)
        self.done.clear()

    def _close(self) -> str | None:
        part, self._part, self._size = self._part, None, 0
        if part is None:
            return None
        os.close(part[0])
        return part[1]


def ending(name: str) -> str:
    """The endings of a file's name (`.csv.gz`) where they are ordinary ones, else nothing."""
    found = re.search(r"(\.[A-Za-z0-9]{1,10}){1,2}$", name, re.ASCII)
    return found.group() if found else ""
