"""The front half of the pipeline: from a listing to versions whose text is safe in the catalogue.

Three threads. One drains the listing, so that totals are known early; one hashes, asks the catalogue and hands files to
the parsers; one takes what they return, in whatever order, and stores it. A file's trouble ends with that file.
What lies inside a file (`ingest.members`) goes to the head of the queue when the file is stored.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from ingest.decide import (
    BURIED,
    TWICE,
    Rules,
    Stamp,
    changed,
    fingerprint,
    fingerprint_of_refusal,
    settled,
    settled_with_members,
    unchanged_since,
)
from ingest.finish import Finisher, deleted_meanwhile, stage
from ingest.flow import Channel, Halt, Halted
from ingest.members import Entry, entries_of, forget
from ingest.moves import Carried, is_local
from ingest.progress import Tally
from ingest.prune import Seen
from ingest.regrant import tell_index
from ingest.work import REMOVING, ParserPool, Parts, Work, ends_run, held, verdict
from strongroom.catalog.records import Existing, Twin
from strongroom.errors import HeldError, IntegrityError, NotFoundError, ParseError, QuarantineError
from strongroom.types import Chunk, FileOutcome, IngestOptions, ParsedDocument, SourceFile
from strongroom.wire import shown_uri

_UNKNOWN_TYPE = "application/octet-stream"
_EVERYTHING = float("inf")
_SPOOL_BYTES = 256 << 20  # uploads taken ahead of the parsers; more would only fill the disk that they are spooled to
_PARKED_BYTES = 1 << 30  # spooled files that wait for the next pass; more are read as new at once
_STAMPS = 500  # stamps that are recorded in one transaction
_DONE, _PARKED, _HANDED_OVER = "done", "parked", "handed over"  # what became of a file that was hashed
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
        carried: Carried,
        passwords: Sequence[str] = (),
    ) -> None:
        self._parts = parts
        self._halt = halt
        self._tally = tally
        self._finisher = finisher
        self._options = options
        self._passwords = passwords
        self._rules = Rules(parts.settings.recipe, options.ocr, options.retry, unlock=bool(passwords))
        self._collection_id = collection_id
        self._seen = seen
        self._claim = claim
        self._remade = remade
        self._carried = carried
        self._under_way: set[str] = set()  # contents that this pass hands to the parsers
        self._stamps: list[tuple[str, str]] = []
        self._pool: ParserPool | None = None
        self._slots: Channel[None] | None = None  # one item for each file between hand-over and storage
        self._listed: Channel[Entry | FileOutcome] = Channel(halt, _SPOOL_BYTES)
        self._parsed: Channel[tuple[Work, Entry, Future[_Parsed]]] = Channel(halt, _EVERYTHING)
        self._counting = threading.Lock()
        self._open = 1  # files that are not done with, each of which may bring members; the listing counts as one

    def lister(self, files: Iterable[SourceFile | FileOutcome]) -> threading.Thread:
        """The thread that drains the listing. It writes to no store, so a run that stops need not wait for it."""
        return stage("list", lambda: self._list(files), self._halt, self._done)

    def feed(self, entries: list[Entry]) -> threading.Thread:
        """The same for files that an earlier pass has parked."""
        with self._counting:
            self._open += len(entries)

        def put_all() -> None:
            for entry in entries:
                self._listed.put(entry, 0.0)

        return stage("list", put_all, self._halt, self._done)

    def threads(self) -> list[threading.Thread]:
        return [
            stage("hash", self._hash_all, self._halt, self._parsed.close),
            stage("store", self._store_all, self._halt, self._finisher.close),
        ]

    def close(self) -> None:
        """End the parsers, and remove members that a stopped run leaves. Call it when the threads have ended."""
        if self._pool is not None:
            self._pool.close()
        for item in self._listed.rest():
            if isinstance(item, Entry):
                item.forget()
        for _, entry, future in self._parsed.rest():
            entry.forget()
            if not future.cancelled() and future.exception() is None:
                forget(future.result()[0].members)

    def _done(self, entry: Entry | None = None) -> None:
        """One file is done with, or the listing is: the last one ends the queue that all of them feed."""
        if entry is not None:
            entry.forget()
            if entry.inside is None:
                self._tally.passed(entry.file.size)
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
                self._listed.put(item, 0.0)
            elif self._seen.file(item.uri):
                with self._counting:
                    self._open += 1
                self._tally.listed(item.size)
                self._listed.put(Entry(item), 0.0 if is_local(item) else item.size)
            else:
                self._tally.outcome(FileOutcome(shown_uri(item.uri), "skipped", reason=TWICE))
        self._tally.files_total = count
        self._tally.stage = "ingesting"

    # ---------------------------------------------------------------------------------------------- hash

    def _hash_all(self) -> None:
        while listed := self._listed.get():
            for entry in listed:
                if isinstance(entry, FileOutcome):  # somebody else has decided: what is left is who may read it
                    self._tally.outcome(self._granted(entry) if entry.outcome == "unchanged" else entry)
                    continue
                became = _DONE
                try:
                    became = self._hash(entry)
                except NotFoundError:  # what holds it was deleted or replaced meanwhile
                    self._tally.outcome(deleted_meanwhile(shown_uri(entry.file.uri)))
                except Exception as exc:  # noqa: BLE001 - one file's trouble ends with that file
                    self._failed(entry.file, exc)
                finally:
                    if became != _HANDED_OVER:
                        self._done(entry if became == _DONE else None)
        self._note_stamps(at_least=1)

    def _hash(self, entry: Entry) -> str:
        """Settle a file, park it, or hand it to the parsers; returns which."""
        catalog, file = self._parts.catalog, entry.file
        if not self._reserved(file):
            reason = "Another ingest is working on it at this moment."
            self._tally.outcome(FileOutcome(shown_uri(file.uri), "skipped", reason=reason))
            return _DONE
        sha256, stamp = self._identify(entry)
        known = catalog.find(self._collection_id, file.uri, sha256=sha256)
        done = settled_with_members(catalog, file.uri, known, sha256, self._rules)
        if done and known is not None:
            self._settle(entry, done, known, stamp)
            return _DONE
        if known is None and self._stays_out(entry, sha256):
            return _DONE
        if stamp is None:  # refused before it was read: there is nothing to wait for
            return self._begin(entry, sha256, stamp, [])
        twins = [twin for twin in catalog.twins(self._collection_id, sha256) if twin.uri != file.uri]
        may_have_moved = known is None and entry.inside is None and any(not twin.inside for twin in twins)
        waits = (may_have_moved and self._carried.first_pass) or sha256 in self._under_way
        if waits and self._parks(entry, sha256, stamp):
            return _PARKED
        return self._begin(entry, sha256, stamp, twins)

    def _reserved(self, file: SourceFile) -> bool:
        claim = (self._collection_id, file.uri)
        if claim in self._carried.claimed:  # by an earlier pass of this run
            return True
        if not self._claim(*claim):
            return False
        self._carried.claimed.add(claim)
        return True

    def _identify(self, entry: Entry) -> tuple[str, Stamp | None]:
        """Hash and stamp of a file; it is not read when its stamp is the one that was recorded with its hash."""
        if entry.refused:
            return fingerprint_of_refusal(entry.refused)
        file = entry.file
        parked = self._carried.hashes.pop(file.uri, None)
        if parked is not None and unchanged_since(file.path, parked[1]):
            return parked
        if is_local(file) and not self._options.rehash:
            known = self._parts.catalog.find(self._collection_id, file.uri)
            if known is not None and known.stamp is not None:
                stamp = Stamp.of(Path(file.path).stat())
                if stamp.text == known.stamp:
                    return known.sha256, stamp
        return fingerprint(file.path)

    def _settle(self, entry: Entry, done: list[FileOutcome], known: Existing, stamp: Stamp | None) -> None:
        """Report a file that needs no work, and what lies inside it."""
        file = entry.file
        if entry.inside is not None:
            self._parts.catalog.adopt(known.document_id, entry.inside.parent)
        if stamp is not None and is_local(file) and stamp.lasting is not None and stamp.lasting != known.stamp:
            self._stamps.append((known.version_id, stamp.lasting))
            self._note_stamps(at_least=_STAMPS)
        done = [self._granted(outcome) for outcome in [self._credited(done[0], known.version_id), *done[1:]]]
        moved_from = self._carried.moved.get(file.uri)
        if moved_from is not None:
            moved = [replace(o, outcome="moved", reason=f"Moved from {moved_from}") for o in done]
            done = [m if o.outcome == "unchanged" else o for m, o in zip(moved, done, strict=True)]
        self._tally.expect(len(done) - 1)
        for outcome in done:
            self._tally.outcome(outcome)

    def _note_stamps(self, *, at_least: int) -> None:
        if len(self._stamps) >= at_least:
            self._parts.catalog.note_stamps(self._stamps)
            self._stamps.clear()

    def _granted(self, done: FileOutcome) -> FileOutcome:
        """Let the run's groups read a document that needs no other work."""
        groups, catalog = self._options.groups, self._parts.catalog
        if not groups or done.document_id is None:
            return done
        if not catalog.grant_groups(self._collection_id, done.document_id, groups):
            return done
        tell_index(catalog, self._parts.index)
        return replace(done, reason=done.reason or f"May now be read by {', '.join(groups)}.")

    def _stays_out(self, entry: Entry, sha256: str) -> bool:
        """Leave out what was deleted on purpose, unless this run is to take such files in again."""
        catalog, uri = self._parts.catalog, entry.file.uri
        at = catalog.buried(self._collection_id, uri, sha256)
        if at is None:
            return False
        if self._options.restore:
            catalog.unbury(self._collection_id, sha256)
            return False
        if entry.inside is not None:
            catalog.leave_out(entry.inside.parent)
        self._tally.outcome(FileOutcome(shown_uri(uri), "skipped", reason=BURIED.format(date=at[:10])))
        return True

    def _parks(self, entry: Entry, sha256: str, stamp: Stamp) -> bool:
        """Leave a file to the next pass, unless files that wait would fill the spool."""
        carried, size = self._carried, 0 if is_local(entry.file) else entry.file.size
        if carried.parked_bytes + size > _PARKED_BYTES:
            return False
        carried.parked.append(entry)
        carried.parked_bytes += size
        carried.hashes[entry.file.uri] = (sha256, stamp)
        return True

    def _begin(self, entry: Entry, sha256: str, stamp: Stamp | None, twins: list[Twin]) -> str:
        """Open a version and fill it from a twin, or hand the file to the parsers."""
        file = entry.file
        try:
            if entry.refused:
                raise QuarantineError(entry.refused)
            entry.check_place(sha256)
            mime, refused = self._parts.detect(file), None
        except ParseError as exc:
            mime, refused = _UNKNOWN_TYPE, exc
        donor, known = (None, None) if refused else self._donor(file, mime, sha256, twins)
        with REMOVING:  # not while the removal list is being worked through
            begun = self._parts.catalog.begin(
                self._collection_id,
                file,
                sha256=sha256,
                mime=mime,
                recipe=donor.existing.recipe if donor else self._rules.own_recipe,
                groups=self._options.groups,
                stamp=stamp.lasting if stamp is not None and is_local(file) else None,
                parent=entry.inside.parent if entry.inside else None,
            )
        work = Work(begun, file, stamp, entry.inside, sha256)
        if refused is not None:
            self._failed(file, refused, work)
            return _DONE
        if donor is not None and known is not None:
            copied = False
            with self._trouble(work, file):
                copied = self._copy(work, file, donor, known)
            if copied or work.given_up:
                return _DONE
        self._under_way.add(sha256)
        return self._hand_over(work, entry, mime)

    def _donor(
        self, file: SourceFile, mime: str, sha256: str, twins: list[Twin]
    ) -> tuple[Twin | None, FileOutcome | None]:
        """A twin that was read as this file would be, and what became of it; one that answers questions first."""
        found: tuple[Twin | None, FileOutcome | None] = (None, None)
        for twin in twins:
            if twin.mime != mime and Path(twin.name).suffix.casefold() != Path(file.name).suffix.casefold():
                continue  # of some formats, text above all, the name tells how they are read
            if twin.existing.members:
                continue  # what lies inside is only to be had by parsing
            known = settled(file.uri, twin.existing, sha256, self._rules)
            if known is not None and known.outcome == "unchanged":
                return twin, known
            if known is not None:
                found = (twin, known)
        return found

    def _copy(self, work: Work, file: SourceFile, donor: Twin, known: FileOutcome) -> bool:
        """Make a version from what reading the same bytes has given already; false when that is gone by now."""
        if known.outcome != "unchanged":
            state, reason = donor.existing.state, donor.existing.reason or ""
            self._parts.catalog.mark_failed(work.begun, state, reason)
            self._tally.outcome(replace(known, document_id=work.begun.document_id))
            return True
        self._keep_original(work, file)
        copied = self._parts.catalog.copy_version(work.begun, donor.existing.version_id)
        if copied is None:
            return False
        sources, donors = copied
        work.pages = donor.existing.pages
        self._finisher.put(work, sources, donors, donor.name)
        return True

    def _hand_over(self, work: Work, entry: Entry, mime: str) -> str:
        if self._pool is None or self._slots is None:
            self._pool = self._parts.pool(self._options.workers, self._options.ocr)
            if self._passwords:
                self._pool.unlock_with(self._passwords)
            ahead = self._pool.workers * (1 + self._parts.settings.parse_ahead)
            self._slots = Channel(self._halt, ahead)
        self._slots.put(None)
        self._tally.begin(shown_uri(entry.file.uri))
        try:
            future = self._pool.submit(Path(entry.file.path), mime)
        except Exception as exc:  # noqa: BLE001 - one file's trouble ends with that file
            self._slots.get()
            self._failed(entry.file, exc, work)
            return _DONE
        future.add_done_callback(lambda done: self._hand_back(work, entry, done))
        return _HANDED_OVER

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
            with self._trouble(work, file):
                parsed, chunks = future.result()
                members = self._members(work, file, parsed)
                self._store(work, file, parsed, chunks, [member.file.uri for member in members])
                self._take_in(members)
                members = []
        finally:
            for member in members:
                member.forget()
            self._done(entry)
            with suppress(Halted):
                self._slots.get()

    @contextmanager
    def _trouble(self, work: Work, file: SourceFile) -> Iterator[None]:
        """One version's trouble ends with that version."""
        try:
            yield
        except NotFoundError:
            self._forget(work, file)
        except Exception as exc:  # noqa: BLE001 - one file's trouble ends with that file
            if isinstance(exc, IntegrityError) and self._is_gone(work, file):  # its key was destroyed
                self._forget(work, file)
            else:
                self._failed(file, exc, work)

    def _members(self, work: Work, file: SourceFile, parsed: ParsedDocument) -> list[Entry]:
        """What lies inside a file that was parsed. When that is too much, none of it stays in the spool."""
        try:
            return entries_of(file, parsed.members, begun=work.begun, inside=work.inside, sha256=work.sha256)
        except ParseError:
            forget(parsed.members)
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
        self._keep_original(work, file)
        sources = self._parts.catalog.store_parsed(work.begun, parsed, chunks, members=members)
        work.pages = len(parsed.pages)
        self._finisher.put(work, sources)

    def _keep_original(self, work: Work, file: SourceFile) -> None:
        self._parts.blobs.put(work.begun.document_id, work.begun.version_id, Path(file.path))
        if work.stamp is None or not unchanged_since(file.path, work.stamp):
            raise changed()

    def _is_gone(self, work: Work, file: SourceFile) -> bool:
        known = self._parts.catalog.find(self._collection_id, file.uri)
        return known is None or known.version_id != work.version_id

    def _forget(self, work: Work, file: SourceFile) -> None:
        """The document was deleted while it was read: deletion wins, and nothing of it stays."""
        work.given_up = True
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
        if isinstance(exc, HeldError):
            self._tally.outcome(FileOutcome(shown_uri(file.uri), "skipped", reason=held(exc)))
            return
        found = verdict(exc, item=f"version {work.version_id}" if work else "a file that was not begun")
        if work is not None:
            work.given_up = True
            self._parts.catalog.mark_failed(work.begun, found.state, found.reason)
            self._parts.blobs.delete(work.version_id)
        document_id = work.begun.document_id if work else None
        self._tally.outcome(FileOutcome(shown_uri(file.uri), found.outcome, document_id, reason=found.reason))
