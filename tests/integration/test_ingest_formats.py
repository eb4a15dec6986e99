"""Formats that need other programs or models, read inside the confined child; pictures of every kind by OCR."""

import shutil
from pathlib import Path

import pytest

from ingest.limits import Limits
from ingest.mime import detect
from ingest.parse import convert, parse_file
from ingest.sandbox import ParserPool
from tests.fakes import FakeSpeech, FakeTokenizer
from tests.ingest_samples import save_as, scan

FILES = Path(__file__).parent.parent / "files"


def test_programs_and_models_work_within_the_limits_of_a_child(tmp_path: Path) -> None:
    """GIVEN the pool's usual limits WHEN files come that pandoc, FFmpeg and a model read THEN all are."""
    expected = {
        "lease.rtf": "The landlord repairs the roof.",
        "lease.odt": "The landlord repairs the roof.",
        "lease.epub": "The landlord repairs the roof.",
        "slides.odp": "The landlord repairs the roof.",
        "budget.xls": "Item: Rent | Share: 25.5%",
        "budget.ods": "Item: Rent | Share: 25.5%",
        "tone.mp3": "2 seconds, peak",
        **({"tone.m4a": "2 seconds, peak"} if shutil.which("ffmpeg") else {}),
    }
    read({FILES / name: text for name, text in expected.items()}, tmp_path / "spool")


@pytest.mark.skipif(
    convert.libreoffice() is None, reason="LibreOffice is not installed (apt install libreoffice-writer-nogui)"
)
def test_libreoffice_starts_within_the_limits_of_a_child(tmp_path: Path) -> None:
    """GIVEN the pool's usual limits and layers WHEN LibreOffice must convert a .doc and a .ppt THEN both are read."""
    ppt = save_as(FILES / "slides.odp", tmp_path / "slides.ppt")
    assert detect(ppt) == "application/vnd.ms-powerpoint"
    read(dict.fromkeys([FILES / "lease.doc", ppt], "The landlord repairs the roof."), tmp_path / "spool")


def read(expected: dict[Path, str], spool: Path) -> None:
    """Each file through one confined child; its text must hold what is expected, its first chunk be a part of it."""
    with ParserPool(1, tokenizer=FakeTokenizer(), speech=FakeSpeech(), limits=Limits(seconds=120), spool=spool) as pool:
        waiting = {path: pool.submit(path, detect(path)) for path in expected}
        for path, future in waiting.items():
            document, chunks = future.result(timeout=240)
            assert expected[path] in document.text, path
            assert chunks, path
            assert document.text[chunks[0].start : chunks[0].end] == chunks[0].text


@pytest.mark.parametrize(
    ("name", "mime"),
    [
        ("a.webp", "image/webp"),
        ("a.bmp", "image/bmp"),
        ("a.gif", "image/gif"),
        ("a.jpg", "image/jpeg"),
        ("a.heic", "image/heic"),
    ],
)
def test_pictures_of_every_kind_are_read(tmp_path: Path, name: str, mime: str) -> None:
    if name == "a.heic":
        path = FILES / "words.heic"
    else:
        picture = scan(["Invoice number 4711", "Payment is due in thirty days."])
        path = tmp_path / name
        picture.convert("RGB").save(path)
    assert detect(path) == mime
    document = parse_file(path, mime)
    assert "Paymentisdueinthirtydays." in "".join(document.text.split())
    assert [(p.number, p.locator.kind, p.locator.label) for p in document.pages] == [(1, "page", "1")]
