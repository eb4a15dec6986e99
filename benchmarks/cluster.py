"""How much faster is an ingest with more workers, what does its owner do itself, and what travels to and fro?

    python -m benchmarks.cluster PDF_DIR [--files 20] [--workers 1 2]

A Ray cluster on this machine: a head that computes nothing, and for each worker a node whose processes are all pinned
to one processor of its own. Each size ingests the same PDFs with the default embedder into a fresh data directory,
after a first small file has started everything. The owner's processor time is what bounds a cluster however large
(Amdahl 1967): with it and the workers' share, `at_100_workers` is arithmetic, not a measurement. Prints one JSON;
docs/decisions/cluster.md quotes it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.memory import family
from benchmarks.run import machine, note
from strongroom import airgap

os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # loopback only, as the product sets it; Ray reads it at import
_NODE = {"node_ip_address": "127.0.0.1", "object_store_memory": 256 << 20}


def main() -> None:
    """Parse arguments, measure, print the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pdf_dir", type=Path)
    parser.add_argument("--files", type=int, default=20)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    args = parser.parse_args()
    airgap.prepare_environment()
    pdfs = sorted(path for path in args.pdf_dir.iterdir() if path.suffix.lower() == ".pdf")[: args.files]
    with tempfile.TemporaryDirectory(prefix="strongroom-bench-") as root:
        folder = Path(root, "corpus")
        folder.mkdir()
        for path in pdfs:
            shutil.copy(path, folder)
        runs = [measured(count, folder, Path(root, f"data-{count}")) for count in args.workers]
    first = runs[0]
    figures: dict[str, Any] = {
        "machine": machine(),
        "load_average": round(os.getloadavg()[0], 1),
        "documents": len(pdfs),
        "runs": runs,
        "speed_up": {str(run["workers"]): round(first["wall_s"] / run["wall_s"], 2) for run in runs},
        "at_100_workers": predicted(first, documents=len(pdfs)),
    }
    print(json.dumps(figures, indent=1))


def measured(workers: int, folder: Path, data: Path) -> dict[str, Any]:
    """One ingest by so many workers of one processor each."""
    from ray.cluster_utils import Cluster

    from ingest import cluster as ours
    from strongroom.access import LOCAL_USER
    from strongroom.app.appliance import Appliance
    from strongroom.config import load
    from strongroom.types import IngestRequest

    note(f"{workers} workers: starting")
    started: list[int] = []
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **_NODE})
    try:
        for processor in sorted(os.sched_getaffinity(0))[:workers]:
            node = nodes.add_node(num_cpus=1, **_NODE)
            started.append(node.all_processes["raylet"][0].process.pid)
            pin(started[-1], processor)
        settings = load({"data_dir": data, "ingest_engine": "ray", "ray_address": nodes.address}).settings
        appliance = Appliance(settings, purpose="benchmark")
        travelled = Travelled(ours)
        try:
            engine = appliance.as_user(LOCAL_USER)
            warm = data.parent / f"warm-{workers}"
            warm.mkdir()
            for number in range(2 * workers):
                shutil.copy(next(iter(sorted(folder.iterdir()))), warm / f"{number}.pdf")
                with (warm / f"{number}.pdf").open("ab") as file:
                    file.write(b"%% %d\n" % number)
            engine.ingest(IngestRequest((str(warm),), collection="warm"), on_event=lambda _event: None)
            travelled.reset()
            note(f"{workers} workers: ingesting")
            theirs = sum(map(processor_seconds, started))
            wall, processor_s = time.perf_counter(), time.process_time()
            summary = engine.ingest(IngestRequest((str(folder),)), on_event=lambda _event: None)
            wall, processor_s = time.perf_counter() - wall, time.process_time() - processor_s
            theirs = sum(map(processor_seconds, started)) - theirs
        finally:
            travelled.undo()
            appliance.close()
    finally:
        nodes.shutdown()
    sent = sum(path.stat().st_size for path in folder.iterdir())
    return {
        "workers": workers,
        "outcomes": summary.outcomes,
        "pages": summary.pages,
        "chunks": summary.chunks,
        "wall_s": round(wall, 2),
        "owner_cpu_s": round(processor_s, 2),
        "workers_cpu_s": round(theirs, 2),
        "mb": {
            "documents to workers": round(sent / 1e6, 2),
            "texts and layouts back": round(travelled.parsed / 1e6, 2),
            "texts to embedders": round(travelled.texts / 1e6, 2),
            "vectors back": round(travelled.vectors / 1e6, 2),
        },
    }


def pin(pid: int, processor: int) -> None:
    """Keep a process, all its threads and children, and what they start from now on, on one processor."""
    for one in family(pid):
        for task in Path(f"/proc/{one}/task").glob("*"):
            with suppress(OSError):  # it ended meanwhile
                os.sched_setaffinity(int(task.name), {processor})


def processor_seconds(pid: int) -> float:
    """Processor time of a process, all below it, and all below it that have ended."""
    total = 0
    for one in family(pid):
        with suppress(OSError):
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            total += sum(int(ticks) for ticks in fields[11:15])
    return total / os.sysconf("SC_CLK_TCK")


class Travelled:
    """Counts bytes that workers return and embedders are given, by standing between them and the owner."""

    def __init__(self, module: Any) -> None:
        self._module, self._outcome, self._embed = module, module._outcome, module.RayEmbedder.embed_documents
        self.reset()

        def outcome(kind: int, payload: bytes) -> Any:
            self.parsed += len(payload)
            return self._outcome(kind, payload)

        def embed(embedder: Any, texts: Sequence[str]) -> Any:
            made = self._embed(embedder, texts)
            self.texts += sum(len(text.encode()) for text in texts)
            self.vectors += made.nbytes
            return made

        module._outcome, module.RayEmbedder.embed_documents = outcome, embed

    def reset(self) -> None:
        self.parsed = self.texts = self.vectors = 0

    def undo(self) -> None:
        self._module._outcome, self._module.RayEmbedder.embed_documents = self._outcome, self._embed


def predicted(one: dict[str, Any], *, documents: int) -> dict[str, Any]:
    """What the owner's own work and the network leave possible, from one worker's figures."""
    owner, pages = one["owner_cpu_s"] / one["pages"], one["pages"]
    worker = one["workers_cpu_s"] / pages
    megabytes = sum(one["mb"].values())
    return {
        "owner_ms_a_page": round(owner * 1000, 2),
        "worker_ms_a_page": round(worker * 1000, 2),
        "owner_feeds_at_most_pages_per_s": round(1 / owner, 1),
        "workers_that_this_keeps_busy": round(worker / owner, 1),
        "pages_per_s": round(min(100 / worker, 1 / owner), 1),
        "mb_a_document": round(megabytes / documents, 3),
        "network_mbit_per_s": round(min(100 / worker, 1 / owner) * megabytes / pages * 8, 1),
    }


if __name__ == "__main__":
    main()
