"""Accounts, sessions and API tokens: one's own, and everybody's for administrators."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from server.routes_signin import known_origin
from server.schema import takes
from server.state import call, doors_of, identity_of, read_request
from strongroom.engine import AccountDesk
from strongroom.people import (
    Account,
    AccountChange,
    CodeRequest,
    Ended,
    Invitation,
    KeyRequest,
    NewAccount,
    NewToken,
    PasswordChange,
    PasswordRequest,
    RecoveryCodes,
    Session,
    Token,
    TokenRequest,
    TotpSetup,
)
from strongroom.wire import dumps

router = APIRouter(prefix="/api", tags=["accounts"])
_JSON = "application/json"


def _desk(request: Request) -> AccountDesk:
    return doors_of(request).desk(identity_of(request))


# ------------------------------------------------------------------------------------------------ one's own


@router.get("/account", responses={200: {"model": Account}})
async def account(request: Request) -> Response:
    """One's own account."""
    return Response(dumps(await call(request, _desk(request).me)), media_type=_JSON)


@router.post("/account/password", status_code=204, response_class=Response, openapi_extra=takes(PasswordChange))
async def change_password(request: Request) -> Response:
    """Set one's own password. Other sessions end."""
    await call(request, _desk(request).change_password, await read_request(request, PasswordChange, limit=8192))
    return Response(status_code=204)


@router.post("/account/sign-out", status_code=204, response_class=Response)
async def sign_out(request: Request) -> Response:
    """End the session that asks."""
    await call(request, _desk(request).sign_out)
    return Response(status_code=204)


@router.post("/account/totp", responses={200: {"model": TotpSetup}})
async def begin_totp(request: Request) -> Response:
    """A secret for an authenticator app."""
    return Response(dumps(await call(request, _desk(request).begin_totp)), media_type=_JSON)


@router.put("/account/totp", openapi_extra=takes(CodeRequest), responses={200: {"model": RecoveryCodes}})
async def confirm_totp(request: Request) -> Response:
    """Take the secret into use with a code of it; answers recovery codes."""
    wanted = await read_request(request, CodeRequest, limit=8192)
    return Response(dumps(await call(request, _desk(request).confirm_totp, wanted.code)), media_type=_JSON)


@router.post("/account/security-key", openapi_extra=takes(KeyRequest))
async def begin_key(request: Request) -> Response:
    """What the browser needs to make a credential on a security key."""
    wanted = await read_request(request, KeyRequest, limit=8192)
    known_origin(request, wanted.origin)
    return JSONResponse(await call(request, _desk(request).begin_key, wanted.origin))


@router.put("/account/security-key", openapi_extra=takes(KeyRequest), responses={200: {"model": RecoveryCodes}})
async def add_key(request: Request) -> Response:
    """Keep what the security key made."""
    wanted = await read_request(request, KeyRequest, limit=65536)
    known_origin(request, wanted.origin)
    codes = await call(request, _desk(request).add_key, wanted.credential or {}, wanted.origin)
    return Response(dumps(codes), media_type=_JSON)


@router.post("/account/drop-factors", status_code=204, response_class=Response, openapi_extra=takes(PasswordRequest))
async def drop_factors(request: Request) -> Response:
    """Take one's own second factors off, by password."""
    wanted = await read_request(request, PasswordRequest, limit=8192)
    await call(request, _desk(request).drop_factors, wanted.password)
    return Response(status_code=204)


@router.get("/audit", responses={200: {"model": list[dict[str, Any]]}})
async def audit(request: Request, before: int | None = None) -> Response:
    """A page of the audit log, newest first. For administrators and auditors."""
    return JSONResponse(await call(request, _desk(request).audit, before))


# ------------------------------------------------------------------------------------------------ sessions, tokens


@router.get("/sessions", responses={200: {"model": list[Session]}})
async def sessions(request: Request, user: str | None = None) -> Response:
    """Live sessions, one's own or of `user`."""
    found = await call(request, _desk(request).sessions, user)
    return Response(dumps(found, kind=list[Session]), media_type=_JSON)


