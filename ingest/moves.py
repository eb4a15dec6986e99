"""Which new files are old documents at another place: equal bytes here, and nothing left where the document was.

A document keeps its id, key, grants and points when its file moves. What is taken for a move must be certain, because
grants follow: where several documents or several files fit equally well, nothing counts as moved.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from ingest.decide import Stamp
from ingest.members import Entry
from strongroom.catalog.records import Twin
from strongroom.types import SourceFile
from strongroom.wire import shown_uri


@dataclass(frozen=True, slots=True)
class Move:
    """A document and the file that it lives in now."""

    twin: Twin
    file: SourceFile


@dataclass(slots=True)
class Carried:
    """What the passes of one run share.

    The first pass takes everything that can be decided file by file. It parks files whose content the collection
    knows from another source, or is just being read from another file: whether such a file is a moved document, a copy
    or the first of its kind shows when the listing has ended and the others are finished.
    """

    parked: list[Entry] = field(default_factory=list)
    parked_bytes: int = 0  # of uploads and members: they take up room in the spool as long as they wait
    hashes: dict[str, tuple[str, Stamp]] = field(default_factory=dict)  # of parked files, by URI
    moved: dict[str, str] = field(default_factory=dict)  # new URI to the old path
    claimed: set[tuple[str, str]] = field(default_factory=set)
    first_pass: bool = True

    def take(self) -> list[Entry]:
        """The files that wait, and no longer."""
        taken, self.parked, self.parked_bytes = self.parked, [], 0
        return taken


def is_local(file: SourceFile) -> bool:
    """True for a file of this machine, false for an upload: whose folders only its sender can see."""
    return shown_uri(file.uri) == file.path


def missing_here(uri: str) -> bool:
    """True when a local file is gone while the folder that held it is there.

    A folder without any entry does not count as there: a mount point looks like that when nothing is mounted.
    """
    if not uri.startswith("file:///"):
        return False
    path = os.fsdecode(unquote_to_bytes(uri.removeprefix("file://")))
    if os.path.lexists(path):
        return False
    folder = os.path.dirname(path)  # noqa: PTH120 - names need not be UTF-8, and there may be many
    while not os.path.lexists(folder):
        folder = os.path.dirname(folder)  # noqa: PTH120
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is not None
    except OSError:
        return False


def match(
    files: Iterable[tuple[SourceFile, str]],
    *,
    twins: Callable[[str], Sequence[Twin]],
    gone: Callable[[SourceFile, Twin], bool],
) -> list[Move]:
    """Pair new files, given with their hash, with documents of the same content whose file is gone.

    Of several documents, one of the same name is preferred, then the one whose path has most folders in common.
    """
    by_content: dict[str, list[SourceFile]] = {}
    for file, sha256 in files:
        by_content.setdefault(sha256, []).append(file)
    moves = []
    for sha256, alike in by_content.items():
        known = {twin.existing.document_id: twin for twin in twins(sha256) if not twin.inside}.values()
        pairs = [(_likeness(file, twin), file, twin) for file in alike for twin in known if gone(file, twin)]
        moves += _unambiguous(pairs)
    return sorted(moves, key=lambda move: move.file.uri)


def _unambiguous(pairs: list[tuple[tuple[bool, int], SourceFile, Twin]]) -> list[Move]:
    moves = []
    while pairs:
        best = max(score for score, _, _ in pairs)
        tied = [(file.uri, twin.uri) for score, file, twin in pairs if score == best]
        alone = {
            (new, old) for new, old in tied if sum(new == n for n, _ in tied) == 1 == sum(old == o for _, o in tied)
        }
        moves += [Move(twin, file) for score, file, twin in pairs if score == best and (file.uri, twin.uri) in alone]
        news, olds = {new for new, _ in tied}, {old for _, old in tied}
        pairs = [p for p in pairs if p[1].uri not in news and p[2].uri not in olds]
    return moves


def _likeness(file: SourceFile, twin: Twin) -> tuple[bool, int]:
    new, old = file.uri.split("/"), twin.uri.split("/")
    return new[-1] == old[-1], _shared(new, old) + _shared(new[::-1], old[::-1])


def _shared(one: Sequence[str], other: Sequence[str]) -> int:
    """Number of equal parts at the start."""
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        count += 1
    return count
