"""The embedded index against the disk: crashes, locks, mismatches, damage, HNSW builds in the background."""

from __future__ import annotations

import filecmp
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import numpy as np
import pytest

from retrieval.index import open_index, shard
from retrieval.index.edge import EdgeIndex
from strongroom.access import AccessFilter
from strongroom.errors import ConfigError, IndexMismatchError, IndexUnreachableError, LockedError
from strongroom.ports import IndexPoint, IndexQuery

DIMENSION = 64
ANN = AccessFilter(frozenset({"user:ann"}))
ROOT = Path(__file__).resolve().parents[2]


def points(count: int, *, seed: int = 0, version: str = "v") -> list[IndexPoint]:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(count, DIMENSION)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return [
        IndexPoint(
            str(uuid.UUID(int=seed << 64 | n)), v, f"word{n % 97} word{n % 89}", "d", version, "c", ("user:ann",)
        )
        for n, v in enumerate(vectors)
    ]


def top(index: EdgeIndex, point: IndexPoint) -> str:
    return index.search(IndexQuery(point.dense, ""), ANN, 1)[0].chunk_id


WRITER = """
import sys, time
from pathlib import Path
from retrieval.index.edge import EdgeIndex
from tests.integration.test_retrieval_index_edge import points
index = EdgeIndex(Path(sys.argv[1]), 64)
index.upsert(points(700))
index.flush()
print("flushed", flush=True)
while True:
    index.upsert(points(50, seed=9))
"""


def test_what_was_flushed_survives_kill_9(tmp_path: Path) -> None:
    # GIVEN a process that flushed 700 points and goes on writing
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "index")], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    assert writer.stdout.readline().strip() == "flushed"
    time.sleep(0.2)
    # AND whose index nobody else can open
    with pytest.raises(LockedError):
        EdgeIndex(tmp_path / "index", DIMENSION)
    # WHEN it is killed
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    # THEN every flushed point is there with its vector and can be found
    index = EdgeIndex(tmp_path / "index", DIMENSION)
    expected = points(700)
    assert {p.id for p in expected} <= index.all_points().keys()
    stored = index.vectors([p.id for p in expected])
    assert all(float(stored[p.id] @ p.dense) > 0.9999 for p in expected)
    assert top(index, expected[123]) == expected[123].id
    index.close()


def test_a_full_disk_is_an_error_and_what_was_stored_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = EdgeIndex(tmp_path / "index", DIMENSION)
    index.upsert(points(3))
    index.flush()
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=1 << 20))
    with pytest.raises(IndexUnreachableError, match=r"full: less than 64 MiB"):
        index.upsert(points(5))
    with pytest.raises(IndexUnreachableError, match=r"full: less than 64 MiB"):
        EdgeIndex(tmp_path / "other", DIMENSION)
    assert index.count() == 3
    index.close()


def test_another_embedder_or_encoding_is_refused_and_reindex_may_replace_it(tmp_path: Path) -> None:
    index = EdgeIndex(tmp_path, DIMENSION)
    index.upsert(points(3))
    index.close()
    with pytest.raises(IndexMismatchError, match="dimension"):
        EdgeIndex(tmp_path, 32)
    state = json.loads((tmp_path / "active.json").read_text())
    (tmp_path / "active.json").write_text(json.dumps(state | {"sparse encoding": "older"}))
    with pytest.raises(IndexMismatchError, match="sparse encoding"):
        EdgeIndex(tmp_path, DIMENSION)
    replaced = EdgeIndex(tmp_path, DIMENSION, replace_mismatched=True)
    assert replaced.count() == 0
    replaced.close()
    assert len([p for p in tmp_path.iterdir() if p.is_dir()]) == 1


