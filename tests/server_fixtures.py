"""A real server over a fake engine, on a free loopback port, for tests of the API, the client and the UI."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from server.run import running
from server.settings import ServerSettings
from strongroom.client import HttpEngine
from strongroom.ports import Engine
from strongroom.tls import pinned
from tests.fakes_engine import FakeEngine, make_pdf, walk


@dataclass(frozen=True, slots=True)
class Served:
    """One running server: how to reach it, and the engine behind it."""

    url: str
    token: str
    engine: FakeEngine
    data_dir: Path
    spool: Path
    http: httpx.Client
    client: HttpEngine


@contextmanager
def served(
    tmp_path: Path,
    *,
    engine: FakeEngine | None = None,
    engine_for: Callable[[str], Engine] | None = None,
    ready: Callable[[], bool] | None = None,
    **limits: Any,
) -> Iterator[Served]:
    """Run a server for the time of the block. `limits` go into its settings."""
    fake = engine or FakeEngine()
    settings = ServerSettings(spool_dir=tmp_path / "spool", **{"heartbeat": 0.1, **limits})
    with running(engine_for or (lambda _user: fake), data_dir=tmp_path, settings=settings, port=0, ready=ready) as info:
        headers = {"Authorization": f"Bearer {info.token}"}
        verify = pinned(info.certificate) if info.certificate else True
        with httpx.Client(base_url=info.url, headers=headers, trust_env=False, timeout=20, verify=verify) as http:
            client = HttpEngine(info.url, info.token, discover=walk, certificate=info.certificate)
            yield Served(info.url, info.token, fake, tmp_path, settings.spool_dir, http, client)
            client.close()


def write_documents(folder: Path) -> Path:
    """A PDF with two pages, a text with markup in it, and a file that no one can read."""
    folder.mkdir(parents=True, exist_ok=True)
    contract = make_pdf(
        [
            ["SUPPLY CONTRACT", "The notice period for termination is thirty days,", "counted from the letter."],
            ["The liability cap is two million euros."],
        ]
    )
    (folder / "Supply contract.pdf").write_bytes(contract)
    (folder / "canteen.txt").write_text(
        "Canteen notes. Lunch is served at noon. <img src=x onerror=alert(1)> [click](http://evil.example/)."
    )
    (folder / "broken.bin").write_bytes(b"x\0BAD")
    return folder
