"""The pipeline's promises, one by one, on a real catalogue with fake parsers, embedder and index."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingest.dense import NAME_WEIGHT
from ingest.finish import remove_versions
from ingest.work import PipelineSettings
from strongroom.errors import (
    TRIED_AGAIN,
    CancelledError,
    IndexUnreachableError,
    LockedError,
    ModelError,
    StrongroomError,
)
from strongroom.types import (
    DocumentState,
    FileOutcome,
    IngestEvent,
    IngestOptions,
    IngestProgress,
    IngestSummary,
    SourceFile,
)
from tests.fakes import FakeEmbedder
from tests.ingest_bench import (
    RECIPE,
    Bench,
    FileIndex,
    ThreadPool,
    faults,
    faults_now,
    ingest,
    keys_of_nothing,
    listing,
    parse,
    snapshot,
    source,
)


@pytest.fixture(scope="module")
def empty_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty data directory to copy: making one takes longer than most tests here."""
    root = tmp_path_factory.mktemp("template") / "data"
    root.mkdir()
    Bench.open(root).close()
    return root


@pytest.fixture
def data(empty_data: Path, tmp_path: Path) -> Path:
    shutil.copytree(empty_data, tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def bench(data: Path) -> Iterator[Bench]:
    opened = Bench.open(data)
    yield opened
    opened.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.mkdir()
    return path


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def write_many(folder: Path, count: int, lines: int = 3) -> None:
    for i in range(count):
        write(folder, f"f{i:03}.txt", "\n".join(f"file {i} line {j} speaks of topic{i * 31 + j}" for j in range(lines)))


class Hooked:
    """A part whose chosen methods are wrapped: `hooks[name](real, *args)` runs in place of the method."""

    def __init__(self, real: Any, **hooks: Callable[..., Any]) -> None:
        self._real = real
        self._hooks = hooks

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        if name not in self._hooks:
            return found
        return lambda *args, **kwargs: self._hooks[name](found, *args, **kwargs)


def hook(bench: Bench, part: str, **hooks: Callable[..., Any]) -> None:
    bench.wrap = lambda name, real: Hooked(real, **hooks) if name == part else real


def chunks_of(bench: Bench, path: Path) -> list[str]:
    known = bench.catalog.find(bench.catalog.collection("default").id, path.as_uri())
    assert known is not None
    return [c.text for c in bench.catalog.point_sources(known.version_id)]


# ------------------------------------------------------------------------------------------------ outcomes


def test_each_file_ends_in_one_outcome_and_bad_ones_do_not_stop_the_run(bench: Bench, folder: Path) -> None:
    # GIVEN good files, every kind of trouble, and an entry that the listing passed over
    write(folder, "a.txt", "first page\fsecond page\nmore")
    write(folder, "b.txt", "!bad")
    write(folder, "c.txt", "!locked")
    write(folder, "d.txt", "!bug")
    write(folder, "e.txt", "!empty but for this")
    write(folder, "g.txt", "last")
    gone = SourceFile(str(folder / "f.txt"), (folder / "f.txt").as_uri(), "f.txt", 3)
    passed_over = FileOutcome(str(folder / ".hidden"), "skipped", reason="hidden")

    # WHEN they are ingested
    summary, outcomes = ingest(bench, [*listing(folder), gone, passed_over])

    # THEN each has its own end, with a reason where it did not go well
    assert {name: o.outcome for name, o in outcomes.items()} == {
        "a.txt": "indexed",
        "b.txt": "failed",
        "c.txt": "quarantined",
        "d.txt": "failed",
        "e.txt": "failed",
        "f.txt": "failed",
        "g.txt": "indexed",
        ".hidden": "skipped",
    }
    assert (outcomes["a.txt"].pages, outcomes["a.txt"].chunks) == (2, 3)
    assert outcomes["b.txt"].reason == "The file is damaged. Ask for another copy."
    assert outcomes["c.txt"].reason == "The file is protected by a password. Remove the password."
    assert "No text" in str(outcomes["e.txt"].reason)
    assert "disappeared" in str(outcomes["f.txt"].reason)
    assert summary.outcomes == {"failed": 4, "indexed": 2, "quarantined": 1, "skipped": 1}
    assert (summary.files, summary.pages, summary.chunks, summary.partial) == (8, 3, 4, True)
    assert faults(bench) == []


def test_defect_is_logged_without_words_of_the_document(
    bench: Bench, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(folder, "d.txt", "!bug secret words")
    with caplog.at_level(logging.DEBUG):
        _, outcomes = ingest(bench, listing(folder))
    assert "ZeroDivisionError: this is a defect" in str(outcomes["d.txt"].reason)
    assert "secret words" not in str(outcomes["d.txt"].reason)
    assert "ingest_bench.py" in caplog.text  # the stack is there
    assert "secret words" not in caplog.text


def test_unchanged_files_are_neither_parsed_nor_embedded(bench: Bench, folder: Path) -> None:
    write_many(folder, 5)
    ingest(bench, listing(folder))
    before, calls = snapshot(bench), len(bench.embedder.calls)

    summary, outcomes = ingest(bench, listing(folder))

    assert summary.outcomes == {"unchanged": 5}
    assert (summary.pages, summary.chunks) == (0, 0)
    assert outcomes["f000.txt"].chunks == 3
    assert len(bench.parsed) == 5
    assert len(bench.pools) == 1  # the second run started no parser
    assert len(bench.embedder.calls) == calls
    assert snapshot(bench).keys() == before.keys()


def test_failures_come_back_with_their_reason_unless_a_retry_is_asked_for(bench: Bench, folder: Path) -> None:
    write(folder, "b.txt", "!bad")
    write(folder, "c.txt", "!locked")
    _, first = ingest(bench, listing(folder))
    _, second = ingest(bench, listing(folder))
    assert second == first
    assert len(bench.parsed) == 2
    _, third = ingest(bench, listing(folder), retry=True)
    assert third == first
    assert len(bench.parsed) == 4


def test_failure_that_is_not_the_contents_fault_is_tried_again(bench: Bench, folder: Path) -> None:
    write(folder, "d.txt", "!bug")
    _, first = ingest(bench, listing(folder))
    assert str(first["d.txt"].reason).endswith(TRIED_AGAIN)
    ingest(bench, listing(folder))
    assert len(bench.parsed) == 2


def test_mended_file_is_indexed(bench: Bench, folder: Path) -> None:
    path = write(folder, "a.txt", "!bad")
    ingest(bench, listing(folder))
    write(folder, "a.txt", "now it reads well")
    _, outcomes = ingest(bench, listing(folder))
    assert outcomes["a.txt"].outcome == "indexed"
    assert chunks_of(bench, path) == ["now it reads well"]
    assert faults(bench) == []


def test_another_recipe_parses_again(data: Path, folder: Path) -> None:
    write(folder, "a.txt", "one")
    bench = Bench.open(data)
    ingest(bench, listing(folder))
    bench.settings = PipelineSettings(recipe=RECIPE + "-next")
    _, outcomes = ingest(bench, listing(folder))
    assert outcomes["a.txt"].outcome == "indexed"
    assert faults(bench) == []
    bench.close()


def test_another_ocr_mode_reads_again_only_when_a_run_asks_for_it(data: Path, folder: Path) -> None:
    # GIVEN a file that was read with OCR by need
    path = write(folder, "a.txt", "one")
    offer = [(path.as_uri(), hashlib.sha256(path.read_bytes()).hexdigest())]
    bench = Bench.open(data)
    bench.settings = PipelineSettings(recipe=f"{RECIPE}/ocr-auto")
    pipeline = bench.pipeline()
    ingest(bench, listing(folder), pipeline=pipeline)
    # WHEN runs ask for all pages by OCR, once dry, twice in earnest, THEN the first of those reads it again
    assert pipeline.settled(offer, collection="default", ocr="always") == {}
    for options, expected in (
        ({"ocr": "always", "dry_run": True}, "Would be read again: read by another parser version."),
        ({"ocr": "always"}, "indexed"),
        ({"ocr": "always"}, "unchanged"),
        # THEN a run that asks for nothing takes it as it is, and one that asks for the old mode goes back
        ({}, "unchanged"),
        ({"ocr": "auto"}, "indexed"),
    ):
        _, outcomes = ingest(bench, listing(folder), pipeline=pipeline, **options)
        found = outcomes["a.txt"]
        assert (found.reason or found.outcome) == expected
    assert bench.ocr_modes == [None, "always", "auto"]
    # AND neither does a run whose configuration names another mode
    bench.settings = PipelineSettings(recipe=f"{RECIPE}/ocr-never")
    _, outcomes = ingest(bench, listing(folder))
    assert outcomes["a.txt"].outcome == "unchanged"
    assert faults(bench) == []
    bench.close()


def test_offers_that_need_no_work_are_known_beforehand(bench: Bench, folder: Path) -> None:
    good, bad = write(folder, "a.txt", "one"), write(folder, "b.txt", "!bad")
    pipeline = bench.pipeline()
    offers = [(p.as_uri(), hashlib.sha256(p.read_bytes()).hexdigest()) for p in (good, bad)]
    assert pipeline.settled(offers, collection="default") == {}
    _, outcomes = ingest(bench, listing(folder), pipeline=pipeline)
    offers += [(good.as_uri() + ".other", offers[0][1])]
    found = pipeline.settled(offers, collection="default")
    assert {uri: o.outcome for uri, o in found.items()} == {good.as_uri(): "unchanged", bad.as_uri(): "failed"}
    assert found[bad.as_uri()] == outcomes["b.txt"]
    assert pipeline.settled([(good.as_uri(), "0" * 64)], collection="default") == {}


def test_same_source_twice_is_done_once(bench: Bench, folder: Path) -> None:
    path = write(folder, "a.txt", "one")
    events: list[IngestEvent] = []
    bench.pipeline().run([source(path), source(path)], IngestOptions(), on_event=events.append)
    outcomes = sorted(e.outcome for e in events if isinstance(e, FileOutcome))
    assert outcomes == ["indexed", "skipped"]
    assert bench.parsed == ["a.txt"]


def test_same_bytes_in_two_places_stay_two_documents(bench: Bench, folder: Path) -> None:
    write(folder, "a.txt", "the same words")
    write(folder, "b.txt", "the same words")
    _, outcomes = ingest(bench, listing(folder))
    assert outcomes["a.txt"].document_id != outcomes["b.txt"].document_id
    assert bench.index.count() == 2


def test_upload_is_known_by_its_uri(bench: Bench, tmp_path: Path) -> None:
    spooled = write(tmp_path, "1f3a.txt", "uploaded words")
    file = SourceFile(str(spooled), "upload:///reports/q3.txt", "q3.txt", 14)
    events: list[IngestEvent] = []
    bench.pipeline().run([file], IngestOptions(groups=("audit",)), on_event=events.append)
    outcome = next(e for e in events if isinstance(e, FileOutcome))
    assert outcome.path == "upload:///reports/q3.txt"
    sources = bench.catalog.point_sources(bench.catalog.indexed_versions()[0])
    assert sources[0].name == "q3.txt"
    document_id = sources[0].document_id
    assert "group:audit" in bench.catalog.principals_of([document_id])[document_id][0]


# ------------------------------------------------------------------------------------------------ new versions


def test_old_version_answers_until_the_new_one_is_whole(bench: Bench, folder: Path) -> None:
    # GIVEN an indexed document whose file has changed, and an index that looks at the catalogue at every write
    path = write(folder, "a.txt", "old words\nold more")
    ingest(bench, listing(folder))
    old = bench.catalog.indexed_versions()
    write(folder, "a.txt", "new words\nnew more\nnew still")
    current: list[list[str]] = []

    def watching(upsert: Callable[..., None], points: Any) -> None:
        upsert(points)
        current.append(bench.catalog.indexed_versions())

    hook(bench, "index", upsert=watching)

    # WHEN it is ingested again
    _, outcomes = ingest(bench, listing(folder))

    # THEN the old version was the current one to the end, and nothing of it is left afterwards
    assert current == [old]
    assert outcomes["a.txt"].outcome == "indexed"
    assert chunks_of(bench, path) == ["new words", "new more", "new still"]
    assert bench.index.version_points(old[0]) == set()
    assert not bench.blobs.exists(old[0])
    assert faults(bench) == []


def test_changed_file_that_fails_leaves_the_old_version_in_place(bench: Bench, folder: Path) -> None:
    write(folder, "a.txt", "old words")
    ingest(bench, listing(folder))
    old = bench.catalog.indexed_versions()
    write(folder, "a.txt", "!bad now")
    _, outcomes = ingest(bench, listing(folder))
    assert outcomes["a.txt"].outcome == "failed"
    assert bench.catalog.indexed_versions() == old
    assert faults(bench) == []


def test_file_that_changes_while_it_is_parsed_is_not_stored(bench: Bench, folder: Path) -> None:
    path = write(folder, "a.txt", "words before")

    class Touching(ThreadPool):
        def __init__(self) -> None:
            super().__init__()
            self.parse = self._parse

        def _parse(self, at: Path, mime: str) -> Any:
            done = parse(at, mime)
            at.write_text("words after, and longer")
            return done

    bench.pool_type = Touching
    _, outcomes = ingest(bench, listing(folder))
    assert outcomes["a.txt"].outcome == "failed"
    assert "changed while it was being read" in str(outcomes["a.txt"].reason)
    assert faults(bench) == []

    bench.pool_type = ThreadPool
    _, outcomes = ingest(bench, listing(folder))
    assert outcomes["a.txt"].outcome == "indexed"
    assert chunks_of(bench, path) == ["words after, and longer"]


# ------------------------------------------------------------------------------------------------ vanished, prune


def test_vanished_documents_are_reported_and_pruned_on_request(bench: Bench, folder: Path) -> None:
    # GIVEN two documents, one of which has lost its file
    write(folder, "a.txt", "stays")
    gone = write(folder, "sub/b.txt", "goes")
    roots = (folder.as_uri(),)
    ingest(bench, listing(folder), roots=roots)
    gone.unlink()

    # WHEN ingested without `prune`, THEN it is named and kept
    summary, outcomes = ingest(bench, listing(folder), roots=roots)
    assert (outcomes["b.txt"].outcome, outcomes["a.txt"].outcome) == ("vanished", "unchanged")
    assert summary.files == 1
    assert bench.index.count() == 2

    # WHEN with `prune`, THEN nothing of it is left: rows, points, original, key
    _, outcomes = ingest(bench, listing(folder), roots=roots, prune=True)
    assert outcomes["b.txt"].outcome == "removed"
    assert bench.index.count() == 1
    assert faults(bench) == []
    assert keys_of_nothing(bench) == 0


@pytest.mark.parametrize("trouble", ["below", "at", "above", "skipped folder"])
def test_nothing_is_pruned_where_the_listing_met_trouble(bench: Bench, folder: Path, trouble: str) -> None:
    root = folder / "root"
    write(root, "sub/b.txt", "still there, but unreadable")
    roots = (root.as_uri(),)
    ingest(bench, listing(root), roots=roots)
    (root / "sub" / "b.txt").unlink()
    met = {
        "below": FileOutcome(str(root / "other"), "failed", reason="permission denied"),
        "at": FileOutcome(str(root), "failed", reason="stale handle"),
        "above": FileOutcome(str(folder), "failed", reason="permission denied"),
        "skipped folder": FileOutcome(str(root / "sub"), "skipped", reason="symbolic link"),
    }[trouble]
    summary, _ = ingest(bench, [met], roots=roots, prune=True)
    assert summary.outcomes == {met.outcome: 1}
    assert bench.index.count() == 1


def test_nothing_is_pruned_when_the_root_is_missing(bench: Bench, folder: Path) -> None:
    root = folder / "mounted"
    write(root, "a.txt", "words")
    ingest(bench, listing(root), roots=(root.as_uri(),))
    shutil.rmtree(root)
    summary, _ = ingest(bench, [], roots=(root.as_uri(),), prune=True)
    assert summary.outcomes == {}
    assert bench.index.count() == 1


def test_prune_keeps_to_its_roots_and_its_collection(bench: Bench, folder: Path) -> None:
    inside, beside = write(folder, "in/a.txt", "one"), write(folder, "in-other/b.txt", "two")
    ingest(bench, listing(folder))
    ingest(bench, listing(folder), collection="second")
    inside.unlink()
    beside.unlink()
    root = folder / "in"
    summary, outcomes = ingest(bench, [], roots=(root.as_uri(),), prune=True, prune_all=True)
    assert summary.outcomes == {"removed": 1}
    assert list(outcomes) == ["a.txt"]
    assert bench.index.count() == 3


def test_root_on_another_machine_is_trusted_for_what_was_listed_below_it(bench: Bench, folder: Path) -> None:
    # GIVEN two uploads from a folder that this machine does not have
    spooled = write(folder, "1f3a", "words")
    files = [SourceFile(str(spooled), f"file:///elsewhere/{name}", name, 5) for name in ("a.txt", "b.txt")]
    roots = ("file:///elsewhere",)
    ingest(bench, files, roots=roots)

    # WHEN nothing at all is listed, THEN the folder counts as missing
    assert ingest(bench, [], roots=roots, prune=True)[0].outcomes == {}
    # WHEN one of them is, THEN the other has vanished
    _, outcomes = ingest(bench, files[:1], roots=roots, prune=True)
    assert {n: o.outcome for n, o in outcomes.items()} == {"a.txt": "unchanged", "b.txt": "removed"}


def test_trouble_under_one_root_does_not_hold_up_another(bench: Bench, folder: Path) -> None:
    write(folder, "good/a.txt", "one")
    write(folder, "ill/b.txt", "two")
    ingest(bench, listing(folder))
    (folder / "good/a.txt").unlink()
    (folder / "ill/b.txt").unlink()
    met = FileOutcome(str(folder / "ill" / "x"), "failed", reason="permission denied")
    roots = ((folder / "good").as_uri(), (folder / "ill").as_uri())
    _, outcomes = ingest(bench, [met], roots=roots, prune=True, prune_all=True)
    assert {n: o.outcome for n, o in outcomes.items()} == {"a.txt": "removed", "x": "failed"}


# ------------------------------------------------------------------------------------------------ dry run


def contents(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_dry_run_tells_and_writes_nothing(data: Path, folder: Path) -> None:
    # GIVEN documents in every state, and a point that a crash left
    write(folder, "same.txt", "one")
    write(folder, "changed.txt", "two")
    write(folder, "bad.txt", "!bad")
    gone = write(folder, "gone.txt", "three")
    bench = Bench.open(data)
    ingest(bench, listing(folder))
    write(folder, "changed.txt", "two and a half")
    write(folder, "new.txt", "four")
    gone.unlink()
    bench.catalog.store.scrub()
    before = contents(data)

    # WHEN a dry run with `prune` looks at them
    more = {"roots": (folder.as_uri(),), "prune": True, "dry_run": True}
    summary, outcomes = ingest(bench, listing(folder), **more)

    # THEN it says what would happen, and no byte of the data directory differs
    assert {name: o.outcome for name, o in outcomes.items()} == {
        "same.txt": "unchanged",
        "changed.txt": "indexed",
        "bad.txt": "failed",
        "new.txt": "indexed",
        "gone.txt": "removed",
    }
    assert outcomes["changed.txt"].reason == "Would be read again: changed."
    assert outcomes["new.txt"].reason == "Would be added."
    assert summary.dry_run
    assert contents(data) == before
    assert len(bench.parsed) == 4
    bench.close()


def test_dry_run_into_a_collection_that_does_not_exist_makes_none(bench: Bench, folder: Path) -> None:
    write(folder, "a.txt", "one")
    _, outcomes = ingest(bench, listing(folder), collection="planned", dry_run=True)
    assert outcomes["a.txt"].outcome == "indexed"
    assert bench.catalog.collections() == []


# ------------------------------------------------------------------------------------------------ ends of a run


def test_unreachable_index_ends_the_run_and_the_next_one_finishes(bench: Bench, folder: Path) -> None:
    write_many(folder, 12)
    calls = iter(range(100))

    def failing(upsert: Callable[..., None], points: Any) -> None:
        if next(calls) >= 1:
            raise IndexUnreachableError("the index is gone", hint="Start it.")
        upsert(points)

    bench.settings = PipelineSettings(recipe=RECIPE, embed_weight=6)
    hook(bench, "index", upsert=failing)
    with pytest.raises(IndexUnreachableError):
        ingest(bench, listing(folder))
    assert faults_now(bench) == []
    assert len(bench.catalog.indexed_versions()) < 12

    hook(bench, "index")
    summary, _ = ingest(bench, listing(folder))
    assert sum(summary.outcomes.values()) == 12
    assert set(summary.outcomes) <= {"indexed", "unchanged"}
    assert faults(bench) == []


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), sqlite3.OperationalError("database or disk is full")],
    ids=["disk", "sqlite"],
)
def test_full_disk_ends_the_run_instead_of_failing_every_file(bench: Bench, folder: Path, error: Exception) -> None:
    write_many(folder, 4)

    def full(_put: Any, *_args: Any) -> None:
        raise error

    hook(bench, "blobs", put=full)
    with pytest.raises(StrongroomError, match="cannot be written") as caught:
        ingest(bench, listing(folder))
    assert "disk" in caught.value.hint
    states = [state for _, _, state in bench.catalog.version_files()]
    assert DocumentState.FAILED not in states
    hook(bench, "blobs")
    assert ingest(bench, listing(folder))[0].outcomes == {"indexed": 4}
    assert faults(bench) == []


