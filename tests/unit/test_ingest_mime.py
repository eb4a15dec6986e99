"""Types by content: names lie, signatures do not."""

import io
import json
import zipfile
from pathlib import Path

import pytest

from ingest.encoding import decode
from ingest.mime import DOCX, PPTX, XLSX, detect
from strongroom.errors import ParseError
from tests.ingest_samples import text_pdf

MAIL = "From: a@example.org\nTo: b@example.org\nSubject: Budget\n\nHello.\n"
HTML = "<!DOCTYPE html><html><body><p>Hi</p></body></html>"


def _zip(*names: str, **contents: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
        for name, content in contents.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "mime"),
    [
        ("report.txt", _zip("[Content_Types].xml", "word/document.xml"), DOCX),
        ("slides", _zip("[Content_Types].xml", "ppt/presentation.xml"), PPTX),
        ("book.csv", _zip("[Content_Types].xml", "xl/workbook.xml"), XLSX),
        ("x.docx", _zip("a.txt"), "application/zip"),
        ("x", _zip(mimetype="application/epub+zip"), "application/epub+zip"),
        ("x.pdf", b"\x89PNG\r\n\x1a\n" + b"\0" * 30, "image/png"),
        ("x.txt", b"{\\rtf1 hello}", "application/rtf"),
        ("x.txt", HTML.encode(), "text/html"),
        ("x.html", HTML.encode("utf-16"), "text/html"),
        ("x.txt", b'<?xml version="1.0"?><a>b</a>', "application/xml"),
        ("x.txt", json.dumps({"a": [1]}).encode(), "application/json"),
        ("x.txt", b'{"a":1}\n{"a":2}\n', "application/x-ndjson"),
        ("x.txt", b"{not json at all", "text/plain"),
        ("x.txt", MAIL.encode(), "message/rfc822"),
        ("x.txt", b"From: the beginning\nnothing else is a header here\n", "text/plain"),
        ("x.csv", b"a,b\n1,2\n", "text/csv"),
        ("x", b"a\tb\n1\t2\n3\t4\n", "text/tab-separated-values"),
        ("x.md", b"# Title\n\ntext\n", "text/markdown"),
        ("x.txt", b"# Title\n\ntext\n", "text/plain"),
        ("x.txt", "naïve café".encode("latin-1"), "text/plain"),
        ("BMW.txt", b"BMW makes cars, and this is text.", "text/plain"),
        ("x.txt", b"MZ is how this sentence begins.", "text/plain"),
    ],
)
def test_the_content_decides(tmp_path: Path, name: str, data: bytes, mime: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    assert detect(path) == mime


def test_a_pdf_called_txt_is_a_pdf(tmp_path: Path) -> None:
    assert detect(text_pdf(tmp_path / "x.txt", "hello")) == "application/pdf"


def test_empty_unknown_and_damaged_files_are_refused_by_reason(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"")
    with pytest.raises(ParseError, match="empty"):
        detect(path)
    path.write_bytes(bytes(range(256)) * 4)
    with pytest.raises(ParseError, match=r"unsupported type.*00 01 02 03"):
        detect(path)
    path.write_bytes(_zip("[Content_Types].xml", "word/document.xml")[:60])
    with pytest.raises(ParseError, match="damaged"):
        detect(path)


def test_an_encrypted_office_file_is_told_by_its_type(tmp_path: Path) -> None:
    path = tmp_path / "x.xlsx"
    path.write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600 + "EncryptedPackage".encode("utf-16-le"))
    assert detect(path) == "application/x-ole-encrypted"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Grüße, naïve café", "utf-8"),
        ("Grüße, naïve café, déjà vu, à côté, très bien", "cp1252"),
        ("Plain words in wide units", "utf-16-le"),
        ("Plain words in wide units", "utf-16"),
        ("Plain words in wider units", "utf-32"),
        ("これは日本語の文章です。東京都の会議の議事録を添付します。" * 3, "shift_jis"),
        ("Это обычный русский текст для проверки кодировки документа. " * 3, "cp1251"),
    ],
)
def test_text_is_decoded_without_being_told_how(text: str, encoding: str) -> None:
    decoded, _ = decode(text.encode(encoding))
    assert decoded == text


def test_line_ends_are_one_kind() -> None:
    assert decode(b"a\r\nb\rc\n")[0] == "a\nb\nc\n"


def test_a_compressed_type_member_is_never_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", "application/epub+zip")
    path = tmp_path / "a.epub"
    path.write_bytes(buffer.getvalue())
    monkeypatch.setattr("zlib.decompressobj", lambda *_: pytest.fail("it was unpacked"))
    assert detect(path) == "application/zip"


@pytest.mark.parametrize("words", ["合同租赁期限为三年。", "Größe für Bücher, ", "Договор аренды. "])
def test_one_broken_byte_does_not_garble_a_whole_utf8_text(words: str) -> None:
    data = (words * 50).encode()
    assert decode(data + b"\xff end") == (words * 50 + "\ufffd end", "utf-8")
    assert decode((words * 50 + "。").encode()[:-1])[1] == "utf-8"  # cut inside a character
