"""A real server over a fake engine, on a free loopback port, for tests of the API, the client and the UI."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from argon2 import PasswordHasher

from server.run import running
from server.settings import ServerSettings
from server.state import Doors
from strongroom.access import LOCAL_USER
from strongroom.accounts import Accounts, Desk, Passwords
from strongroom.accounts.sso import Provider, SingleSignOn
from strongroom.audit import Audit
from strongroom.catalog import Catalog, Store
from strongroom.client.engine import HttpEngine
from strongroom.crypto import KeyStore, Vault
from strongroom.engine import Engine
from strongroom.signin import CodeBook, make_code
from strongroom.tls import pinned
from tests.fakes_engine import FakeEngine, make_pdf, walk
from ui import connection


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
    accounts: Accounts | None = None

    def sign_in(self) -> str:
        """A session of the built-in user."""
        assert self.accounts is not None
        return self.accounts.by_link(make_code(self.token), CodeBook(self.token)).session


@contextmanager
def served(
    tmp_path: Path,
    *,
    engine: FakeEngine | None = None,
    engine_for: Callable[..., Engine] | None = None,
    accounts: bool = False,
    provider: Provider | None = None,
    doors: Doors | None = None,
    ready: Callable[[], bool] | None = None,
    **limits: Any,
) -> Iterator[Served]:
    """Run a server for the time of the block. `limits` go into its settings; with `accounts`, people can sign in."""
    fake = engine or FakeEngine()
    book = make_accounts(tmp_path / "accounts") if accounts else None
    if book is not None:
        sso = None if provider is None else SingleSignOn(provider, book)
        doors = Doors(book, lambda identity: Desk(book, identity), sso)
    settings = ServerSettings(spool_dir=tmp_path / "spool", **{"heartbeat": 0.1, **limits})
    for_user = engine_for or (lambda _user, **_by: fake)
    with running(for_user, data_dir=tmp_path, settings=settings, doors=doors, port=0, ready=ready) as info:
        headers = {"Authorization": f"Bearer {info.token}"}
        verify = pinned(info.certificate) if info.certificate else True
        with httpx.Client(base_url=info.url, headers=headers, trust_env=False, timeout=20, verify=verify) as http:
            client = HttpEngine(info.url, info.token, discover=walk, certificate=info.certificate)
            yield Served(info.url, info.token, fake, tmp_path, settings.spool_dir, http, client, book)
            client.close()


def look_at(running: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point the UI of this process at a server, as a browser that is signed in there."""
    connection.configure(running.url, running.token)
    monkeypatch.setattr(connection, "session_of_browser", lambda: running.token)


def make_accounts(folder: Path, *, clock: Callable[[], datetime] | None = None) -> Accounts:
    """Accounts of a fresh data directory, with the built-in user and with hashes that cost little."""
    folder.mkdir(parents=True)
    store, vault = Store(folder / "catalog.sqlite"), Vault(KeyStore(folder / "keys"))
    Catalog(store, vault).ensure_user(LOCAL_USER, "admin")
    audit = Audit(store, vault, folder / "keys" / "audit.head")
    return Accounts(
        store, vault, audit, passwords=Passwords(cheap_hasher()), **({} if clock is None else {"clock": clock})
    )


def cheap_hasher() -> PasswordHasher:
    """Hashes that take no time, for tests about other things than how long guessing takes."""
    return PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)


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
