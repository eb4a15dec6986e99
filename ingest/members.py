"""Documents inside documents: what lies in an archive, a mailbox or a mail enters the run as a file of its own.

A member is named by the URI of what holds it, `!/`, and its path in there, so that it is the same document in every
run. Its bytes wait in the spool until it is stored. What one file of the listing may unfold to is bounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from strongroom.catalog.records import Begun
from strongroom.errors import QuarantineError
from strongroom.types import Member, SourceFile

MAX_DEPTH = 5  # containers around a container
MAX_MEMBERS = 100_000
MAX_BYTES = 8 << 30  # unpacked, of all that one file of the listing holds at any depth
_BOMB_HINT = "Check where the file comes from, or unpack it and ingest what is needed."


@dataclass(slots=True)
class Family:
    """What one file of the listing has unfolded to so far. Only the thread that stores changes it."""

    members: int = 0
    bytes: int = 0

    def add(self, members: Sequence[Member]) -> None:
        """Count what a container holds. Raises `QuarantineError` when the whole family gets too large."""
        self.members += len(members)
        self.bytes += sum(member.size for member in members)
        if self.members > MAX_MEMBERS:
            raise QuarantineError(
                f"A decompression bomb: it unfolds to more than {MAX_MEMBERS} documents.", hint=_BOMB_HINT
            )
        if self.bytes > MAX_BYTES:
            raise QuarantineError(
                f"A decompression bomb: it unfolds to more than {MAX_BYTES >> 30} GiB.", hint=_BOMB_HINT
            )


@dataclass(frozen=True, slots=True)
class Inside:
    """Where a member lies: the version that holds it, and the contents of all containers around it."""

    parent: Begun
    around: tuple[str, ...]  # SHA-256, outermost first
    family: Family


@dataclass(frozen=True, slots=True)
class Entry:
    """A file on its way in. A member lies inside something, and may have been refused before it was read."""

    file: SourceFile
    inside: Inside | None = None
    refused: str | None = None

    def forget(self) -> None:
        """Remove a member's bytes from the spool."""
        if self.inside is not None and self.file.path:
            Path(self.file.path).unlink(missing_ok=True)

    def check_place(self, sha256: str) -> None:
        """Raise `QuarantineError` for a container inside itself, and where containers are nested too deeply."""
        if self.inside is None:
            return
        if sha256 in self.inside.around:
            raise QuarantineError("A self-reproducing archive: it contains itself.", hint=_BOMB_HINT)
        if len(self.inside.around) > MAX_DEPTH:
            raise QuarantineError(f"Nested too deeply: it lies inside {MAX_DEPTH + 1} others.", hint=_BOMB_HINT)


def entries_of(
    container: SourceFile, members: Sequence[Member], *, begun: Begun, inside: Inside | None, sha256: str
) -> list[Entry]:
    """The members of a container as files to ingest. Raises `QuarantineError` when there are too many."""
    around = (*(inside.around if inside else ()), sha256)
    place = Inside(begun, around, inside.family if inside else Family())
    place.family.add(members)
    return [
        Entry(
            SourceFile(
                path=member.file or "",
                uri=member_uri(container.uri, member.path),
                name=member.path.rpartition("/")[2],
                size=member.size,
            ),
            place,
            member.refused,
        )
        for member in members
    ]


def forget(members: Sequence[Member]) -> None:
    """Remove members that nobody will take from the spool."""
    for member in members:
        if member.file is not None:
            Path(member.file).unlink(missing_ok=True)


def member_uri(container: str, path: str) -> str:
    """The URI of a member: the container's, `!/`, and the member's path, percent-encoded."""
    return f"{container}!/{quote(path, safe=SAFE).replace('!/', '%21/')}"


# What stands as it is in a source URI. A folder whose name ends in `!` is encoded, so that `!/` always means "inside".
SAFE = "/-._~!$&'()*+,;=:@"
