"""`strongroom documents` and what an ingest shows, against a fake engine whose documents are real files."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from strongroom import app as wiring
from strongroom.cli.naming import file_name, find
from strongroom.cli.progress import Reasons, eta, progress_line, reporting, show_reasons
from strongroom.cli.run import run
from strongroom.errors import ExitCode, NotFoundError, UsageError
from strongroom.types import DocumentState, FileOutcome, IngestProgress, IngestRequest, IngestSummary
from tests.fakes_engine import FakeEngine, make_pdf


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeEngine:
    """Two policies of one name in two folders, a PDF, and a document that failed."""
    fake = FakeEngine()
    for place in ("north", "south"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "policy.txt").write_text(f"The notice period in the {place} is ninety days.")
    (tmp_path / "lease.pdf").write_bytes(make_pdf([["First page."], ["Second page."]]))
    (tmp_path / "broken.doc").write_text("not yet readable")
    fake.ingest(IngestRequest((str(tmp_path),)), on_event=lambda _e: None)
    (broken,) = (d for d in fake._documents.values() if d.info.name == "broken.doc")
    broken.info = replace(broken.info, state=DocumentState.FAILED, reason="It is damaged.", chunks=0, version="")
    monkeypatch.setattr(wiring, "open_engine", lambda *_a, **_k: fake)
    return fake


def listed(capsys: pytest.CaptureFixture[str], *options: str) -> list[str]:
    assert run(["documents", "list", "--json", *options]) == ExitCode.OK
    return [json.loads(line)["name"] for line in capsys.readouterr().out.splitlines()]


def test_list_filters_sorts_and_limits(library: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    assert listed(capsys, "--failed") == ["broken.doc"]
    assert listed(capsys, "--state", "indexed", "--name", "*.PDF") == ["lease.pdf"]
    assert listed(capsys, "--name", "*/north/*") == ["policy.txt"]
    assert listed(capsys, "--sort", "pages", "--limit", "1") == ["lease.pdf"]
    assert listed(capsys, "--state", "quarantined") == []


def test_list_shows_why_a_document_failed(library: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["documents", "list", "--failed"]) == ExitCode.OK
    assert "damaged" in " ".join(capsys.readouterr().out.split())


def test_a_document_is_found_by_what_people_type(library: FakeEngine) -> None:
    (lease,) = (d for d in library.documents() if d.name == "lease.pdf")
    assert find(library, lease.id) == find(library, lease.id[:6]) == find(library, "lease.pdf") == lease
    assert find(library, "north/policy.txt").path.endswith("north/policy.txt")


def test_an_ambiguous_name_lists_the_candidates(library: FakeEngine) -> None:
    with pytest.raises(UsageError, match="names 2 documents") as error:
        find(library, "policy.txt")
    assert "north/policy.txt" in error.value.hint
    assert "south/policy.txt" in error.value.hint


@pytest.mark.parametrize("text", ["abc", "nothing.pdf", "olicy.txt", ""])
def test_what_names_nothing_is_not_found(library: FakeEngine, text: str) -> None:
    with pytest.raises(NotFoundError):
        find(library, text)


def test_show_gives_versions_pages_chunks_and_thumbnails(
    library: FakeEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "thumbs"
    assert run(["documents", "show", "lease.pdf", "--chunks", "--thumbnails", str(folder), "--json"]) == ExitCode.OK
    shown = json.loads(capsys.readouterr().out)
    assert [page["number"] for page in shown["page_list"]] == [1, 2]
    assert shown["versions"][0]["current"] is True
    assert "First page." in shown["chunk_list"][0]["text"]
    assert [path.read_bytes()[:4] for path in sorted(folder.iterdir())] == [b"\x89PNG", b"\x89PNG"]
    assert run(["documents", "show", "lease.pdf", "--chunks"]) == ExitCode.OK
    text = capsys.readouterr().out
    assert "Versions" in text
    assert "[0] page 1 | Heading" in text


def test_show_reads_no_text_unless_asked(library: FakeEngine) -> None:
    assert run(["documents", "show", "lease.pdf"]) == ExitCode.OK
    assert not [request for request in library.requests if isinstance(request, tuple)]


def test_retry_reads_the_failed_file_again(library: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["documents", "retry", "--all", "--yes"]) == ExitCode.OK
    assert "1 indexed" in capsys.readouterr().err
    assert {d.state for d in library.documents()} == {DocumentState.INDEXED}
    assert run(["documents", "retry", "--all", "--yes"]) == ExitCode.OK
    assert "No document failed" in capsys.readouterr().err


def test_retry_says_what_it_cannot_reach(
    library: FakeEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.doc").unlink()
    assert run(["documents", "retry", "broken.doc", "--yes", "--json"]) == ExitCode.PARTIAL
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["outcome"] == "unreachable"


def test_retry_names_the_files_and_asks_before_it_reads_them(
    library: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever uploads names the path: it must not make somebody else's retry read a file unseen."""
    before = len(library.ocr_modes)
    assert run(["documents", "retry", "--all"]) != ExitCode.OK  # no terminal to answer from
    assert "broken.doc" in capsys.readouterr().err
    assert len(library.ocr_modes) == before


