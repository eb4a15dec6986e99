"""How many CPU threads this process may really use. Must not import anything heavy.

Libraries ask the kernel for the machine's cores and then start far more threads than a container's quota feeds,
which makes them slower than one thread. Quota and affinity are read here, once, for every model.
"""

from __future__ import annotations

import os
from pathlib import Path

_PROC_CGROUP = Path("/proc/self/cgroup")
_CGROUP_ROOT = Path("/sys/fs/cgroup")


def usable_cpus(*, proc_cgroup: Path = _PROC_CGROUP, root: Path = _CGROUP_ROOT) -> int:
    """Threads that can run at once: the smaller of affinity and cgroup quota (v2 or v1), rounded down, at least 1."""
    cpus = float(_affinity())
    quota = _quota(proc_cgroup, root)
    return max(1, int(min(cpus, quota)))


def threads_or_default(threads: int) -> int:
    """`threads` when it is positive, else what this process may use."""
    return threads if threads > 0 else usable_cpus()


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quota(proc_cgroup: Path, root: Path) -> float:
    """The tightest CPU quota of this process's cgroup and its parents, in cores; infinity when there is none.

    A limit may sit on any ancestor, and inside a container the path of `/proc/self/cgroup` may not exist below
    `root`, so each ancestor down to `root` itself is read where it exists.
    """
    limit = float("inf")
    for line in _read(proc_cgroup).splitlines():
        parts = line.split(":", 2)
        if len(parts) != 3:
            continue
        _, controllers, path = parts
        if not controllers:
            bases, read = (root, root / "unified"), _quota_v2
        elif "cpu" in controllers.split(","):
            bases, read = (root / "cpu", root / controllers), _quota_v1
        else:
            continue
        for base in bases:
            for folder in _ancestors(base, path):
                limit = min(limit, read(folder))
    return limit


def _ancestors(base: Path, path: str) -> list[Path]:
    names = [name for name in path.split("/") if name and name != ".."]
    return [base.joinpath(*names[:depth]) for depth in range(len(names) + 1)]


def _quota_v2(folder: Path) -> float:
    fields = _read(folder / "cpu.max").split()
    if len(fields) == 2 and fields[0] != "max":
        return _ratio(fields[0], fields[1])
    return float("inf")


def _quota_v1(folder: Path) -> float:
    return _ratio(_read(folder / "cpu.cfs_quota_us").strip(), _read(folder / "cpu.cfs_period_us").strip())


def _ratio(quota: str, period: str) -> float:
    try:
        allowed, every = int(quota), int(period)
    except ValueError:
        return float("inf")
    return allowed / every if allowed > 0 and every > 0 else float("inf")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
