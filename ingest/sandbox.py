"""A pool of parser children: each file is parsed and chunked in a process that cannot hurt anything but itself.

A crash, a hang, a memory bomb or an endless result costs that file alone: the child is replaced and the file is
quarantined with the reason. Children are fresh interpreters (never forks of this threaded process), reused across
files, and die with this process even when it is killed.
"""

from __future__ import annotations

import json
import os
import pickle
import queue
import shutil
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from ingest import wire
from ingest.chunk import MAX_TOKENS, OVERLAP_TOKENS, Chunker
from ingest.limits import Limits
from ingest.sandbox_members import ReceivedMembers
from ingest.sandbox_process import ParserProcess
from strongroom.errors import CancelledError, ModelError, ParseError, QuarantineError, StrongroomError, UsageError
from strongroom.ports import SpeechModel, Tokenizer
from strongroom.types import Chunk, OcrMode, ParsedDocument

Parsed = tuple[ParsedDocument, list[Chunk]]

_RECYCLE_FILES = 500


class ParserPool:
    """Parser processes. `submit` may be called from any thread.

    `tokenizer` and `speech` must be picklable; each child gets its own. Children start when files arrive.
    `egress_log` is where a child's socket guard notes refused attempts. Children keep their temporary folders in
    `spool`, and what lies inside a file waits there too: `ParsedDocument.members` name it, the caller removes it.
    With `personal` children look for personal data too. A child reads the installation, the copy of the one file that
    it is given, and `readable` (models); nothing else.
    """

    def __init__(
        self,
        workers: int | None = None,
        *,
        tokenizer: Tokenizer,
        speech: SpeechModel | None = None,
        limits: Limits | None = None,
        chunk_tokens: int = MAX_TOKENS,
        overlap_tokens: int = OVERLAP_TOKENS,
        ocr: OcrMode = "auto",
        personal: bool = False,
        egress_log: Path | None = None,
        spool: Path | None = None,
        readable: Sequence[Path] = (),
    ) -> None:
        self.workers = workers if workers is not None else len(os.sched_getaffinity(0))
        if self.workers < 1:
            raise UsageError("at least one parser process is needed", hint="set workers to 1 or more")
        self.limits = limits or Limits()
        try:
            chunker = pickle.dumps(Chunker(tokenizer, max_tokens=chunk_tokens, overlap_tokens=overlap_tokens))
        except (pickle.PicklingError, TypeError, AttributeError) as exc:
            raise UsageError("the tokenizer cannot be sent to a parser process", hint="make it picklable") from exc
        except ValueError as exc:
            raise UsageError(str(exc), hint="check chunk_tokens and chunk_overlap_tokens") from exc
        self._setup: dict[str, object] = {
            "chunker": chunker,
            "ocr": ocr,
            "personal": personal,
            "speech": speech,
            "memory_bytes": self.limits.memory_bytes,
            "cpu_seconds": self.limits.total_seconds,
            "egress_log": egress_log,
            "passwords": (),
            "readable": [str(path) for path in (*readable, *_own_file(tokenizer), *_own_file(speech))],
        }
        self._jobs: queue.Queue[tuple[Path, str, Future[Parsed]] | None] = queue.Queue()
        if egress_log is not None:  # a child may write to it, and to no other file that is there
            egress_log.touch(mode=0o600)
        if spool is not None:
            spool.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._spool = Path(tempfile.mkdtemp(prefix="strongroom-parse-", dir=spool))
        self._members = spool or self._spool  # members may have to wait longer than the pool lives
        self._lock = threading.Lock()
        self._closed = False
        self._managers: list[_Manager] = []

    def submit(self, path: Path, mime: str) -> Future[Parsed]:
        """Parse and chunk a file. The future raises `ParseError`, `QuarantineError`, or `ModelError` (no tokenizer)."""
        future: Future[Parsed] = Future()
        with self._lock:
            if self._closed:
                raise UsageError("the parser pool is closed", hint="open a new one")
            self._jobs.put((Path(path).absolute(), mime, future))
            idle = sum(1 for manager in self._managers if manager.idle)
            if len(self._managers) < self.workers and idle < self._jobs.qsize():
                # The thread that starts a child must outlive it: the kernel ties the child to that thread.
                manager = _Manager(
                    self._jobs, self._setup, self.limits, self._spool, self._members, number=len(self._managers)
                )
                self._managers.append(manager)
                manager.start()
        return future

    def unlock_with(self, passwords: Sequence[str]) -> None:
        """Try these on what is locked, in order. Before the first file; they go to the children over their pipes."""
        self._setup["passwords"] = tuple(passwords)

    def close(self) -> None:
        """End the children and cancel what is waiting. Safe to call twice."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        while True:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
            if job is not None and not job[2].cancel():
                job[2].set_exception(CancelledError("the ingest was stopped"))
        for manager in self._managers:
            manager.stop()
            self._jobs.put(None)
        for manager in self._managers:
            manager.join(timeout=10)
        shutil.rmtree(self._spool, ignore_errors=True)

    def children(self) -> list[int]:
        """Process ids of the children that are alive."""
        return [pid for manager in self._managers if (pid := manager.pid) is not None]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Manager(threading.Thread):
    """Owns one child at a time and feeds it; replaces it when it fails or has served long enough."""

    def __init__(
        self,
        jobs: queue.Queue[tuple[Path, str, Future[Parsed]] | None],
        setup: dict[str, object],
        limits: Limits,
        spool: Path,
        members: Path,
        *,
        number: int,
    ) -> None:
        super().__init__(name=f"parser-{number}", daemon=True)
        self._jobs = jobs
        self._setup = setup
        self._limits = limits
        self._spool = spool
        self._members = members
        self._child: ParserProcess | None = None
        self._stopping = threading.Event()
        self.idle = False

    @property
    def pid(self) -> int | None:
        child = self._child
        return child.process.pid if child is not None and child.process.poll() is None else None

    def stop(self) -> None:
        """End the child now; the file it works on is cancelled."""
        self._stopping.set()
        child = self._child
        if child is not None:
            child.process.kill()

    def run(self) -> None:
        try:
            while not self._stopping.is_set():
                self.idle = True
                job = self._jobs.get()
                self.idle = False
                if job is None:
                    return
                path, mime, future = job
                if not future.set_running_or_notify_cancel():
                    continue
                outcome: Parsed | Exception
                try:
                    outcome = self._parse(path, mime)
                except Exception as exc:  # noqa: BLE001 - every outcome of a file goes to whoever waits for it
                    self._drop()  # what raises here came from a child that can no longer be trusted
                    outcome = exc
                if self._stopping.is_set():
                    future.set_exception(CancelledError("the ingest was stopped"))
                elif isinstance(outcome, Exception):
                    future.set_exception(outcome)
                else:
                    future.set_result(outcome)
        finally:
            self._drop()

    def _parse(self, path: Path, mime: str) -> Parsed | StrongroomError:
        """The result, or the reason a sound child gave. Raises when the child itself failed."""
        taken = ReceivedMembers(self._members, self._limits)
        try:
            try:
                kind, payload = self._ready().ask(path, mime, taken)
            except BrokenPipeError:  # it died while it was idle: not this file's doing
                self._drop()
                kind, payload = self._ready().ask(path, mime, taken)
            outcome: Parsed | StrongroomError
            if kind == wire.RESULT:
                document, chunks = _decode(payload)
                outcome = replace(document, members=tuple(taken.done)), chunks
            else:
                outcome = _refusal(payload, self._limits)
                taken.discard()
        except BaseException:
            taken.discard()
            raise
        child = self._ready()
        child.served += 1
        worn = child.served >= _RECYCLE_FILES or child.resident() > self._limits.memory_bytes // 2
        if worn or child.has_company() or isinstance(outcome, _OutOfMemoryError):
            self._drop()
        return outcome

    def _ready(self) -> ParserProcess:
        if self._child is None:
            child = ParserProcess(self._setup, self._limits, self._spool)
            self._child = child
            if self._stopping.is_set():  # `stop` came while it was being started and found nobody to end
                child.process.kill()
            child.greet()
        return self._child

    def _drop(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.end()


def _own_file(model: Tokenizer | SpeechModel | None) -> list[Path]:
    """The file or folder that a model is read from, when it is."""
    path = getattr(model, "path", None)
    return [path] if isinstance(path, Path) else []


class _OutOfMemoryError(QuarantineError):
    """The file needed more memory than a child may have; that child's heap is not worth keeping."""


def _decode(payload: bytes) -> Parsed:
    try:
        return wire.decode_result(payload)
    except wire.WireError as exc:
        raise QuarantineError(f"the parser returned nonsense: {exc}", hint="check where the file comes from") from exc


def _refusal(payload: bytes, limits: Limits) -> StrongroomError:
    """The reason a child gave, as the error it stands for."""
    try:
        reason = json.loads(payload)
        kind, message, hint = str(reason["kind"]), str(reason["message"])[:1000], str(reason["hint"])[:1000]
    except (ValueError, KeyError, TypeError) as exc:
        raise QuarantineError("the parser returned nonsense", hint="check where the file comes from") from exc
    if kind == "memory":
        size = limits.memory_bytes >> 20
        return _OutOfMemoryError(
            f"parsing needs more than {size} MiB of memory", hint="raise parse_memory_mb or split it"
        )
    if kind == "model":
        return ModelError(message, hint=hint)
    return (QuarantineError if kind == "quarantine" else ParseError)(message, hint=hint)
