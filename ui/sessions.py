"""Signed-in browsers: random cookies, kept in memory as digests, that expire."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from dataclasses import dataclass, field

COOKIE = "strongroom_session"
IDLE_SECONDS = 8 * 3600.0
LIFE_SECONDS = 24 * 3600.0


@dataclass(slots=True)
class _Session:
    born: float
    seen: float


@dataclass(slots=True)
class Sessions:
    """The sessions of one UI process. Restarting it signs everybody out. Safe to use from any thread."""

    idle: float = IDLE_SECONDS
    life: float = LIFE_SECONDS
    _open: dict[str, _Session] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def open(self) -> str:
        """Start a session; returns the value for its cookie."""
        value, now = secrets.token_urlsafe(32), time.monotonic()
        with self._lock:
            self._open = {k: s for k, s in self._open.items() if self._alive(s, now)}
            self._open[_digest(value)] = _Session(now, now)
        return value

    def touch(self, value: str) -> bool:
        """True while the cookie's session lives; counts as activity."""
        now = time.monotonic()
        with self._lock:
            session = self._open.get(_digest(value))
            if session is None or not self._alive(session, now):
                return False
            session.seen = now
        return True

    def close(self, value: str) -> None:
        """End a session; unknown ones are fine."""
        with self._lock:
            self._open.pop(_digest(value), None)

    def _alive(self, session: _Session, now: float) -> bool:
        return now - session.seen < self.idle and now - session.born < self.life


def _digest(value: str) -> str:
    return hashlib.sha256(value.encode("utf-8", "replace")).hexdigest()
