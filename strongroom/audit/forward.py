"""Copies of the audit log for other systems: a file that a collector follows, and syslog (RFC 5424).

At least once, in order: a cursor beside the log says how far each target has got, and what a target missed while it
could not be reached is sent when it can. Nothing here can hold up or fail the work that is being recorded.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
from collections.abc import Callable, Generator
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from strongroom.errors import ConfigError

log = logging.getLogger(__name__)

_FACILITY = 13  # "log audit"
_SEVERITY = {"ok": 6, "refused": 4, "failed": 3}  # informational, warning, error
_RETRY_S = 30.0
_AT_A_TIME = 500


class Target(Protocol):
    """Somewhere a copy of each entry goes."""

    name: str

    def send(self, line: dict[str, Any]) -> None:
        """Deliver one entry. Raises `OSError` when it could not be."""
        ...


class FileTarget:
    """Appends JSON lines. The file may be moved away at any time; the next entry begins a new one."""

    def __init__(self, path: Path) -> None:
        self.name = f"file:{path}"
        self._path = path

    def send(self, line: dict[str, Any]) -> None:
        data = (json.dumps(line, sort_keys=True, ensure_ascii=False) + "\n").encode()
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
        try:
            os.write(fd, data)
        finally:
            os.close(fd)


class SyslogTarget:
    """Sends to `udp://host:port` (RFC 5426) or `tcp://host:port` (octet counting, RFC 6587)."""

    def __init__(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port or 514
        except ValueError:
            host, parts = None, urlsplit("")
        if parts.scheme not in ("udp", "tcp") or not host:
            raise ConfigError(
                f"audit_syslog = {url!r} is no address", hint="Write it as udp://host:514 or tcp://host:601."
            )
        self.name = url
        self._address = (host, port)
        self._tcp = parts.scheme == "tcp"
        self._socket: socket.socket | None = None

    def send(self, line: dict[str, Any]) -> None:
        message = syslog_message(line)
        try:
            if self._socket is None:
                kind = socket.SOCK_STREAM if self._tcp else socket.SOCK_DGRAM
                family = socket.getaddrinfo(*self._address, type=kind)[0][0]
                self._socket = socket.socket(family, kind)
                self._socket.settimeout(5)
                self._socket.connect(self._address)
            self._socket.sendall(b"%d %s" % (len(message), message) if self._tcp else message)
        except Exception as exc:
            self.close()
            if isinstance(exc, OSError):
                raise
            raise OSError(str(exc)) from exc  # the socket guard's refusal, for one

    def close(self) -> None:
        if self._socket is not None:
            with suppress(OSError):
                self._socket.close()
            self._socket = None


def syslog_message(line: dict[str, Any], *, host: str | None = None) -> bytes:
    """An entry as an RFC 5424 message: facility 13, the entry's own time, its action as MSGID, JSON as text."""
    severity = _SEVERITY.get(line.get("outcome", "ok"), 5)
    at = line["at"].replace("+00:00", "Z")
    name = _printable(host or socket.gethostname(), 255)
    action = _printable(line["action"], 32)
    text = json.dumps(line, sort_keys=True, ensure_ascii=False)
    return f"<{_FACILITY * 8 + severity}>1 {at} {name} strongroom {os.getpid()} {action} - {text}".encode()


def _printable(text: str, limit: int) -> str:
    return "".join(c for c in text if "!" <= c <= "~")[:limit] or "-"


class Forwarder:
    """Delivers entries to targets from a thread of its own. `notify` after each entry, `close` at the end."""

    def __init__(
        self, export: Callable[[int], Generator[dict[str, Any]]], targets: list[Target], cursor_file: Path
    ) -> None:
        """`export(after)` yields the entries after a sequence number."""
        self._export = export
        self._targets = targets
        self._cursor_file = cursor_file
        self._sent = self._read_cursor()
        self._news = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="audit-forward", daemon=True)
        self._thread.start()
        self.notify()

    def notify(self) -> None:
        """There is something to send. Returns at once."""
        self._news.set()

    def close(self, seconds: float = 5.0) -> None:
        """Send what is left, for `seconds` at most."""
        self._closing = True
        self._news.set()
        self._thread.join(seconds)

    def _run(self) -> None:
        failing = False
        while True:
            self._news.wait(_RETRY_S if failing else None)
            self._news.clear()
            closing = self._closing
            reached = [self._drain(target) for target in self._targets]  # one that fails must not keep the rest waiting
            failing = not all(reached)
            if closing:
                return

    def _drain(self, target: Target) -> bool:
        try:
            while lines := self._next(target):
                for line in lines:
                    target.send(line)
                    self._sent[target.name] = line["seq"]
        except OSError as exc:
            log.warning("audit entries wait: %s cannot be reached (%s)", target.name, exc.strerror or exc)
            return False
        finally:
            self._write_cursor()
        return True

    def _next(self, target: Target) -> list[dict[str, Any]]:
        """Some entries at a time: a collector that is slow must not hold the catalogue's snapshot open."""
        with closing(self._export(self._sent.get(target.name, 0))) as waiting:
            return list(islice(waiting, _AT_A_TIME))

    def _read_cursor(self) -> dict[str, int]:
        try:
            data = json.loads(self._cursor_file.read_text(encoding="utf-8"))
            return {str(name): int(seq) for name, seq in data.items()}
        except (OSError, ValueError, AttributeError):
            return {}

    def _write_cursor(self) -> None:
        partial = self._cursor_file.with_suffix(".part")
        with suppress(OSError):
            partial.write_text(json.dumps(self._sent), encoding="utf-8")
            partial.replace(self._cursor_file)
