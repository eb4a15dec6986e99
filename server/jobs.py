"""Upload jobs: files arrive over HTTP, are spooled to disk, and feed one `Engine.ingest_files` run a job.

A job lives in two worlds. Routes run on the event loop and call `offer`, `slot`, `add`, `close`, `lines`; the engine
runs in a thread, pulls files from `_feed` and reports through `_on_event`. Everything shared is under one lock, and
the thread wakes readers through the loop. Spooled bytes are plain for as long as the engine needs them, in a folder
only this user can enter; they are removed at the file's outcome, at the job's end and at the server's start.
"""

from __future__ import annotations

import asyncio
import contextvars
import queue
import secrets
import shutil
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from server.errors import UnexpectedError, log, log_defect
from server.limits import Line, Ticket
from server.metrics import Metrics
from server.settings import ServerSettings
from strongroom.engine import Engine
from strongroom.errors import CancelledError, NotFoundError, StrongroomError, UsageError
from strongroom.types import FileOutcome, IngestEvent, IngestOptions, IngestProgress, IngestSummary, SourceFile
from strongroom.wire import OfferRequest, dump_ingest_line, shown_uri

HEARTBEAT = b'{"heartbeat":true}\n'


@dataclass(frozen=True, slots=True)
class _Spooled:
    file: SourceFile
    path: Path


