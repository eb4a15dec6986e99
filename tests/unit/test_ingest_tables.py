"""Tables in PDFs: cells in the right row and column, written as labelled cells, with boxes on the words they are."""

from pathlib import Path

import pytest

from ingest.chunk import Chunker, wording
from ingest.parse.pdf import parse_pdf, pdf_tables
from strongroom.layout import boxes_for, unpack_words
from strongroom.types import ParsedDocument
from tests.fakes import FakeTokenizer
from tests.ingest_samples import PdfPage, make_pdf

Line = tuple[float, float, str]

REVENUE = [
    ["", "2023", "2022"],
    ["Product revenue", "301,200", "298,085"],
    ["Service revenue", "82,085", "96,243"],
    ["Total revenue", "383,285", "394,328"],
    ["Net income", "96,995", "(99,803)"],
]


def _grid(
    rows: list[list[str]], *, x: float = 72, y: float = 600, widths: tuple[float, ...] = (180, 90, 90)
) -> list[Line]:
    """Words of a table at fixed columns, one line of print a row, 16 points apart."""
    lines = []
    for number, row in enumerate(rows):
        at = x
        for cell, width in zip(row, widths, strict=True):
            if cell:
                lines.append((at, y - 16 * number, cell))
            at += width
    return lines


def _rules(xs: list[float], ys: list[float]) -> str:
    across = "".join(f"{xs[0]} {y} m {xs[-1]} {y} l S\n" for y in ys)
    return across + "".join(f"{x} {ys[0]} m {x} {ys[-1]} l S\n" for x in xs)


def _table(path: Path, page: PdfPage) -> list[list[str]]:
    """The one table of a page as text by row and column; a cell over several columns stands in the first."""
    ((_, words, table),) = pdf_tables(make_pdf(path, [page]))
    out = [["" for _ in range(table.columns)] for _ in range(table.rows)]
    for cell in table.cells:
        out[cell.row][cell.column] = " ".join(words.texts[word] for word in cell.words)
    return out


def test_white_space_makes_columns_and_years_make_a_head(tmp_path: Path) -> None:
    page = PdfPage(lines=[(72, 640, "CONSOLIDATED STATEMENTS OF INCOME"), *_grid(REVENUE)])
    assert _table(tmp_path / "a.pdf", page) == REVENUE
    document = parse_pdf(tmp_path / "a.pdf")
    assert document.text.split("\n\n")[1].split("\n") == [
        "2023 | 2022",
        "Product revenue | 2023: 301,200 | 2022: 298,085",
        "Service revenue | 2023: 82,085 | 2022: 96,243",
        "Total revenue | 2023: 383,285 | 2022: 394,328",
        "Net income | 2023: 96,995 | 2022: (99,803)",
    ]


def test_a_row_of_the_text_shows_its_cells_and_its_columns_names(tmp_path: Path) -> None:
    document = parse_pdf(make_pdf(tmp_path / "a.pdf", [PdfPage(lines=_grid(REVENUE))]))
    start = document.text.index("Total revenue")
    boxes = boxes_for(document.pages[0].layout, start, document.text.index("\n", start))
    lefts = sorted({(round(box[0]), round(792 - box[3])) for box in boxes})
    # The row's three cells stand at y 552, the head's two at y 600; boxes end a little below the baseline.
    assert [(x, y > 580) for x, y in lefts] == [(72, False), (252, False), (252, True), (342, False), (342, True)]


def test_a_drawn_grid_joins_the_lines_of_a_cell(tmp_path: Path) -> None:
    lines = [
        (76, 585, "Type"), (186, 585, "Description"),
        (76, 565, "Visual"), (76, 553, "scale"),
        (186, 565, "A line of fixed length with"), (186, 553, "words at its ends"),
        (76, 535, "Checklist"), (186, 535, "A choice between options"),
    ]  # fmt: skip
    page = PdfPage(lines=lines, extra=_rules([72, 182, 420], [600, 580, 548, 528]))
    assert _table(tmp_path / "a.pdf", page) == [
        ["Type", "Description"],
        ["Visual scale", "A line of fixed length with words at its ends"],
        ["Checklist", "A choice between options"],
    ]
    assert "Visual scale | Description: A line of fixed length" in parse_pdf(tmp_path / "a.pdf").text


def test_rows_of_numbers_in_one_drawn_band_are_rows(tmp_path: Path) -> None:
    rows = [["Item", "Cost", "Share"], ["Rent", "1,200", "60.0"], ["Food", "500", "25.0"], ["Other", "300", "15.0"]]
    page = PdfPage(lines=_grid(rows, y=585), extra=_rules([68, 248, 338, 428], [600, 580, 525]))
    assert _table(tmp_path / "a.pdf", page) == rows


