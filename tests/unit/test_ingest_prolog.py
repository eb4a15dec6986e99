"""XML that declares entities is refused by name in every format that holds XML, before any library reads it."""

import zipfile
from pathlib import Path

import pytest

from ingest.mime import detect
from ingest.parse import parse_file
from ingest.parse.prolog import check_markup
from strongroom.errors import QuarantineError
from tests.hostile_samples import BLOW_UP, EXTERNAL, FILES, LAUGHS, MAIN_PART, PARAMETER, TYPED, office, with_prolog

ATTACKS = {
    "billion laughs": (LAUGHS, "&j;"),
    "quadratic blow-up": (BLOW_UP, "&j;" * 20_000),
    "an external entity": (EXTERNAL, "&j;"),
    "a parameter entity": (PARAMETER, "rent"),
}


@pytest.fixture(params=ATTACKS)
def attack(request: pytest.FixtureRequest) -> tuple[str, str]:
    return ATTACKS[request.param]


@pytest.mark.parametrize("kind", MAIN_PART)
def test_an_office_file_that_declares_entities_is_refused_by_name(
    tmp_path: Path, kind: str, attack: tuple[str, str]
) -> None:
    sound = office(tmp_path / f"sound{kind}")
    mime = detect(sound)
    assert "rent" in parse_file(sound, mime).text.lower()
    hostile = with_prolog(sound, tmp_path / f"hostile{kind}", attack[0], uses=attack[1])
    assert detect(hostile) == mime
    with pytest.raises(QuarantineError, match=f"{MAIN_PART[kind]} declares ") as caught:
        parse_file(hostile, mime)
    assert caught.value.hint


@pytest.mark.parametrize("suffix", [".xml", ".svg"])
def test_xml_and_svg_that_declare_entities_are_refused(tmp_path: Path, suffix: str, attack: tuple[str, str]) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_text(f'<?xml version="1.0"?>{attack[0]}<x>{attack[1]}</x>')
    assert detect(path) == "application/xml"
    with pytest.raises(QuarantineError, match="declares entities"):
        parse_file(path, "application/xml")


def test_html_expands_no_entities_and_reads_no_other_file(tmp_path: Path, attack: tuple[str, str]) -> None:
    path = tmp_path / "a.html"
    path.write_text(f"{attack[0].replace('DOCTYPE x', 'DOCTYPE html')}<html><body><p>the {attack[1]}</p></body></html>")
    text = parse_file(path, detect(path)).text
    assert len(text) < 2 * path.stat().st_size
    assert "Seccomp" not in text  # stands in /proc/self/status


def test_an_e_book_that_declares_entities_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(FILES / "lease.epub") as book:
        chapter = next(name for name in book.namelist() if "ch0" in name)
    hostile = with_prolog(FILES / "lease.epub", tmp_path / "a.epub", LAUGHS, part=chapter)
    with pytest.raises(QuarantineError, match="declares XML entities"):
        parse_file(hostile, detect(hostile))


@pytest.mark.parametrize("part", ["[Content_Types].xml", "_rels/.rels", "docProps/core.xml"])
def test_no_part_may_declare_anything(tmp_path: Path, part: str) -> None:
    hostile = with_prolog(office(tmp_path / "a.docx"), tmp_path / "b.docx", LAUGHS, part=part)
    with pytest.raises(QuarantineError, match="declares an XML"):
        parse_file(hostile, detect(hostile))


def test_a_document_type_alone_is_refused_where_the_format_has_none(tmp_path: Path) -> None:
    hostile = with_prolog(office(tmp_path / "a.docx"), tmp_path / "b.docx", TYPED)
    with pytest.raises(QuarantineError, match=r"word/document\.xml declares an XML document type"):
        parse_file(hostile, detect(hostile))
    early = with_prolog(FILES / "budget.ods", tmp_path / "b.ods", TYPED)
    assert "Budget" in parse_file(early, detect(early)).text


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "latin-1"])
def test_neither_an_encoding_nor_padding_hides_a_declaration(tmp_path: Path, encoding: str) -> None:
    padding = f"<!--{'x' * 100_000}-->"
    for prolog in (f"{padding}{LAUGHS}", f"<!--{'x' * (2 << 20)}-->"):
        declared = "" if encoding != "latin-1" else '<?xml version="1.0" encoding="latin-1"?>'
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.writestr("any.name", f"{declared}{prolog}<x/>".encode(encoding))
        with (
            zipfile.ZipFile(tmp_path / "a.zip") as archive,
            pytest.raises(QuarantineError, match=r"any\.name declares "),
        ):
            check_markup(archive, doctype=True)
