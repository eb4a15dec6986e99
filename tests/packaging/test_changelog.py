"""Changelog fragments: well formed, gathered in order, and gone after a release."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.packaging.repository import script

changelog = script("changelog")


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("faster-search.md", "Search is twice as fast.\n", ""),
        ("two-lines.md", "One sentence\nover two lines.", ""),
        ("Faster Search.md", "Search is twice as fast.", "name it"),
        ("notes.txt", "Search is twice as fast.", "name it"),
        ("empty.md", " \n", "empty"),
        ("heading.md", "# Search", "no heading"),
        ("list.md", "- one thing.", "no heading and no list"),
        ("two.md", "One.\n\nTwo.", "one paragraph"),
        ("open.md", "Search is twice as fast", "end it"),
        ("long.md", "word " * 120 + ".", "at most"),
    ],
)
def test_lint(name: str, text: str, problem: str) -> None:
    problems = changelog.lint(name, text)
    assert (problem in "\n".join(problems)) if problem else (problems == [])


def test_release_moves_the_fragments_above_older_releases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fragments = tmp_path / "fragments"
    fragments.mkdir()
    (fragments / "b.md").write_text("Second\nchange.\n", encoding="utf-8")
    (fragments / "a.md").write_text("First change.\n", encoding="utf-8")
    target = tmp_path / "CHANGELOG.md"
    target.write_text(f"# Changelog\n\n{changelog.MARK}\n## 0.1.0 (2026-01-01)\n\n- Old.\n", encoding="utf-8")
    monkeypatch.setattr(changelog, "FRAGMENTS", fragments)
    monkeypatch.setattr(changelog, "CHANGELOG", target)

    assert changelog._release("0.2.0", changelog.read_fragments(fragments)) == 0

    text = target.read_text(encoding="utf-8")
    assert (
        text.index("## 0.2.0") < text.index("- First change.") < text.index("- Second change.") < text.index("## 0.1.0")
    )
    assert list(fragments.iterdir()) == []


@pytest.mark.parametrize(("version", "status"), [(None, 2), ("next", 2), ("0.2", 2), ("0.2.0", 1)])
def test_release_refuses_a_bad_version_and_an_empty_release(version: str | None, status: int) -> None:
    assert changelog._release(version, {}) == status
