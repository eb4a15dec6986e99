"""A pool of parser children: each file is parsed and chunked in a process that cannot hurt anything but itself.

A crash, a hang, a memory bomb or an endless result costs that file alone: the child is replaced and the file is
quarantined with the reason. Children are fresh interpreters (never forks of this threaded process), reused across
files, and die with this process even when it is killed. Nothing a child sends is unpickled; see `ingest.wire`.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pickle
import queue
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self, cast

from ingest import wire
from ingest.chunk import MAX_TOKENS, OVERLAP_TOKENS, Chunker
from strongroom.errors import CancelledError, ModelError, ParseError, QuarantineError, StrongroomError, UsageError
from strongroom.ports import SpeechModel, Tokenizer
from strongroom.types import Chunk, Member, OcrMode, ParsedDocument

log = logging.getLogger(__name__)

Parsed = tuple[ParsedDocument, list[Chunk]]

_BOOT = "import sys, json; sys.path[:] = json.loads(sys.argv[1]); from ingest.sandbox_child import main; main()"
_START_SECONDS = 60.0
_RECYCLE_FILES = 500
_WATCH_SECONDS = 0.5
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "TZ", "PYTHONHASHSEED", "COVERAGE_PROCESS_START")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one file may cost. `seconds` is the longest silence: a child that reads a scan page by page reports each
    page and gets as long again, up to `total_seconds` in all."""

    memory_bytes: int = 2 << 30
    seconds: float = 300.0
    output_bytes: int = 512 << 20
    total_seconds: float = 4 * 3600.0
    processes: int = 160  # of one child, its helpers and their threads' processes included
    members: int = 50_000
    member_bytes: int = 4 << 30  # all members of one file together


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
        self._child: _Child | None = None
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
        taken = _Members(self._members, self._limits)
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

    def _ready(self) -> _Child:
        if self._child is None:
            child = _Child(self._setup, self._limits, self._spool)
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


def _ending(name: str) -> str:
    """The endings of a file's name (`.csv.gz`) where they are ordinary ones, else nothing."""
    found = re.search(r"(\.[A-Za-z0-9]{1,10}){1,2}$", name, re.ASCII)
    return found.group() if found else ""


