"""Legal holds, retention rules and receipts of deletions. For administrators."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from server.schema import takes
from server.state import call, engine_of, read_request
from strongroom.engine import Keeping
from strongroom.types import Hold, HoldRequest, Retention, RetentionRun
from strongroom.wire import RetentionRule, dumps

router = APIRouter(prefix="/api", tags=["keeping"])


def _keeping(request: Request) -> Keeping:
    return engine_of(request).keeping


def _json(value: object, kind: object = None) -> Response:
    return Response(dumps(value, kind=kind), media_type="application/json")


@router.get("/holds", responses={200: {"model": list[Hold]}})
async def holds(request: Request) -> Response:
    """Every hold, oldest first."""
    return _json(await call(request, _keeping(request).holds), list[Hold])


@router.post("/holds", openapi_extra=takes(HoldRequest), responses={200: {"model": Hold}})
async def hold(request: Request) -> Response:
    """Keep a document or a collection as it is until the hold is lifted."""
    wanted = await read_request(request, HoldRequest)
    return _json(await call(request, _keeping(request).hold, wanted))


@router.delete("/holds/{hold_id}", status_code=204, response_class=Response)
async def lift(request: Request, hold_id: str) -> Response:
    """Lift a hold."""
    await call(request, _keeping(request).lift, hold_id)
    return Response(status_code=204)


@router.get("/retention", responses={200: {"model": list[Retention]}})
async def retention(request: Request) -> Response:
    """The rules in force, by collection."""
    return _json(await call(request, _keeping(request).retention), list[Retention])


@router.put("/retention", status_code=204, response_class=Response, openapi_extra=takes(RetentionRule))
async def keep_for(request: Request) -> Response:
    """Set how many days a collection's documents are kept after their last change; 0 keeps them for good."""
    rule = await read_request(request, RetentionRule)
    await call(request, _keeping(request).keep_for, rule.collection, rule.keep_days)
    return Response(status_code=204)


@router.post("/retention/apply", responses={200: {"model": RetentionRun}})
async def apply_retention(request: Request, dry_run: bool = False) -> Response:
    """Delete what outlived its rule; what a hold keeps is named and left."""
    return _json(await call(request, _keeping(request).apply_retention, dry_run=dry_run))


@router.delete("/collections", responses={200: {"model": list[str]}})
async def delete_collection(request: Request, name: str) -> Response:
    """Destroy a collection with all its documents; the reply holds their ids. Nothing goes while a hold covers one."""
    return _json(await call(request, _keeping(request).delete_collection, name), list[str])


@router.get("/receipts", responses={200: {"model": list[str]}})
async def receipts(request: Request) -> Response:
    """The receipt of every deletion, each as the canonical JSON that was signed."""
    return _json(await call(request, _keeping(request).receipts), list[str])