def test_cancel_stops_and_leaves_nothing_half_visible(bench: Bench, folder: Path) -> None:
    # GIVEN a run that is cancelled while the second batch is embedded
    write_many(folder, 20)
    cancel = threading.Event()

    def cancelling(embed: Callable[..., Any], texts: Any) -> Any:
        if len(bench.embedder.calls) == 1:
            cancel.set()
            time.sleep(0.3)  # the caller notices now
        return embed(texts)

    bench.settings = PipelineSettings(recipe=RECIPE, embed_weight=10)
    hook(bench, "embedder", embed_documents=cancelling)

    # WHEN it stops
    with pytest.raises(CancelledError):
        ingest(bench, listing(folder), cancel=cancel)

    # THEN some files are whole, the others invisible, no thread goes on, and the next run completes the work
    assert faults_now(bench) == []
    assert len(bench.catalog.indexed_versions()) < 20
    assert [t.name for t in threading.enumerate() if t.name.startswith("ingest-")] == []
    hook(bench, "embedder")
    ingest(bench, listing(folder))
    assert len(bench.catalog.indexed_versions()) == 20
    assert faults(bench) == []


def test_cancel_before_the_start_does_nothing(bench: Bench, folder: Path) -> None:
    write_many(folder, 2)
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(CancelledError):
        ingest(bench, listing(folder), cancel=cancel)
    assert bench.catalog.indexed_versions() == []


