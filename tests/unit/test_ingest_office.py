"""Office, web, mail and table formats: sections, slides, sheets and messages, with nothing invented."""

import subprocess
import sys
import textwrap
import zipfile
from email.message import EmailMessage
from pathlib import Path

import pytest

from ingest.mime import DOCX, PPTX, XLSX, detect
from ingest.parse import parse_file
from strongroom.errors import ParseError, QuarantineError
from strongroom.types import ParsedDocument


def _parse(path: Path) -> ParsedDocument:
    return parse_file(path, detect(path))


def _page_texts(document: ParsedDocument) -> list[str]:
    return [document.text[page.start : page.end].strip() for page in document.pages]


def _headings(document: ParsedDocument) -> list[tuple[str, int]]:
    return [(document.text[h.start : h.end], h.level) for h in document.headings]


# ------------------------------------------------------------------------------------------------ Word and slides


def test_docx_is_cut_at_its_headings_and_has_no_page_numbers(tmp_path: Path) -> None:
    from docx import Document

    made = Document()
    made.add_paragraph("Preamble of the lease.")
    made.add_heading("Fees", level=1)
    made.add_paragraph("The fee is  five\tpounds.")
    made.add_heading("Late fees", level=2)
    table = made.add_table(rows=2, cols=2)
    for cell, text in zip([c for row in table.rows for c in row.cells], ["Days", "Charge", "30", "2 %"], strict=True):
        cell.text = text
    made.save(str(tmp_path / "lease.docx"))

    document = _parse(tmp_path / "lease.docx")

    assert document.mime == DOCX
    assert [page.number for page in document.pages] == [None, None, None]
    assert [(p.locator.kind, p.locator.label) for p in document.pages] == [
        ("section", "document"),
        ("section", "Fees"),
        ("section", "Late fees"),
    ]
    assert _headings(document) == [("Fees", 1), ("Late fees", 2)]
    assert _page_texts(document)[1] == "Fees\n\nThe fee is five pounds."
    assert "Days: 30 | Charge: 2 %" in document.text


def test_slides_are_numbered_pages_and_empty_ones_count(tmp_path: Path) -> None:
    from pptx import Presentation

    made = Presentation()
    for title in ("First", None, "Third"):
        slide = made.slides.add_slide(made.slide_layouts[5])
        if title:
            slide.shapes.title.text = title
    made.save(str(tmp_path / "talk.pptx"))

    document = _parse(tmp_path / "talk.pptx")

    assert document.mime == PPTX
    assert [(p.number, p.locator.kind, p.locator.label) for p in document.pages] == [
        (1, "slide", "1"),
        (2, "slide", "2"),
        (3, "slide", "3"),
    ]
    assert _page_texts(document) == ["First", "", "Third"]
    assert document.title == "First"


def test_a_zip_that_unpacks_to_too_much_is_quarantined(tmp_path: Path) -> None:
    path = tmp_path / "bomb.docx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "x")
        archive.writestr("word/document.xml", b"\0" * (101 << 20))
    with pytest.raises(QuarantineError, match="bomb"):
        _parse(path)


def test_a_broken_docx_is_a_parse_error(tmp_path: Path) -> None:
    path = tmp_path / "broken.docx"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("[Content_Types].xml", "<not xml")
        archive.writestr("word/document.xml", "<not xml")
    with pytest.raises(ParseError, match="damaged"):
        _parse(path)


# ------------------------------------------------------------------------------------------------ web and text


