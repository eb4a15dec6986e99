"""Upload jobs over HTTP: open, offer, send files, follow the events, close or cancel."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from pathlib import Path
from urllib.parse import unquote

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from server.errors import TooLargeError
from server.jobs import IngestJob
from server.schema import takes
from server.state import call, engine_of, read_request, state_of, user_of
from strongroom.errors import StrongroomError, UsageError
from strongroom.types import FileOutcome, IngestOptions, SourceFile
from strongroom.wire import JobRef, OfferReply, OfferRequest, UnchangedRequest, dumps

router = APIRouter(prefix="/api/ingest", tags=["ingest"])

_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,10}\Z")
_RESERVE = 256 << 20  # free disk space that uploads leave alone, so that the catalogue can always commit


class DiskFullError(StrongroomError):
    """The disk that uploads are spooled to has no room for this file."""

    http_status = 507


def _job(request: Request, job_id: str) -> IngestJob:
    return state_of(request).jobs.get(job_id, user_of(request))


@router.post("/jobs", openapi_extra=takes(IngestOptions), responses={200: {"model": JobRef}})
async def open_job(request: Request) -> Response:
    """Open a job. Files go to its collection; documents below its `roots` that were not offered are reported."""
    wanted = await read_request(request, IngestOptions)
    job = state_of(request).jobs.open(wanted, user=user_of(request), engine=engine_of(request))
    return Response(dumps(JobRef(job.id)), media_type="application/json")


@router.post("/jobs/{job_id}/offer", openapi_extra=takes(OfferRequest), responses={200: {"model": OfferReply}})
async def offer(request: Request, job_id: str) -> Response:
    """Tell what the client has; the reply names what to send. Everything offered ends as one outcome event."""
    limit = state_of(request).settings.max_offer_bytes
    offers = await read_request(request, OfferRequest, limit=limit)
    wanted = await call(request, _job(request, job_id).offer, offers)
    return Response(dumps(OfferReply(wanted)), media_type="application/json")


@router.put("/jobs/{job_id}/files", status_code=202, response_class=Response)
async def send_file(request: Request, job_id: str) -> Response:
    """Send one file: the raw body, its URI and name percent-encoded in `X-Strongroom-Uri` and `X-Strongroom-Name`.

    The body is read only when the job has room for it: a client that is faster than the models waits here.
    """
    job = _job(request, job_id)
    uri, name = _header(request, "x-strongroom-uri"), _header(request, "x-strongroom-name")
    settings = state_of(request).settings
    length = int(request.headers.get("content-length") or 0)
    if length > settings.max_file_bytes:
        raise _too_large(name, settings.max_file_bytes)
    await job.slot()
    try:
        if shutil.disk_usage(job.folder).free < length + _RESERVE:
            raise DiskFullError(f"no room to take {name}", hint="Free some space on the server's disk.")
        job.add(await _spool(request, job.folder, uri=uri, name=name, limit=settings.max_file_bytes))
    except FileNotFoundError:
        job.free_slot()
        job.refuse_if_closed()  # its folder goes when it ends, also in the middle of an upload
        raise
    except BaseException:
        job.free_slot()
        raise
    return Response(status_code=202)


@router.post("/jobs/{job_id}/close", status_code=202, response_class=Response)
async def close_job(request: Request, job_id: str) -> Response:
    """Say that no more files will come. The summary arrives as the last event."""
    _job(request, job_id).close()
    return Response(status_code=202)


@router.get("/jobs/{job_id}/events", response_class=StreamingResponse)
async def events(request: Request, job_id: str) -> Response:
    """The job's events from the first on, as JSON lines, until the summary or the error that ends it."""
    lines = _job(request, job_id).lines(state_of(request).settings.heartbeat)
    return StreamingResponse(lines, media_type="application/x-ndjson", headers={"X-Accel-Buffering": "no"})


@router.delete("/jobs/{job_id}", status_code=202, response_class=Response)
async def cancel_job(request: Request, job_id: str) -> Response:
    """Stop the job. Files that were done stay."""
    _job(request, job_id).cancel()
    return Response(status_code=202)


@router.post("/unchanged", openapi_extra=takes(UnchangedRequest), responses={200: {"model": dict[str, FileOutcome]}})
async def unchanged(request: Request) -> Response:
    """Outcomes by URI of those `[uri, sha256]` pairs that hold nothing new."""
    wanted = await read_request(request, UnchangedRequest, limit=state_of(request).settings.max_offer_bytes)
    found = await call(
        request, engine_of(request).unchanged, wanted.offers, collection=wanted.collection, ocr=wanted.ocr
    )
    return Response(dumps(found, kind=dict[str, FileOutcome]), media_type="application/json")


def _header(request: Request, name: str) -> str:
    value = unquote(request.headers.get(name, ""))
    if not value or len(value) > 4096 or any(ord(c) < 32 for c in value):
        raise UsageError(f"header {name} is missing or malformed", hint="Percent-encode it, at most 4096 characters.")
    return value


def _too_large(name: str, limit: int) -> TooLargeError:
    return TooLargeError(f"{name} is larger than {limit:,} bytes", hint="Split the file, or raise `max_file_mb`.")


async def _spool(request: Request, folder: Path, *, uri: str, name: str, limit: int) -> SourceFile:
    """Write the body to a file only this user can read. Whatever goes wrong, no part of it stays behind."""
    found = _SUFFIX.search(name)
    # The client's name is never a path; some parsers go by its extension, so a plain one is kept.
    path = folder / (secrets.token_hex(16) + (found.group().lower() if found else ""))
    size = 0
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as out:
            async for piece in request.stream():
                size += len(piece)
                if size > limit:
                    raise _too_large(name, limit)
                out.write(piece)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return SourceFile(path=str(path), uri=uri, name=name, size=size)
