"""Send files to a server's ingest job: hash, offer, upload what is wanted a few at a time, follow the events.

The caller's thread reads the events and calls `on_event`; one thread walks and offers, a small pool sends. One file
that cannot be read or sent is that file's outcome, never the end of the run.
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from strongroom.errors import CancelledError, StrongroomError
from strongroom.types import FileOutcome, IngestRequest, IngestSummary, SourceFile
from strongroom.wire import (
    CloseRequest,
    FileOffer,
    IngestJobRequest,
    JobRef,
    OfferReply,
    dumps,
    load_ingest_line,
    loads,
    shown_uri,
)

if TYPE_CHECKING:
    from strongroom.client import Connection, OnEvent

_BATCH = 64
_IN_FLIGHT = 4
_PIECE = 1 << 18
_JOBS = "/api/ingest/jobs"


class Upload:
    """One run. `run` may be called once."""

    def __init__(
        self, http: Connection, request: IngestRequest, *, on_event: OnEvent, cancel: threading.Event | None
    ) -> None:
        self._http = http
        self._request = request
        self._on_event = on_event
        self._cancel = cancel or threading.Event()
        self._stop = threading.Event()  # the job has ended, one way or another: send nothing more
        self._lock = threading.Lock()
        self._local: list[FileOutcome] = []  # outcomes of this side, waiting to be reported by the caller's thread
        self._passed_over: list[str] = []
        self._counts: Counter[str] = Counter()
        self._failure: BaseException | None = None
        self._job = ""

    def run(self, files: Iterable[SourceFile | FileOutcome]) -> IngestSummary:
        """Send everything and return the totals of both sides. Raises `CancelledError` when asked to stop."""
        entries = iter(files)
        first = list(islice(entries, 1))  # a path that does not exist must fail before a job is opened
        job = IngestJobRequest(
            collection=self._request.collection,
            groups=self._request.groups,
            workers=self._request.workers,
            roots=tuple(str(Path(path).absolute()) for path in self._request.paths),
            prune=self._request.prune,
            dry_run=self._request.dry_run,
        )
        self._job = loads(JobRef, self._http.send("POST", _JOBS, content=dumps(job)).content).id
        sender = threading.Thread(target=self._send_all, args=(first, entries), name="upload", daemon=True)
        sender.start()
        try:
            summary = self._follow()
        except BaseException:
            self._abandon()
            raise
        finally:
            self._stop.set()
            sender.join()
        self._report_local()
        if self._failure is not None:
            raise self._failure
        return _merged(summary, self._counts)

    # -------------------------------------------------------------------------------- the caller's thread

    def _follow(self) -> IngestSummary:
        with self._http.stream("GET", f"{_JOBS}/{self._job}/events", timeout=self._http.patient) as lines:
            for line in lines:
                self._report_local()
                if self._cancel.is_set():
                    raise CancelledError("the ingest was cancelled", hint="Files that were done stay; run it again.")
                if self._failure is not None:
                    raise self._failure
                value = load_ingest_line(line)
                if isinstance(value, StrongroomError):
                    raise value
                if isinstance(value, IngestSummary):
                    return value
                if value is not None:
                    self._on_event(value)
        raise StrongroomError("the server ended the ingest without a summary", hint="See the server's log.")

    def _report_local(self) -> None:
        with self._lock:
            outcomes, self._local = self._local, []
        for outcome in outcomes:
            self._counts[outcome.outcome] += 1
            self._on_event(outcome)

    def _abandon(self) -> None:
        try:
            self._http.send("DELETE", f"{_JOBS}/{self._job}")
        except StrongroomError:
            return  # the server cancels silent jobs by itself

    # -------------------------------------------------------------------------------- the sending threads

    def _send_all(self, first: list[SourceFile | FileOutcome], entries: Iterator[SourceFile | FileOutcome]) -> None:
        try:
            with ThreadPoolExecutor(_IN_FLIGHT, thread_name_prefix="upload") as pool:
                batch: list[SourceFile] = []
                for entry in chain(first, entries):
                    if self._stop.is_set():
                        return
                    if isinstance(entry, FileOutcome):
                        self._note(entry)
                        continue
                    batch.append(entry)
                    if len(batch) == _BATCH:
                        self._send_batch(pool, batch)
                        batch = []
                self._send_batch(pool, batch)
            if not self._stop.is_set():
                body = dumps(CloseRequest(tuple(self._passed_over)))
                self._http.send("POST", f"{_JOBS}/{self._job}/close", content=body)
        except Exception as exc:  # noqa: BLE001 - carried to the caller's thread, which raises it
            self._failure = exc

    def _send_batch(self, pool: ThreadPoolExecutor, files: list[SourceFile]) -> None:
        offers, by_uri = [], {}
        for file in files:
            try:
                digest = _sha256(file.path)
            except OSError as exc:
                self._note(_failed(file, f"cannot be read: {exc.strerror}"))
                continue
            offers.append(FileOffer(file.uri, file.name, file.size, digest))
            by_uri[file.uri] = file
        if not offers:
            return
        body = dumps(offers, kind=list[FileOffer])
        reply = self._http.send("POST", f"{_JOBS}/{self._job}/offer", content=body, timeout=self._http.patient)
        wanted = loads(OfferReply, reply.content).wanted
        futures: list[Future[None]] = [pool.submit(self._send_file, by_uri[uri]) for uri in wanted if uri in by_uri]
        wait(futures)
        for future in futures:
            future.result()

    def _send_file(self, file: SourceFile) -> None:
        if self._stop.is_set():
            return
        headers = {
            "X-Strongroom-Uri": quote(file.uri, safe=""),
            "X-Strongroom-Name": quote(file.name, safe=""),
            "Content-Type": "application/octet-stream",
        }
        try:
            size = Path(file.path).stat().st_size
            headers["Content-Length"] = str(size)
            options = {"content": _pieces(file.path, size), "headers": headers, "timeout": self._http.patient}
            self._http.send("PUT", f"{_JOBS}/{self._job}/files", **options)
        except OSError as exc:
            self._note(_failed(file, f"cannot be read: {exc.strerror}"))
        except StrongroomError as exc:
            if self._stop.is_set():
                return
            if exc.http_status >= 500:
                raise
            self._note(_failed(file, f"{exc}. {exc.hint}".strip()))

    def _note(self, outcome: FileOutcome) -> None:
        with self._lock:
            self._local.append(outcome)
            self._passed_over.append(outcome.path)


def _failed(file: SourceFile, reason: str) -> FileOutcome:
    return FileOutcome(shown_uri(file.uri), "failed", reason=reason)


def _sha256(path: str) -> str:
    with Path(path).open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def _pieces(path: str, size: int) -> Iterator[bytes]:
    """The file's first `size` bytes: one that grows meanwhile must not overrun the announced length."""
    with Path(path).open("rb") as source:
        while size > 0 and (piece := source.read(min(_PIECE, size))):
            size -= len(piece)
            yield piece


def _merged(summary: IngestSummary, local: Counter[str]) -> IngestSummary:
    outcomes = Counter(summary.outcomes) + local
    return replace(summary, outcomes=dict(outcomes), files=summary.files + local.total())
