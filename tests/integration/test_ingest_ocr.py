"""OCR on pages that need it and on no others; boxes, confidence and reading order on scans."""

from pathlib import Path

import pytest
from PIL import Image

from ingest.parse import parse_file
from ingest.parse.ocr import OcrLine
from ingest.parse.order import reading_order
from ingest.parse.pdf import parse_pdf
from ingest.parse.scans import gibberish
from strongroom.errors import ParseError, QuarantineError
from strongroom.layout import boxes_for, unpack_words
from tests.ingest_samples import PdfPage, make_pdf, scan

LINES = ["Invoice number 4711", "Payment is due in thirty days."]


def _flat(text: str) -> str:
    return "".join(text.split()).lower()


def test_a_scanned_page_is_read_with_boxes_in_points(tmp_path: Path) -> None:
    # GIVEN a page of text and a scan at 150 dpi, printed from x = 150 and y = 200 pixels on
    pages = [PdfPage(lines=[(72, 700, "A page with a text layer.")]), PdfPage(image=scan(LINES))]
    document = parse_pdf(make_pdf(tmp_path / "a.pdf", pages))

    first, second = document.pages
    assert first.ocr_confidence is None
    assert second.ocr_confidence is not None
    assert second.ocr_confidence > 0.8
    text = document.text[second.start : second.end]
    assert _flat(text) == _flat("".join(LINES))
    assert (second.width, second.height) == (612, 792)
    # THEN each word's box lies on the printed word: 72 points from the left, 96 from the top
    start = document.text.index("4711")
    ((x0, y0, x1, y1),) = boxes_for(second.layout, start, start + 4)
    assert 72 < x0 < x1 < 330
    assert 90 < y0 < 100
    assert 108 < y1 < 122
    spelt = "".join(document.text[a:b] for a, b, *_ in unpack_words(second.layout))
    assert _flat(spelt) == _flat(text)


def test_a_stamp_on_a_scan_does_not_hide_the_scan(tmp_path: Path) -> None:
    page = PdfPage(image=scan(LINES), lines=[(250, 20, "BATES 000123")])
    document = parse_pdf(make_pdf(tmp_path / "a.pdf", [page]))
    assert "4711" in document.text
    assert "000123" in document.text


def test_never_means_no_ocr_and_always_means_all_pages(tmp_path: Path) -> None:
    path = make_pdf(tmp_path / "a.pdf", [PdfPage(lines=[(72, 700, "Printed words on the first page.")])])
    assert parse_pdf(path, ocr="always").pages[0].ocr_confidence is not None
    scanned = make_pdf(tmp_path / "b.pdf", [PdfPage(image=scan(LINES))])
    with pytest.raises(ParseError, match="no text"):
        parse_file(scanned, "application/pdf", ocr="never")


def test_a_blank_scan_is_an_honest_empty_page(tmp_path: Path) -> None:
    pages = [PdfPage(lines=[(72, 700, "Words.")]), PdfPage(image=Image.new("RGB", (600, 800), "white"))]
    document = parse_pdf(make_pdf(tmp_path / "a.pdf", pages))
    assert document.pages[1].start == document.pages[1].end
    assert document.warnings == ("page 2: no text found",)


def test_an_image_is_a_page_in_points_by_its_resolution(tmp_path: Path) -> None:
    path = tmp_path / "scan.png"
    scan(LINES).save(path, dpi=(150, 150))
    document = parse_file(path, "image/png")
    (page,) = document.pages
    assert (page.width, page.height) == pytest.approx((612, 792), abs=1)
    assert page.number == 1
    assert "4711" in document.text
    scan(LINES).save(path)
    assert parse_file(path, "image/png").pages[0].width == 1275


def test_frames_of_a_tiff_are_pages(tmp_path: Path) -> None:
    path = tmp_path / "scan.tif"
    frames = [scan(["First frame here"]), scan(["Second frame here"])]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    document = parse_file(path, "image/tiff")
    assert [page.number for page in document.pages] == [1, 2]
    second = document.pages[1]
    assert "second" in document.text[second.start : second.end].lower()


def test_broken_and_absurd_images_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    scan(LINES).save(path)
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(ParseError, match="damaged image"):
        parse_file(path, "image/png")
    Image.new("1", (40_000, 40_000)).save(path)
    with pytest.raises(QuarantineError, match="limit"):
        parse_file(path, "image/png")
    Image.new("RGB", (300, 300), "white").save(path)
    with pytest.raises(ParseError, match="no text"):
        parse_file(path, "image/png")


def _line(text: str, x0: float, y0: float, x1: float) -> OcrLine:
    return OcrLine(text, (x0, y0, x1, y0 + 10), 1.0)


def test_columns_of_prose_are_read_one_after_the_other() -> None:
    lines = [_line("Title over both columns", 50, 10, 550)]
    for row in range(6):
        lines.append(_line(f"right {row}", 310, 50 + 12 * row, 550))
        lines.append(_line(f"left {row}", 50, 50 + 12 * row, 290))
    assert [line.text for line in reading_order(lines)] == [
        "Title over both columns",
        *(f"left {row}" for row in range(6)),
        *(f"right {row}" for row in range(6)),
    ]


