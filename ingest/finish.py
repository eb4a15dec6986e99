"""The back half of the pipeline: chunks in the catalogue become points of the index, and versions become current.

Two threads. The embedder's takes chunks of as many documents as are waiting, so that it is never idle while there is
work; the index's writes points, makes them durable, and only then tells the catalogue, several documents at a time. A
version is marked when the last of its points is in the index: nobody ever finds half a document.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ingest.dense import DenseEncoder
from ingest.flow import Channel, Halt, Halted
from ingest.heap import Heap
from ingest.progress import Tally
from ingest.regrant import write_points
from ingest.work import REMOVING, Parts, Verdict, Work, ends_run, verdict, weight
from strongroom.catalog.records import Begun, PointSource
from strongroom.errors import IntegrityError, NotFoundError
from strongroom.ports import IndexPoint, Vector
from strongroom.types import FileOutcome
from strongroom.wire import shown_uri

if TYPE_CHECKING:
    from ingest.chunk import Wording
    from strongroom.blobs import BlobStore
    from strongroom.catalog import Catalog
    from strongroom.ports import VectorIndex

log = logging.getLogger(__name__)

NO_LONGER_INSIDE = "What held it no longer does."
_REWORDED_TOGETHER = 512
_PIECE = 32  # chunks that travel together: small enough to fill batches evenly


@dataclass(frozen=True, slots=True)
class _Piece:
    """Some chunks of one version; none at all for a version without chunks."""

    work: Work
    sources: Sequence[PointSource]
    donors: Sequence[str] = ()  # chunks of equal text whose vectors can be taken, one for each source
    donor_name: str = ""  # what their document is called


@dataclass(frozen=True, slots=True)
class _Embedded:
    """Points of one version for the index, or the reason why there will be none."""

    work: Work
    points: list[IndexPoint]
    failed: Verdict | None = None


class Finisher:
    """Embeds, indexes and marks. `put` takes versions from any thread; `close` says that no more will come.

    With `mark` off, points are written and the catalogue is left as it is (for `reindex`).
    """

    def __init__(self, parts: Parts, halt: Halt, tally: Tally, *, mark: bool = True) -> None:
        self._parts = parts
        self._halt = halt
        self._tally = tally
        self._mark = mark
        self._encoder = DenseEncoder(parts.embedder)
        self._heap = Heap()
        self._texts: Channel[_Piece] = Channel(halt, parts.settings.in_flight_weight)
        self._points: Channel[_Embedded] = Channel(halt, 3 * parts.settings.embed_weight)

    def put(self, work: Work, sources: Sequence[PointSource], donors: Sequence[str] = (), donor_name: str = "") -> None:
        """Queue a version, waiting while too much text is in flight. `donors` are chunks that it is a copy of."""
        work.chunks = work.left = len(sources)
        for at in range(0, max(len(sources), 1), _PIECE):
            piece = sources[at : at + _PIECE]
            self._texts.put(_Piece(work, piece, donors[at : at + _PIECE], donor_name), sum(map(weight, piece)))

    def close(self) -> None:
        self._texts.close()

    def threads(self) -> list[threading.Thread]:
        return [
            stage("embed", self._embed_all, self._halt, self._points.close),
            stage("index", self._index_all, self._halt, self._tally.events.close),
        ]

    # ---------------------------------------------------------------------------------------------- embed

    def _embed_all(self) -> None:
        while pieces := self._texts.get_many(self._parts.settings.embed_weight):
            pieces = [p for p in pieces if not p.work.given_up]
            made, fresh = self._copied(pieces)
            try:
                made += self._embed(fresh)
            except Exception as exc:
                if (error := ends_run(exc)) is not None:
                    raise error from exc
                made += self._embed_apart(fresh)
            for message in made:
                self._points.put(message, float(len(message.points)))
            self._tally.embedded(sum(len(message.points) for message in made))

    def _copied(self, pieces: list[_Piece]) -> tuple[list[_Embedded], list[_Piece]]:
        """Points of copies, with their donors' vectors; and the pieces that must be embedded."""
        made, fresh = [], []
        for piece in pieces:
            vectors = self._parts.index.vectors(piece.donors) if piece.donors else {}
            if piece.sources and len(vectors) == len(piece.sources):
                dense = [vectors[donor] for donor in piece.donors]
                points = _renamed(self._parts, self._encoder, piece.sources, dense, piece.donor_name)
                made.append(_Embedded(piece.work, points))
            else:  # not a copy, or its donor has left the index meanwhile
                fresh.append(piece)
        return made, fresh

    def _embed_apart(self, pieces: list[_Piece]) -> list[_Embedded]:
        """Embed piece by piece, to find which document the embedder chokes on; only that one fails."""
        made: list[_Embedded] = []
        for piece in pieces:
            if piece.work.given_up:
                continue
            try:
                made += self._embed([piece])
            except Exception as exc:
                if (error := ends_run(exc)) is not None:
                    raise error from exc
                piece.work.given_up = True
                made.append(_Embedded(piece.work, [], verdict(exc, item=f"version {piece.work.version_id}")))
        return made

    def _embed(self, pieces: list[_Piece]) -> list[_Embedded]:
        """Points of all pieces from one call of the embedder."""
        sources = [source for piece in pieces for source in piece.sources]
        wordings = [self._parts.wording(source) for source in sources]
        dense = self._encoder.encode(wordings)
        made, at = [], 0
        for piece in pieces:
            span = range(at, at + len(piece.sources))
            made.append(_Embedded(piece.work, [_point(sources[i], dense[i], wordings[i]) for i in span]))
            at = span.stop
        return made

    # ---------------------------------------------------------------------------------------------- index

    def _index_all(self) -> None:
        ready: list[Work] = []
        while batch := self._points.get_many(self._parts.settings.embed_weight):
            points = [point for message in batch if not message.work.given_up for point in message.points]
            if points:
                write_points(self._parts.catalog, self._parts.index, points)
            for message in batch:
                message.work.left -= len(message.points)
                if message.failed is not None:
                    self._give_up(message.work, message.failed)
                elif message.work.left == 0 and not message.work.given_up:
                    ready.append(message.work)
            if ready and (self._points.empty or len(ready) >= self._parts.settings.commit_documents):
                self._commit(ready)
                ready = []
        if ready:
            self._commit(ready)

    def _commit(self, ready: list[Work]) -> None:
        self._parts.index.flush()
        if self._mark:
            dropped = self._parts.catalog.mark_indexed([work.version_id for work in ready])
            gone = [work for work in ready if self._was_deleted(work)]
            if gone:  # deleted while it was embedded: its points came after the deletion took the others
                self._parts.index.delete_versions([work.version_id for work in gone])
            remove_versions(self._parts.catalog, self._parts.index, self._parts.blobs)
            for work in gone:
                work.given_up = True
            for document_id, uri in dropped:
                self._tally.outcome(FileOutcome(shown_uri(uri), "removed", document_id, reason=NO_LONGER_INSIDE))
        for work in ready:
            self._report(work)
        self._heap.give_back()

    def _was_deleted(self, work: Work) -> bool:
        if work.file is None:  # remade from the catalogue: the sweep after recovery finds it
            return False
        known = self._parts.catalog.find(work.begun.collection_id, work.file.uri)
        return known is None or known.version_id != work.version_id

    def _report(self, work: Work) -> None:
        if work.file is None:
            self._tally.remade(work.chunks)
            return
        path = shown_uri(work.file.uri)
        if work.given_up:
            self._tally.outcome(deleted_meanwhile(path))
        else:
            self._tally.outcome(FileOutcome(path, "indexed", work.begun.document_id, work.pages, work.chunks))

    def _give_up(self, work: Work, failed: Verdict) -> None:
        """Take out what is in the index already, then record why: in this order a crash in between leaves no orphan."""
        self._parts.index.delete_versions([work.version_id])
        self._parts.index.flush()
        if not self._mark:
            log.error("version %s has no points: %s", work.version_id, failed.outcome)
            return
        self._parts.catalog.mark_failed(work.begun, failed.state, failed.reason)
        self._parts.blobs.delete(work.version_id)
        if work.file is not None:
            self._tally.outcome(
                FileOutcome(shown_uri(work.file.uri), failed.outcome, work.begun.document_id, reason=failed.reason)
            )


