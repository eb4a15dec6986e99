"""What the routes of one application share: engines by user, thread pools, limits, metrics, jobs."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import unquote

from fastapi import Request

from server.errors import TooLargeError, TooManyRequestsError
from server.events import Streams
from server.guard import IDENTITY
from server.jobs import JobBoard
from server.limits import Line
from server.metrics import Metrics
from server.settings import ServerSettings
from strongroom.engine import AccountDesk, Engine
from strongroom.errors import NotFoundError, NotPermittedError
from strongroom.people import Identity
from strongroom.wire import loads_request

if TYPE_CHECKING:
    from strongroom.accounts import Accounts
    from strongroom.accounts.sso import SingleSignOn
    from strongroom.signin import CodeBook

T = TypeVar("T")

MOST_SIGNING = 32
_SIGNING_PAUSE = 5  # seconds


class EngineFor(Protocol):
    """The engine as `user` sees it, for somebody who may be another (`by`) and must then be an administrator."""

    def __call__(self, user: str, *, by: str) -> Engine: ...


@dataclass(frozen=True, slots=True)
class Doors:
    """How people other than the owner of the data directory get in."""

    accounts: Accounts
    desk: Callable[[Identity], AccountDesk]
    sso: SingleSignOn | None = None


@dataclass(slots=True)
class State:
    """One application's shared parts. Pools are bounded, and apart: long answers must not hold up page views."""

    engine_for: EngineFor
    settings: ServerSettings
    metrics: Metrics
    jobs: JobBoard
    ready: Callable[[], bool]
    links: CodeBook
    doors: Doors | None = None
    verifying: asyncio.Lock = field(default_factory=asyncio.Lock)
    calls: ThreadPoolExecutor = field(init=False)
    asks: ThreadPoolExecutor = field(init=False)
    signs: ThreadPoolExecutor = field(init=False)
    signing: int = 0  # sign-ins that run or wait
    line: Line = field(init=False)
    streams: Streams = field(default_factory=Streams)
    works: ThreadPoolExecutor = field(init=False)
    work_line: Line = field(init=False)

    def __post_init__(self) -> None:
        self.calls = ThreadPoolExecutor(self.settings.call_threads, thread_name_prefix="call")
        # As many as passwords are checked at a time: who floods the sign-in page holds up nobody who is signed in.
        self.signs = ThreadPoolExecutor(2, thread_name_prefix="sign")
        self.asks = ThreadPoolExecutor(self.settings.answers_at_once, thread_name_prefix="ask")
        self.line = Line(self.settings.answers_at_once, longest_each=self.settings.questions_waiting)
        self.works = ThreadPoolExecutor(self.settings.works_at_once, thread_name_prefix="work")
        self.work_line = Line(self.settings.works_at_once, longest_each=self.settings.works_waiting)

    def close(self) -> None:
        """Cancel jobs and let running calls finish in their threads."""
        self.jobs.close()
        self.calls.shutdown(wait=False, cancel_futures=True)
        self.asks.shutdown(wait=False, cancel_futures=True)
        self.signs.shutdown(wait=False, cancel_futures=True)
        self.works.shutdown(wait=False, cancel_futures=True)


def state_of(request: Request) -> State:
    """The shared parts of the application that serves this request."""
    state: State = request.app.state.strongroom
    return state


def identity_of(request: Request) -> Identity:
    """Who makes the request, as the guard found."""
    identity: Identity = request.scope[IDENTITY]
    return identity


def user_of(request: Request) -> str:
    """As whom the request is made: the credential's user, or whom that user acts as (`X-Strongroom-As`)."""
    name = request.headers.get("x-strongroom-as")
    return identity_of(request).user if name is None else unquote(name)  # an empty name is an unknown user


def engine_of(request: Request) -> Engine:
    """The engine as the asker sees it. Raises `NotPermittedError` for acting as another by who may not."""
    identity, user = identity_of(request), user_of(request)
    if user != identity.user and "admin" not in identity.scopes:
        raise NotPermittedError("this token may not act as somebody else", hint="It needs the scope `admin`.")
    return state_of(request).engine_for(user, by=identity.user)


def doors_of(request: Request) -> Doors:
    """The accounts. Raises `NotFoundError` on a server that has none."""
    doors = state_of(request).doors
    if doors is None:
        raise NotFoundError("this server has no accounts", hint="Use the token of its data directory.")
    return doors


async def call(request: Request, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Run a blocking engine call in the bounded pool."""
    loop = asyncio.get_running_loop()
    context = contextvars.copy_context()  # says which request it is, for the audit log
    return await loop.run_in_executor(state_of(request).calls, lambda: context.run(function, *args, **kwargs))


async def sign(request: Request, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Run a step of signing in, in a pool of its own. Raises `TooManyRequestsError` when too many wait already."""
    state = state_of(request)
    if state.signing >= MOST_SIGNING:
        raise TooManyRequestsError(_SIGNING_PAUSE)
    loop, context = asyncio.get_running_loop(), contextvars.copy_context()
    state.signing += 1
    try:
        return await loop.run_in_executor(state.signs, lambda: context.run(function, *args, **kwargs))
    finally:
        state.signing -= 1


async def read_request(request: Request, kind: type[T], *, limit: int | None = None) -> T:
    """The request's JSON body as a value. Raises `TooLargeError` above the limit and `UsageError` when malformed."""
    limit = state_of(request).settings.max_json_bytes if limit is None else limit
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > limit:
            raise TooLargeError(f"the request is larger than {limit} bytes", hint="Send less at a time.")
    return loads_request(kind, bytes(body))