def test_error_of_the_callers_function_stops_the_run_and_comes_back(bench: Bench, folder: Path) -> None:
    write_many(folder, 10)

    def hung_up(_event: IngestEvent) -> None:
        raise BrokenPipeError("nobody is listening")

    with pytest.raises(BrokenPipeError):
        bench.pipeline().run(listing(folder), IngestOptions(), on_event=hung_up)
    assert [t.name for t in threading.enumerate() if t.name.startswith("ingest-")] == []
    assert faults_now(bench) == []


def test_listing_that_waits_for_more_does_not_hold_up_the_end(bench: Bench, folder: Path) -> None:
    # GIVEN an upload whose client has gone silent, and an index that breaks
    path = write(folder, "a.txt", "one")
    silent = threading.Event()

    def files() -> Iterator[SourceFile]:
        yield source(path)
        silent.wait(30)

    def broken(_upsert: Any, _points: Any) -> None:
        raise IndexUnreachableError("gone")

    hook(bench, "index", upsert=broken)
    start = time.monotonic()
    with pytest.raises(IndexUnreachableError):
        ingest(bench, files())
    assert time.monotonic() - start < 15
    silent.set()


def test_error_of_the_listing_ends_the_run(bench: Bench, folder: Path) -> None:
    path = write(folder, "a.txt", "one")

    def files() -> Iterator[SourceFile]:
        yield source(path)
        raise LockedError("the share is locked")

    with pytest.raises(LockedError):
        ingest(bench, files())


