"""Upload jobs: files arrive over HTTP, are spooled to disk, and feed one `Engine.ingest_files` run a job.

A job lives in two worlds. Routes run on the event loop and call `offer`, `slot`, `add`, `close`, `lines`; the engine
runs in a thread, pulls files from `_feed` and reports through `_on_event`. Everything shared is under one lock, and
the thread wakes readers through the loop. Spooled bytes are plain for as long as the engine needs them, in a folder
only this user can enter; they are removed at the file's outcome, at the job's end and at the server's start.
"""

from __future__ import annotations

import asyncio
import queue
import secrets
import shutil
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

from server.errors import UnexpectedError, log
from server.metrics import Metrics
from server.settings import ServerSettings
from strongroom.errors import CancelledError, NotFoundError, StrongroomError, UsageError
from strongroom.ports import Engine
from strongroom.types import FileOutcome, IngestEvent, IngestProgress, IngestSummary, SourceFile
from strongroom.wire import FileOffer, IngestJobRequest, dump_ingest_line, shown_uri

HEARTBEAT = b'{"heartbeat":true}\n'


@runtime_checkable
class KnowsContent(Protocol):
    """An engine that can tell unchanged files by their hash, so that clients need not send them again."""

    def unchanged(self, offers: Sequence[FileOffer], *, collection: str) -> dict[str, FileOutcome]:
        """Outcomes by URI of those offers whose current version has exactly this content."""
        ...


@dataclass(frozen=True, slots=True)
class _Spooled:
    file: SourceFile
    path: Path


