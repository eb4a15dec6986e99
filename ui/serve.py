"""Serve the UI: one Streamlit ASGI app under uvicorn, behind our gate, with our routes for page images."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from strongroom.connections import with_proxies
from strongroom.listen import bind, serve
from strongroom.tls import Tls
from ui import connection
from ui.files import ROUTES
from ui.gate import Gate, content_security_policy
from ui.theme import OPTIONS

if TYPE_CHECKING:
    from starlette.types import ASGIApp

log = logging.getLogger("strongroom.ui")


def build_app(
    *,
    server_url: str,
    token: str,
    certificate: str = "",
    public_hosts: frozenset[str] = frozenset(),
    secure: bool = False,
) -> ASGIApp:
    """The UI as an ASGI app. One a process: Streamlit's options and the server connection are process-wide.

    By `token` the server believes what this UI says of a browser's address. `secure` marks cookies for TLS only; set it
    behind a TLS proxy. `certificate` is the one that the server must show.
    """
    import streamlit
    from streamlit.web import bootstrap

    bootstrap.load_config_options(OPTIONS)
    connection.configure(server_url, token, certificate)
    app = streamlit.App(
        Path(__file__).with_name("script.py"),
        routes=ROUTES,
        on_script_error=_on_error,
    )
    index = Path(streamlit.__file__).parent / "static" / "index.html"
    return Gate(
        app,
        policy=content_security_policy(index),
        public_hosts=public_hosts,
        secure=secure,
    )


def _on_error(exc: Exception) -> None:
    # Streamlit shows a generic message (`client.showErrorDetails`); the type alone goes to the log, as a message
    # could hold words of a document.
    log.error("a page failed: %s", type(exc).__name__)


def run(
    *,
    server_url: str,
    token: str,
    host: str = "127.0.0.1",
    port: int = 8601,
    allow_remote: bool = False,
    public_hosts: frozenset[str] = frozenset(),
    secure: bool = False,
    certificate: str = "",
    tls: Tls | None = None,
    proxies: Iterable[str] = (),
) -> None:
    """Serve until SIGINT or SIGTERM. Raises `NotPermittedError` for a public address without `allow_remote`.

    `certificate` is the one that the server must show; `tls` is the UI's own. `proxies` are
    addresses in front that speak for many people.
    """
    sock = bind(host, port, allow_remote=allow_remote)
    app = build_app(
        server_url=server_url,
        token=token,
        certificate=certificate,
        public_hosts=public_hosts,
        secure=secure or tls is not None,
    )
    serve(app, sock, tls=tls, patience=with_proxies(proxies))