# ------------------------------------------------------------------------------------------------ deletion wins


@pytest.mark.parametrize("moment", ["parsing", "embedding", "marking"])
def test_document_deleted_on_its_way_in_is_gone_for_good(bench: Bench, folder: Path, moment: str) -> None:
    # GIVEN two files, one of which is deleted by somebody at some moment of its ingest
    write(folder, "a.txt", "stays")
    doomed = write(folder, "b.txt", "is deleted")

    deleted: list[str] = []

    def delete() -> None:
        place = bench.catalog.collection("default")
        known = bench.catalog.find(place.id, doomed.as_uri())
        assert known is not None
        deleted.append(known.version_id)
        bench.catalog.delete_document(known.document_id, by="tester")
        remove_versions(bench.catalog, bench.index, bench.blobs)

    class Deleting(ThreadPool):
        def __init__(self) -> None:
            super().__init__()
            self.parse = self._parse

        def _parse(self, at: Path, mime: str) -> Any:
            if at == doomed:
                delete()
            return parse(at, mime)

    def embed(real: Callable[..., Any], texts: list[str]) -> Any:
        if any("is deleted" in text for text in texts):
            delete()
        return real(texts)

    def mark(real: Callable[..., Any], version_ids: list[str]) -> Any:
        known = bench.catalog.find(bench.catalog.collection("default").id, doomed.as_uri())
        if known is not None and known.version_id in version_ids:
            delete()
        return real(version_ids)

    if moment == "parsing":
        bench.pool_type = Deleting
    elif moment == "embedding":
        hook(bench, "embedder", embed_documents=embed)
    else:
        hook(bench, "catalog", mark_indexed=mark)

    # WHEN both are ingested
    _, outcomes = ingest(bench, listing(folder))

    # THEN the deleted one is skipped and left nothing behind
    assert len(deleted) == 1
    assert outcomes["a.txt"].outcome == "indexed"
    assert outcomes["b.txt"].outcome == "skipped"
    assert "deleted" in str(outcomes["b.txt"].reason)
    assert faults(bench) == []
    assert keys_of_nothing(bench) == 0