@router.delete("/sessions", responses={200: {"model": Ended}})
async def end_sessions(request: Request, user: str | None = None) -> Response:
    """End all sessions but the one that asks."""
    return Response(dumps(Ended(await call(request, _desk(request).end_sessions, user))), media_type=_JSON)


@router.delete("/sessions/{session_id}", status_code=204, response_class=Response)
async def end_session(request: Request, session_id: str) -> Response:
    """End one session."""
    await call(request, _desk(request).end_session, session_id)
    return Response(status_code=204)


@router.get("/tokens", responses={200: {"model": list[Token]}})
async def tokens(request: Request, user: str | None = None) -> Response:
    """API tokens, without their secrets."""
    found = await call(request, _desk(request).tokens, user)
    return Response(dumps(found, kind=list[Token]), media_type=_JSON)


@router.post("/tokens", openapi_extra=takes(TokenRequest), responses={200: {"model": NewToken}})
async def add_token(request: Request, user: str | None = None) -> Response:
    """Make an API token. Its secret is in this answer alone."""
    wanted = await read_request(request, TokenRequest)
    return Response(dumps(await call(request, _desk(request).add_token, wanted, user)), media_type=_JSON)


@router.delete("/tokens/{token_id}", status_code=204, response_class=Response)
async def revoke_token(request: Request, token_id: str) -> Response:
    """End a token."""
    await call(request, _desk(request).revoke_token, token_id)
    return Response(status_code=204)


# ------------------------------------------------------------------------------------------------ users


@router.get("/users", responses={200: {"model": list[Account]}})
async def users(request: Request) -> Response:
    """Every account. For administrators."""
    return Response(dumps(await call(request, _desk(request).users), kind=list[Account]), media_type=_JSON)


@router.post("/users", openapi_extra=takes(NewAccount), responses={200: {"model": Invitation}})
async def add_user(request: Request) -> Response:
    """Make an account; answers the code by which the person sets a password."""
    wanted = await read_request(request, NewAccount)
    return Response(dumps(await call(request, _desk(request).add_user, wanted)), media_type=_JSON)


@router.patch("/users/{name}", openapi_extra=takes(AccountChange), responses={200: {"model": Account}})
async def change_user(request: Request, name: str) -> Response:
    """Change the role, or disable. Sessions of the account end."""
    wanted = await read_request(request, AccountChange)
    return Response(dumps(await call(request, _desk(request).change_user, name, wanted)), media_type=_JSON)


@router.delete("/users/{name}", status_code=204, response_class=Response)
async def delete_user(request: Request, name: str) -> Response:
    """Delete an account. Documents stay."""
    await call(request, _desk(request).delete_user, name)
    return Response(status_code=204)


@router.post("/users/{name}/invitation", responses={200: {"model": Invitation}})
async def invite(request: Request, name: str) -> Response:
    """A fresh code to set the password with."""
    return Response(dumps(await call(request, _desk(request).invite, name)), media_type=_JSON)


@router.post("/users/{name}/unlock", status_code=204, response_class=Response)
async def unlock(request: Request, name: str) -> Response:
    """End a wait after failed attempts."""
    await call(request, _desk(request).unlock, name)
    return Response(status_code=204)


@router.post("/users/{name}/reset-factors", status_code=204, response_class=Response)
async def reset_factors(request: Request, name: str) -> Response:
    """Take somebody's second factors off."""
    await call(request, _desk(request).reset_factors, name)
    return Response(status_code=204)


@router.post("/users/{name}/password", status_code=204, response_class=Response, openapi_extra=takes(PasswordRequest))
async def set_password(request: Request, name: str) -> Response:
    """Set a password without an invitation. With the token of the data directory alone."""
    wanted = await read_request(request, PasswordRequest, limit=8192)
    await call(request, _desk(request).set_password, name, wanted.password)
    return Response(status_code=204)
