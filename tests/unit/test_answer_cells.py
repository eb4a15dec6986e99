"""In a row of a table the answer is the cell whose label the question names, not the row's name."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval import context, exact
from retrieval.cells import BETWEEN, answering, cells
from retrieval.citations import PageReader
from tests.answering import ACCESS, Shelf, ShelfSearch
from tests.fakes import FakeEmbedder, FakeReader

SHEET = (
    "Section: Expenditure | Line: Maintenance dredging | Outturn 2025/26: 2140 | Budget 2026/27: 2365"
    " | Note: Two campaigns"
)
FILING = "Total net sales | Three Months Ended June 25, 2022: 82,959 | Three Months Ended June 26, 2021: 81,434"
CHANGE = "Sales | 2022: 90 | 2021: 100 | Change: -10"
PROJECT = "Project: Radar scanner | Reference: CAP-26 | Approved: 410 | Completion: September 2026"
SPONSOR = "Project: Radar scanner | Reference: CAP-26 | Sponsor: Elias Thorne | Completion: September 2026"
BOLLARD = "Berth: 4 | Main use: Containers | Remarks: Bollard 4-7 out of use"
MEASURE = "No.: 4 | Measure: Snap-back zones painted at Berths 1 to 6 | Owner: Colm Hanratty | Due: 31 May 2026"
LEVELS = "Berth: 4 | Depth (m): 12.5 | Length (m): 240"


def said(question: str, row: str, *marked: str) -> list[str]:
    """The cells that answer, where a reader marked these words of the row."""
    spans = [(row.index(words), row.index(words) + len(words)) for words in marked]
    found = answering(question, row, spans)
    return [row[start:end] for start, end in found.places] if found else []


@pytest.mark.parametrize(
    ("question", "row", "marked", "answer"),
    [
        ("What is the budget for maintenance dredging?", SHEET, ["Expenditure"], "2365"),
        ("What is the budget for maintenance dredging?", SHEET, ["Maintenance dredging | Outturn"], "2365"),
        ("How much was the outturn for maintenance dredging?", SHEET, ["2365"], "2140"),
        ("What note stands beside maintenance dredging?", SHEET, [], "Two campaigns"),
        ("Which line has a budget of 2365?", SHEET, ["Expenditure"], "Maintenance dredging"),
        ("What were total net sales in the three months ended June 2021?", FILING, ["82,959"], "81,434"),
        ("What were total net sales in 2022?", FILING, ["Total net sales"], "82,959"),
        ("What was the change in sales between 2021 and 2022?", CHANGE, ["90"], "-10"),
        ("How much were returns in 2021?", CHANGE.replace("Sales", "Returns").replace("100", "—"), ["90"], "—"),
        ("When is the radar scanner to be completed?", PROJECT, [], "September 2026"),
        ("Which quay is out of use?", BOLLARD, ["Bollard 4-7"], "Bollard 4-7 out of use"),
        ("Who owns the measure about snap-back zones?", MEASURE, ["Snap-back zones painted"], "Colm Hanratty"),
        ("When is the measure about snap-back zones due?", MEASURE, ["Snap-back zones painted"], "31 May 2026"),
        ("Which berth is mainly used for containers?", BOLLARD, ["Containers"], "4"),
        ("How long is berth 4?", LEVELS, ["240"], "240"),  # no label is named: the reader's word stands
        ("What is the depth at berth 4?", LEVELS, ["4"], "12.5"),
        ("Which berth has a depth of 12.5 m?", LEVELS, ["12.5"], "4"),
    ],
)
def test_the_cell_is_the_one_that_the_question_names(question: str, row: str, marked: list[str], answer: str) -> None:
    assert said(question, row, *marked)[0] == answer


@pytest.mark.parametrize(
    ("before", "own", "row", "marked", "answer"),
    [
        ("Budget maintenance dredging", "What was spent on it in 2025?", SHEET, "2365", "2140"),
        ("radar scanner completed", "Who is responsible for it?", SPONSOR, "CAP-26", "Elias Thorne"),
        ("radar scanner completed", "How much does it cost?", PROJECT, "September 2026", "410"),
        ("owns measure snap-back zones", "And when is it due?", MEASURE, "Colm Hanratty", "31 May 2026"),
    ],
)
def test_a_follow_up_keeps_the_row_and_asks_for_another_cell(
    before: str, own: str, row: str, marked: str, answer: str
) -> None:
    start = row.index(marked)
    found = answering(f"{before}: {own}", row, [(start, start + len(marked))], own=own)
    assert found is not None
    assert row[slice(*found.places[0])] == answer


def test_where_a_number_is_asked_for_no_words_answer() -> None:
    assert said("How much does maintenance dredging cost?", SHEET, "Two campaigns", "2365") == ["2365"]


def test_two_columns_that_are_named_alike_both_answer() -> None:
    assert said("What were net sales in 2021 and 2022?", FILING, "82,959") == ["82,959", "81,434"]


@pytest.mark.parametrize(
    "line",
    ["Rent: 900 euros each month", "Dear Sir or Madam", "Tax | Rate | Note", "", BETWEEN],
)
def test_what_is_no_row_with_a_head_is_left_to_the_reader(line: str) -> None:
    assert cells(line) == []
    assert answering("What is the rent?", line, [(0, 2)]) is None


_text = st.text(alphabet="ab 1:|é—", max_size=8)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(pieces=st.lists(st.tuples(_text, _text), max_size=5), question=_text)
def test_a_cell_is_a_piece_of_its_row(pieces: list[tuple[str, str]], question: str) -> None:
    row = BETWEEN.join(f"{label}: {value}" for label, value in pieces)
    held = cells(row)
    for cell in held:
        assert row[cell.start : cell.end] == cell.value
    found = answering(question, row, [(0, len(row))])
    assert found is None or set(found.places) <= {(cell.start, cell.end) for cell in held}


@pytest.mark.parametrize(
    "question",
    ["What is the budget for maintenance dredging?", "What are the amounts of maintenance dredging in the budget?"],
)
def test_the_exact_answer_is_the_cell(question: str) -> None:
    shelf = Shelf(
        {"budget": [f"{SHEET}\n{SHEET.replace('Maintenance dredging', 'Capital dredging').replace('65', '77')}"]}
    )
    embedder = FakeEmbedder(64)
    ranked, _ = ShelfSearch(shelf, embedder).search(question, access=ACCESS, k=2)
    pages = PageReader(shelf.page)
    evidence = context.choose(
        context.read(question, ranked, pages, embedder, FakeReader()), count_tokens=len, budget=9999
    )
    (found,) = exact.find(question, evidence, pages)
    assert found.text == "2365"
    start, end = found.spans[0].start, found.spans[0].end
    assert shelf.text("budget")[start:end] == "2365"
