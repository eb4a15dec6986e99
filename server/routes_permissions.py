"""Groups, grants and walls. What a person may not decide about answers like what does not exist."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from server.schema import takes
from server.state import call, engine_of, read_request
from strongroom.engine import Permissions
from strongroom.types import Clearance, ClearanceRequest, Grant, GrantRequest, Group, Wall
from strongroom.wire import dumps

router = APIRouter(prefix="/api", tags=["permissions"])


def _permissions(request: Request) -> Permissions:
    return engine_of(request).permissions


def _json(value: object, kind: object = None) -> Response:
    return Response(dumps(value, kind=kind), media_type="application/json")


@router.get("/groups", responses={200: {"model": list[Group]}})
async def groups(request: Request) -> Response:
    """Groups with their members. For administrators."""
    return _json(await call(request, _permissions(request).groups), list[Group])


@router.put("/groups/{group}/members/{user}", status_code=204, response_class=Response)
async def join(request: Request, group: str, user: str) -> Response:
    """Put a user into a group. 409 where a wall forbids it. For administrators."""
    await call(request, _permissions(request).join, group, user)
    return Response(status_code=204)


@router.delete("/groups/{group}/members/{user}", status_code=204, response_class=Response)
async def leave(request: Request, group: str, user: str) -> Response:
    """Take a user out of a group. For administrators."""
    await call(request, _permissions(request).leave, group, user)
    return Response(status_code=204)


@router.get("/grants", responses={200: {"model": list[Grant]}})
async def grants(request: Request, collection: str | None = None, document: str | None = None) -> Response:
    """Grants of a collection (by name) or a document (by id), or all that the asker decides about."""
    found = await call(request, _permissions(request).grants, collection=collection, document=document)
    return _json(found, list[Grant])


@router.post("/grants", openapi_extra=takes(GrantRequest), responses={200: {"model": Grant}})
async def grant(request: Request) -> Response:
    """Allow or deny. 409 where a wall forbids it."""
    wanted = await read_request(request, GrantRequest)
    return _json(await call(request, _permissions(request).grant, wanted))


@router.delete("/grants/{grant_id}", status_code=204, response_class=Response)
async def revoke(request: Request, grant_id: str) -> Response:
    """Take a grant away."""
    await call(request, _permissions(request).revoke, grant_id)
    return Response(status_code=204)


@router.get("/walls", responses={200: {"model": list[Wall]}})
async def walls(request: Request) -> Response:
    """Walls between groups. For administrators."""
    return _json(await call(request, _permissions(request).walls), list[Wall])


@router.put("/walls/{one}/{other}", responses={200: {"model": Wall}})
async def add_wall(request: Request, one: str, other: str) -> Response:
    """Keep two groups apart. 409 while they have somebody or something in common. For administrators."""
    return _json(await call(request, _permissions(request).add_wall, one, other))


@router.delete("/walls/{one}/{other}", status_code=204, response_class=Response)
async def remove_wall(request: Request, one: str, other: str) -> Response:
    """Take a wall away. For administrators."""
    await call(request, _permissions(request).remove_wall, one, other)
    return Response(status_code=204)


@router.get("/clearances", responses={200: {"model": list[Clearance]}})
async def clearances(request: Request) -> Response:
    """Requests for a second person's consent that the asker made or may decide on."""
    return _json(await call(request, _permissions(request).clearances), list[Clearance])


@router.post("/clearances", openapi_extra=takes(ClearanceRequest), responses={200: {"model": Clearance}})
async def ask(request: Request) -> Response:
    """Ask a second person to allow an export or a deletion."""
    wanted = await read_request(request, ClearanceRequest)
    return _json(await call(request, _permissions(request).ask, wanted))


@router.post("/clearances/{clearance_id}/allow", responses={200: {"model": Clearance}})
async def allow(request: Request, clearance_id: str) -> Response:
    """Allow what another person asked for."""
    return _json(await call(request, _permissions(request).decide, clearance_id, allow=True))


@router.post("/clearances/{clearance_id}/deny", responses={200: {"model": Clearance}})
async def deny(request: Request, clearance_id: str) -> Response:
    """Deny what another person asked for."""
    return _json(await call(request, _permissions(request).decide, clearance_id, allow=False))
