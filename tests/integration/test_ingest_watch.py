"""Watching folders: real inotify, a real catalogue, fake parsers; waits are bounded and short."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ingest import watch
from ingest.discover import discover, file_uri, rediscover
from ingest.watch import Changes, follow
from strongroom.app.appliance import Appliance
from strongroom.app.watching import Watching
from strongroom.config import Settings
from strongroom.errors import IndexUnreachableError, NotPermittedError, UsageError
from strongroom.types import FileOutcome, IngestRequest, IngestSummary, SourceFile, Watch
from tests.fakes import FakeModels
from tests.ingest_bench import Bench, faults

WAIT_S = 60.0


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class BenchEngine:
    """As much of an engine as following a folder takes."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.pipeline = bench.pipeline()

    def ingest(self, request: IngestRequest, **more: Any) -> IngestSummary:
        roots = tuple(file_uri(path) for path in request.paths)
        return self.ingest_files(discover(request.paths), request.options(roots), **more)

    def ingest_files(self, files: Any, options: Any, **more: Any) -> IngestSummary:
        return self.pipeline.run(files, options, **more)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    (tmp_path / "data").mkdir()
    opened = Bench.open(tmp_path / "data")
    yield opened
    opened.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "watched"
    path.mkdir()
    (path / "stays.txt").write_text("this one stays")
    return path


@contextmanager
def watching(bench: Bench, folder: Path, **options: Any) -> Iterator[list[FileOutcome]]:
    """Follow a folder in a thread; yields the outcomes but for `unchanged`."""
    happened: list[FileOutcome] = []
    stop, started = threading.Event(), threading.Event()
    trouble: list[BaseException] = []
    poll = options.pop("poll", None)

    def on_event(event: Any) -> None:
        if isinstance(event, FileOutcome) and event.outcome != "unchanged":
            happened.append(event)

    def body() -> None:
        try:
            follow(
                BenchEngine(bench),  # type: ignore[arg-type]
                IngestRequest((str(folder),), **options),
                on_event=on_event,
                on_summary=lambda _summary: started.set(),
                stop=stop,
                max_bytes=1 << 30,
                poll=poll,
                settle=0.3,
            )
        except BaseException as exc:  # shown by the test
            trouble.append(exc)
            started.set()

    thread = threading.Thread(target=body)
    thread.start()
    try:
        assert started.wait(WAIT_S)
        yield happened
    finally:
        stop.set()
        thread.join()
    assert trouble == []


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def documents(bench: Bench) -> dict[str, str]:
    place = bench.catalog.collection("default").id
    return {uri.rsplit("/", 1)[1]: document_id for document_id, uri in bench.catalog.sources(place)}


def test_additions_changes_renames_and_deletions_are_followed(bench: Bench, folder: Path) -> None:
    with watching(bench, folder, prune=True) as happened:
        assert [(Path(o.path).name, o.outcome) for o in happened] == [("stays.txt", "indexed")]

        # a new file in a new folder
        (folder / "new").mkdir()
        (folder / "new" / "a.txt").write_text("words of a")
        until(lambda: "a.txt" in documents(bench))
        document_id = documents(bench)["a.txt"]

        # renamed, and then its folder: the same document
        (folder / "new" / "a.txt").rename(folder / "new" / "b.txt")
        until(lambda: documents(bench).get("b.txt") == document_id)
        (folder / "new").rename(folder / "old")
        until(lambda: happened[-1].path == str(folder / "old" / "b.txt"))
        assert documents(bench)["b.txt"] == document_id

        # changed in place, by a program that replaces the file
        (folder / "old" / "tmp").write_text("words of b")
        (folder / "old" / "tmp").replace(folder / "old" / "b.txt")
        until(lambda: happened[-1].outcome == "indexed" and happened[-1].path.endswith("b.txt"))
        assert documents(bench)["b.txt"] == document_id

        # deleted
        (folder / "old" / "b.txt").unlink()
        until(lambda: "b.txt" not in documents(bench))
        assert happened[-1].outcome == "removed"
    assert documents(bench).keys() == {"stays.txt"}
    assert faults(bench) == []


