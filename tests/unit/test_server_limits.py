"""Slow, greedy and malformed clients, and TLS: real connections to a real server over a fake engine."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.errors import TooManyRequestsError
from server.limits import Buckets, Line, Rate, by_address
from strongroom.client.engine import HttpEngine
from strongroom.client.server_info import read_server_info
from strongroom.connections import Patience, with_proxies
from strongroom.errors import ConfigError, NotPermittedError, StrongroomError
from strongroom.tls import Tls, configured
from strongroom.types import AskRequest, IngestRequest
from tests.certificates import make_certificate
from tests.fakes_engine import FakeEngine
from tests.server_fixtures import Served, served, write_documents

HASTY = Patience(head=0.4, body=0.8, body_rate=200, reader=0.6)


def _connect(up: Served) -> socket.socket:
    host, port = up.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=10)


def _closed(raw: socket.socket) -> bool:
    """The server has ended the connection without a word."""
    try:
        return raw.recv(1) == b""
    except ConnectionResetError:
        return True


def _cut_off(raw: socket.socket, piece: bytes) -> bool:
    """The server ends the connection while one piece after another still comes."""
    started = time.monotonic()
    try:
        while time.monotonic() - started < 15:
            raw.sendall(piece)
            time.sleep(0.02)
    except (BrokenPipeError, ConnectionResetError):
        return True
    return False


def _soon(holds: Callable[[], bool], *, seconds: float) -> bool:
    """It becomes true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.05)
    return False


# ------------------------------------------------------------------------------------------------ slow clients


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("hasty"), patience=HASTY) as up:
        yield up


def test_a_connection_that_says_nothing_is_closed(hasty: Served) -> None:
    with _connect(hasty) as raw:
        started = time.monotonic()
        assert _closed(raw)
        assert 0.3 < time.monotonic() - started < 5


def test_a_head_that_trickles_in_is_cut_off_however_often_a_byte_comes(hasty: Served) -> None:
    with _connect(hasty) as raw:
        raw.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n")
        assert _cut_off(raw, b"x-a: b\r\n")


def test_many_slow_heads_do_not_keep_others_out(tmp_path: Path) -> None:
    # GIVEN more half-sent requests than the server takes connections
    patience = Patience(head=4.0, connections=40)
    with served(tmp_path, patience=patience) as up:
        slow = [_connect(up) for _ in range(60)]
        for raw in slow:
            raw.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n")
        assert _soon(lambda: up.http.get("/healthz").status_code == 503, seconds=3)  # full, and it says so
        # WHEN their time is over THEN it answers again, with all of them still trying
        assert _soon(lambda: up.http.get("/healthz").status_code == 200, seconds=20)
        for raw in slow:
            raw.close()


@pytest.mark.parametrize("path", ["/api/search", "/api/ingest/jobs"])
def test_a_body_that_trickles_in_is_cut_off(hasty: Served, path: str, caplog: pytest.LogCaptureFixture) -> None:
    with _connect(hasty) as raw:
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {hasty.token}\r\n"
        raw.sendall(f"{head}Content-Length: 100000\r\n\r\n".encode())
        assert _cut_off(raw, b" ")
    assert hasty.http.get("/healthz").status_code == 200
    assert "unexpected" not in caplog.text  # whoever does this must not fill the log either


def test_a_body_at_a_fair_pace_is_taken_however_long_it_takes(hasty: Served) -> None:
    body = b'{"question": "x"' + b" " * 9000 + b"}"
    with _connect(hasty) as raw:
        head = f"POST /api/search HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {hasty.token}\r\n"
        raw.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode())
        for at in range(0, len(body), 400):  # about 4,000 bytes a second, for three times the deadline
            raw.sendall(body[at : at + 400])
            time.sleep(0.1)
        assert raw.recv(200).startswith(b"HTTP/1.1 200")


