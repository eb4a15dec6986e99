"""Is there work to do for this file? Content hash, what the catalogue knows, and nothing else."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ingest.work import ChangedError, outcome_of
from strongroom.catalog.records import Existing
from strongroom.errors import LOCKED, TRIED_AGAIN, ParseError
from strongroom.types import DocumentState, FileOutcome, OcrMode
from strongroom.wire import shown_uri

if TYPE_CHECKING:
    from strongroom.catalog import Catalog

_SETTLED = (DocumentState.FAILED, DocumentState.QUARANTINED)
_OCR = "/ocr-"  # the last part of a recipe names the OCR mode
TWICE = "The same source was given twice in this run."
BURIED = "It was deleted here on {date}; `--restore` takes it in again."


# A file written this short a time before it is read may be written again without its times changing: clocks of file
# systems tick in up to 2 s (FAT). git calls such entries "racily clean": Documentation/technical/racy-git.
_RACY_NS = 2_000_000_000


@dataclass(frozen=True, slots=True)
class Stamp:
    """What changes when a file is replaced or written to."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int = field(compare=False)  # also changed by chmod and rename, which leave the content alone
    taken_ns: int = field(compare=False)

    @classmethod
    def of(cls, info: os.stat_result) -> Stamp:
        return cls(info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns, time.time_ns())

    @property
    def text(self) -> str:
        """For comparison with a later run's stamp: nobody can set the change time, so equal text is equal content."""
        return f"{self.inode}:{self.size}:{self.mtime_ns}:{self.ctime_ns}"

    @property
    def lasting(self) -> str | None:
        """The text to be recorded with the hash, or `None` when the file was changed too short a time before."""
        return self.text if max(self.mtime_ns, self.ctime_ns) < self.taken_ns - _RACY_NS else None


def fingerprint(path: str) -> tuple[str, Stamp]:
    """SHA-256 of a file and its stamp. Raises `ChangedError` when it was written to meanwhile, `OSError` otherwise."""
    # Without O_NONBLOCK, a named pipe put in the file's place after the listing would hang the run.
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as source:
        before = os.fstat(fd)
        if not stat.S_ISREG(before.st_mode):
            raise ParseError("This is not a regular file.", hint="Only files are ingested.")
        digest = hashlib.file_digest(source, "sha256").hexdigest()
        if Stamp.of(os.fstat(fd)) != Stamp.of(before):
            raise changed()
    return digest, Stamp.of(before)


def fingerprint_of_refusal(reason: str) -> tuple[str, None]:
    """What stands for the content of a member that was not taken out of its container: the reason for that."""
    return hashlib.sha256(f"refused: {reason}".encode()).hexdigest(), None


def unchanged_since(path: str, stamp: Stamp) -> bool:
    """True when the file at `path` is the one that was stamped, untouched."""
    try:
        return Stamp.of(Path(path).stat()) == stamp
    except FileNotFoundError:
        return False


def changed() -> ChangedError:
    """The error of a file that was written to while it was read; the next ingest tries it again."""
    return ChangedError("The file changed while it was being read.", hint=TRIED_AGAIN)


@dataclass(frozen=True, slots=True)
class Rules:
    """What makes a run read known content again: another recipe, an OCR mode of its own, a failure.

    `retry` tries every failure again, `unlock` those that want a password.
    """

    recipe: str
    ocr: OcrMode | None = None
    retry: bool = False
    unlock: bool = False

    @property
    def own_recipe(self) -> str:
        """The recipe of what this run reads."""
        return self.recipe if self.ocr is None else f"{self.recipe.partition(_OCR)[0]}{_OCR}{self.ocr}"

    def read_alike(self, known: str) -> bool:
        """Only a run that asks for an OCR mode reads a version again that another mode made."""
        if self.ocr is not None:
            return known == self.own_recipe
        return known.partition(_OCR)[0] == self.recipe.partition(_OCR)[0]


def settled(uri: str, known: Existing | None, sha256: str, rules: Rules) -> FileOutcome | None:
    """The outcome of a file that needs no work, or `None` when it must be parsed.

    Failures come back with their stored reason, but for those that had nothing to do with the content.
    """
    if known is None or known.sha256 != sha256 or not rules.read_alike(known.recipe):
        return None
    if known.state == DocumentState.INDEXED:
        return FileOutcome(shown_uri(uri), "unchanged", known.document_id, known.pages, known.chunks)
    reason = known.reason or ""
    again = rules.retry or reason.endswith(TRIED_AGAIN) or (rules.unlock and reason.lower().startswith(LOCKED))
    if known.state in _SETTLED and not again:
        return FileOutcome(shown_uri(uri), outcome_of(known.state), known.document_id, reason=known.reason)
    return None


def settled_with_members(
    catalog: Catalog, uri: str, known: Existing | None, sha256: str, rules: Rules
) -> list[FileOutcome]:
    """As `settled`, followed by the outcomes of all documents inside it; empty when it must be parsed.

    A container needs work as long as one of its members does: only it can give the member's bytes.
    """
    done = settled(uri, known, sha256, rules)
    if done is None or known is None:
        return []
    if not known.members:
        return [done]
    inside = catalog.inside(known.document_id)
    if known.members + sum(member.members for _, member in inside) != len(inside):
        return []  # a run was cut short before it had begun them all, or one was deleted
    outcomes = [settled(u, member, member.sha256, rules) for u, member in inside]
    if None in outcomes:
        return []
    return [done, *(outcome for outcome in outcomes if outcome is not None)]