class IngestJob:
    """One upload job. Created, fed and read on the event loop; `run` is the body of its thread."""

    def __init__(
        self, request: IngestOptions, *, user: str, engine: Engine, settings: ServerSettings, metrics: Metrics
    ) -> None:
        self.id = secrets.token_urlsafe(12)
        self.user = user
        self.request = request
        self.cancelled = threading.Event()
        self.finished = False
        self.closed = False
        self.failure: StrongroomError | None = None  # what ended it before all files were taken
        self.touched = time.monotonic()
        self.opened = time.monotonic()
        self.folder = settings.spool_dir / self.id
        self.ticket: Ticket | None = None  # its place among the jobs, once it has one
        self._engine = engine
        self._settings = settings
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._slots = asyncio.Semaphore(settings.upload_slots)
        self._queue: queue.Queue[_Spooled | FileOutcome | None] = queue.Queue()
        self._lock = threading.Lock()
        self._lines: list[bytes] = []
        self._progress: bytes | None = None
        self._waiting: set[asyncio.Event] = set()
        self._spooled: dict[str, _Spooled] = {}  # by each name under which the engine may report the file

    # -------------------------------------------------------------------------------- on the event loop

    def offer(self, offer: OfferRequest) -> tuple[str, ...]:
        """Take note of what the client has; returns the URIs to send. Blocks on the engine.

        What needs no sending goes to the engine as a settled outcome, so that one place counts, reports and knows what
        has vanished. Files that failed before are sent again: only the engine knows whether they must be tried again.
        """
        self.touched = time.monotonic()
        self.refuse_if_closed()
        for outcome in offer.passed_over:  # a client's word says nothing about documents
            self._queue.put(replace(outcome, document_id=None))
        hashes = [(file.uri, file.sha256) for file in offer.files]
        known = (
            self._engine.unchanged(hashes, collection=self.request.collection, ocr=self.request.ocr) if hashes else {}
        )
        wanted = []
        for file in offer.files:
            settled = known.get(file.uri)
            if settled is not None and settled.outcome == "unchanged":
                self._queue.put(settled)
            elif self.request.dry_run:
                self._queue.put(settled or FileOutcome(shown_uri(file.uri), "indexed", reason="Would be read."))
            else:
                wanted.append(file.uri)
        return tuple(wanted)

    async def slot(self) -> None:
        """Wait until the engine has taken enough files for one more to be spooled. Raises when the job has ended."""
        while True:
            self.touched = time.monotonic()
            self.refuse_if_closed()
            try:
                await asyncio.wait_for(self._slots.acquire(), 0.5)
                return
            except TimeoutError:
                continue

    def free_slot(self) -> None:
        """Give back a slot whose upload failed."""
        self._slots.release()

    def add(self, file: SourceFile) -> None:
        """Queue a spooled file for the engine. One that comes too late is removed from the spool."""
        try:
            self.refuse_if_closed()
        except UsageError:
            Path(file.path).unlink(missing_ok=True)
            raise
        spooled = _Spooled(file, Path(file.path))
        with self._lock:
            for name in _names(spooled):
                self._spooled[name] = spooled
        self._queue.put(spooled)
        self.touched = time.monotonic()

    def close(self) -> None:
        """No more files will come. Idempotent."""
        if not self.closed:
            self.closed = True
            self._queue.put(None)
        self.touched = time.monotonic()

    def cancel(self) -> None:
        """Ask the engine to stop, and stop feeding it. Idempotent."""
        self.cancelled.set()
        self.close()

    async def lines(self, heartbeat: float) -> AsyncIterator[bytes]:
        """NDJSON from the first line on, live, until the summary or the error that ends the job."""
        sent, shown, changed = 0, None, asyncio.Event()
        with self._lock:
            self._waiting.add(changed)
        try:
            while True:
                changed.clear()
                with self._lock:
                    fresh, finished, progress = self._lines[sent:], self.finished, self._progress
                sent += len(fresh)
                if self.ticket is not None and not self.ticket.called:
                    progress = self._waiting_line(self.ticket.ahead)
                if progress is not None and progress != shown and not finished:
                    shown = progress
                    fresh.append(progress)
                if fresh:
                    yield b"".join(fresh)
                if finished:
                    return
                self.touched = time.monotonic()
                try:
                    await asyncio.wait_for(changed.wait(), heartbeat)
                except TimeoutError:
                    yield HEARTBEAT
        finally:
            with self._lock:
                self._waiting.discard(changed)

    def _waiting_line(self, ahead: int) -> bytes:
        """What a job says whose turn has not come."""
        seconds = float(int(time.monotonic() - self.opened))
        return dump_ingest_line(IngestProgress(0, None, 0, 0, seconds, stage=f"waiting, {ahead} before you"))

    def refuse_if_closed(self) -> None:
        """Raise what ended the job early, or `UsageError` once it takes no more files."""
        if self.failure is not None:
            raise self.failure
        if self.closed or self.finished:
            raise UsageError("this ingest job takes no more files", hint="Open a new job.")

    # -------------------------------------------------------------------------------- in the job's thread

    def run(self) -> None:
        """Ingest what arrives until the job is closed; always ends with one last line, the summary or the error."""
        end: IngestSummary | StrongroomError
        try:
            end = self._engine.ingest_files(self._feed(), self.request, on_event=self._on_event, cancel=self.cancelled)
            if self.cancelled.is_set():
                raise CancelledError("the ingest was cancelled", hint="Files that were done stay; run it again.")
        except StrongroomError as exc:
            end = exc
            if not isinstance(exc, CancelledError):
                self.failure = exc
        except Exception as exc:  # noqa: BLE001 - the outermost edge of the job's thread
            log_defect(f"ingest job {self.id}", exc)
            end = UnexpectedError()
        finally:
            self.closed = True
            shutil.rmtree(self.folder, ignore_errors=True)
        self._append(dump_ingest_line(end), last=True)

    def _feed(self) -> Iterator[SourceFile | FileOutcome]:
        while not self.cancelled.is_set():
            item = self._queue.get()
            if isinstance(item, _Spooled):
                self.soon(self._slots.release)
                yield item.file
            elif item is not None:
                yield item
            elif self.cancelled.is_set():
                # A walk that was broken off must not pass for a whole one: what was not offered would look vanished.
                raise CancelledError("the ingest was cancelled", hint="Files that were done stay; run it again.")
            else:
                return

    def _on_event(self, event: IngestEvent) -> None:
        if isinstance(event, IngestProgress):
            with self._lock:
                self._progress = dump_ingest_line(event)
            self._notify()
            return
        with self._lock:
            spooled = self._spooled.get(event.path)
            for name in _names(spooled) if spooled is not None else ():
                self._spooled.pop(name, None)
        if spooled is not None:
            spooled.path.unlink(missing_ok=True)
            event = replace(event, path=shown_uri(spooled.file.uri))  # the client knows nothing of our spool
        self._metrics.files.labels(event.outcome).inc()
        self._append(dump_ingest_line(event))

    def _append(self, line: bytes, *, last: bool = False) -> None:
        with self._lock:
            self._lines.append(line)
            self.finished = self.finished or last
        self._notify()

    def _notify(self) -> None:
        with self._lock:
            waiting = list(self._waiting)
        for changed in waiting:
            self.soon(changed.set)

    def soon(self, function: Callable[..., None], *args: object) -> None:
        """Call on the event loop, from any thread; nothing where the loop has closed."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *args)


def _names(spooled: _Spooled) -> tuple[str, str, str]:
    return spooled.file.path, spooled.file.uri, shown_uri(spooled.file.uri)


class JobBoard:
    """The open jobs of one server. Ended jobs stay readable for a while, then are forgotten."""

    def __init__(self, settings: ServerSettings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._jobs: dict[str, IngestJob] = {}
        self._line = Line(settings.ingest_threads, longest_each=settings.jobs_waiting)
        self._reaper: asyncio.Task[None] | None = None
        shutil.rmtree(settings.spool_dir, ignore_errors=True)  # what a killed server left behind

    def open(self, request: IngestOptions, *, user: str, engine: Engine) -> IngestJob:
        """Start a job in a thread of its own as soon as its turn comes; until then it takes files and says its place.

        Raises `TooManyRequestsError` when too many of this person's wait.
        """
        self._line.refuse_when_long(user)
        job = IngestJob(request, user=user, engine=engine, settings=self._settings, metrics=self._metrics)
        job.folder.mkdir(parents=True, mode=0o700)
        self._settings.spool_dir.chmod(0o700)
        self._jobs[job.id] = job
        self._metrics.jobs.inc()
        origin = contextvars.copy_context()  # the request that began the job is named in what it puts on record
        job.ticket = self._line.enter(user)
        thread = threading.Thread(target=origin.run, args=(self._run, job), name=f"ingest-{job.id}", daemon=True)
        job.ticket.when_called(thread.start)
        if self._reaper is None:
            self._reaper = asyncio.get_running_loop().create_task(self._reap())
        return job

    def get(self, job_id: str, user: str) -> IngestJob:
        """A user's own job. Raises `NotFoundError` for unknown ones and for other people's alike."""
        job = self._jobs.get(job_id)
        if job is None or job.user != user:
            raise NotFoundError("no such ingest job", hint="Jobs are forgotten some minutes after they end.")
        return job

    def close(self) -> None:
        """Cancel every open job."""
        if self._reaper is not None:
            self._reaper.cancel()
        for job in self._jobs.values():
            job.cancel()

    def _run(self, job: IngestJob) -> None:
        try:
            job.run()
        finally:
            self._metrics.jobs.dec()
            if job.ticket is not None:
                job.soon(self._line.leave, job.ticket)

    async def _reap(self) -> None:
        while True:
            await asyncio.sleep(min(30.0, self._settings.job_idle))
            for job in list(self._jobs.values()):
                idle = time.monotonic() - job.touched
                if idle > self._settings.job_idle and not job.finished and not job.closed:
                    log.warning("ingest job %s cancelled: its client has been silent for %.0f s", job.id, idle)
                    job.cancel()
                elif job.finished and idle > self._settings.job_idle:
                    del self._jobs[job.id]
