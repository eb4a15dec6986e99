"""One-time sign-in codes for the browser, made by whoever holds the server's token.

A code is `expiry.nonce.mac`, the MAC keyed by the token: any command run by the owner of the data directory can make
one, and the server takes it without having been told. Each code works once and only until its expiry. Standard library
only.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time

DEFAULT_SECONDS = 12 * 3600.0


def make_code(token: str, *, seconds: float = DEFAULT_SECONDS) -> str:
    """A fresh code that a server with the same token will accept once."""
    body = f"{int(time.time() + seconds)}.{secrets.token_urlsafe(16)}"
    return f"{body}.{_mac(token, body)}"


class CodeBook:
    """Checks codes and remembers which were used. Safe to use from any thread."""

    def __init__(self, token: str) -> None:
        self._token = token
        self._used: dict[str, float] = {}
        self._lock = threading.Lock()

    def redeem(self, code: str) -> bool:
        """True once for each valid code; false for used, expired, foreign and malformed ones."""
        body, _, mac = code.rpartition(".")
        expiry, _, nonce = body.partition(".")
        if not hmac.compare_digest(mac.encode(), _mac(self._token, body).encode()) or not expiry.isdigit():
            return False
        now = time.time()
        with self._lock:
            self._used = {n: e for n, e in self._used.items() if e > now}
            if float(expiry) <= now or nonce in self._used:
                return False
            self._used[nonce] = float(expiry)
        return True


def gate_key(token: str) -> str:
    """What shows the server that a request comes through its own UI, which says for which address it asks."""
    return hmac.new(token.encode(), b"strongroom gate", hashlib.sha256).hexdigest()


def _mac(token: str, body: str) -> str:
    message = b"strongroom sign-in code " + body.encode("utf-8", "replace")
    return hmac.new(token.encode(), message, hashlib.sha256).hexdigest()