# ------------------------------------------------------------------------------------------------ batches and bounds


def test_chunks_of_many_documents_share_calls_and_no_text_is_embedded_twice(bench: Bench, folder: Path) -> None:
    # GIVEN an embedder that is held until everything is parsed
    for i in range(20):
        write(folder, f"f{i:02}.txt", "word " * (i * 7 % 20 + 1) + "\n" + "word " * (i * 3 % 11 + 1))
    started = threading.Event()

    def held(embed: Callable[..., Any], texts: Any) -> Any:
        if not started.is_set():
            started.set()
            while len(bench.parsed) < 20 or len(bench.catalog.unindexed()) < 20:
                time.sleep(0.01)
        return embed(texts)

    hook(bench, "embedder", embed_documents=held)
    ingest(bench, listing(folder))

    # THEN the rest went in one call; 19 kinds of line and 20 names stand in 40 chunks
    assert len(bench.embedder.calls) == 2
    embedded = [text for call in bench.embedder.calls for text in call]
    assert len(embedded) == len(set(embedded))
    assert {text for text in embedded if text.endswith(".txt")} == {f"f{i:02}.txt" for i in range(20)}
    assert len(bench.index.all_points()) == 40


def test_each_vector_belongs_to_its_own_chunk(bench: Bench, folder: Path) -> None:
    write_many(folder, 9, lines=5)
    ingest(bench, listing(folder))
    alone = FakeEmbedder()
    for version_id in bench.catalog.indexed_versions():
        for chunk in bench.catalog.point_sources(version_id):
            stored = bench.index.vectors([chunk.chunk_id])[chunk.chunk_id]
            wanted = alone.embed_query(chunk.text) + NAME_WEIGHT * alone.embed_query(chunk.name)
            assert np.allclose(stored, wanted / np.linalg.norm(wanted), atol=1e-6)


