"""Formats that need other programs or models, read inside the confined child; pictures of every kind by OCR."""

import shutil
from pathlib import Path

import pytest

from ingest.mime import detect
from ingest.parse import convert, parse_file
from ingest.sandbox import Limits, ParserPool
from tests.fakes import FakeSpeech, FakeTokenizer
from tests.ingest_samples import scan

FILES = Path(__file__).parent.parent / "files"


def test_programs_and_models_work_within_the_limits_of_a_child(tmp_path: Path) -> None:
    """GIVEN the pool's usual limits WHEN files come that pandoc, LibreOffice, FFmpeg and a model read THEN all are."""
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
    if convert.libreoffice() is not None:
        expected["lease.doc"] = "The landlord repairs the roof."
    spool = tmp_path / "spool"
    with ParserPool(1, tokenizer=FakeTokenizer(), speech=FakeSpeech(), limits=Limits(seconds=120), spool=spool) as pool:
        waiting = {name: pool.submit(FILES / name, detect(FILES / name)) for name in expected}
        for name, future in waiting.items():
            document, chunks = future.result(timeout=240)
            assert expected[name] in document.text, name
            assert chunks, name
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