def _tree(pid: int) -> list[int]:
    """A process and all below it."""
    found, left = [], [pid]
    while left:
        found.append(left.pop())
        for children in Path(f"/proc/{found[-1]}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                left += map(int, children.read_text(encoding="ascii").split())
    return found


def _own_memory(pid: int) -> int:
    """Resident bytes of a process that it shares with no file or other process; 0 when it has ended."""
    try:
        _, resident, shared = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[:3]
    except (OSError, ValueError):
        return 0
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")


class _Members:
    """What a child hands over from inside a container: bytes go to files in the spool, within the limits."""

    def __init__(self, spool: Path, limits: Limits) -> None:
        self._spool = spool
        self._limits = limits
        self._part: tuple[int, str] | None = None  # the member whose bytes are coming in
        self._size = 0
        self._left = limits.member_bytes
        self._paths: set[str] = set()
        self.done: list[Member] = []

    def write(self, data: bytes) -> None:
        """More bytes of the member that is coming in."""
        self._left -= len(data)
        if self._left < 0:
            raise wire.WireError(f"it unpacks to more than {self._limits.member_bytes >> 20} MiB")
        if self._part is None:
            self._part = tempfile.mkstemp(prefix="member-", dir=self._spool)
        with open(self._part[0], "wb", closefd=False) as out:
            out.write(data)
        self._size += len(data)

    def end(self, payload: bytes) -> None:
        """The bytes so far were a whole member, or one that is not to be used."""
        path, refused = wire.decode_member(payload)
        if path in self._paths:
            raise wire.WireError("two members of one path")
        if len(self.done) >= self._limits.members:
            raise wire.WireError(f"it holds more than {self._limits.members} documents")
        self._paths.add(path)
        if refused is None and self._part is None:
            self.write(b"")
        size, file = self._size, self._close()
        if file is not None and refused is not None:
            Path(file).unlink()
            file = None
        elif file is not None:  # types of text are told apart by the ending of the name
            file = str(Path(file).rename(file + _ending(path)))
        self.done.append(Member(path, file, size, refused))

    def discard(self) -> None:
        """Remove everything: the container is not used."""
        if (file := self._close()) is not None:
            Path(file).unlink(missing_ok=True)
        for member in self.done:
            if member.file is not None:
                Path(member.file).unlink(missing_ok=True)
        self.done.clear()

    def _close(self) -> str | None:
        part, self._part, self._size = self._part, None, 0
        if part is None:
            return None
        os.close(part[0])
        return part[1]


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


class _Child:
    """One parser process and its two pipes. Used by the one thread that started it."""

    def __init__(self, setup: dict[str, object], limits: Limits, spool: Path) -> None:
        self._limits = limits
        self.served = 0
        self.folder = Path(tempfile.mkdtemp(prefix="child-", dir=spool))
        work, self._inbox = self.folder / "work", self.folder / "in"
        work.mkdir()
        self._inbox.mkdir()
        readable = [*cast("list[str]", setup["readable"]), str(self._inbox)]
        self._setup = {**setup, "parent": os.getpid(), "folder": str(work), "readable": readable}
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        # One thread a child: the pool is the parallelism, and each thread's arena would count against the limit.
        environment |= {
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "MALLOC_ARENA_MAX": "2",
            "HOME": str(work),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-c", _BOOT, json.dumps([str(Path(entry).absolute()) for entry in sys.path])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=work,
            env=environment,
            start_new_session=True,  # Ctrl-C in the terminal is the parent's to handle
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._in = self.process.stdin
        self._out = self.process.stdout.fileno()

    def greet(self) -> None:
        """Send the set-up and wait until the child is confined. Raises `StrongroomError` when it cannot start."""
        try:
            self._send(pickle.dumps(self._setup))
            kind, payload = self._frame(time.monotonic() + _START_SECONDS, limit=1 << 20)
        except (EOFError, TimeoutError, BrokenPipeError) as exc:
            raise StrongroomError("a parser process could not start", hint="run: strongroom check") from exc
        if kind != wire.HELLO:
            text = payload.decode("utf-8", "replace")[:500]
            raise StrongroomError(f"a parser process could not start: {text}", hint="run: strongroom check")
        self._alone = len(_tree(self.process.pid))
        log.debug("parser process %d ready: %s", self.process.pid, payload.decode("utf-8", "replace"))

    def ask(self, path: Path, mime: str, members: _Members) -> tuple[int, bytes]:
        """Have a file parsed: a RESULT or REFUSED frame; what lies inside it goes to `members`.

        Raises `QuarantineError` when the child hangs, dies or floods, `BrokenPipeError` when it was dead before.
        """
        # A copy, because the child can open nothing that lies elsewhere; its name keeps the ending, which tools go by.
        given = self._inbox / f"document{_ending(path.name)}"
        shutil.copyfile(path, given)
        begun = time.monotonic()
        try:
            self._send(json.dumps({"path": str(given), "mime": mime}).encode())
            while True:
                deadline = min(time.monotonic() + self._limits.seconds, begun + self._limits.total_seconds)
                kind, payload = self._frame(deadline, limit=self._limits.output_bytes)
                if kind in (wire.RESULT, wire.REFUSED):
                    return kind, payload
                if kind == wire.BYTES:
                    members.write(payload)
                elif kind == wire.MEMBER:
                    members.end(payload)
        except TimeoutError as exc:
            seconds = round(time.monotonic() - begun)
            raise QuarantineError(
                f"parsing took longer than {seconds} s and was stopped", hint="raise parse_seconds or split the file"
            ) from exc
        except EOFError as exc:
            raise QuarantineError(
                self._cause_of_death(), hint="check where the file comes from, or convert it"
            ) from exc
        except wire.WireError as exc:
            raise QuarantineError(f"stopped: {exc}", hint="check where the file comes from, or split it") from exc
        finally:
            given.unlink(missing_ok=True)

    def has_company(self) -> bool:
        """True when a document left a process behind, which could meddle with the next one."""
        return len(_tree(self.process.pid)) > self._alone

    def resident(self) -> int:
        """Memory of the child and its helpers in bytes, without what they share; 0 when it cannot be read."""
        return sum(map(_own_memory, _tree(self.process.pid)))

    def end(self) -> None:
        """Kill the process and all that it started, and remove its folder."""
        below = _tree(self.process.pid)
        self.process.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        self.process.wait()
        patience = time.monotonic() + 10
        while any(Path(f"/proc/{pid}").exists() for pid in below) and time.monotonic() < patience:
            time.sleep(0.005)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _watch(self) -> None:
        """End a child whose helpers multiply: each is within its limits, all of them together are not."""
        below = _tree(self.process.pid)
        if len(below) > self._limits.processes:
            raise QuarantineError(
                f"parsing started more than {self._limits.processes} processes", hint="check where the file comes from"
            )
        if sum(map(_own_memory, below)) > 2 * self._limits.memory_bytes:
            raise QuarantineError(
                "parsing needs more memory than its helpers may have", hint="raise parse_memory_mb or split it"
            )

    def _cause_of_death(self) -> str:
        try:
            code = self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return "the parser stopped answering"
        if code == -signal.SIGXCPU:
            return "parsing used too much processor time and was stopped"
        if code == -signal.SIGKILL:
            return "the parser was killed, most likely because memory ran out"
        if code == -signal.SIGABRT:  # how native libraries end when they get no memory
            return "the parser gave up on it (SIGABRT), most likely because memory ran out"
        name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return f"the parser crashed on it ({name})"

    def _send(self, data: bytes) -> None:
        self._in.write(struct.pack("<Q", len(data)) + data)
        self._in.flush()

    def _frame(self, deadline: float, *, limit: int) -> tuple[int, bytes]:
        return wire.read_frame(lambda size: self._read(size, deadline), limit=limit)

    def _read(self, size: int, deadline: float) -> bytes:
        """Exactly `size` bytes. Raises `TimeoutError` at the deadline, `EOFError` when the child is gone."""
        parts: list[bytes] = []
        while size > 0:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            if not select.select([self._out], [], [], min(left, _WATCH_SECONDS))[0]:
                self._watch()
                continue
            part = os.read(self._out, min(size, 1 << 20))
            if not part:
                raise EOFError
            parts.append(part)
            size -= len(part)
        return b"".join(parts)