def test_a_reader_that_takes_nothing_is_cut_off(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "strongroom.connections")
    # GIVEN an original larger than what the sockets hold
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "big.txt").write_bytes(b"words " * 4_000_000)
    engine = FakeEngine()
    engine.ingest(IngestRequest((str(folder),)), on_event=lambda _event: None)
    with served(tmp_path, engine=engine, patience=HASTY) as up, _connect(up) as raw:
        path = f"/api/documents/{engine.documents()[0].id}/original"
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {up.token}\r\n\r\n"
        raw.sendall(request.encode())
        # WHEN nothing is read for longer than a reader has THEN the rest never comes
        assert _soon(lambda: "reads nothing" in caplog.text, seconds=20)
        received = 0
        with suppress(ConnectionResetError):
            while piece := raw.recv(1 << 16):
                received += len(piece)
        assert 0 < received < 20_000_000


def test_a_quiet_client_is_not_hurried_while_the_server_works(tmp_path: Path) -> None:
    class Slow(FakeEngine):
        def status(self) -> Any:
            time.sleep(1.5)
            return super().status()

    with served(tmp_path, engine=Slow(), patience=HASTY) as up:
        assert up.http.get("/api/status").status_code == 200


def test_an_upload_that_the_job_holds_back_is_not_cut_off(tmp_path: Path) -> None:
    # GIVEN an engine that takes longer over the first files than a body may pause
    class Slow(FakeEngine):
        def ingest_files(self, files: Any, options: Any, **kwargs: Any) -> Any:
            return super().ingest_files(_slowly(files), options, **kwargs)

    def _slowly(files: Any) -> Iterator[Any]:
        for file in files:
            time.sleep(1.2)
            yield file

    folder = tmp_path / "docs"
    folder.mkdir()
    for n in range(3):
        (folder / f"{n}.txt").write_bytes(b"some words " * 60_000)
    with served(tmp_path, engine=Slow(), patience=HASTY, upload_slots=1) as up:
        summary = up.client.ingest(IngestRequest((str(folder),)), on_event=lambda _event: None)
    assert summary.outcomes == {"indexed": 3}


def test_one_far_address_has_its_share_of_connections() -> None:
    from strongroom.connections import _Patient

    class Transport:
        aborted = False

        def __init__(self, host: str) -> None:
            self._host = host

        def get_extra_info(self, name: str, default: Any = None) -> Any:
            return {"peername": (self._host, 1), "sockname": ("10.0.0.1", 2)}.get(name, default)

        def abort(self) -> None:
            self.aborted = True

    async def count(host: str) -> int:
        import uvicorn
        from uvicorn.server import ServerState

        config, state = uvicorn.Config(lambda: None, lifespan="off"), ServerState()
        made = []
        for _ in range(70):
            transport = Transport(host)
            _Patient(config, state, {}).connection_made(transport)  # type: ignore[arg-type]
            made.append(transport)
        return sum(t.aborted for t in made)

    import asyncio

    assert asyncio.run(count("10.0.0.7")) == 70 - Patience().connections_each
    assert asyncio.run(count("127.0.0.1")) == 0


# ------------------------------------------------------------------------------------------------ sizes


def test_a_head_without_end_is_refused(hasty: Served) -> None:
    with _connect(hasty) as raw:
        raw.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nx-long: ")
        answer = b""
        try:
            for _ in range(20):
                raw.sendall(b"a" * 8192)
            answer = raw.recv(100)
        except (BrokenPipeError, ConnectionResetError):
            return
        assert answer.startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("name", ["../../evil.txt", "/etc/passwd", "a\\..\\b.txt", "C:\\x.txt", "..", ". ", "n" * 300])
