"""A state machine over the pipeline: files come, change, break and go, runs are broken off, documents are deleted.

The model is a dictionary of what each source last got indexed as. After every undisturbed run the appliance must agree
with it; at every moment, whatever answers questions must be whole.
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ingest.work import PipelineSettings
from strongroom.errors import IndexUnreachableError
from tests.fakes import FakeEmbedder
from tests.ingest_bench import RECIPE, Bench, faults, faults_now, ingest, listing, source

NAMES = st.sampled_from(["a.txt", "b.txt", "sub/c.txt", "sub/d.txt"])
TEXTS = st.sampled_from(["one", "one\ntwo", "two\nthree\fthree", "!bad", "!locked", "!empty", "many\n" * 45])
TROUBLE = ("!bad", "!locked", "!empty")


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


class Breaking:
    """An index that stops answering after some writes."""

    def __init__(self, real: Any, writes: int) -> None:
        self._real = real
        self._left = writes

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        if name not in ("upsert", "flush", "delete_versions"):
            return found

        def call(*args: Any) -> Any:
            self._left -= 1
            if self._left < 0:
                raise IndexUnreachableError("the index does not answer")
            return found(*args)

        return call


class PipelineModel(RuleBasedStateMachine):
    template: Path

    @initialize()
    def begin(self) -> None:
        self.root = Path(tempfile.mkdtemp(dir=self.template.parent))
        shutil.copytree(self.template, self.root / "data")
        self.folder = self.root / "source"
        self.folder.mkdir()
        self.embedder = FakeEmbedder(dimension=16)
        self.bench = Bench.open(self.root / "data", embedder=self.embedder)
        self.bench.settings = PipelineSettings(recipe=RECIPE, embed_weight=20)
        self.indexed: dict[str, str] = {}  # text that answers questions, by name
        self.known: set[str] = set()  # names that have a document, in whatever state
        self.settled = True  # false after a run that broke off: the model does not know how far it got

    @rule(name=NAMES, text=TEXTS)
    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    @rule(name=NAMES)
    def remove(self, name: str) -> None:
        (self.folder / name).unlink(missing_ok=True)

    @rule(prune=st.booleans())
    def run(self, prune: bool) -> None:
        """A run that nobody disturbs: each outcome is the model's, and so is the state afterwards."""
        present = {str(Path(f.path).relative_to(self.folder)): Path(f.path).read_text() for f in listing(self.folder)}
        calls = len(self.embedder.calls)
        summary, outcomes = ingest(self.bench, listing(self.folder), roots=(self.folder.as_uri(),), prune=prune)
        by_name = {str(Path(o.path).relative_to(self.folder)): o.outcome for o in outcomes.values()}

        for name, text in present.items():
            if text in TROUBLE:
                assert by_name[name] == ("quarantined" if text == "!locked" else "failed")
            elif self.settled:
                assert by_name[name] == ("unchanged" if self.indexed.get(name) == text else "indexed"), name
            else:
                assert by_name[name] in ("unchanged", "indexed")
        gone = self.known - present.keys()
        if self.settled:
            assert {n for n, o in by_name.items() if o in ("vanished", "removed")} == gone
            fresh = {n for n, t in present.items() if t not in TROUBLE and self.indexed.get(n) != t}
            assert (len(self.embedder.calls) > calls) == bool(fresh)
        assert not gone or ("removed" in summary.outcomes) == prune

        self.indexed |= {name: text for name, text in present.items() if text not in TROUBLE}
        self.known |= present.keys()
        if prune:
            self.known -= gone
            self.indexed = {name: text for name, text in self.indexed.items() if name not in gone}
        self.check_whole()

    def check_whole(self) -> None:
        if not self.settled:  # which of its files a broken run got to shows in the catalogue only
            found = {name: self.chunks(name) for name in self.documents()}
            for name, text in self.indexed.items():
                if (self.folder / name).exists():
                    assert found[name] == lines(text)
            self.known = set(found)
            self.indexed = {name: "\n".join(texts) for name, texts in found.items() if texts}
            self.indexed |= {n: t for n in found if (t := self.on_disk(n)) is not None and lines(t) == found[n]}
            self.settled = True
        assert self.documents() == self.known
        for name in self.known:
            assert self.chunks(name) == lines(self.indexed.get(name, "")), name
        assert faults(self.bench) == []

    def on_disk(self, name: str) -> str | None:
        path = self.folder / name
        return path.read_text() if path.exists() else None

    def documents(self) -> set[str]:
        return {
            str(Path(uri.removeprefix("file://")).relative_to(self.folder))
            for c in self.bench.catalog.collections()
            for _, uri in self.bench.catalog.sources(c.id)
        }

    def chunks(self, name: str) -> list[str]:
        """Text of the version of a document that answers questions."""
        document_id = self.document_id(name)
        for version_id in self.bench.catalog.indexed_versions():
            found = self.bench.catalog.point_sources(version_id)
            if found and found[0].document_id == document_id:
                return [c.text for c in found]
        return []

    def document_id(self, name: str) -> str:
        place = self.bench.catalog.collection("default")
        known = self.bench.catalog.find(place.id, (self.folder / name).as_uri())
        assert known is not None
        return known.document_id

    @rule(writes=st.integers(0, 6), prune=st.booleans())
    def broken_run(self, writes: int, prune: bool) -> None:
        """The index stops answering somewhere in a run; the process starts anew."""
        self.bench.wrap = lambda name, real: Breaking(real, writes) if name == "index" else real
        with suppress(IndexUnreachableError):
            ingest(self.bench, listing(self.folder), roots=(self.folder.as_uri(),), prune=prune)
        self.settled = False
        self.reopen()

    @precondition(lambda self: self.known and self.settled)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        """Somebody deletes a document; its file stays, so the next run reads it again."""
        name = data.draw(st.sampled_from(sorted(self.known)))
        self.bench.catalog.delete_document(self.document_id(name), by="model")
        self.known.discard(name)
        self.indexed.pop(name, None)

    @rule()
    def dry_run(self) -> None:
        before = self.bench.catalog.version_files(), self.bench.index.all_points(), sorted(self.bench.blobs.ids())
        ingest(self.bench, [source(p) for p in self.folder.rglob("*.txt")], dry_run=True)
        after = self.bench.catalog.version_files(), self.bench.index.all_points(), sorted(self.bench.blobs.ids())
        assert after == before

    @rule()
    def reopen(self) -> None:
        self.bench.close()
        self.bench = Bench.open(self.root / "data", embedder=self.embedder)
        self.bench.settings = PipelineSettings(recipe=RECIPE, embed_weight=20)

    @invariant()
    def what_answers_is_whole(self) -> None:
        if hasattr(self, "bench"):
            assert faults_now(self.bench) == []

    def teardown(self) -> None:
        if hasattr(self, "bench"):
            self.run(prune=False)
            self.bench.close()
            shutil.rmtree(self.root)


def test_pipeline_agrees_with_its_model(tmp_path_factory: pytest.TempPathFactory) -> None:
    data = tmp_path_factory.mktemp("model") / "template"
    data.mkdir()
    Bench.open(data).close()

    class Machine(PipelineModel):
        template = data

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=25,
            stateful_step_count=14,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
