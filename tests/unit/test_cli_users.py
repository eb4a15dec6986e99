"""Accounts from the command line, without a server and through one; and when a server does not start."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text

from server.settings import ServerSettings
from strongroom import catalog
from strongroom.access import LOCAL_USER
from strongroom.accounts import Accounts
from strongroom.catalog.store import Store
from strongroom.cli.run import run
from strongroom.cli.serve import refuse_open_doors, ui_address
from strongroom.client.server_info import write_server_info
from strongroom.config import Settings, load
from strongroom.errors import ConfigError, ExitCode
from strongroom.people import RedeemRequest
from tests.server_fixtures import make_accounts, served

PASSWORD = "seven grey herons at dawn"


def strongroom(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = ExitCode.OK) -> str:
    assert run(list(arguments)) == code
    return capsys.readouterr().out


def test_an_account_s_life_without_a_server(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = ("--data-dir", str(tmp_path / "data"))
    link = strongroom(capsys, "users", "add", "anna", "--role", "editor", *here).strip()
    assert link.startswith("http://127.0.0.1:8601/welcome?code=")
    monkeypatch.setattr("sys.stdin", io.StringIO(PASSWORD + "\n"))
    strongroom(capsys, "users", "password", "anna", "--stdin", *here)
    monkeypatch.setattr("sys.stdin", io.StringIO("password1234\n"))
    strongroom(capsys, "users", "password", "anna", "--stdin", *here, code=ExitCode.USAGE)
    made = json.loads(
        strongroom(
            capsys, "tokens", "add", "job", "--user", "anna", "--scope", "read", "--scope", "ask", "--json", *here
        )
    )
    assert made["secret"].startswith("srt_")
    strongroom(capsys, "tokens", "add", "job", "--scope", "everything", *here, code=ExitCode.USAGE)
    assert made["secret"] not in strongroom(capsys, "tokens", "list", "--user", "anna", *here)
    strongroom(capsys, "tokens", "revoke", made["token"]["id"], *here)
    assert strongroom(capsys, "tokens", "list", "--user", "anna", *here) == "No tokens.\n"
    strongroom(capsys, "users", "role", "anna", "auditor", *here)
    strongroom(capsys, "users", "disable", "anna", *here)
    listed = [json.loads(line) for line in strongroom(capsys, "users", "list", "--json", *here).splitlines()]
    assert [(u["name"], u["role"], u["disabled"]) for u in listed] == [
        ("anna", "auditor", True),
        (LOCAL_USER, "admin", False),
    ]
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert run(["users", "delete", "anna", *here]) == ExitCode.INTERRUPTED
    kept = capsys.readouterr()
    assert kept.out.strip() == ""  # questions are not data
    assert kept.err.endswith("not confirmed: nothing was changed\n")
    strongroom(capsys, "users", "delete", "anna", "--yes", *here)
    strongroom(capsys, "users", "delete", "anna", "--yes", *here, code=ExitCode.USAGE)
    strongroom(capsys, "users", "disable", LOCAL_USER, *here, code=ExitCode.USAGE)
    strongroom(capsys, "tokens", "add", "x", "--scope", "everything", *here, code=ExitCode.USAGE)


def test_the_same_commands_through_a_running_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here = ("--data-dir", str(tmp_path))
    with served(tmp_path, accounts=True) as up:
        link = strongroom(capsys, "users", "add", "ben", *here).strip()
        assert up.accounts is not None
        signed_in = up.accounts.redeem(RedeemRequest(link.partition("code=")[2], PASSWORD))
        assert "ben" in strongroom(capsys, "users", "list", *here)
        (session,) = strongroom(capsys, "sessions", "list", "--user", "ben", *here).splitlines()
        strongroom(capsys, "sessions", "end", session.split()[0], *here)
        assert up.accounts.identify(signed_in.session) is None


@pytest.fixture
def book(tmp_path: Path) -> Accounts:
    return make_accounts(tmp_path / "a")


def settings(tmp_path: Path, **values: object) -> Settings:
    return load({"data_dir": tmp_path, **values}).settings


def test_nobody_is_let_in_from_elsewhere_before_there_is_an_administrator(tmp_path: Path, book: Accounts) -> None:
    appliance = SimpleNamespace(accounts=book)
    open_to_all = settings(tmp_path, allow_remote=True, ui_host="0.0.0.0")
    with pytest.raises(ConfigError, match="no administrator"):
        refuse_open_doors(open_to_all, appliance)  # type: ignore[arg-type]
    refuse_open_doors(settings(tmp_path), appliance)  # type: ignore[arg-type]
    code = book.first_administrator()
    assert code is not None
    book.redeem(RedeemRequest(code, PASSWORD, "root"))
    refuse_open_doors(open_to_all, appliance)  # type: ignore[arg-type]


def test_links_lead_to_where_people_reach_the_page(tmp_path: Path) -> None:
    assert ui_address(settings(tmp_path)) == "http://127.0.0.1:8601"
    public = settings(tmp_path, ui_host="10.1.2.3", public_hosts=("archive.example",), allow_remote=True)
    assert ui_address(public) == "https://archive.example"
    own = {"tls_certificate": tmp_path / "c.pem", "tls_key": tmp_path / "k.pem"}
    tls = settings(tmp_path, ui_host="10.1.2.3", public_hosts=("archive.example",), allow_remote=True, **own)
    assert ui_address(tls) == "https://archive.example:8601"  # nothing stands before it on the usual port
    # in a container the page is published on this machine alone, whatever names the server has inside
    assert ui_address(settings(tmp_path, public_hosts=("10.89.47.2",), allow_remote=True)) == "http://127.0.0.1:8601"


def test_a_server_answers_to_the_address_that_it_listens_on(tmp_path: Path) -> None:
    """Its own UI and the commands of this machine reach it there, and name it in the Host header."""
    found = ServerSettings.configured(
        settings(tmp_path, host="10.1.2.3", public_hosts=("Archive.example",), allow_remote=True, max_file_mb=3)
    )
    assert {"10.1.2.3", "archive.example", "127.0.0.1"} <= found.hosts
    assert found.max_file_bytes == 3 << 20
    assert "0.0.0.0" not in ServerSettings.configured(settings(tmp_path, host="0.0.0.0", allow_remote=True)).hosts


def test_links_lead_to_the_page_of_the_server_that_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`up --ui-port` may have put it elsewhere than the settings of the next command say."""
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    write_server_info(data, url="http://127.0.0.1:1", token="secret", page="http://127.0.0.1:9001")
    assert strongroom(capsys, "link", "--data-dir", str(data)).startswith("http://127.0.0.1:9001/login?token=")


def test_what_needs_the_server_stopped_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    write_server_info(data, url="http://127.0.0.1:1", token="secret")
    assert run(["keys", "status", "--data-dir", str(data)]) == ExitCode.LOCKED
    assert "hint: Stop it, repeat `strongroom keys status`, and start it again." in capsys.readouterr().err


def test_users_of_an_older_catalogue_are_kept_and_can_get_a_password(tmp_path: Path) -> None:
    # GIVEN a catalogue from before accounts, with a user in it
    path = tmp_path / "catalog.sqlite"
    config = Config()
    config.set_main_option("script_location", str(Path(catalog.__file__).with_name("migrations")))
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as conn:
        config.attributes["connection"] = conn
        command.upgrade(config, "0008")
        conn.execute(text("INSERT INTO users VALUES ('u1', 'ada', 'editor', '2026-01-01T00:00:00.000000+00:00')"))
    engine.dispose()
    # WHEN this release opens it
    store = Store(path)
    # THEN the user is there, without a way in until given one
    with store.read() as conn:
        row = conn.execute(
            text("SELECT name, role, password FROM users LEFT JOIN accounts ON user_id = users.id")
        ).one()
    assert tuple(row) == ("ada", "editor", None)
    store.close()
