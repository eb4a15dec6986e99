"""Every guarantee of the threat model names tests that try to break it, and those tests exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "threat-model.md"
NAMED = re.compile(r"`(test_\w+)(\.py|…)?`")


def _rows(section: str) -> list[list[str]]:
    """Cells of every table row in a `##` section, without heads and rules."""
    text = PAGE.read_text(encoding="utf-8")
    body = re.search(rf"^## {section}$(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    assert body is not None, section
    found = []
    for table in re.findall(r"(?:^\|.*\n)+", body.group(1), re.MULTILINE):
        found += [[cell.strip() for cell in line.strip("|\n").split("|")] for line in table.splitlines()[2:]]
    return found


@pytest.fixture(scope="module")
def functions() -> set[str]:
    sources = (path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    return {name for source in sources for name in re.findall(r"^\s*def (test_\w+)", source, re.MULTILINE)}


def test_each_guarantee_names_a_test() -> None:
    rows = _rows("Guarantees")
    assert len(rows) > 20
    assert [row[0] for row in rows if len(row) != 3 or not NAMED.search(row[2])] == []


def test_each_named_test_exists(functions: set[str]) -> None:
    files = {path.stem for path in (ROOT / "tests").rglob("test_*.py")}
    missing = []
    for name, kind in NAMED.findall(PAGE.read_text(encoding="utf-8")):
        known = files if kind == ".py" else functions
        if name not in known and not (kind == "…" and any(f.startswith(name) for f in functions)):
            missing.append(name)
    assert missing == []
