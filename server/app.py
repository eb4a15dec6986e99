"""Put the server together: routes, guard, error mapping, thread pools. Knows one `Engine` a user and nothing below it.

The interactive documentation pages stay off, as their scripts come from a CDN; `/openapi.json` stands behind the
token.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from starlette.types import Scope

from server import (
    errors,
    routes_accounts,
    routes_answers,
    routes_documents,
    routes_health,
    routes_ingest,
    routes_keeping,
    routes_permissions,
    routes_signin,
    routes_watches,
    routes_whole,
    routes_withholding,
)
from server.guard import OPEN_PATHS, SIGN_IN, Guard
from server.jobs import JobBoard
from server.limits import Throttle, by_address, is_upload
from server.metrics import Metrics
from server.settings import ServerSettings
from server.state import Doors, EngineFor, State, identity_of
from strongroom import __version__
from strongroom.access import LOCAL_USER
from strongroom.secrets import refuse_weak
from strongroom.signin import CodeBook


def create_app(
    engine_for: EngineFor,
    *,
    token: str,
    settings: ServerSettings,
    doors: Doors | None = None,
    ready: Callable[[], bool] | None = None,
) -> FastAPI:
    """The ASGI application over the engines that `engine_for(user, by=…)` gives.

    `engine_for` is called once a request and must be cheap and thread-safe; the engines stay the caller's to close.
    Auditing that somebody acts as another, and raising `NotPermittedError` for unknown users and for those who may not,
    is its work.
    `token` is the owner's, `doors` let everybody else in.
    `ready` tells whether models are loaded and the index is open; by default, whether `status()` works.
    """

    refuse_weak(token, "the server's token")

    def status_works() -> bool:
        engine_for(LOCAL_USER, by=LOCAL_USER).status()
        return True

    metrics = Metrics()
    state = State(
        engine_for=engine_for,
        settings=settings,
        metrics=metrics,
        jobs=JobBoard(settings, metrics),
        ready=ready or status_works,
        links=CodeBook(token),
        doors=doors,
    )

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        state.close()

    app = FastAPI(
        title="Strongroom",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        # Otherwise OTEL_* variables of the environment would switch on an exporter.
        telemetry={"auto_configure": False, "tracing": False, "metrics": False, "logs": False},
    )
    app.state.strongroom = state
    errors.install(app)
    for module in (
        routes_health,
        routes_signin,
        routes_accounts,
        routes_answers,
        routes_documents,
        routes_ingest,
        routes_keeping,
        routes_permissions,
        routes_watches,
        routes_withholding,
        routes_whole,
    ):
        app.include_router(module.router)
    # The last one added stands outermost: addresses first, then the guard, then who the guard let in.
    app.add_middleware(Throttle, rate=settings.person_rate, key=_person)
    app.add_middleware(
        Guard,
        token=token,
        hosts=settings.hosts,
        observe=metrics.observe,
        identify=(lambda _secret: None) if doors is None else doors.accounts.identify,
    )
    app.add_middleware(Throttle, rate=settings.address_rate, key=by_address(settings.patience.many))
    return app


def _person(scope: Scope) -> str | None:
    open_to_all = scope["path"] in OPEN_PATHS or scope["path"].startswith(SIGN_IN)
    # Whose credential it is, not whom it acts as: nobody uses up another's bucket.
    return None if open_to_all or is_upload(scope) else identity_of(Request(scope)).user
