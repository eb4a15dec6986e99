"""PDF text and boxes: what stands on the page, where it is displayed, at the right offsets."""

import random
import re
from pathlib import Path

import numpy as np
import pypdfium2 as pdfium
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.parse import parse_file
from ingest.parse.build import DocumentBuilder, Words
from ingest.parse.pdf import parse_pdf
from ingest.parse.pdfpage import RawPage, Vocabulary, word_spans, words_of
from strongroom.errors import ParseError, QuarantineError
from strongroom.layout import boxes_for, pack_words, unpack_words
from strongroom.types import ParsedDocument
from tests.ingest_samples import PdfPage, attach, encrypted_pdf_head, make_pdf, text_pdf


def _place(document: ParsedDocument, word: str, page: int = 0) -> tuple[float, float, float, float]:
    start = document.text.index(word, document.pages[page].start)
    (box,) = boxes_for(document.pages[page].layout, start, start + len(word))
    return box


def test_words_lines_and_pages_tile_the_text(tmp_path: Path) -> None:
    document = parse_pdf(text_pdf(tmp_path / "a.pdf", "Alpha beta\ngamma.", "Delta."))
    assert document.text == "Alpha beta\ngamma.\n\nDelta.\n\n"
    assert [(p.number, p.locator.kind, p.locator.label) for p in document.pages] == [(1, "page", "1"), (2, "page", "2")]
    assert [(p.start, p.end) for p in document.pages] == [(0, 19), (19, 27)]
    words = [document.text[start:end] for start, end, *_ in unpack_words(document.pages[0].layout)]
    assert words == ["Alpha", "beta", "gamma."]


def test_a_box_sits_on_its_word(tmp_path: Path) -> None:
    document = parse_pdf(make_pdf(tmp_path / "a.pdf", [PdfPage(lines=[(72, 700, "Hello World")])]))
    x0, y0, x1, y1 = _place(document, "World")
    # Helvetica 12: "Hello " is 30.7 points wide, "World" 31.3; the baseline is 792 - 700 = 92 from the top.
    assert x0 == pytest.approx(72 + 30.7, abs=1)
    assert x1 == pytest.approx(72 + 30.7 + 31.3, abs=1)
    assert y0 < 92 - 8
    assert 92 <= y1 < 97


@pytest.mark.parametrize(
    ("rotate", "expected"),
    # The baseline of a word at (100, 200) on a 400 x 600 page, where it comes to lie on the page as displayed
    [(0, (100, 400)), (90, (200, 100)), (180, (300, 200)), (270, (400, 300))],
)
def test_boxes_follow_rotation(tmp_path: Path, rotate: int, expected: tuple[float, float]) -> None:
    page = PdfPage(lines=[(100, 200, "Word")], media=(0, 0, 400, 600), rotate=rotate)
    document = parse_pdf(make_pdf(tmp_path / "a.pdf", [page]))
    box = _place(document, "Word")
    shown = document.pages[0]
    assert (shown.width, shown.height) == ((400, 600) if rotate % 180 == 0 else (600, 400))
    corners = {(box[0], box[1]), (box[0], box[3]), (box[2], box[1]), (box[2], box[3])}
    nearest = min(corners, key=lambda c: abs(c[0] - expected[0]) + abs(c[1] - expected[1]))
    assert nearest == pytest.approx(expected, abs=4)


def test_boxes_follow_the_crop_box(tmp_path: Path) -> None:
    lines = [(100, 200, "Inside"), (100, 20, "Outside")]
    page = PdfPage(lines=lines, media=(0, 0, 400, 600), crop=(50, 150, 350, 450))
    document = parse_pdf(make_pdf(tmp_path / "a.pdf", [page]))
    shown = document.pages[0]
    assert (shown.width, shown.height) == (300, 300)
    x0, _, _, y1 = _place(document, "Inside")
    assert x0 == pytest.approx(50, abs=1)
    assert y1 == pytest.approx(450 - 200, abs=4)
    for _, _, left, top, right, bottom in unpack_words(shown.layout):
        assert 0 <= left < right <= 300
        assert 0 <= top < bottom <= 300


