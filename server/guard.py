"""What stands before every route: host names, credentials and their scopes, security headers, a catch-all for defects.

Plain ASGI, outside the router, so that a request without a credential learns nothing, not even which routes exist.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from anyio import to_thread
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.errors import HostRefusedError, UnexpectedError, error_response, log_defect
from strongroom.access import LOCAL_USER
from strongroom.audit import Origin, acting_from
from strongroom.errors import NotPermittedError, StrongroomError, UnauthorizedError
from strongroom.people import Identity
from strongroom.people import Scope as Reach
from strongroom.signin import gate_key

OPEN_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})
"""Paths that need no credential. They carry no document, no name and no question."""
SIGN_IN = "/api/sign-in"
"""Below this people get their credential; what they send is checked there."""
IDENTITY = "strongroom.identity"
"""Where the guard leaves the `Identity` in the scope."""

Identify = Callable[[str], Identity | None]

_SCOPES: tuple[tuple[str, re.Pattern[str], Reach], ...] = (
    ("GET", re.compile(r"/api/(status|collections|documents|doubtful-pages|approvals)(/.*)?"), "read"),
    ("POST", re.compile(r"/api/search"), "read"),
    ("GET", re.compile(r"/openapi\.json"), "read"),
    ("GET", re.compile(r"/api/account"), "read"),
    ("POST", re.compile(r"/api/(ask|approvals|whole)"), "ask"),
    ("DELETE", re.compile(r"/api/approvals/[^/]+"), "ask"),
    ("*", re.compile(r"/api/ingest(/.*)?"), "ingest"),
    ("DELETE", re.compile(r"/api/documents/[^/]+"), "ingest"),
)
_OWN_ACCOUNT = re.compile(r"[A-Z]+ /api/account(/.*)?|GET /api/tokens|(GET|DELETE) /api/sessions(/.*)?")
"""What somebody reaches who has to set up a second factor first."""


def scope_for(method: str, path: str) -> Reach:
    """The scope that a token needs for a request. What is not listed needs `admin`."""
    for known, pattern, scope in _SCOPES:
        if known in ("*", method) and pattern.fullmatch(path):
            return scope
    return "admin"


HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """ASGI middleware: refuse unknown hosts and credentials, add headers, log defects.

    `token` is the owner's, `identify` knows all others.
    `observe` is told `(route template, status)` of every response, for the metrics.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        token: str,
        hosts: frozenset[str],
        observe: Callable[[str, int], None],
        identify: Identify = lambda _secret: None,
    ) -> None:
        self.app = app
        self._digest = hashlib.sha256(token.encode()).digest()
        self._gate = gate_key(token).encode()
        self._identify = identify
        self._hosts = hosts
        self._observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        status = 0
        origin = Origin(secrets.token_hex(8), self._address(scope))

        async def with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers["X-Request-Id"] = origin.request
            await send(message)

        try:
            with acting_from(origin):
                refusal, identity = await self._admit(scope)
            if refusal is not None:
                await error_response(refusal)(scope, receive, with_headers)
            else:
                scope[IDENTITY] = identity
                via = "" if identity is None or not identity.id else f"{identity.kind}:{identity.id}"
                with acting_from(Origin(origin.request, origin.address, via)):
                    await self.app(scope, receive, with_headers)
        except Exception as exc:  # noqa: BLE001 - the outermost edge
            log_defect(f"{scope['method']} {route_of(scope)}", exc)
            if status == 0:
                await error_response(UnexpectedError())(scope, receive, with_headers)
        finally:
            self._observe(route_of(scope), status)

    async def _admit(self, scope: Scope) -> tuple[StrongroomError | None, Identity | None]:
        """Why a request is refused, if it is, and who makes it."""
        headers, path = Headers(scope=scope), scope["path"]
        # A page on another site can point its own name at 127.0.0.1 (DNS rebinding); its requests carry that name.
        if host_name(headers.get("host", "")) not in self._hosts:
            return (
                HostRefusedError(
                    "this server does not answer to that host name", hint="Use a loopback name, or set `public_hosts`."
                ),
                None,
            )
        if path in OPEN_PATHS or path == SIGN_IN or path.startswith(SIGN_IN + "/"):
            return None, None
        identity = await self._identity(headers.get("authorization", ""))
        if identity is None:
            hint = "Send a token or session as `Authorization: Bearer …`."
            return UnauthorizedError("a valid token is needed", hint=hint), None
        if identity.unready:
            if _OWN_ACCOUNT.fullmatch(f"{scope['method']} {path}"):
                return None, identity
            return NotPermittedError("your account needs a second factor first", hint="Set it up under Account."), None
        needed = scope_for(scope["method"], path)
        if needed not in identity.scopes:
            hint = "Make a token with that scope: `strongroom tokens add --help`."
            return NotPermittedError(f"this token has no scope `{needed}`", hint=hint), None
        return None, identity

    async def _identity(self, authorization: str) -> Identity | None:
        scheme, _, secret = authorization.partition(" ")
        secret = secret.strip()
        if scheme.lower() != "bearer" or not secret:
            return None
        given = hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()
        if hmac.compare_digest(given, self._digest):
            return Identity(LOCAL_USER, "owner")
        return await to_thread.run_sync(self._identify, secret)

    def _address(self, scope: Scope) -> str:
        """Where a request comes from: the peer, or the browser that our own UI asks for."""
        headers = Headers(scope=scope)
        if hmac.compare_digest(headers.get("x-strongroom-gate", "").encode(), self._gate):
            return headers.get("x-strongroom-for", "")[:64]
        return str((scope.get("client") or ("",))[0])


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
