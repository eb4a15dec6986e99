"""The sample documents hold what their questions say, and their script makes the same documents again."""

from __future__ import annotations

import email
import email.policy
import html
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pypdfium2 as pdfium
import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = ROOT / "samples" / "documents"
QUESTIONS: list[dict[str, Any]] = [
    json.loads(line) for line in (ROOT / "samples" / "questions.jsonl").read_text(encoding="utf-8").splitlines()
]
ANSWERABLE = [q for q in QUESTIONS if not q["unanswerable"]]
PAGED = [q for q in ANSWERABLE if q["pages"] is not None]
SCAN = "dredging-letter-scan.pdf"
MADE = (
    "information-handling-policy.pdf",
    "crane-maintenance-agreement.pdf",
    "gefahrgut-merkblatt.pdf",
    SCAN,
    "safety-report-2025.docx",
    "shore-power-briefing.pptx",
    "budget-2026.xlsx",
)


def squeeze(text: str) -> str:
    return " ".join(text.split())


def page_texts(path: Path) -> list[str]:
    document = pdfium.PdfDocument(path)
    try:
        return [squeeze(page.get_textpage().get_text_bounded()) for page in document]
    finally:
        document.close()


def office_text(path: Path) -> str:
    """All character data of an office file, which is enough to look for words in it."""
    parts = []
    with zipfile.ZipFile(path) as archive:
        for name in sorted(archive.namelist()):
            if name.endswith(".xml") and "theme" not in name:
                xml = re.sub(r"</(?:\w+:)?(?:p|tc|si|row|c)>", " ", archive.read(name).decode("utf-8"))
                parts.append(html.unescape(re.sub(r"<[^>]+>", "", xml)))
    return squeeze(" ".join(parts))


def text_of(path: Path) -> str:
    if path.suffix == ".pdf":
        return squeeze(" ".join(page_texts(path)))
    if path.suffix in {".docx", ".pptx", ".xlsx"}:
        return office_text(path)
    if path.suffix == ".eml":
        message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
        return squeeze(f"{message['subject']} {message.get_content()}")
    text = path.read_text(encoding="utf-8")
    return squeeze(html.unescape(re.sub(r"<[^>]+>", " ", text)) if path.suffix == ".html" else text)


def scan_source() -> str:
    """The words of the letter before it was scanned."""
    return squeeze((ROOT / "samples" / "source" / "dredging-letter.md").read_text(encoding="utf-8"))


def pixels(path: Path) -> np.ndarray:
    document = pdfium.PdfDocument(path)
    try:
        return document[0].render(scale=1.0, grayscale=True).to_numpy().astype(np.float32)
    finally:
        document.close()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documents, made afresh by the script as a person would call it."""
    target = tmp_path_factory.mktemp("samples")
    subprocess.run(
        [sys.executable, "-m", "samples.make_samples", "--output", str(target)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    return target


def test_questions_are_well_formed() -> None:
    assert len({q["id"] for q in QUESTIONS}) == len(QUESTIONS)
    assert len(ANSWERABLE) >= 16
    assert len(QUESTIONS) - len(ANSWERABLE) == 4
    for question in QUESTIONS:
        assert set(question) == {"id", "question", "document", "pages", "answer", "unanswerable"}
        assert (question["document"] is None) == question["unanswerable"]
        assert (question["answer"] is None) == question["unanswerable"]


def test_every_document_has_a_question() -> None:
    assert {q["document"] for q in ANSWERABLE} == {p.name for p in DOCUMENTS.iterdir()}


@pytest.mark.parametrize("question", ANSWERABLE, ids=lambda q: q["id"])
def test_answer_stands_in_document(question: dict[str, Any]) -> None:
    path = DOCUMENTS / question["document"]
    text = scan_source() if path.name == SCAN else text_of(path)
    assert squeeze(question["answer"]) in text


@pytest.mark.parametrize("question", PAGED, ids=lambda q: q["id"])
def test_answer_stands_on_the_stated_pages_and_no_other(question: dict[str, Any]) -> None:
    pages = page_texts(DOCUMENTS / question["document"])
    if question["document"] == SCAN:
        assert question["pages"] == [1]
        assert len(pages) == 1
        return
    found = [number for number, text in enumerate(pages, 1) if squeeze(question["answer"]) in text]
    assert found == question["pages"]


def test_scan_has_no_text_layer() -> None:
    assert page_texts(DOCUMENTS / SCAN) == [""]


@pytest.mark.parametrize("words", ["parental", "helicopter", "drone"])
def test_unanswerable_topics_are_absent(words: str) -> None:
    for path in DOCUMENTS.iterdir():
        assert words not in text_of(path).lower()
    assert words not in scan_source().lower()


def test_samples_are_small() -> None:
    assert sum(p.stat().st_size for p in DOCUMENTS.iterdir()) < 1_500_000


@pytest.mark.parametrize("name", MADE)
def test_script_makes_the_committed_document(made: Path, name: str) -> None:
    """Texts are compared, and pixels for the scan: bytes may differ under other versions of the libraries."""
    assert text_of(made / name) == text_of(DOCUMENTS / name)
    if name == SCAN:
        fresh, committed = pixels(made / name), pixels(DOCUMENTS / name)
        assert fresh.shape == committed.shape
        assert float(np.abs(fresh - committed).mean()) < 4.0


def test_script_is_deterministic(made: Path, tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "samples.make_samples", "--output", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    assert sorted(p.name for p in made.iterdir()) == sorted(MADE)
    for name in MADE:
        assert (tmp_path / name).read_bytes() == (made / name).read_bytes(), name
