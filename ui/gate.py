"""What stands before every page, asset and websocket: host names, origin, sign-in, and security headers.

Plain ASGI and without Streamlit, so it can be tested alone. Signing in exchanges a one-time code for a cookie that
scripts cannot read and other sites cannot send.
"""

from __future__ import annotations

import base64
import hashlib
import re
from html import escape
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from strongroom.signin import CodeBook
from ui.sessions import COOKIE, Sessions

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
        codes: CodeBook,
        sessions: Sessions,
        policy: str,
        public_hosts: frozenset[str] = frozenset(),
        secure: bool = False,
    ) -> None:
        self.app = app
        self._codes = codes
        self._sessions = sessions
        self._hosts = LOOPBACK_NAMES | {host.lower() for host in public_hosts}
        self._secure = secure
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
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        return wrapped

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers, path = Headers(scope=scope), scope["path"]
        response: Response | None = None
        if not self._host_known(headers):
            response = PlainTextResponse("This address is not known here.", 421)
        elif scope["method"] not in _SAFE_METHODS and not _same_origin(headers):
            response = PlainTextResponse("Refused: the request came from another site.", 403)
        elif path == "/healthz":
            response = PlainTextResponse("ok")
        elif path == "/login":
            response = self._login(scope)
        elif path == "/logout":
            self._sessions.close(_cookie(headers))
            response = _page(
                "Signed out",
                "To sign in again, run <code>strongroom link</code> on this machine.",
                200,
            )
            response.delete_cookie(COOKIE, path="/")
        elif not self._sessions.touch(_cookie(headers)):
            response = _page("Sign in", "Open the sign-in link that <code>strongroom up</code> printed.", 401)
        if response is not None:
            await response(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        cookie = _cookie(headers)
        # A websocket ignores the same-origin rule: without this check any site could talk through a signed-in browser.
        if not (self._host_known(headers) and _same_origin(headers, required=True) and self._sessions.touch(cookie)):
            await receive()  # websocket.connect
            await send({"type": "websocket.close", "code": 1008})
            return

        async def watched() -> Message:
            message = await receive()
            if message["type"] == "websocket.receive" and not self._sessions.touch(cookie):
                return {"type": "websocket.disconnect", "code": 1008}
            return message

        await self.app(scope, watched, send)

    def _login(self, scope: Scope) -> Response:
        code = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if not self._codes.redeem(code):
            return _page(
                "This link has been used or has expired",
                "Each sign-in link works once. Run <code>strongroom link</code> on this machine for a fresh one.",
                403,
            )
        response = RedirectResponse("/", 303)
        response.set_cookie(
            COOKIE, self._sessions.open(), path="/", httponly=True, samesite="strict", secure=self._secure
        )
        return response

    def _host_known(self, headers: Headers) -> bool:
        # A page on another site can point its own name at 127.0.0.1 (DNS rebinding); its requests carry that name.
        return _host_name(f"//{headers.get('host', '')}") in self._hosts


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


def _cookie(headers: Headers) -> str:
    try:
        jar: SimpleCookie = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return ""
    return jar[COOKIE].value if COOKIE in jar else ""


def _page(title: str, body: str, status: int) -> HTMLResponse:
    """A small page of our own. `body` is markup from this module, never from outside."""
    return HTMLResponse(
        f"""<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>{escape(title)} · Strongroom</title>
<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark"><style>
body{{font:17px/1.6 system-ui,sans-serif;max-width:34rem;margin:18vh auto;padding:0 1.5rem}}
h1{{font-size:1.35rem;font-weight:600;margin:0 0 .5rem}}code{{font-size:.95em}}p{{margin:0;opacity:.8}}
</style><h1>{escape(title)}</h1><p>{body}</p></html>""",
        status,
    )