def test_text_in_flight_is_bounded(bench: Bench, folder: Path) -> None:
    # GIVEN room for three chunks, one chunk a file, and an embedder that does not come back for a while
    for i in range(30):
        write(folder, f"f{i:02}.txt", f"only line {i}")
    bench.settings = PipelineSettings(recipe=RECIPE, embed_weight=1.5, in_flight_weight=3.5, parse_ahead=1)
    waiting: list[int] = []

    def slow(embed: Callable[..., Any], texts: Any) -> Any:
        if not waiting:
            time.sleep(0.7)
            waiting.append(len(bench.catalog.version_files()))
        return embed(texts)

    hook(bench, "embedder", embed_documents=slow)
    summary, _ = ingest(bench, listing(folder))

    # THEN intake stopped after what fits: 1 embedding, 3 queued, 1 at the door, 2 workers with 1 ahead each, 1 begun
    assert waiting[0] <= 1 + 3 + 1 + 2 * 2 + 1
    assert summary.outcomes == {"indexed": 30}


def test_uploads_are_taken_as_the_parsers_get_on(bench: Bench, folder: Path) -> None:
    # GIVEN uploads of 100 MB each (so they say) and parsers that do not come back yet
    taken: list[int] = []
    go_on = threading.Event()

    class Held(ThreadPool):
        def __init__(self) -> None:
            super().__init__()
            self.parse = self._parse

        def _parse(self, at: Path, mime: str) -> Any:
            assert go_on.wait(10)
            return parse(at, mime)

    def files() -> Iterator[SourceFile]:
        for i in range(40):
            taken.append(i)
            yield SourceFile(str(write(folder, f"{i}", f"upload {i}")), f"upload:///{i}.txt", f"{i}.txt", 100_000_000)

    bench.pool_type = Held
    result: list[IngestSummary] = []
    thread = threading.Thread(target=lambda: result.append(ingest(bench, files())[0]))
    thread.start()
    time.sleep(0.8)
    before = len(taken)
    go_on.set()
    thread.join()

    # THEN only what the parsers hold and 256 MiB beside it was taken before that
    assert before <= 2 * 3 + 1 + 2 + 2
    assert result[0].outcomes == {"indexed": 40}


def test_document_larger_than_the_whole_budget_passes(bench: Bench, folder: Path) -> None:
    write(folder, "huge.txt", "\n".join(f"line {i} of the register" for i in range(500)))
    bench.settings = PipelineSettings(recipe=RECIPE, embed_weight=40, in_flight_weight=20)
    _, outcomes = ingest(bench, listing(folder))
    assert outcomes["huge.txt"].chunks == 500
    assert bench.index.count() == 500
    assert faults(bench) == []


