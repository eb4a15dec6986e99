"""Search and ask. An answer is a stream of server-sent events, one for each event of the engine."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from server.errors import UnexpectedError, hidden_if_unreadable, log_defect
from server.limits import Ticket
from server.schema import takes
from server.state import State, call, engine_of, read_request, state_of, user_of
from strongroom.errors import StrongroomError
from strongroom.ports import Engine
from strongroom.types import (
    Approval,
    ApprovalRequest,
    AskEvent,
    AskRequest,
    ErrorEvent,
    SearchRequest,
    SearchResult,
    StageEvent,
)
from strongroom.wire import dump_ask_event, dump_sse, dumps

router = APIRouter(prefix="/api", tags=["answers"])

_HEARTBEAT = b": waiting\n\n"


@router.post("/search", openapi_extra=takes(SearchRequest), responses={200: {"model": SearchResult}})
async def search(request: Request) -> Response:
    """Passages for a question, best first."""
    wanted = await read_request(request, SearchRequest)
    with state_of(request).metrics.searches.time():
        result = await call(request, engine_of(request).search, wanted)
    return Response(dumps(result), media_type="application/json")


@router.post("/ask", openapi_extra=takes(AskRequest))
async def ask(request: Request) -> Response:
    """Stream an answer. Each event's name is its `kind`; comment lines are heartbeats. Leaving cancels the answer.

    While others are answered first, the stage is `waiting` and its detail says how many come before.
    """
    wanted = await read_request(request, AskRequest)
    stream = _AskStream(state_of(request), engine_of(request), wanted, user=user_of(request))
    return StreamingResponse(stream.events(), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


@router.post("/approvals", openapi_extra=takes(ApprovalRequest), responses={200: {"model": Approval}})
async def approve(request: Request) -> Response:
    """Keep a judgement of an answer: these words of a document answer the question, or they do not."""
    wanted = await read_request(request, ApprovalRequest)
    with hidden_if_unreadable():
        return Response(dumps(await call(request, engine_of(request).approve, wanted)), media_type="application/json")


@router.get("/approvals", responses={200: {"model": list[Approval]}})
async def approvals(request: Request) -> Response:
    """Judgements about documents that the asker may read, oldest first."""
    kept = await call(request, engine_of(request).approvals)
    return Response(dumps(kept, kind=list[Approval]), media_type="application/json")


@router.delete("/approvals/{approval_id}", status_code=204, response_class=Response)
async def withdraw(request: Request, approval_id: str) -> Response:
    """Delete a judgement."""
    await call(request, engine_of(request).withdraw, approval_id)
    return Response(status_code=204)


class _AskStream:
    """Carries events from the engine's blocking iterator, in a pool thread, to the response on the event loop."""

    def __init__(self, state: State, engine: Engine, wanted: AskRequest, *, user: str) -> None:
        state.line.refuse_when_long(user)
        self._state = state
        self._user = user
        self._engine = engine
        self._wanted = wanted
        self._cancel = threading.Event()
        self._queue: asyncio.Queue[AskEvent | None] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()

    async def events(self) -> AsyncIterator[bytes]:
        """Server-sent events. Closing this (the client left, the server stops) cancels the generation."""
        started, first, end = time.monotonic(), True, "left"
        context = contextvars.copy_context()
        ticket = self._state.line.enter(self._user)
        ticket.when_called(lambda: self._state.asks.submit(context.run, self._produce, ticket))
        self._state.metrics.asking.inc()
        told: int | None = None
        try:
            while True:
                if not ticket.called and told != ticket.ahead:
                    told = ticket.ahead
                    yield _sse(StageEvent("waiting", f"{told} before you"))
                try:
                    event = await asyncio.wait_for(self._queue.get(), self._state.settings.heartbeat)
                except TimeoutError:
                    yield _HEARTBEAT
                    continue
                if event is None:
                    return
                if event.kind == "text" and first:
                    first = False
                    self._state.metrics.first_token.observe(time.monotonic() - started)
                elif event.kind == "answer":
                    end = "abstained" if event.answer.abstained else "answered"
                elif event.kind == "error":
                    end = "error"
                yield _sse(event)
        finally:
            self._cancel.set()
            if not ticket.called:
                self._state.line.leave(ticket)
            self._state.metrics.asking.dec()
            self._state.metrics.answers.labels(end).inc()

    def _produce(self, ticket: Ticket) -> None:
        try:
            if not self._cancel.is_set():
                for event in self._engine.ask(self._wanted, cancel=self._cancel):
                    self._put(event)
                    if self._cancel.is_set():
                        break
        except StrongroomError as exc:
            self._put(ErrorEvent(str(exc), exc.hint, int(exc.exit_code)))
        except Exception as exc:  # noqa: BLE001 - the outermost edge of the answering thread
            log_defect("an answer", exc)
            defect = UnexpectedError()
            self._put(ErrorEvent(str(defect), defect.hint, int(defect.exit_code)))
        finally:
            self._put(None)
            self._soon(self._state.line.leave, ticket)

    def _put(self, event: AskEvent | None) -> None:
        self._soon(self._queue.put_nowait, event)

    def _soon(self, function: Callable[..., None], *args: object) -> None:
        with suppress(RuntimeError):  # the loop has closed: nobody waits any more
            self._loop.call_soon_threadsafe(function, *args)


def _sse(event: AskEvent) -> bytes:
    return dump_sse(event.kind, dump_ask_event(event))
