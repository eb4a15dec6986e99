"""Connections to the server, one for each signed-in session: every page speaks for the person who looks at it."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from strongroom.client.accounts import HttpDesk, SignInClient, for_browser
from strongroom.client.engine import HttpEngine
from strongroom.errors import SignInError, StrongroomError, UnauthorizedError
from strongroom.signin import gate_key

COOKIE = "strongroom_session"
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_MOST = 256  # sessions whose connections are kept
_BELIEVED = 2.0  # seconds for which the server's word that a session lives is good


@dataclass(slots=True)
class Peer:
    """The server as one session reaches it."""

    engine: HttpEngine
    desk: HttpDesk
    seen: float = float("-inf")

    def alive(self) -> bool:
        """True while the server takes the session. Raises `StrongroomError` when it cannot be asked."""
        if time.monotonic() - self.seen < _BELIEVED:
            return True
        try:
            self.desk.me()
        except UnauthorizedError:
            return False
        self.seen = time.monotonic()
        return True


@dataclass(slots=True)
class _Shared:
    url: str = ""
    certificate: str = ""
    gate: str = ""
    local: bool = False
    sign_in: SignInClient | None = None
    peers: OrderedDict[str, Peer] = field(default_factory=OrderedDict)
    lock: threading.Lock = field(default_factory=threading.Lock)


_shared = _Shared()


def configure(url: str, token: str, certificate: str = "") -> None:
    """Set the server for this process. Called once, before the first page is served.

    The owner's token itself is not kept: no page can use it. `certificate` is the one that the server must show.
    """
    _shared.url = url
    _shared.certificate = certificate
    _shared.gate = gate_key(token)
    _shared.local = (urlsplit(url).hostname or "") in _LOOPBACK
    _shared.sign_in = SignInClient(url, certificate=certificate)
    _shared.peers.clear()


def peer(session: str, address: str = "") -> Peer:
    """The connections of a session, made on first use. `address` is the browser's."""
    if not _shared.url:
        raise StrongroomError("the UI knows no server", hint="Start it with `strongroom up`.")
    key = digest(session)
    with _shared.lock:
        found = _shared.peers.get(key)
        if found is None:
            url, certificate, headers = _shared.url, _shared.certificate, for_browser(_shared.gate, address)
            found = _shared.peers[key] = Peer(
                HttpEngine(url, session, headers=headers, certificate=certificate),
                HttpDesk(url, session, headers=headers, certificate=certificate),
            )
            while len(_shared.peers) > _MOST:  # whoever still uses it holds it; the rest is closed with it
                _shared.peers.popitem(last=False)
        _shared.peers.move_to_end(key)
    return found


def forget(session: str) -> None:
    """Believe a session no longer."""
    with _shared.lock:
        _shared.peers.pop(digest(session), None)


def engine() -> HttpEngine:
    """The server's engine as the person at this browser sees it. Raises `StrongroomError` without a session."""
    return peer(_session()).engine


def whose() -> str:
    """Names the session of this browser without giving it away."""
    return digest(_session())


def sign_in_client() -> tuple[SignInClient, str]:
    """What gets people their session, and the key by which the server believes the browser's address."""
    if _shared.sign_in is None:
        raise StrongroomError("the UI knows no server", hint="Start it with `strongroom up`.")
    return _shared.sign_in, _shared.gate


def session_of_browser() -> str:
    """The session cookie of the browser that this page is drawn for; empty when there is none."""
    import streamlit as st

    return str(st.context.cookies.get(COOKIE, ""))


def _session() -> str:
    session = session_of_browser()
    if not session:
        raise SignInError("you are signed out", hint="Load the page again.")
    return session


def digest(session: str) -> str:
    return hashlib.sha256(session.encode("utf-8", "replace")).hexdigest()


def is_local() -> bool:
    """True when the server runs on this very machine."""
    return _shared.local
