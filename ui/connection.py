"""The one connection to the server that all pages of this process share."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from strongroom.client import HttpEngine
from strongroom.errors import StrongroomError

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(slots=True)
class _Shared:
    engine: HttpEngine | None = None
    local: bool = False


_shared = _Shared()


def configure(url: str, token: str, certificate: str = "") -> HttpEngine:
    """Set the server for this process. Called once, before the first page is served."""
    _shared.engine = HttpEngine(url, token, certificate=certificate)
    _shared.local = (urlsplit(url).hostname or "") in _LOOPBACK
    return _shared.engine


def engine() -> HttpEngine:
    """The server's engine. Raises `StrongroomError` when the process was started without one."""
    if _shared.engine is None:
        raise StrongroomError("the UI knows no server", hint="Start it with `strongroom up`.")
    return _shared.engine


def is_local() -> bool:
    """True when the server runs on this very machine."""
    return _shared.local