def test_an_original_is_written_as_it_was_for_its_owner_alone(
    library: FakeEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    assert run(["documents", "export", "lease.pdf", "--out", str(tmp_path / "out")]) == ExitCode.OK
    written = tmp_path / "out" / "lease.pdf"
    assert written.read_bytes() == (tmp_path / "lease.pdf").read_bytes()
    assert written.stat().st_mode & 0o777 == 0o600
    # a file that is there stays, unless it is said
    written.write_text("mine")
    assert run(["documents", "export", "lease.pdf", "--out", str(written)]) == ExitCode.USAGE
    assert written.read_text() == "mine"
    assert run(["documents", "export", "lease.pdf", "--out", str(written), "--force"]) == ExitCode.OK
    assert written.read_bytes() == (tmp_path / "lease.pdf").read_bytes()


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "..", "", "a\x00b\n.pdf", "\u202efdp.exe"])
def test_a_hostile_name_writes_into_the_named_folder_alone(library: FakeEngine, name: str, tmp_path: Path) -> None:
    (document,) = (d for d in library.documents() if d.name == "lease.pdf")
    path = tmp_path / file_name(replace(document, name=name))
    assert path.resolve().parent == tmp_path.resolve()
    assert path.name.isprintable()


@pytest.mark.parametrize("words", [[], ["x", "--all"]])
def test_retry_wants_documents_or_all(library: FakeEngine, words: list[str]) -> None:
    assert run(["documents", "retry", *words]) == ExitCode.USAGE


HOSTILE = "/x/\x1b]0;owned\x07\x1b[31m[red]a\u202efdp.exe\n.pdf"


def test_hostile_names_reach_no_terminal_as_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    reasons = Reasons()
    with reporting(json_output=False, seen=reasons.add) as on_event:
        on_event(FileOutcome(HOSTILE, "failed", reason="bad\x1b[2J"))
    show_reasons(reasons, IngestSummary({"failed": 1}, 1, 0, 0, 1.0))
    shown = capsys.readouterr().err
    assert "[red]" in shown
    assert not {"\x1b", "\x07", "\u202e"} & set(shown)


def test_the_summary_groups_by_reason_with_an_example_and_names_the_next_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    reasons = Reasons()
    for n in range(3):
        reasons.add(FileOutcome(f"/{n}.pdf", "quarantined", reason="It needs a password."))
    reasons.add(FileOutcome("/good.pdf", "indexed"))
    show_reasons(reasons, IngestSummary({"quarantined": 3, "indexed": 1}, 4, 1, 1, 1.0))
    shown = capsys.readouterr().err
    (row,) = [line for line in shown.splitlines() if "password" in line]
    assert row.split()[0] == "3"
    assert "/0.pdf" in row
    assert "/good.pdf" not in shown
    assert "documents list --failed" in shown


def test_quiet_keeps_stderr_free(library: FakeEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.pdf").write_bytes(b"\0BAD")
    assert run(["ingest", str(tmp_path), "--quiet"]) == ExitCode.PARTIAL
    assert capsys.readouterr() == ("", "")


def test_a_line_now_and_then_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr("strongroom.cli.progress.time.monotonic", lambda: now[0])
    with reporting(json_output=False) as on_event:
        for second in range(25):
            now[0] = float(second)
            on_event(IngestProgress(second, 100, second, 0, float(second), "ingesting"))
    assert len(capsys.readouterr().err.splitlines()) == 2  # at 10 s and at 20 s


def test_the_progress_line_says_speed_time_left_failures_and_the_file() -> None:
    line = progress_line(
        IngestProgress(5, 20, 50, 9, 10.0, "ingesting", 2_000_000, 8_000_000, failed=1, current=("/a/contract.pdf",))
    )
    assert line == (
        "ingesting: 5 of 20 files, 50 pages (5.0 pages/s), 2.0 MB of 8.0 MB, about 30 s left, 1 failed, at contract.pdf"
    )


def test_time_left_falls_back_to_files_and_is_silent_before_there_is_a_pace() -> None:
    assert eta(IngestProgress(1, 4, 0, 0, 2.0)) == 6.0
    assert eta(IngestProgress(0, 4, 0, 0, 2.0)) is None
    assert eta(IngestProgress(3, None, 0, 0, 2.0)) is None


def test_status_shows_collections_last_run_and_disk(
    library: FakeEngine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from strongroom.types import IngestRun

    found = library.status()
    run_ = IngestRun(
        datetime(2026, 5, 4, 3, 2, tzinfo=UTC), "local", "default", IngestSummary({"failed": 2}, 2, 7, 0, 65.0)
    )
    monkeypatch.setattr(
        FakeEngine,
        "status",
        lambda _s: replace(found, last_ingest=run_, disk={"models": 1_500_000}, states={"parsed": 3}),
    )
    assert run(["status"]) == ExitCode.OK
    shown = capsys.readouterr().out
    for words in ("4 in default", "3 not finished", "2026-05-04 03:02 UTC", "2 failed", "1 min 5 s", "models 1.5 MB"):
        assert words in shown
