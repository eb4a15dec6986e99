"""Running heads and feet leave the chunks, once they were said; the document's text keeps them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.chunk import Chunker
from ingest.running import bodies
from strongroom.layout import pack_words
from strongroom.types import Locator, Page, ParsedDocument
from tests.fakes import FakeTokenizer

_LINE = 10.0
_WHITE = 16.0


def _document(pages: list[list[str]], *, layout: bool = True) -> ParsedDocument:
    """Pages of lines 10 points high, set solid; an empty line leaves 16 points of white."""
    text, made = "", []
    for index, lines in enumerate(pages):
        start, top, words = len(text), 50.0, []
        for line in lines:
            if line:
                words.append((len(text), len(text) + len(line), 72.0, top, 500.0, top + _LINE))
                top += _LINE + 1
            else:
                top += _WHITE
            text += line + "\n"
        packed = pack_words(words) if layout else b""
        made.append(Page(index, index + 1, Locator("page", str(index + 1)), start, len(text), 600, 800, packed))
    return ParsedDocument(text, tuple(made), "application/pdf")


def _kept(document: ParsedDocument) -> list[list[str]]:
    return [document.text[start:end].split("\n")[:-1] for start, end in bodies(document)]


def _body(index: int) -> list[str]:
    return [f"What page {'abcdefgh'[index]} says goes here.", f"Its second line is about {'pqrstuvw'[index]}."]


def test_heads_and_feet_stay_where_they_stand_first_and_leave_the_other_pages() -> None:
    pages = [["Harbour Lease", "", *_body(i), "", "Source: HARBOUR PLC, 10-K", f"- {i + 1} -"] for i in range(6)]
    kept = _kept(_document(pages))
    assert kept[0] == pages[0]
    assert all([line for line in kept[i] if line] == _body(i) for i in range(1, 6))


def test_a_word_of_a_header_is_still_in_one_chunk_and_every_body_in_its_own() -> None:
    document = _document([["Confidential Zanzibar", "", *_body(i)] for i in range(8)])
    chunks = Chunker(FakeTokenizer(), max_tokens=60, overlap_tokens=0).chunk(document)
    assert [chunk.pages for chunk in chunks if "Zanzibar" in chunk.text] == [(0,)]
    assert [chunk.pages for chunk in chunks if "Its second line" in chunk.text] == [(i,) for i in range(8)]
    assert all(document.text[chunk.start : chunk.end] == chunk.text for chunk in chunks)


def test_heads_of_left_and_right_pages_are_told_apart() -> None:
    pages = [[("The Lessor's Copy" if i % 2 else "Harbour Lease"), "", *_body(i)] for i in range(8)]
    assert [len([line for line in lines if line]) for lines in _kept(_document(pages))] == [3, 3, 2, 2, 2, 2, 2, 2]


@pytest.mark.parametrize(
    "line",
    [
        lambda i: f"Step {i + 1}",  # a heading for each page
        lambda i: f"Annex {i + 1}",
        lambda i: "1,250.00",  # a figure is never a head
        lambda i: "Item | Quantity | Price",  # the head of a table's page
        lambda i: "Signed by the owner" if i in (0, 3, 6) else f"Line {i}",  # not page after page
        lambda i: f"{i * 17} metres of quay",
    ],
)
def test_what_only_looks_alike_stays(line) -> None:  # type: ignore[no-untyped-def]
    pages = [[line(i), "", *_body(i)] for i in range(8)]
    assert _kept(_document(pages)) == pages


def test_a_table_head_that_stands_close_to_its_rows_stays() -> None:
    pages = [["Harbour Bank", "", "Date Amount Purpose", *_body(i)] for i in range(6)]
    assert [lines[-3:] for lines in _kept(_document(pages))] == [["Date Amount Purpose", *_body(i)] for i in range(6)]


@pytest.mark.parametrize(
    ("label", "leaves"),
    [
        ("Page {} of 8", True),
        ("{}", True),
        ("F-{}", True),
        ("Annual Report 2026 | {}", True),
        ("Work Package {}", False),
    ],
)
def test_page_numbers_are_told_from_numbered_headings(label: str, leaves: bool) -> None:
    pages = [[*_body(i), "", label.format(i + 1)] for i in range(8)]
    kept = _kept(_document(pages))
    assert kept[0] == pages[0]
    assert ([line for line in kept[5] if line] == _body(5)) == leaves


def test_three_pages_or_no_word_boxes_decide_nothing() -> None:
    pages = [["Harbour Lease", "", *_body(i)] for i in range(6)]
    assert _kept(_document(pages[:3])) == pages[:3]
    assert _kept(_document(pages, layout=False)) == pages


@given(st.lists(st.lists(st.sampled_from(["Head", "Foot", "7", "a b", "", "Page 1"]), max_size=6), max_size=9))
def test_bodies_lie_in_their_pages_whatever_they_hold(pages: list[list[str]]) -> None:
    document = _document(pages)
    for page, (start, end) in zip(document.pages, bodies(document), strict=True):
        assert page.start <= start <= end <= page.end