@pytest.mark.parametrize("damage", ["state", "shard", "file in the way"])
def test_damage_is_reported_as_unreachable_with_a_hint(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "index"
    index = EdgeIndex(path, DIMENSION)
    index.upsert(points(3))
    index.close()
    (shard,) = (p for p in path.iterdir() if p.is_dir())
    if damage == "state":
        (path / "active.json").write_text("{")
    elif damage == "shard":
        (shard / "edge_config.json").write_text("nonsense")
        for file in (shard / "segments").rglob("*.json"):
            file.write_text("nonsense")
    else:
        path = tmp_path / "plain-file"
        path.write_text("not a directory")
    with pytest.raises(IndexUnreachableError) as caught:
        EdgeIndex(path, DIMENSION)
    assert caught.value.hint
    assert str(path) in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_unwritable_directory(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(IndexUnreachableError):
        EdgeIndex(tmp_path / "index", DIMENSION)


def test_leftovers_of_a_crashed_build_are_removed_and_strangers_kept(tmp_path: Path) -> None:
    index = EdgeIndex(tmp_path, DIMENSION)
    index.upsert(points(3))
    index.close()
    (tmp_path / "shard-0123456789ab").mkdir()
    (tmp_path / ".active.json.12345678").write_text("{")
    (tmp_path / "notes.txt").write_text("somebody's")
    index = EdgeIndex(tmp_path, DIMENSION)
    assert index.count() == 3
    index.close()
    names = {p.name for p in tmp_path.iterdir()}
    assert "shard-0123456789ab" not in names
    assert ".active.json.12345678" not in names
    assert "notes.txt" in names


def test_clear_deletes_the_old_files(tmp_path: Path) -> None:
    index = EdgeIndex(tmp_path, DIMENSION)
    index.upsert(points(3))
    before = {p.name for p in tmp_path.iterdir() if p.is_dir()}
    index.clear()
    assert not before & {p.name for p in tmp_path.iterdir()}
    index.close()


def test_factory_wants_exactly_one_place(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        open_index(dimension=4)
    with pytest.raises(ConfigError):
        open_index(dimension=4, path=tmp_path, url="http://127.0.0.1:6333")
    index = open_index(dimension=4, path=tmp_path / "index")
    assert index.count() == 0
    index.close()


class TestBackgroundBuild:
    """A child process builds HNSW in a copy; the index answers and takes writes meanwhile."""

    def _built(self, index: EdgeIndex, wait: float = 120.0) -> bool:
        builder = index._builder
        if builder is not None:
            builder.join(wait)
            return not builder.is_alive()
        return False

    def test_writes_during_a_build_are_kept(self, tmp_path: Path) -> None:
        # GIVEN an index with enough points for a build
        index = EdgeIndex(tmp_path, DIMENSION, build_at=500)
        first = points(2_000)
        index.upsert(first)
        shard = json.loads((tmp_path / "active.json").read_text())["shard"]
        # WHEN a flush starts the build, and points are added, changed and deleted before it ends
        index.flush()
        assert index._builder is not None
        added = points(40, seed=1, version="added")
        index.upsert(added)
        index.delete_versions(["unknown"])
        index.set_access("d", ["user:ann", "user:bob"], [])
        assert top(index, added[7]) == added[7].id
        assert self._built(index)
        # THEN the built copy is in use, holds everything, and only it is left on disk
        state = json.loads((tmp_path / "active.json").read_text())
        assert state["shard"] != shard
        assert [p.name for p in tmp_path.iterdir() if p.is_dir()] == [state["shard"]]
        assert index.all_points() == {p.id: p.version_id for p in [*first, *added]}
        assert top(index, added[7]) == added[7].id
        assert index.search(IndexQuery(first[0].dense, "word1"), AccessFilter(frozenset({"user:bob"})), 1)
        # AND it opens again, and does not build over and over what the engine will not index
        index.close()
        again = EdgeIndex(tmp_path, DIMENSION, build_at=500)
        assert again.count() == 2_040
        again.flush()
        assert again._builder is None
        again.close()

    def test_storing_waits_for_a_build_that_falls_behind(self, tmp_path: Path) -> None:
        # GIVEN a build that runs, WHEN more is stored than may be held in memory meanwhile
        index = EdgeIndex(tmp_path, DIMENSION, build_at=500)
        first, more = points(600), points(2_000, seed=1, version="more")
        index.upsert(first)
        index.flush()
        builder = index._builder
        assert builder is not None
        assert builder.is_alive()
        index.upsert(more)
        # THEN it ended before all of that was stored, and nothing is missing
        assert not builder.is_alive()
        assert index.all_points() == {p.id: p.version_id for p in [*first, *more]}
        index.close()

    def test_killed_build_leaves_the_index_as_it_was(self, tmp_path: Path) -> None:
        index = EdgeIndex(tmp_path, DIMENSION, build_at=500)
        index.upsert(points(600))
        index.flush()
        assert index._child is not None
        index._child.kill()
        assert self._built(index)
        assert index.count() == 600
        assert len([p for p in tmp_path.iterdir() if p.is_dir()]) == 1
        index.upsert(points(10, seed=3))
        index.flush()  # not tried again in this session
        index.close()
        reopened = EdgeIndex(tmp_path, DIMENSION)
        assert reopened.count() == 610
        reopened.close()

    def test_no_room_for_a_copy_is_no_failed_flush(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*args: object, **kwargs: object) -> None:
            raise OSError(28, "No space left on device")

        index = EdgeIndex(tmp_path, DIMENSION, build_at=500)
        index.upsert(points(600))
        monkeypatch.setattr("retrieval.index.edge.shutil.copytree", full)
        index.flush()
        assert index._builder is None
        assert top(index, points(600)[5]) == points(600)[5].id
        index.close()

    def test_close_and_clear_abandon_a_running_build(self, tmp_path: Path) -> None:
        index = EdgeIndex(tmp_path / "a", DIMENSION, build_at=500, patience=0.0)
        index.upsert(points(600))
        index.flush()
        index.close()
        assert len([p for p in (tmp_path / "a").iterdir() if p.is_dir()]) == 1
        reopened = EdgeIndex(tmp_path / "a", DIMENSION)
        assert reopened.count() == 600
        reopened.close()

        other = EdgeIndex(tmp_path / "b", DIMENSION, build_at=500)
        other.upsert(points(600))
        other.flush()
        other.clear()
        assert other.count() == 0
        other.close()
        assert len([p for p in (tmp_path / "b").iterdir() if p.is_dir()]) == 1


def test_holes_of_a_copied_shard_stay_holes(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    (old / "segments").mkdir(parents=True)
    with (old / "segments" / "page").open("wb") as page:
        page.write(b"head")
        page.seek(4 << 20)
        page.write(b"middle")
        page.truncate(8 << 20)
    (old / "segments" / "hole").open("wb").truncate(8 << 20)
    (old / "empty").touch(mode=0o600)
    shard.copy(old, new)
    for name in ("segments/page", "segments/hole", "empty"):
        assert filecmp.cmp(old / name, new / name, shallow=False)
        assert (new / name).stat().st_blocks * 512 < 1 << 20
    assert (new / "empty").stat().st_mode & 0o777 == 0o600


def holds(folder: Path, needle: bytes) -> list[str]:
    """Files below `folder` in which `needle` stands."""
    return [p.name for p in folder.rglob("*") if p.is_file() and needle in p.read_bytes()]


def test_a_deleted_vector_is_gone_from_the_files_after_compacting(tmp_path: Path) -> None:
    # GIVEN points of two documents' versions, on disk
    index = EdgeIndex(tmp_path, DIMENSION)
    kept, secret = points(300, version="kept"), points(5, seed=3, version="secret")
    index.upsert(kept)
    index.upsert(secret)
    index.flush()
    canary = secret[2].dense[:6].tobytes()
    assert holds(tmp_path, canary)
    # WHEN one is deleted, THEN the engine alone leaves its vectors where they are
    index.delete_versions(["secret"])
    index.flush()
    assert holds(tmp_path, canary)
    # AND compacting takes them out, while everything else stays findable
    assert index.compact(patience=60)
    assert holds(tmp_path, canary) == []
    assert holds(tmp_path, kept[7].dense[:6].tobytes())
    assert index.count() == 300
    assert top(index, kept[7]) == kept[7].id
    index.close()
    reopened = EdgeIndex(tmp_path, DIMENSION)
    assert reopened.count() == 300
    assert reopened.compact(patience=60)
    reopened.close()


def test_a_deletion_while_the_files_are_rewritten_is_rewritten_too(tmp_path: Path) -> None:
    index = EdgeIndex(tmp_path, DIMENSION)
    index.upsert(points(400, version="kept"))
    first, second = points(5, seed=3, version="first"), points(5, seed=4, version="second")
    index.upsert([*first, *second])
    index.flush()
    index.delete_versions(["first"])
    index.compact()
    # WHEN another version is deleted while the first rewriting runs
    index.delete_versions(["second"])
    assert index.compact(patience=60)
    # THEN neither is left
    assert holds(tmp_path, first[0].dense[:6].tobytes()) == []
    assert holds(tmp_path, second[0].dense[:6].tobytes()) == []
    assert index.count() == 400
    index.close()


def test_a_rewriting_that_was_broken_off_is_taken_up_at_the_next_flush(tmp_path: Path) -> None:
    # GIVEN a session that ends before the rewriting does
    index = EdgeIndex(tmp_path, DIMENSION, patience=0)
    index.upsert(points(100, version="kept"))
    secret = points(3, seed=3, version="secret")
    index.upsert(secret)
    index.flush()
    index.delete_versions(["secret"])
    assert not index.compact()
    index.close()
    # WHEN the next one flushes and waits at its end
    index = EdgeIndex(tmp_path, DIMENSION)
    index.flush()
    index.close()
    # THEN it was done
    assert holds(tmp_path, secret[0].dense[:6].tobytes()) == []
