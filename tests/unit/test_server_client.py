"""Finding the server, reaching it or failing clearly, and listening only where that is allowed."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from strongroom.client.connection import ServerUnreachableError
from strongroom.client.engine import HttpEngine
from strongroom.client.server_info import read_server_info, write_server_info
from strongroom.errors import NotPermittedError, StrongroomError, UsageError
from strongroom.listen import bind, is_loopback, url_of
from strongroom.signin import CodeBook, make_code
from strongroom.types import AskRequest, IngestRequest
from tests.server_fixtures import served


def test_server_info_is_private_and_comes_back(tmp_path: Path) -> None:
    info = write_server_info(tmp_path, url="http://127.0.0.1:1", token="secret")
    path = tmp_path / "run" / "server.json"
    assert read_server_info(tmp_path) == info
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "secret" not in repr(info)


def test_no_server_info_is_no_server(tmp_path: Path) -> None:
    assert read_server_info(tmp_path) is None


def _rewrite(tmp_path: Path, **changes: object) -> None:
    path = tmp_path / "run" / "server.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_dead_process_is_no_server(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    write_server_info(tmp_path, url="http://127.0.0.1:1", token="t")
    _rewrite(tmp_path, pid=gone.pid)
    assert read_server_info(tmp_path) is None


def test_a_reused_process_id_is_no_server(tmp_path: Path) -> None:
    info = write_server_info(tmp_path, url="http://127.0.0.1:1", token="t")
    _rewrite(tmp_path, started=info.started - 1)
    assert read_server_info(tmp_path) is None


def test_a_broken_file_is_no_server(tmp_path: Path) -> None:
    write_server_info(tmp_path, url="http://127.0.0.1:1", token="t")
    (tmp_path / "run" / "server.json").write_text("{")
    assert read_server_info(tmp_path) is None


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    write_server_info(tmp_path, url="http://127.0.0.1:1", token="t")
    (tmp_path / "run" / "server.json").chmod(0o644)
    with pytest.raises(NotPermittedError, match="not private"):
        read_server_info(tmp_path)


def test_a_link_in_the_file_s_place_is_refused(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.json"
    elsewhere.write_text("{}")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "server.json").symlink_to(elsewhere)
    with pytest.raises(NotPermittedError):
        read_server_info(tmp_path)


def test_a_stopped_server_takes_its_info_away(tmp_path: Path) -> None:
    with served(tmp_path) as up:
        found = read_server_info(tmp_path)
        assert found is not None
        assert found.url == up.url
    assert read_server_info(tmp_path) is None


def test_nothing_listening_is_said_clearly() -> None:
    sock = bind("127.0.0.1", 0)
    url = url_of(sock)
    sock.close()
    with pytest.raises(ServerUnreachableError, match=url) as caught:
        HttpEngine(url, "t").status()
    assert "strongroom up" in caught.value.hint


def test_proxies_of_the_environment_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with served(tmp_path) as up:
        assert HttpEngine(up.url, up.token).status().model == "fake-1"


def test_a_wrong_token_is_not_permitted(tmp_path: Path) -> None:
    with served(tmp_path) as up, pytest.raises(NotPermittedError):
        HttpEngine(up.url, "wrong").documents()


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="not an address"):
        HttpEngine("file:///etc/passwd", "t")


def test_a_client_without_a_walk_says_so(tmp_path: Path) -> None:
    with served(tmp_path) as up, pytest.raises(UsageError, match="cannot read folders"):
        HttpEngine(up.url, up.token).ingest(IngestRequest((str(tmp_path),)), on_event=lambda _event: None)


def test_a_server_that_dies_in_the_middle_is_an_error_not_an_end() -> None:
    # GIVEN a server that starts an event stream and hangs up
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            connection, _ = listener.accept()
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n: x\r\n")
            connection.close()

        threading.Thread(target=hang_up, daemon=True).start()
        engine = HttpEngine(f"http://127.0.0.1:{listener.getsockname()[1]}", "t")
        # WHEN the answer is read THEN that is an error
        with pytest.raises(ServerUnreachableError):
            list(engine.ask(AskRequest("q")))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_public_addresses_need_permission(host: str) -> None:
    with pytest.raises(NotPermittedError, match="not a loopback"):
        bind(host, 0)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_is_known(host: str) -> None:
    assert is_loopback(host)


def test_with_permission_a_public_address_is_bound() -> None:
    bind("0.0.0.0", 0, allow_remote=True).close()


def test_a_taken_port_is_said_clearly() -> None:
    sock = bind("127.0.0.1", 0)
    with pytest.raises(StrongroomError, match="Address already in use"):
        bind("127.0.0.1", sock.getsockname()[1])
    sock.close()


# ------------------------------------------------------------------------------------------------ sign-in codes


def test_a_code_works_once() -> None:
    book = CodeBook("token")
    code = make_code("token")
    assert book.redeem(code)
    assert not book.redeem(code)


@pytest.mark.parametrize("code", ["", ".", "..", "a.b.c", "99999999999.nonce.", "é.é.é"])
def test_malformed_codes_are_refused(code: str) -> None:
    assert not CodeBook("token").redeem(code)


def test_foreign_changed_and_expired_codes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    book, code = CodeBook("token"), make_code("token", seconds=60)
    expiry, nonce, mac = code.split(".")
    assert not CodeBook("other").redeem(code)
    assert not book.redeem(f"{int(expiry) + 1}.{nonce}.{mac}")
    now = time.time()
    monkeypatch.setattr("strongroom.signin.time.time", lambda: now + 61)
    assert not book.redeem(code)


def test_the_user_of_the_process_owns_the_info(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_server_info(tmp_path, url="http://127.0.0.1:1", token="t")
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    with pytest.raises(NotPermittedError):
        read_server_info(tmp_path)
