"""Documents, their pages, page images and originals. What a user may not read answers like what does not exist."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response

from server.errors import hidden_if_unreadable
from server.state import call, engine_of, state_of
from strongroom.errors import UsageError
from strongroom.layout import boxes_for
from strongroom.types import (
    DeletionReceipt,
    DocumentDetail,
    DocumentInfo,
    DoubtfulPage,
    PersonalFilter,
    Status,
    StoredChunk,
    VerifyReport,
)
from strongroom.wire import PageReply, dumps, without_layout
from strongroom.words import DOUBTFUL

_MOST_PAGES = 10_000_000  # more than any document has, and still a number that the catalogue can compare

router = APIRouter(prefix="/api", tags=["documents"])


def _json(value: object, kind: object = None) -> Response:
    return Response(dumps(value, kind=kind), media_type="application/json")


@router.get("/documents", responses={200: {"model": list[DocumentInfo]}})
async def documents(
    request: Request, collection: str | None = None, personal: Annotated[tuple[PersonalFilter, ...], Query()] = ()
) -> Response:
    """Every document the asker may read, of one collection or of all; with `personal`, those in which one of these
    kinds of personal data was found (`any`: of any kind)."""
    found = await call(request, engine_of(request).documents, collection)
    return _json([d for d in found if not personal or d.holds(personal)], list[DocumentInfo])


@router.get("/documents/{document_id}", responses={200: {"model": DocumentInfo}})
async def document(request: Request, document_id: str) -> Response:
    """One document's facts."""
    with hidden_if_unreadable():
        return _json(await call(request, engine_of(request).document, document_id))


@router.get("/documents/{document_id}/details", responses={200: {"model": DocumentDetail}})
async def details(request: Request, document_id: str) -> Response:
    """One document's versions, its pages without their text, and what lies inside it."""
    with hidden_if_unreadable():
        return _json(await call(request, engine_of(request).details, document_id))


@router.get("/documents/{document_id}/chunks", responses={200: {"model": list[StoredChunk]}})
async def chunks(request: Request, document_id: str) -> Response:
    """The chunks of one document that answer questions, in order. Goes on record as a reading."""
    with hidden_if_unreadable():
        return _json(await call(request, engine_of(request).chunks, document_id), list[StoredChunk])


@router.get("/doubtful-pages", responses={200: {"model": list[DoubtfulPage]}})
async def doubtful_pages(
    request: Request, below: Annotated[float, Query(gt=0, le=1)] = DOUBTFUL, collection: str | None = None
) -> Response:
    """Pages that OCR was not sure of, least sure first."""
    found = await call(request, engine_of(request).doubtful_pages, below, collection=collection)
    return _json(found, list[DoubtfulPage])


@router.get("/documents/{document_id}/pages/{index}", responses={200: {"model": PageReply}})
async def page(
    request: Request,
    document_id: str,
    index: Annotated[int, Path(le=_MOST_PAGES)],
    start: Annotated[int | None, Query(ge=0)] = None,
    end: Annotated[int | None, Query(ge=0)] = None,
) -> Response:
    """A page's text and sizes, with the boxes of `[start, end)` when both are given. `index` counts from 0."""
    if (start is None) != (end is None):
        raise UsageError("`start` and `end` go together", hint="Give both or neither.")
    with hidden_if_unreadable():
        view = await call(request, engine_of(request).page, document_id, index)
    boxes = boxes_for(view.layout, start, end) if start is not None and end is not None else ()
    return _json(PageReply(without_layout(view), boxes))


@router.get("/documents/{document_id}/pages/{index}/image.png", response_class=Response)
async def page_image(
    request: Request,
    document_id: str,
    index: Annotated[int, Path(le=_MOST_PAGES)],
    dpi: Annotated[int, Query(ge=36, le=300)] = 110,
) -> Response:
    """The page as displayed, as PNG. 404 for formats that have no page image."""
    with hidden_if_unreadable():
        png = await call(request, engine_of(request).page_image, document_id, index, dpi=dpi)
    return Response(png, media_type="image/png")


@router.get("/documents/{document_id}/original", response_class=Response)
async def original(request: Request, document_id: str) -> Response:
    """The file as it was ingested, always as a download: its content is untrusted and is never shown inline."""
    engine = engine_of(request)
    with hidden_if_unreadable():
        info = await call(request, engine.document, document_id)
    data = await call(request, engine.original, document_id)  # whoever may read it is told what else is needed
    headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(info.name, safe='')}"}
    return Response(data, media_type="application/octet-stream", headers=headers)


@router.delete("/documents/{document_id}", responses={200: {"model": DeletionReceipt}})
async def delete(request: Request, document_id: str) -> Response:
    """Destroy a document; the reply is the receipt."""
    return _json(await call(request, engine_of(request).delete, document_id))


@router.get("/collections", responses={200: {"model": list[str]}})
async def collections(request: Request) -> Response:
    """Names of the collections the asker may read."""
    return _json(await call(request, engine_of(request).collections), list[str])


@router.get("/status", responses={200: {"model": Status}})
async def status(request: Request) -> Response:
    """Counts, models and versions."""
    return _json(await call(request, engine_of(request).status))


@router.post("/verify", responses={200: {"model": VerifyReport}})
async def verify(request: Request) -> Response:
    """Compare catalogue, originals and index, one run at a time."""
    async with state_of(request).verifying:
        return _json(await call(request, engine_of(request).verify))