def remove_versions(catalog: Catalog, index: VectorIndex, blobs: BlobStore) -> int:
    """Take the points and originals of replaced and deleted versions out for good; returns how many versions.

    A version that is begun again leaves the list first (`Catalog.begin`); the lock keeps that from happening between
    reading the list and working through it.
    """
    with REMOVING:
        stale = catalog.removals()
        if not stale:
            return 0
        index.delete_versions(stale)
        index.flush()
        for version_id in stale:
            blobs.delete(version_id)
        catalog.removals_done(stale)
    return len(stale)


def sweep(parts: Parts) -> list[str]:
    """Remove orphan points and return the indexed versions whose points are not all there.

    Reads every point id: for start-up and after a failed run, while nothing else is being ingested.
    """
    indexed = parts.catalog.indexed_versions()
    known = {*indexed, *parts.catalog.unindexed()}
    stored: dict[str, int] = {}
    for version_id in parts.index.all_points().values():
        stored[version_id] = stored.get(version_id, 0) + 1
    orphans = sorted(stored.keys() - known)
    if orphans:
        log.warning("removing the points of %d unknown versions from the index", len(orphans))
        parts.index.delete_versions(orphans)
        parts.index.flush()
    if sum(stored.get(v, 0) for v in indexed) == parts.catalog.counts()[2]:
        return []
    missing = []
    for version_id in indexed:
        points, chunks = parts.index.version_points(version_id), parts.catalog.chunk_ids(version_id)
        if points - chunks:  # left from an attempt that cut the text differently: the version is written anew
            parts.index.delete_versions([version_id])
        if points != chunks:
            missing.append(version_id)
    return missing


