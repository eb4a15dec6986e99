"""A folder kept in step: moves, copies, vanished files, deletions that stay, grants; no work where none is due."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingest import decide, intake
from ingest.dense import DenseEncoder
from ingest.finish import remove_versions
from ingest.moves import match, missing_here
from strongroom.catalog.records import Existing, Twin
from strongroom.errors import LOCKED, LOCKED_HINT, QuarantineError
from strongroom.types import (
    Chunk,
    DocumentState,
    FileOutcome,
    IngestEvent,
    IngestOptions,
    ParsedDocument,
    SourceFile,
)
from tests.fakes import FakeEmbedder
from tests.ingest_bench import Bench, ThreadPool, faults, ingest, keys_of_nothing, listing, parse, source, worded

LONG_AGO = time.time() - 3600


@pytest.fixture(scope="module")
def empty_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("template") / "data"
    root.mkdir()
    Bench.open(root).close()
    return root


@pytest.fixture
def bench(empty_data: Path, tmp_path: Path) -> Iterator[Bench]:
    shutil.copytree(empty_data, tmp_path / "data")
    opened = Bench.open(tmp_path / "data")
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


def run(bench: Bench, folder: Path, **options: Any) -> dict[str, FileOutcome]:
    return ingest(bench, listing(folder), roots=(folder.as_uri(),), **options)[1]


def what(outcomes: dict[str, FileOutcome]) -> dict[str, str]:
    return {name: str(o.outcome) for name, o in outcomes.items()}


def documents(bench: Bench) -> dict[str, str]:
    """Ids by file name."""
    found = bench.catalog.sources(bench.catalog.collection("default").id)
    return {uri.rsplit("/", 1)[1]: document_id for document_id, uri in found}


def delete(bench: Bench, document_id: str) -> None:
    bench.catalog.delete_document(document_id, by="tester")
    remove_versions(bench.catalog, bench.index, bench.blobs)


def afresh(bench: Bench, document_id: str) -> None:
    """The vectors of a document are those that embedding it now would give."""
    sources = bench.catalog.point_sources(str(bench.catalog.current_version(document_id)))
    stored = bench.index.vectors([s.chunk_id for s in sources])
    dense = DenseEncoder(FakeEmbedder()).encode([worded(s) for s in sources])
    for s, vector in zip(sources, dense, strict=True):
        assert float(np.dot(stored[s.chunk_id], vector)) > 0.9999


def points(bench: Bench, document_id: str) -> set[str]:
    version = bench.catalog.current_version(document_id)
    return set() if version is None else bench.index.version_points(version)


def may_read(bench: Bench, document_id: str) -> frozenset[str]:
    return bench.catalog.principals_of([document_id])[document_id][0]


# ------------------------------------------------------------------------------------------------ moves


def test_a_file_in_another_folder_is_the_same_document_and_costs_nothing(bench: Bench, folder: Path) -> None:
    # GIVEN a document with a grant of its own
    path = write(folder, "drafts/contract.txt", "rent is due\nnotice is given")
    before = run(bench, folder, groups=("legal",))["contract.txt"]
    calls, parsed, key = len(bench.embedder.calls), len(bench.parsed), bench.catalog.key_of(str(before.document_id))

    # WHEN its file is moved
    target = folder / "signed" / "contract.txt"
    target.parent.mkdir()
    path.rename(target)
    outcomes = run(bench, folder)

    # THEN it keeps id, key, grants and points, nothing was parsed or embedded, and its source is the new one
    moved = outcomes["contract.txt"]
    assert (moved.outcome, moved.document_id) == ("moved", before.document_id)
    assert moved.reason == f"Moved from {path}"
    assert (moved.pages, moved.chunks) == (1, 2)
    assert (len(bench.embedder.calls), len(bench.parsed)) == (calls, parsed)
    assert bench.catalog.key_of(str(moved.document_id)) == key
    known = bench.catalog.find(bench.catalog.collection("default").id, target.as_uri())
    assert known is not None
    assert "group:legal" in may_read(bench, known.document_id)
    assert faults(bench) == []
    assert what(run(bench, folder)) == {"contract.txt": "unchanged"}


def test_a_renamed_file_is_found_by_its_new_name_although_only_that_is_embedded(bench: Bench, folder: Path) -> None:
    path = write(folder, "untitled.txt", "rent is due\nnotice is given")
    document_id = str(run(bench, folder)["untitled.txt"].document_id)
    ids = points(bench, document_id)
    calls = len(bench.embedder.calls)

    path.rename(folder / "lease.txt")
    outcomes = run(bench, folder)

    assert (outcomes["lease.txt"].outcome, outcomes["lease.txt"].document_id) == ("moved", document_id)
    assert {text for call in bench.embedder.calls[calls:] for text in call} == {"untitled.txt", "lease.txt"}
    assert points(bench, document_id) == ids
    afresh(bench, document_id)
    assert {bench.index.names[i] for i in ids} == {"lease.txt"}  # what BM25 searches
    version = bench.catalog.current_version(document_id)
    assert {s.name for s in bench.catalog.point_sources(str(version))} == {"lease.txt"}


def test_a_file_that_moved_between_two_runs_is_recognised_without_a_common_root(bench: Bench, folder: Path) -> None:
    path = write(folder, "a/report.txt", "words of a report")
    write(folder, "a/stays.txt", "other words")
    before = run(bench, folder / "a")["report.txt"]
    (folder / "b").mkdir()
    path.rename(folder / "b" / "report.txt")
    after = run(bench, folder / "b")["report.txt"]
    assert (after.outcome, after.document_id) == ("moved", before.document_id)
    assert what(run(bench, folder / "a")) == {"stays.txt": "unchanged"}


def test_a_whole_folder_moves_document_by_document_although_names_and_contents_repeat(
    bench: Bench, folder: Path
) -> None:
    for year in ("2023", "2024"):
        write(folder, f"old/{year}/cover.txt", "the same cover")
        write(folder, f"old/{year}/{year}.txt", f"body of {year}")
    ingest(bench, listing(folder / "old" / "2023"))
    ingest(bench, listing(folder / "old" / "2024"))
    before = dict(map(reversed, bench.catalog.sources(bench.catalog.collection("default").id)))  # type: ignore[arg-type]
    (folder / "old").rename(folder / "new")
    events: list[Any] = []
    from strongroom.types import IngestOptions

    bench.pipeline().run(listing(folder), IngestOptions(roots=(folder.as_uri(),)), on_event=events.append)
    moved = {e.path: e.document_id for e in events if isinstance(e, FileOutcome)}
    assert {e.outcome for e in events if isinstance(e, FileOutcome)} == {"moved"}
    assert moved == {
        str(folder / uri.removeprefix(folder.as_uri() + "/").replace("old/", "new/")): document_id
        for uri, document_id in before.items()
    }


def test_a_copy_is_no_move_while_the_first_file_is_there(bench: Bench, folder: Path) -> None:
    write(folder, "a.txt", "the same words")
    first = run(bench, folder)["a.txt"].document_id
    write(folder, "b.txt", "the same words")
    outcomes = run(bench, folder)
    assert what(outcomes) == {"a.txt": "unchanged", "b.txt": "indexed"}
    assert outcomes["b.txt"].document_id != first


def test_where_two_documents_fit_equally_well_nothing_counts_as_moved(bench: Bench, folder: Path) -> None:
    for name in ("x1.txt", "x2.txt"):
        write(folder, name, "the same words")
    before = run(bench, folder)
    for name in ("x1.txt", "x2.txt"):
        (folder / name).unlink()
    write(folder, "y.txt", "the same words")
    outcomes = run(bench, folder)
    assert what(outcomes) == {"y.txt": "indexed", "x1.txt": "vanished", "x2.txt": "vanished"}
    assert outcomes["y.txt"].document_id not in {o.document_id for o in before.values()}
    assert faults(bench) == []


def test_a_disk_that_is_not_mounted_gives_no_identity_away(bench: Bench, folder: Path) -> None:
    # GIVEN a document from a disk that is not there now: its mount point is an empty folder
    write(folder, "disk/a.txt", "words on a disk")
    before = run(bench, folder / "disk")["a.txt"].document_id
    shutil.rmtree(folder / "disk")
    (folder / "disk").mkdir()
    # WHEN a copy of its file turns up elsewhere, THEN that one is a document of its own
    write(folder, "copy/a.txt", "words on a disk")
    after = run(bench, folder / "copy")["a.txt"]
    assert (after.outcome, after.document_id == before) == ("indexed", False)


def test_an_upload_moves_only_below_the_roots_of_its_own_job(bench: Bench, tmp_path: Path) -> None:
    spooled = write(tmp_path, "1f3a.txt", "uploaded words")

    def upload(uri: str) -> SourceFile:
        return SourceFile(str(spooled), uri, uri.rsplit("/", 1)[1], 14)

    _, first = ingest(bench, [upload("file:///elsewhere/a/x.txt")], roots=("file:///elsewhere",))
    _, second = ingest(bench, [upload("file:///other/x.txt")], roots=("file:///other",))
    assert second["x.txt"].outcome == "indexed"  # nobody here can tell whether the first file is still there
    _, third = ingest(bench, [upload("file:///elsewhere/b/x.txt")], roots=("file:///elsewhere",))
    assert (third["x.txt"].outcome, third["x.txt"].document_id) == ("moved", first["x.txt"].document_id)


def test_a_moved_document_that_another_parser_version_read_is_read_again_as_itself(bench: Bench, folder: Path) -> None:
    path = write(folder, "a/x.txt", "words")
    before = run(bench, folder)["x.txt"].document_id
    path.rename(folder / "x.txt")
    bench.settings = type(bench.settings)(recipe="bench-2")
    after = run(bench, folder)["x.txt"]
    assert (after.outcome, after.document_id) == ("indexed", before)
    assert faults(bench) == []


def test_missing_here_wants_a_folder_with_something_in_it(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write(tmp_path, "full/other.txt", "x")
    assert missing_here((tmp_path / "full/gone.txt").as_uri())
    assert missing_here((tmp_path / "full/no/such/gone.txt").as_uri())
    assert not missing_here((tmp_path / "full/other.txt").as_uri())
    assert not missing_here((tmp_path / "empty/gone.txt").as_uri())
    assert not missing_here("upload:///gone.txt")


def test_match_prefers_the_same_name_then_the_likest_path() -> None:
    def twin(uri: str) -> Twin:
        known = Existing(uri, uri, "aa", DocumentState.INDEXED, "r", None, 1, 1)
        return Twin(uri, uri.rsplit("/", 1)[1], "text/plain", known)

    def pairs(new: list[str], old: list[str]) -> dict[str, str]:
        files = [(SourceFile(uri, uri, uri.rsplit("/", 1)[1], 1), "aa") for uri in new]
        found = match(files, twins=lambda _: [twin(uri) for uri in old], gone=lambda _file, _twin: True)
        return {move.file.uri: move.twin.uri for move in found}

    assert pairs(["/n/a"], ["/o/b", "/o/a"]) == {"/n/a": "/o/a"}
    assert pairs(["/n/1/a", "/n/2/a"], ["/o/1/a", "/o/2/a"]) == {"/n/1/a": "/o/1/a", "/n/2/a": "/o/2/a"}
    assert pairs(["/n/c"], ["/n/b", "/o/a"]) == {"/n/c": "/n/b"}
    assert pairs(["/n/c", "/n/d"], ["/n/b"]) == {}
    assert pairs(["/n/c"], []) == {}


# ------------------------------------------------------------------------------------------------ copies


def test_a_hundred_copies_are_parsed_and_embedded_once_and_stay_a_hundred_documents(bench: Bench, folder: Path) -> None:
    for i in range(100):
        write(folder, f"{i:02}.txt", "a line\nand another\fa page")
    outcomes = run(bench, folder)
    assert set(what(outcomes).values()) == {"indexed"}
    assert len(bench.parsed) == 1
    texts = [text for call in bench.embedder.calls for text in call]
    assert sorted(t for t in texts if not t.endswith(".txt")) == ["a line", "a page", "and another"]
    ids = {str(o.document_id) for o in outcomes.values()}
    assert len(ids) == len({bench.catalog.key_of(i) for i in ids}) == 100
    assert bench.index.count() == 300
    assert {(o.pages, o.chunks) for o in outcomes.values()} == {(2, 3)}
    assert faults(bench) == []


def test_a_copy_of_a_later_run_is_neither_parsed_nor_embedded_and_lives_alone(bench: Bench, folder: Path) -> None:
    # GIVEN a document, and a copy of its file that comes later, for other people
    write(folder, "a.txt", "a line\nand another")
    first = str(run(bench, folder, groups=("legal",))["a.txt"].document_id)
    calls = len(bench.embedder.calls)
    write(folder, "b.txt", "a line\nand another")
    second = str(run(bench, folder, groups=("sales",))["b.txt"].document_id)
    assert len(bench.parsed) == 1
    assert {text for call in bench.embedder.calls[calls:] for text in call} == {"a.txt", "b.txt"}
    afresh(bench, second)

    # WHEN the first is deleted
    delete(bench, first)

    # THEN the second is whole: text under its own key, points, original, and its own grants alone
    version = str(bench.catalog.current_version(second))
    sources = bench.catalog.point_sources(version)
    assert [s.text for s in sources] == ["a line", "and another"]
    assert "group:sales" in may_read(bench, second)
    assert "group:legal" not in may_read(bench, second)
    assert set(bench.index.access[second][0]) == may_read(bench, second)
    assert bench.blobs.read(second, version) == b"a line\nand another"
    assert {bench.index.names[i] for i in points(bench, second)} == {"b.txt"}
    assert faults(bench) == []
    assert keys_of_nothing(bench) == 0


def test_copies_of_a_bad_file_fail_alike_without_being_parsed(bench: Bench, folder: Path) -> None:
    for i in range(20):
        write(folder, f"{i:02}.txt", "!locked")
    outcomes = run(bench, folder)
    assert set(what(outcomes).values()) == {"quarantined"}
    assert {o.reason for o in outcomes.values()} == {"The file is protected by a password. Remove the password."}
    assert len({o.document_id for o in outcomes.values()}) == 20
    assert len(bench.parsed) == 1
    again = run(bench, folder)
    assert {n: (o.document_id, o.reason) for n, o in again.items()} == {
        n: (o.document_id, o.reason) for n, o in outcomes.items()
    }
    run(bench, folder, retry=True)
    assert len(bench.parsed) == 1 + 20


class Locked(ThreadPool):
    """Reads nothing without the password."""

    passwords: tuple[str, ...] = ()

    def __init__(self) -> None:
        super().__init__()
        self.parse = self._unlock

    def _unlock(self, path: Path, mime: str) -> tuple[ParsedDocument, list[Chunk]]:
        if "s3cret" not in self.passwords:
            raise QuarantineError(LOCKED, hint=LOCKED_HINT)
        return parse(path, mime)


def test_a_copy_of_a_locked_file_is_tried_with_the_passwords_of_its_own_run(bench: Bench, folder: Path) -> None:
    # GIVEN a file that nobody had the password of
    bench.pool_type = Locked
    write(folder, "a.txt", "rent is due")
    assert what(run(bench, folder)) == {"a.txt": "quarantined"}
    # WHEN a copy of it is ingested, with the password
    copied = source(write(folder, "b.txt", "rent is due"))
    events: list[IngestEvent] = []
    bench.pipeline().run([copied], IngestOptions(), on_event=events.append, passwords=("s3cret",))
    # THEN the old failure is not taken for the copy's
    assert [(e.outcome, e.reason) for e in events if isinstance(e, FileOutcome)] == [("indexed", None)]


def test_copies_wait_for_one_that_fails_for_another_reason(bench: Bench, folder: Path) -> None:
    """A defect says nothing about the content: each copy gets its own try."""
    for i in range(3):
        write(folder, f"{i}.txt", "!bug")
    assert set(what(run(bench, folder)).values()) == {"failed"}
    assert len(bench.parsed) == 3


def test_another_suffix_is_read_for_itself_unless_the_type_is_the_same(bench: Bench, folder: Path) -> None:
    write(folder, "a.txt", "the same words")
    write(folder, "b.md", "the same words")
    run(bench, folder)
    assert sorted(bench.parsed) == ["a.txt"]  # the bench reads both as text/plain


def test_another_collection_shares_nothing(bench: Bench, folder: Path) -> None:
    write(folder, "a.txt", "the same words")
    run(bench, folder)
    run(bench, folder, collection="second")
    assert len(bench.parsed) == 2


def test_a_copy_whose_twin_is_deleted_at_that_moment_is_read(bench: Bench, folder: Path) -> None:
    # GIVEN a twin that goes away between the decision to copy it and the copying
    write(folder, "a.txt", "the same words")
    first = str(run(bench, folder)["a.txt"].document_id)
    write(folder, "b.txt", "the same words")
    original = bench.catalog.copy_version

    def copy_version(*args: Any) -> Any:
        delete(bench, first)
        return original(*args)

    bench.catalog.copy_version = copy_version  # type: ignore[method-assign]
    outcomes = run(bench, folder)
    assert outcomes["b.txt"].outcome == "indexed"
    assert bench.parsed == ["a.txt", "b.txt"]
    assert faults(bench) == []


def test_a_copy_deleted_while_it_is_made_stays_deleted(bench: Bench, folder: Path) -> None:
    write(folder, "a.txt", "the same words")
    first = run(bench, folder)["a.txt"].document_id
    write(folder, "b.txt", "the same words")
    original = bench.catalog.copy_version

    def copy_version(begun: Any, donor: str) -> Any:
        delete(bench, begun.document_id)
        return original(begun, donor)

    bench.catalog.copy_version = copy_version  # type: ignore[method-assign]
    outcomes = run(bench, folder)
    assert (outcomes["b.txt"].outcome, outcomes["a.txt"].outcome) == ("skipped", "unchanged")
    assert documents(bench) == {"a.txt": first}
    assert faults(bench) == []
    assert keys_of_nothing(bench) == 0


# ------------------------------------------------------------------------------------------------ prune


def test_an_emptied_root_removes_nothing_unless_told_twice(bench: Bench, folder: Path) -> None:
    for name in ("a", "b", "c"):
        write(folder, f"{name}.txt", name)
    run(bench, folder)
    for path in listing(folder):
        Path(path.path).unlink()
    summary, outcomes = ingest(bench, [], roots=(folder.as_uri(),), prune=True)
    assert set(what(outcomes).values()) == {"vanished"}
    assert f"3 of 3 documents below {folder} would go" in str(outcomes["a.txt"].reason)
    assert (summary.kept, summary.partial) == (3, True)
    assert bench.index.count() == 3

    dry, _ = ingest(bench, [], roots=(folder.as_uri(),), prune=True, dry_run=True)
    assert dry.kept == 3
    summary, _ = ingest(bench, [], roots=(folder.as_uri(),), prune=True, prune_all=True)
    assert (summary.outcomes, summary.kept) == ({"removed": 3}, 0)
    assert bench.index.count() == 0
    assert faults(bench) == []


@pytest.mark.parametrize(("gone", "removed"), [(10, 10), (11, 0)])
def test_most_of_a_root_goes_only_when_told_twice(bench: Bench, folder: Path, gone: int, removed: int) -> None:
    for i in range(20):
        write(folder, f"{i:02}.txt", f"number {i}")
    run(bench, folder)
    for i in range(gone):
        (folder / f"{i:02}.txt").unlink()
    summary, _ = ingest(bench, listing(folder), roots=(folder.as_uri(),), prune=True)
    assert summary.outcomes.get("removed", 0) == removed
    assert summary.kept == gone - removed


def test_each_root_is_judged_by_itself(bench: Bench, folder: Path) -> None:
    write(folder, "one/a.txt", "1")
    write(folder, "two/b.txt", "2")
    write(folder, "two/c.txt", "3")
    ingest(bench, listing(folder))
    (folder / "one/a.txt").unlink()
    (folder / "two/b.txt").unlink()
    roots = ((folder / "one").as_uri(), (folder / "two").as_uri())
    _, outcomes = ingest(bench, listing(folder), roots=roots, prune=True)
    assert what(outcomes) == {"a.txt": "vanished", "b.txt": "removed", "c.txt": "unchanged"}


# ------------------------------------------------------------------------------------------------ deletions that stay


def test_what_was_deleted_stays_deleted_until_asked_for_or_changed(bench: Bench, folder: Path) -> None:
    write(folder, "a.txt", "words")
    delete(bench, str(run(bench, folder)["a.txt"].document_id))

    outcomes = run(bench, folder)
    assert outcomes["a.txt"].outcome == "skipped"
    assert "--restore" in str(outcomes["a.txt"].reason)
    assert run(bench, folder, dry_run=True)["a.txt"].outcome == "skipped"
    assert documents(bench) == {}

    assert run(bench, folder, restore=True)["a.txt"].outcome == "indexed"
    assert run(bench, folder)["a.txt"].outcome == "unchanged"

    delete(bench, documents(bench)["a.txt"])
    write(folder, "a.txt", "other words")
    assert run(bench, folder)["a.txt"].outcome == "indexed"


def test_a_deleted_file_does_not_come_back_under_another_name(bench: Bench, folder: Path) -> None:
    path = write(folder, "a.txt", "words")
    delete(bench, str(run(bench, folder)["a.txt"].document_id))
    path.rename(folder / "b.txt")
    assert what(run(bench, folder)) == {"b.txt": "skipped"}


def test_deleting_one_of_two_copies_leaves_the_other_and_new_ones(bench: Bench, folder: Path) -> None:
    write(folder, "a.txt", "words")
    write(folder, "b.txt", "words")
    delete(bench, str(run(bench, folder)["a.txt"].document_id))
    write(folder, "c.txt", "words")
    assert what(run(bench, folder)) == {"a.txt": "skipped", "b.txt": "unchanged", "c.txt": "indexed"}


def test_a_pruned_document_comes_back_with_its_file(bench: Bench, folder: Path) -> None:
    write(folder, "a.txt", "words")
    write(folder, "b.txt", "more words")
    run(bench, folder)
    (folder / "a.txt").unlink()
    assert run(bench, folder, prune=True)["a.txt"].outcome == "removed"
    write(folder, "a.txt", "words")
    assert run(bench, folder)["a.txt"].outcome == "indexed"


# ------------------------------------------------------------------------------------------------ grants


def test_a_group_is_granted_to_documents_that_need_no_work(bench: Bench, folder: Path) -> None:
    write(folder, "a.txt", "words")
    document_id = str(run(bench, folder)["a.txt"].document_id)
    assert "group:legal" not in bench.index.access[document_id][0]
    outcome = run(bench, folder, groups=("legal",))["a.txt"]
    assert (outcome.outcome, outcome.reason) == ("unchanged", "May now be read by legal.")
    assert "group:legal" in bench.index.access[document_id][0]
    assert set(bench.index.access[document_id][0]) == may_read(bench, document_id)
    assert run(bench, folder, groups=("legal",))["a.txt"].reason is None
    assert len(bench.parsed) == 1


def test_a_grant_that_the_index_was_not_told_of_is_made_good_by_the_next_run(bench: Bench, folder: Path) -> None:
    write(folder, "a.txt", "words")
    document_id = str(run(bench, folder)["a.txt"].document_id)
    original = bench.index.set_access

    def killed(*_args: Any) -> None:
        raise SystemExit

    bench.index.set_access = killed  # type: ignore[method-assign]
    with pytest.raises(SystemExit):
        run(bench, folder, groups=("legal",))
    bench.index.set_access = original  # type: ignore[method-assign]
    assert "group:legal" not in bench.index.access[document_id][0]
    assert "group:legal" in may_read(bench, document_id)
    run(bench, folder)
    assert "group:legal" in bench.index.access[document_id][0]
    assert bench.catalog.regrants() == {}


def test_a_settled_outcome_from_elsewhere_grants_only_in_its_own_collection(bench: Bench, folder: Path) -> None:
    path = write(folder, "a.txt", "words")
    document_id = str(run(bench, folder)["a.txt"].document_id)
    told = FileOutcome(str(path), "unchanged", document_id)
    ingest(bench, [told], collection="other", groups=("intruders",))
    assert "group:intruders" not in bench.index.access[document_id][0]
    _, outcomes = ingest(bench, [told], groups=("legal",))
    assert outcomes["a.txt"].reason == "May now be read by legal."
    assert "group:legal" in bench.index.access[document_id][0]


# ------------------------------------------------------------------------------------------------ stamps


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were read to be hashed."""
    names: list[str] = []
    real = decide.fingerprint

    def fingerprint(path: str) -> Any:
        names.append(Path(path).name)
        return real(path)

    monkeypatch.setattr(intake, "fingerprint", fingerprint)
    return names


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    real = time.time_ns
    monkeypatch.setattr(decide.time, "time_ns", lambda: real() + int(seconds * 1e9))


