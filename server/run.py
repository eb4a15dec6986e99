"""Run the HTTP server, and tell clients on this machine where it is for as long as it runs."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from server.app import create_app
from server.settings import ServerSettings
from server.state import Doors, EngineFor
from strongroom.client.server_info import ServerInfo, remove_server_info, write_server_info
from strongroom.listen import BackgroundServer, bind, serve, url_of


def new_token() -> str:
    """A token for one run of the server."""
    return secrets.token_urlsafe(32)


def run(
    engine_for: EngineFor,
    *,
    data_dir: Path,
    settings: ServerSettings,
    doors: Doors | None = None,
    host: str = "127.0.0.1",
    port: int = 8600,
    allow_remote: bool = False,
    token: str | None = None,
    ready: Callable[[], bool] | None = None,
) -> None:
    """Serve in this thread until SIGINT or SIGTERM.

    Raises `NotPermittedError` for an address that is not loopback without `allow_remote`.
    """
    token = token or new_token()
    app = create_app(engine_for, token=token, settings=settings, doors=doors, ready=ready)
    sock = bind(host, port, allow_remote=allow_remote)
    tls = settings.tls
    info = write_server_info(data_dir, url=url_of(sock, tls), token=token, certificate="" if tls is None else tls.pem())
    try:
        serve(app, sock, tls=tls, patience=settings.patience, before_stop=app.state.strongroom.streams.stop)
    finally:
        remove_server_info(data_dir, info)
        sock.close()


@contextmanager
def running(
    engine_for: EngineFor,
    *,
    data_dir: Path,
    settings: ServerSettings,
    doors: Doors | None = None,
    host: str = "127.0.0.1",
    port: int = 8600,
    allow_remote: bool = False,
    token: str | None = None,
    ready: Callable[[], bool] | None = None,
    page: str = "",
) -> Iterator[ServerInfo]:
    """Serve in a background thread for the time of the block. `page` is where people will find the UI beside it."""
    token = token or new_token()
    app = create_app(engine_for, token=token, settings=settings, doors=doors, ready=ready)
    sock = bind(host, port, allow_remote=allow_remote)
    tls = settings.tls
    streams = app.state.strongroom.streams
    with BackgroundServer(app, sock, tls=tls, patience=settings.patience, before_stop=streams.stop):
        certificate = "" if tls is None else tls.pem()
        info = write_server_info(data_dir, url=url_of(sock, tls), token=token, certificate=certificate, page=page)
        try:
            yield info
        finally:
            remove_server_info(data_dir, info)
