"""Run another program on a document: pandoc, LibreOffice, FFmpeg.

The program inherits the child's limits on memory, files and network, gets a folder of its own, and dies with the
child. It is the only kind of process that a parser starts. Must not run anything through a shell.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from strongroom.errors import ParseError, QuarantineError

_PR_SET_PDEATHSIG = 1


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder in the child's temporary folder, gone afterwards."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        yield Path(folder)


def run_tool(argv: Sequence[str], *, name: str, folder: Path, output: Path, seconds: float) -> int:
    """Run `argv` in `folder` with its standard output in the file `output`; returns its exit status.

    `name` is what people call the program. Raises `QuarantineError` when it takes longer than `seconds`, and
    `MemoryError` when it ran out of memory.
    """
    libc = ctypes.CDLL(None)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)

    def die_with_parent() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)

    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "LANG": "C.UTF-8",
    }
    with output.open("wb") as out:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env=environment,
            preexec_fn=die_with_parent,
            process_group=0,
        )
        try:
            status = process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise QuarantineError(
                f"{name} took longer than {seconds:.0f} s and was stopped", hint="convert it, and ingest the copy"
            ) from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # helpers that it started
            process.wait()
    if status == -signal.SIGKILL or status == 251:  # what GHC's runtime exits with when its heap is exhausted
        raise MemoryError
    return status


def damaged(name: str, status: int) -> ParseError:
    """The refusal of a file that a program could not convert."""
    return ParseError(
        f"damaged document: {name} cannot read it (exit status {status})", hint="get a fresh copy, or convert it"
    )
