"""Walking files and folders: order, accounting for every entry, and names of any kind."""

import os
from pathlib import Path

import pytest

from ingest.discover import discover, display, file_uri
from strongroom.errors import UsageError
from strongroom.types import FileOutcome, SourceFile


def _names(results: list[SourceFile | FileOutcome]) -> list[str]:
    return [item.name for item in results if isinstance(item, SourceFile)]


def _reasons(results: list[SourceFile | FileOutcome]) -> dict[str, str]:
    return {Path(item.path).name: item.reason or "" for item in results if isinstance(item, FileOutcome)}


def test_files_come_in_stable_order_with_uri_and_size(tmp_path: Path) -> None:
    for name in ("b.txt", "a.txt", "sub/c.txt", "B.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    results = list(discover([tmp_path]))
    assert _names(results) == ["B.txt", "a.txt", "b.txt", "c.txt"]
    first = results[0]
    assert isinstance(first, SourceFile)
    assert first.uri == (tmp_path / "B.txt").as_uri()
    assert first.size == 5
    assert results == list(discover([str(tmp_path)]))


def test_junk_hidden_links_and_large_files_are_skipped_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "good.txt").write_text("x")
    for name in (".DS_Store", "~$report.docx", "Thumbs.db", ".secret", ".~lock.a.odt#"):
        (tmp_path / name).write_text("x")
    (tmp_path / "big.bin").write_bytes(b"0" * 101)
    (tmp_path / "link.txt").symlink_to(tmp_path / "good.txt")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config").write_text("x")
    os.mkfifo(tmp_path / "pipe")

    results = list(discover([tmp_path], max_bytes=100))

    assert _names(results) == ["good.txt"]
    reasons = _reasons(results)
    assert set(reasons) == {
        ".DS_Store", "~$report.docx", "Thumbs.db", ".secret", ".~lock.a.odt#", "big.bin", "link.txt", ".git", "pipe",
    }  # fmt: skip
    assert "over the limit of 100" in reasons["big.bin"]
    assert "symbolic link" in reasons["link.txt"]
    assert reasons[".git"] == "hidden"
    assert all(item.outcome == "skipped" for item in results if isinstance(item, FileOutcome))


def test_each_path_comes_once_however_often_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.txt").write_text("x")
    results = list(discover([tmp_path, tmp_path / "a", tmp_path / "a" / "x.txt", f"{tmp_path}/a/../a"]))
    assert _names(results) == ["x.txt"]


def test_followed_links_do_not_loop(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "x.txt").write_text("x")
    (folder / "again").symlink_to(folder, target_is_directory=True)
    results = list(discover([folder], follow_symlinks=True))
    assert _names(results) == ["x.txt"]
    assert "back to a folder" in _reasons(results)["again"]


def test_a_missing_path_is_refused_before_anything_is_listed(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("x")
    with pytest.raises(UsageError, match="nowhere"):
        discover([tmp_path, tmp_path / "nowhere"])


def test_broken_links_and_unreadable_folders_fail_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "closed").mkdir()
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    real = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    results = list(discover([tmp_path], follow_symlinks=True))
    outcomes = {Path(r.path).name: r for r in results if isinstance(r, FileOutcome)}
    assert outcomes["closed"].outcome == "failed"
    assert "permission" in (outcomes["closed"].reason or "")
    assert outcomes["dangling"].outcome == "failed"


def test_names_that_are_no_utf8_have_a_uri_and_can_be_shown(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/caf\xe9 100%.txt"
    with open(raw, "wb") as file:
        file.write(b"x")
    (result,) = discover([tmp_path])
    assert isinstance(result, SourceFile)
    assert result.uri.endswith("/caf%E9%20100%25.txt")
    assert result.name == "caf\ufffd 100%.txt"
    result.uri.encode("ascii")
    with open(result.path, "rb") as file:
        assert file.read() == b"x"
    assert file_uri(result.path) == result.uri
    display(result.path).encode("utf-8")


def test_patterns_ignore_names_and_relative_paths(tmp_path: Path) -> None:
    for name in ("keep.txt", "drop.log", "drafts/a.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    results = list(discover([tmp_path], ignore=("*.log", "drafts/*")))
    assert _names(results) == ["keep.txt"]
    assert "ignored by pattern *.log" in _reasons(results)["drop.log"]


def test_folders_nested_without_end_cost_only_themselves(tmp_path: Path) -> None:
    deep = tmp_path / Path(*["d"] * 700)
    deep.mkdir(parents=True)
    (tmp_path / "z.txt").write_text("z")
    results = list(discover([tmp_path]))
    assert _names(results) == ["z.txt"]
    assert [r.outcome for r in results if isinstance(r, FileOutcome)] == ["failed"]
