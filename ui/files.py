"""Page images and originals for the signed-in browser, fetched from the server with its session.

They never go through Streamlit's media store, which hands a file to whoever knows its address.
"""

from __future__ import annotations

from urllib.parse import quote

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from strongroom.client.engine import HttpEngine
from strongroom.errors import StrongroomError
from ui.connection import COOKIE, peer

_DPIS = (36, 72, 110, 160)


def image_url(document_id: str, index: int, *, dpi: int = 110) -> str:
    """Address of a page image, on this very site."""
    return f"/files/{quote(document_id, safe='')}/pages/{index}.png?dpi={dpi}"


def original_url(document_id: str) -> str:
    """Address of the original as a download, on this very site."""
    return f"/files/{quote(document_id, safe='')}/original"


def _engine(request: Request) -> HttpEngine:
    return peer(request.cookies.get(COOKIE, "")).engine  # the gate has seen that it lives


async def _page_image(request: Request) -> Response:
    wanted = request.query_params.get("dpi", "")
    dpi = int(wanted) if wanted.isdigit() and int(wanted) in _DPIS else 110
    document_id, index = request.path_params["document_id"], request.path_params["index"]
    try:
        png = await to_thread.run_sync(lambda: _engine(request).page_image(document_id, index, dpi=dpi))
    except StrongroomError as exc:
        return PlainTextResponse(str(exc), exc.http_status)
    return Response(png, media_type="image/png")


async def _original(request: Request) -> Response:
    document_id = request.path_params["document_id"]
    try:
        info = await to_thread.run_sync(_engine(request).document, document_id)
        data = await to_thread.run_sync(_engine(request).original, document_id)
    except StrongroomError as exc:
        return PlainTextResponse(str(exc), exc.http_status)
    headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(info.name, safe='')}"}
    return Response(data, media_type="application/octet-stream", headers=headers)


ROUTES = [
    Route("/files/{document_id}/pages/{index:int}.png", _page_image),
    Route("/files/{document_id}/original", _original),
]
