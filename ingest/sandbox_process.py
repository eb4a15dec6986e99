"""One parser child as its parent sees it: how it is started, asked, watched and ended.

Nothing a child sends is unpickled; see `ingest.wire`. What runs inside it is `ingest.sandbox_child`.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pickle
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import cast

from ingest import wire
from ingest.limits import Limits
from ingest.sandbox_members import ReceivedMembers, ending
from strongroom.errors import QuarantineError, StrongroomError

log = logging.getLogger(__name__)

_BOOT = "import sys, json; sys.path[:] = json.loads(sys.argv[1]); from ingest.sandbox_child import main; main()"
_START_SECONDS = 60.0
_WATCH_SECONDS = 0.5
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "TZ", "PYTHONHASHSEED", "COVERAGE_PROCESS_START")


class ParserProcess:
    """A parser process and its two pipes. Used by the one thread that started it."""

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

    def ask(self, path: Path, mime: str, members: ReceivedMembers) -> tuple[int, bytes]:
        """Have a file parsed: a RESULT or REFUSED frame; what lies inside it goes to `members`.

        Raises `QuarantineError` when the child hangs, dies or floods, `BrokenPipeError` when it was dead before.
        """
        # A copy, because the child can open nothing that lies elsewhere; its name keeps the ending, which tools go by.
        given = self._inbox / f"document{ending(path.name)}"
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
        while any(map(_alive, below)) and time.monotonic() < patience:
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


def _tree(pid: int) -> list[int]:
    """A process and all below it."""
    found, left = [], [pid]
    while left:
        found.append(left.pop())
        for children in Path(f"/proc/{found[-1]}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                left += map(int, children.read_text(encoding="ascii").split())
    return found


def _alive(pid: int) -> bool:
    """False too for a process that has ended and waits to be asked how: where init is slow that takes seconds."""
    for task in Path(f"/proc/{pid}/task").glob("*/stat"):
        with contextlib.suppress(OSError):
            if task.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[0] not in ("Z", "X"):
                return True
    return False


def _own_memory(pid: int) -> int:
    """Resident bytes of a process that it shares with no file or other process; 0 when it has ended."""
    try:
        _, resident, shared = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[:3]
    except (OSError, ValueError):
        return 0
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")
