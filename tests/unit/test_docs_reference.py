"""The generated reference pages are what the code says now."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "reference"


def generate(*args: str, root: Path = ROOT, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(root / "docs" / "generate.py"), *args],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, **env},
    )


def test_reference_is_up_to_date() -> None:
    done = generate("--check")
    assert done.stdout == ""
    assert done.returncode == 0, done.stderr


def test_reference_does_not_depend_on_settings_home_or_terminal(tmp_path: Path) -> None:
    done = generate("--check", HOME=str(tmp_path), COLUMNS="40", STRONGROOM_PORT="9999", XDG_DATA_HOME=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["cli.md", "configuration.md", "exit-codes.md", "http-api.md"])
def test_check_notices_a_stale_page(tmp_path: Path, name: str) -> None:
    """GIVEN a copy of the docs with one line changed THEN --check names the page and exits 1."""
    docs = tmp_path / "docs"
    (docs / "reference").mkdir(parents=True)
    (docs / "generate.py").write_text((ROOT / "docs" / "generate.py").read_text(encoding="utf-8"), encoding="utf-8")
    for page in REFERENCE.glob("*.md"):
        (docs / "reference" / page.name).write_text(page.read_text(encoding="utf-8"), encoding="utf-8")
    with (docs / "reference" / name).open("a", encoding="utf-8") as file:
        file.write("stale\n")

    done = generate("--check", root=tmp_path, PYTHONPATH=str(ROOT))

    assert done.returncode == 1
    assert f"docs/reference/{name}" in done.stdout
