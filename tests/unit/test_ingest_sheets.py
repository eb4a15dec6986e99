"""Spreadsheets: ranges, headers, merged cells, hidden parts, values as shown, and several tables on a sheet."""

import datetime
import time
from pathlib import Path

import pytest

from ingest.mime import detect
from ingest.parse import parse_file
from ingest.parse.build import DocumentBuilder
from ingest.parse.cellformat import shown
from ingest.parse.grid import Grid, add_grid, column_name
from strongroom.errors import ParseError
from strongroom.types import ParsedDocument


def _grid(*rows: list[str], name: str = "Data", **facts: object) -> ParsedDocument:
    builder = DocumentBuilder()
    add_grid(builder, Grid(name, rows=list(rows), **facts))  # type: ignore[arg-type]
    return builder.build("text/csv")


def _lines(document: ParsedDocument) -> list[str]:
    return [line for line in document.text.split("\n") if line]


@pytest.mark.parametrize(
    ("value", "code", "expected"),
    [
        (0.1234, "0%", "12%"),
        (0.1234, "0.00%", "12.34%"),
        (1234567.5, "#,##0.00", "1,234,567.50"),
        (-1234.5, '_(* #,##0.00_);_(* (#,##0.00);_(* "-"??_);_(@_)', "(1,234.50)"),
        (0, '_(* #,##0.00_);_(* (#,##0.00);_(* "-"??_);_(@_)', "-"),
        (12.5, "[$€-407] #,##0.00", "€ 12.50"),
        (12, '0" units"', "12 units"),
        (1.5, "0.0##", "1.5"),
        (3.0, None, "3"),
        (5.25, "General", "5.25"),
        (1.5e-7, "0.00E+00", "1.5e-07"),
        (1.5, "# ?/?", "1.5"),
        (True, None, "TRUE"),
        (datetime.datetime(2024, 3, 5), "d mmm yyyy", "5 Mar 2024"),
        (datetime.datetime(2024, 3, 5), "[$-409]mmmm d, yyyy;@", "March 5, 2024"),
        (datetime.datetime(2024, 3, 5), "dd/mm/yyyy", "05/03/2024"),
        (datetime.datetime(2024, 3, 5), "mm-dd-yy", "2024-03-05"),  # "short date", which every system shows its own way
        (datetime.datetime(2024, 3, 5, 14, 7, 9), "yyyy-mm-dd hh:mm:ss", "2024-03-05 14:07:09"),
        (datetime.datetime(2024, 3, 5, 14, 7), "h:mm AM/PM", "2:07 PM"),
        (datetime.datetime(2024, 3, 5), 'yyyy"年"m"月"d"日"', "2024年3月5日"),
        (datetime.datetime(2024, 3, 5), "[$-F800]dddd, mmmm dd, yyyy", "Tuesday, March 05, 2024"),
        (datetime.time(9, 30), None, "09:30:00"),
        (datetime.timedelta(hours=30, minutes=5), "[h]:mm:ss", "30:05:00"),
    ],
)
def test_values_are_shown_as_their_format_shows_them(value: object, code: str | None, expected: str) -> None:
    assert shown(value, code) == expected


def test_columns_are_named_as_in_a_spreadsheet() -> None:
    assert [column_name(index) for index in (0, 25, 26, 51, 52, 701, 702)] == ["A", "Z", "AA", "AZ", "BA", "ZZ", "AAA"]


def test_a_long_sheet_is_cut_into_ranges_and_every_row_stands_alone() -> None:
    rows = [["Name", "Sum"], *([f"person {number}", str(number)] for number in range(1, 121))]
    document = _grid(*rows)
    assert [page.locator.label for page in document.pages] == ["Data!A1:B50", "Data!A51:B100", "Data!A101:B121"]
    last = document.text[document.pages[2].start : document.pages[2].end]
    assert last.startswith("Name: person 100 | Sum: 100\n")


def test_several_tables_on_a_sheet_keep_their_captions_apart() -> None:
    income = (["Income"], ["Item", "2023"], ["Rent", "10"], [])
    document = _grid(*income, ["Item", "2024"], ["Food", "5"], [], ["Costs"], ["a", "b"], ["c", "1"])
    headings = [document.text[h.start : h.end] for h in document.headings]
    assert headings == ["Data", "Income", "A5:B6", "Costs"]
    assert "Item: Food | 2024: 5" in document.text


def test_tables_beside_each_other_are_told_apart() -> None:
    header = ["Name", "Age", "", "City", "Size"]
    document = _grid(header, ["Ada", "36", "", "Bonn", "330"], ["Bob", "40", "", "Ulm", "120"])
    assert _lines(document)[1:] == [
        "Name | Age",
        "Name: Ada | Age: 36",
        "Name: Bob | Age: 40",
        "City | Size",
        "City: Bonn | Size: 330",
        "City: Ulm | Size: 120",
    ]


def test_a_blank_column_inside_one_table_only_sets_it_off() -> None:
    document = _grid(["Item", "", "2023", "2024"], ["Rent", "", "10", "11"], ["Food", "", "5", "6"])
    assert "Item: Rent | 2023: 10 | 2024: 11" in document.text


def test_a_header_set_off_by_a_blank_row_and_a_line_of_units_above_it() -> None:
    document = _grid(
        ["In millions", "", "", "", "June 2023"],
        ["", "Sales", "Profit", "Margin", "Tax"],
        [],
        ["Zone NA", "12", "3", "25%", "1"],
        ["Zone EUR", "9", "2", "22%", "1"],
    )
    assert _lines(document)[1:4] == [
        "In millions | June 2023",
        "Sales | Profit | Margin | Tax",
        "Zone NA | Sales: 12 | Profit: 3 | Margin: 25% | Tax: 1",
    ]


