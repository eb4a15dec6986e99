"""Blocking iterators of events as server-sent events: what `ask` and the work over whole documents stream through."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from server.errors import UnexpectedError, log_defect
from server.limits import Line, Ticket
from strongroom.errors import CancelledError, StrongroomError
from strongroom.listen import STREAMS_SECONDS
from strongroom.types import AskEvent
from strongroom.whole import WholeEvent
from strongroom.wire import dump_event, dump_sse, error_event

_HEARTBEAT = b": waiting\n\n"


E = TypeVar("E", AskEvent, WholeEvent)
"""What is streamed; an event's `kind` names the server-sent event."""


class Streams:
    """The streams that work, so that a server that stops ends them in order and before it closes what they read."""

    def __init__(self) -> None:
        self.stopping = False
        self._cancels: set[threading.Event] = set()
        self._changed = threading.Condition()

    @contextmanager
    def working(self, cancel: threading.Event) -> Iterator[None]:
        """For as long as a stream works in its thread."""
        with self._changed:
            self._cancels.add(cancel)
            if self.stopping:
                cancel.set()
        try:
            yield
        finally:
            with self._changed:
                self._cancels.discard(cancel)
                self._changed.notify_all()

    def stop(self) -> None:
        """Cancel all of them, and wait until they have ended; a while, for one that hangs."""
        with self._changed:
            self.stopping = True
            for cancel in self._cancels:
                cancel.set()
            self._changed.wait_for(lambda: not self._cancels, STREAMS_SECONDS)


@dataclass(frozen=True, slots=True)
class Counter:
    """Where a kind of work is served: threads, the line before them, seconds between heartbeats, all that is served."""

    pool: ThreadPoolExecutor
    line: Line
    heartbeat: float
    streams: Streams


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
        streams, finished = self._counter.streams, False
        try:
            with streams.working(self._cancel):
                if not self._cancel.is_set():
                    for event in self._produce(self._cancel):
                        self._put(event)
                        if self._cancel.is_set():
                            break
                    else:
                        finished = True
            if streams.stopping and not finished:
                self._put(error_event(_stopping()))
        except StrongroomError as exc:
            self._put(error_event(_stopping() if streams.stopping else exc))
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


def _stopping() -> CancelledError:
    return CancelledError("the server is stopping", hint="Repeat it when the server is back; what was done is kept.")
