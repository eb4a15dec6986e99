"""The server adapter's edges: addresses, certificates, refusals, old servers; no Qdrant server needed."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from qdrant_client import QdrantClient

from retrieval.index import open_index
from retrieval.index.server import ServerIndex, connect
from strongroom.errors import ConfigError, IndexMismatchError, IndexUnreachableError


class _Answers(BaseHTTPRequestHandler):
    status: ClassVar[int] = 200
    version: ClassVar[str] = "1.18.2"
    seen: ClassVar[list[dict[str, str]]] = []

    def do_GET(self) -> None:
        self.seen.append(dict(self.headers))
        body = json.dumps({"title": "qdrant", "version": self.version}).encode()
        self.send_response(self.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def server() -> Iterator[tuple[type[_Answers], str]]:
    handler = type("Handler", (_Answers,), {"seen": []})
    httpd = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    yield handler, f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    httpd.server_close()
    thread.join()


def test_nobody_listening_is_unreachable_with_a_hint() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(IndexUnreachableError) as caught:
        open_index(dimension=4, url=f"http://127.0.0.1:{port}")
    assert "strongroom check" in caught.value.hint


def test_wrong_key_says_so(server: tuple[type[_Answers], str]) -> None:
    handler, url = server
    handler.status = 403
    with pytest.warns(UserWarning, match="insecure"), pytest.raises(IndexUnreachableError) as caught:
        open_index(dimension=4, url=url, api_key="sesame")
    assert "API key" in caught.value.hint
    assert "sesame" not in str(caught.value)
    assert {k.lower(): v for k, v in handler.seen[0].items()}["api-key"] == "sesame"


def test_server_without_filtered_idf_is_refused(server: tuple[type[_Answers], str]) -> None:
    _, url = server
    with pytest.raises(IndexUnreachableError, match=r"1\.18\.2"):
        open_index(dimension=4, url=url)


def test_proxy_settings_are_ignored(server: tuple[type[_Answers], str], monkeypatch: pytest.MonkeyPatch) -> None:
    handler, url = server
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    with pytest.raises(IndexUnreachableError, match=r"1\.18\.2"):
        open_index(dimension=4, url=url)
    assert handler.seen


@pytest.mark.parametrize("url", ["qdrant:6333", "ftp://qdrant", "https://", "", "/var/run/qdrant"])
def test_bad_addresses(url: str) -> None:
    with pytest.raises(ConfigError):
        connect(url)


def test_missing_certificate_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        connect("https://127.0.0.1:6333", ca=tmp_path / "none.pem")


def test_collection_of_another_embedder_is_refused_and_reindex_may_replace_it() -> None:
    memory = QdrantClient(":memory:")
    ServerIndex(memory, 4, collection="c")
    with pytest.raises(IndexMismatchError, match="dimension"):
        ServerIndex(memory, 8, collection="c")
    assert ServerIndex(memory, 8, collection="c", replace_mismatched=True).count() == 0
    memory.update_collection("c", metadata={"sparse encoding": "older"})
    with pytest.raises(IndexMismatchError, match="sparse encoding"):
        ServerIndex(memory, 8, collection="c")