_WIDE = "\u2e80-\u303f\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uffef"
_WORD = re.compile(rf"[{_WIDE}]|[^\s\ufffe\x02{_WIDE}]+")


@given(st.text(st.sampled_from("ab-.\x02\x1c\x85\xa0\u200b\u2003\u3000\u6771\u4eac\ufffe\U0001f600 \r\n")) | st.text())
def test_words_are_what_white_space_and_hyphens_part_and_wide_letters_stand_alone(text: str) -> None:
    assert [(start, end) for start, end in word_spans(text).tolist()] == [m.span() for m in _WORD.finditer(text)]
    page = RawPage(text, 100, 100, spans=word_spans(text), boxes=np.ones((len(word_spans(text)), 4), dtype=np.float32))
    words = words_of(page, Vocabulary([text]))
    assert len(words.spaces) == len(words.texts) == len(words.boxes)


@pytest.mark.parametrize(
    ("raw", "rest", "expected"),
    [
        ("a docu\ufffement here", "", "a document here"),
        ("a non\ufffebreaching party", "", "a non-breaching party"),
        ("look\ufffealike", "a look-alike", "look-alike"),
        ("data\ufffebase", "the database", "database"),
        ("Company\ufffeSkype", "", "Company-Skype"),
        ("of\ufb01ce and e\ufb03cient", "", "office and efficient"),
        ("soft\xadware", "", "software"),
        ("zero\u200bwidth\x03", "", "zerowidth"),
        ("one\r\ntwo  three\xa0four", "", "one\ntwo three four"),
        ("ends with\ufffe", "", "ends with-"),
    ],
)
def test_changed_characters_keep_words_and_offsets_together(raw: str, rest: str, expected: str) -> None:
    spans = word_spans(raw)
    boxes = np.array([[i, 0, i + 1, 1] for i in range(len(spans))], dtype=np.float32)
    page = RawPage(raw, 100, 100, spans=spans, boxes=boxes)
    builder = DocumentBuilder()
    builder.add_page(words_of(page, Vocabulary([raw, rest])), width=100, height=100)
    document = builder.build("application/pdf")
    assert document.text == expected + "\n\n"
    # GIVEN each word part has its own box, THEN the records spell the text in order and nothing else
    spelt = "".join(document.text[start:end] for start, end, *_ in unpack_words(document.pages[0].layout))
    assert spelt == "".join(expected.split())


def test_a_word_over_two_lines_has_two_boxes() -> None:
    raw = "docu\ufffement"
    boxes = np.array([[500, 100, 530, 112], [72, 114, 110, 126]], dtype=np.float32)
    page = RawPage(raw, 612, 792, spans=word_spans(raw), boxes=boxes)
    builder = DocumentBuilder()
    builder.add_page(words_of(page, Vocabulary([raw])), width=612, height=792)
    layout = builder.build("application/pdf").pages[0].layout
    assert boxes_for(layout, 0, 8) == ((500, 100, 530, 112), (72, 114, 110, 126))


def test_the_packed_layout_is_the_one_that_layout_reads() -> None:
    builder = DocumentBuilder()
    boxes = np.array([[1, 2, 3, 4], [np.nan] * 4, [5, 6, 7, 8]], dtype=np.float32)
    builder.add_page(Words(["", " ", "\n"], ["one", "two", "three"], boxes), width=10, height=10)
    page = builder.build("application/pdf").pages[0]
    assert page.layout == pack_words([(0, 3, 1, 2, 3, 4), (8, 13, 5, 6, 7, 8)])


def test_a_sensible_title_is_kept_and_a_file_name_is_not(tmp_path: Path) -> None:
    page = [PdfPage(lines=[(72, 700, "text")])]
    titles = {
        "Annual Report 2023": "Annual Report 2023",
        "Microsoft Word - Lease agreement.doc": "Lease agreement",
        "untitled": None,
        "": None,
        "C:/x/report": None,
    }
    for number, (written, expected) in enumerate(titles.items()):
        assert parse_pdf(make_pdf(tmp_path / f"{number}.pdf", page, title=written)).title == expected


