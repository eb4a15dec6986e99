"""Liveness, readiness and metrics. Open to whoever reaches the port, so they hold no data."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from server.errors import log_defect
from server.state import call, state_of

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz")
async def readyz(request: Request) -> Response:
    """Models are loaded and the index is open; 503 until then."""
    try:
        ready = await call(request, state_of(request).ready)
    except Exception as exc:  # noqa: BLE001 - whatever fails here means "not ready"
        log_defect("the readiness check", exc)
        ready = False
    return JSONResponse({"ready": ready}, status_code=200 if ready else 503)


@router.get("/metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    """Prometheus metrics."""
    return Response(state_of(request).metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")
