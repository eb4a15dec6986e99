"""`strongroom eval` against a fake engine: files it writes, JSON it prints, mistakes it names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from strongroom import app as wiring
from strongroom.cli.run import run
from strongroom.errors import ExitCode
from strongroom.types import ApprovalRequest, AskRequest, IngestRequest
from tests.fakes_engine import FakeEngine


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeEngine:
    fake = FakeEngine()
    (tmp_path / "policy.txt").write_text("The notice period of the contract is ninety days.\nThe fee is due in June.\n")
    fake.ingest(IngestRequest((str(tmp_path / "policy.txt"),)), on_event=lambda _e: None)
    monkeypatch.setattr(wiring, "open_engine", lambda *_a, **_k: fake)
    monkeypatch.chdir(tmp_path)
    return fake


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "ours.csv"
    path.write_text(
        "question,document,answer,unanswerable\nWhen is the fee due?,policy.txt,in June,\nWho sings?,,,yes\n"
    )
    return path


def test_a_run_prints_its_figures_and_keeps_its_report(
    engine: FakeEngine, questions: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(["eval", "run", str(questions), "--json"]) == ExitCode.OK
    printed = json.loads(capsys.readouterr().out)
    assert printed["metrics"]["quote@1"]["mean"] == 1.0
    assert json.loads((tmp_path / "eval-ours" / "figures.json").read_text()) == printed
    assert "<svg" in (tmp_path / "eval-ours" / "report.html").read_text()


def test_a_finished_run_asks_nothing_again_unless_told_to(engine: FakeEngine, questions: Path) -> None:
    def asked() -> int:
        engine.requests.clear()
        assert run(["eval", "run", str(questions), *fresh]) == ExitCode.OK
        return sum(isinstance(r, AskRequest) for r in engine.requests)

    fresh: list[str] = []
    assert [asked(), asked()] == [2, 0]
    fresh = ["--fresh"]
    assert asked() == 2


def test_searching_alone_leaves_unanswerable_questions_out(
    engine: FakeEngine, questions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["eval", "run", str(questions), "--search-only", "--json"]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out)["questions"] == 1
    assert not any(isinstance(r, AskRequest) for r in engine.requests)


def test_a_setting_to_measure_with_is_part_of_the_run(
    engine: FakeEngine, questions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["eval", "run", str(questions), "--out", "a"]) == ExitCode.OK
    assert run(["eval", "run", str(questions), "--out", "b", "--set", "abstain_below=0.9"]) == ExitCode.OK
    capsys.readouterr()
    assert run(["eval", "compare", "a", "b", "--json", "--html", "both.html"]) == ExitCode.OK
    found = json.loads(capsys.readouterr().out)
    assert found["changed"] == {"abstain_below": [0.3, 0.9]}
    assert found["metrics"]["quote@1"]["p"] == 1.0
    assert "Two configurations compared" in Path("both.html").read_text()


def test_a_report_is_made_again_from_kept_results(engine: FakeEngine, questions: Path) -> None:
    assert run(["eval", "run", str(questions), "--out", "a"]) == ExitCode.OK
    Path("a/report.html").unlink()
    engine.requests.clear()
    assert run(["eval", "report", "a"]) == ExitCode.OK
    assert Path("a/report.html").exists()
    assert engine.requests == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "missing.jsonl"], "cannot read missing.jsonl"),
        (["run", "ours.csv", "--set", "colour=red"], "--set colour=red"),
        (["run", "ours.csv", "--set", "abstain_below=high"], "abstain_below = 'high'"),
        (["run", "ours.csv", "--documents", "nowhere"], "nowhere does not exist"),
        (["run", "ours.csv", "--language", "de"], "xquad only"),
        (["compare", "a", "b"], "a holds no run"),
        (["report", "a"], "a holds no run"),
        (["generate", "ours.csv"], "ours.csv exists"),
        (["generate", "nowhere/drafts.jsonl"], "no file can be written at nowhere/drafts.jsonl"),
        (["run", "ours.csv", "--out", "ours.csv"], "cannot make the folder ours.csv"),
    ],
)
def test_mistakes_are_named(
    engine: FakeEngine, questions: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["eval", *arguments]) == ExitCode.USAGE
    assert said in " ".join(capsys.readouterr().err.split())


def test_a_page_that_cannot_be_written_is_named(
    engine: FakeEngine, questions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["eval", "run", str(questions), "--out", "a"]) == ExitCode.OK
    for command in (["report", "a"], ["compare", "a", "a"], ["calibrate", "a"]):
        capsys.readouterr()
        assert run(["eval", *command, "--html", "nowhere/x.html"]) == ExitCode.USAGE
        assert "no file can be written at nowhere/x.html" in capsys.readouterr().err


def test_a_document_that_is_not_there_is_named_before_anything_is_asked(
    engine: FakeEngine, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    lines = [
        {"id": "typo", "question": "When is the fee due?", "document": "polcy.txt", "answers": ["in June"]},
        {"id": "far", "question": "When is the fee due?", "document": "policy.txt", "pages": [7]},
        {"id": "well", "question": "When is the fee due?", "document": "policy.txt", "pages": [1]},
    ]
    (tmp_path / "ours.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert run(["eval", "run", "ours.jsonl"]) == ExitCode.OK
    said = capsys.readouterr().err
    assert "warning: question typo: no document 'polcy.txt'" in said
    assert "warning: question far: no page 7 in 'policy.txt'" in said
    assert "question well" not in said


def test_a_fresh_run_removes_nothing_of_anybody_else(engine: FakeEngine, questions: Path) -> None:
    assert run(["eval", "run", str(questions), "--out", "a"]) == ExitCode.OK
    Path("a/notes.txt").write_text("mine")
    assert run(["eval", "run", str(questions), "--out", "a", "--fresh"]) == ExitCode.OK
    assert Path("a/notes.txt").read_text() == "mine"


def test_a_run_that_is_interrupted_says_how_to_go_on(
    engine: FakeEngine, questions: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(FakeEngine, "search", lambda *_a: (_ for _ in ()).throw(KeyboardInterrupt))
        assert run(["eval", "run", str(questions)]) == ExitCode.INTERRUPTED
    assert "Repeat the command to go on" in capsys.readouterr().err
    assert run(["eval", "run", str(questions)]) == ExitCode.OK


def test_drafts_are_a_question_file_that_can_be_run(engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["eval", "generate", "drafts.jsonl", "-n", "5", "--unanswerable", "0"]) == ExitCode.OK
    drafts = [json.loads(line) for line in Path("drafts.jsonl").read_text().splitlines()]
    assert drafts
    assert all(d["draft"] for d in drafts)
    assert "Check each before use" in capsys.readouterr().err
    assert run(["eval", "run", "drafts.jsonl"]) == ExitCode.OK


def test_approved_answers_become_questions_to_measure(engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    document = engine.documents()[0].id
    for verdict, start, end in (("approved", 4, 10), ("corrected", 39, 50), ("approved", 51, 54)):
        asked = "When?" if start == 51 else "How long is the notice period?"
        engine.approve(ApprovalRequest(asked, verdict, document, 0, start, end))  # type: ignore[arg-type]
    engine.approve(ApprovalRequest("Who?", "rejected", document, 0, 0, 3))
    assert run(["approvals", "export", "approved.jsonl"]) == ExitCode.OK
    lines = [json.loads(line) for line in Path("approved.jsonl").read_text().splitlines()]
    assert [(q["question"], q["kind"], q["document"]) for q in lines] == [
        ("How long is the notice period?", "corrected", "policy.txt"),  # the last word on it
        ("When?", "approved", "policy.txt"),
    ]
    assert run(["eval", "run", "approved.jsonl"]) == ExitCode.OK
    capsys.readouterr()
    assert run(["approvals", "list", "--json"]) == ExitCode.OK
    kept = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(kept) == 4
    assert run(["approvals", "remove", kept[0]["id"]]) == ExitCode.OK
    assert len(engine.approvals()) == 3
    assert run(["approvals", "export", "approved.jsonl"]) == ExitCode.USAGE
