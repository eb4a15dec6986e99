"""Kill -9 at seeded moments of an ingest, go on, and compare with a run that nobody disturbed.

The 20-kill version with the real parsers, embedder and index is `tests/campaigns/kill_ingest.py`.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.ingest_bench import Bench, disagreements, faults, faults_now, ingest, listing, snapshot
from tests.kill_child import open_bench

KILLS = 4
ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve files as they were first ingested; `change` makes them what the killed runs find."""
    path = tmp_path / "source"
    path.mkdir()
    for i in range(12):
        (path / f"f{i:02}.txt").write_text("\n".join(f"file {i} line {j} on subject{i * 7 + j}" for j in range(5)))
    return path


def change(folder: Path) -> None:
    for i in range(0, 12, 3):
        (folder / f"f{i:02}.txt").write_text("\f".join(f"file {i} second edition, page {j}" for j in range(6)))
    (folder / "f01.txt").unlink()
    for i in range(20, 34):
        (folder / f"f{i:02}.txt").write_text("\n".join(f"file {i} line {j} is new here" for j in range(4)))
    (folder / "bad.txt").write_text("!bad")


def start(data: Path, folder: Path, kind: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.kill_child", str(data), str(folder), kind]
    return subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT)


def read_dots(process: subprocess.Popen[bytes], count: int) -> bytes:
    """Read up to `count` bytes of what the child tells, fewer when it ends."""
    assert process.stdout is not None
    told = b""
    while len(told) < count and (more := process.stdout.read(1)):
        told += more
    return told


@pytest.mark.parametrize(("kind", "seed"), [("file", 20261101), ("edge", 20261102)])
def test_killed_ingest_goes_on_to_the_undisturbed_state(tmp_path: Path, folder: Path, kind: str, seed: int) -> None:
    # GIVEN a data directory with a first edition of the folder, and the state that an undisturbed run reaches
    dice = random.Random(seed)
    data, undisturbed = tmp_path / "data", tmp_path / "undisturbed"
    data.mkdir()
    first = open_bench(data, kind)
    ingest(first, listing(folder))
    first.close()
    shutil.copytree(data, undisturbed)
    change(folder)
    calm = open_bench(undisturbed, kind)
    ingest(calm, listing(folder), roots=(folder.as_uri(),), prune=True)
    expected = snapshot(calm)
    calm.close()

    # WHEN the same run is killed again and again, at moments that nobody chose
    killed = 0
    for _ in range(KILLS):
        process = start(data, folder, kind)
        told = read_dots(process, dice.randint(4, 110))
        time.sleep(dice.uniform(0, 0.004))
        process.kill()
        process.communicate()
        killed += process.returncode == -9 and b"whole" not in told
        look(data, kind)
    assert killed == KILLS

    # THEN the next run completes it: same documents, same chunks, same vectors, every store agrees
    last = start(data, folder, kind)
    assert last.communicate(timeout=60)[0].endswith(b"whole")
    bench = open_bench(data, kind)
    assert faults(bench) == []
    assert disagreements(snapshot(bench), expected) == []
    assert bench.index.count() == sum(len(d["texts"]) for d in expected.values())
    bench.close()


def look(data: Path, kind: str) -> None:
    """After a kill: whatever answers questions now is whole."""
    bench: Bench = open_bench(data, kind)
    assert faults_now(bench) == []
    bench.close()
