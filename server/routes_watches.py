"""Folders of the server's machine that it keeps in step: list, add, remove. For administrators."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from server.schema import takes
from server.state import call, engine_of, read_request
from strongroom.types import Watch
from strongroom.wire import dumps

router = APIRouter(prefix="/api/watches", tags=["watches"])


@router.get("", responses={200: {"model": list[Watch]}})
async def watches(request: Request) -> Response:
    """Every watch and what it is doing."""
    found = await call(request, engine_of(request).watches)
    return Response(dumps(found, kind=list[Watch]), media_type="application/json")


@router.post("", openapi_extra=takes(Watch), responses={200: {"model": Watch}})
async def add_watch(request: Request) -> Response:
    """Watch paths of the server's machine from now on, also after it was started again."""
    wanted = await read_request(request, Watch)
    added = await call(request, engine_of(request).add_watch, wanted)
    return Response(dumps(added), media_type="application/json")


@router.delete("/{watch_id}", status_code=204, response_class=Response)
async def remove_watch(request: Request, watch_id: str) -> Response:
    """Stop watching. Documents stay."""
    await call(request, engine_of(request).remove_watch, watch_id)
    return Response(status_code=204)
