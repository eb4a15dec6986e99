"""Rules on who does not see which personal data: list, set, remove. For administrators."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from server.schema import takes
from server.state import call, engine_of, read_request
from strongroom.types import Withholding
from strongroom.wire import dumps

router = APIRouter(prefix="/api/withholding", tags=["privacy"])


@router.get("", responses={200: {"model": list[Withholding]}})
async def rules(request: Request) -> Response:
    """Every rule. A collection's own replaces the one for all collections (`collection` is null)."""
    found = await call(request, engine_of(request).withholding)
    return Response(dumps(found, kind=list[Withholding]), media_type="application/json")


@router.put("", status_code=204, openapi_extra=takes(Withholding), response_class=Response)
async def withhold(request: Request) -> Response:
    """Withhold kinds of personal data from a role. Counts from the next reading."""
    await call(request, engine_of(request).withhold, await read_request(request, Withholding))
    return Response(status_code=204)


@router.delete("", status_code=204, openapi_extra=takes(Withholding), response_class=Response)
async def lift(request: Request) -> Response:
    """Remove the rule of a role and a collection; its kinds do not matter."""
    await call(request, engine_of(request).withhold, await read_request(request, Withholding), remove=True)
    return Response(status_code=204)