def test_html_has_sections_a_title_and_no_scripts(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(
        "<html><head><title>Rates &amp; terms</title><script>var hidden = 1;</script></head><body><p>Opening words.</p>"
        "<h1>Rates</h1><p>Four percent is charged.</p><h2>Notes</h2><ul><li>One</li></ul></body></html>"
    )
    document = _parse(path)
    assert document.title == "Rates & terms"
    assert _headings(document) == [("Rates", 1), ("Notes", 2)]
    assert [p.locator.label for p in document.pages] == ["document", "Rates", "Notes"]
    assert "hidden" not in document.text


def test_html_that_lies_too_deep_is_refused_and_not_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "a.html"
    path.write_text(f"<html><body>{'<div>' * 200}the rent{'</div>' * 200}<p>is due</p>")
    assert parse_file(path, "text/html").text.split() == ["the", "rent", "is", "due"]
    path.write_text(f"<html><body>{'<b>' * 300}the rent{'</b>' * 300}<p>is due</p>")
    with pytest.raises(QuarantineError, match="nested too deeply"):
        parse_file(path, "text/html")


def test_markdown_in_an_old_encoding(tmp_path: Path) -> None:
    path = tmp_path / "notes.md"
    path.write_bytes("# Übersicht\n\nDie Gebühr beträgt fünf Euro.\n".encode("latin-1"))
    document = _parse(path)
    assert _headings(document) == [("Übersicht", 1)]
    assert "Die Gebühr beträgt fünf Euro." in document.text


def test_text_is_verbatim_and_located_by_lines(tmp_path: Path) -> None:
    text = "".join(f"Line {n} of the log.\r\n" for n in range(1, 201))
    path = tmp_path / "log.txt"
    path.write_bytes(text.encode())
    document = _parse(path)
    assert document.text == text.replace("\r\n", "\n")
    assert [p.locator.kind for p in document.pages] == ["line"] * 3
    assert [p.locator.label for p in document.pages] == ["1-80", "81-160", "161-200"]
    second = document.pages[1]
    assert document.text[second.start : second.end].startswith("Line 81 of")


def test_headings_of_plain_text_are_numbered_or_in_capitals(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("LEASE\n\nIt begins.\n\n1.2 Rent\n\nThe rent is 5.\n\nNot a heading\n\nEnd.\n")
    assert _headings(_parse(path)) == [("LEASE", 1), ("1.2 Rent", 2)]


def test_xml_gives_its_text_and_refuses_entities(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_bytes('<?xml version="1.0" encoding="utf-16"?><r><name kind="x">Ada</name> tail</r>'.encode("utf-16"))
    assert _parse(path).text == "name: Ada\nkind: x\ntail\n"
    path.write_text('<?xml version="1.0"?><!DOCTYPE r [<!ENTITY a "aaaa">]><r>&a;</r>')
    with pytest.raises(QuarantineError, match="entities"):
        _parse(path)
    path.write_text('<?xml version="1.0"?><r>')
    with pytest.raises(ParseError, match="malformed"):
        _parse(path)


def test_empty_and_blank_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"")
    with pytest.raises(ParseError, match="empty"):
        _parse(path)
    path.write_bytes(b" \n\t\n")
    with pytest.raises(ParseError, match="no text"):
        _parse(path)


def test_an_unsupported_type_names_itself_and_a_way_out(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"SQLite format 3\x00" + bytes(100))
    with pytest.raises(ParseError, match=r"unsupported type: SQLite database") as caught:
        _parse(path)
    assert "export" in caught.value.hint


# ------------------------------------------------------------------------------------------------ tables


def test_workbook_rows_carry_their_headers(tmp_path: Path) -> None:
    import datetime

    from openpyxl import Workbook

    book = Workbook()
    sheet = book.active
    sheet.title = "Budget"
    for row in (
        ["Budget 2024"],
        [],
        ["Item", "2023", "2024"],
        ["Rent", 1200.0, 1300.5],
        ["Start", None, datetime.date(2024, 2, 1)],
    ):
        sheet.append(row)
    hidden = book.create_sheet("Secret")
    hidden.append(["only words here", "and here"])
    hidden.sheet_state = "hidden"
    book.create_sheet("Empty")
    book.save(tmp_path / "b.xlsx")

    document = _parse(tmp_path / "b.xlsx")

    assert document.mime == XLSX
    assert [(p.number, p.locator.kind, p.locator.label) for p in document.pages] == [
        (None, "sheet", "Budget!A1:C5"),
        (None, "sheet", "Secret!A1:B1"),
        (None, "sheet", "Empty"),
    ]
    assert _page_texts(document)[0].split("\n") == [
        "Budget",
        "",
        "Budget 2024",
        "",
        "Item | 2023 | 2024",
        "Item: Rent | 2023: 1200 | 2024: 1300.5",
        "Item: Start | 2024: 2024-02-01",
    ]
    assert _page_texts(document)[1].startswith("Secret (hidden sheet)")
    assert _page_texts(document)[2] == ""
    assert document.warnings == ("sheet Secret is hidden",)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"Name,Sum\nAda,1\n", ["Name | Sum", "Name: Ada | Sum: 1"]),
        (b"Name;Sum\nAda;1,5\nBob;2\n", ["Name | Sum", "Name: Ada | Sum: 1,5", "Name: Bob | Sum: 2"]),
        ("Name,Sum\nAda,1\n".encode("utf-16"), ["Name | Sum", "Name: Ada | Sum: 1"]),
        (
            b'Name,Sum\n"Ada, Countess",1,extra\nBob\n',
            ["Name | Sum", "Name: Ada, Countess | Sum: 1 | extra", "Name: Bob"],
        ),
        (b"1,2\n3,4\n", ["1 | 2", "3 | 4"]),
    ],
)
def test_delimited_text_of_all_sorts(tmp_path: Path, data: bytes, expected: list[str]) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(data)
    document = _parse(path)
    assert document.text.strip().split("\n") == expected
    assert document.pages[0].locator.kind == "sheet"


# ------------------------------------------------------------------------------------------------ mail