def test_cells_joined_in_the_grid_stay_one_cell(tmp_path: Path) -> None:
    # GIVEN a head cell over two columns: the line between them begins below it
    lines = [(220, 585, "Margin"), (76, 565, "Region"), (186, 565, "Low"), (286, 565, "High")]
    lines += [
        (76, 545, "North"),
        (186, 545, "1.5"),
        (286, 545, "2.5"),
        (76, 525, "South"),
        (186, 525, "3"),
        (286, 525, "4"),
    ]
    extra = _rules([72, 182, 380], [600, 580, 560, 540, 520]) + "282 580 m 282 520 l S\n"
    ((_, words, table),) = pdf_tables(make_pdf(tmp_path / "a.pdf", [PdfPage(lines=lines, extra=extra)]))
    (margin,) = [cell for cell in table.cells if words.texts[cell.words[0]] == "Margin"]
    assert (margin.row, margin.column, margin.column_end) == (0, 1, 2)
    text = parse_pdf(tmp_path / "a.pdf").text
    assert "North | Margin Low: 1.5 | Margin High: 2.5" in text


def test_a_head_over_several_lines_and_columns(tmp_path: Path) -> None:
    head = [(258, 632, "Three Months Ended"), (252, 616, "June 25,"), (342, 616, "June 26,")]
    page = PdfPage(lines=[*head, *_grid(REVENUE)], extra="252 628 m 400 628 l S\n")
    make_pdf(tmp_path / "a.pdf", [page])
    assert "Total revenue | Three Months Ended June 25, 2023: 383,285 | Three Months Ended June 26, 2022: 394,328" in (
        parse_pdf(tmp_path / "a.pdf").text
    )


def test_a_head_reaches_over_a_column_that_is_named_a_line_below_the_others(tmp_path: Path) -> None:
    head = [(330, 632, "Three Months Ended"), (242, 616, "June 25,"), (342, 616, "June 26,")]
    rows = [["", "2023", "2022", "Change"], ["Mac", "6,840", "7,382", "(7)%"], ["iPad", "5,791", "7,224", "(20)%"]]
    lines = [*head, *_grid(rows, widths=(180, 95, 95, 95))]
    text = parse_pdf(make_pdf(tmp_path / "a.pdf", [PdfPage(lines=lines)])).text
    period = "Three Months Ended"
    assert f"Mac | {period} June 25, 2023: 6,840 | {period} June 26, 2022: 7,382 | {period} Change: (7)%" in text


def test_a_second_head_begins_a_second_table(tmp_path: Path) -> None:
    names = ["", "Cost", "Gains", "Value"]
    first = [["Cash", "12,852", "11", "12,863"], ["Funds", "10,970", "22", "10,992"]]
    second = [["Cash", "17,305", "33", "17,338"], ["Funds", "9,608", "44", "9,652"]]
    widths = (120.0, 90.0, 90.0, 90.0)
    lines = [(290.0, 632.0, "June 2022"), *_grid([names, *first], y=616, widths=widths)]
    lines += [(287.0, 568.0, "March 2021"), *_grid([names, *second], y=552, widths=widths)]
    text = parse_pdf(make_pdf(tmp_path / "a.pdf", [PdfPage(lines=lines)])).text
    assert "Cash | June 2022 Cost: 12,852" in text
    assert "Cash | March 2021 Cost: 17,305 " in text


def test_a_line_of_names_that_comes_twice_without_numbers_between_is_one_table(tmp_path: Path) -> None:
    names, widths = ["Port", "Cost", "Gains", "Value"], (120.0, 90.0, 90.0, 90.0)
    rows = [names, names, names, ["Cash", "12,852", "11", "12,863"], ["Funds", "10,970", "22", "10,992"]]
    pdf = make_pdf(tmp_path / "a.pdf", [PdfPage(lines=_grid(rows, widths=widths))])
    assert len(list(pdf_tables(pdf))) == 1


def test_currency_signs_are_part_of_their_number(tmp_path: Path) -> None:
    lines = _grid(REVENUE, widths=(180, 90, 90))
    lines += [(240, 584, "$"), (330, 584, "$"), (240, 536, "$"), (330, 536, "$")]
    text = parse_pdf(make_pdf(tmp_path / "a.pdf", [PdfPage(lines=lines)])).text
    assert "Product revenue | 2023: $ 301,200 | 2022: $ 298,085" in text