def test_files_that_look_the_same_are_not_read_again(
    bench: Bench, folder: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, "a.txt", "words")
    later(monkeypatch, 10)
    run(bench, folder)
    assert hashed == ["a.txt"]
    assert what(run(bench, folder)) == {"a.txt": "unchanged"}
    assert hashed == ["a.txt"]
    run(bench, folder, rehash=True)
    assert hashed == ["a.txt", "a.txt"]


def test_a_file_written_shortly_before_is_read_once_more(
    bench: Bench, folder: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # GIVEN a file that is ingested right after it was written
    path = write(folder, "a.txt", "words")
    run(bench, folder)
    # WHEN it is written again in the same tick of the clock, to the same length (its times are set back)
    before = path.stat()
    path.write_text("WORDS")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    # THEN the change is found all the same
    assert what(run(bench, folder)) == {"a.txt": "indexed"}
    # and once the file has come to rest, it is read one last time
    later(monkeypatch, 10)
    assert what(run(bench, folder)) == {"a.txt": "unchanged"}
    hashed.clear()
    assert what(run(bench, folder)) == {"a.txt": "unchanged"}
    assert hashed == []


def test_a_change_that_sets_its_times_back_is_found_by_the_change_time(
    bench: Bench, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(folder, "a.txt", "words")
    os.utime(path, (LONG_AGO, LONG_AGO))
    later(monkeypatch, 10)
    run(bench, folder)
    time.sleep(0.02)
    path.write_text("WORDS")
    os.utime(path, (LONG_AGO, LONG_AGO))
    assert what(run(bench, folder)) == {"a.txt": "indexed"}


def test_touched_file_is_read_once_and_then_no_more(
    bench: Bench, folder: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(folder, "a.txt", "words")
    later(monkeypatch, 10)
    run(bench, folder)
    os.utime(path)
    run(bench, folder)
    run(bench, folder)
    assert hashed == ["a.txt", "a.txt"]
    assert len(bench.parsed) == 1


# ------------------------------------------------------------------------------------------------ atomic change


def test_readers_see_the_old_version_or_the_new_one_and_never_both_or_none(bench: Bench, folder: Path) -> None:
    # GIVEN a document that is changed over and over while somebody reads it
    path = write(folder, "a.txt", "\n".join(f"v0 line {i}" for i in range(40)))
    document_id = str(run(bench, folder)["a.txt"].document_id)
    access = bench.catalog.access_for("local")
    stop, seen, wrong = threading.Event(), set[str](), list[str]()

    def read() -> None:
        while not stop.is_set():
            ids = list(bench.index.all_points())  # what an index might propose, of every version
            released = bench.catalog.release(ids, access)
            versions = {chunk.text.split()[0] for chunk in released}
            if len(versions) > 1:
                wrong.append(f"both {versions}")
            elif not versions:
                # between proposing and releasing a version may have been replaced: ask the catalogue itself
                if bench.catalog.current_version(document_id) is None:
                    wrong.append("none")
            else:
                seen.update(versions)
                if len(released) != 40:
                    again = bench.catalog.release(list(bench.index.all_points()), access)
                    if {c.text.split()[0] for c in again} == versions and len(again) != 40:
                        wrong.append(f"half: {len(released)}")

    reader = threading.Thread(target=read)
    reader.start()
    for version in range(1, 6):
        path.write_text("\n".join(f"v{version} line {i}" for i in range(40)))
        run(bench, folder)
    stop.set()
    reader.join()
    assert wrong == []
    assert len(seen) > 1
    assert faults(bench) == []


def test_deletion_while_a_copy_waits_for_its_twin_wins(bench: Bench, folder: Path) -> None:
    # GIVEN two copies; the first is deleted while it is parsed, so that the second has nothing to copy
    write(folder, "a.txt", "the same words")
    write(folder, "b.txt", "the same words")

    class Deleting(ThreadPool):
        def __init__(self) -> None:
            super().__init__()
            self.parse = self._parse

        def _parse(self, at: Path, mime: str) -> Any:
            if at.name == "a.txt":
                delete(bench, documents(bench)["a.txt"])
            return parse(at, mime)

    bench.pool_type = Deleting
    outcomes = run(bench, folder)
    assert outcomes["a.txt"].outcome == "skipped"
    # somebody deleted this very content while the run went on: it stays out under its other name too
    assert outcomes["b.txt"].outcome == "skipped"
    assert faults(bench) == []
    assert keys_of_nothing(bench) == 0


def test_dry_run_tells_moves_and_copies(bench: Bench, folder: Path) -> None:
    path = write(folder, "a.txt", "one")
    write(folder, "b.txt", "two")
    run(bench, folder)
    path.rename(folder / "moved.txt")
    write(folder, "copy.txt", "two")
    outcomes = run(bench, folder, dry_run=True, prune=True)
    assert what(outcomes) == {"b.txt": "unchanged", "moved.txt": "moved", "copy.txt": "indexed"}
    assert outcomes["moved.txt"].reason == f"Would be moved from {path}"
    assert what(run(bench, folder)) == what(outcomes)


def test_source_given_by_hand_needs_no_roots(bench: Bench, folder: Path) -> None:
    path = write(folder, "a.txt", "one")
    _, first = ingest(bench, [source(path)])
    path.rename(folder / "b.txt")
    _, second = ingest(bench, [source(folder / "b.txt")])
    assert (second["b.txt"].outcome, second["b.txt"].document_id) == ("moved", first["a.txt"].document_id)
