"""Pages for signing in, for one's account and, for administrators, everybody's. Plain forms; script only for keys.

Nothing of a request decides where a browser is sent: every redirect goes to a fixed address of our own, or to the
identity provider that the server names.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import json
from collections.abc import Awaitable, Callable
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs

from anyio import CapacityLimiter, to_thread
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response

from strongroom.client.accounts import HttpDesk, for_browser
from strongroom.client.connection import ServerUnreachableError
from strongroom.errors import SignInError, StrongroomError, UsageError
from strongroom.people import (
    ROLES,
    SCOPES,
    AccountChange,
    KeyRequest,
    LinkRequest,
    NewAccount,
    PasswordChange,
    RedeemRequest,
    SecondFactor,
    SignedIn,
    SignInRequest,
    SsoReturn,
    SsoStart,
    TokenRequest,
)
from ui import connection
from ui.connection import COOKIE

OWN_HEADERS = ("Content-Security-Policy", "Referrer-Policy")
_PAGES = Path(__file__).parent / "pages"
_LOGO = (
    (Path(__file__).parent / "assets" / "logo.svg")
    .read_text(encoding="utf-8")
    .replace(' xmlns="http://www.w3.org/2000/svg"', "")
)  # inside a page it needs none, and our pages name no other address
_STYLE = (_PAGES / "style.css").read_text(encoding="utf-8")
_SCRIPT = (_PAGES / "key.js").read_text(encoding="utf-8")
_SSO_COOKIE = "strongroom_sso"
_MOST = 64 << 10  # bytes of a form

_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_KEY_POLICY = _POLICY + "; script-src 'self'; connect-src 'self'"

T = TypeVar("T")
_THREADS = CapacityLimiter(16)
Form = dict[str, str]


class Pages:
    """Answers the addresses that are ours. `secure` marks cookies for TLS only."""

    def __init__(self, *, secure: bool) -> None:
        self._secure = secure
        self._templates = Environment(
            loader=FileSystemLoader(_PAGES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        )
        self._open: dict[tuple[str, str], Callable[[Request, str], Awaitable[Response]]] = {
            ("GET", "/sign-in"): self._form,
            ("POST", "/sign-in"): self._password,
            ("POST", "/sign-in/second"): self._second,
            ("POST", "/sign-in/key/begin"): self._key_begin,
            ("POST", "/sign-in/key"): self._key,
            ("GET", "/sign-in/key.js"): self._key_script,
            ("GET", "/sign-in/sso"): self._sso,
            ("GET", "/sign-in/return"): self._sso_return,
            ("GET", "/login"): self._link,
            ("GET", "/welcome"): self._welcome,
            ("POST", "/welcome"): self._redeem,
            ("GET", "/logout"): self._logout,
        }
        self._own: dict[tuple[str, str], Callable[[Request, HttpDesk, Form], Awaitable[Response]]] = {
            ("GET", "/account"): self._account,
            ("POST", "/account/password"): self._set_password,
            ("POST", "/account/totp"): self._totp,
            ("POST", "/account/totp/confirm"): self._totp_confirm,
            ("POST", "/account/key/begin"): self._own_key_begin,
            ("POST", "/account/key"): self._own_key,
            ("POST", "/account/factors"): self._drop_factors,
            ("POST", "/account/session"): self._end_session,
            ("POST", "/account/sessions"): self._end_sessions,
            ("POST", "/account/token"): self._add_token,
            ("POST", "/account/token/revoke"): self._revoke_token,
            ("GET", "/audit"): self._audit,
            ("GET", "/people"): self._people,
            ("POST", "/people/add"): self._add_person,
            ("POST", "/people/change"): self._change_person,
        }

    async def serve(self, request: Request, session: str) -> Response | None:
        """The response for an address of ours; `None` for any other. `session` is empty for who is not signed in."""
        key = (request.method if request.method != "HEAD" else "GET", request.url.path)
        if key not in self._open and key not in self._own:
            return None
        if request.method == "POST" and request.headers.get("origin") is None:
            return PlainTextResponse("Refused: the request does not say where it comes from.", 403)
        try:
            if key in self._open:
                return await self._open[key](request, session)
            if not session:
                return await self.sign_in_page(request, 401)
            desk = connection.peer(session, _address(request)).desk
            return await self._own[key](request, desk, await _form(request))
        except SignInError as exc:
            return await self.sign_in_page(request, 403, problem=f"{exc}. {exc.hint}")
        except ServerUnreachableError:
            raise
        except StrongroomError as exc:
            return self._page("message.html.j2", exc.http_status, title="That did not work", text=f"{exc}. {exc.hint}")

    # ------------------------------------------------------------------------------------------------ signing in

    async def sign_in_page(self, request: Request, status: int, *, problem: str = "") -> Response:
        """The form for name and password, with what else is offered."""
        client, _ = connection.sign_in_client()
        ways = await _run(client.ways)
        return self._page("sign-in.html.j2", status, ways=ways, problem=problem)

    async def _form(self, request: Request, _session: str) -> Response:
        return await self.sign_in_page(request, 200)

    async def _password(self, request: Request, session: str) -> Response:
        form = await _form(request)
        client, headers = self._client(request)
        wanted = SignInRequest(form.get("name", ""), form.get("password", ""))
        return await self._done(await _run(client.password, wanted, headers), session)

    async def _done(self, done: SignedIn, before: str) -> Response:
        """Signed in, or asked for the second factor."""
        if not done.session:
            return self._page("second.html.j2", 200, policy=_KEY_POLICY, done=done)
        return await self._enter(done, before)

    async def _enter(self, done: SignedIn, before: str, response: Response | None = None) -> Response:
        """Give the browser its new session. One that it had before ends, whoever had put it there."""
        if before:
            await _run(connection.peer(before).desk.sign_out)
            connection.forget(before)
        response = response or RedirectResponse("/", 303)
        response.set_cookie(COOKIE, done.session, path="/", httponly=True, samesite="strict", secure=self._secure)
        return response

    async def _second(self, request: Request, session: str) -> Response:
        form = await _form(request)
        client, headers = self._client(request)
        wanted = SecondFactor(form.get("pending", ""), form.get("code", ""))
        return await self._done(await _run(client.second_factor, wanted, headers), session)

    async def _key_script(self, _request: Request, _session: str) -> Response:
        return PlainTextResponse(_SCRIPT, media_type="text/javascript")

    async def _key_begin(self, request: Request, _session: str) -> Response:
        client, headers = self._client(request)
        pending = str((await _json(request)).get("pending", ""))
        return JSONResponse(await _run(client.key_challenge, KeyRequest(self._origin(request), pending), headers))

    async def _key(self, request: Request, session: str) -> Response:
        client, headers = self._client(request)
        body = await _json(request)
        wanted = SecondFactor(
            str(body.get("pending", "")), credential=dict(body.get("credential") or {}), origin=self._origin(request)
        )
        done = await _run(client.second_factor, wanted, headers)
        return await self._enter(done, session, JSONResponse({"to": "/"}))

    async def _link(self, request: Request, session: str) -> Response:
        client, headers = self._client(request)
        try:
            done = await _run(client.link, LinkRequest(request.query_params.get("token", "")), headers)
        except SignInError:
            return self._page(
                "message.html.j2",
                403,
                title="This link has been used or has expired",
                text="Each sign-in link works once. Run `strongroom link` on the server's machine for a fresh one.",
            )
        return await self._done(done, session)

    async def _sso(self, request: Request, _session: str) -> Response:
        client, headers = self._client(request)
        there = await _run(client.sso_begin, SsoStart(f"{self._origin(request)}/sign-in/return"), headers)
        response = RedirectResponse(there.url, 303)
        # Lax, as the browser comes back from another site; the value alone opens nothing.
        response.set_cookie(
            _SSO_COOKIE, there.state, max_age=600, path="/sign-in", httponly=True, samesite="lax", secure=self._secure
        )
        return response

    async def _sso_return(self, request: Request, session: str) -> Response:
        client, headers = self._client(request)
        state, code = request.query_params.get("state", ""), request.query_params.get("code", "")
        # Only the browser that began may finish: otherwise a link could sign a person in as somebody else.
        if not code or not hmac.compare_digest(state.encode(), _cookie(request, _SSO_COOKIE).encode()):
            raise SignInError("single sign-on did not finish", hint="Begin again.")
        done = await _run(client.sso_finish, SsoReturn(state, code), headers)
        # A redirect would still count as coming from the provider, and the strict cookie would not be sent.
        response = await self._enter(done, session, self._page("enter.html.j2", 200))
        response.delete_cookie(_SSO_COOKIE, path="/sign-in")
        return response

    async def _welcome(self, request: Request, _session: str) -> Response:
        client, _ = connection.sign_in_client()
        ways = await _run(client.ways)
        code = request.query_params.get("code", "")
        return self._page("welcome.html.j2", 200, code=code, first=ways.setup, problem="", name="")

    async def _redeem(self, request: Request, session: str) -> Response:
        form = await _form(request)
        client, headers = self._client(request)
        ways = await _run(client.ways)
        code, name, password = form.get("code", ""), form.get("name", ""), form.get("password", "")
        problem = "The two passwords differ." if password != form.get("again") else ""
        if not problem:
            try:
                done = await _run(client.redeem, RedeemRequest(code, password, name), headers)
                return await self._done(done, session)
            except UsageError as exc:
                problem = f"{exc}. {exc.hint}"
        return self._page("welcome.html.j2", 400, code=code, first=ways.setup, problem=problem, name=name)

    async def _logout(self, _request: Request, session: str) -> Response:
        if session:
            await _run(connection.peer(session).desk.sign_out)
            connection.forget(session)
        response = self._page("message.html.j2", 200, title="Signed out", text="")
        if session:  # a link on another site comes without the cookie, and signs nobody out
            response.delete_cookie(COOKIE, path="/")
        return response

    # ------------------------------------------------------------------------------------------------ one's account

    async def _account(self, request: Request, desk: HttpDesk, _form: Form) -> Response:
        return await self._account_page(desk)

    async def _account_page(self, desk: HttpDesk, status: int = 200, **more: Any) -> Response:
        me = await _run(desk.me)
        shown = {"secret": "", "done": "", "codes": (), "problem": "", **more}
        return self._page(
            "account.html.j2",
            status,
            policy=_KEY_POLICY,
            me=me,
            sessions=await _run(desk.sessions),
            tokens=await _run(desk.tokens),
            scopes=SCOPES,
            **shown,
        )

    async def _change(self, desk: HttpDesk, done: str, function: Callable[..., object], *args: object) -> Response:
        """Do it and show the account again, with what came of it."""
        try:
            await _run(function, *args)
        except UsageError as exc:
            return await self._account_page(desk, 400, problem=f"{exc}. {exc.hint}")
        return await self._account_page(desk, done=done)

    async def _set_password(self, request: Request, desk: HttpDesk, form: Form) -> Response:
        if form.get("new") != form.get("again"):
            return await self._account_page(desk, 400, problem="The two passwords differ.")
        change = PasswordChange(form.get("new", ""), form.get("old", ""))
        return await self._change(desk, "Password changed; other sessions have ended.", desk.change_password, change)

    async def _totp(self, request: Request, desk: HttpDesk, _form: Form) -> Response:
        import segno

        setup = await _run(desk.begin_totp)
        picture = io.BytesIO()
        segno.make(setup.uri, error="m").save(picture, kind="svg", scale=4, xmldecl=False, svgns=True, omitsize=True)
        return self._page("totp.html.j2", 200, setup=setup, picture=picture.getvalue().decode(), problem="")

    async def _totp_confirm(self, request: Request, desk: HttpDesk, form: Form) -> Response:
        try:
            codes = await _run(desk.confirm_totp, form.get("code", ""))
        except UsageError as exc:
            return await self._account_page(desk, 400, problem=f"{exc}. {exc.hint}")
        return await self._account_page(desk, done="The authenticator app is set up.", codes=codes.codes)

    async def _own_key_begin(self, request: Request, desk: HttpDesk, _form: Form) -> Response:
        try:
            return JSONResponse(await _run(desk.begin_key, self._origin(request)))
        except UsageError as exc:
            return JSONResponse({"error": f"{exc}. {exc.hint}"}, 400)

    async def _own_key(self, request: Request, desk: HttpDesk, form: Form) -> Response:
        try:
            credential = json.loads(form.get("credential", "{}"))
        except json.JSONDecodeError:
            credential = {}
        try:
            codes = await _run(desk.add_key, credential, self._origin(request))
        except UsageError as exc:
            return await self._account_page(desk, 400, problem=f"{exc}. {exc.hint}")
        return await self._account_page(desk, done="The security key is set up.", codes=codes.codes)

    async def _drop_factors(self, request: Request, desk: HttpDesk, form: Form) -> Response:
        done = "Second factors removed."
        return await self._change(desk, done, desk.drop_factors, form.get("password", ""))

    async def _end_session(self, request: Request, desk: HttpDesk, form: Form) -> Response:
        return await self._change(desk, "Session ended.", desk.end_session, form.get("id", ""))

    async def _end_sessions(self, request: Request, desk: HttpDesk, _form: Form) -> Response:
        return await self._change(desk, "All other sessions have ended.", desk.end_sessions)

    async def _add_token(self, request: Request, desk: HttpDesk, form: Form) -> Response:
        scopes = tuple(scope for scope in SCOPES if form.get(f"scope-{scope}"))
        days = form.get("days", "")
        try:
            wanted = TokenRequest(form.get("label", ""), scopes, int(days) if days.isascii() and days.isdigit() else 0)
            made = await _run(desk.add_token, wanted)
        except UsageError as exc:
            return await self._account_page(desk, 400, problem=f"{exc}. {exc.hint}")
        return await self._account_page(desk, done="Token made. It is shown this once:", secret=made.secret)

    async def _revoke_token(self, request: Request, desk: HttpDesk, form: Form) -> Response:
        return await self._change(desk, "Token revoked.", desk.revoke_token, form.get("id", ""))

    # ------------------------------------------------------------------------------------------------ everybody

    async def _audit(self, request: Request, desk: HttpDesk, _form: Form) -> Response:
        before = request.query_params.get("before", "")
        number = int(before) if before.isascii() and before.isdigit() and len(before) < 16 else None
        entries = await _run(desk.audit, number)
        return self._page("audit.html.j2", 200, me=await _run(desk.me), entries=entries)

    async def _people(self, request: Request, desk: HttpDesk, _form: Form) -> Response:
        return await self._people_page(request, desk)

    async def _people_page(self, request: Request, desk: HttpDesk, status: int = 200, **more: str) -> Response:
        me = await _run(desk.me)
        shown = {"done": "", "link": "", "problem": "", "deleting": "", **more}
        people = await _run(desk.users)
        return self._page("people.html.j2", status, me=me, people=people, roles=ROLES, **shown)

    async def _add_person(self, request: Request, desk: HttpDesk, form: Form) -> Response:
        role: Any = form.get("role", "")
        try:
            made = await _run(desk.add_user, NewAccount(form.get("name", ""), role))
        except UsageError as exc:
            return await self._people_page(request, desk, 400, problem=f"{exc}. {exc.hint}")
        link = f"{self._origin(request)}/welcome?code={made.code}"
        return await self._people_page(request, desk, done=f"Send this link to {made.name}; it works once:", link=link)

    async def _change_person(self, request: Request, desk: HttpDesk, form: Form) -> Response:
        name, what = form.get("name", ""), form.get("what", "")
        role: Any = form.get("role", "")
        try:
            if what == "invite":
                made = await _run(desk.invite, name)
                link = f"{self._origin(request)}/welcome?code={made.code}"
                return await self._people_page(
                    request, desk, done=f"Send this link to {made.name}; it works once:", link=link
                )
            if what == "role":
                await _run(desk.change_user, name, AccountChange(role=role))
            elif what in ("disable", "enable"):
                await _run(desk.change_user, name, AccountChange(disabled=what == "disable"))
            elif what == "reset-factors":
                await _run(desk.reset_factors, name)
            elif what == "delete":
                return await self._people_page(request, desk, deleting=name)
            elif what == "delete-for-good":
                await _run(desk.delete_user, name)
            else:
                raise UsageError("nothing was chosen", hint="Choose what to do.")
        except UsageError as exc:
            return await self._people_page(request, desk, 400, problem=f"{exc}. {exc.hint}")
        return await self._people_page(request, desk, done="Done.")

    # ------------------------------------------------------------------------------------------------

    def _page(self, template: str, status: int, *, policy: str = _POLICY, **values: Any) -> HTMLResponse:
        html = self._templates.get_template(template).render(style=_STYLE, logo=_LOGO, **values)
        # "same-origin": a form that is sent without a referrer comes from the origin "null"
        own = {"Content-Security-Policy": policy, "Referrer-Policy": "same-origin"}
        return HTMLResponse(html, status, {f"x-own-{name}": value for name, value in own.items()})

    def _client(self, request: Request) -> tuple[Any, dict[str, str]]:
        client, gate = connection.sign_in_client()
        return client, for_browser(gate, _address(request), request.headers.get("user-agent", ""))

    def _origin(self, request: Request) -> str:
        """The page's own address; the gate has checked the host."""
        return f"{'https' if self._secure else 'http'}://{request.headers.get('host', '')}"


async def _run(function: Callable[..., T], *args: Any) -> T:
    """Run a call to the server in a thread; sign-ins have their own, so that a flood of them holds up nobody else."""
    return await to_thread.run_sync(lambda: function(*args), limiter=_THREADS)


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > _MOST:
            raise UsageError("the form is too large", hint="Send less.")
    return bytes(body)


async def _form(request: Request) -> Form:
    """Fields of a form, each once; empty for a request without one."""
    if request.method != "POST" or not request.headers.get("content-type", "").startswith(
        "application/x-www-form-urlencoded"
    ):
        return {}
    fields = parse_qs((await _body(request)).decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=50)
    return {name: values[0] for name, values in fields.items()}


async def _json(request: Request) -> dict[str, Any]:
    try:
        found = json.loads(await _body(request))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise UsageError("the request is malformed", hint="Load the page again.")
    return found


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _cookie(request: Request, name: str) -> str:
    try:
        jar: SimpleCookie = SimpleCookie(request.headers.get("cookie", ""))
    except CookieError:
        return ""
    return jar[name].value if name in jar else ""