def test_a_name_is_never_a_path(tmp_path: Path, name: str) -> None:
    # GIVEN a job
    with served(tmp_path) as up:
        job = up.http.post("/api/ingest/jobs", json={"collection": "c"}).json()["id"]
        before = {p for p in tmp_path.rglob("*") if up.spool not in p.parents}
        # WHEN a file is sent under a name that would leave its folder
        from urllib.parse import quote

        headers = {"X-Strongroom-Uri": quote(f"file:///{name}", safe=""), "X-Strongroom-Name": quote(name, safe="")}
        sent = up.http.put(f"/api/ingest/jobs/{job}/files", headers=headers, content=b"Words of a letter.")
        up.http.post(f"/api/ingest/jobs/{job}/close")
        events = up.http.get(f"/api/ingest/jobs/{job}/events").text
        # THEN it is taken under that name, and nothing lies anywhere but in the spool, which ends empty
        assert sent.status_code == 202
        assert '"summary"' in events
        assert {p for p in tmp_path.rglob("*") if up.spool not in p.parents} == before
        assert not [p for p in up.spool.rglob("*") if p.is_file()]


# ------------------------------------------------------------------------------------------------ too often


def test_a_bucket_gives_what_it_holds_and_then_its_rate() -> None:
    now = [0.0]
    buckets = Buckets(Rate(2, 3), clock=lambda: now[0])
    assert [buckets.wait("a") for _ in range(4)] == [0, 0, 0, 0.5]
    assert buckets.wait("b") == 0  # another's bucket is untouched
    now[0] = 0.5
    assert [buckets.wait("a"), buckets.wait("a")] == [0, 0.5]
    now[0] = 100.0
    assert [buckets.wait("a") for _ in range(4)] == [0, 0, 0, 0.5]  # never more than it holds


def test_who_asks_too_often_is_told_when_to_come_back(tmp_path: Path) -> None:
    with served(tmp_path, person_rate=Rate(1, 3)) as up:
        answers = [up.http.get("/api/collections") for _ in range(5)]
        assert [a.status_code for a in answers] == [200, 200, 200, 429, 429]
        assert answers[-1].headers["retry-after"] == "1"
        assert answers[-1].json()["error"]["type"] == "TooManyRequestsError"
        assert answers[-1].headers["content-security-policy"].startswith("default-src 'none'")
        # AND the health of the server is nobody's bucket, and our own client waits its turn
        assert up.http.get("/healthz").status_code == 200
        assert up.client.collections() == ["default"]


def test_guesses_at_the_token_use_up_no_persons_bucket(tmp_path: Path) -> None:
    with served(tmp_path, person_rate=Rate(0.001, 2)) as up:
        wrong = [up.http.get("/api/status", headers={"Authorization": f"Bearer {n}"}) for n in range(5)]
        assert {w.status_code for w in wrong} == {401}
        assert up.http.get("/api/status").status_code == 200


def test_addresses_have_buckets_but_not_this_machine_and_not_uploads() -> None:
    scope = {"type": "http", "method": "GET", "path": "/api/status", "client": ("10.1.2.3", 5)}
    address_of = by_address(with_proxies(["10.9.9.9"]).many)
    assert address_of(scope) == "10.1.2.3"
    assert address_of({**scope, "client": ("10.9.9.9", 5)}) is None
    assert address_of({**scope, "client": ("127.0.0.1", 5)}) is None
    assert address_of({**scope, "method": "PUT", "path": "/api/ingest/jobs/x/files"}) is None


# ------------------------------------------------------------------------------------------------ the line


def test_people_take_turns_and_each_persons_questions_keep_their_order() -> None:
    line, called = Line(1, longest_each=9), list[str]()

    def enter(person: str, name: str) -> Any:
        ticket = line.enter(person)
        ticket.when_called(lambda: called.append(name))
        return ticket

    # GIVEN one answer in the making, three more of the same person, then one of another's
    tickets = {name: enter(name[0], name) for name in ("a1", "a2", "a3", "a4", "b1")}
    assert called == ["a1"]
    # THEN the other comes after the first of them
    assert {n: t.ahead for n, t in tickets.items()} == {"a1": 0, "a2": 0, "a3": 2, "a4": 3, "b1": 1}
    for name in ("a1", "a2", "b1", "a3", "a4"):
        line.leave(tickets[name])
    assert called == ["a1", "a2", "b1", "a3", "a4"]