class IngestJob:
    """One upload job. Created, fed and read on the event loop; `run` is the body of its thread."""

    def __init__(
        self, request: IngestJobRequest, *, user: str, engine: Engine, settings: ServerSettings, metrics: Metrics
    ) -> None:
        self.id = secrets.token_urlsafe(12)
        self.user = user
        self.request = request
        self.cancelled = threading.Event()
        self.finished = False
        self.closed = False
        self.touched = time.monotonic()
        self.folder = settings.spool_dir / self.id
        self._engine = engine
        self._settings = settings
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._slots = asyncio.Semaphore(settings.upload_slots)
        self._queue: queue.Queue[_Spooled | None] = queue.Queue()
        self._lock = threading.Lock()
        self._lines: list[bytes] = []
        self._progress: bytes | None = None
        self._waiting: set[asyncio.Event] = set()
        self._spooled: dict[str, _Spooled] = {}  # by each name under which the engine may report the file
        self._seen: set[str] = set()  # URIs the client has, sent or not
        self._passed_over: tuple[str, ...] = ()  # paths the client met and did not offer
        self._extra: Counter[str] = Counter()  # outcomes that the engine's own summary does not count

    # -------------------------------------------------------------------------------- on the event loop

    def offer(self, offers: Sequence[FileOffer]) -> tuple[str, ...]:
        """Note what the client has and report what is unchanged; returns the URIs to send. Blocks on the engine."""
        self.touched = time.monotonic()
        self._refuse_if_closed()
        known: dict[str, FileOutcome] = {}
        if isinstance(self._engine, KnowsContent):
            known = self._engine.unchanged(offers, collection=self.request.collection)
        with self._lock:
            self._seen.update(o.uri for o in offers)
        wanted = []
        for offer in offers:
            if offer.uri in known:
                self._report(replace(known[offer.uri], path=shown_uri(offer.uri)))
            elif self.request.dry_run:
                self._report(FileOutcome(shown_uri(offer.uri), "skipped", reason="dry run: would be ingested"))
            else:
                wanted.append(offer.uri)
        return tuple(wanted)

    async def slot(self) -> None:
        """Wait until the engine has taken enough files for one more to be spooled. Raises when the job has ended."""
        while True:
            self.touched = time.monotonic()
            self._refuse_if_closed()
            try:
                await asyncio.wait_for(self._slots.acquire(), 0.5)
                return
            except TimeoutError:
                continue

    def free_slot(self) -> None:
        """Give back a slot whose upload failed."""
        self._slots.release()

    def add(self, file: SourceFile) -> None:
        """Queue a spooled file for the engine."""
        self._refuse_if_closed()
        spooled = _Spooled(file, Path(file.path))
        with self._lock:
            self._seen.add(file.uri)
            for name in _names(spooled):
                self._spooled[name] = spooled
        self._queue.put(spooled)
        self.touched = time.monotonic()

    def close(self, passed_over: Sequence[str] = ()) -> None:
        """No more files will come. `passed_over` are paths that the client met but did not offer: they did not vanish.

        Idempotent.
        """
        if not self.closed:
            self._passed_over = tuple(passed_over)
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
                if progress is not None and progress is not shown and not finished:
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

    def _refuse_if_closed(self) -> None:
        if self.closed or self.finished:
            raise UsageError("this ingest job takes no more files", hint="Open a new job.")

    # -------------------------------------------------------------------------------- in the job's thread

    def run(self) -> None:
        """Ingest what arrives until the job is closed, then report what vanished; always ends with one last line."""
        end: IngestSummary | StrongroomError
        try:
            started = time.monotonic()
            if self.request.dry_run:
                for _ in self._feed():  # nothing is ever queued: waits for `close`
                    pass
                summary = IngestSummary({}, 0, 0, 0, 0.0, dry_run=True)
            else:
                summary = self._engine.ingest_files(
                    self._feed(), collection=self.request.collection, on_event=self._on_event, cancel=self.cancelled
                )
            if self.cancelled.is_set():
                raise CancelledError("the ingest was cancelled", hint="Files that were done stay; run it again.")
            self._report_vanished()
            end = self._total(summary, time.monotonic() - started)
        except StrongroomError as exc:
            end = exc
        except Exception:  # noqa: BLE001 - the outermost edge of the job's thread
            log.exception("ingest job %s failed", self.id)
            end = UnexpectedError()
        finally:
            self.closed = True
            shutil.rmtree(self.folder, ignore_errors=True)
        self._append(dump_ingest_line(end), last=True)

    def _feed(self) -> Iterator[SourceFile]:
        while not self.cancelled.is_set():
            spooled = self._queue.get()
            if spooled is None:
                return
            self._wake(self._slots.release)
            yield spooled.file

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

    def _report(self, outcome: FileOutcome) -> None:
        with self._lock:
            self._extra[outcome.outcome] += 1
        self._metrics.files.labels(outcome.outcome).inc()
        self._append(dump_ingest_line(outcome))

    def _report_vanished(self) -> None:
        roots = tuple(shown_uri(root) for root in self.request.roots)
        if not roots:
            return
        for document in self._engine.documents(self.request.collection):
            path = shown_uri(document.path)
            if document.path in self._seen or _below(path, self._passed_over) or not _below(path, roots):
                continue
            remove = self.request.prune and not self.request.dry_run
            if remove:
                self._engine.delete(document.id)
            self._report(FileOutcome(path, "removed" if remove else "vanished", document_id=document.id))

    def _total(self, summary: IngestSummary, seconds: float) -> IngestSummary:
        outcomes = Counter(summary.outcomes) + self._extra
        files = summary.files + sum(n for o, n in self._extra.items() if o not in ("removed", "vanished"))
        return replace(summary, outcomes=dict(outcomes), files=files, seconds=seconds)

    def _append(self, line: bytes, *, last: bool = False) -> None:
        with self._lock:
            self._lines.append(line)
            self.finished = self.finished or last
        self._notify()

    def _notify(self) -> None:
        with self._lock:
            waiting = list(self._waiting)
        for changed in waiting:
            self._wake(changed.set)

    def _wake(self, callback: Callable[[], None]) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(callback)


def _names(spooled: _Spooled) -> tuple[str, str, str]:
    return spooled.file.path, spooled.file.uri, shown_uri(spooled.file.uri)


def _below(path: str, roots: Sequence[str]) -> bool:
    return any(path == root or path.startswith(root.rstrip("/") + "/") for root in roots)


class JobBoard:
    """The open jobs of one server. Ended jobs stay readable for a while, then are forgotten."""

    def __init__(self, settings: ServerSettings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._jobs: dict[str, IngestJob] = {}
        self._reaper: asyncio.Task[None] | None = None
        shutil.rmtree(settings.spool_dir, ignore_errors=True)  # what a killed server left behind

    def open(self, request: IngestJobRequest, *, user: str, engine: Engine) -> IngestJob:
        """Start a job in a thread of its own. Raises `UsageError` when too many are open."""
        active = [job for job in self._jobs.values() if not job.finished]
        if len(active) >= self._settings.ingest_threads:
            raise UsageError(f"{len(active)} ingest jobs are open already", hint="Wait for one to end, or cancel it.")
        job = IngestJob(request, user=user, engine=engine, settings=self._settings, metrics=self._metrics)
        job.folder.mkdir(parents=True, mode=0o700)
        self._settings.spool_dir.chmod(0o700)
        self._jobs[job.id] = job
        self._metrics.jobs.inc()
        threading.Thread(target=self._run, args=(job,), name=f"ingest-{job.id}", daemon=True).start()
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
