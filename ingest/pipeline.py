"""Files into the catalogue and the index, as bounded stages: list, hash, parse, store, embed, index.

The catalogue commits before the index is written and is told only after the index is durable, so that a kill at any
moment leaves a version that is either whole and current or that `recover` finishes; see `ingest.finish`. Nothing here
parses, walks folders, prints or draws: those parts are given in. Progress goes to `on_event` in the caller's thread.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from ingest.decide import BURIED, TWICE, Rules, fingerprint, settled_with_members
from ingest.dense import DenseEncoder
from ingest.finish import Finisher, remake, remove_versions, reword, stage, sweep
from ingest.flow import Halt
from ingest.intake import Intake
from ingest.members import Entry
from ingest.moves import Carried, Move, is_local, match, missing_here
from ingest.progress import Tally, cancelled, run_stages
from ingest.prune import Seen
from ingest.regrant import tell_index
from ingest.work import Parts, ends_run, explained, held, verdict
from strongroom.catalog.records import Collection, Twin
from strongroom.errors import HeldError, LockedError, NotFoundError
from strongroom.types import (
    DocumentState,
    FileOutcome,
    IngestEvent,
    IngestOptions,
    IngestSummary,
    OcrMode,
    OnEvent,
    SourceFile,
)
from strongroom.wire import shown_uri

log = logging.getLogger(__name__)

_LOCK_POLL_S = 0.1
_MOVED_TOGETHER = 200  # documents that move in one transaction
BY = "ingest --prune"


@dataclass(frozen=True, slots=True)
class RecoveryReport:
    """What `recover` did. `missing` counts indexed versions whose points were not all in the index."""

    finished: int = 0
    removed: int = 0
    missing: int = 0


class Pipeline:
    """Ingests, recovers, rebuilds. One per data directory; runs may overlap in time, each with parsers of its own."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self._lock = threading.Lock()
        self._active = 0
        self._swept = False
        self._claims: set[tuple[str, str]] = set()

    def run(
        self,
        files: Iterable[SourceFile | FileOutcome],
        options: IngestOptions,
        *,
        on_event: OnEvent,
        cancel: threading.Event | None = None,
        passwords: Sequence[str] = (),
        hidden: frozenset[str] = frozenset(),
    ) -> IngestSummary:
        """Ingest `files`; each ends in exactly one `FileOutcome`, in the order they get done.

        `passwords` are tried in order on what is locked, also on what was found locked before; kept nowhere.
        `hidden` are documents that whoever asks may not read: they are not reported as vanished, not pruned, not moved.
        `dry_run` reports what would happen and writes nothing at all. Raises `CancelledError` when `cancel` is set, and
        what makes going on senseless (index unreachable, disk full); what was finished by then stays finished, and
        nothing unfinished is visible.
        """
        seen = Seen(options.roots, options.within, hidden=hidden)
        if options.dry_run:
            return self._plan(files, options, seen, on_event=on_event, cancel=cancel)
        halt = Halt()
        tally = Tally(halt)
        with explained(), self._running(on_event, cancel) as remade:
            place = self.parts.catalog.ensure_collection(options.collection)
            carried = Carried()

            def one_pass(start: Callable[[Intake], threading.Thread]) -> None:
                finisher = Finisher(self.parts, halt, tally)
                intake = Intake(
                    self.parts,
                    halt,
                    tally,
                    finisher,
                    options,
                    collection_id=place.id,
                    seen=seen,
                    claim=self._claim,
                    remade=remade,
                    carried=carried,
                    passwords=passwords,
                )
                try:
                    start(intake).start()
                    run_stages([*intake.threads(), *finisher.threads()], halt, tally, on_event, cancel)
                finally:
                    intake.close()

            try:
                one_pass(lambda intake: intake.lister(files))
                while parked := carried.take():
                    if carried.first_pass:
                        self._move(parked, place, seen, carried)
                        carried.first_pass = False
                    tally.reopen()
                    one_pass(lambda intake, parked=parked: intake.feed(parked))  # type: ignore[misc]
                tally.stage = "pruning"
                self._vanished(place, seen, tally, options, on_event=on_event, cancel=cancel)
            except BaseException:
                self._swept = False  # whatever it left is for the next run's recovery
                raise
            finally:
                for entry in carried.parked:
                    entry.forget()
                self._release(carried.claimed)
        tally.stage = "done"
        on_event(tally.progress())
        return tally.summary()

    def recover(
        self, *, on_event: OnEvent | None = None, cancel: threading.Event | None = None, repair: bool = True
    ) -> RecoveryReport:
        """Finish what a crash left: parsed versions are indexed, stale and orphan points leave the index.

        With `repair`, indexed versions that lack points are embedded again; without, they are only counted, so that
        start-up stays short after an index was lost. Does nothing while an ingest runs: that one has recovered already.
        """
        with explained(), self._exclusive(cancel):
            if self._active:
                return RecoveryReport()
            report, _ = self._recover(on_event or _ignore, cancel, repair=repair)
        return report

    def reindex(self, on_event: OnEvent, *, cancel: threading.Event | None = None) -> IngestSummary:
        """Empty the index and rebuild it from the catalogue, without a file being read.

        Raises `LockedError` while an ingest runs. After a kill, `recover` (or the next ingest) goes on with what is
        missing.
        """
        with explained(), self._exclusive(cancel):
            if self._active:
                raise LockedError("an ingest is running", hint="Wait for it to end, or cancel it, then reindex.")
            self._swept = False
            self.parts.index.clear()
            self.parts.index.flush()
            current = self.parts.catalog.indexed_versions()
            tally = self._remake(current, on_event, cancel, mark=False, name="reindexing")
            self._recover(on_event, cancel, repair=True)
        on_event(tally.progress())
        return tally.summary()

    def settled(
        self, offers: Iterable[tuple[str, str]], *, collection: str, ocr: OcrMode | None = None
    ) -> dict[str, FileOutcome]:
        """Outcomes by URI of those `(uri, sha256)` offers that would need no work, so that nobody uploads them."""
        try:
            place = self.parts.catalog.collection(collection)
        except NotFoundError:
            return {}
        rules = Rules(self.parts.settings.recipe, ocr)
        found = {}
        for uri, sha256 in offers:
            known = self.parts.catalog.find(place.id, uri, sha256=sha256)
            outcomes = settled_with_members(self.parts.catalog, uri, known, sha256, rules)
            if outcomes:
                found[uri] = outcomes[0]
        return found

    # ------------------------------------------------------------------------------------------ recovery

    def _recover(
        self, on_event: OnEvent, cancel: threading.Event | None, *, repair: bool
    ) -> tuple[RecoveryReport, set[str]]:
        parts = self.parts
        parts.catalog.finish_deletions()
        tell_index(parts.catalog, parts.index)
        removed = self._remove_stale()
        left = parts.catalog.unindexed()
        if left:
            log.info("finishing %d versions that were parsed but not indexed", len(left))
            self._remake(left, on_event, cancel, mark=True, name="recovering")
            removed += self._remove_stale()
        stale = parts.catalog.stale_points()
        if stale:
            self._remake(stale, on_event, cancel, mark=False, name="renaming")
            parts.catalog.reworded(stale)
        missing: list[str] = []
        if not self._swept:
            missing = sweep(parts)
            if missing and repair:
                log.warning("embedding %d versions again whose points are not all in the index", len(missing))
                self._remake(missing, on_event, cancel, mark=False, name="repairing")
            self._swept = repair or not missing
        return RecoveryReport(len(left), removed, len(missing)), {*left}

    def _remake(
        self, version_ids: list[str], on_event: OnEvent, cancel: threading.Event | None, *, mark: bool, name: str
    ) -> Tally:
        """Embed and index versions from the catalogue's text."""
        halt = Halt()
        tally = Tally(halt, stage=name)
        tally.files_total = len(version_ids)
        finisher = Finisher(self.parts, halt, tally, mark=mark)
        feed = stage("remake", lambda: remake(self.parts, finisher, version_ids, halt), halt, finisher.close)
        run_stages([feed, *finisher.threads()], halt, tally, on_event, cancel)
        return tally

    # ------------------------------------------------------------------------------------------ who runs when

    @contextmanager
    def _exclusive(self, cancel: threading.Event | None) -> Iterator[None]:
        while not self._lock.acquire(timeout=_LOCK_POLL_S):
            if cancel is not None and cancel.is_set():
                raise cancelled()
        try:
            yield
        finally:
            self._lock.release()

    @contextmanager
    def _running(self, on_event: OnEvent, cancel: threading.Event | None) -> Iterator[set[str]]:
        """Count a run in; the first of overlapping ones recovers, and gets the versions that this finished."""
        remade: set[str] = set()
        with self._exclusive(cancel):
            if not self._active:
                _, remade = self._recover(on_event, cancel, repair=True)
            self._active += 1
        try:
            yield remade
        finally:
            with self._lock:
                self._active -= 1

    def _claim(self, collection_id: str, uri: str) -> bool:
        """Reserve a source for one run; two runs that make the same version would take each other's points out."""
        with self._lock:
            if (collection_id, uri) in self._claims:
                return False
            self._claims.add((collection_id, uri))
            return True

    def _release(self, claimed: set[tuple[str, str]]) -> None:
        with self._lock:
            self._claims -= claimed

    # ------------------------------------------------------------------------------------------ vanished, dry run

    def _moves(self, entries: list[Entry], place: Collection, seen: Seen, carried: Carried) -> list[Move]:
        """Which of the parked files are documents of the collection that moved. The listing has ended."""

        def gone(file: SourceFile, twin: Twin) -> bool:
            if twin.existing.document_id in seen.hidden:
                return False
            if seen.believed(twin.uri):
                return seen.gone(twin.uri)
            return is_local(file) and not seen.listed(twin.uri) and missing_here(twin.uri)

        return match(
            ((e.file, carried.hashes[e.file.uri][0]) for e in entries if e.inside is None),
            twins=lambda sha256: self.parts.catalog.twins(place.id, sha256),
            gone=gone,
        )

    def _move(self, entries: list[Entry], place: Collection, seen: Seen, carried: Carried) -> None:
        """Let documents follow their files. The catalogue goes first and notes whose points go by an old name, since
        nobody can tell from a vector whether its name was changed already: after a crash they are made anew."""
        moves = self._moves(entries, place, seen, carried)
        encoder = DenseEncoder(self.parts.embedder)
        for at in range(0, len(moves), _MOVED_TOGETHER):
            batch = moves[at : at + _MOVED_TOGETHER]
            pairs = [(move.twin.existing.document_id, move.file) for move in batch]
            moved = set(self.parts.catalog.move_documents(pairs))
            batch = [move for move in batch if move.twin.existing.document_id in moved]
            reworded = []
            for move in batch:
                carried.moved[move.file.uri] = shown_uri(move.twin.uri)
                version_id = self.parts.catalog.current_version(move.twin.existing.document_id)
                if version_id is not None and move.file.name != move.twin.name:
                    reword(self.parts, encoder, version_id, move.twin.name)
                    reworded.append(version_id)
            if reworded:
                self.parts.index.flush()
                self.parts.catalog.reworded(reworded)

    def _vanished(
        self,
        place: Collection,
        seen: Seen,
        tally: Tally,
        options: IngestOptions,
        *,
        on_event: OnEvent,
        cancel: threading.Event | None,
        moved: frozenset[str] = frozenset(),
    ) -> None:
        """Report documents whose file is gone, and delete them when asked to. `moved` are ids that only seem gone."""
        if seen.complete:
            return
        sources = self.parts.catalog.sources(place.id)
        gone = [pair for pair in seen.vanished(sources) if pair[0] not in moved]
        kept = seen.too_many(gone, sources) if options.prune and not options.prune_all else {}
        for document_id, uri in gone:
            if cancel is not None and cancel.is_set():
                raise cancelled()
            path = shown_uri(uri)
            if not options.prune:
                reason = "Its file is gone; `--prune` removes such documents."
                tally.outcome(FileOutcome(path, "vanished", document_id, reason=reason))
            elif document_id in kept:
                tally.kept += 1
                tally.outcome(FileOutcome(path, "vanished", document_id, reason=kept[document_id]))
            elif options.dry_run:
                tally.outcome(FileOutcome(path, "removed", document_id, reason="Would be removed."))
            elif (outcome := self._delete(document_id, path)) is not None:
                tally.outcome(outcome)
            for event in tally.left_over():
                on_event(event)
        if options.prune and not options.dry_run:
            self._remove_stale()

    def _remove_stale(self) -> int:
        return remove_versions(self.parts.catalog, self.parts.index, self.parts.blobs)

    def _delete(self, document_id: str, path: str) -> FileOutcome | None:
        try:
            self.parts.catalog.delete_document(document_id, by=BY, bury=False)
        except NotFoundError:
            return None  # someone else was faster
        except HeldError as exc:
            return FileOutcome(path, "skipped", document_id, reason=held(exc))
        return FileOutcome(path, "removed", document_id, reason="Its file is gone.")

    def _plan(
        self,
        files: Iterable[SourceFile | FileOutcome],
        options: IngestOptions,
        seen: Seen,
        *,
        on_event: OnEvent,
        cancel: threading.Event | None,
    ) -> IngestSummary:
        """The dry run: hash and compare, in the caller's thread."""
        halt = Halt()
        tally = Tally(halt, stage="planning")
        carried = Carried()
        try:
            place: Collection | None = self.parts.catalog.collection(options.collection)
        except NotFoundError:
            place = None
        for item in files:
            if cancel is not None and cancel.is_set():
                raise cancelled()
            if isinstance(item, FileOutcome):
                seen.passed_over(item)
                tally.outcome(item)
            elif not seen.file(item.uri):
                tally.outcome(FileOutcome(shown_uri(item.uri), "skipped", reason=TWICE))
            elif (outcome := self._would_do(item, place, options, carried)) is not None:
                tally.outcome(outcome)
            self._tell(tally, on_event)
        if place is not None:
            moves = self._moves(carried.parked, place, seen, carried)
            moved = {move.file.uri: move.twin for move in moves}
            for entry in carried.parked:
                twin = moved.get(entry.file.uri)
                path = shown_uri(entry.file.uri)
                if twin is None:
                    tally.outcome(FileOutcome(path, "indexed", reason="Would be added, as a copy of another file."))
                else:
                    reason = f"Would be moved from {shown_uri(twin.uri)}"
                    tally.outcome(FileOutcome(path, "moved", twin.existing.document_id, reason=reason))
                self._tell(tally, on_event)
            ids = frozenset(twin.existing.document_id for twin in moved.values())
            self._vanished(place, seen, tally, options, on_event=on_event, cancel=cancel, moved=ids)
        on_event(tally.progress())
        return tally.summary(dry_run=True)

    @staticmethod
    def _tell(tally: Tally, on_event: OnEvent) -> None:
        events: list[IngestEvent] = list(tally.left_over())
        if (progress := tally.due()) is not None:
            events.append(progress)
        for event in events:
            on_event(event)

    def _would_do(
        self, file: SourceFile, place: Collection | None, options: IngestOptions, carried: Carried
    ) -> FileOutcome | None:
        """What would become of a file; `None` for one that is parked until the listing has ended."""
        try:
            sha256, stamp = fingerprint(file.path)
        except Exception as exc:
            if (error := ends_run(exc)) is not None:
                raise error from exc
            failed = verdict(exc, item="a file of the dry run")
            return FileOutcome(shown_uri(file.uri), failed.outcome, reason=failed.reason)
        known = self.parts.catalog.find(place.id, file.uri, sha256=sha256) if place is not None else None
        rules = Rules(self.parts.settings.recipe, options.ocr, options.retry)
        done = settled_with_members(self.parts.catalog, file.uri, known, sha256, rules)
        if done:
            return done[0]
        if known is None and place is not None:
            buried = self.parts.catalog.buried(place.id, file.uri, sha256)
            if buried is not None and not options.restore:
                return FileOutcome(shown_uri(file.uri), "skipped", reason=BURIED.format(date=buried[:10]))
            if self.parts.catalog.twins(place.id, sha256):
                carried.parked.append(Entry(file))
                carried.hashes[file.uri] = (sha256, stamp)
                return None
        if known is None:
            return FileOutcome(shown_uri(file.uri), "indexed", reason="Would be added.")
        why = "changed" if known.sha256 != sha256 else "unfinished, failed before or read by another parser version"
        if known.state == DocumentState.INDEXED and known.sha256 == sha256:
            why = "read by another parser version"
        return FileOutcome(shown_uri(file.uri), "indexed", known.document_id, reason=f"Would be read again: {why}.")


def _ignore(_event: IngestEvent) -> None:
    """For callers that want no events."""
