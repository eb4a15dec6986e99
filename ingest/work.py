"""What travels through the pipeline, the parts it is built from, and which errors end a run instead of one file."""

from __future__ import annotations

import errno
import logging
import sqlite3
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from strongroom.catalog.records import Begun, PointSource
from strongroom.errors import (
    TRIED_AGAIN,
    HeldError,
    IndexMismatchError,
    IndexUnreachableError,
    LockedError,
    ModelError,
    ParseError,
    QuarantineError,
    StrongroomError,
)
from strongroom.types import Chunk, DocumentState, OcrMode, Outcome, ParsedDocument, SourceFile

if TYPE_CHECKING:
    from ingest.chunk import Wording
    from ingest.decide import Stamp
    from ingest.members import Inside
    from strongroom.blobs import BlobStore
    from strongroom.catalog import Catalog
    from strongroom.ports import Embedder, VectorIndex

log = logging.getLogger(__name__)

# Held while the removal list is worked through and while a version is begun: see `ingest.finish.remove_versions`.
REMOVING = threading.Lock()
_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
_ENDS_RUN = (IndexUnreachableError, IndexMismatchError, ModelError, LockedError)


class ParserPool(Protocol):
    """Parser processes. `submit` may be called from any thread; `close` drops what is still waiting."""

    @property
    def workers(self) -> int: ...

    def submit(self, path: Path, mime: str) -> Future[tuple[ParsedDocument, list[Chunk]]]: ...

    def unlock_with(self, passwords: Sequence[str]) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class PipelineSettings:
    """How the pipeline works. Weights count a chunk as one, plus one for every 2,000 characters it holds."""

    recipe: str  # names parser and chunker; another recipe means that files are parsed again
    embed_weight: float = 384.0  # most that one call of the embedder is given
    in_flight_weight: float = 20_000.0  # parsed chunks that wait for the embedder: about 40 MB of text at the most
    commit_documents: int = 64  # most documents that share one flush of the index
    parse_ahead: int = 2  # files that wait beside each parser process

    def spread(self, embedders: int) -> PipelineSettings:
        """The same for several embedders: one call is shared out among them, so it must hold enough for all."""
        heavier = self.embed_weight * max(1, embedders)
        return replace(self, embed_weight=heavier, in_flight_weight=max(self.in_flight_weight, 4 * heavier))


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything the pipeline talks to. `pool` makes the parser processes when the first file needs one."""

    catalog: Catalog
    blobs: BlobStore
    index: VectorIndex
    embedder: Embedder
    pool: Callable[[int | None, OcrMode | None], ParserPool]  # workers and OCR mode, where a run sets them
    detect: Callable[[SourceFile], str]  # MIME type by content; raises `ParseError` for what cannot be read
    wording: Callable[[PointSource], Wording]  # what a chunk is found by
    settings: PipelineSettings


@dataclass(slots=True, eq=False)
class Work:
    """One version on its way into the index. Only the stage that holds it changes it."""

    begun: Begun
    file: SourceFile | None = None  # none when it is remade from the catalogue
    stamp: Stamp | None = None
    inside: Inside | None = None  # of a document that lies inside another
    sha256: str = ""
    pages: int = 0
    chunks: int = 0
    left: int = 0  # chunks that are not in the index yet
    given_up: bool = False

    @property
    def version_id(self) -> str:
        return self.begun.version_id


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a file did not make it: the catalogue's state and a reason a person can act on."""

    state: DocumentState
    reason: str

    @property
    def outcome(self) -> Outcome:
        return outcome_of(self.state)


class ChangedError(ParseError):
    """The file changed between the first byte read and the last."""


def outcome_of(state: DocumentState) -> Outcome:
    """What a run reports for a version that was given up."""
    return "quarantined" if state == DocumentState.QUARANTINED else "failed"


def weight(source: PointSource) -> float:
    """What a chunk counts when work is measured out: one, and one more for every 2,000 characters."""
    return 1.0 + len(source.text) / 2000.0


def ends_run(exc: BaseException) -> BaseException | None:
    """The error to end the run with, or `None` when `exc` concerns one file only.

    A full disk or a catalogue that cannot be written shows as an error of whatever file comes next; going on would
    fail every remaining file for a reason that is not its own.
    """
    if not isinstance(exc, Exception) or isinstance(exc, _ENDS_RUN):
        return exc
    if isinstance(exc, MemoryError):
        return StrongroomError("memory ran out during ingest", hint="Lower `workers`, or give the machine more memory.")
    link: BaseException | None = exc
    while link is not None:
        if isinstance(link, OSError) and link.errno in _DISK:
            return _unwritable(str(link.strerror), exc)
        if isinstance(link, sqlite3.OperationalError):
            return _unwritable(str(link), exc)
        link = link.__cause__
    return None


@contextmanager
def explained() -> Iterator[None]:
    """Give what ends a run a message and a hint, wherever in the run it came up."""
    try:
        yield
    except Exception as exc:
        error = ends_run(exc)
        if error is None or error is exc:
            raise
        raise error from exc


def _unwritable(why: str, exc: BaseException) -> StrongroomError:
    error = StrongroomError(
        f"the data directory cannot be written: {why}",
        hint="Free disk space or mend the disk, then run the same ingest again: finished files are not repeated.",
    )
    error.__cause__ = exc
    return error


def verdict(exc: Exception, *, item: str) -> Verdict:
    """Turn what went wrong with one file into a state and a reason; unexpected errors are logged as defects.

    The log gets class and stack, never the message: messages of parsers can hold words of the document.
    """
    state = DocumentState.QUARANTINED if isinstance(exc, QuarantineError) else DocumentState.FAILED
    if isinstance(exc, StrongroomError):
        reason = " ".join(_sentence(part) for part in (str(exc), exc.hint) if part)
        return Verdict(state, reason if isinstance(exc, ParseError) else f"{reason} {TRIED_AGAIN}")
    if isinstance(exc, OSError):
        return Verdict(state, f"{_explain(exc)} {TRIED_AGAIN}")
    stack = "".join(traceback.format_tb(exc.__traceback__))
    log.error("%s: unexpected %s\n%s", item, type(exc).__name__, stack)
    return Verdict(state, f"{type(exc).__name__}: this is a defect in Strongroom; please report it. {TRIED_AGAIN}")


def held(exc: HeldError) -> str:
    """Why a document that a legal hold keeps was left as it is, in a sentence or two."""
    return f"{_sentence(str(exc))} {exc.hint}"


def _sentence(text: str) -> str:
    """A message or hint as a sentence, so that both read well in one line."""
    text = text[0].upper() + text[1:]
    return text if text[-1] in ".!?" else f"{text}."


def _explain(exc: OSError) -> str:
    if isinstance(exc, FileNotFoundError):
        return "The file disappeared before it was read."
    if isinstance(exc, PermissionError):
        return "The file may not be read: give the user that runs Strongroom read permission."
    return f"The file could not be read: {exc.strerror or type(exc).__name__}."
