"""HTTP connections that nobody can hold open by doing nothing: uvicorn's protocol, with deadlines.

uvicorn waits without end for the first byte, for the rest of a head, for the next byte of a body, and for a reader that
takes nothing. A few hundred such connections from one machine keep everybody else out ("Slowloris"). Here each
of them has its time, and one address its share. A client that the application itself keeps waiting is not hurried.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

log = logging.getLogger("strongroom.connections")

LOOPBACK = frozenset({"127.0.0.1", "::1", "::ffff:127.0.0.1"})


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds, and bytes a second. `many` are addresses that speak for many people (this machine's UI, a proxy): they
    have no share.
    """

    head: float = 10.0
    body: float = 20.0
    body_rate: int = 1024
    reader: float = 60.0
    connections: int = 512
    connections_each: int = 64
    many: frozenset[str] = LOOPBACK


def with_proxies(addresses: Iterable[str]) -> Patience:
    """The defaults, where these addresses speak for many people as well."""
    return Patience(many=LOOPBACK | frozenset(addresses))


def protocol(patience: Patience) -> type[H11Protocol]:
    """The protocol class for `uvicorn.Config(http=…)`."""
    return type("PatientProtocol", (_Patient,), {"patience": patience})


class _Patient(H11Protocol):
    patience = Patience()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._waiting_for = ""
        self._timer: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None
        self._received = 0
        self._held_back = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        host = self.client[0] if self.client else ""
        mine = sum(1 for other in self.connections if (getattr(other, "client", None) or ("",))[0] == host)
        if host not in self.patience.many and mine > self.patience.connections_each:
            log.warning("an address holds more than %d connections: refused", self.patience.connections_each)
            transport.abort()
            return
        self._look()

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        self._received = 0
        super().on_response_complete()
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._timer, self._stall):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stall = self.loop.call_later(self.patience.reader, self._give_up, "reads nothing")

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stall is not None:
            self._stall.cancel()

    # ------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Start the deadline of what is awaited now; one that already runs goes on, however many bytes trickle in."""
        state = self.conn.their_state
        wanted = {h11.IDLE: "head", h11.SEND_BODY: "body"}.get(state, "")
        if wanted == "head" and self.cycle is not None and not self._received:
            wanted = ""  # between two requests uvicorn's own keep-alive time runs
        if wanted == self._waiting_for:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._waiting_for = wanted
        self._received = 0
        self._held_back = False
        if wanted == "head":
            self._timer = self.loop.call_later(self.patience.head, self._give_up, "sends no request")
        elif wanted == "body":
            self._timer = self.loop.call_later(self.patience.body, self._weigh_body)

    def _weigh_body(self) -> None:
        """Close unless enough of the body came since the last look, or we ourselves had stopped reading."""
        held_back, self._held_back = self._held_back, self.flow.read_paused
        enough = self._received >= self.patience.body_rate * self.patience.body
        if not (enough or held_back or self.flow.read_paused):
            self._give_up("sends its body too slowly")
            return
        self._received = 0
        self._timer = self.loop.call_later(self.patience.body, self._weigh_body)

    def _give_up(self, why: str) -> None:
        log.info("connection closed: the client %s", why)
        self.transport.abort()
