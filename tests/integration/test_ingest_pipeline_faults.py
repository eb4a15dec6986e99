"""Fault injection after SQLite's way: the n-th call of a part fails, for n = 1, 2, 3 … until a run gets through.

After each failure nothing half done may be visible, and a run without faults must reach the same state as one that was
never disturbed. Each call is made to fail both before it does anything and after it has done everything.
"""

from __future__ import annotations

import errno
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from ingest.work import PipelineSettings
from strongroom.errors import IndexUnreachableError, StrongroomError
from strongroom.types import SourceFile
from tests.ingest_bench import RECIPE, Bench, disagreements, faults, faults_now, ingest, listing, snapshot

ERRORS = {
    "catalog": lambda: sqlite3.OperationalError("disk I/O error"),
    "blobs": lambda: OSError(errno.ENOSPC, "No space left on device"),
    "index": lambda: IndexUnreachableError("the index does not answer", hint="Start it."),
}


class Counting:
    """A part whose n-th call fails, before or after the real call; `calls` counts them."""

    def __init__(self, real: Any, error: Any, *, fail_at: int, after: bool) -> None:
        self._real = real
        self._error = error
        self._fail_at = fail_at
        self._after = after
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            if self.calls != self._fail_at:
                return found(*args, **kwargs)
            if self._after:
                found(*args, **kwargs)
            raise self._error()

        return call


def ended_by(bench: Bench, files: list[SourceFile], **more: Any) -> StrongroomError | None:
    """The error that ended an ingest, or `None` when it got through."""
    try:
        ingest(bench, files, **more)
    except StrongroomError as error:
        return error
    return None


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, Any]]:
    """A data directory with history, the folder as it is now, and the state that an undisturbed run reaches."""
    root = tmp_path_factory.mktemp("world")
    folder, data = root / "source", root / "data"
    folder.mkdir()
    data.mkdir()
    for name in ("changed", "gone", "same", "moved", "renamed"):
        (folder / f"{name}.txt").write_text(f"{name} one\n{name} two")
    bench = Bench.open(data)
    ingest(bench, listing(folder))
    bench.close()
    (folder / "changed.txt").write_text("changed three\nchanged four\fchanged five")
    (folder / "gone.txt").unlink()
    (folder / "new.txt").write_text("new one\nnew two")
    (folder / "bad.txt").write_text("!bad")
    (folder / "sub").mkdir()
    (folder / "moved.txt").rename(folder / "sub" / "moved.txt")
    (folder / "renamed.txt").rename(folder / "called.txt")
    (folder / "copy.txt").write_text("same one\nsame two")

    shutil.copytree(data, root / "undisturbed")
    bench = Bench.open(root / "undisturbed")
    ingest(bench, listing(folder), roots=(folder.as_uri(),), prune=True)
    expected = snapshot(bench)
    assert faults(bench) == []
    bench.close()
    return data, folder, expected


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("part", ["catalog", "blobs", "index"])
def test_failure_of_any_call_is_made_good_by_the_next_run(
    world: tuple[Path, Path, dict[str, Any]], tmp_path: Path, part: str, after: bool
) -> None:
    data, folder, expected = world
    more = {"roots": (folder.as_uri(),), "prune": True}
    for fail_at in range(1, 200):
        # GIVEN a copy of the data directory, and a part whose n-th call fails
        here = tmp_path / f"{fail_at}"
        shutil.copytree(data, here)
        bench = Bench.open(here)
        bench.settings = PipelineSettings(recipe=RECIPE, embed_weight=3)
        broken: list[Counting] = []

        def wrap(name: str, real: Any, fail_at: int = fail_at, broken: list[Counting] = broken) -> Any:
            if name != part:
                return real
            broken.append(Counting(real, ERRORS[part], fail_at=fail_at, after=after))
            return broken[0]

        bench.wrap = wrap

        # WHEN an ingest meets it, THEN the run ends with an error that says what to do, and nothing half done shows
        error = ended_by(bench, listing(folder), **more)
        assert (error is not None) == (broken[0].calls >= fail_at), f"call {fail_at} failed unnoticed"
        assert error is None or error.hint
        assert faults_now(bench) == [], f"call {fail_at}"

        # WHEN the process starts anew and runs again, THEN the state is the undisturbed one
        bench.index.close()
        bench.catalog.close()
        bench = Bench.open(here)
        ingest(bench, listing(folder), **more)
        assert faults(bench) == [], f"call {fail_at}"
        assert disagreements(snapshot(bench), expected) == [], f"call {fail_at}"
        bench.close()
        shutil.rmtree(here)
        if error is None:
            break
    else:
        pytest.fail("no run got through")
    assert fail_at > 3