def test_passwords_damage_and_emptiness_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(QuarantineError, match="password"):
        parse_pdf(encrypted_pdf_head(tmp_path / "locked.pdf"))
    broken = tmp_path / "broken.pdf"
    broken.write_bytes(b"%PDF-1.7\nnothing that a reader could use")
    with pytest.raises(ParseError, match="damaged") as caught:
        parse_pdf(broken)
    assert not isinstance(caught.value, QuarantineError)
    with pytest.raises(ParseError):
        parse_pdf(make_pdf(tmp_path / "none.pdf", []))
    with pytest.raises(ParseError, match="no text found"):
        parse_file(make_pdf(tmp_path / "blank.pdf", [PdfPage()]), "application/pdf")


def test_an_empty_page_between_others_is_kept_and_said(tmp_path: Path) -> None:
    # GIVEN a page with nothing but a ruled line, which is not worth OCR's seconds
    ruled = PdfPage(extra="72 100 m 500 100 l S\n")
    pages = [PdfPage(lines=[(72, 700, "One")]), ruled, PdfPage(lines=[(72, 700, "Three")])]
    document = parse_pdf(make_pdf(tmp_path / "a.pdf", pages))
    assert [p.number for p in document.pages] == [1, 2, 3]
    assert document.pages[1].start == document.pages[1].end
    assert document.pages[1].layout == b""
    assert document.text[document.pages[2].start : document.pages[2].end] == "Three\n\n"


@pytest.mark.parametrize(
    ("matrix", "rotate"),
    [("0 1 -1 0 300 100", 0), ("0 -1 1 0 300 500", 0), ("-1 0 0 -1 400 400", 0), ("0 1 -1 0 300 100", 90)],
    ids=["upwards", "downwards", "upside down", "upwards on a turned page"],
)
def test_sideways_text_is_read_in_order_with_boxes_where_it_is_displayed(
    tmp_path: Path, matrix: str, rotate: int
) -> None:
    a, b, c, d, x, y = (float(value) for value in matrix.split())
    operators = ""
    for line, text in enumerate(("First printed line", "and a second one")):
        # 20 points further down, as the text runs
        operators += f"BT /F1 12 Tf {a} {b} {c} {d} {x - 20 * line * c} {y - 20 * line * d} Tm ({text}) Tj ET\n"
    document = parse_pdf(make_pdf(tmp_path / "a.pdf", [PdfPage(extra=operators, rotate=rotate)]))
    assert document.text == "First printed line\nand a second one\n\n"
    x0, y0, x1, y1 = _place(document, "First")
    # The word begins at (x, y) of user space and runs 24 points along (a, b), about 10 along (c, d)
    corners = [(x, 792 - y), (x + 24 * a + 10 * c, 792 - (y + 24 * b + 10 * d))]
    if rotate == 90:
        corners = [(792 - cy, cx) for cx, cy in corners]
    for cx, cy in corners:
        assert x0 - 4 <= cx <= x1 + 4
        assert y0 - 4 <= cy <= y1 + 4


def test_columns_are_read_one_after_the_other_though_the_file_runs_across_them(tmp_path: Path) -> None:
    # GIVEN two columns whose lines stand in the file row by row, the left one hyphenated at a line end
    left = ["The left column begins", "here and its fine docu-", "ment goes on until it", "ends at the last line."]
    right = ["And the right column", "is another story that", "has nothing to do with", "the one on the left."]
    lines = [(72.0, 740.0, "A title over both of the columns of this page")]
    for row in range(4):
        lines += [(72.0, 700.0 - 14 * row, left[row]), (330.0, 700.0 - 14 * row, right[row])]
    document = parse_pdf(make_pdf(tmp_path / "a.pdf", [PdfPage(lines=lines)]))
    assert document.text == (
        "A title over both of the columns of this page\n\n"
        "The left column begins\nhere and its fine document goes on until it\nends at the last line.\n\n"
        "And the right column\nis another story that\nhas nothing to do with\nthe one on the left.\n\n"
    )
    start = document.text.index("document")
    assert len(boxes_for(document.pages[0].layout, start, start + 8)) == 2