def test_a_label_that_goes_on_below_is_one_label(tmp_path: Path) -> None:
    rows = [
        ["", "2023", "2022"],
        ["Effect of exchange rate changes", "", ""],
        ["on cash", "12", "34"],
        ["Total", "5", "6"],
    ]
    rows += [["Opening balance", "7", "8"]]
    text = parse_pdf(make_pdf(tmp_path / "a.pdf", [PdfPage(lines=_grid(rows))])).text
    assert "Effect of exchange rate changes on cash | 2023: 12 | 2022: 34" in text


def test_a_table_that_goes_on_without_its_head_keeps_its_labels(tmp_path: Path) -> None:
    first, second = (
        PdfPage(lines=_grid(REVENUE)),
        PdfPage(lines=_grid([["Cash", "1,000", "2,000"], *REVENUE[2:]], y=700)),
    )
    document = parse_pdf(make_pdf(tmp_path / "a.pdf", [first, second]))
    page = document.pages[1]
    assert document.text[page.start : page.end].startswith("Cash | 2023: 1,000 | 2022: 2,000\n")
    # AND a table that brings its own head takes that
    other = [["", "Budget", "Actual"], *REVENUE[1:]]
    document = parse_pdf(make_pdf(tmp_path / "b.pdf", [first, PdfPage(lines=_grid(other))]))
    assert "Net income | Budget: 96,995 | Actual: (99,803)" in document.text


@pytest.mark.parametrize(
    "lines",
    [
        # two columns of running text
        [(x, 700 - 14 * i, "these words fill the whole width of one column") for i in range(12) for x in (40, 330)],
        # a sentence stretched to the margin
        [
            *((72, 700, "of the other party"), (220, 700, "such material breach"), (380, 700, "or default, this")),
            *((72, 686, "Agreement may end"), (220, 686, "by the first party"), (380, 686, "by giving notice")),
        ],
        # a list with its marks
        [(x, 700 - 20 * i, text) for i in range(8) for x, text in ((72, f"({i})"), (120, "party of the first part"))],
        # a chart: single numbers all over the page
        [(90 + 53 * i % 400, 700 - 37 * i, str(i * 7)) for i in range(12)],
    ],
    ids=["columns of text", "sentence", "list", "chart"],
)  # fmt: skip
def test_what_only_looks_like_a_table_is_none(tmp_path: Path, lines: list[Line]) -> None:
    make_pdf(tmp_path / "a.pdf", [PdfPage(lines=lines)])
    assert list(pdf_tables(tmp_path / "a.pdf")) == []


def _chunks(document: ParsedDocument) -> list[tuple[tuple[str, ...], str]]:
    chunker = Chunker(FakeTokenizer(), max_tokens=30, overlap_tokens=0)
    return [(chunk.headings, chunk.text) for chunk in chunker.chunk(document)]


def test_every_chunk_of_a_table_carries_its_caption_and_the_text_after_it_does_not(tmp_path: Path) -> None:
    lines = [
        (72, 640, "Table 4. Revenue by kind"),
        *_grid(REVENUE),
        *((72, 440 - 14 * i, "Management believes that all of this is as fine as it was before.") for i in range(4)),
    ]
    chunks = _chunks(parse_pdf(make_pdf(tmp_path / "a.pdf", [PdfPage(lines=lines)])))
    rows = [(headings, text) for headings, text in chunks if " | " in text]
    assert len(rows) > 1
    assert {headings for headings, _ in rows} == {("Table 4. Revenue by kind",)}
    after = [headings for headings, text in chunks if text.startswith("Management")]
    assert after
    assert set(after) == {()}
    assert wording("", None, rows[-1][0], rows[-1][1]).text.startswith("Table 4. Revenue by kind\n")


def test_records_are_the_text_and_lie_on_the_page(tmp_path: Path) -> None:
    pages = [PdfPage(lines=_grid(REVENUE), rotate=rotate, crop=(36, 36, 576, 756)) for rotate in (0, 90, 180, 270)]
    document = parse_pdf(make_pdf(tmp_path / "a.pdf", pages))
    assert "".join(document.text[p.start : p.end] for p in document.pages) == document.text
    for page in document.pages:
        assert page.width
        assert page.height
        for start, end, x0, y0, x1, y1 in unpack_words(page.layout):
            assert page.start <= start < end <= page.end
            assert document.text[start:end].strip() == document.text[start:end] != ""
            assert 0 <= x0 < x1 <= page.width
            assert 0 <= y0 < y1 <= page.height
