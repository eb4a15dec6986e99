"""Search and ask. An answer is a stream of server-sent events, one for each event of the engine."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import aclosing

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from server.errors import hidden_if_unreadable
from server.events import Counter, EventStream
from server.schema import takes
from server.state import State, call, engine_of, read_request, state_of, user_of
from strongroom.types import (
    Approval,
    ApprovalRequest,
    AskEvent,
    AskRequest,
    SearchRequest,
    SearchResult,
    StageEvent,
)
from strongroom.wire import dumps

router = APIRouter(prefix="/api", tags=["answers"])


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
    state, engine = state_of(request), engine_of(request)
    stream: EventStream[AskEvent] = EventStream(
        Counter(state.asks, state.line, state.settings.heartbeat, state.streams),
        user_of(request),
        lambda cancel: engine.ask(wanted, cancel=cancel),
        waiting=lambda before: StageEvent("waiting", f"{before} before you"),
        what="an answer",
    )
    return StreamingResponse(_told(state, stream), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


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


async def _told(state: State, stream: EventStream[AskEvent]) -> AsyncIterator[bytes]:
    """The answer's events, counted and timed."""
    started, first, end = time.monotonic(), True, "left"

    def seen(event: AskEvent) -> None:
        nonlocal first, end
        if event.kind == "text" and first:
            first = False
            state.metrics.first_token.observe(time.monotonic() - started)
        elif event.kind == "answer":
            end = "abstained" if event.answer.abstained else "answered"
        elif event.kind == "error":
            end = "error"

    state.metrics.asking.inc()
    try:
        async with aclosing(stream.events(seen)) as pieces:
            async for piece in pieces:
                yield piece
    finally:
        state.metrics.asking.dec()
        state.metrics.answers.labels(end).inc()