def test_what_happened_while_nobody_watched_is_made_good_at_the_start(bench: Bench, folder: Path) -> None:
    with watching(bench, folder):
        pass
    before = documents(bench)
    (folder / "stays.txt").rename(folder / "moved.txt")
    (folder / "new.txt").write_text("new words")
    with watching(bench, folder) as happened:
        assert {Path(o.path).name: o.outcome for o in happened} == {"moved.txt": "moved", "new.txt": "indexed"}
    assert documents(bench)["moved.txt"] == before["stays.txt"]


def test_a_burst_of_thousands_ends_in_step(bench: Bench, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "MANY_EVENTS", 500)
    with watching(bench, folder):
        for i in range(300):
            (folder / f"{i:03}.txt").write_text(f"file number {i % 20}")
        until(lambda: len(documents(bench)) == 301)
    assert len(set(bench.parsed)) <= 22
    assert faults(bench) == []


def test_polling_needs_no_events(bench: Bench, folder: Path) -> None:
    with watching(bench, folder, poll=0.5):
        (folder / "a.txt").write_text("words of a")
        until(lambda: "a.txt" in documents(bench))


def test_a_folder_that_goes_away_and_comes_back_is_watched_again(bench: Bench, folder: Path) -> None:
    with watching(bench, folder, prune=True):
        away = folder.with_name("away")
        folder.rename(away)
        time.sleep(1.5)
        assert documents(bench).keys() == {"stays.txt"}  # a root that is missing removes nothing
        away.rename(folder)
        time.sleep(0.5)
        (folder / "a.txt").write_text("words of a")
        until(lambda: "a.txt" in documents(bench))


def test_where_the_kernel_has_no_watches_left_it_polls_and_says_so(
    bench: Bench, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from watchdog.observers import Observer

    def full(_self: Any, *_args: Any, **_more: Any) -> None:
        raise OSError(28, "inotify watch limit reached")

    monkeypatch.setattr(Observer, "schedule", full)
    monkeypatch.setattr(watch, "POLL_S", 0.5)
    with watching(bench, folder):
        (folder / "a.txt").write_text("words of a")
        until(lambda: "a.txt" in documents(bench))
    assert "max_user_watches" in caplog.text


# ------------------------------------------------------------------------------------------------ parts


def test_a_path_is_taken_when_it_is_quiet_and_has_stopped_growing(tmp_path: Path) -> None:
    clock = Clock()
    changes = Changes(settle=2.0, clock=clock)
    path = tmp_path / "growing"
    path.write_text("a")
    changes.add([str(path)])
    assert changes.take() == ()
    clock.now = 2.5
    assert changes.take() == ()  # quiet, but looked at for the first time
    path.write_text("ab")  # written in a way that makes no event
    clock.now = 4.0
    assert changes.take() == ()
    clock.now = 5.5
    assert changes.take() == (str(path),)
    assert changes.take() == ()


def test_a_file_that_never_rests_is_taken_after_a_minute(tmp_path: Path) -> None:
    clock = Clock()
    changes = Changes(settle=2.0, clock=clock)
    while clock.now <= watch.LONGEST_S:
        changes.add([str(tmp_path / "log")])
        assert changes.take() == ()
        clock.now += 1
    changes.add([str(tmp_path / "log")])
    assert changes.take() == (str(tmp_path / "log"),)


def test_more_events_than_can_be_trusted_mean_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "MANY_EVENTS", 10)
    changes = Changes()
    for i in range(12):
        changes.add([f"/{i % 3}"])
    assert changes.take() is None
    assert changes.take() == ()