def test_values_of_forms_and_words_of_comments_are_text_with_the_place_of_their_field(tmp_path: Path) -> None:
    from reportlab.pdfgen.canvas import Canvas

    canvas = Canvas(str(tmp_path / "a.pdf"), pagesize=(612, 792))
    canvas.drawString(72, 700, "Name of the tenant:")
    canvas.acroForm.textfield(name="tenant", value="Marguerite Ostrander", x=200, y=690, width=200, height=20)
    canvas.acroForm.textfield(name="empty", value="", x=200, y=640, width=200, height=20)
    canvas.textAnnotation("Ask the notary", Rect=(450, 600, 470, 620))
    canvas.save()
    document = parse_pdf(tmp_path / "a.pdf")
    assert document.text == "Name of the tenant:\n\nMarguerite Ostrander\n\nAsk the notary\n\n"
    x0, y0, x1, y1 = _place(document, "Ostrander")
    assert (x0, x1) == (200, 400)
    assert y0 == pytest.approx(792 - 710)
    assert y1 == pytest.approx(792 - 690)


_HEBREW_FONT = Path("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf")


@pytest.mark.skipif(not _HEBREW_FONT.exists(), reason="needs a font with Hebrew letters (fonts-dejavu-core)")
def test_right_to_left_text_comes_in_the_order_it_is_read(tmp_path: Path) -> None:
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.ttfonts import TTFont
    from reportlab.pdfgen.canvas import Canvas

    pdfmetrics.registerFont(TTFont("DejaVu", str(_HEBREW_FONT)))
    text = "הסכם שכירות בין הצדדים"
    canvas = Canvas(str(tmp_path / "a.pdf"), pagesize=(612, 792))
    canvas.setFont("DejaVu", 12)
    canvas.drawString(100, 700, text[::-1])  # as it is displayed, from left to right
    canvas.drawString(100, 660, "of\ufb01ce soft\u00adware")
    canvas.save()
    document = parse_pdf(tmp_path / "a.pdf")
    assert document.text == f"{text}\n\noffice software\n\n"
    assert _place(document, "הסכם")[0] > _place(document, "הצדדים")[0]


