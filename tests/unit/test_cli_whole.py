"""`strongroom summarise`, `compare`, `extract`, `sheet` and `timeline` against a fake engine over real files."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from strongroom import app as wiring
from strongroom.cli.fields import read_field, read_fields
from strongroom.cli.run import run
from strongroom.cli.whole_output import progress_line
from strongroom.errors import ExitCode, UsageError
from strongroom.types import IngestRequest
from strongroom.whole import Field, WholeEvent, WholeProgress, WholeRequest
from tests.fakes_engine import FakeEngine, make_pdf


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeEngine:
    fake = FakeEngine()
    folder = tmp_path / "docs"
    folder.mkdir()
    for name, days, year in (("draft", "thirty", 2020), ("signed", "forty", 2021)):
        lines = [f"The notice period for termination is {days} days.", f"It was made on 3 May {year} in Bergen."]
        (folder / f"{name}.pdf").write_bytes(make_pdf([lines]))
    (folder / "evil.txt").write_text("=cmd|' /C calc'!A0 was the notice period for termination of 1 May 2019.")
    fake.ingest(IngestRequest((str(folder),)), on_event=lambda _e: None)
    monkeypatch.setattr(wiring, "open_engine", lambda *_a, **_k: fake)
    return fake


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as source:
        return list(csv.DictReader(source))


def test_a_summary_names_its_places(library: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["summarise", "draft.pdf", "--points", "2"]) == ExitCode.OK
    out, err = capsys.readouterr()
    assert out.startswith("draft.pdf\n- “")
    assert "[draft.pdf, page 1]" in out
    assert "no model wrote" in err


def test_differences_stand_side_by_side(library: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compare", "draft.pdf", "signed.pdf"]) == ExitCode.OK
    out = capsys.readouterr().out
    assert "draft.pdf, page 1: “The notice period for termination is thirty days.” (30)" in out
    assert "signed.pdf, page 1: “The notice period for termination is forty days.” (40)" in out
    assert run(["compare", "draft.pdf"]) == ExitCode.USAGE


def test_a_timeline_is_sorted(library: FakeEngine, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["timeline", "--all", "--out", str(tmp_path / "t.csv")]) == ExitCode.OK
    rows = table(tmp_path / "t.csv")
    assert [(r["date"], r["document"]) for r in rows] == [
        ("2019-05-01", "evil.txt"),
        ("2020-05-03", "draft.pdf"),
        ("2021-05-03", "signed.pdf"),
    ]
    assert rows[0]["sentence"].startswith("'=cmd")


def test_a_table_is_written_with_a_place_in_each_cell(library: FakeEngine, tmp_path: Path) -> None:
    fields = tmp_path / "fields.toml"
    fields.write_text('[[field]]\nname = "made"\nkind = "date"\nquestion = "When was it made in Bergen?"\n')
    arguments = ["extract", "--all", "-f", str(fields), "--field", "royalty:money", "-o", str(tmp_path / "t.csv")]
    assert run(arguments) == ExitCode.OK
    rows = {row["document"]: row for row in table(tmp_path / "t.csv")}
    assert rows["signed.pdf"]["made"] == "2021-05-03"
    assert rows["signed.pdf"]["made (page)"] == "page 1"
    assert "3 May 2021" in rows["signed.pdf"]["made (quote)"]
    assert rows["signed.pdf"]["royalty"] == "not found"
    assert run(["extract", "--all"]) == ExitCode.USAGE
    assert run(["extract", "--field", "x"]) == ExitCode.USAGE, "which documents?"


def test_a_sheet_comes_back_answered_and_is_resumed(
    library: FakeEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # GIVEN a questionnaire with a blank row and a question that no document answers
    questions, out = tmp_path / "q.csv", tmp_path / "a.csv"
    questions.write_text("No,Question\n1,What is the notice period for termination?\n,\n2,Who discovered penicillin?\n")
    assert run(["sheet", str(questions), "--out", str(out)]) == ExitCode.OK
    rows = table(out)
    assert [row["No"] for row in rows] == ["1", "", "2"]
    assert rows[0]["Answer"]
    assert "page 1" in rows[0]["Sources"]
    assert rows[1]["Answer"] == ""
    assert rows[2]["Answer"] == "not found in the documents"
    # WHEN a question is added and the sheet resumed THEN only that one is asked
    questions.write_text(questions.read_text() + "3,When was it made in Bergen?\n")
    assert run(["sheet", str(questions), "--out", str(out)]) == ExitCode.USAGE, "an answered sheet is not overwritten"
    library.requests.clear()
    assert run(["sheet", str(questions), "--out", str(out), "--resume"]) == ExitCode.OK
    (asked,) = (r.questions for r in library.requests if hasattr(r, "questions"))
    assert asked == ("When was it made in Bergen?",)
    assert table(out)[:3] == rows
    assert table(out)[3]["Answer"]


def test_answers_go_into_the_sheets_own_empty_column(library: FakeEngine, tmp_path: Path) -> None:
    # GIVEN a form with a column for answers, and another whose column is in use
    questions, out = tmp_path / "q.csv", tmp_path / "a.csv"
    questions.write_text("Question,Vendor response,By\nWhat is the notice period for termination?,,Ann\n")
    assert run(["sheet", str(questions), "--out", str(out)]) == ExitCode.OK
    (row,) = table(out)
    assert row["Vendor response"]
    assert list(row) == ["Question", "Vendor response", "By", "Confidence", "Sources", "Quotes", "Note"]
    # THEN it is known again as answered
    library.requests.clear()
    assert run(["sheet", str(questions), "--out", str(out), "--resume"]) == ExitCode.OK
    assert not library.requests
    questions.write_text("Question,Answer\nWhat is the notice period for termination?,ours\n")
    assert run(["sheet", str(questions), "--out", str(tmp_path / "b.csv")]) == ExitCode.OK
    (row,) = table(tmp_path / "b.csv")
    assert row["Answer"] == "ours"
    assert row["Answer (from the documents)"]


def test_a_question_that_cannot_be_asked_stops_no_other(
    library: FakeEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    questions, out = tmp_path / "q.csv", tmp_path / "a.csv"
    long = "when " * 500
    questions.write_text(f"No,Question\n1,{long}\n2,What is the notice period for termination?\n")
    assert run(["sheet", str(questions), "--out", str(out)]) == ExitCode.PARTIAL
    first, second = table(out)
    assert (first["Answer"], first["Note"]) == ("", "not asked: the question is longer than 2,000 characters")
    assert second["Answer"]
    assert "left out: question 1: when when" in capsys.readouterr().err


def test_a_sheet_that_was_never_begun_leaves_no_file(library: FakeEngine, tmp_path: Path) -> None:
    questions, out = tmp_path / "q.csv", tmp_path / "a.csv"
    questions.write_text("Question\nWhat is the notice period for termination?\n")
    assert run(["sheet", str(questions), "--out", str(out), "--document", "nowhere.pdf"]) == ExitCode.USAGE
    assert not out.exists()


def test_a_sheet_of_json_is_resumed_too(library: FakeEngine, tmp_path: Path) -> None:
    questions, out = tmp_path / "q.csv", tmp_path / "a.json"
    questions.write_text("Question\nWhat is the notice period for termination?\n")
    assert run(["sheet", str(questions), "--out", str(out)]) == ExitCode.OK
    (first,) = json.loads(out.read_text())
    questions.write_text("Question\nWhen was it made in Bergen?\nWhat is the notice period for termination?\n")
    assert run(["sheet", str(questions), "--out", str(out), "--resume"]) == ExitCode.OK
    added, kept = json.loads(out.read_text())
    assert (added["index"], kept) == (0, {**first, "index": 1})
    out.write_text('[{"a": 1}]')
    assert run(["sheet", str(questions), "--out", str(out), "--resume"]) == ExitCode.USAGE


@pytest.mark.parametrize("task", [["extract", "--field", "royalty"], ["timeline"]])
def test_a_place_that_cannot_be_written_is_named_before_the_work(
    library: FakeEngine, tmp_path: Path, task: list[str]
) -> None:
    assert run([*task, "--all", "--out", str(tmp_path / "nowhere" / "t.csv")]) == ExitCode.USAGE
    assert not library.requests


def test_a_table_without_some_document_is_written_and_says_so(
    library: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = library.whole

    def one_gone(_engine: FakeEngine, request: WholeRequest) -> Iterator[WholeEvent]:
        for event in whole(request):
            yield replace(event, left_out=(("lost.pdf", "password protected"),)) if event.kind == "done" else event

    monkeypatch.setattr(FakeEngine, "whole", one_gone)
    out = tmp_path / "t.csv"
    assert run(["extract", "--all", "--field", "made:date", "--out", str(out), "--json"]) == ExitCode.PARTIAL
    assert len(table(out)) == 3
    said = capsys.readouterr()
    assert "left out: lost.pdf (password protected)" in said.err
    assert [json.loads(line)["kind"] for line in said.out.splitlines()] == ["row", "row", "row", "done"]


@pytest.mark.parametrize("task", ["extract", "sheet"])
def test_ctrl_c_leaves_whole_files_and_says_how_to_go_on(
    library: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], task: str
) -> None:
    # GIVEN work that is interrupted after its first row
    whole = library.whole

    def broken(_engine: FakeEngine, request: WholeRequest) -> Iterator[WholeEvent]:
        for event in whole(request):
            yield event
            if event.kind in ("row", "sheet"):
                raise KeyboardInterrupt

    monkeypatch.setattr(FakeEngine, "whole", broken)
    questions, out = tmp_path / "q.csv", tmp_path / "t.csv"
    questions.write_text("Question\nWhat is the notice period for termination?\nWhen was it made in Bergen?\n")
    arguments = {"extract": ["extract", "--all", "--field", "made:date"], "sheet": ["sheet", str(questions)]}[task]
    assert run([*arguments, "--out", str(out)]) == ExitCode.INTERRUPTED
    if task == "extract":
        assert not out.exists()
        assert "is kept: run the same command again" in capsys.readouterr().err
    else:
        assert [bool(row["Answer"]) for row in table(out)] == [True, False]
        assert "--resume" in capsys.readouterr().err


def test_json_lines_end_with_what_was_done(library: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["timeline", "--all", "--json"]) == ExitCode.OK
    *items, done = map(json.loads, capsys.readouterr().out.splitlines())
    assert {item["kind"] for item in items} == {"dated"}
    assert (done["kind"], done["items"], len(items)) == ("done", 3, 3)
    # what is not shown is not counted either
    assert run(["timeline", "--all", "--relative", "--json"]) == ExitCode.OK
    *more, all_done = map(json.loads, capsys.readouterr().out.splitlines())
    assert all_done["items"] == len(more)


def test_fields_are_read_strictly(tmp_path: Path) -> None:
    assert read_field("end of term:date") == Field("end of term", "date")
    assert read_field("ratio 1:2") == Field("ratio 1:2")
    with pytest.raises(UsageError, match="no kind 'datum'"):
        read_field("end of term:datum")
    path = tmp_path / "f.csv"
    path.write_text("name,kind,question\nEnd,date,When does it end?\n\nLaw,,\n")
    assert read_fields(path) == [Field("End", "date", "When does it end?"), Field("Law")]
    path = tmp_path / "f.json"
    for text, match in (
        ('[{"name": "x", "type": "date"}]', "unknown type"),
        ('[{"name": "x", "kind": "dates"}]', "no kind 'dates'"),
        ("[{}]", "no name"),
        ('[{"name": "x", "question": {"a": 1}}]', "its question is no text"),
        ("[]", "no fields"),
        ("{", "malformed"),
    ):
        path.write_text(text)
        with pytest.raises(UsageError, match=match):
            read_fields(path)


def test_progress_tells_rate_and_time_left() -> None:
    line = progress_line(WholeProgress(30, 100, "cells", 10.0, "a.pdf: x", reused=10))
    assert line == "30 of 100 cells, 10 kept from before, 2.0 cells/s, about 35 s left, at a.pdf: x"
    line = progress_line(WholeProgress(1, 3, "documents", 90.0))
    assert line == "1 of 3 documents, 1 min 30 s each, about 3 min 0 s left"
