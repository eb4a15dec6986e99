"""One owner for a data directory: an advisory file lock that the kernel drops when its holder dies."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from strongroom.errors import LockedError, NotPermittedError


class DataLock:
    """Exclusive lock on `<data_dir>/run/lock`. The file names its holder for error messages."""

    def __init__(self, data_dir: Path, *, purpose: str) -> None:
        """Take the lock or raise `LockedError` naming the process that holds it."""
        run = data_dir / "run"
        run.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path = run / "lock"
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            holder = os.pread(self._fd, 200, 0).decode("utf-8", "replace").strip() or "another process"
            os.close(self._fd)
            raise LockedError(
                f"data directory {data_dir} is in use by {holder}",
                hint="Wait for it to finish, or talk to the running server (`strongroom status` shows its address).",
            ) from exc
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{purpose} (process {os.getpid()})".encode(), 0)

    def release(self) -> None:
        """Give the lock back. Safe to call twice."""
        if self._fd >= 0:
            os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = -1


def own_data_dir(data_dir: Path) -> None:
    """Make the data directory (mode 0700) or check that it is ours alone. Raises `NotPermittedError`."""
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    status = data_dir.stat()
    if status.st_uid != os.geteuid():
        raise NotPermittedError(
            f"data directory {data_dir} belongs to another user",
            hint="Run as its owner, or through the server with a token.",
        )
    if status.st_mode & 0o077:
        raise NotPermittedError(
            f"data directory {data_dir} can be opened by other users", hint=f"Run `chmod 700 {data_dir}`."
        )
