"""The gate before the UI: sign-in, cookies, hosts, origins, headers, websockets. No Streamlit needed."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from strongroom.listen import BackgroundServer, bind
from strongroom.signin import make_code
from tests.server_fixtures import Served, served
from ui import connection
from ui.connection import COOKIE
from ui.gate import Gate, content_security_policy


async def _inside(request: Request) -> Response:
    return PlainTextResponse("inside", headers={"X-Frame-Options": "ALLOWALL"})


async def _echo(websocket: WebSocket) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("gate"), accounts=True) as running:
        connection.configure(running.url, running.token)
        yield running


@pytest.fixture
def site(up: Served) -> Iterator[httpx.Client]:
    inner = Starlette(routes=[Route("/{path:path}", _inside, methods=["GET", "POST"]), WebSocketRoute("/ws", _echo)])
    inner.router.routes.reverse()
    gate = Gate(inner, policy="default-src 'none'")
    server = BackgroundServer(gate, bind("127.0.0.1", 0))
    with server, httpx.Client(base_url=server.url, trust_env=False) as client:
        yield client


def _sign_in(site: httpx.Client, up: Served) -> httpx.Response:
    return site.get("/login", params={"token": make_code(up.token)})


@pytest.mark.parametrize(
    "path", ["/", "/_stcore/health", "/static/js/x.js", "/files/d/pages/0.png", "/_stcore/metrics"]
)
def test_nothing_is_served_before_signing_in(site: httpx.Client, path: str) -> None:
    response = site.get(path)
    assert response.status_code == 401
    assert "inside" not in response.text


def test_health_is_open_and_says_nothing(site: httpx.Client) -> None:
    assert site.get("/healthz").text == "ok"


def test_a_one_time_link_signs_in_and_leads_home(site: httpx.Client, up: Served) -> None:
    response = _sign_in(site, up)
    assert (response.status_code, response.headers["location"]) == (303, "/")
    cookie = response.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "path=/" in cookie
    assert site.get("/").text == "inside"


def test_a_link_works_once(site: httpx.Client, up: Served) -> None:
    code = make_code(up.token)
    assert site.get("/login", params={"token": code}).status_code == 303
    site.cookies.clear()
    again = site.get("/login", params={"token": code})
    assert again.status_code == 403
    assert "set-cookie" not in again.headers


@pytest.mark.parametrize("code", ["", "x", "1.2.3", "<script>"])
def test_a_wrong_link_signs_nobody_in(site: httpx.Client, code: str) -> None:
    response = site.get("/login", params={"token": code})
    assert response.status_code == 403
    assert "set-cookie" not in response.headers
    assert "<script>" not in response.text


def test_the_server_s_token_itself_is_no_sign_in_code(site: httpx.Client, up: Served) -> None:
    assert site.get("/login", params={"token": up.token}).status_code == 403


def test_a_forged_cookie_is_refused(site: httpx.Client, up: Served) -> None:
    for value in ("x", "", "srs_x", up.token):
        assert site.get("/", headers={"Cookie": f"{COOKIE}={value}"}).status_code == 401


def test_signing_out_ends_the_session_for_good(site: httpx.Client, up: Served) -> None:
    _sign_in(site, up)
    cookie = site.cookies[COOKIE]
    assert site.get("/logout").status_code == 200
    assert site.get("/", headers={"Cookie": f"{COOKIE}={cookie}"}).status_code == 401


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "a@127.0.0.1", ""])
def test_other_host_names_are_refused_even_when_signed_in(site: httpx.Client, up: Served, host: str) -> None:
    _sign_in(site, up)
    assert site.get("/", headers={"Host": host}).status_code == 421


def test_a_form_of_another_site_is_refused(site: httpx.Client, up: Served) -> None:
    _sign_in(site, up)
    assert site.post("/x", headers={"Origin": "http://evil.example"}).status_code == 403
    assert site.post("/x", headers={"Origin": "null"}).status_code == 403
    assert site.post("/x", headers={"Origin": str(site.base_url).rstrip("/")}).status_code == 200


@pytest.mark.parametrize("path", ["/", "/login", "/healthz"])
def test_every_response_carries_our_headers(site: httpx.Client, up: Served, path: str) -> None:
    for _ in range(2):
        headers = site.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert "script-src" not in headers["content-security-policy"]
        assert headers["x-frame-options"] == "DENY"  # also where the inner app said otherwise
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] in ("no-referrer", "same-origin")
        assert headers["cache-control"] == "no-store"
        _sign_in(site, up)


# ------------------------------------------------------------------------------------------------ websockets


def _address(site: httpx.Client) -> tuple[str, str]:
    origin = str(site.base_url).rstrip("/")
    return origin.replace("http://", "ws://") + "/ws", origin


def test_a_signed_in_page_may_talk(site: httpx.Client, up: Served) -> None:
    _sign_in(site, up)
    address, origin = _address(site)
    headers = {"Cookie": f"{COOKIE}={site.cookies[COOKIE]}"}
    with connect(address, origin=origin, additional_headers=headers, proxy=None) as socket:  # type: ignore[arg-type]
        socket.send("hello")
        assert socket.recv(timeout=5) == "hello"


@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:1", "null", None])
def test_another_site_may_not_talk_through_a_signed_in_browser(
    site: httpx.Client, up: Served, origin: str | None
) -> None:
    _sign_in(site, up)
    headers = {"Cookie": f"{COOKIE}={site.cookies[COOKIE]}"}
    with pytest.raises(InvalidStatus) as caught:
        connect(_address(site)[0], origin=origin, additional_headers=headers, proxy=None)  # type: ignore[arg-type]
    assert caught.value.response.status_code == 403


def test_without_a_session_no_websocket_opens(site: httpx.Client) -> None:
    address, origin = _address(site)
    with pytest.raises(InvalidStatus):
        connect(address, origin=origin, proxy=None)  # type: ignore[arg-type]


def test_signing_out_cuts_an_open_websocket(site: httpx.Client, up: Served) -> None:
    _sign_in(site, up)
    address, origin = _address(site)
    headers = {"Cookie": f"{COOKIE}={site.cookies[COOKIE]}"}
    with connect(address, origin=origin, additional_headers=headers, proxy=None) as socket:  # type: ignore[arg-type]
        site.get("/logout")
        socket.send("still there?")
        with pytest.raises(Exception, match="close"):
            socket.recv(timeout=5)


# ------------------------------------------------------------------------------------------------ policy


def test_the_policy_allows_the_shipped_inline_script_by_hash_and_no_other(tmp_path: Path) -> None:
    index = tmp_path / "index.html"
    index.write_text("<html><script>\n a = 1\n</script><script type='module' src='x.js'></script>")
    policy = content_security_policy(index)
    digest = b64encode(hashlib.sha256(b"\n a = 1\n").digest()).decode()
    (scripts,) = re.findall(r"script-src ([^;]+)", policy)
    assert scripts.split() == ["'self'", "blob:", f"'sha256-{digest}'"]
    assert "unsafe-eval" not in policy
    assert re.findall(r"https?:|\*", policy) == []
