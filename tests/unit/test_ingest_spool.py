"""The spool: private files with names of our own, within the limit, and gone afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.spool import Spool
from strongroom.errors import NotPermittedError, UsageError
from strongroom.types import SourceFile


def test_upload_is_stored_privately_under_a_name_of_our_own(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", max_bytes=100)
    file = spool.write([b"some ", b"bytes"], uri="upload:///x", name="../../etc/Report.PDF")
    path = Path(file.path)
    assert path.read_bytes() == b"some bytes"
    assert path.parent == tmp_path / "spool"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert path.suffix == ".pdf"
    assert "Report" not in path.name
    assert (file.uri, file.name, file.size) == ("upload:///x", "../../etc/Report.PDF", 10)


@pytest.mark.parametrize("name", ["no-suffix", "odd.t/xt", "a.b c", "x." + "y" * 40, "trailing.", "new.l\nine"])
def test_odd_names_give_no_suffix(tmp_path: Path, name: str) -> None:
    file = Spool(tmp_path / "spool", max_bytes=100).write([b"x"], uri="u", name=name)
    assert Path(file.path).suffix == ""


def test_upload_over_the_limit_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", max_bytes=5)
    assert spool.write([b"12345"], uri="u", name="a").size == 5
    with pytest.raises(UsageError, match="larger than 5 bytes"):
        spool.write([b"123", b"456"], uri="u", name="b")
    assert len(list((tmp_path / "spool").iterdir())) == 1


def test_upload_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield b"half"
        raise ConnectionResetError

    spool = Spool(tmp_path / "spool", max_bytes=100)
    with pytest.raises(ConnectionResetError):
        spool.write(broken(), uri="u", name="a")
    assert list((tmp_path / "spool").iterdir()) == []


def test_holding_removes_the_upload_however_the_block_ends(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", max_bytes=100)
    used: list[SourceFile] = []

    def use() -> None:
        with spool.holding([b"x"], uri="u", name="a") as file:
            assert Path(file.path).exists()
            used.append(file)
            raise KeyError

    with pytest.raises(KeyError):
        use()
    assert not Path(used[0].path).exists()
    spool.remove(used[0])  # again: fine


def test_remove_touches_nothing_outside_the_spool(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", max_bytes=100)
    precious = tmp_path / "precious.txt"
    precious.write_text("keep")
    spool.remove(SourceFile(str(precious), precious.as_uri(), precious.name, 4))
    spool.remove(SourceFile(str(tmp_path / "spool" / ".." / "precious.txt"), "u", "n", 4))
    assert precious.read_text() == "keep"


def test_start_wipes_what_a_crash_left(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", max_bytes=100)
    left = spool.write([b"left behind"], uri="u", name="a")
    outside = tmp_path / "outside.txt"
    outside.write_text("keep")
    (tmp_path / "spool" / "link").symlink_to(outside)
    Spool(tmp_path / "spool", max_bytes=100)
    assert not Path(left.path).exists()
    assert list((tmp_path / "spool").iterdir()) == []
    assert outside.read_text() == "keep"


def test_spool_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "spool").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NotPermittedError):
        Spool(tmp_path / "spool", max_bytes=1)
