"""The command line against a fake engine: exit codes, JSON on stdout, progress on stderr, light imports."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from strongroom import app as wiring
from strongroom.cli.run import run
from strongroom.errors import (
    ExitCode,
    IndexMismatchError,
    IndexUnreachableError,
    IntegrityError,
    LockedError,
    ModelError,
    NotPermittedError,
    StrongroomError,
    UsageError,
)
from strongroom.types import FileOutcome, IngestProgress, IngestSummary, Problem, VerifyReport
from tests.fakes_engine import FakeEngine

HEAVY = ("torch", "llama_index", "streamlit", "openvino", "llama_cpp", "unstructured", "pydantic", "sqlalchemy")


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeEngine:
    """A fake engine with one text document, handed to every command."""
    fake = FakeEngine()
    (tmp_path / "policy.txt").write_text("The notice period is ninety days.\nThe fee is due in June.\n")
    from strongroom.types import IngestRequest

    fake.ingest(IngestRequest((str(tmp_path / "policy.txt"),)), on_event=lambda _e: None)
    monkeypatch.setattr(wiring, "open_engine", lambda *_a, **_k: fake)
    return fake


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_help_is_light_and_names_every_command() -> None:
    code = (
        "import sys\nfrom strongroom.__main__ import main\nmain(['--help'])\n"
        f"sys.stderr.write(','.join(m for m in {HEAVY!r} if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for command in ("up", "ingest", "search", "ask", "documents", "models", "audit", "verify", "reindex", "check"):
        assert command in done.stdout
    assert done.stderr == ""


def test_search_prints_the_promised_json(engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["search", "notice period", "--json"]) == ExitCode.OK
    (result,) = lines(capsys.readouterr().out)
    assert set(result) >= {"hits", "timings_ms"}
    (hit, *_) = result["hits"]  # type: ignore[misc]
    assert set(hit) == {"document", "pages", "locator", "text", "score", "chunk_id"}
    assert set(hit["document"]) == {"id", "name", "path"}


def test_batch_results_come_in_order_with_their_ids(
    engine: FakeEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    batch = tmp_path / "q.jsonl"
    batch.write_text('{"id": "b", "question": "fee"}\n\n{"id": "a", "question": "notice"}\n{"question": "fee due"}\n')
    assert run(["search", "--batch", str(batch)]) == ExitCode.OK
    assert [r["id"] for r in lines(capsys.readouterr().out)] == ["b", "a", None]
    assert run(["ask", "--batch", str(batch)]) == ExitCode.OK
    assert [r["id"] for r in lines(capsys.readouterr().out)] == ["b", "a", None]


@pytest.mark.parametrize(
    "line",
    ["not json", "[]", "{}", '{"question": "x", "history": [{"role": "system", "content": "y"}]}'],
)
def test_a_bad_batch_line_is_named(
    engine: FakeEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    (tmp_path / "q.jsonl").write_text(f'{{"question": "fee"}}\n{line}\n')
    assert run(["search", "--batch", str(tmp_path / "q.jsonl")]) == ExitCode.USAGE
    assert "line 2" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["search", "ask"])
def test_a_question_that_cannot_be_asked_does_not_end_a_batch(
    engine: FakeEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    batch = tmp_path / "q.jsonl"
    batch.write_text('{"id": "a", "question": "fee"}\n{"id": "b", "question": " "}\n{"id": "c", "question": "due"}\n')
    assert run([command, "--batch", str(batch)]) == ExitCode.PARTIAL
    first, second, third = lines(capsys.readouterr().out)
    assert (first["id"], third["id"]) == ("a", "c")
    assert second == {"id": "b", "error": "the question is empty", "hint": "Ask something."}


def test_ask_prints_the_promised_json(engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ask", "What is the notice period?", "--json"]) == ExitCode.OK
    (answer,) = lines(capsys.readouterr().out)
    wanted = {"answer", "abstained", "confidence", "sentences", "citations", "model", "usage", "timings_ms"}
    assert set(answer) >= wanted
    citation = answer["citations"][0]  # type: ignore[index]
    assert set(citation) >= {"n", "document", "page", "locator", "quote", "spans", "score"}
    assert set(citation["spans"][0]) >= {"page", "start", "end", "boxes"}


def test_ask_for_people_names_document_and_quote(engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ask", "What is the notice period?"]) == ExitCode.OK
    shown = capsys.readouterr().out
    assert "policy.txt" in shown
    assert "ninety days" in shown


def test_an_empty_appliance_says_that_it_is_empty(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(wiring, "open_engine", lambda *_a, **_k: FakeEngine())
    for command in ("search", "ask"):
        assert run([command, "What is the notice period?"]) == ExitCode.OK
        assert "no documents to search yet; `strongroom ingest PATH` adds some" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["search"], ["ask"], ["search", "q", "--batch", "f"], ["ingest"], ["nonsense"]])
def test_wrong_usage_exits_2(engine: FakeEngine, command: list[str]) -> None:
    assert run(command) == ExitCode.USAGE


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError, 2),
        (IndexUnreachableError, 10),
        (LockedError, 11),
        (ModelError, 12),
        (IndexMismatchError, 13),
        (IntegrityError, 14),
        (NotPermittedError, 15),
        (StrongroomError, 1),
        (RuntimeError, 1),
        (KeyboardInterrupt, 130),
    ],
)
def test_every_error_has_its_exit_code(
    engine: FakeEngine,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: type[BaseException],
    code: int,
) -> None:
    def fails(*_args: object, **_kwargs: object) -> None:
        raise error("the message")

    monkeypatch.setattr(FakeEngine, "search", fails)
    assert run(["search", "x"]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert ("the message" in captured.err) == (error is not KeyboardInterrupt)


def test_ingest_reports_a_line_a_file_then_the_summary_and_exits_3_when_partial(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # GIVEN an engine in which one of two files fails
    def ingest(_self: object, _request: object, *, on_event, cancel=None):  # type: ignore[no-untyped-def]
        on_event(IngestProgress(0, 2, 0, 0, 0.1))
        on_event(FileOutcome("/a.pdf", "indexed", "1", 3, 7))
        on_event(FileOutcome("/b.pdf", "quarantined", "2", reason="password protected"))
        return IngestSummary({"indexed": 1, "quarantined": 1}, 2, 3, 7, 1.0)

    monkeypatch.setattr(FakeEngine, "ingest", ingest)
    # WHEN
    code = run(["ingest", "folder", "--json"])
    # THEN
    out = lines(capsys.readouterr().out)
    assert code == ExitCode.PARTIAL
    assert out[0] == {
        "path": "/a.pdf",
        "outcome": "indexed",
        "document_id": "1",
        "pages": 3,
        "chunks": 7,
        "reason": None,
        "seconds": 0.0,
    }
    assert out[1]["reason"] == "password protected"
    assert out[2]["summary"]["outcomes"] == {"indexed": 1, "quarantined": 1}  # type: ignore[index]


def test_ingest_takes_an_ocr_mode_and_refuses_others(engine: FakeEngine, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("words")
    assert run(["ingest", str(tmp_path), "--ocr", "always"]) == 0
    assert run(["ingest", str(tmp_path)]) == 0
    assert engine.ocr_modes[-2:] == ["always", None]
    assert run(["ingest", str(tmp_path), "--ocr", "sometimes"]) == ExitCode.USAGE


def test_ingest_for_people_keeps_stdout_free(
    engine: FakeEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["ingest", str(tmp_path / "policy.txt")]) == ExitCode.OK
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "pages" in captured.err


def test_delete_asks_first_and_prints_a_receipt(engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    (document,) = engine.documents()
    assert run(["documents", "delete", document.id, "--yes", "--json"]) == ExitCode.OK
    (receipt,) = lines(capsys.readouterr().out)
    assert receipt["document_id"] == document.id
    assert engine.documents() == []


def test_verify_exits_14_when_something_disagrees(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = VerifyReport({"points": 1}, (Problem("a point is lost", "reindex"),))
    monkeypatch.setattr(FakeEngine, "verify", lambda _self: report)
    assert run(["verify", "--json"]) == ExitCode.INTEGRITY
    assert lines(capsys.readouterr().out)[0]["ok"] is False


def test_an_interruption_is_said_and_has_a_code_of_its_own(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(FakeEngine, "search", interrupted)
    assert run(["search", "x"]) == ExitCode.INTERRUPTED
    assert capsys.readouterr().err.endswith("interrupted\n")


def test_config_show_names_origins_and_hides_secrets(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STRONGROOM_QDRANT_API_KEY", "hush-hush")
    assert run(["config", "show", "--json"]) == ExitCode.OK
    out = capsys.readouterr().out
    assert "hush-hush" not in out
    by_key = {line["key"]: line for line in lines(out)}
    assert by_key["qdrant_api_key"]["value"] == "(set)"
    assert by_key["qdrant_api_key"]["origin"] == "environment STRONGROOM_QDRANT_API_KEY"
    assert by_key["port"]["origin"] == "default"
    assert run(["config", "show"]) == ExitCode.OK
    shown = {line.split()[0]: line.split()[1] for line in capsys.readouterr().out.splitlines()}
    assert (shown["allow_remote"], shown["keys_dir"]) == ("false", "-")


def test_the_first_run_on_a_data_directory_records_what_the_guard_refuses(tmp_path: Path) -> None:
    data = tmp_path / "data"
    code = (
        "import socket\nfrom pathlib import Path\nfrom strongroom.cli.common import load_settings\n"
        f"data = Path({str(data)!r})\nload_settings(data, None)\ndata.mkdir()\n"
        "try: socket.getaddrinfo('example.org', 80)\nexcept Exception as exc: print(type(exc).__name__)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "EgressBlockedError\n"
    assert "example.org" in (data / "egress.log").read_text()
