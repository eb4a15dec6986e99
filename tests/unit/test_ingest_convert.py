"""Formats read by another program: pandoc, LibreOffice. The files were saved by LibreOffice and pandoc themselves."""

import contextlib
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ingest.mime import detect
from ingest.parse import convert, parse_file
from ingest.parse.tools import run_tool
from strongroom.errors import TRIED_AGAIN, ParseError, QuarantineError
from strongroom.types import ParsedDocument
from tests.ingest_samples import save_as

FILES = Path(__file__).parent.parent / "files"
needs_libreoffice = pytest.mark.skipif(
    convert.libreoffice() is None, reason="LibreOffice is not installed (apt install libreoffice-writer-nogui)"
)


def _parse(path: Path) -> ParsedDocument:
    return parse_file(path, detect(path))


@pytest.mark.parametrize(
    ("name", "mime"),
    [
        ("lease.rtf", "application/rtf"),
        ("lease.odt", "application/vnd.oasis.opendocument.text"),
        ("lease.epub", "application/epub+zip"),
        pytest.param("lease.doc", "application/msword", marks=needs_libreoffice),
    ],
)
def test_text_documents_keep_sections_and_tables(name: str, mime: str) -> None:
    document = _parse(FILES / name)
    assert document.mime == mime
    headings = [document.text[h.start : h.end] for h in document.headings]
    assert headings == ["Lease", "Repairs"]
    assert [(p.number, p.locator.kind, p.locator.label) for p in document.pages] == [
        (None, "section", "Lease"),
        (None, "section", "Repairs"),
    ]
    assert "The tenant shall pay the rent in advance." in document.text
    assert "Item: Rent | Sum: 1200" in document.text


@pytest.mark.parametrize("kind", [pytest.param("ppt", marks=needs_libreoffice), "odp"])
def test_slides_are_numbered(tmp_path: Path, kind: str) -> None:
    if kind == "ppt":  # LibreOffice makes no small one, so it is saved here
        save_as(FILES / "slides.odp", tmp_path / "slides.ppt")
    document = _parse(tmp_path / "slides.ppt" if kind == "ppt" else FILES / "slides.odp")
    assert [(p.number, p.locator.kind, p.locator.label) for p in document.pages] == [
        (1, "slide", "1"),
        (2, "slide", "2"),
    ]
    second = document.text[document.pages[1].start : document.pages[1].end]
    assert second.startswith("Repairs")
    assert "The landlord repairs the roof." in second
    assert document.title == "Rent"


@pytest.mark.parametrize(
    ("name", "text", "labels"),
    [
        ("a.rst", "Lease\n=====\n\nThe rent is due.\n\nRepairs\n-------\n\n* roof\n* walls\n", ["Lease", "Repairs"]),
        ("a.org", "* Lease\nThe rent is due.\n** Repairs\n- roof\n- walls\n", ["Lease", "Repairs"]),
    ],
)
def test_marked_up_text_is_cut_at_its_headings(tmp_path: Path, name: str, text: str, labels: list[str]) -> None:
    (tmp_path / name).write_text(text, encoding="utf-16")
    document = _parse(tmp_path / name)
    assert [page.locator.label for page in document.pages] == labels
    assert "- roof" in document.text


def test_a_document_cannot_make_pandoc_read_another_file(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("the combination is 12-34", encoding="utf-8")
    path = tmp_path / "a.rst"
    path.write_text(f"Title\n=====\n\nHello.\n\n.. include:: {tmp_path}/secret.txt\n", encoding="utf-8")
    text = ""
    with contextlib.suppress(ParseError):  # refusing the document is as good
        text = _parse(path).text
    assert "combination" not in text


@pytest.mark.parametrize("name", ["lease.odt", "lease.epub", "slides.odp", "budget.ods"])
def test_half_a_file_is_refused(tmp_path: Path, name: str) -> None:
    data = (FILES / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(ParseError, match="damaged"):
        _parse(tmp_path / name)


def test_without_libreoffice_the_reason_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convert, "libreoffice", lambda: None)
    with pytest.raises(ParseError, match="needs LibreOffice") as caught:
        _parse(FILES / "lease.doc")
    assert "install" in caught.value.hint
    assert caught.value.hint.endswith(TRIED_AGAIN)  # installing it must be enough


@needs_libreoffice
def test_a_doc_that_is_not_one_is_refused(tmp_path: Path) -> None:
    data = (FILES / "lease.doc").read_bytes()
    (tmp_path / "a.doc").write_bytes(data[:2048] + bytes(len(data) - 2048))
    with pytest.raises(ParseError):
        parse_file(tmp_path / "a.doc", "application/msword")


# ------------------------------------------------------------------------------------------------ running programs


def test_a_program_that_takes_too_long_is_ended_with_all_it_started(tmp_path: Path) -> None:
    script = f"sleep 60 & echo $! > {tmp_path}/pid; wait"
    with pytest.raises(QuarantineError, match="took longer than 1 s"):
        run_tool(["sh", "-c", script], name="sh", folder=tmp_path, output=tmp_path / "out", seconds=1)
    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid}/stat").exists() and Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_program_dies_with_the_parser_child(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from ingest.parse.tools import run_tool; folder = Path(sys.argv[1]);"
        "run_tool(['sh', '-c', f'echo $$ > {folder}/pid; exec sleep 60'], name='sh', folder=folder,"
        " output=folder / 'out', seconds=60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    deadline = time.monotonic() + 20
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    pid = int((tmp_path / "pid").read_text())
    child.kill()
    child.wait()
    while Path(f"/proc/{pid}/stat").exists() and Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_program_sees_no_secret_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRONGROOM_KEY", "very secret")
    program = shutil.which("env")
    assert program is not None
    assert run_tool([program], name="env", folder=tmp_path, output=tmp_path / "out", seconds=10) == 0
    assert "very secret" not in (tmp_path / "out").read_text()
