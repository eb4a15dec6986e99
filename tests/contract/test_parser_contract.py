"""What every parser promises, whatever the format: held against one small file of each."""

import json
from email.message import EmailMessage
from pathlib import Path

import pytest

from ingest.chunk import Chunker
from ingest.mime import detect
from ingest.parse import parse_file
from ingest.wire import decode_result, encode_result
from strongroom.errors import ParseError
from strongroom.layout import unpack_words
from tests.fakes import FakeTokenizer
from tests.ingest_samples import text_pdf

SENTENCE = "The tenant shall pay the rent in advance."


def _docx(path: Path) -> None:
    from docx import Document

    made = Document()
    made.add_heading("Rent", level=1)
    made.add_paragraph(SENTENCE)
    made.save(str(path))


def _pptx(path: Path) -> None:
    from pptx import Presentation

    made = Presentation()
    for _ in range(2):
        slide = made.slides.add_slide(made.slide_layouts[1])
        slide.shapes.title.text = "Rent"
        slide.placeholders[1].text = SENTENCE
    made.save(str(path))


def _xlsx(path: Path) -> None:
    from openpyxl import Workbook

    book = Workbook()
    book.active.append(["Clause", "Words"])
    book.active.append(["Rent", SENTENCE])
    book.create_sheet("Second").append([SENTENCE])
    book.save(path)


def _mail(path: Path) -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "a@example.org", "b@example.org", "Rent"
    message.set_content(f"Hello,\n\n{SENTENCE}\n")
    path.write_bytes(message.as_bytes())


MAKERS = {
    "a.pdf": lambda path: text_pdf(path, SENTENCE, f"Second page.\n{SENTENCE}"),
    "a.docx": _docx,
    "a.pptx": _pptx,
    "a.xlsx": _xlsx,
    "a.html": lambda path: path.write_text(f"<html><body><h1>Rent</h1><p>{SENTENCE}</p></body></html>"),
    "a.md": lambda path: path.write_text(f"# Rent\n\n{SENTENCE}\n"),
    "a.txt": lambda path: path.write_text(f"Rent\n\n{SENTENCE}\n"),
    "a.csv": lambda path: path.write_text(f'Clause,Words\nRent,"{SENTENCE}"\n'),
    "a.tsv": lambda path: path.write_text(f"Clause\tWords\nRent\t{SENTENCE}\n"),
    "a.eml": _mail,
    "a.json": lambda path: path.write_text(json.dumps({"clause": SENTENCE})),
    "a.xml": lambda path: path.write_text(f'<?xml version="1.0"?><clause>{SENTENCE}</clause>'),
}
NUMBERED = {"a.pdf", "a.pptx"}


@pytest.fixture(params=sorted(MAKERS))
def sample(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / request.param
    MAKERS[request.param](path)
    return path


class TestParserContract:
    """Run against every format."""

    def test_it_finds_the_words(self, sample: Path) -> None:
        document = parse_file(sample, detect(sample))
        assert SENTENCE in document.text
        assert document.mime == detect(sample)

    def test_pages_tile_the_text_in_order(self, sample: Path) -> None:
        document = parse_file(sample, detect(sample))
        position = 0
        for index, page in enumerate(document.pages):
            assert (page.index, page.start) == (index, position)
            assert page.end >= page.start
            position = page.end
        assert position == len(document.text)

    def test_numbers_are_given_only_where_pages_are_real(self, sample: Path) -> None:
        document = parse_file(sample, detect(sample))
        numbers = [page.number for page in document.pages]
        expected = list(range(1, len(numbers) + 1)) if sample.name in NUMBERED else [None] * len(numbers)
        assert numbers == expected
        assert all(page.locator.label for page in document.pages)

    def test_headings_and_word_records_lie_inside_the_text(self, sample: Path) -> None:
        document = parse_file(sample, detect(sample))
        for heading in document.headings:
            assert 0 <= heading.start < heading.end <= len(document.text)
            assert 1 <= heading.level <= 6
            assert document.text[heading.start : heading.end].strip()
        for page in document.pages:
            for start, end, x0, y0, x1, y1 in unpack_words(page.layout):
                assert page.start <= start < end <= page.end
                assert not any(character.isspace() for character in document.text[start:end])
                assert page.width is not None
                assert page.height is not None
                assert 0 <= x0 < x1 <= page.width
                assert 0 <= y0 < y1 <= page.height

    def test_the_same_bytes_give_the_same_result(self, sample: Path) -> None:
        assert parse_file(sample, detect(sample)) == parse_file(sample, detect(sample))

    def test_the_text_can_be_stored_and_sent(self, sample: Path) -> None:
        document = parse_file(sample, detect(sample))
        document.text.encode("utf-8")
        assert not any(ord(c) < 32 and c not in "\n\t\x0c" for c in document.text)
        chunks = Chunker(FakeTokenizer()).chunk(document)
        assert decode_result(encode_result(document, chunks)) == (document, chunks)

    def test_half_a_file_is_refused_or_read_as_far_as_it_goes(self, sample: Path) -> None:
        data = sample.read_bytes()
        sample.write_bytes(data[: len(data) // 2])
        refusal: ParseError | None = None
        text = ""
        try:
            text = parse_file(sample, detect(sample)).text
        except ParseError as exc:
            refusal = exc
        assert (refusal is None) == bool(text.strip())
        assert refusal is None or (str(refusal) and refusal.hint)
