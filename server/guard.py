"""What stands before every route: host names, token, security headers, and a catch-all for defects.

Plain ASGI, outside the router, so that a request without a token learns nothing, not even which routes exist.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.errors import HostRefusedError, UnauthorizedError, UnexpectedError, error_response, log_defect
from strongroom.audit import Origin, acting_from
from strongroom.errors import StrongroomError

OPEN_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})
"""Paths that need no token. They carry no document, no name and no question."""

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """ASGI middleware: refuse unknown hosts and missing tokens, add headers, log defects.

    `observe` is told `(route template, status)` of every response, for the metrics.
    """

    def __init__(self, app: ASGIApp, *, token: str, hosts: frozenset[str], observe: Callable[[str, int], None]) -> None:
        self.app = app
        self._digest = hashlib.sha256(token.encode()).digest()
        self._hosts = hosts
        self._observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        status = 0
        origin = Origin(secrets.token_hex(8), (scope.get("client") or ("",))[0])

        async def with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers["X-Request-Id"] = origin.request
            await send(message)

        try:
            refusal = self._refusal(scope)
            if refusal is not None:
                await error_response(refusal)(scope, receive, with_headers)
            else:
                with acting_from(origin):
                    await self.app(scope, receive, with_headers)
        except Exception as exc:  # noqa: BLE001 - the outermost edge
            log_defect(f"{scope['method']} {route_of(scope)}", exc)
            if status == 0:
                await error_response(UnexpectedError())(scope, receive, with_headers)
        finally:
            self._observe(route_of(scope), status)

    def _refusal(self, scope: Scope) -> StrongroomError | None:
        headers = Headers(scope=scope)
        # A page on another site can point its own name at 127.0.0.1 (DNS rebinding); its requests carry that name.
        if host_name(headers.get("host", "")) not in self._hosts:
            return HostRefusedError(
                "this server does not answer to that host name", hint="Use a loopback name, or set `public_hosts`."
            )
        if scope["path"] in OPEN_PATHS:
            return None
        scheme, _, token = headers.get("authorization", "").partition(" ")
        given = hashlib.sha256(token.strip().encode("utf-8", "surrogateescape")).digest()
        if not (hmac.compare_digest(given, self._digest) and scheme.lower() == "bearer"):
            return UnauthorizedError("a valid token is needed", hint="Send it as `Authorization: Bearer TOKEN`.")
        return None


def host_name(host: str) -> str:
    """The host name of a `Host` header without its port, lower case; empty when it is malformed."""
    try:
        parts = urlsplit(f"//{host}")
        if parts.username is not None or parts.path or parts.query or parts.fragment:
            return ""
        return (parts.hostname or "").rstrip(".")
    except ValueError:
        return ""


def route_of(scope: Scope) -> str:
    """The template of the route that served a request, so that no id or name reaches logs and metrics."""
    route: Any = scope.get("route")
    return str(getattr(route, "path", "(none)"))