@pytest.mark.parametrize("seed", range(12))
def test_whatever_stands_where_pages_tile_and_records_are_the_text(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    words = ["total", "12,345", "2023", "(a)", "revenue-", "x", "of", "$", "agreement", "1.", "-"]
    pages = []
    for _ in range(3):
        columns = [dice.randrange(10, 560) for _ in range(dice.randrange(1, 7))]
        lines = []
        for row in range(dice.randrange(0, 30)):
            for x in columns:
                if dice.random() < 0.8:
                    lines.append((x, 760 - 14 * row, " ".join(dice.choices(words, k=dice.randrange(1, 5)))))
        rules = "".join(f"{dice.randrange(0, 500)} {y} m 590 {y} l S\n" for y in dice.sample(range(50, 780), 6))
        rules += "".join(f"{x} 100 m {x} {dice.randrange(200, 780)} l S\n" for x in dice.sample(range(10, 600), 5))
        crop = (30, 30, 580, 770) if dice.random() < 0.5 else None
        pages.append(PdfPage(lines=lines, extra=rules, rotate=dice.choice((0, 90, 180, 270)), crop=crop))
    document = parse_pdf(make_pdf(tmp_path / "a.pdf", pages), ocr="never")
    assert "".join(document.text[page.start : page.end] for page in document.pages) == document.text
    for page in document.pages:
        assert page.width
        assert page.height
        last = page.start
        for start, end, x0, y0, x1, y1 in unpack_words(page.layout):
            assert last <= start < end <= page.end
            assert document.text[start:end] == document.text[start:end].strip() != ""
            assert 0 <= x0 < x1 <= page.width
            assert 0 <= y0 < y1 <= page.height
            last = start
    for heading in document.headings:
        assert 0 <= heading.start <= heading.end <= len(document.text)


class Kept:
    """A sink that keeps what is handed to it."""

    def __init__(self) -> None:
        self.members: dict[str, bytes | str] = {}
        self._data = b""

    def write(self, data: bytes) -> None:
        self._data += data

    def end(self, path: str, refused: str | None) -> None:
        self.members[path] = refused or self._data
        self._data = b""


def test_files_attached_to_a_pdf_or_pinned_to_a_page_are_handed_over_once(tmp_path: Path) -> None:
    # GIVEN attachments, of which one tries to leave its folder and one has no content, and one more pinned to a page
    path = text_pdf(tmp_path / "a.pdf", "See the attached figures.")
    odd = {"figures.csv": b"year,steel\n2024,7", "../../etc/passwd": b"root", "empty.txt": None}
    attach(path, odd, pinned={"pinned.txt": b"a note on copper"})
    # WHEN it is read
    kept = Kept()
    document = parse_file(path, "application/pdf", members=kept)
    # THEN each comes once, under a name that stays below the PDF, and the page's text is what it was
    assert kept.members == {
        "figures.csv": b"year,steel\n2024,7",
        ".._.._etc_passwd": b"root",
        "empty.txt": "it is empty or damaged",
        "pinned.txt": b"a note on copper",
    }
    assert document.text == "See the attached figures.\n\n"
    assert document.warnings == ("1 attachments were not read: empty.txt: it is empty or damaged",)


def test_a_list_of_attachments_that_names_what_is_not_there_costs_only_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = attach(text_pdf(tmp_path / "a.pdf", "See the attached figures."), {"a.txt": b"words", "b.txt": b"more"})
    real = pdfium.PdfDocument.get_attachment

    def broken(document: pdfium.PdfDocument, index: int) -> pdfium.PdfAttachment:
        if index == 0:
            raise pdfium.PdfiumError("Failed to get attachment")
        return real(document, index)

    monkeypatch.setattr(pdfium.PdfDocument, "get_attachment", broken)
    kept = Kept()
    assert "figures" in parse_file(path, "application/pdf", members=kept).text
    assert kept.members == {"attachment-1": "it is empty or damaged", "b.txt": b"more"}


def test_a_pdf_that_only_carries_others_lists_them(tmp_path: Path) -> None:
    path = attach(text_pdf(tmp_path / "a.pdf", ""), {"one.txt": b"words"})
    kept = Kept()
    document = parse_file(path, "application/pdf", ocr="never", members=kept)
    assert document.text.strip() == "Attachments: one.txt"
    assert kept.members == {"one.txt": b"words"}


def test_an_attachment_that_unpacks_to_far_too_much_is_a_bomb(tmp_path: Path) -> None:
    path = attach(text_pdf(tmp_path / "a.pdf", "Harmless."), {"zeros.bin": bytes(150 << 20)})
    assert path.stat().st_size < 1 << 20
    with pytest.raises(QuarantineError, match="a decompression bomb"):
        parse_file(path, "application/pdf", members=Kept())


def test_too_many_pages_and_pages_too_large_have_a_named_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_pdf(tmp_path / "wide.pdf", [PdfPage(lines=[(72, 700, "Small words")], media=(0, 0, 9e8, 9e8))])
    document = parse_pdf(path, ocr="always")
    assert document.text.strip() == "Small words"
    assert document.warnings == ("page 1: larger than any sheet of paper, so only its own text was read",)
    monkeypatch.setattr("ingest.parse.pdf.MOST_PAGES", 2)
    with pytest.raises(QuarantineError, match="it has 3 pages; 2 are the most"):
        parse_pdf(text_pdf(tmp_path / "long.pdf", "a", "b", "c"))