def _mail(**headers: str) -> EmailMessage:
    message = EmailMessage()
    for name, value in {
        "From": "Ada <ada@example.org>",
        "To": "bob@example.org",
        "Subject": "Größe",
        **headers,
    }.items():
        message[name] = value
    return message


def test_mail_puts_headers_first_and_names_attachments(tmp_path: Path) -> None:
    message = _mail(Date="Tue, 02 Jan 2024 10:00:00 +0000")
    message.set_content("Hello Bob,\n\nthe rent is due.\n")
    message.add_alternative("<p>Hello Bob in HTML</p>", subtype="html")
    message.add_attachment(b"x", maintype="application", subtype="pdf", filename="lease.pdf")
    path = tmp_path / "m.eml"
    path.write_bytes(message.as_bytes())

    document = _parse(path)

    assert document.text.startswith(
        "From: Ada <ada@example.org>\nTo: bob@example.org\nDate: Tue, 02 Jan 2024 10:00:00 +0000\nSubject: Größe\n\n"
    )
    assert "the rent is due." in document.text
    assert "in HTML" not in document.text
    assert [(p.number, p.locator.kind, p.locator.label) for p in document.pages] == [(None, "message", "Größe")]
    assert document.title == "Größe"
    assert document.text.endswith("Attachments: lease.pdf\n\n")
    assert document.warnings == ()


def test_an_html_only_mail_is_read_as_text(tmp_path: Path) -> None:
    message = _mail()
    message.set_content("<html><body><p>Only <b>HTML</b> here.</p></body></html>", subtype="html")
    path = tmp_path / "m.eml"
    path.write_bytes(message.as_bytes())
    assert "Only HTML here." in _parse(path).text


def test_undecodable_bytes_in_a_mail_do_not_reach_the_text_as_surrogates(tmp_path: Path) -> None:
    path = tmp_path / "m.eml"
    path.write_bytes(
        b"From: a@b.c\nTo: \xff\xfe@x\nSubject: caf\xe9\nContent-Type: text/plain; charset=nonsense\n\ncaf\xe9\n"
    )
    document = _parse(path)
    document.text.encode("utf-8")
    assert "caf" in document.text


# ------------------------------------------------------------------------------------------------ no network


def test_a_fresh_process_looks_up_no_name_and_tells_prose_from_titles(tmp_path: Path) -> None:
    """GIVEN no opt-out in the environment and a guard that records every look-up and connection
    WHEN a page is parsed by unstructured
    THEN nothing was tried, no advert was printed, and a sentence is narrative although no tagger is installed."""
    page = tmp_path / "page.html"
    page.write_text("<p>The tenant shall pay the rent in advance on the first day of each month.</p><p>Annex</p>")
    code = textwrap.dedent(
        f"""
        import socket, sys
        tried = []
        def hook(event, args):
            if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "urllib.Request"):
                tried.append((event, str(args)))
                raise OSError("refused by the test")
        sys.addaudithook(hook)
        from pathlib import Path
        from ingest.parse import office
        elements = office._partition("html", text=Path({str(page)!r}).read_text())
        kinds = [type(element).__name__ for element in elements]
        import unstructured.telemetry, time
        time.sleep(0.5)
        assert not tried, tried
        assert kinds[0] == "NarrativeText", kinds
        print("clean", kinds)
        """
    )
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("clean")
    assert len(done.stdout.splitlines()) == 1


@pytest.mark.parametrize("stated", ["A1", "A1:XFD1048576"])
def test_the_stated_size_of_a_sheet_is_not_believed(tmp_path: Path, stated: str) -> None:
    from openpyxl import Workbook

    book = Workbook()
    for row in [["Port", "Fee"], *(["Kiel", 40] for _ in range(200)), ["Riga", 55]]:
        book.active.append(row)
    book.save(tmp_path / "a.xlsx")
    with zipfile.ZipFile(tmp_path / "a.xlsx") as source, zipfile.ZipFile(tmp_path / "b.xlsx", "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name.endswith("sheet1.xml"):
                assert b'ref="A1:B202"' in data
                data = data.replace(b'ref="A1:B202"', f'ref="{stated}"'.encode())
            target.writestr(name, data)
    assert "Port: Riga | Fee: 55" in _parse(tmp_path / "b.xlsx").text


def test_a_mail_that_goes_on_after_a_picture_is_read_to_its_end(tmp_path: Path) -> None:
    message = _mail(Subject="Quay")
    message.set_content("Before the picture.")
    message.add_attachment(b"x", "image", "png", disposition="inline")
    message.add_attachment("After the picture.", disposition="inline")
    path = tmp_path / "m.eml"
    path.write_bytes(bytes(message))
    document = _parse(path)
    assert document.text.index("Before the picture.") < document.text.index("After the picture.")
    assert "Attachments" not in document.text  # the picture is a dot in the text
