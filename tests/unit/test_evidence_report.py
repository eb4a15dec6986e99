"""The evidence report: what it holds, what it must never hold, and that it is the same for the same state."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyotp
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from strongroom.access import LOCAL_USER
from strongroom.accounts import Desk
from strongroom.app.appliance import Appliance
from strongroom.app.articles import FRAMEWORKS
from strongroom.app.evidence import collect, dumps
from strongroom.cli.compliance import TITLES, attention, render
from strongroom.cli.run import run
from strongroom.config import load
from strongroom.people import Identity, NewAccount
from strongroom.types import IngestRequest, Withholding
from tests.fakes import FakeModels

AT = "2026-11-25T12:00:00+00:00"
HOSTILE = "<script src=//evil.example>\u202etxt.exe"


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """One document in, one deleted; a collection, a group and a rule with names that try to be markup."""
    folder = tmp_path_factory.mktemp("report")
    secret = folder / "wolverine.txt"
    secret.write_text("The wolverine pays to DE89370400440532013000.\n")
    settings = load({"data_dir": folder / "data", "models_dir": folder / "models", "qdrant_api_key": "s3cr3t"}).settings
    made = Appliance(settings, purpose="test", models=FakeModels())
    made.catalog.ensure_user("ada", "auditor", ("board",))
    engine = made.as_user(LOCAL_USER)
    request = IngestRequest((str(secret),), collection=HOSTILE, groups=("board",))
    engine.ingest(request, on_event=lambda _event: None)
    engine.delete(engine.documents()[0].id)
    secret.write_text("The wolverine is back.\n")
    engine.ingest(request, on_event=lambda _event: None)
    engine.withhold(Withholding("viewer", ("iban",), HOSTILE))
    yield made
    made.close()


def evidence(appliance: Appliance) -> dict[str, Any]:
    data_dir, models_dir = appliance.settings.data_dir, appliance.settings.models_dir
    loaded = load({"data_dir": data_dir, "models_dir": models_dir, "qdrant_api_key": "s3cr3t"})
    return collect(loaded, appliance.catalog, appliance.audit, at=AT)


def test_it_says_what_is_so(appliance: Appliance) -> None:
    found = evidence(appliance)
    assert found["audit"]["problems"] == []
    assert found["audit"]["entries"] == sum(found["audit"]["actions"].values()) > 3
    assert {p["user"]: (p["role"], p["groups"]) for p in found["access"]["people"]} == {
        "ada": ("auditor", ["board"]),
        LOCAL_USER: ("admin", []),
    }
    ways = found["sign_in"]
    assert (ways["second_factor"], ways["single_sign_on"]) == ("optional", None)
    assert (ways["by_password"], ways["with_second_factor"], ways["administrators_without"]) == (0, 0, [])
    (receipt,) = found["deletion"]["receipts"]
    assert receipt["genuine"] is True
    assert found["deletion"]["not_genuine"] == 0
    assert found["personal_data"]["rules"] == [{"role": "viewer", "kinds": ["iban"], "collection": HOSTILE}]
    assert found["personal_data"]["collections"][HOSTILE]["documents"] == 1


def test_no_word_of_a_document_and_no_secret_is_in_it(appliance: Appliance) -> None:
    found = evidence(appliance)
    for text in (render(found), dumps(found)):
        assert "olverine" not in text
        assert "s3cr3t" not in text
        assert "DE89370400440532013000" not in text


def test_the_page_is_inert_whatever_names_hold(appliance: Appliance) -> None:
    page = render(evidence(appliance))
    assert "<script" not in page
    assert "\u202e" not in page
    assert "&lt;script src=//evil.example&gt;" in page
    assert page.count('http-equiv="Content-Security-Policy"') == 1
    for source in ("src=", "url(", "<link", "<img", "<iframe"):
        assert source not in page.replace("&lt;script src=", "")


def test_the_same_state_gives_the_same_bytes(appliance: Appliance) -> None:
    assert dumps(evidence(appliance)) == dumps(evidence(appliance))
    assert render(evidence(appliance)) == render(evidence(appliance))


def test_who_has_a_second_factor_and_which_administrator_has_none(tmp_path: Path) -> None:
    # GIVEN two administrators with a password, one of them with an authenticator app
    settings = load({"data_dir": tmp_path / "data", "models_dir": tmp_path / "models"}).settings
    appliance = Appliance(settings, purpose="test", models=FakeModels())
    owner = Desk(appliance.accounts, Identity(LOCAL_USER, "owner"))
    for name in ("root", "toor"):
        owner.add_user(NewAccount(name, "admin"))
        owner.set_password(name, "a long walk along the quay")
    mine = Desk(appliance.accounts, Identity("root", "session", "x"))
    mine.confirm_totp(pyotp.TOTP(mine.begin_totp().secret).now())
    # THEN the report counts them, and begins with the other
    found = evidence(appliance)
    assert (found["sign_in"]["by_password"], found["sign_in"]["with_second_factor"]) == (2, 1)
    assert "administrators without a second factor: toor (second_factor)" in attention(found)
    assert "2 people sign in by password, 1 of them with a second factor" in render(found)
    appliance.close()


def test_a_broken_chain_a_forged_receipt_and_an_attempt_to_connect_stand_first(appliance: Appliance) -> None:
    found = json.loads(dumps(evidence(appliance)))
    quiet = attention(found)
    found["audit"]["problems"] = [{"what": "audit entry 3 was changed", "hint": "x", "severity": "error"}]
    found["deletion"]["not_genuine"] = 1
    found["egress"]["count"] = 2
    new = [problem for problem in attention(found) if problem not in quiet]
    assert new[0] == "audit log: audit entry 3 was changed"
    assert len(new) == 3
    assert all(problem in render(found) for problem in new)


def test_the_bill_of_materials_is_valid_and_whole(appliance: Appliance) -> None:
    bill = evidence(appliance)["materials"]
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(dumps(bill)) is None
    names = {component["name"] for component in bill["components"]}
    assert {"cryptography", "qdrant-client", "sqlalchemy", "uvicorn"} <= names
    assert "pytest" not in names
    refs = {bill["metadata"]["component"]["bom-ref"], *(c["bom-ref"] for c in bill["components"])}
    assert {entry["ref"] for entry in bill["dependencies"]} == refs
    assert all(set(entry["dependsOn"]) <= refs for entry in bill["dependencies"])


def test_every_article_points_at_a_section_and_says_what_is_yours() -> None:
    for _, articles in FRAMEWORKS:
        for article in articles:
            assert set(article.sections) <= set(TITLES), article.name
            assert article.sections
            assert article.yours
            assert not {"compliant", "complies", "certified"} & set(article.yours.lower().split())


def test_the_command_writes_a_folder_or_one_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Appliance(load({"data_dir": tmp_path / "data"}).settings, purpose="test", models=FakeModels()).close()
    data = ["--data-dir", str(tmp_path / "data")]
    assert run(["report", "--out", str(tmp_path / "r"), *data]) == 0
    assert sorted(path.name for path in (tmp_path / "r").iterdir()) == ["report.html", "report.json", "sbom.cdx.json"]
    assert json.loads((tmp_path / "r" / "report.json").read_text())["audit"]["problems"] == []
    assert run(["report", "--out", str(tmp_path / "one.html"), "--json", *data]) == 0
    assert "attention" in json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (tmp_path / "one.html").read_text().lstrip().startswith("<!doctype html>")
    assert run(["report", "--out", str(tmp_path / "x"), "--data-dir", str(tmp_path / "none")]) == 2
