"""Accounts over HTTP: `HttpDesk` speaks the `AccountDesk` Protocol, `SignInClient` gets people their session.

A UI that asks for a browser says for which address (`for_browser`); the server believes it by a key that only those
who hold its token can make.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, TypeVar, cast

from strongroom.client.connection import Connection, segment
from strongroom.people import (
    Account,
    AccountChange,
    CodeRequest,
    Ended,
    Invitation,
    KeyRequest,
    LinkRequest,
    NewAccount,
    NewToken,
    PasswordChange,
    PasswordRequest,
    RecoveryCodes,
    RedeemRequest,
    SecondFactor,
    Session,
    SignedIn,
    SignInRequest,
    SignInWays,
    SsoRedirect,
    SsoReturn,
    SsoStart,
    Token,
    TokenRequest,
    TotpSetup,
)
from strongroom.wire import dumps, loads

T = TypeVar("T")


def for_browser(gate: str, address: str, agent: str = "") -> dict[str, str]:
    """Headers of a request that a UI makes for a browser at `address`. `gate` is `strongroom.signin.gate_key`'s."""
    headers = {"X-Strongroom-Gate": gate, "X-Strongroom-For": address}
    if agent:
        headers["User-Agent"] = "".join(c for c in agent if " " <= c <= "~")[:200]
    return headers


class SignInClient:
    """Gets a session from the server. `headers` go with each request (see `for_browser`)."""

    def __init__(self, base_url: str, *, certificate: str = "") -> None:
        self._http = Connection(base_url, "", timeout=60.0, certificate=certificate)

    def ways(self) -> SignInWays:
        """What a sign-in page can offer."""
        return loads(SignInWays, self._http.send("GET", "/api/sign-in").content)

    def password(self, request: SignInRequest, headers: dict[str, str]) -> SignedIn:
        """By name and password. Raises `SignInError`, as all of these do."""
        return self._post("password", request, headers, SignedIn)

    def second_factor(self, request: SecondFactor, headers: dict[str, str]) -> SignedIn:
        return self._post("second-factor", request, headers, SignedIn)

    def key_challenge(self, request: KeyRequest, headers: dict[str, str]) -> dict[str, Any]:
        return cast("dict[str, Any]", self._post("security-key", request, headers, dict))

    def link(self, request: LinkRequest, headers: dict[str, str]) -> SignedIn:
        return self._post("link", request, headers, SignedIn)

    def redeem(self, request: RedeemRequest, headers: dict[str, str]) -> SignedIn:
        return self._post("invitation", request, headers, SignedIn)

    def sso_begin(self, request: SsoStart, headers: dict[str, str]) -> SsoRedirect:
        return self._post("sso/begin", request, headers, SsoRedirect)

    def sso_finish(self, request: SsoReturn, headers: dict[str, str]) -> SignedIn:
        return self._post("sso/finish", request, headers, SignedIn)

    def close(self) -> None:
        with suppress(RuntimeError):
            self._http.close()

    def _post(self, path: str, body: Any, headers: dict[str, str], kind: type[T]) -> T:
        response = self._http.send("POST", f"/api/sign-in/{path}", content=dumps(body), headers=headers)
        return loads(kind, response.content)


class HttpDesk:
    """The `AccountDesk` Protocol over HTTP, for whom the credential stands for."""

    def __init__(
        self, base_url: str, credential: str, *, headers: dict[str, str] | None = None, certificate: str = ""
    ) -> None:
        self._http = Connection(base_url, credential, headers=headers, certificate=certificate)

    # -------------------------------------------------------------------------------- everybody

    def users(self) -> list[Account]:
        return loads(list[Account], self._http.send("GET", "/api/users").content)

    def add_user(self, request: NewAccount) -> Invitation:
        return self._send("POST", "/api/users", Invitation, request)

    def invite(self, name: str) -> Invitation:
        return self._send("POST", f"{_user(name)}/invitation", Invitation)

    def change_user(self, name: str, change: AccountChange) -> Account:
        return self._send("PATCH", _user(name), Account, change)

    def unlock(self, name: str) -> None:
        self._http.send("POST", f"{_user(name)}/unlock")

    def delete_user(self, name: str) -> None:
        self._http.send("DELETE", _user(name))

    def reset_factors(self, name: str) -> None:
        self._http.send("POST", f"{_user(name)}/reset-factors")

    def set_password(self, name: str, password: str) -> None:
        self._http.send("POST", f"{_user(name)}/password", content=dumps(PasswordRequest(password)))

    # -------------------------------------------------------------------------------- one's own

    def me(self) -> Account:
        return self._send("GET", "/api/account", Account)

    def change_password(self, change: PasswordChange) -> None:
        self._http.send("POST", "/api/account/password", content=dumps(change))

    def begin_totp(self) -> TotpSetup:
        return self._send("POST", "/api/account/totp", TotpSetup)

    def confirm_totp(self, code: str) -> RecoveryCodes:
        return self._send("PUT", "/api/account/totp", RecoveryCodes, CodeRequest(code))

    def begin_key(self, origin: str) -> dict[str, object]:
        found = self._send("POST", "/api/account/security-key", dict, KeyRequest(origin))
        return cast("dict[str, object]", found)

    def add_key(self, credential: dict[str, object], origin: str) -> RecoveryCodes:
        body = KeyRequest(origin, credential=credential)
        return self._send("PUT", "/api/account/security-key", RecoveryCodes, body)

    def drop_factors(self, password: str) -> None:
        self._http.send("POST", "/api/account/drop-factors", content=dumps(PasswordRequest(password)))

    def audit(self, before: int | None = None) -> list[dict[str, Any]]:
        params = {} if before is None else {"before": before}
        return loads(list[dict[str, Any]], self._http.send("GET", "/api/audit", params=params).content)

    def sign_out(self) -> None:
        self._http.send("POST", "/api/account/sign-out")

    # -------------------------------------------------------------------------------- sessions, tokens

    def sessions(self, user: str | None = None) -> list[Session]:
        return loads(list[Session], self._http.send("GET", "/api/sessions", params=_whose(user)).content)

    def end_session(self, session_id: str) -> None:
        self._http.send("DELETE", f"/api/sessions/{segment(session_id)}")

    def end_sessions(self, user: str | None = None) -> int:
        return loads(Ended, self._http.send("DELETE", "/api/sessions", params=_whose(user)).content).count

    def tokens(self, user: str | None = None) -> list[Token]:
        return loads(list[Token], self._http.send("GET", "/api/tokens", params=_whose(user)).content)

    def add_token(self, request: TokenRequest, user: str | None = None) -> NewToken:
        response = self._http.send("POST", "/api/tokens", params=_whose(user), content=dumps(request))
        return loads(NewToken, response.content)

    def revoke_token(self, token_id: str) -> None:
        self._http.send("DELETE", f"/api/tokens/{segment(token_id)}")

    def close(self) -> None:
        """Close the connections. Safe to call twice."""
        with suppress(RuntimeError):
            self._http.close()

    def _send(self, method: str, path: str, kind: type[T], body: Any = None) -> T:
        options = {} if body is None else {"content": dumps(body)}
        return loads(kind, self._http.send(method, path, **options).content)


def _user(name: str) -> str:
    return f"/api/users/{segment(name)}"


def _whose(user: str | None) -> dict[str, str]:
    return {} if user is None else {"user": user}
