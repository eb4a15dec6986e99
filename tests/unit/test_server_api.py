"""The HTTP API over a fake engine: who gets in, what comes out, and what an error looks like."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from server.app import create_app
from server.settings import ServerSettings
from strongroom.access import LOCAL_USER
from strongroom.client.engine import HttpEngine
from strongroom.config import Settings
from strongroom.errors import (
    CancelledError,
    ConfigError,
    IndexUnreachableError,
    LockedError,
    NotFoundError,
    NotPermittedError,
)
from strongroom.secrets import refuse_weak_settings
from strongroom.types import AskRequest, IngestRequest, SearchRequest
from tests.fakes_engine import FakeEngine
from tests.server_fixtures import Served, served, write_documents

QUESTION = "What is the notice period for termination?"


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("server")
    engine = FakeEngine()
    engine.ingest(IngestRequest((str(write_documents(root / "docs")),)), on_event=lambda _event: None)
    with served(root, engine=engine) as running:
        yield running


def _contract(up: Served) -> str:
    return next(d.id for d in up.engine.documents() if d.name.endswith(".pdf"))


# ------------------------------------------------------------------------------------------------ who gets in


API_PATHS = ["/api/status", "/api/documents", "/api/documents/x/original", "/api/no-such-thing", "/openapi.json", "/"]


@pytest.mark.parametrize("path", API_PATHS)
@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer wrong", "Basic {token}", "Bearer {token}x"])
def test_without_the_token_every_path_answers_alike(up: Served, path: str, header: str | None) -> None:
    headers = {"Authorization": "" if header is None else header.format(token=up.token)}
    response = up.http.get(path, headers=headers)
    assert response.status_code == 401
    assert response.json()["error"]["type"] == "UnauthorizedError"
    assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_health_needs_no_token(up: Served, path: str) -> None:
    assert up.http.get(path, headers={"Authorization": ""}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "user@localhost", ""])
@pytest.mark.parametrize("path", ["/healthz", "/api/status"])
def test_other_host_names_are_refused(up: Served, host: str, path: str) -> None:
    assert up.http.get(path, headers={"Host": host}).status_code == 421


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:9"])
def test_loopback_names_are_known(up: Served, host: str) -> None:
    assert up.http.get("/api/status", headers={"Host": host}).status_code == 200


def test_a_configured_host_name_is_known(tmp_path: Path) -> None:
    with served(tmp_path, public_hosts=frozenset({"Archive.Example"})) as up:
        assert up.http.get("/api/status", headers={"Host": "archive.example"}).status_code == 200


@pytest.mark.parametrize("token", ["", "short", "a" * 64, "0123" * 16, "changeme-0123456789-abcdefghijklmnop"])
def test_a_server_without_a_token_is_not_built(tmp_path: Path, token: str) -> None:
    with pytest.raises(ConfigError, match="the server's token is no secret") as caught:
        create_app(lambda _user, *, by: FakeEngine(), token=token, settings=ServerSettings(spool_dir=tmp_path / "s"))
    assert not token or token not in f"{caught.value} {caught.value.hint}"


def test_no_server_starts_with_a_guessable_or_missing_key_of_its_index() -> None:
    good = "0123456789abcdef" * 4
    refuse_weak_settings(Settings(qdrant_url="https://vectors.example:6333", qdrant_api_key=good))
    refuse_weak_settings(Settings(qdrant_url="http://127.0.0.1:6333"))
    with pytest.raises(ConfigError, match="there is no qdrant_api_key"):
        refuse_weak_settings(Settings(qdrant_url="https://vectors.example:6333"))
    with pytest.raises(ConfigError, match="qdrant_api_key is no secret"):
        refuse_weak_settings(Settings(qdrant_url="http://127.0.0.1:6333", qdrant_api_key="hunter2"))


def test_every_response_carries_the_security_headers(up: Served) -> None:
    for path in ("/healthz", "/api/status", "/api/no-such-thing"):
        headers = up.http.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert "access-control-allow-origin" not in headers
        assert "server" not in headers


def test_cross_origin_preflight_gets_no_permission(up: Served) -> None:
    headers = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST", "Authorization": ""}
    assert "access-control-allow-origin" not in up.http.options("/api/ask", headers=headers).headers


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/docs/oauth2-redirect"])
def test_there_are_no_documentation_pages_with_foreign_scripts(up: Served, path: str) -> None:
    assert up.http.get(path).status_code == 404


def test_the_api_describes_itself_behind_the_token(up: Served) -> None:
    paths = up.http.get("/openapi.json").json()["paths"]
    schema = paths["/api/search"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert set(schema["properties"]) == {"question", "k", "collection", "history", "id", "scope"}


def test_acting_as_another_user_reaches_the_engine_of_that_user(tmp_path: Path) -> None:
    asked: list[str] = []

    def engine_for(user: str, *, by: str) -> FakeEngine:
        asked.append(user)
        assert by == LOCAL_USER
        if user in ("nobody", ""):
            raise NotPermittedError(f"user {user!r} does not exist", hint="See `strongroom users`.")
        return FakeEngine()

    with served(tmp_path, engine_for=engine_for) as up:
        assert up.http.get("/api/documents").status_code == 200
        assert up.http.get("/api/documents", headers={"X-Strongroom-As": "J%C3%BCrgen"}).status_code == 200
        assert up.http.get("/api/documents", headers={"X-Strongroom-As": "nobody"}).status_code == 403
        assert up.http.get("/api/documents", headers={"X-Strongroom-As": ""}).status_code == 403
    assert asked == [LOCAL_USER, "Jürgen", "nobody", ""]


# ------------------------------------------------------------------------------------------------ search and ask


def test_search_answers_with_the_engine_s_result(up: Served) -> None:
    response = up.http.post("/api/search", json={"question": QUESTION, "k": 1})
    expected = up.engine.search(SearchRequest(QUESTION, k=1)).hits[0]
    hit = response.json()["hits"][0]
    assert (hit["text"], hit["pages"], hit["document"]["name"]) == (expected.text, [1], "Supply contract.pdf")


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b'{"question": 3}', "question"),
        (b'{"q": "x"}', "question"),
        (b'{"question":"x","colection":"y"}', "colection"),
        (b"not json", "JSON"),
        (b"", "JSON"),
    ],
)
def test_a_malformed_request_says_what_is_wrong(up: Served, body: bytes, word: str) -> None:
    response = up.http.post("/api/search", content=body)
    assert response.status_code == 400
    assert word in response.json()["error"]["message"]


def test_the_engine_s_own_refusal_keeps_message_hint_and_code(up: Served) -> None:
    response = up.http.post("/api/search", json={"question": " "})
    assert response.status_code == 400
    assert response.json()["error"] == {
        "message": "the question is empty",
        "hint": "Ask something.",
        "code": 2,
        "type": "UsageError",
    }


def test_an_oversized_request_is_refused(tmp_path: Path) -> None:
    with served(tmp_path, max_json_bytes=1000) as up:
        response = up.http.post("/api/search", json={"question": "x" * 2000})
    assert response.status_code == 413


def test_ask_streams_events_named_by_kind_and_ends_with_the_answer(up: Served) -> None:
    with up.http.stream("POST", "/api/ask", json={"question": QUESTION}) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        blocks = [b for b in "".join(response.iter_text()).split("\n\n") if b and not b.startswith(":")]
    kinds = [block.split("\n")[0].removeprefix("event: ") for block in blocks]
    assert kinds[0] == "stage"
    assert kinds[-1] == "answer"
    assert kinds.index("citations") < kinds.index("text")
    assert all(json.loads(b.split("\ndata: ")[1])["kind"] == k for b, k in zip(blocks, kinds, strict=True))


def test_an_error_in_the_middle_of_an_answer_is_its_last_event(tmp_path: Path) -> None:
    class Broken(FakeEngine):
        def ask(self, request: AskRequest, *, cancel: Any = None) -> Iterator[Any]:
            yield from list(super().ask(request))[:1]
            raise IndexUnreachableError("the index went away", hint="Start it.")

    with served(tmp_path, engine=Broken()) as up:
        *_, last = up.client.ask(AskRequest(QUESTION))
    assert (last.kind, last.message, last.code) == ("error", "the index went away", 10)  # type: ignore[union-attr]


def test_leaving_in_the_middle_stops_the_generation(tmp_path: Path) -> None:
    # GIVEN a slow answer
    engine = FakeEngine(pause=0.05)
    engine.ingest(IngestRequest((str(write_documents(tmp_path / "docs")),)), on_event=lambda _event: None)
    with served(tmp_path, engine=engine) as up:
        # WHEN the reader closes the stream at the first word
        events = up.client.ask(AskRequest(QUESTION))
        next(e for e in events if e.kind == "text")
        events.close()  # type: ignore[attr-defined]
        # THEN the engine is told to stop
        assert engine.asked_cancel.wait(5)


def test_a_quiet_answer_sends_heartbeats_and_can_be_cancelled(tmp_path: Path) -> None:
    started, release = threading.Event(), threading.Event()

    class Slow(FakeEngine):
        def ask(self, request: AskRequest, *, cancel: Any = None) -> Iterator[Any]:
            started.set()
            while not (cancel.is_set() or release.is_set()):
                release.wait(0.02)
            self.asked_cancel.set()
            yield from ()

    engine, cancel = Slow(), threading.Event()
    with served(tmp_path, engine=engine, heartbeat=0.05) as up:
        # GIVEN an answer that says nothing at all
        events = up.client.ask(AskRequest(QUESTION), cancel=cancel)
        threading.Thread(target=lambda: (started.wait(5), cancel.set())).start()
        # WHEN the caller cancels THEN the stream ends with an error of code 130, and the engine stops
        (last,) = list(events)
        assert (last.kind, last.code) == ("error", 130)  # type: ignore[union-attr]
        assert engine.asked_cancel.wait(5)
        release.set()


def test_a_server_that_stops_ends_its_streams_in_order_before_what_they_read_is_closed(tmp_path: Path) -> None:
    began, ended = threading.Event(), threading.Event()

    class Slow(FakeEngine):
        def ask(self, request: AskRequest, *, cancel: Any = None) -> Iterator[Any]:
            began.set()
            cancel.wait(10)
            time.sleep(0.3)  # what a generation takes to notice
            ended.set()
            raise CancelledError("the answer was cancelled")
            yield

    # GIVEN an answer that is being written WHEN the server stops
    with ThreadPoolExecutor(1) as reader:
        with served(tmp_path, engine=Slow()) as up:
            client = HttpEngine(up.url, up.token)
            reading = reader.submit(lambda: list(client.ask(AskRequest(QUESTION))))
            assert began.wait(5)
        # THEN its thread has ended when the server has, and the reader is told why
        assert ended.is_set()
        *_, last = reading.result(5)
        client.close()
    assert (last.kind, last.message, last.code) == ("error", "the server is stopping", 130)  # type: ignore[union-attr]


# ------------------------------------------------------------------------------------------------ documents


def test_page_text_travels_without_its_layout_and_boxes_on_request(up: Served) -> None:
    document = _contract(up)
    start = up.engine.page(document, 0).text.index("notice period")
    page = up.http.get(f"/api/documents/{document}/pages/0", params={"start": start, "end": start + 13}).json()
    assert page["page"]["layout"] == ""
    assert len(page["boxes"]) == 1
    x0, y0, x1, y1 = page["boxes"][0]
    assert 72 < x0 < x1 < 595
    assert 0 < y0 < y1 < 100  # the second line from the top of an A4 page
    assert up.http.get(f"/api/documents/{document}/pages/0").json()["boxes"] == []


def test_half_a_span_is_refused(up: Served) -> None:
    assert up.http.get(f"/api/documents/{_contract(up)}/pages/0", params={"start": 1}).status_code == 400


def test_page_image_is_a_png_of_the_asked_resolution(up: Served) -> None:
    small, large = (
        up.http.get(f"/api/documents/{_contract(up)}/pages/0/image.png", params={"dpi": dpi}) for dpi in (72, 144)
    )
    assert small.headers["content-type"] == "image/png"
    width = [int.from_bytes(r.content[16:20], "big") for r in (small, large)]
    assert width == [595, 1190]


@pytest.mark.parametrize("dpi", ["0", "9999", "x"])
def test_absurd_resolutions_are_refused(up: Served, dpi: str) -> None:
    response = up.http.get(f"/api/documents/{_contract(up)}/pages/0/image.png", params={"dpi": dpi})
    assert response.status_code == 400
    assert "dpi" in response.json()["error"]["message"]


def test_an_original_is_only_ever_a_download(tmp_path: Path) -> None:
    engine = FakeEngine()
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / 'pl"an\u00fc.html').write_text("<script>alert(1)</script> Words.")
    engine.ingest(IngestRequest((str(folder),)), on_event=lambda _event: None)
    with served(tmp_path, engine=engine) as up:
        response = up.http.get(f"/api/documents/{engine.documents()[0].id}/original")
    assert response.content == b"<script>alert(1)</script> Words."
    assert response.headers["content-type"] == "application/octet-stream"
    assert response.headers["content-disposition"] == "attachment; filename*=UTF-8''pl%22an%C3%BC.html"
    assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("tail", ["", "/pages/0", "/pages/0/image.png", "/original"])
def test_unknown_and_unreadable_documents_answer_byte_for_byte_alike(tmp_path: Path, tail: str) -> None:
    class Picky(FakeEngine):
        def _get(self, document_id: str) -> Any:
            if document_id == "hidden":
                raise NotPermittedError("you may not read 'Merger plan.pdf'", hint="Ask Anna.")
            raise NotFoundError(f"document {document_id} is not in the catalogue")

    with served(tmp_path, engine=Picky()) as up:
        hidden, unknown = (up.http.get(f"/api/documents/{i}{tail}") for i in ("hidden", "unknown"))
    assert hidden.status_code == unknown.status_code == 404
    assert hidden.content == unknown.content
    assert b"Merger" not in hidden.content


def test_a_page_beyond_the_end_is_not_found(up: Served) -> None:
    assert up.http.get(f"/api/documents/{_contract(up)}/pages/99").status_code == 404
    assert up.http.get(f"/api/documents/{_contract(up)}/pages/-1").status_code == 404


def test_ids_with_slashes_and_dots_reach_the_engine_as_they_are(up: Served) -> None:
    with pytest.raises(NotFoundError):
        up.client.document("../../api/status")


# ------------------------------------------------------------------------------------------------ errors and health


def test_expected_errors_have_their_own_status(tmp_path: Path) -> None:
    class Locked(FakeEngine):
        def status(self) -> Any:
            raise LockedError("process 12 owns the data", hint="Stop it.")

    with served(tmp_path, engine=Locked()) as up:
        response = up.http.get("/api/status")
        assert response.status_code == 423
        assert response.json()["error"]["code"] == 11
        assert up.http.get("/readyz").status_code == 503


def test_a_defect_is_answered_without_detail_and_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    words = " ".join(["the", "secret", "words"])  # put together, as a stack shows lines of source

    class Defective(FakeEngine):
        def status(self) -> Any:
            raise RuntimeError(words)

    with served(tmp_path, engine=Defective()) as up:
        response = up.http.get("/api/status")
    assert response.status_code == 500
    assert words not in response.text
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "RuntimeError" in caplog.text
    assert "in status" in caplog.text  # where it happened, but not what it said
    assert words not in caplog.text


def test_readiness_is_what_the_caller_says(tmp_path: Path) -> None:
    with served(tmp_path, ready=lambda: False) as up:
        assert up.http.get("/readyz").json() == {"ready": False}
        assert up.http.get("/healthz").status_code == 200


def test_metrics_hold_counts_and_no_words(up: Served) -> None:
    up.http.post("/api/search", json={"question": QUESTION})
    up.http.get(f"/api/documents/{_contract(up)}")
    text = up.http.get("/metrics").text
    assert 'strongroom_http_requests_total{route="/api/documents/{document_id}",status="200"}' in text
    assert "strongroom_search_seconds_count" in text
    for word in ("notice", "contract", _contract(up)):
        assert word not in text.lower()


def test_wrong_method_and_unknown_path_are_json_errors(up: Served) -> None:
    assert up.http.put("/api/search").json()["error"]["type"] == "UsageError"
    assert up.http.get("/api/no-such-thing").json()["error"]["type"] == "NotFoundError"


def test_a_request_that_is_not_http_is_survived(up: Served) -> None:
    host, port = up.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as raw:
        raw.sendall(b"\x16\x03\x01\x02\x00garbage\r\n\r\n")
        raw.recv(1000)
    assert up.http.get("/healthz").status_code == 200


@pytest.mark.parametrize("index", ["-1", "99999999999999999999", "x"])
def test_a_page_index_that_no_document_has_is_the_clients_mistake(up: Served, index: str) -> None:
    for path in (f"/api/documents/x/pages/{index}", f"/api/documents/x/pages/{index}/image.png"):
        assert up.http.get(path).status_code in (400, 404, 422)