def test_rows_of_a_form_stay_together() -> None:
    lines = []
    for row in range(6):
        lines.append(_line(f"value {row}", 300, 50 + 12 * row, 350))
        lines.append(_line(f"name {row}", 50, 50 + 12 * row, 100))
    expected = [f"{kind} {row}" for row in range(6) for kind in ("name", "value")]
    assert [line.text for line in reading_order(lines)] == expected


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_scan_that_lies_on_its_side_or_upside_down_is_read_upright(tmp_path: Path, quarters: int) -> None:
    # GIVEN the lines of a letter page, scanned turned counter-clockwise
    lines = ["Invoice number 4711 of March", "Payment is due in thirty days.", "Interest is five per cent a year."]
    image = scan(lines).rotate(90 * quarters, expand=True)
    media = (0, 0, 612, 792) if quarters == 2 else (0, 0, 792, 612)
    document = parse_pdf(make_pdf(tmp_path / "a.pdf", [PdfPage(image=image, media=media)]))
    # THEN the text is in order, and a word's box lies where the word is on the page as displayed
    assert _flat(document.text) == _flat("".join(lines))
    page = document.pages[0]
    assert (page.width, page.height) == (media[2], media[3])
    start = document.text.index("4711")
    ((x0, y0, x1, y1),) = boxes_for(page.layout, start, start + 4)
    upright = {1: (612 - y1, x0), 2: (612 - x1, 792 - y1), 3: (y0, 792 - x1)}[quarters]
    assert 150 < upright[0] < 330
    assert 90 < upright[1] < 100


def test_letters_that_form_no_words_are_read_from_the_page_image(tmp_path: Path) -> None:
    # GIVEN a scan whose text layer is every letter moved on by three, as a broken character map gives it
    plain = "the agreement ends on the last day of march and payment is due within thirty days of that day " * 4
    moved = "".join(chr((ord(c) - 97 + 3) % 26 + 97) if c.isalpha() else c for c in plain)
    layer = [(20.0, 60.0 - 12 * i, moved[90 * i : 90 * i + 90]) for i in range(4)]
    page = PdfPage(image=scan(LINES), lines=layer)
    document = parse_pdf(make_pdf(tmp_path / "a.pdf", [page]))
    assert document.pages[0].ocr_confidence is not None
    assert "4711" in document.text


@pytest.mark.parametrize(
    "text",
    [
        "der Vertrag endet am letzten Tag des Monats und die Zahlung ist binnen dreißig Tagen fällig " * 4,
        "umowa kończy się ostatniego dnia marca a płatność następuje w ciągu trzydziestu dni od tego dnia " * 4,
        "smlouva končí posledním dnem měsíce března a platba je splatná do třiceti dnů od tohoto dne " * 4,
        "XJ9 BRT KLM 443 PPQ ZTR " * 4,
    ],
    ids=["German", "Polish", "Czech", "codes"],
)
def test_other_languages_are_words(text: str) -> None:
    assert not gibberish(text)


def test_a_scan_pasted_into_a_page_of_text_is_read_after_the_text(tmp_path: Path) -> None:
    # GIVEN a page of text whose lower half is a picture of text, at 72 points from the left and 60 from the foot
    lines = [
        (72.0, 740.0 - 14 * i, f"Line {i} of the letter is printed as usual and fills the page.") for i in range(16)
    ]
    picture = scan(LINES, size=(960, 800))
    page = PdfPage(lines=lines, image=picture, image_box=(72, 60, 460.8, 384))
    document = parse_pdf(make_pdf(tmp_path / "a.pdf", [page]))
    # THEN its words follow the text, with boxes on the printed words, and the document says so
    assert document.text.index("Line 15") < document.text.index("4711")
    assert "Payment" in document.text
    start = document.text.index("4711")
    ((x0, y0, x1, y1),) = boxes_for(document.pages[0].layout, start, start + 4)
    assert 72 + 72 < x0 < x1 < 72 + 330
    assert 792 - 444 + 90 < y0 < y1 < 792 - 444 + 125
    assert any("picture" in warning for warning in document.warnings)
    # AND nothing is read from it when OCR is off, nor from a picture that has words over it
    assert "4711" not in parse_pdf(make_pdf(tmp_path / "b.pdf", [page]), ocr="never").text
    over = [(80.0, 430.0 - 14 * i, "These words are laid over the picture.") for i in range(20)]
    covered = PdfPage(lines=lines + over, image=picture, image_box=(72, 60, 460.8, 384))
    assert "4711" not in parse_pdf(make_pdf(tmp_path / "c.pdf", [covered])).text


@pytest.mark.parametrize(("mode", "read"), [(3, True), (0, False)])
def test_a_thin_layer_that_does_not_show_does_not_hide_the_scan_under_it(tmp_path: Path, mode: int, read: bool) -> None:
    printed = [f"Clause {i} binds the parties for the term." for i in range(12)]
    thin = "".join(
        f"BT {mode} Tr /F1 6 Tf 72 {40 + 8 * i} Td (Scanned by machine number seven today) Tj ET\n" for i in range(4)
    )
    data = make_pdf(tmp_path / "a.pdf", [PdfPage(image=scan(printed), extra=thin)])
    assert ("Clause 7" in " ".join(parse_pdf(data).text.split())) is read
