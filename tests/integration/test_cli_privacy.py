"""`strongroom privacy` and `documents list --pii` from the command line, over a data directory of their own."""

from __future__ import annotations

import json

import pytest

from strongroom.access import LOCAL_USER
from strongroom.app.appliance import Appliance
from strongroom.cli.run import run
from strongroom.config import load
from strongroom.types import IngestRequest
from tests.fakes import FakeModels


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two documents that were ingested without a search, one of them with an account number."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "in").mkdir()
    (folder / "in" / "pay.txt").write_text("Wages go to IBAN DE89370400440532013000 each month.\n")
    (folder / "in" / "gate.txt").write_text("The eastern gate is painted green.\n")
    settings = load({"data_dir": folder / "data"}).settings
    appliance = Appliance(settings, purpose="test", models=FakeModels())
    request = IngestRequest((str(folder / "in"),), collection="personnel")
    appliance.as_user(LOCAL_USER).ingest(request, on_event=lambda _event: None)
    appliance.close()
    return ["--data-dir", str(folder / "data")]


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_scan_report_filter_and_rules(data: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    # GIVEN nothing was looked for
    assert run(["privacy", "report", "--json", *data]) == 0
    (before,) = lines(capsys)
    assert (before["documents"], before["not_looked_into"], before["kinds"]) == (2, 2, {})
    assert run(["documents", "list", "--pii", "any", "--json", *data]) == 0
    assert lines(capsys) == []
    # WHEN the documents are looked into, twice
    assert run(["privacy", "scan", "--json", *data]) == 0
    assert run(["privacy", "scan", "--json", *data]) == 0
    assert lines(capsys) == [{"looked_into": 2, "failed": []}, {"looked_into": 0, "failed": []}]
    # THEN they are counted and can be filtered
    assert run(["privacy", "report", "--json", *data]) == 0
    (after,) = lines(capsys)
    assert (after["not_looked_into"], after["kinds"]) == (0, {"iban": {"documents": 1, "findings": 1}})
    assert run(["documents", "list", "--pii", "iban", "--json", *data]) == 0
    assert [d["name"] for d in lines(capsys)] == ["pay.txt"]
    assert run(["documents", "list", "--pii", "card", "--json", *data]) == 0
    assert lines(capsys) == []
    # AND rules are set, shown and removed
    rule = ["--role", "viewer", "--collection", "personnel"]
    assert run(["privacy", "policy", "set", *rule, "--withhold", "iban", "--json", *data]) == 0
    assert run(["privacy", "policy", "show", "--json", *data]) == 0
    kept = {"role": "viewer", "kinds": ["iban"], "collection": "personnel"}
    assert lines(capsys) == [{**kept, "not_looked_into": 0}, kept]
    assert run(["privacy", "policy", "remove", *rule, *data]) == 0
    assert run(["privacy", "policy", "show", *data]) == 0
    assert capsys.readouterr().out.splitlines() == ["removed", "Nothing is withheld from anybody."]


@pytest.mark.parametrize(
    "wrong",
    [
        ["documents", "list", "--pii", "shoe-size"],
        ["privacy", "policy", "set", "--role", "viewer"],
        ["privacy", "policy", "set", "--role", "viewer", "--all", "--nothing"],
        ["privacy", "policy", "set", "--role", "viewer", "--all", "--collection", "nonsuch"],
    ],
)
def test_what_makes_no_sense_is_a_usage_error(
    data: list[str], wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*wrong, *data]) == 2
    assert "hint:" in capsys.readouterr().err
