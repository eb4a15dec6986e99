"""Send files to a server's ingest job: hash, offer, upload what is wanted a few at a time, follow the events.

The caller's thread reads the events and calls `on_event`; one thread walks and offers, a small pool sends. One file
that cannot be read or sent is that file's outcome, never the end of the run.
"""

from __future__ import annotations

import errno
import hashlib
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from strongroom.errors import CancelledError, StrongroomError
from strongroom.types import FileOutcome, IngestOptions, IngestSummary, OnEvent, SourceFile
from strongroom.wire import (
    FileOffer,
    JobRef,
    OfferReply,
    OfferRequest,
    dumps,
    load_ingest_line,
    loads,
    shown_uri,
)

if TYPE_CHECKING:
    from strongroom.client.connection import Connection

_BATCH = 64
_IN_FLIGHT = 4
_PIECE = 1 << 18
_JOBS = "/api/ingest/jobs"


class Upload:
    """One run. `run` may be called once."""

    def __init__(
        self, http: Connection, options: IngestOptions, *, on_event: OnEvent, cancel: threading.Event | None
    ) -> None:
        self._http = http
        self._request = options
        self._on_event = on_event
        self._cancel = cancel or threading.Event()
        self._stop = threading.Event()  # the job has ended, one way or another: send nothing more
        self._lock = threading.Lock()
        self._passed_over: list[FileOutcome] = []  # decided on this side; the server counts and reports them
        self._failure: BaseException | None = None
        self._job = ""

    def run(self, files: Iterable[SourceFile | FileOutcome]) -> IngestSummary:
        """Send everything and return the totals of both sides. Raises `CancelledError` when asked to stop."""
        entries = iter(files)
        first = list(islice(entries, 1))  # a path that does not exist must fail before a job is opened
        opened = self._http.send("POST", _JOBS, content=dumps(self._request))
        self._job = loads(JobRef, opened.content).id
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
        if self._failure is not None:
            raise self._failure
        return summary

    # -------------------------------------------------------------------------------- the caller's thread

    def _follow(self) -> IngestSummary:
        with self._http.stream("GET", f"{_JOBS}/{self._job}/events", timeout=self._http.patient) as lines:
            for line in lines:
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
                self._offer([])  # what the last uploads left over
                self._http.send("POST", f"{_JOBS}/{self._job}/close")
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
        wanted = self._offer(offers)
        futures: list[Future[None]] = [pool.submit(self._send_file, by_uri[uri]) for uri in wanted if uri in by_uri]
        wait(futures)
        for future in futures:
            future.result()

    def _offer(self, files: list[FileOffer]) -> tuple[str, ...]:
        with self._lock:
            passed_over, self._passed_over = tuple(self._passed_over), []
        if not files and not passed_over:
            return ()
        body = dumps(OfferRequest(tuple(files), passed_over))
        reply = self._http.send("POST", f"{_JOBS}/{self._job}/offer", content=body, timeout=self._http.patient)
        return loads(OfferReply, reply.content).wanted

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
            self._passed_over.append(outcome)


def _failed(file: SourceFile, reason: str) -> FileOutcome:
    return FileOutcome(shown_uri(file.uri), "failed", reason=reason)


def _sha256(path: str) -> str:
    with Path(path).open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def _pieces(path: str, size: int) -> Iterator[bytes]:
    """The file's first `size` bytes: one that grows meanwhile must not overrun the announced length.

    Raises `OSError` for one that shrinks: that is this file's failure, not the connection's.
    """
    with Path(path).open("rb") as source:
        while size > 0 and (piece := source.read(min(_PIECE, size))):
            size -= len(piece)
            yield piece
    if size > 0:
        raise OSError(errno.EIO, "it became shorter while it was sent")
