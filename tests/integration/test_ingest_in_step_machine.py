"""Random sequences of adding, changing, moving, copying, removing and deleting, with crashes, against a simple model.

The model is the folder itself: after an undisturbed run with `prune_all` the documents are its files, but for those
whose content somebody has deleted on purpose. Crashes are injected as in `test_ingest_pipeline_faults`: the n-th call
of a part fails, before or after it did its work, and the process is gone; the next run has to make it good.
"""

from __future__ import annotations

import errno
import hashlib
import shutil
import sqlite3
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ingest import decide
from ingest.finish import remove_versions
from strongroom.errors import IndexUnreachableError, StrongroomError
from strongroom.types import DocumentState, FileOutcome, IngestOptions
from tests.ingest_bench import Bench, faults, faults_now, keys_of_nothing, listing, parse

NAMES = ["a.txt", "b.txt", "sub/a.txt", "sub/c.txt", "deep/er/a.txt", "deep/d.txt"]
# All of different lengths: stamps then tell them apart although all files are written within one tick of the clock.
TEXTS = [
    "one",
    "two words",
    "three lines\nof\nwords",
    "a page\fand another page",
    "!bad content",
    "!locked by somebody",
]
ERRORS = {
    "catalog": lambda: sqlite3.OperationalError("disk I/O error"),
    "blobs": lambda: OSError(errno.ENOSPC, "No space left on device"),
    "index": lambda: IndexUnreachableError("the index does not answer", hint="Start it."),
    "embedder": lambda: MemoryError(),
}


class Failing:
    """A part whose n-th call fails, before or after the real call."""

    def __init__(self, real: Any, error: Any, *, fail_at: int, after: bool) -> None:
        self._real, self._error, self._left, self._after = real, error, fail_at, after

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        if not callable(found):
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            self._left -= 1
            if self._left != 0:
                return found(*args, **kwargs)
            if self._after:
                found(*args, **kwargs)
            raise self._error()

        return call


