"""Listen and serve, for the server and the UI alike: loopback unless told otherwise, TLS where there is a certificate,
deadlines for slow clients, no access log, a graceful end."""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from strongroom.errors import NotPermittedError, StrongroomError

if TYPE_CHECKING:
    import uvicorn

    from strongroom.connections import Patience
    from strongroom.tls import Tls

_GRACE_SECONDS = 5
STREAMS_SECONDS = 15.0  # in which a stopping server lets answers and long work come to an end of their own
_KEEP_ALIVE_SECONDS = 15
_LONGEST_HEAD = 32 << 10  # a file's URI and name in headers of an upload have 4,096 characters each, percent-encoded


def is_loopback(host: str) -> bool:
    """True for loopback addresses and the name `localhost`."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def bind(host: str, port: int, *, allow_remote: bool = False) -> socket.socket:
    """A listening socket. Port 0 picks a free one.

    Raises `NotPermittedError` for an address that is not loopback without `allow_remote`, and `StrongroomError` when
    the port is taken.
    """
    if not allow_remote and not is_loopback(host):
        raise NotPermittedError(
            f"refusing to listen on {host}: it is not a loopback address",
            hint="Set `tls_certificate` and `tls_key`, or put a TLS proxy in front; then set `allow_remote = true`.",
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sets TCP_NODELAY only where the socket names its protocol; without it a reply waits 40 ms for an ACK
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(128)
    except OSError as exc:
        sock.close()
        raise StrongroomError(
            f"cannot listen on {host} port {port}: {exc.strerror}", hint="Choose another port, or stop what uses it."
        ) from exc
    return sock


def reachable(host: str) -> str:
    """Where this machine reaches what listens on `host`: loopback for the addresses that mean "every interface"."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def url_of(sock: socket.socket, tls: Tls | None = None) -> str:
    """The address by which this machine reaches a bound socket."""
    host, port = sock.getsockname()[:2]
    host = reachable(host)
    scheme = "http" if tls is None else "https"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _uvicorn(
    app: Any, tls: Tls | None, patience: Patience | None, before_stop: Callable[[], None] | None
) -> uvicorn.Server:
    import asyncio

    import uvicorn

    from strongroom.connections import Patience, protocol

    patience = patience or Patience()
    context = None if tls is None else tls.context()
    secured: dict[str, Any] = (
        {}
        if tls is None
        # uvicorn speaks TLS where a file is named; what it speaks is the context of ours.
        else {"ssl_certfile": tls.certificate, "ssl_context_factory": lambda _config, _default: context}
    )
    config = uvicorn.Config(
        app,
        **secured,
        http=protocol(patience),
        limit_concurrency=patience.connections,
        h11_max_incomplete_event_size=_LONGEST_HEAD,
        log_level="warning",
        access_log=False,  # request lines hold document ids and sign-in codes
        server_header=False,
        date_header=False,
        proxy_headers=False,
        # Longer than clients keep an idle connection (httpx: 5 s), or one closes what the other is about to use.
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        ws_max_size=64 << 20,
    )

    class Server(uvicorn.Server):
        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            if before_stop is not None:
                await asyncio.to_thread(before_stop)
            await super().shutdown(sockets)

    return Server(config)


def serve(
    app: Any,
    sock: socket.socket,
    *,
    tls: Tls | None = None,
    patience: Patience | None = None,
    before_stop: Callable[[], None] | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM (in the main thread), then close connections within seconds.

    `before_stop` is called, in a thread, while they are still open.
    """
    _uvicorn(app, tls, patience, before_stop).run(sockets=[sock])


class BackgroundServer:
    """The same server in a thread of its own; a context manager that stops it."""

    def __init__(
        self,
        app: Any,
        sock: socket.socket,
        *,
        tls: Tls | None = None,
        patience: Patience | None = None,
        before_stop: Callable[[], None] | None = None,
    ) -> None:
        self.url = url_of(sock, tls)
        self._server = _uvicorn(app, tls, patience, before_stop)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [sock]}, name="http-server", daemon=True
        )

    def start(self, *, timeout: float = 30.0) -> BackgroundServer:
        """Start and wait until requests are answered. Raises `StrongroomError` when that takes too long."""
        self._thread.start()
        deadline = time.monotonic() + timeout
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise StrongroomError(f"the server at {self.url} did not start", hint="See the log above.")
            time.sleep(0.01)
        return self

    def stop(self) -> None:
        """Ask it to stop and wait. Safe to call twice."""
        self._server.should_exit = True
        if self._thread.ident is not None:
            self._thread.join(STREAMS_SECONDS + _GRACE_SECONDS + 5)

    def __enter__(self) -> BackgroundServer:
        return self.start()

    def __exit__(self, *_exc: object) -> None:
        self.stop()
