"""Personal data in texts: what is found, what is left alone, and that the search needs no network and little time."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.privacy import find
from ingest.privacy.find import settle
from ingest.privacy.numbers import blocks
from strongroom.types import PERSONAL_KINDS, PersonalSpan


def found(text: str) -> list[tuple[str, str]]:
    return [(span.kind, text[span.start : span.end]) for span in find(text)]


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("write to ana.b@example.co.uk today", "email", "ana.b@example.co.uk"),
        ("Phone: 020 7946 0018 after six", "phone", "020 7946 0018"),
        ("reach us under +49 30 901820 daily", "phone", "+49 30 901820"),
        ("paid to DE89 3704 0044 0532 0130 00 monthly", "iban", "DE89 3704 0044 0532 0130 00"),
        ("my iban is gb82west12345698765432", "iban", "gb82west12345698765432"),
        ("charge card 4111 1111 1111 1111 please", "card", "4111 1111 1111 1111"),
        ("the server at 192.168.12.7 answered", "ip", "192.168.12.7"),
        ("social security number 536-90-4399", "national_id", "536-90-4399"),
        ("National Insurance AB 12 34 56 C", "national_id", "AB 12 34 56 C"),
        ("numéro de sécurité sociale 1 84 12 76 451 089 46", "national_id", "1 84 12 76 451 089 46"),
        ("Steuer-IdNr. 86095742719 des Bürgers", "national_id", "86095742719"),
        ("con DNI 12345678Z en Madrid", "national_id", "12345678Z"),
        ("codice fiscale RSSMRA85T10A562S", "national_id", "RSSMRA85T10A562S"),
        ("BSN 111222333 van de bewoner", "national_id", "111222333"),
        ("rijksregisternummer 85.07.30-033.28", "national_id", "85.07.30-033.28"),
        ("AHV-Nr. 756.9217.0769.85", "national_id", "756.9217.0769.85"),
        ("driver's license number is F162823540116", "national_id", "F162823540116"),
        ("NHS number 943 476 5919 of the patient", "medical_id", "943 476 5919"),
        ("MRN: 00482913, ward 4", "medical_id", "00482913"),
        ("born on 12 March 1984 in Leeds", "birth_date", "12 March 1984"),
        ("Geburtsdatum: 03.11.1972", "birth_date", "03.11.1972"),
        ("DOB 1990-02-28", "birth_date", "1990-02-28"),
        ("our office, 12 Acacia Avenue, is closed", "address", "12 Acacia Avenue"),
        ("wohnhaft Lindenstraße 14, 10969 Berlin", "address", "Lindenstraße 14, 10969 Berlin"),
        ("habite 8 rue de la Paix à Paris", "address", "8 rue de la Paix"),
        ("signed by Dr. Ngozi Okonjo-Iweala yesterday", "name", "Ngozi Okonjo-Iweala"),
        ("the report of Margaret Hamilton arrived", "name", "Margaret Hamilton"),
        ("as Hanne I. Kreutzmann explained", "name", "Hanne I. Kreutzmann"),
        ("Herr Grünwald kam spät", "name", "Grünwald"),
    ],
)
def test_it_is_found_where_it_stands(text: str, kind: str, value: str) -> None:
    assert (kind, value) in found(text)


@pytest.mark.parametrize(
    "text",
    [
        "Section 2.1.3.4 of this Agreement governs the Licensee.",
        "The invoice 1234567890123456 was paid on 12 March 1984.",
        "Order 536904399 was shipped; batch 943476591.",
        "Net revenue was $1,234,567,890 in 2019 and 2020-2021.",
        "The Grant of Rights and the Will of the Board in May and June.",
        "New York, Hong Kong and San Francisco; Acme Holdings Limited; Boston University.",
        "",
        "\n\n\t  \n",
    ],
)
def test_what_is_none_is_left_alone(text: str) -> None:
    assert found(text) == []


def test_the_family_name_alone_is_found_later_on() -> None:
    text = "Paul Caluori signed first. The clause was struck by Caluori in May."
    assert [value for kind, value in found(text) if kind == "name"] == ["Paul Caluori", "Caluori"]


@given(st.text(alphabet="aZ09 .@-+\n№é\u202e\U0001f600", max_size=300))
@settings(max_examples=60, deadline=None)
def test_findings_are_in_order_apart_and_within_the_text(text: str) -> None:
    position = 0
    for span in find(text):
        assert position <= span.start < span.end <= len(text)
        assert span.kind in PERSONAL_KINDS
        assert 0.5 <= span.score <= 1.0
        position = span.end


def test_of_two_that_overlap_the_surer_stays_and_of_equals_the_longer() -> None:
    long, short, sure = (
        PersonalSpan("name", 0, 9, 0.6),
        PersonalSpan("name", 2, 5, 0.6),
        PersonalSpan("iban", 8, 12, 0.9),
    )
    assert settle([short, long]) == (long,)
    assert settle([short, long, sure]) == (short, sure)
    assert settle([PersonalSpan("ip", 0, 3, 0.49)]) == ()


def test_blocks_cover_every_line_that_can_hold_an_identifier_and_stay_small() -> None:
    text = "plain words\n" + "x" * 9000 + " a@b.org 12345 " + "y" * 9000 + "\nmore words\n99999\n"
    covered = set[int]()
    for start, block in blocks(text):
        assert len(block) <= 4_000
        assert text[start : start + len(block)] == block
        covered.update(range(start, start + len(block)))
    for value in ("a@b.org", "12345", "99999"):
        at = text.index(value)
        assert set(range(at, at + len(value))) <= covered
    assert text.index("plain") not in covered


@pytest.mark.parametrize("piece", ["a!", "a@", "1 ", "1.", "A1-", "Aa ", "A. ", "St. ", "1 Aa ", "mail a.b-c@d-e-f."])
def test_no_text_makes_the_search_slow(piece: str) -> None:
    text = piece * (20_000 // len(piece))
    began = time.process_time()
    find(text)
    assert time.process_time() - began < 3.0


def test_it_loads_no_model_library_and_opens_no_connection() -> None:
    code = (
        "import sys\n"
        "opened = []\n"
        "sys.addaudithook(lambda e, a: opened.append(e) if e in ('socket.connect', 'socket.getaddrinfo') else None)\n"
        "from ingest.privacy import find\n"
        "assert find('write to ana@example.org or +49 30 901820')\n"
        "loaded = [m for m in ('torch', 'transformers', 'stanza', 'gliner') if m in sys.modules]\n"
        "print(opened, loaded)\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert out.stdout.strip() == "[] []"
