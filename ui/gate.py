"""What stands before every page, asset and websocket: host names, origin, sign-in, and security headers.

Plain ASGI and without Streamlit, so it can be tested alone. A cookie that scripts cannot read and other sites cannot
send holds the session, and the server says whether it lives. The pages for signing in and for one's account are our own
(`ui.signin`).
"""

from __future__ import annotations

import base64
import hashlib
import re
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from urllib.parse import urlsplit

from anyio import to_thread
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from strongroom.errors import StrongroomError
from strongroom.people import SESSION_PREFIX
from ui import connection
from ui.connection import COOKIE
from ui.signin import OWN_HEADERS, Pages

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_INLINE_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)


def content_security_policy(index_html: Path) -> str:
    """The policy for pages. Inline scripts are allowed by hash only, and only those of the shipped index page.

    `blob:` scripts are how Streamlit loads our own components; only script that already runs here can make a blob.
    Streamlit styles its elements inline, so styles cannot be that strict.
    """
    scripts = _INLINE_SCRIPT.findall(index_html.read_bytes())
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s).digest()).decode()}'" for s in scripts)
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'self' blob: {hashes}".strip(),
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            "connect-src 'self'",
            "manifest-src 'self'",
            "worker-src 'self' blob:",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    )


class Gate:
    """ASGI middleware around the whole UI. `secure` marks the cookie for TLS only (behind a TLS proxy)."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        policy: str,
        public_hosts: frozenset[str] = frozenset(),
        secure: bool = False,
    ) -> None:
        self.app = app
        self._pages = Pages(secure=secure)
        self._hosts = LOOPBACK_NAMES | {host.lower() for host in public_hosts}
        self._headers = {
            "Content-Security-Policy": policy,
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
        }
        if secure:
            self._headers["Strict-Transport-Security"] = "max-age=31536000"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, self._with_headers(send))
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _with_headers(self, send: Send) -> Send:
        async def wrapped(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers[name] = value
                for name in OWN_HEADERS:  # our own pages are stricter, and say so under a name of their own
                    own = headers.get(f"x-own-{name}")
                    if own is not None:
                        headers[name] = own
                        del headers[f"x-own-{name}"]
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        return wrapped

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        response: Response | None = None
        if not self._host_known(headers):
            response = PlainTextResponse("This address is not known here.", 421)
        elif scope["method"] not in _SAFE_METHODS and not _same_origin(headers):
            response = PlainTextResponse("Refused: the request came from another site.", 403)
        elif scope["path"] == "/healthz":
            response = PlainTextResponse("ok")
        else:
            request = Request(scope, receive)
            session = cookie_of(headers)
            try:
                signed_in = await alive(session, scope)
                response = await self._pages.serve(request, session if signed_in else "")
                if response is None and not signed_in:
                    response = await self._pages.sign_in_page(request, 401)
            except StrongroomError:
                response = PlainTextResponse("The server does not answer. Try again in a moment.", 503)
        if response is not None:
            await response(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        cookie = cookie_of(headers)

        async def open_still() -> bool:
            try:
                return await alive(cookie, scope)
            except StrongroomError:
                return False

        # A websocket ignores the same-origin rule: without this check any site could talk through a signed-in browser.
        if not (self._host_known(headers) and _same_origin(headers, required=True) and await open_still()):
            await receive()  # websocket.connect
            await send({"type": "websocket.close", "code": 1008})
            return

        async def watched() -> Message:
            message = await receive()
            if message["type"] == "websocket.receive" and not await open_still():
                return {"type": "websocket.disconnect", "code": 1008}
            return message

        await self.app(scope, watched, send)

    def _host_known(self, headers: Headers) -> bool:
        # A page on another site can point its own name at 127.0.0.1 (DNS rebinding); its requests carry that name.
        return _host_name(f"//{headers.get('host', '')}") in self._hosts


async def alive(session: str, scope: Scope) -> bool:
    """True while the cookie's session lives. Raises `StrongroomError` when the server cannot be asked."""
    if not session.startswith(SESSION_PREFIX):
        return False
    peer = connection.peer(session, str((scope.get("client") or ("",))[0]))
    return await to_thread.run_sync(peer.alive)


def _host_name(address: str) -> str:
    try:
        parts = urlsplit(address)
        return "" if parts.username is not None else (parts.hostname or "").rstrip(".")
    except ValueError:
        return ""


def _same_origin(headers: Headers, *, required: bool = False) -> bool:
    origin = headers.get("origin")
    if origin is None:
        return not required
    return urlsplit(origin).netloc.lower() == headers.get("host", "").lower()


def cookie_of(headers: Headers) -> str:
    """The session cookie of a request; empty when there is none."""
    try:
        jar: SimpleCookie = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return ""
    return jar[COOKIE].value if COOKIE in jar else ""