class InStep(RuleBasedStateMachine):
    """`settled` says that the last thing that happened to the data directory was an undisturbed run or a deletion."""

    template: Path

    @initialize()
    def start(self) -> None:
        self.room = Path(tempfile.mkdtemp(prefix="in-step-"))
        self.folder = self.room / "source"
        self.folder.mkdir()
        shutil.copytree(self.template, self.room / "data")
        self.bench = Bench.open(self.room / "data")
        self.files: dict[str, str] = {}  # what is in the folder now
        self.synced: dict[str, str] = {}  # what was there at the last undisturbed run
        self.ids: dict[str, str] = {}  # documents of that run, by name
        self.grants: dict[str, str] = {}  # a group that each document was given, by id
        self.deleted: set[str] = set()  # contents that were deleted on purpose and not restored since
        self.settled = True
        self.groups = 0

    def teardown(self) -> None:
        if hasattr(self, "bench"):
            self.bench.close()
            shutil.rmtree(self.room)

    # ------------------------------------------------------------------------------------------ the folder

    def _write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
        self.files[name] = text

    @rule(name=st.sampled_from(NAMES), text=st.sampled_from(TEXTS))
    def add_or_change(self, name: str, text: str) -> None:
        self._write(name, text)

    @precondition(lambda self: self.files)
    @rule(data=st.data(), goal=st.sampled_from(NAMES))
    def move(self, data: st.DataObject, goal: str) -> None:
        name = data.draw(st.sampled_from(sorted(self.files)))
        if name != goal:
            (self.folder / goal).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).replace(self.folder / goal)
            self.files[goal] = self.files.pop(name)

    @precondition(lambda self: self.files)
    @rule(data=st.data(), goal=st.sampled_from(NAMES))
    def copy(self, data: st.DataObject, goal: str) -> None:
        name = data.draw(st.sampled_from(sorted(self.files)))
        self._write(goal, self.files[name])

    @precondition(lambda self: self.files)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.files)))
        (self.folder / name).unlink()
        del self.files[name]

    # ------------------------------------------------------------------------------------------ the documents

    @precondition(lambda self: self.settled and self.ids)
    @rule(data=st.data())
    def delete_document(self, data: st.DataObject) -> None:
        """Delete a document and nothing of its twins."""
        name = data.draw(st.sampled_from(sorted(self.ids)))
        document_id = self.ids.pop(name)
        keys = {i: self.bench.catalog.key_of(i) for i in self.ids.values()}
        doomed = self.bench.catalog.key_of(document_id)
        self.bench.catalog.delete_document(document_id, by="tester")
        remove_versions(self.bench.catalog, self.bench.index, self.bench.blobs)
        assert not self.bench.keys.has(doomed)
        assert all(self.bench.keys.has(key) for key in keys.values())
        self.deleted.add(self.synced[name])

    @rule(restore=st.booleans())
    def run_undisturbed(self, restore: bool) -> None:
        parsed, embedded = len(self.bench.parsed), len(self.bench.embedder.calls)
        before = {name: (self.synced[name], document_id) for name, document_id in self.ids.items()}
        was_settled = self.settled
        self.groups += 1
        outcomes = self._run(restore=restore, groups=(f"g{self.groups}",))
        if restore:
            self.deleted -= set(self.files.values())
        self._check_documents(outcomes)
        if was_settled:
            self._check_identities(before, outcomes)
            self._check_work(before, len(self.bench.parsed) - parsed, len(self.bench.embedder.calls) - embedded)
        for document_id in self.ids.values():
            self.grants.setdefault(document_id, f"g{self.groups}")

    @rule(
        part=st.sampled_from(sorted(ERRORS)),
        fail_at=st.integers(1, 40),
        after=st.booleans(),
    )
    def run_that_crashes(self, part: str, fail_at: int, after: bool) -> None:
        """The n-th call of a part fails; then the process is gone, with what the index had not flushed."""

        def wrap(name: str, real: Any) -> Any:
            return Failing(real, ERRORS[part], fail_at=fail_at, after=after) if name == part else real

        self.bench.wrap = wrap
        try:
            self._run(groups=("crash",))
        except StrongroomError:
            assert faults_now(self.bench) == []
        self.bench.catalog.close()
        self.bench.keys.close()
        self.bench = Bench.open(self.room / "data")
        self.settled = False

    def _run(self, **options: Any) -> dict[str, FileOutcome]:
        outcomes: list[FileOutcome] = []
        self.bench.pipeline().run(
            listing(self.folder),
            IngestOptions(roots=(self.folder.as_uri(),), prune=True, prune_all=True, **options),
            on_event=lambda event: outcomes.append(event) if isinstance(event, FileOutcome) else None,
        )
        found = {str(Path(o.path).relative_to(self.folder)): o for o in outcomes}
        assert len(found) == len(outcomes), "a file has one outcome"
        return found

    # ------------------------------------------------------------------------------------------ what must hold

    def _check_documents(self, outcomes: dict[str, FileOutcome]) -> None:
        catalog = self.bench.catalog
        place = catalog.collection("default").id
        self.ids = {
            str(Path(uri.removeprefix(self.folder.as_uri() + "/"))): document_id
            for document_id, uri in catalog.sources(place)
        }
        self.synced, self.settled = dict(self.files), True
        missing = self.files.keys() - self.ids.keys()
        assert self.ids.keys() <= self.files.keys(), "a document without a file"
        assert {outcomes[name].outcome for name in missing} <= {"skipped"}
        assert all(self.files[name] in self.deleted for name in missing), "a file was left out without a reason"
        for name, document_id in self.ids.items():
            text = self.files[name]
            sha256 = hashlib.sha256(text.encode()).hexdigest()
            known = catalog.find(place, (self.folder / name).as_uri(), sha256=sha256)
            assert known is not None
            assert known.sha256 == sha256
            if text.startswith("!"):  # an older version may still answer
                locked = text.startswith("!locked")
                assert known.state == (DocumentState.QUARANTINED if locked else DocumentState.FAILED)
                continue
            assert known.state == DocumentState.INDEXED
            sources = catalog.point_sources(known.version_id)
            assert [s.text for s in sources] == [c.text for c in parse(self.folder / name, "")[1]]
            assert {s.name for s in sources} == {Path(name).name}
            assert self.bench.blobs.read(document_id, known.version_id) == text.encode()
            group = self.grants.get(document_id)
            allow = catalog.principals_of([document_id])[document_id][0]
            assert group is None or f"group:{group}" in allow, "a grant was lost"
            assert set(self.bench.index.access.get(document_id, (allow,))[0]) == allow

    def _check_identities(self, before: dict[str, tuple[str, str]], outcomes: dict[str, FileOutcome]) -> None:
        contents = list(self.files.values())
        for name, (text, document_id) in before.items():
            if name in self.files:
                assert self.ids.get(name) == document_id, "a file that stayed in place became another document"
            elif contents.count(text) == 1 == [t for t, _ in before.values()].count(text):
                target = next(n for n, t in self.files.items() if t == text)
                if target not in before and target in self.ids:
                    assert self.ids[target] == document_id, "a moved file became another document"
                    assert text.startswith("!") or outcomes[target].outcome == "moved"

    def _check_work(self, before: dict[str, tuple[str, str]], parsed: int, embedded: int) -> None:
        known = {text for text, _ in before.values()}
        changed = {name for name, text in self.files.items() if before.get(name, ("",))[0] != text}
        new = {self.files[name] for name in changed}
        # a content is read once; once more where the document that had it was changed before it could be copied
        overwritten = {t for name, (t, _) in before.items() if self.files.get(name, t) != t}
        assert parsed <= len(new - known) + len(new & overwritten)
        if not changed:
            assert embedded == 0

    @invariant()
    def agrees(self) -> None:
        if getattr(self, "settled", False):
            assert faults(self.bench) == []
            assert keys_of_nothing(self.bench) == 0


def machine(template: Path, monkeypatch: pytest.MonkeyPatch, *, examples: int, steps: int) -> None:
    monkeypatch.setattr(decide, "_RACY_NS", -(10**15))  # stamps count at once: all texts differ in length
    InStep.template = template
    run_state_machine_as_test(
        InStep,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=examples < 100,
            phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.fixture
def template(tmp_path: Path) -> Path:
    root = tmp_path / "template"
    root.mkdir()
    Bench.open(root).close()
    return root


def test_documents_follow_their_files_through_everything(template: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine(template, monkeypatch, examples=20, steps=20)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_documents_follow_their_files_through_everything_for_long(
    template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(template, monkeypatch, examples=400, steps=50)
