"""The front half of the pipeline: from a listing to versions whose text is safe in the catalogue.

Three threads. One drains the listing, so that totals are known early; one hashes, asks the catalogue and hands files to
the parsers; one takes what they return, in whatever order, and stores it. A file's trouble ends with that file.
What lies inside a file (`ingest.members`) goes to the head of the queue when the file is stored.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path

from ingest.decide import (
    TWICE,
    changed,
    fingerprint,
    fingerprint_of_refusal,
    settled_with_members,
    unchanged_since,
    with_ocr,
)
from ingest.finish import Finisher, deleted_meanwhile, stage
from ingest.flow import Channel, Halt, Halted
from ingest.members import Entry, entries_of
from ingest.progress import Tally
from ingest.prune import Seen
from ingest.work import REMOVING, ParserPool, Parts, Work, ends_run, verdict
from strongroom.errors import IntegrityError, NotFoundError, ParseError, QuarantineError
from strongroom.types import Chunk, FileOutcome, IngestOptions, ParsedDocument, SourceFile
from strongroom.wire import shown_uri

_UNKNOWN_TYPE = "application/octet-stream"
_EVERYTHING = float("inf")
_SPOOL_BYTES = 256 << 20  # uploads taken ahead of the parsers; more would only fill the disk that they are spooled to
_Parsed = tuple[ParsedDocument, list[Chunk]]


class Intake:
    """Lists, hashes, parses and stores the files of one run, and feeds the finisher."""

    def __init__(
        self,
        parts: Parts,
        halt: Halt,
        tally: Tally,
        finisher: Finisher,
        options: IngestOptions,
        *,
        collection_id: str,
        seen: Seen,
        claim: Callable[[str, str], bool],
        remade: set[str],
    ) -> None:
        self._parts = parts
        self._halt = halt
        self._tally = tally
        self._finisher = finisher
        self._options = options
        self._collection_id = collection_id
        self._seen = seen
        self._claim = claim
        self._remade = remade
        self._pool: ParserPool | None = None
        self._slots: Channel[None] | None = None  # one item for each file between hand-over and storage
        self._listed: Channel[Entry] = Channel(halt, _SPOOL_BYTES)
        self._parsed: Channel[tuple[Work, Entry, Future[_Parsed]]] = Channel(halt, _EVERYTHING)
        self._counting = threading.Lock()
        self._open = 1  # files that are not done with, each of which may bring members; the listing counts as one
        self.claimed: set[tuple[str, str]] = set()

    def lister(self, files: Iterable[SourceFile | FileOutcome]) -> threading.Thread:
        """The thread that drains the listing. It writes to no store, so a run that stops need not wait for it."""
        return stage("list", lambda: self._list(files), self._halt, self._done)

    def threads(self) -> list[threading.Thread]:
        return [
            stage("hash", self._hash_all, self._halt, self._parsed.close),
            stage("store", self._store_all, self._halt, self._finisher.close),
        ]

    def close(self) -> None:
        """End the parsers. Call it when the threads have ended."""
        if self._pool is not None:
            self._pool.close()

    def _done(self, entry: Entry | None = None) -> None:
        """One file is done with, or the listing is: the last one ends the queue that all of them feed."""
        if entry is not None:
            entry.forget()
        with self._counting:
            self._open -= 1
            if self._open == 0:
                self._listed.close()

    # ---------------------------------------------------------------------------------------------- list

    def _list(self, files: Iterable[SourceFile | FileOutcome]) -> None:
        count = 0
        for item in files:
            self._halt.check()
            count += 1
            if isinstance(item, FileOutcome):
                self._seen.passed_over(item)
                self._tally.outcome(item)
            elif self._seen.file(item.uri):
                uploaded = shown_uri(item.uri) != item.path
                with self._counting:
                    self._open += 1
                self._listed.put(Entry(item), item.size if uploaded else 0.0)
            else:
                self._tally.outcome(FileOutcome(shown_uri(item.uri), "skipped", reason=TWICE))
        self._tally.files_total = count
        self._tally.stage = "ingesting"

    # ---------------------------------------------------------------------------------------------- hash

    def _hash_all(self) -> None:
        while listed := self._listed.get():
            for entry in listed:
                handed_over = False
                try:
                    handed_over = self._hash(entry)
                except NotFoundError:  # what holds it was deleted or replaced meanwhile
                    self._tally.outcome(deleted_meanwhile(shown_uri(entry.file.uri)))
                except Exception as exc:  # noqa: BLE001 - one file's trouble ends with that file
                    self._failed(entry.file, exc)
                finally:
                    if not handed_over:
                        self._done(entry)

    def _hash(self, entry: Entry) -> bool:
        """Settle a file, or hand it to the parsers; returns whether it was handed over."""
        catalog, file, options = self._parts.catalog, entry.file, self._options
        recipe = with_ocr(self._parts.settings.recipe, options.ocr)
        parent = entry.inside.parent if entry.inside else None
        if not self._claim(self._collection_id, file.uri):
            reason = "Another ingest is working on it at this moment."
            self._tally.outcome(FileOutcome(shown_uri(file.uri), "skipped", reason=reason))
            return False
        self.claimed.add((self._collection_id, file.uri))
        sha256, stamp = fingerprint_of_refusal(entry.refused) if entry.refused else fingerprint(file.path)
        known = catalog.find(self._collection_id, file.uri, sha256=sha256)
        done = settled_with_members(
            catalog, file.uri, known, sha256=sha256, recipe=recipe, ocr=options.ocr, retry=options.retry
        )
        if done and known is not None:
            if parent is not None:
                catalog.adopt(known.document_id, parent)
            self._tally.outcome(self._credited(done[0], known.version_id))
            self._tally.expect(len(done) - 1)
            for outcome in done[1:]:
                self._tally.outcome(outcome)
            return False
        try:
            if entry.refused:
                raise QuarantineError(entry.refused)
            entry.check_place(sha256)
            mime, refused = self._parts.detect(file), None
        except ParseError as exc:
            mime, refused = _UNKNOWN_TYPE, exc
        with REMOVING:  # not while the removal list is being worked through
            begun = catalog.begin(
                self._collection_id,
                file,
                sha256=sha256,
                mime=mime,
                recipe=recipe,
                groups=options.groups,
                parent=parent,
            )
        work = Work(begun, file, stamp, entry.inside, sha256)
        if refused is not None:
            self._failed(file, refused, work)
            return False
        return self._hand_over(work, entry, mime)

    def _hand_over(self, work: Work, entry: Entry, mime: str) -> bool:
        if self._pool is None or self._slots is None:
            self._pool = self._parts.pool(self._options.workers, self._options.ocr)
            ahead = self._pool.workers * (1 + self._parts.settings.parse_ahead)
            self._slots = Channel(self._halt, ahead)
        self._slots.put(None)
        try:
            future = self._pool.submit(Path(entry.file.path), mime)
        except Exception as exc:  # noqa: BLE001 - one file's trouble ends with that file
            self._slots.get()
            self._failed(entry.file, exc, work)
            return False
        future.add_done_callback(lambda done: self._hand_back(work, entry, done))
        return True

    def _hand_back(self, work: Work, entry: Entry, done: Future[_Parsed]) -> None:
        with suppress(Halted):  # the run is over; the version stays pending and is begun again next time
            self._parsed.put((work, entry, done))

    def _credited(self, done: FileOutcome, version_id: str) -> FileOutcome:
        """A version that this run's recovery finished counts as this run's work."""
        if done.outcome == "unchanged" and version_id in self._remade:
            return FileOutcome(done.path, "indexed", done.document_id, done.pages, done.chunks)
        return done

    # ---------------------------------------------------------------------------------------------- store

    def _store_all(self) -> None:
        while parsed := self._parsed.get():
            for work, entry, future in parsed:
                self._store_one(work, entry, future)

    def _store_one(self, work: Work, entry: Entry, future: Future[_Parsed]) -> None:
        assert self._slots is not None
        file = entry.file
        members: list[Entry] = []
        try:
            parsed, chunks = future.result()
            members = self._members(work, file, parsed)
            self._store(work, file, parsed, chunks, [member.file.uri for member in members])
            self._take_in(members)
            members = []
        except NotFoundError:
            self._forget(work, file)
        except Exception as exc:  # noqa: BLE001 - one file's trouble ends with that file
            if isinstance(exc, IntegrityError) and self._is_gone(work, file):  # its key was destroyed
                self._forget(work, file)
            else:
                self._failed(file, exc, work)
        finally:
            for member in members:
                member.forget()
            self._done(entry)
            with suppress(Halted):
                self._slots.get()

    def _members(self, work: Work, file: SourceFile, parsed: ParsedDocument) -> list[Entry]:
        """What lies inside a file that was parsed. When that is too much, none of it stays in the spool."""
        try:
            return entries_of(file, parsed.members, begun=work.begun, inside=work.inside, sha256=work.sha256)
        except ParseError:
            for member in parsed.members:
                if member.file is not None:
                    Path(member.file).unlink(missing_ok=True)
            raise

    def _take_in(self, members: list[Entry]) -> None:
        """Queue what lies inside a file that is stored. A kill before they are begun shows in their number."""
        with self._counting:
            self._open += len(members)
        self._tally.expect(len(members))
        self._listed.put_first(members)

    def _store(
        self, work: Work, file: SourceFile, parsed: ParsedDocument, chunks: list[Chunk], members: list[str]
    ) -> None:
        """Original first, then text in one transaction: a version in state `parsed` has both."""
        if not chunks and not parsed.members:
            raise ParseError("No text was found in it.", hint="If it is a scan, see that OCR is switched on.")
        parts, begun = self._parts, work.begun
        parts.blobs.put(begun.document_id, begun.version_id, Path(file.path))
        if work.stamp is None or not unchanged_since(file.path, work.stamp):
            raise changed()
        sources = parts.catalog.store_parsed(begun, parsed, chunks, members=members)
        work.pages = len(parsed.pages)
        self._finisher.put(work, sources)

    def _is_gone(self, work: Work, file: SourceFile) -> bool:
        known = self._parts.catalog.find(self._collection_id, file.uri)
        return known is None or known.version_id != work.version_id

    def _forget(self, work: Work, file: SourceFile) -> None:
        """The document was deleted while it was read: deletion wins, and nothing of it stays."""
        self._parts.blobs.delete(work.version_id)
        self._tally.outcome(deleted_meanwhile(shown_uri(file.uri)))

    # ---------------------------------------------------------------------------------------------- trouble

    def _failed(self, file: SourceFile, exc: Exception, work: Work | None = None) -> None:
        """One file's trouble: record why and go on; re-raise what concerns the whole run."""
        if isinstance(exc, Halted):
            raise exc
        self._halt.check()  # parsers that are being closed fail their files; that is no fault of the files
        if (error := ends_run(exc)) is not None:
            raise error from exc
        found = verdict(exc, item=f"version {work.version_id}" if work else "a file that was not begun")
        if work is not None:
            self._parts.catalog.mark_failed(work.begun, found.state, found.reason)
            self._parts.blobs.delete(work.version_id)
        document_id = work.begun.document_id if work else None
        self._tally.outcome(FileOutcome(shown_uri(file.uri), found.outcome, document_id, reason=found.reason))
