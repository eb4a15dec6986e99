"""Blocking iterators of events as server-sent events: what `ask` and the work over whole documents stream through."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from server.errors import UnexpectedError, log_defect
from server.limits import Line, Ticket
from strongroom.errors import StrongroomError
from strongroom.types import AskEvent
from strongroom.whole import WholeEvent
from strongroom.wire import dump_event, dump_sse, error_event

_HEARTBEAT = b": waiting\n\n"


E = TypeVar("E", AskEvent, WholeEvent)
"""What is streamed; an event's `kind` names the server-sent event."""


@dataclass(frozen=True, slots=True)
class Counter:
    """Where a kind of work is served: threads, the line before them, and seconds between heartbeats."""

    pool: ThreadPoolExecutor
    line: Line
    heartbeat: float


class EventStream(Generic[E]):
    """Carries events from a blocking iterator, in a pool thread, to the response on the event loop.

    `produce(cancel)` gives the iterator; what it raises becomes the last event. `waiting(n)` is the event that
    tells how many come before. Raises `TooManyRequestsError` where too much of this person's waits already.
    """

    def __init__(
        self,
        counter: Counter,
        user: str,
        produce: Callable[[threading.Event], Iterator[E]],
        *,
        waiting: Callable[[int], E],
        what: str,
    ) -> None:
        counter.line.refuse_when_long(user)
        self._counter, self._user, self._what = counter, user, what
        self._produce: Callable[[threading.Event], Iterator[E]] = produce
        self._waiting: Callable[[int], E] = waiting
        self._cancel = threading.Event()
        self._queue: asyncio.Queue[E | None] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()

    async def events(self, seen: Callable[[E], None] = lambda _event: None) -> AsyncGenerator[bytes, None]:
        """Server-sent events. Closing this (the client left, the server stops) cancels the work."""
        context = contextvars.copy_context()
        ticket = self._counter.line.enter(self._user)
        ticket.when_called(lambda: self._counter.pool.submit(context.run, self._run, ticket))
        told: int | None = None
        try:
            while True:
                if not ticket.called and told != ticket.ahead:
                    told = ticket.ahead
                    yield self._sse(self._waiting(told))
                try:
                    event = await asyncio.wait_for(self._queue.get(), self._counter.heartbeat)
                except TimeoutError:
                    yield _HEARTBEAT
                    continue
                if event is None:
                    return
                seen(event)
                yield self._sse(event)
        finally:
            self._cancel.set()
            if not ticket.called:
                self._counter.line.leave(ticket)

    def _run(self, ticket: Ticket) -> None:
        try:
            if not self._cancel.is_set():
                for event in self._produce(self._cancel):
                    self._put(event)
                    if self._cancel.is_set():
                        break
        except StrongroomError as exc:
            self._put(error_event(exc))
        except Exception as exc:  # noqa: BLE001 - the outermost edge of the working thread
            log_defect(self._what, exc)
            self._put(error_event(UnexpectedError()))
        finally:
            self._put(None)
            self._soon(self._counter.line.leave, ticket)

    def _put(self, event: E | None) -> None:
        self._soon(self._queue.put_nowait, event)

    def _soon(self, function: Callable[..., None], *args: object) -> None:
        with suppress(RuntimeError):  # the loop has closed: nobody waits any more
            self._loop.call_soon_threadsafe(function, *args)

    def _sse(self, event: E) -> bytes:
        return dump_sse(event.kind, dump_event(event))
