"""What lies inside a file, on its way out: safe paths, and bounds on number, size and ratio.

Parsers of containers hand each member to `Members`; its bytes leave this process at once, piece by piece, and are never
written under the name that the container gives them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Protocol

from strongroom.errors import QuarantineError

MAX_MEMBERS = 50_000
MAX_BYTES = 4 << 30
_SUSPICIOUS = 100 << 20
_MAX_RATIO = 200
_MAX_PATH = 1024
PIECE = 1 << 20
_DRIVE = re.compile(r"^[A-Za-z]:")
BOMB_HINT = "check where the file comes from, or unpack it and ingest what is needed"


class Sink(Protocol):
    """Where members go: bytes, then what they were."""

    def write(self, data: bytes) -> None: ...

    def end(self, path: str, refused: str | None) -> None: ...


class Nowhere:
    """For callers that want the text alone."""

    def write(self, data: bytes) -> None:
        return None

    def end(self, path: str, refused: str | None) -> None:
        return None


class RefusedError(Exception):
    """This member cannot be taken out; the message says why. The others can."""


class Members:
    """The members of one container, in its order; `paths` are what they are called, `notes` what is wrong with some."""

    def __init__(self, sink: Sink, *, packed: int) -> None:
        """`packed` is the container's own size in bytes."""
        self._sink = sink
        self._packed = max(packed, 1)
        self._used: dict[str, int] = {}
        self._bytes = 0
        self.listing: list[str] = []
        self.notes: list[str] = []

    def add(self, raw_path: str, pieces: Iterable[bytes]) -> None:
        """Hand over a member. A `RefusedError` while it is read, or an unsafe path, refuses this member alone.

        Raises `QuarantineError` when the container holds too many or unpacks to too much.
        """
        path, problem = safe_path(raw_path)
        if problem is None:
            try:
                for piece in pieces:
                    self.write(piece)
            except RefusedError as exc:
                problem = str(exc)
        self._end(path, problem)

    def write(self, piece: bytes) -> None:
        """Some bytes of the member that `end` will name: for libraries that push. Raises as `count` does."""
        self.count(len(piece))
        self._sink.write(piece)

    def end(self, raw_path: str, problem: str | None) -> None:
        path, unsafe = safe_path(raw_path)
        self._end(path, unsafe or problem)

    def refuse(self, raw_path: str, reason: str) -> None:
        """Note a member that is not even opened."""
        self.end(raw_path, reason)

    def count(self, size: int) -> None:
        """Account for unpacked bytes. Raises `QuarantineError` beyond the bounds."""
        self._bytes += size
        if self._bytes > MAX_BYTES or (self._bytes > _SUSPICIOUS and self._bytes > _MAX_RATIO * self._packed):
            raise QuarantineError(
                f"a decompression bomb: {self._packed} bytes unpack to more than {self._bytes}", hint=BOMB_HINT
            )

    def _end(self, path: str, problem: str | None) -> None:
        if len(self.listing) >= MAX_MEMBERS:
            raise QuarantineError(f"a decompression bomb: it holds more than {MAX_MEMBERS} files", hint=BOMB_HINT)
        path = self._unique(path)
        self._sink.end(path, problem)
        self.listing.append(path if problem is None else f"{path} ({problem})")
        if problem is not None:
            self.notes.append(f"{path}: {problem}")

    def _unique(self, path: str) -> str:
        """The path, or with a number when an earlier member has it already."""
        while path in self._used:
            self._used[path] += 1
            stem, dot, ending = path.rpartition(".")
            number = self._used[path]
            path = f"{stem}~{number}.{ending}" if dot and "/" not in ending else f"{path}~{number}"
        self._used[path] = 1
        return path


def safe_path(raw: str) -> tuple[str, str | None]:
    """The path of a member as it can be shown and used as a name, and why its maker's path is not acceptable.

    Nothing is ever written to such a path; a container that tries to leave itself is still not to be trusted.
    """
    problem = None
    path = raw.encode("utf-8", "replace").decode("utf-8").replace("\\", "/")
    if "\0" in path:
        problem = "its name holds a NUL character"
    path = "".join(char if char.isprintable() else "\ufffd" for char in path)
    if path.startswith("/") or _DRIVE.match(path):
        problem = problem or "an absolute path, which leaves the archive"
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        problem = problem or "a path with .. in it, which leaves the archive"
    parts = ["(..)" if part == ".." else part for part in parts] or ["(no name)"]
    path = "/".join(parts)
    if len(path) > _MAX_PATH:
        problem = problem or f"a path of {len(path)} characters"
        path = path[:_MAX_PATH].rstrip("/")
    return path, problem