def test_whoever_leaves_the_line_makes_room_and_leaving_twice_makes_no_more() -> None:
    line = Line(1, longest_each=9)
    first, second, third = (line.enter(p) for p in "abc")
    line.leave(second)
    line.leave(second)
    assert third.ahead == 0
    line.leave(first)
    line.leave(first)
    assert third.called
    fourth = line.enter("d")
    assert not fourth.called
    with pytest.raises(TooManyRequestsError):
        Line(0, longest_each=0).refuse_when_long("a")


def test_a_waiting_question_says_how_many_come_first_and_is_then_answered(tmp_path: Path) -> None:
    # GIVEN a server that makes one answer at a time, and one that does not end
    release = threading.Event()

    class Slow(FakeEngine):
        def ask(self, request: AskRequest, *, cancel: Any = None) -> Iterator[Any]:
            if request.question.startswith("first"):
                release.wait(20)
            yield from super().ask(request, cancel=cancel)

    engine = Slow()
    engine.ingest(IngestRequest((str(write_documents(tmp_path / "docs")),)), on_event=lambda _event: None)
    with served(tmp_path, engine=engine, answers_at_once=1, heartbeat=0.05) as up:
        threads = [
            threading.Thread(target=lambda q=q: list(up.client.ask(AskRequest(q))), daemon=True)
            for q in ("first notice period", "notice period for termination")
        ]
        for thread in threads:
            thread.start()
            time.sleep(0.3)
        # WHEN a third comes THEN it is told its place, and that it moves up
        seen = []
        for event in up.client.ask(AskRequest("What is the notice period for termination?")):
            seen.append((event.kind, getattr(event, "detail", "")))
            release.set()
        assert seen[0] == ("stage", "1 before you")
        assert seen[-1][0] == "answer"
        for thread in threads:
            thread.join(10)


# ------------------------------------------------------------------------------------------------ TLS


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("tls")
    with served(root, tls=make_certificate(root / "tls")) as up:
        yield up


def test_over_tls_our_client_accepts_the_servers_own_certificate_and_no_other(secured: Served, tmp_path: Path) -> None:
    info = read_server_info(secured.data_dir)
    assert info is not None
    assert info.url.startswith("https://127.0.0.1:")
    good = HttpEngine(info.url, info.token, certificate=info.certificate)
    assert good.status().model == "fake-1"
    # WHEN another certificate of the same name is expected, or none is known, THEN no token is sent
    for certificate in (make_certificate(tmp_path, "archive.example").pem(), ""):
        with pytest.raises(StrongroomError, match="no server answers"):
            HttpEngine(info.url, info.token, certificate=certificate).status()


def test_the_tls_port_speaks_nothing_in_the_clear(secured: Served) -> None:
    with pytest.raises(httpx.HTTPError):
        httpx.get(secured.url.replace("https://", "http://") + "/healthz", trust_env=False)


@pytest.mark.parametrize(
    ("version", "accepted"),
    [
        (ssl.TLSVersion.TLSv1, False),
        (ssl.TLSVersion.TLSv1_1, False),
        (ssl.TLSVersion.TLSv1_2, True),
        (ssl.TLSVersion.TLSv1_3, True),
    ],
)
def test_tls_1_2_is_the_oldest_spoken(secured: Served, version: ssl.TLSVersion, accepted: bool) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    host, port = secured.url.removeprefix("https://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as raw:
        if accepted:
            with context.wrap_socket(raw) as spoken:
                assert spoken.version() in ("TLSv1.2", "TLSv1.3")
        else:
            with pytest.raises(ssl.SSLError):
                context.wrap_socket(raw)


def test_a_key_that_others_may_read_and_half_a_pair_are_refused(tmp_path: Path) -> None:
    tls = make_certificate(tmp_path)
    tls.key.chmod(0o640)
    with pytest.raises(NotPermittedError, match="other users"):
        tls.context()
    with pytest.raises(ConfigError, match="one is missing"):
        configured(tls.certificate, None)
    other = make_certificate(tmp_path / "other")
    with pytest.raises(ConfigError, match="cannot use"):
        Tls(tls.certificate, other.key).context()
