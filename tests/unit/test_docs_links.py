"""Every relative link, anchor and image of the README and the documentation leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "samples" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """Heading anchors as GitHub makes them: lower case, blanks to hyphens, other punctuation dropped."""
    headings = re.findall(r"^#{1,6} (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.strip().lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_resolve(page: Path) -> None:
    broken = []
    for target in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        goal = (page.parent / path).resolve() if path else page
        if not goal.exists():
            broken.append(target)
        elif anchor and anchor not in anchors(goal):
            broken.append(f"{target} (no such heading)")
    assert broken == []


def test_every_page_is_reachable_from_the_index() -> None:
    seen: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen or not page.exists():
            continue
        seen.add(page)
        for target in LINK.findall(prose(page)):
            path = target.partition("#")[0]
            if path.endswith(".md") and "://" not in path:
                waiting.append((page.parent / path).resolve())
    by_folder = {"adr", "changelog", "decisions"}  # the index names these folders, not each page
    documented = {p for p in (ROOT / "docs").rglob("*.md") if not by_folder & set(p.relative_to(ROOT).parts)}
    assert sorted(name_of(p) for p in documented - seen) == []


def test_link_pattern_sees_links_and_images() -> None:
    assert LINK.findall("see [a](b.md#c) and ![d](e/f.png)") == ["b.md#c", "e/f.png"]


def test_readme_has_no_figure_left_to_fill_in() -> None:
    assert re.findall(r"<!-- figure: ([^>]*) -->", (ROOT / "README.md").read_text(encoding="utf-8")) == []