def test_merged_cells_label_every_row_and_every_column_they_reach() -> None:
    document = _grid(
        ["Region", "2023", "", "2024", ""],
        ["", "Sales", "Profit", "Sales", "Profit"],
        ["North", "1", "2", "3", "4"],
        ["", "5", "6", "7", "8"],
        merged=[(0, 1, 0, 2), (0, 3, 0, 4), (2, 0, 3, 0)],
    )
    assert "Region: North | 2023 Sales: 1 | 2023 Profit: 2 | 2024 Sales: 3 | 2024 Profit: 4" in document.text
    assert "Region: North | 2023 Sales: 5" in document.text


def test_words_below_a_header_with_a_gap_are_data() -> None:
    document = _grid(["Name", "Note"], ["Ada", "good", "extra"], ["Bob", "bad"])
    assert "Name: Ada | Note: good | extra" in document.text


def test_hidden_rows_columns_and_sheets_are_read_and_flagged(tmp_path: Path) -> None:
    from openpyxl import Workbook

    book = Workbook()
    sheet = book.active
    sheet.title = "Pay"
    for row in (["Name", "Salary"], ["Ada", 100], ["Bob", 200]):
        sheet.append(row)
    sheet.row_dimensions[3].hidden = True
    sheet.column_dimensions["B"].hidden = True
    book.save(tmp_path / "a.xlsx")
    document = parse_file(tmp_path / "a.xlsx", detect(tmp_path / "a.xlsx"))
    assert document.warnings == ("sheet Pay: 1 hidden rows were read", "sheet Pay: hidden columns were read (B)")
    assert "Name | Salary [hidden column]" in document.text
    assert "[hidden row] Name: Bob | Salary: 200" in document.text


def test_a_workbook_keeps_formats_merges_and_computed_values(tmp_path: Path) -> None:
    from openpyxl import Workbook

    book = Workbook()
    sheet = book.active
    sheet.title = "Budget"
    sheet.append(["Item", "Share", "Due"])
    sheet.append(["Rent", 0.255, datetime.datetime(2024, 3, 5)])
    sheet.append([None, 0.5, datetime.datetime(2024, 4, 5)])
    sheet.merge_cells("A2:A3")
    for row in (2, 3):
        sheet.cell(row, 2).number_format = "0.0%"
        sheet.cell(row, 3).number_format = "d mmmm yyyy"
    book.save(tmp_path / "a.xlsx")
    document = parse_file(tmp_path / "a.xlsx", detect(tmp_path / "a.xlsx"))
    assert "Item: Rent | Share: 25.5% | Due: 5 March 2024" in document.text
    assert "Item: Rent | Share: 50.0% | Due: 5 April 2024" in document.text


def test_a_hundred_thousand_rows_are_read_in_bounded_time(tmp_path: Path) -> None:
    path = tmp_path / "big.csv"
    path.write_text("Name,Sum\n" + "".join(f"person {n},{n}\n" for n in range(100_000)), encoding="utf-8")
    begun = time.monotonic()
    document = parse_file(path, detect(path))
    assert len(document.pages) == 2001
    assert "Name: person 99999 | Sum: 99999" in document.text
    assert time.monotonic() - begun < 30


def test_a_sheet_of_absurd_size_is_refused_with_a_way_out(tmp_path: Path) -> None:
    path = tmp_path / "big.csv"
    path.write_text("," * 3000 + "\n" + ("," * 3000 + "x\n") * 700, encoding="utf-8")
    with pytest.raises(ParseError, match="more than 2,000,000 cells") as caught:
        parse_file(path, "text/csv")
    assert "CSV" in caught.value.hint


# ------------------------------------------------------------------------------------------------ other workbooks

FILES = Path(__file__).parent.parent / "files"


def test_a_legacy_workbook_reads_like_a_new_one() -> None:
    document = parse_file(FILES / "budget.xls", detect(FILES / "budget.xls"))
    assert document.mime == "application/vnd.ms-excel"
    assert [p.locator.label for p in document.pages] == ["Budget!A1:C4", "Secret!A1:B2"]
    assert "Item: Rent | Share: 25.5% | Due: 5 March 2024" in document.text
    assert "Item: Rent | Share: 50.0% | Due: 5 April 2024" in document.text
    assert "Secret (hidden sheet)" in document.text
    assert document.warnings == ("sheet Secret is hidden",)


@pytest.mark.parametrize("place", [0x3C, 0x44, 0x4C])  # of the small table, its directory, the first big one
def test_a_legacy_workbook_whose_container_is_broken_is_damaged(tmp_path: Path, place: int) -> None:
    data = bytearray((FILES / "budget.xls").read_bytes())
    data[place : place + 4] = (5).to_bytes(4, "little") if place == 0x3C else (0x7FFFFFFF).to_bytes(4, "little")
    (tmp_path / "a.xls").write_bytes(data)
    with pytest.raises(ParseError, match="damaged workbook"):
        parse_file(tmp_path / "a.xls", "application/vnd.ms-excel")


def test_an_opendocument_spreadsheet_reads_like_the_others() -> None:
    document = parse_file(FILES / "budget.ods", detect(FILES / "budget.ods"))
    assert document.mime == "application/vnd.oasis.opendocument.spreadsheet"
    assert [p.locator.label for p in document.pages] == ["Budget!A1:C4", "Secret!A1:B2"]
    assert "Item: Rent | Share: 25.5% | Due: 5 March 2024" in document.text
    assert "Item: Rent | Share: 50.0% | Due: 5 April 2024" in document.text
    assert document.warnings == ("sheet Secret is hidden",)