def reword(parts: Parts, encoder: DenseEncoder, version_id: str, old_name: str) -> None:
    """Let the points of a version go by the name that its document has now. None of its text is embedded."""
    try:
        sources = parts.catalog.point_sources(version_id)
    except NotFoundError:  # deleted at this moment
        return
    for at in range(0, len(sources), _REWORDED_TOGETHER):
        batch = sources[at : at + _REWORDED_TOGETHER]
        vectors = parts.index.vectors([source.chunk_id for source in batch])
        found = [source for source in batch if source.chunk_id in vectors]  # the others are for a repair
        dense = [vectors[source.chunk_id] for source in found]
        write_points(parts.catalog, parts.index, _renamed(parts, encoder, found, dense, old_name))


def _renamed(
    parts: Parts, encoder: DenseEncoder, sources: Sequence[PointSource], dense: Sequence[Vector], old_name: str
) -> list[IndexPoint]:
    """Points from the vectors that the same text has in a document of another name."""
    old = [parts.wording(replace(source, name=old_name)).context for source in sources]
    new = [parts.wording(source) for source in sources]
    vectors = encoder.renamed(dense, old, [wording.context for wording in new])
    return [_point(s, v, wording) for s, v, wording in zip(sources, vectors, new, strict=True)]


def remake(parts: Parts, finisher: Finisher, version_ids: Sequence[str], halt: Halt) -> None:
    """Feed versions from the catalogue into a finisher. One that cannot be read is logged and left for `verify`."""
    for version_id in version_ids:
        halt.check()
        try:
            sources = parts.catalog.point_sources(version_id)
        except NotFoundError:
            continue  # deleted since the list was made
        except IntegrityError as exc:
            log.error("version %s cannot be read back from the catalogue: %s", version_id, type(exc).__name__)
            continue
        finisher.put(Work(_begun_again(sources, version_id)), sources)


def _begun_again(sources: Sequence[PointSource], version_id: str) -> Begun:
    if not sources:  # nothing was cut from it; its id is all that marking needs
        return Begun("", version_id, "")
    first = sources[0]
    return Begun(first.document_id, version_id, first.collection_id)


def deleted_meanwhile(path: str) -> FileOutcome:
    """What became of a file whose document was deleted while it was read: deletion wins."""
    return FileOutcome(path, "skipped", reason="The document was deleted while it was being ingested.")


def stage(name: str, work: Callable[[], None], halt: Halt, done: Callable[[], None]) -> threading.Thread:
    """A thread for one stage: its error stops the run, and its end, however it comes, closes what it feeds."""

    def body() -> None:
        try:
            with suppress(Halted):
                work()
        except BaseException as exc:  # noqa: BLE001 - handed to the caller by `run_stages`
            halt.stop(exc)
        finally:
            done()

    return threading.Thread(target=body, name=f"ingest-{name}", daemon=True)


def _point(source: PointSource, dense: Vector, wording: Wording) -> IndexPoint:
    return IndexPoint(
        id=source.chunk_id,
        dense=dense,
        text=wording.passage,
        document_id=source.document_id,
        version_id=source.version_id,
        collection_id=source.collection_id,
        name=wording.context,
        opening=source.ordinal == 0,
    )
