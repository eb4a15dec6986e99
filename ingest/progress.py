"""Counts of a run and the events that tell the caller; the caller's function runs in the caller's thread only."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from dataclasses import replace
from itertools import islice

from ingest.flow import Channel, Halt, Halted
from strongroom.errors import CancelledError
from strongroom.types import FileOutcome, IngestProgress, IngestSummary, OnEvent

_INTERVAL_S = 0.2
_POLL_S = 0.1
_EVENTS = 10_000
_SHOWN_CURRENT = 3
_NO_FILE = frozenset({"vanished", "removed"})  # outcomes of documents whose file is gone


class Tally:
    """Thread-safe counts; outcomes queue up for the caller, progress is a snapshot whenever one is due."""

    def __init__(self, halt: Halt, *, stage: str = "listing") -> None:
        self._halt = halt
        self.events: Channel[FileOutcome] = Channel(halt, _EVENTS)
        self.stage = stage
        self.files_total: int | None = None
        self._late: deque[FileOutcome] = deque()
        self._lock = threading.Lock()
        self._outcomes: Counter[str] = Counter()
        self._unlisted = 0
        self._pages = 0
        self._chunks = 0
        self._embedded = 0
        self.kept = 0
        self._bytes_listed = 0
        self._bytes_done = 0
        self._begun: dict[str, float] = {}  # files at the parsers or after them, in the order they got there
        self._start = time.monotonic()
        self._next = 0.0

    def reopen(self) -> None:
        """Take events again after the stages of one pass have ended and closed them."""
        self.events = Channel(self._halt, _EVENTS)

    def outcome(self, outcome: FileOutcome) -> None:
        """Count one file and pass its outcome on."""
        with self._lock:
            begun = self._begun.pop(outcome.path, None)
            if begun is not None:
                outcome = replace(outcome, seconds=round(time.monotonic() - begun, 3))
            self._outcomes[outcome.outcome] += 1
            if outcome.outcome == "indexed":
                self._pages += outcome.pages
                self._chunks += outcome.chunks
        try:
            self.events.put(outcome)
        except Halted:  # the file did get this far: say so even though the run is ending
            self._late.append(outcome)

    def listed(self, size: int) -> None:
        """Count a listed file's bytes."""
        with self._lock:
            self._bytes_listed += size

    def begin(self, path: str) -> None:
        """A file goes to the parsers; its outcome will say how long it took from here."""
        with self._lock:
            self._begun[path] = time.monotonic()

    def passed(self, size: int) -> None:
        """A listed file is parsed and stored, or was settled without."""
        with self._lock:
            self._bytes_done += size

    def expect(self, files: int) -> None:
        """More files than were listed: documents inside one of them."""
        with self._lock:
            self._unlisted += files

    def embedded(self, chunks: int) -> None:
        with self._lock:
            self._embedded += chunks

    def remade(self, chunks: int) -> None:
        """Count a version made again from the catalogue: there is no file to report."""
        with self._lock:
            self._outcomes["indexed"] += 1
            self._chunks += chunks

    def progress(self) -> IngestProgress:
        with self._lock:
            return IngestProgress(
                files_done=self._files(),
                files_total=None if self.files_total is None else self.files_total + self._unlisted,
                pages_done=self._pages,
                chunks_done=max(self._chunks, self._embedded),
                seconds=round(time.monotonic() - self._start, 3),
                stage=self.stage,
                bytes_done=self._bytes_done,
                bytes_total=None if self.files_total is None else self._bytes_listed,
                failed=self._outcomes["failed"] + self._outcomes["quarantined"],
                current=tuple(islice(self._begun, _SHOWN_CURRENT)),
            )

    def due(self) -> IngestProgress | None:
        """A snapshot at most every 0.2 s, else `None`."""
        now = time.monotonic()
        if now < self._next:
            return None
        self._next = now + _INTERVAL_S
        return self.progress()

    def left_over(self) -> list[FileOutcome]:
        """Outcomes that were not passed on because the run stopped."""
        found = [*self.events.rest(), *self._late]
        self._late.clear()
        return found

    def summary(self, *, dry_run: bool = False) -> IngestSummary:
        """Totals so far. `pages` and `chunks` count the work of this run: what was unchanged adds nothing."""
        with self._lock:
            return IngestSummary(
                outcomes=dict(sorted(self._outcomes.items())),
                files=self._files(),
                pages=self._pages,
                chunks=self._chunks,
                seconds=round(time.monotonic() - self._start, 3),
                dry_run=dry_run,
                kept=self.kept,
            )

    def _files(self) -> int:
        return sum(n for name, n in self._outcomes.items() if name not in _NO_FILE)


def run_stages(
    stages: list[threading.Thread], halt: Halt, tally: Tally, on_event: OnEvent, cancel: threading.Event | None
) -> None:
    """Run the stages to their end while events go to the caller; raise the error that stopped them, if one did.

    Whatever happens, every stage has ended on return: nothing writes to the catalogue or the index afterwards.
    """
    for stage in stages:
        stage.start()
    deaf = False
    try:
        while not tally.events.drained:
            if cancel is not None and cancel.is_set():
                halt.stop(cancelled())
            for event in tally.events.get(timeout=_POLL_S):
                on_event(event)
            if (progress := tally.due()) is not None:
                on_event(progress)
    except Halted:
        pass
    except BaseException as exc:  # noqa: BLE001 - the caller's function failed, or Ctrl-C: stop the stages, then pass it on
        deaf = True
        halt.stop(exc)
    finally:
        for stage in stages:
            stage.join()
    if not deaf:
        for event in tally.left_over():
            on_event(event)
    if halt.error is not None:
        raise halt.error


def cancelled() -> CancelledError:
    """The error of a run that its caller asked to stop."""
    return CancelledError("the ingest was cancelled", hint="Run it again to go on: finished files are not repeated.")
