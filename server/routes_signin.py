"""Getting a credential: password, second factor, one-time links, single sign-on. Open to whoever reaches the port.

Whatever goes wrong is answered by one error; `strongroom.accounts` sees to it that time does not tell more.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from server.guard import SIGN_IN, host_name
from server.schema import takes
from server.state import call, doors_of, read_request, sign, state_of
from strongroom.errors import NotFoundError, UsageError
from strongroom.people import (
    KeyRequest,
    LinkRequest,
    RedeemRequest,
    SecondFactor,
    SignedIn,
    SignInRequest,
    SignInWays,
    SsoRedirect,
    SsoReturn,
    SsoStart,
)
from strongroom.wire import dumps

router = APIRouter(prefix=SIGN_IN, tags=["sign-in"])
_JSON = "application/json"


@router.get("", responses={200: {"model": SignInWays}})
async def ways(request: Request) -> Response:
    """What a sign-in page can offer."""
    doors = doors_of(request)
    setup = not await call(request, doors.accounts.administered)
    sso = "" if doors.sso is None else doors.sso.provider.name
    return Response(dumps(SignInWays(sso, setup)), media_type=_JSON)


@router.post("/password", openapi_extra=takes(SignInRequest), responses={200: {"model": SignedIn}})
async def password(request: Request) -> Response:
    """Sign in by name and password. With a second factor, the answer holds `pending` instead of `session`."""
    wanted = await read_request(request, SignInRequest, limit=8192)
    done = await sign(request, doors_of(request).accounts.sign_in, wanted.name, wanted.password, agent=_agent(request))
    return Response(dumps(done), media_type=_JSON)


@router.post("/second-factor", openapi_extra=takes(SecondFactor), responses={200: {"model": SignedIn}})
async def second_factor(request: Request) -> Response:
    """Finish with a code, a recovery code, or a security key's answer."""
    wanted = await read_request(request, SecondFactor, limit=65536)
    if wanted.credential is not None:
        known_origin(request, wanted.origin)
    done = await sign(request, doors_of(request).accounts.second_factor, wanted)
    return Response(dumps(done), media_type=_JSON)


@router.post("/security-key", openapi_extra=takes(KeyRequest))
async def security_key(request: Request) -> Response:
    """What the browser needs to ask a security key, in the second step."""
    wanted = await read_request(request, KeyRequest, limit=8192)
    known_origin(request, wanted.origin)
    return JSONResponse(await sign(request, doors_of(request).accounts.key_challenge, wanted.pending, wanted.origin))


@router.post("/link", openapi_extra=takes(LinkRequest), responses={200: {"model": SignedIn}})
async def link(request: Request) -> Response:
    """Sign in by a link that the owner of the data directory made."""
    wanted = await read_request(request, LinkRequest, limit=8192)
    links = state_of(request).links
    done = await sign(request, doors_of(request).accounts.by_link, wanted.code, links, agent=_agent(request))
    return Response(dumps(done), media_type=_JSON)


@router.post("/invitation", openapi_extra=takes(RedeemRequest), responses={200: {"model": SignedIn}})
async def invitation(request: Request) -> Response:
    """Set the password that an invitation is for, and sign in."""
    wanted = await read_request(request, RedeemRequest, limit=8192)
    done = await sign(request, doors_of(request).accounts.redeem, wanted, agent=_agent(request))
    return Response(dumps(done), media_type=_JSON)


@router.post("/sso/begin", openapi_extra=takes(SsoStart), responses={200: {"model": SsoRedirect}})
async def sso_begin(request: Request) -> Response:
    """Where to send the browser for single sign-on."""
    wanted = await read_request(request, SsoStart, limit=8192)
    known_origin(request, wanted.back)
    sso = doors_of(request).sso
    if sso is None:
        raise NotFoundError("no identity provider is configured", hint="See `oidc_issuer`.")
    return Response(dumps(await sign(request, sso.begin, wanted.back)), media_type=_JSON)


@router.post("/sso/finish", openapi_extra=takes(SsoReturn), responses={200: {"model": SignedIn}})
async def sso_finish(request: Request) -> Response:
    """Sign in whom the identity provider has named."""
    wanted = await read_request(request, SsoReturn, limit=16384)
    sso = doors_of(request).sso
    if sso is None:
        raise NotFoundError("no identity provider is configured", hint="See `oidc_issuer`.")
    return Response(dumps(await sign(request, sso.finish, wanted, agent=_agent(request))), media_type=_JSON)


def known_origin(request: Request, url: str) -> None:
    """Raise `UsageError` for an address whose host this server does not answer to."""
    scheme, _, rest = url.partition("://")
    if scheme not in ("http", "https") or host_name(rest.partition("/")[0]) not in state_of(request).settings.hosts:
        raise UsageError("that is no address of this appliance", hint="Set `public_hosts`.")


def _agent(request: Request) -> str:
    return request.headers.get("user-agent", "")