def test_text_the_embedder_chokes_on_fails_its_own_document_only(bench: Bench, folder: Path) -> None:
    write_many(folder, 6)
    write(folder, "odd.txt", "fine\n" * 40 + "choke")

    def choosy(embed: Callable[..., Any], texts: Any) -> Any:
        if any("choke" in text for text in texts):
            raise RuntimeError("secret words")
        return embed(texts)

    hook(bench, "embedder", embed_documents=choosy)
    summary, outcomes = ingest(bench, listing(folder))
    assert summary.outcomes == {"failed": 1, "indexed": 6}
    assert "RuntimeError: this is a defect" in str(outcomes["odd.txt"].reason)
    assert faults(bench) == []


def test_points_of_a_document_that_fails_half_way_leave_the_index(bench: Bench, folder: Path) -> None:
    # GIVEN a document in two batches; the second fails once the points of the first are in the index
    write(folder, "odd.txt", "fine\n" * 40 + "choke")

    def choosy(embed: Callable[..., Any], texts: Any) -> Any:
        if any("choke" in text for text in texts):
            deadline = time.monotonic() + 10
            while bench.index.count() == 0 and time.monotonic() < deadline:
                time.sleep(0.01)
            raise RuntimeError
        return embed(texts)

    bench.settings = PipelineSettings(recipe=RECIPE, embed_weight=33)
    hook(bench, "embedder", embed_documents=choosy)
    _, outcomes = ingest(bench, listing(folder))
    assert outcomes["odd.txt"].outcome == "failed"
    assert bench.index.count() == 0
    assert faults(bench) == []


def test_points_are_durable_before_their_version_is_marked(bench: Bench, data: Path, folder: Path) -> None:
    write_many(folder, 10)
    durable: list[bool] = []

    def mark(real: Callable[..., Any], version_ids: list[str]) -> Any:
        on_disk = FileIndex(data / "index.jsonl")  # as a start after a kill at this moment would find it
        durable.extend(on_disk.version_points(v) == bench.catalog.chunk_ids(v) for v in version_ids)
        return real(version_ids)

    bench.settings = PipelineSettings(recipe=RECIPE, embed_weight=8)
    hook(bench, "catalog", mark_indexed=mark)
    ingest(bench, listing(folder))
    assert durable == [True] * 10


@pytest.mark.parametrize("spoil", [lambda v: v * np.nan, lambda v: v[:, :-1]], ids=["nan", "narrow"])
def test_unusable_vectors_never_reach_the_index(bench: Bench, folder: Path, spoil: Callable[[Any], Any]) -> None:
    write_many(folder, 2)
    hook(bench, "embedder", embed_documents=lambda embed, texts: spoil(embed(texts)))
    with pytest.raises(ModelError):
        ingest(bench, listing(folder))
    assert bench.index.count() == 0


def test_documents_share_flushes(bench: Bench, folder: Path) -> None:
    write_many(folder, 40)
    flushes: list[int] = []

    def slow_flush(flush: Callable[[], None]) -> None:
        time.sleep(0.05)
        flushes.append(1)
        flush()

    hook(bench, "index", flush=slow_flush)
    ingest(bench, listing(folder))
    assert len(flushes) < 40


# ------------------------------------------------------------------------------------------------ progress


def test_progress_comes_in_the_callers_thread_and_adds_up(bench: Bench, folder: Path) -> None:
    # GIVEN a run that takes about a second
    write_many(folder, 10)
    bench.settings = PipelineSettings(recipe=RECIPE, embed_weight=4)

    def slow(embed: Callable[..., Any], texts: Any) -> Any:
        time.sleep(0.1)
        return embed(texts)

    hook(bench, "embedder", embed_documents=slow)
    events: list[tuple[float, IngestEvent, str]] = []

    def on_event(event: IngestEvent) -> None:
        events.append((time.monotonic(), event, threading.current_thread().name))

    start = time.monotonic()
    bench.pipeline().run(listing(folder), IngestOptions(), on_event=on_event)
    seconds = time.monotonic() - start

    # THEN events come in the caller's thread, at most about five a second, never backwards, and end complete
    progress = [e for _, e, _ in events if isinstance(e, IngestProgress)]
    assert {name for _, _, name in events} == {threading.current_thread().name}
    assert 3 <= len(progress) <= seconds / 0.2 + 2
    done = [p.files_done for p in progress]
    assert done == sorted(done)
    assert any(p.files_total == 10 and p.files_done < 10 for p in progress)
    last = progress[-1]
    assert (last.files_done, last.files_total, last.pages_done, last.chunks_done) == (10, 10, 10, 30)
    assert last.stage == "done"


# ------------------------------------------------------------------------------------------------ overlapping runs