def test_only_what_a_whole_walk_would_yield_is_discovered_again(tmp_path: Path) -> None:
    for name in ("a.txt", "in/b.txt", ".hidden/c.txt", "in/.d.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    changed = [str(tmp_path / n) for n in ("in", ".hidden/c.txt", "in/.d.txt", "gone.txt")] + ["/elsewhere"]
    found = list(rediscover([tmp_path], changed))
    assert [f.name for f in found if isinstance(f, SourceFile)] == ["b.txt"]
    whole = {f for f in discover([tmp_path]) if isinstance(f, SourceFile)}
    assert {f for f in found if isinstance(f, SourceFile)} <= whole


def test_a_look_at_some_paths_reports_nothing_else_as_vanished(bench: Bench, folder: Path) -> None:
    engine = BenchEngine(bench)
    (folder / "a.txt").write_text("words of a")
    request = IngestRequest((str(folder),))
    engine.ingest(request, on_event=lambda _event: None)
    (folder / "a.txt").unlink()
    (folder / "stays.txt").unlink()
    outcomes: list[Any] = []
    roots = (file_uri(str(folder)),)
    options = replace(request.options(roots), within=(file_uri(str(folder / "a.txt")),))
    engine.ingest_files([], options, on_event=outcomes.append)
    assert [Path(o.path).name for o in outcomes if isinstance(o, FileOutcome)] == ["a.txt"]


# ------------------------------------------------------------------------------------------------ watches of a server


@contextmanager
def appliance_over(data: Path) -> Iterator[Appliance]:
    opened = Appliance(Settings(data_dir=data, answer_style="exact"), purpose="test", models=FakeModels())
    try:
        yield opened
    finally:
        opened.close()


def test_a_server_takes_its_watches_up_again_when_it_starts(tmp_path: Path, folder: Path) -> None:
    # GIVEN a watch that was added while no server ran
    with appliance_over(tmp_path / "data") as one:
        added = one.as_user("local").add_watch(Watch(paths=(str(folder),), prune=True))
        assert added.state == "waits for a server"
        assert one.as_user("local").documents() == []

    # WHEN a server starts, THEN it follows the folder
    with appliance_over(tmp_path / "data") as two:
        engine = two.as_user("local")
        two.follow_folders()
        until(lambda: [d.name for d in engine.documents()] == ["stays.txt"])
        until(lambda: engine.watches()[0].state == "in step")
        (folder / "later.txt").write_text("later words")
        until(lambda: {d.name for d in engine.documents()} == {"stays.txt", "later.txt"})
        engine.remove_watch(added.id)
    with appliance_over(tmp_path / "data") as three:
        assert three.as_user("local").watches() == []


def test_a_watch_in_trouble_says_so_and_tries_again(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with appliance_over(tmp_path / "data") as appliance:
        engine = appliance.as_user("local")
        broken = threading.Event()
        broken.set()
        run = appliance.pipeline.run

        def unreachable(*args: Any, **more: Any) -> Any:
            if broken.is_set():
                raise IndexUnreachableError("the index does not answer")
            return run(*args, **more)

        monkeypatch.setattr(appliance.pipeline, "run", unreachable)
        appliance.watching = Watching(appliance, again=0.3)
        appliance.follow_folders()
        engine.add_watch(Watch(paths=(str(folder),)))
        until(lambda: "the index does not answer" in engine.watches()[0].state)
        broken.clear()
        until(lambda: engine.watches()[0].state == "in step")


def test_only_administrators_watch_folders_of_the_machine(tmp_path: Path, folder: Path) -> None:
    with appliance_over(tmp_path / "data") as appliance:
        appliance.catalog.ensure_user("eve", "editor")
        eve = appliance.as_user("eve")
        with pytest.raises(NotPermittedError):
            eve.add_watch(Watch(paths=(str(folder),)))
        with pytest.raises(NotPermittedError):
            eve.watches()
        with pytest.raises(UsageError):
            appliance.as_user("local").add_watch(Watch(paths=("relative",)))
