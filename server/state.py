"""What the routes of one application share: engines by user, thread pools, limits, metrics, jobs."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import unquote

from fastapi import Request

from server.errors import TooLargeError
from server.jobs import JobBoard
from server.limits import Line
from server.metrics import Metrics
from server.settings import ServerSettings
from strongroom.access import LOCAL_USER
from strongroom.ports import Engine
from strongroom.wire import loads_request

T = TypeVar("T")


@dataclass(slots=True)
class State:
    """One application's shared parts. Pools are bounded, and apart: long answers must not hold up page views."""

    engine_for: Callable[[str], Engine]
    settings: ServerSettings
    metrics: Metrics
    jobs: JobBoard
    ready: Callable[[], bool]
    verifying: asyncio.Lock = field(default_factory=asyncio.Lock)
    calls: ThreadPoolExecutor = field(init=False)
    asks: ThreadPoolExecutor = field(init=False)
    line: Line = field(init=False)

    def __post_init__(self) -> None:
        self.calls = ThreadPoolExecutor(self.settings.call_threads, thread_name_prefix="call")
        self.asks = ThreadPoolExecutor(self.settings.answers_at_once, thread_name_prefix="ask")
        self.line = Line(self.settings.answers_at_once, longest_each=self.settings.questions_waiting)

    def close(self) -> None:
        """Cancel jobs and let running calls finish in their threads."""
        self.jobs.close()
        self.calls.shutdown(wait=False, cancel_futures=True)
        self.asks.shutdown(wait=False, cancel_futures=True)


def state_of(request: Request) -> State:
    """The shared parts of the application that serves this request."""
    state: State = request.app.state.strongroom
    return state


def user_of(request: Request) -> str:
    """Who asks: the built-in user that the token stands for, or whom that user acts as (`X-Strongroom-As`)."""
    name = request.headers.get("x-strongroom-as")
    return LOCAL_USER if name is None else unquote(name)  # an empty name is an unknown user, not the administrator


def engine_of(request: Request) -> Engine:
    """The engine as the asker sees it."""
    return state_of(request).engine_for(user_of(request))


async def call(request: Request, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Run a blocking engine call in the bounded pool."""
    loop = asyncio.get_running_loop()
    context = contextvars.copy_context()  # says which request it is, for the audit log
    return await loop.run_in_executor(state_of(request).calls, lambda: context.run(function, *args, **kwargs))


async def read_request(request: Request, kind: type[T], *, limit: int | None = None) -> T:
    """The request's JSON body as a value. Raises `TooLargeError` above the limit and `UsageError` when malformed."""
    limit = state_of(request).settings.max_json_bytes if limit is None else limit
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > limit:
            raise TooLargeError(f"the request is larger than {limit} bytes", hint="Send less at a time.")
    return loads_request(kind, bytes(body))
