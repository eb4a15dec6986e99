"""The one place where errors become HTTP responses: `{"error": {"message", "hint", "code", "type"}}`.

An unexpected error is logged by class and stack and answered without any detail: its message could hold words of a
document.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from strongroom.errors import NotFoundError, NotPermittedError, StrongroomError, UsageError
from strongroom.wire import error_body

log = logging.getLogger("strongroom.server")


class TooLargeError(UsageError):
    """The request's body is larger than the server accepts."""

    http_status = 413


class HostRefusedError(UsageError):
    """The request names a host that this server does not answer to."""

    http_status = 421


class TooManyRequestsError(UsageError):
    """One person or address asks more often than the server allows."""

    http_status = 429

    def __init__(self, seconds: int) -> None:
        super().__init__("too many requests in a short time", hint=f"Wait {seconds} s, then go on more slowly.")
        self.seconds = seconds


class UnexpectedError(StrongroomError):
    """A defect of the server; the log holds the traceback."""

    def __init__(self) -> None:
        super().__init__("the server failed on this request", hint="See the server's log for the traceback.")


def log_defect(where: str, exc: BaseException) -> None:
    """Log an unexpected error by class and stack, causes first. Messages may hold words of a document."""
    chain: list[BaseException] = []
    link: BaseException | None = exc
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    stacks = (f"{type(e).__name__}\n{''.join(traceback.format_tb(e.__traceback__))}" for e in reversed(chain))
    log.error("%s: unexpected %s", where, "then ".join(stacks))


def error_response(exc: StrongroomError) -> Response:
    """The response for an expected error."""
    headers = {"WWW-Authenticate": "Bearer"} if exc.http_status == 401 else {}
    if isinstance(exc, TooManyRequestsError):
        headers["Retry-After"] = str(exc.seconds)
    return JSONResponse(error_body(exc), status_code=exc.http_status, headers=headers)


def install(app: FastAPI) -> None:
    """Register the handlers for expected errors, bad parameters and the framework's own 404 and 405."""

    @app.exception_handler(StrongroomError)
    async def _expected(_request: Request, exc: StrongroomError) -> Response:
        return error_response(exc)

    @app.exception_handler(ClientDisconnect)
    async def _gone(_request: Request, _exc: ClientDisconnect) -> Response:
        return Response(status_code=499)  # nobody reads it; it is no defect, and must not fill the log

    @app.exception_handler(RequestValidationError)
    async def _parameters(_request: Request, exc: RequestValidationError) -> Response:
        error = exc.errors()[0]
        where = ".".join(str(part) for part in error["loc"])
        return error_response(UsageError(f"bad parameter {where}: {error['msg']}", hint="See /openapi.json."))

    @app.exception_handler(HTTPException)
    async def _framework(_request: Request, exc: HTTPException) -> Response:
        if exc.status_code == 404:
            return error_response(NotFoundError("no such address", hint="See /openapi.json."))
        body = error_body(UsageError(str(exc.detail), hint="See /openapi.json."))
        return JSONResponse(body, status_code=exc.status_code, headers=exc.headers)


@contextmanager
def hidden_if_unreadable() -> Iterator[None]:
    """Answer "no such document" alike for what does not exist and for what the asker may not read.

    The engine's own wording is dropped: any difference in it would tell one case from the other.
    """
    try:
        yield
    except (NotFoundError, NotPermittedError):
        raise NotFoundError(
            "no such document or page", hint="List what you can read with `strongroom documents`."
        ) from None
