"""Files that people are given: whole or not at all, and for their owner alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from strongroom.errors import UsageError
from strongroom.files import replace_file


def test_a_file_is_put_in_place_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("before")
    path.chmod(0o644)
    replace_file(path, b"names of people")
    assert path.read_bytes() == b"names of people"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_that_somebody_laid_is_replaced_and_not_followed(tmp_path: Path) -> None:
    target, path = tmp_path / "target", tmp_path / "out"
    target.write_text("mine")
    path.symlink_to(target)
    replace_file(path, b"new")
    assert (target.read_text(), path.read_bytes(), path.is_symlink()) == ("mine", b"new", False)


def test_a_folder_in_the_way_is_named_and_nothing_is_left_behind(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(UsageError, match="cannot write"):
        replace_file(tmp_path / "out", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_write_that_breaks_off_leaves_the_old_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    out = tmp_path / "r.html"
    replace_file(out, b"old")

    def full(self: Path, _target: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(Path, "replace", full)
        with pytest.raises(UsageError, match="No space left"):
            replace_file(out, b"new")
    assert out.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["r.html"]