def test_overlapping_runs_do_not_work_on_the_same_file(bench: Bench, folder: Path) -> None:
    # GIVEN a run that is held in the embedder
    shared = write(folder, "shared.txt", "one")
    own = write(folder, "own.txt", "two")
    pipeline_held, go_on = threading.Event(), threading.Event()

    def held(embed: Callable[..., Any], texts: Any) -> Any:
        if not pipeline_held.is_set():
            pipeline_held.set()
            assert go_on.wait(10)
        return embed(texts)

    hook(bench, "embedder", embed_documents=held)
    pipeline = bench.pipeline()
    first: dict[str, Any] = {}
    thread = threading.Thread(target=lambda: first.update(ingest(bench, [source(shared)], pipeline=pipeline)[1]))
    thread.start()
    assert pipeline_held.wait(10)

    # WHEN a second run comes with the same file and one of its own, THEN it waits for nobody
    _, second = ingest(bench, [source(shared), source(own)], pipeline=pipeline)
    with pytest.raises(LockedError):
        pipeline.reindex(lambda _event: None)
    go_on.set()
    thread.join()
    assert {n: o.outcome for n, o in second.items()} == {"shared.txt": "skipped", "own.txt": "indexed"}
    assert first["shared.txt"].outcome == "indexed"
    assert faults(bench) == []


# ------------------------------------------------------------------------------------------------ recovery, reindex


def interrupted(bench: Bench, folder: Path) -> None:
    """Leave parsed versions behind, as a kill between store and index would."""

    def unreachable(_upsert: Any, _points: Any) -> None:
        while len(bench.catalog.unindexed()) < 3:
            time.sleep(0.01)
        raise IndexUnreachableError("killed")

    hook(bench, "index", upsert=unreachable)
    with pytest.raises(IndexUnreachableError):
        ingest(bench, listing(folder))
    hook(bench, "index")


def test_recover_finishes_parsed_versions_without_their_files(data: Path, folder: Path) -> None:
    write_many(folder, 5)
    bench = Bench.open(data)
    interrupted(bench, folder)
    left = len(bench.catalog.unindexed())
    assert left >= 3
    bench.close()
    shutil.rmtree(folder)

    bench = Bench.open(data)
    report = bench.pipeline().recover()
    assert report.finished == left
    assert len(bench.catalog.indexed_versions()) == left
    assert bench.parsed == []
    assert faults_now(bench) == []
    assert bench.pipeline().recover().finished == 0
    bench.close()


def test_files_that_the_runs_own_recovery_finished_count_as_indexed(bench: Bench, folder: Path) -> None:
    write_many(folder, 5)
    interrupted(bench, folder)
    parsed = len(bench.parsed)
    left = len(bench.catalog.unindexed())
    summary, _ = ingest(bench, listing(folder))
    assert summary.outcomes == {"indexed": 5}
    assert len(bench.parsed) - parsed == 5 - left  # what was parsed before is not parsed again
    assert faults(bench) == []


def test_recover_removes_orphan_points_and_repairs_missing_ones(data: Path, folder: Path) -> None:
    # GIVEN an index with a point of an unknown version and without some points of a known one
    write_many(folder, 3)
    bench = Bench.open(data)
    ingest(bench, listing(folder))
    whole = snapshot(bench)
    kept, harmed, _ = bench.catalog.indexed_versions()
    bench.index.delete_versions([harmed])
    stray = bench.index.version_points(kept).pop()
    bench.index._do({"op": "upsert", "points": [("stray", "d", "unknown", "AACAPw==")]})
    bench.close()

    # WHEN a start-up recovers without repair, THEN the orphan is gone and the harm is counted
    bench = Bench.open(data)
    pipeline = bench.pipeline()
    report = pipeline.recover(repair=False)
    assert report.missing == 1
    assert "stray" not in bench.index.all_points()
    assert stray in bench.index.all_points()

    # WHEN the next ingest runs, THEN it is mended
    ingest(bench, listing(folder), pipeline=pipeline)
    assert faults(bench) == []
    assert str(snapshot(bench)) == str(whole)
    bench.close()


def test_reindex_rebuilds_everything_from_the_catalogue(bench: Bench, folder: Path) -> None:
    write_many(folder, 6)
    write(folder, "bad.txt", "!bad")
    ingest(bench, listing(folder))
    before = snapshot(bench)
    shutil.rmtree(folder)
    bench.index.delete_versions(bench.catalog.indexed_versions()[:2])

    summary = bench.pipeline().reindex(lambda _event: None)

    assert (summary.outcomes, summary.chunks) == ({"indexed": 6}, 18)
    assert str(snapshot(bench)) == str(before)
    assert faults(bench) == []


def test_reindex_that_was_cut_short_is_finished_by_recovery(data: Path, folder: Path) -> None:
    write_many(folder, 6)
    bench = Bench.open(data)
    ingest(bench, listing(folder))
    before = snapshot(bench)

    def unreachable(_upsert: Any, _points: Any) -> None:
        raise IndexUnreachableError("killed")

    hook(bench, "index", upsert=unreachable)
    with pytest.raises(IndexUnreachableError):
        bench.pipeline().reindex(lambda _event: None)
    bench.close()

    bench = Bench.open(data)
    assert bench.pipeline().recover().missing == 6
    assert str(snapshot(bench)) == str(before)
    assert faults(bench) == []
    bench.close()


def test_failed_newer_version_survives_a_repair_of_the_old_one(data: Path, folder: Path) -> None:
    write(folder, "a.txt", "old words")
    bench = Bench.open(data)
    ingest(bench, listing(folder))
    write(folder, "a.txt", "!bad")
    _, before = ingest(bench, listing(folder))
    bench.index.clear()
    bench.close()
    bench = Bench.open(data)
    bench.pipeline().recover()
    assert bench.index.count() == 1
    _, after = ingest(bench, listing(folder))
    assert after == before
    bench.close()
