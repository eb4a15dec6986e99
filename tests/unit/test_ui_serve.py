"""The real UI process over a fake server: Streamlit behind the gate, its options, and the file routes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from strongroom.listen import bind
from strongroom.signin import make_code
from strongroom.types import IngestRequest
from tests.fakes_engine import FakeEngine
from tests.server_fixtures import Served, served, write_documents

ROOT = Path(__file__).parents[2]


def _free_port() -> int:
    sock = bind("127.0.0.1", 0)
    port: int = sock.getsockname()[1]
    sock.close()
    return port


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("appliance")
    engine = FakeEngine()
    engine.ingest(IngestRequest((str(write_documents(root / "docs")),)), on_event=lambda _event: None)
    with served(root, engine=engine, accounts=True) as running:
        yield running


@pytest.fixture(scope="module")
def ui(up: Served) -> Iterator[httpx.Client]:
    port = _free_port()
    command = [sys.executable, "-m", "ui", "--data-dir", str(up.data_dir), "--port", str(port)]
    process = subprocess.Popen(command, cwd=ROOT)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=20) as client:
        deadline = time.monotonic() + 60
        while True:
            try:
                if client.get("/healthz").status_code == 200:
                    break
            except httpx.TransportError:
                assert process.poll() is None, "the UI process ended"
                assert time.monotonic() < deadline, "the UI did not start"
                time.sleep(0.1)
        yield client
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == -signal.SIGTERM  # uvicorn ends what it serves, then lets the signal through


@pytest.fixture
def signed_in(ui: httpx.Client, up: Served) -> Iterator[httpx.Client]:
    ui.get("/login", params={"token": make_code(up.token)})
    yield ui
    ui.cookies.clear()


def _document(up: Served, suffix: str) -> str:
    return next(d.id for d in up.engine.documents() if d.name.endswith(suffix))


def test_streamlit_stands_behind_the_gate(ui: httpx.Client) -> None:
    for path in ("/", "/_stcore/health", "/_stcore/host-config", "/_stcore/agent/openapi.json"):
        assert ui.get(path).status_code == 401


def test_the_page_loads_nothing_from_elsewhere(signed_in: httpx.Client) -> None:
    page = signed_in.get("/")
    assert page.status_code == 200
    assert re.findall(r"(?:src|href)=[\"'](?:https?:)?//", page.text) == []
    assert "connect-src 'self'" in page.headers["content-security-policy"]


def test_no_foreign_frame_may_drive_the_page(signed_in: httpx.Client) -> None:
    assert signed_in.get("/_stcore/host-config").json()["allowedOrigins"] == []


def test_the_agent_interface_is_off(signed_in: httpx.Client) -> None:
    origin = str(signed_in.base_url).rstrip("/")
    response = signed_in.post("/_stcore/agent/interact", json={}, headers={"Origin": origin})
    assert response.status_code >= 400


def test_page_images_come_with_the_session_only(ui: httpx.Client, up: Served) -> None:
    path = f"/files/{_document(up, '.pdf')}/pages/0.png"
    assert ui.get(path).status_code == 401
    ui.get("/login", params={"token": make_code(up.token)})
    response = ui.get(path)
    ui.cookies.clear()
    assert response.headers["content-type"] == "image/png"
    assert response.headers["cache-control"] == "no-store"
    assert response.content.startswith(b"\x89PNG")


def test_a_format_without_page_images_is_not_found(signed_in: httpx.Client, up: Served) -> None:
    assert signed_in.get(f"/files/{_document(up, '.txt')}/pages/0.png").status_code == 404
    assert signed_in.get("/files/none/pages/0.png").status_code == 404


def test_originals_are_downloads(signed_in: httpx.Client, up: Served) -> None:
    response = signed_in.get(f"/files/{_document(up, '.txt')}/original")
    assert response.headers["content-disposition"].startswith("attachment;")
    assert response.headers["content-type"] == "application/octet-stream"
    assert b"<img src=x" in response.content


def test_the_server_s_token_is_nowhere_on_the_page_or_the_command_line(signed_in: httpx.Client, up: Served) -> None:
    assert up.token not in signed_in.get("/").text
    lines = [p.read_bytes() for p in Path("/proc").glob("[0-9]*/cmdline") if os.access(p, os.R_OK)]
    assert not any(up.token.encode() in line for line in lines)


def test_without_a_server_the_process_says_so(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ui", "--data-dir", str(tmp_path), "--port", "0"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert found.returncode == 1
    assert "strongroom up" in found.stderr


def test_a_public_address_needs_permission(up: Served) -> None:
    command = [sys.executable, "-m", "ui", "--data-dir", str(up.data_dir), "--host", "0.0.0.0", "--port", "0"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert found.returncode == 15
    assert "loopback" in found.stderr
