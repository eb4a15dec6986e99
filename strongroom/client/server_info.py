"""Where the server of a data directory is: `<data_dir>/run/server.json`, readable by its owner alone.

The server writes the file when it begins to answer; whoever may read it may use the server.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from strongroom.errors import NotPermittedError, StrongroomError
from strongroom.wire import dumps, loads


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """Where the server of a data directory is, which process it is, and the token that opens it."""

    url: str
    pid: int
    started: int  # the process's start time in clock ticks since boot, so that a reused pid is not taken for it
    token: str
    certificate: str = ""  # PEM of the certificate it shows, the only one that is accepted; empty without TLS
    page: str = ""  # where people find the UI that was started with it; empty when none was

    def __repr__(self) -> str:  # the token must not reach logs by accident
        return f"ServerInfo(url={self.url!r}, pid={self.pid})"


def _info_path(data_dir: Path) -> Path:
    return data_dir / "run" / "server.json"


def write_server_info(data_dir: Path, *, url: str, token: str, certificate: str = "", page: str = "") -> ServerInfo:
    """Tell this user's processes where this process's server is. Replaces the file in one step, mode 0600."""
    pid = os.getpid()
    info = ServerInfo(url, pid, _process_start(pid) or 0, token, certificate, page)
    path = _info_path(data_dir)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".server.{pid}.json")
    draft.unlink(missing_ok=True)
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "wb") as out:
        out.write(dumps(info))
    draft.replace(path)
    return info


def read_server_info(data_dir: Path) -> ServerInfo | None:
    """The running server of a data directory; `None` when there is none or its process is gone.

    Raises `NotPermittedError` when the file belongs to somebody else or others may read it: its token, or the address
    it sends us to, cannot be trusted then.
    """
    path = _info_path(data_dir)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise NotPermittedError(
            f"cannot read {path}: {exc.strerror}", hint="Run as the user who owns the data directory."
        ) from exc
    with os.fdopen(fd, "rb") as source:
        facts = os.fstat(fd)
        if facts.st_uid != os.geteuid() or facts.st_mode & 0o077:
            raise NotPermittedError(
                f"{path} is not private to this user", hint="Stop the server, remove the file, and start it again."
            )
        text = source.read()
    try:
        info = loads(ServerInfo, text)
    except StrongroomError:
        return None  # written by a crash or another version: no server to speak of
    started = _process_start(info.pid)
    return info if started is not None and started == info.started else None


def remove_server_info(data_dir: Path, info: ServerInfo) -> None:
    """Remove the file if it still speaks of this server."""
    if read_server_info(data_dir) == info:
        _info_path(data_dir).unlink(missing_ok=True)


def _process_start(pid: int) -> int | None:
    """Start time of a live process in clock ticks since boot (field 22 of proc(5) `stat`), or `None`."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The second field, the command in parentheses, may hold spaces; field 3 follows the last parenthesis.
    fields = text.rpartition(")")[2].split()
    return None if fields[0] == "Z" else int(fields[19])
