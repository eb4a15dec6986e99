"""Ingest on a Ray cluster of several (local) nodes: same result as without, and a node that dies loses nothing."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from strongroom.access import LOCAL_USER
from strongroom.app.appliance import Appliance
from strongroom.config import load
from strongroom.errors import ConfigError, ModelError
from strongroom.ports import Vectors
from strongroom.types import FileOutcome, IngestEvent, IngestRequest, SearchRequest
from tests.fakes import FakeEmbedder, FakeModels, FakeSpeech, FakeTokenizer
from tests.ingest_samples import attach, text_pdf

os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # loopback only, as the product sets it; Ray reads it at import
pytest.importorskip("ray")

FILES = 36


class SlowEmbedder(FakeEmbedder):
    """Takes a while, so that a node can be killed while it works."""

    def embed_documents(self, texts: Any) -> Vectors:
        time.sleep(0.02 * len(texts))
        return super().embed_documents(texts)


@dataclass(frozen=True)
class WorkerModels:
    name: str = "fake-embedder"

    def embedder(self, *, gpu: bool) -> FakeEmbedder:
        assert not gpu
        return SlowEmbedder(name=self.name)

    def tokenizer(self) -> FakeTokenizer:
        return FakeTokenizer()

    def speech(self) -> FakeSpeech:
        return FakeSpeech()


class ClusterModels(FakeModels):
    worker = WorkerModels()

    def on_workers(self) -> WorkerModels:
        return self.worker


@pytest.fixture(scope="module")
def nodes() -> Iterator[tuple[Any, list[Any]]]:
    """A head that computes nothing and two nodes of one processor each, on loopback."""
    from ray.cluster_utils import Cluster

    small = {"node_ip_address": "127.0.0.1", "object_store_memory": 80 << 20}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **small})
    workers = [cluster.add_node(num_cpus=1, **small) for _ in range(2)]
    yield cluster, workers
    cluster.shutdown()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for i in range(FILES):
        lines = (f"Berth {i} line {n}: the {word} crane is inspected." for n, word in enumerate("abcdefgh" * 8))
        (folder / f"f{i:03}.txt").write_text("\n\n".join(lines))
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7\nnothing of the kind")
    return folder


Open = Callable[..., Appliance]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """Opens appliances, and closes them before the cluster goes, whatever happens."""
    with ExitStack() as stack:

        def open_(name: str, models: FakeModels, **settings: Any) -> Appliance:
            loaded = load({"data_dir": tmp_path / name, "chunk_tokens": 48, **settings})
            return stack.enter_context(closing(Appliance(loaded.settings, purpose="test", models=models)))

        yield open_


def contents(appliance: Appliance) -> dict[str, list[tuple[str, Any]]]:
    """Chunk texts and vectors by file."""
    found = {}
    for version_id in appliance.catalog.indexed_versions():
        sources = appliance.catalog.point_sources(version_id)
        vectors = appliance.raw_index.vectors([s.chunk_id for s in sources])
        found[sources[0].name] = [(s.text, vectors[s.chunk_id]) for s in sources]
    return found


def test_a_node_that_is_killed_in_mid_run_loses_nothing_and_doubles_nothing(
    nodes: tuple[Any, list[Any]], folder: Path, opened: Open
) -> None:
    # GIVEN the same folder ingested by processes of this machine
    alone = opened("alone", ClusterModels())
    alone.as_user(LOCAL_USER).ingest(IngestRequest((str(folder),)), on_event=lambda _: None)
    expected = contents(alone)
    alone.close()

    # WHEN one of two nodes is killed while both work
    cluster, workers = nodes
    appliance = opened("spread", ClusterModels(), ingest_engine="ray", ray_address=cluster.address)
    assert appliance.cluster is not None
    assert len(appliance.cluster.nodes) == 2
    ours = appliance.cluster.node  # the node that the owner itself is joined to ends the run when it dies
    victim = next(worker for worker in workers if worker.unique_id != ours)
    outcomes: list[FileOutcome] = []

    def kill_one(event: IngestEvent) -> None:
        if isinstance(event, FileOutcome):
            outcomes.append(event)
            if len(outcomes) == 4:
                cluster.remove_node(victim, allow_graceful=False)

    engine = appliance.as_user(LOCAL_USER)
    summary = engine.ingest(IngestRequest((str(folder),)), on_event=kill_one)

    # THEN the cluster loses the node (which it may notice later than a short run ends)
    gone_by = time.monotonic() + 60
    while len(appliance.cluster.nodes) > 1 and time.monotonic() < gone_by:
        time.sleep(0.2)
    assert len(appliance.cluster.nodes) == 1

    # AND every file has one outcome, and catalogue and index hold what they would have held
    assert Counter(Path(o.path).name for o in outcomes) == Counter(p.name for p in folder.iterdir())
    assert summary.outcomes["indexed"] == FILES, {o.reason for o in outcomes if o.outcome != "indexed"}
    assert [Path(o.path).name for o in outcomes if o.outcome != "indexed"] == ["broken.pdf"]
    assert engine.verify().ok
    found = contents(appliance)
    assert found.keys() == expected.keys()
    for name, chunks in expected.items():
        assert [text for text, _ in found[name]] == [text for text, _ in chunks]
        assert all(np.dot(a, b) > 0.9999 for (_, a), (_, b) in zip(found[name], chunks, strict=True))
    assert engine.search(SearchRequest("Berth 7")).hits[0].document.name == "f007.txt"

    # AND a second run finds nothing to do
    again = engine.ingest(IngestRequest((str(folder),)), on_event=lambda _: None)
    assert again.outcomes["unchanged"] == FILES
    assert "indexed" not in again.outcomes


def test_each_machine_has_an_embedder_of_its_own(nodes: tuple[Any, list[Any]], opened: Open) -> None:
    import ray

    appliance = opened("placed", ClusterModels(), ingest_engine="ray", ray_address=nodes[0].address)
    cluster = appliance.cluster
    assert cluster is not None
    cluster.embedder(appliance.embedder, ClusterModels().on_workers())
    held = [actor.__ray_call__.remote(lambda _: ray.get_runtime_context().get_node_id()) for actor in cluster._actors]
    assert sorted(ray.get(held)) == sorted(cluster.nodes)


def test_files_attached_to_a_pdf_are_found_although_workers_read_pdfs(
    nodes: tuple[Any, list[Any]], tmp_path: Path, opened: Open
) -> None:
    folder = tmp_path / "pdfs"
    folder.mkdir()
    text_pdf(folder / "plain.pdf", "Berth one is inspected.")
    attach(text_pdf(folder / "report.pdf", "Berth two is inspected."), {"notes.txt": b"Berth three is closed."})
    appliance = opened("pdfs-data", ClusterModels(), ingest_engine="ray", ray_address=nodes[0].address)
    outcomes: list[IngestEvent] = []
    appliance.as_user(LOCAL_USER).ingest(IngestRequest((str(folder),)), on_event=outcomes.append)
    found = {o.path.removeprefix(f"{folder}/"): o.outcome for o in outcomes if isinstance(o, FileOutcome)}
    assert found == dict.fromkeys(("plain.pdf", "report.pdf", "report.pdf!/notes.txt"), "indexed")


def test_a_worker_with_other_weights_is_refused_before_anything_is_embedded(
    nodes: tuple[Any, list[Any]], folder: Path, opened: Open
) -> None:
    models = ClusterModels()
    models.worker = WorkerModels(name="another")
    appliance = opened("data", models, ingest_engine="ray", ray_address=nodes[0].address)
    with pytest.raises(ModelError, match="other weights"):
        appliance.as_user(LOCAL_USER).ingest(IngestRequest((str(folder),)), on_event=lambda _: None)


def test_a_cluster_off_the_allow_list_is_refused_by_name(opened: Open, folder: Path) -> None:
    appliance = opened("data", ClusterModels(), ingest_engine="ray", ray_address="ray.example.org:6379")
    with pytest.raises(ConfigError, match=r"ray\.example\.org:6379 is not on the allow-list"):
        appliance.as_user(LOCAL_USER).ingest(IngestRequest((str(folder),)), on_event=lambda _: None)
