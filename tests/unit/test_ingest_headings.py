"""Headings of PDFs: which lines are marked, which are not, and what their passages stand under."""

from pathlib import Path

import numpy as np
import pytest

from ingest.parse.build import Words
from ingest.parse.headings import headings_of
from ingest.parse.pdf import parse_pdf
from strongroom.types import ParsedDocument
from tests.ingest_samples import text_pdf


def _marked(*lines: str, sizes: tuple[float, ...] = ()) -> list[tuple[int, str]]:
    """Levels and words marked in lines of print; an empty line leaves white."""
    spaces: list[str] = []
    texts: list[str] = []
    boxes: list[tuple[float, float, float, float]] = []
    gap = "\n"
    for number, line in enumerate(lines):
        if not line:
            gap = "\n\n"
            continue
        size = sizes[number] if sizes else 12.0
        for i, word in enumerate(line.split()):
            spaces.append(" " if i else (gap if texts else ""))
            texts.append(word)
            boxes.append((60 * i, 20 * number, 60 * i + 50, 20 * number + size))
        gap = "\n"
    words = Words(spaces, texts, np.array(boxes, dtype=np.float32))
    return [(m.level, " ".join(texts[m.first : m.stop])) for m in headings_of(words, (), usual=12.0)]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (("12. Governing Law. This Agreement is governed by", "the laws of Delaware."), [(2, "12. Governing Law.")]),
        (("4.2 Fees and Costs", "", "The client pays all fees."), [(3, "4.2 Fees and Costs")]),
        (("4.2.1 Late Payment: interest is due at", "once."), [(4, "4.2.1 Late Payment:")]),
        (("ARTICLE IV", "TERM OF AGREEMENT", "", "This one begins today."), [(1, "ARTICLE IV TERM OF AGREEMENT")]),
        (("Section 9. Indemnification.", "Each party shall"), [(2, "Section 9. Indemnification.")]),
        (("", "CONFIDENTIALITY", "", "Each party keeps secrets."), [(2, "CONFIDENTIALITY")]),
        # What only looks like one
        (("1. the first of several items in a list", "2. the second of them"), []),
        (("5.1 Subject to the Terms of Transporter's", "tariff, gas is sent."), []),
        (("12. Revenue | 2023: 383 | 2022: 394",), []),
        (("", "EXCEPT AS SET FORTH HEREIN NEITHER PARTY MAKES", "ANY WARRANTY OF ANY KIND.", ""), []),
        (("", "NEW YORK, NY 10022", "", "Dear Sir"), []),
        (("", "By: ____________", "", "Name"), []),
        (("Section 9 of the Act applies to all", "of them."), []),
    ],
)
def test_clauses_and_capitals(lines: tuple[str, ...], expected: list[tuple[int, str]]) -> None:
    assert _marked(*lines) == expected


def test_larger_type_alone_on_its_line_is_a_heading() -> None:
    lines = ("Risk factors", "", "Sales may fall next year for many reasons.")
    assert _marked(*lines, sizes=(18, 0, 12)) == [(2, "Risk factors")]
    assert _marked(*lines, sizes=(12, 0, 12)) == []


def _headings(document: ParsedDocument) -> list[str]:
    return [document.text[h.start : h.end] for h in document.headings]


def test_a_running_head_is_no_heading(tmp_path: Path) -> None:
    # GIVEN four pages under the same line of capitals, numbered, each with a clause of its own
    titles = ("Term", "Fees", "Notices", "Governing Law")
    pages = [
        f"LEASE AGREEMENT\n\n\n{n}. {title}. This is what the parties say of it.\n\n\nPage {n}"
        for n, title in enumerate(titles, start=1)
    ]
    document = parse_pdf(text_pdf(tmp_path / "a.pdf", *pages))
    assert _headings(document) == [f"{n}. {title}." for n, title in enumerate(titles, start=1)]
    # AND on fewer pages it is one
    assert _headings(parse_pdf(text_pdf(tmp_path / "b.pdf", *pages[:2])))[0] == "LEASE AGREEMENT"
