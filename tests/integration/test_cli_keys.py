"""Keys and audit from the command line, on a real data directory without a server."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest

from strongroom.access import LOCAL_USER
from strongroom.app.appliance import Appliance
from strongroom.cli.run import run
from strongroom.config import load
from strongroom.crypto import source
from strongroom.errors import ExitCode
from strongroom.types import IngestRequest, SearchRequest
from tests.appliances import open_appliance
from tests.fakes import FakeModels


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory with one document in it, so that there are keys to wrap and entries to move."""
    folder = tmp_path / "data"
    monkeypatch.setenv("STRONGROOM_DATA_DIR", str(folder))
    (tmp_path / "lease.txt").write_text("The rent is 900 EUR.")
    with closing(Appliance(load().settings, purpose="test", models=FakeModels())) as appliance:
        engine = appliance.as_user(LOCAL_USER)
        engine.ingest(IngestRequest((str(tmp_path / "lease.txt"),)), on_event=lambda _: None)
        engine.search(SearchRequest("rent"))
    return folder


def test_a_rotation_to_the_environment_needs_the_new_key_from_then_on(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["keys", "status", "--json"]) == ExitCode.OK
    before = json.loads(capsys.readouterr().out)
    assert before["source"] == "file"

    assert run(["keys", "generate"]) == ExitCode.OK
    key = capsys.readouterr().out.strip()
    monkeypatch.setenv(source.VARIABLE + "_NEW", key)
    assert run(["keys", "rotate", "--to", "environment", "--json"]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out) == {"keys": before["keys"], "source": "environment"}

    # the old way in is closed, by name; the new one opens
    assert run(["keys", "status"]) != ExitCode.OK
    assert "key" in capsys.readouterr().err
    monkeypatch.setenv("STRONGROOM_KEY_SOURCE", "environment")
    monkeypatch.setenv(source.VARIABLE, key)
    assert run(["keys", "status", "--json"]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out)["source"] == "environment"


def test_a_rotated_audit_log_still_verifies_with_its_archive(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = tmp_path / "audit-old.jsonl"
    assert run(["audit", "rotate", "--keep", "1", "--archive", str(archive), "--json"]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out)["moved"] >= 1
    assert archive.read_text(encoding="utf-8").count("\n") >= 1
    assert run(["audit", "verify"]) == ExitCode.OK
    assert run(["index", "info", "--json"]) == ExitCode.OK


def test_questions_that_are_kept_are_shown_in_words(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STRONGROOM_AUDIT_QUESTIONS", "full")
    with closing(open_appliance(data)) as appliance:
        appliance.as_user(LOCAL_USER).search(SearchRequest("Who pays the rent?\x1b[2J"))
    assert run(["audit", "show"]) == ExitCode.OK
    *_, before, last = capsys.readouterr().out.splitlines()
    assert "Who pays the rent?" in last
    assert "\x1b" not in last
    assert "question_sealed" not in last
    assert "question=" in before  # a hash, of the search that was made when no text was kept
