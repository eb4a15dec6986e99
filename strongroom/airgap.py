"""Keep everything in: set every library's opt-out switch, and refuse sockets that leave the allow-list.

`prepare_environment()` must run before any third-party import (the CLI, the server and every parser child do it
first thing). `enforce()` installs an audit hook on Python's own socket calls and name look-ups. The hook is a
tripwire, not the fence: native code can open sockets that Python never sees, so isolation is enforced by the kernel
(a network namespace, nftables, systemd's `IPAddressDeny=`) and this module proves that nothing even tried.

A refused attempt raises `EgressBlockedError` in the caller and is appended to `egress.log` by plain file writes; a
hook must not touch the database. The audit log folds the file in later (`strongroom.audit.fold_egress`).
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from strongroom.errors import EgressBlockedError

# One line a switch, with the library that reads it. Values are set, not defaulted: an operator's stray setting must
# not turn reporting back on.
SWITCHES: dict[str, str] = {
    "DO_NOT_TRACK": "1",  # unstructured, huggingface_hub, and others that honour the convention
    "SCARF_NO_ANALYTICS": "true",  # unstructured
    "UNSTRUCTURED_DISABLE_NOTICE": "1",  # unstructured's banner
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_DATASETS_OFFLINE": "1",
    "STREAMLIT_BROWSER_GATHER_USAGE_STATS": "false",
    "STREAMLIT_SERVER_HEADLESS": "true",
    "STREAMLIT_SERVER_SHOW_EMAIL_PROMPT": "false",
    "QDRANT__TELEMETRY_DISABLED": "true",
    "ANONYMIZED_TELEMETRY": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
    "OTEL_SDK_DISABLED": "true",
    "TOKENIZERS_PARALLELISM": "false",  # not egress: avoids a warning and dead-locks in forked children
}
# Packages that only report usage. A `None` entry makes their import fail, and their hosts fall back to a stub.
BLOCKED_IMPORTS = ("openvino_telemetry", "unstructured_client")

_RESOLVE_SECONDS = 60.0  # how long the addresses of allowed names are believed
_LOOPBACK_NAMES = {"localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback", ""}


def prepare_environment() -> None:
    """Set every opt-out switch and block packages whose only purpose is to report. Idempotent."""
    os.environ.update(SWITCHES)
    for name in BLOCKED_IMPORTS:
        if name not in sys.modules:
            sys.modules[name] = None  # type: ignore[assignment]


@dataclass(slots=True)
class _Guard:
    """Process-wide state of the audit hook, which Python cannot remove once it is installed."""

    installed: bool = False
    active: bool = False
    allow: frozenset[str] = frozenset()
    addresses: frozenset[str] = frozenset()  # of the names in `allow`
    resolve_again: float = 0.0
    log: Path | None = None
    attempts: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


_guard = _Guard()


def enforce(allow: Iterable[str] = (), *, listening: Iterable[str] = (), log: Path | None = None) -> None:
    """Refuse every connection and look-up that is neither loopback, a unix socket, nor named in `allow`.

    `allow` holds host names or IP addresses. `listening` are addresses that a server of ours listens on: its own
    clients reach it there, and those that are not this machine's are passed over. Calling it again replaces the
    allow-list and the log file.
    """
    _guard.allow = frozenset(host.lower() for host in (*allow, *(host for host in listening if _is_own(host))))
    _guard.addresses, _guard.resolve_again = frozenset(), 0.0
    _guard.log = log
    _guard.active = True
    if not _guard.installed:
        sys.addaudithook(_hook)
        _guard.installed = True


def relax() -> None:
    """Switch the guard off. Only `setup` and `models pull` call this: they run pip."""
    _guard.active = False


def attempts() -> int:
    """How many connections or look-ups were refused in this process so far."""
    return _guard.attempts


def is_allowed(host: object) -> bool:
    """True for loopback names and addresses, and for hosts on the allow-list."""
    if host is None:
        return True  # a passive bind or look-up of the local host
    text = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)
    text = text.strip().strip("[]").split("%", 1)[0].lower()
    if text in _LOOPBACK_NAMES or text in _guard.allow:
        return True
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return bool(address.is_loopback) or str(address) in _addresses_of_allowed_names()


def _addresses_of_allowed_names() -> frozenset[str]:
    """What the names on the allow-list stand for now: libraries look a name up first and then connect to an address."""
    names = [host for host in _guard.allow if not _is_address(host)]
    if names and time.monotonic() >= _guard.resolve_again:
        found: set[str] = set()
        for name in names:
            with contextlib.suppress(OSError):  # a name that is not known stands for nothing
                found.update(str(entry[4][0]).split("%", 1)[0] for entry in socket.getaddrinfo(name, None))
        _guard.addresses = frozenset(found)
        _guard.resolve_again = time.monotonic() + _RESOLVE_SECONDS
    return _guard.addresses


def _is_own(host: str) -> bool:
    """True for an address, not a name, that a socket of this machine can be bound to."""
    if not _is_address(host):
        return False
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return True


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if not _guard.active:
        return
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = args[1] if len(args) > 1 else None
        if address is None or isinstance(address, (str, bytes)):
            return  # a connected datagram socket, or a unix socket path
        if isinstance(address, tuple) and address and not is_allowed(address[0]):
            _refuse(event, address[0])
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        if args and not is_allowed(args[0]):
            _refuse(event, args[0])
    elif event == "socket.getnameinfo" and args:
        sockaddr = args[0]
        if isinstance(sockaddr, tuple) and sockaddr and not is_allowed(sockaddr[0]):
            _refuse(event, sockaddr[0])


def _refuse(event: str, host: object) -> None:
    with _guard.lock:
        _guard.attempts += 1
        if _guard.log is not None:
            _append(_guard.log, event, host)
    raise EgressBlockedError(
        f"blocked: {event} to {host!r}",
        hint="Nothing may leave this machine. Add the host to `allowed_hosts` only if the organisation runs it.",
    )


def _append(log: Path, event: str, host: object) -> None:
    line = json.dumps({"at": time.time(), "pid": os.getpid(), "event": event, "host": repr(host)})
    try:
        fd = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(fd, (line + "\n").encode())
        finally:
            os.close(fd)
    except OSError:  # the refusal itself must stand even when the log cannot be written
        sys.stderr.write(f"strongroom: cannot write {log.name}\n")
