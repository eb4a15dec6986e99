"""Work over whole documents: a stream of server-sent events, as an answer is."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from server.events import Counter, EventStream
from server.schema import takes
from server.state import engine_of, read_request, state_of, user_of
from strongroom.whole import WholeEvent, WholeProgress, WholeRequest

router = APIRouter(prefix="/api", tags=["whole documents"])


@router.post("/whole", openapi_extra=takes(WholeRequest))
async def whole(request: Request) -> Response:
    """Summarise, compare, extract, answer a sheet, or lay out a timeline, over whole documents.

    Each event's name is its `kind`. Leaving stops the work; what is done is kept, so that a repetition goes on
    from there.
    """
    wanted = await read_request(request, WholeRequest)
    state, engine = state_of(request), engine_of(request)
    stream: EventStream[WholeEvent] = EventStream(
        Counter(state.works, state.work_line, state.settings.heartbeat, state.streams),
        user_of(request),
        lambda cancel: engine.whole(wanted, cancel=cancel),
        waiting=lambda before: WholeProgress(0, 0, "documents", 0.0, f"waiting: {before} before you"),
        what="work over whole documents",
    )
    return StreamingResponse(stream.events(), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
