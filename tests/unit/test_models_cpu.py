"""CPU quota from cgroups of both versions, on a made-up file system."""

from __future__ import annotations

from pathlib import Path

import pytest

from models import cpu


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Sixteen cores, no limit yet."""
    monkeypatch.setattr(cpu, "_affinity", lambda: 16)
    (tmp_path / "root").mkdir()
    return tmp_path


def _usable(machine: Path, cgroup: str) -> int:
    (machine / "cgroup").write_text(cgroup)
    return cpu.usable_cpus(proc_cgroup=machine / "cgroup", root=machine / "root")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max 100000", 16),
        ("400000 100000", 4),
        ("250000 100000", 2),
        ("50000 100000", 1),
        ("nonsense", 16),
        ("0 0", 16),
    ],
)
def test_version_2_quota(machine: Path, text: str, expected: int) -> None:
    (machine / "root" / "cpu.max").write_text(text)
    assert _usable(machine, "0::/\n") == expected


def test_the_tightest_ancestor_counts(machine: Path) -> None:
    inner = machine / "root" / "a" / "b"
    inner.mkdir(parents=True)
    (inner / "cpu.max").write_text("800000 100000")
    (machine / "root" / "a" / "cpu.max").write_text("300000 100000")
    assert _usable(machine, "0::/a/b\n") == 3


def test_a_path_from_outside_the_container_still_finds_its_root(machine: Path) -> None:
    (machine / "root" / "cpu.max").write_text("200000 100000")
    assert _usable(machine, "0::/../../elsewhere\n") == 2


def test_version_1_quota(machine: Path) -> None:
    folder = machine / "root" / "cpu" / "job"
    folder.mkdir(parents=True)
    (folder / "cpu.cfs_quota_us").write_text("600000")
    (folder / "cpu.cfs_period_us").write_text("100000")
    assert _usable(machine, "4:memory:/job\n1:cpu:/job\n") == 6


def test_version_1_without_limit(machine: Path) -> None:
    folder = machine / "root" / "cpu"
    folder.mkdir(parents=True)
    (folder / "cpu.cfs_quota_us").write_text("-1")
    (folder / "cpu.cfs_period_us").write_text("100000")
    assert _usable(machine, "1:cpu:/\n") == 16


def test_a_stated_number_wins() -> None:
    assert cpu.threads_or_default(3) == 3
    assert cpu.threads_or_default(0) >= 1
