"""How long a query takes at size: a filtered hybrid search over synthetic points, its question embedded.

    python -m benchmarks.latency DATA --points 1000 10000 100000 1000000 [--vectors full scalar binary]
        [--waiting 19500]

The questions that are embedded are those of DATA/cuad/queries.jsonl. Each size is searched exactly, with HNSW, and with
`--waiting` more points that no HNSW holds yet; `--vectors` does so with vectors of 32 bits (`full`), 8 or 1. Each size
prints a line to stderr as it ends, all of them one JSON to stdout. The figures are quoted in docs/decisions/latency.md.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.memory import memory
from benchmarks.retrieval import READER, spread
from benchmarks.run import machine, note
from retrieval.index import shard
from retrieval.index.edge import EdgeIndex
from strongroom import airgap
from strongroom.app.models import InstalledModels
from strongroom.config import load
from strongroom.ports import Embedder, IndexPoint, IndexQuery, Vectors

VECTORS = ("full", "scalar", "binary")


def main() -> None:
    """Parse arguments, measure, print the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder that holds cuad/queries.jsonl")
    parser.add_argument("--points", type=int, nargs="+", required=True, help="sizes")
    parser.add_argument("--vectors", nargs="+", default=["full"], choices=VECTORS, help="32 bits, 8 or 1 a number")
    parser.add_argument("--waiting", type=int, default=0, help="points stored after HNSW was built, for a third look")
    args = parser.parse_args()
    airgap.prepare_environment()
    lines = (args.data / "cuad" / "queries.jsonl").read_text(encoding="utf-8").splitlines()
    questions = [json.loads(line)["question"] for line in lines if line.strip()]
    settings = load().settings
    embedder = InstalledModels(settings).embedder()
    figures: dict[str, Any] = {"machine": machine()}
    for count in args.points:
        for kind in args.vectors:
            found = latency(count, embedder, questions, kind, args.waiting)
            figures[f"{count} {kind}"] = found
            note(json.dumps(found))  # the next size may take long
    print(json.dumps(figures, indent=2))


def latency(count: int, embedder: Embedder, questions: Sequence[str], kind: str, waiting: int) -> dict[str, Any]:
    """Milliseconds of a filtered hybrid query over `count` synthetic points, before and after HNSW is built, and with
    `waiting` more that it does not hold yet.

    A question is embedded for each query, and IDF counts what the reader may see: every second point. Vectors lie
    around 200 centres; words follow Zipf's law over 20,000.
    """
    note(f"latency over {count} points, {kind} vectors")
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(200, embedder.dimension))
    zipf = 1 / np.arange(1, 20_001)
    zipf /= zipf.sum()
    words = np.array([f"w{i}" for i in range(20_000)])

    def vectors(n: int) -> Vectors:
        raw = centres[rng.integers(0, 200, n)] + 0.8 * rng.normal(size=(n, embedder.dimension))
        return np.asarray(raw / np.linalg.norm(raw, axis=1, keepdims=True), dtype=np.float32)

    def texts(n: int, length: int) -> list[str]:
        return [" ".join(row) for row in words[rng.choice(20_000, size=(n, length), p=zipf)]]

    with tempfile.TemporaryDirectory(prefix="strongroom-bench-") as folder, smaller_vectors(kind):
        index = EdgeIndex(Path(folder), embedder.dimension, build_at=10**9)
        blank = IndexPoint("", vectors(1)[0], "", "", "v", "c", ())
        before_it = memory(os.getpid())

        def store(first: int, end: int) -> float:
            slowest = 0.0
            for start in range(first, end, 500):
                size = min(500, end - start)
                batch = [
                    replace(
                        blank,
                        id=str(uuid.UUID(int=start + n)),
                        dense=vector,
                        text=text,
                        document_id=f"d{(start + n) // 50}",
                        allow=("group:everyone",) if n % 2 else (f"user:{n % 40}",),
                    )
                    for n, (vector, text) in enumerate(zip(vectors(size), texts(size, 90), strict=True))
                ]
                began = time.perf_counter()
                index.upsert(batch)
                slowest = max(slowest, time.perf_counter() - began)
            return slowest

        slowest = store(0, count)
        index.flush()
        queries = list(zip(vectors(200), texts(200, 8), questions * (1 + 200 // len(questions)), strict=False))
        figures: dict[str, Any] = {"upsert_500_slowest_ms": round(slowest * 1000, 1)}
        exact, before = timed_queries(index, embedder, queries)
        figures["exact"] = exact | held(before_it)
        index._build_at = 0  # start the build now rather than at the shipped threshold
        began = time.perf_counter()
        index.flush()
        builder = index._builder
        assert builder is not None
        meanwhile = 0.0
        while builder.is_alive():
            asked = time.perf_counter()
            index.search(IndexQuery(*queries[0][:2]), READER, 32)
            took = time.perf_counter() - asked
            meanwhile = max(meanwhile, took)
            builder.join(max(0.2, 9 * took))  # the build has nine tenths of the time to itself
        figures |= {
            "build_s": round(time.perf_counter() - began, 1),
            "slowest_query_during_build_ms": round(meanwhile * 1000, 1),
        }
        hnsw, after = timed_queries(index, embedder, queries)
        figures["hnsw"] = hnsw | held(before_it)
        figures["same_top_10"] = round(
            statistics.fmean(len(set(a) & set(b)) / 10 for a, b in zip(before, after, strict=True)), 4
        )
        if waiting:  # as many new points as may wait for the next build, which are searched exactly
            index._build_at = 10**9
            store(count, count + waiting)
            index.flush()
            figures[f"hnsw and {waiting} new"] = timed_queries(index, embedder, queries)[0] | held(before_it)
        index.close()
    return figures


@contextmanager
def smaller_vectors(kind: str) -> Iterator[None]:
    """Shards that are made meanwhile also hold their vectors in 8 bits or in one, and read these first."""
    import qdrant_edge as qe

    made = shard.config
    how: dict[str, Any] = {
        "scalar": qe.ScalarQuantizationConfig(qe.ScalarType.Int8, memory=qe.Memory.Cached),
        "binary": qe.BinaryQuantizationConfig(memory=qe.Memory.Cached),
    }

    def config(dimension: int) -> Any:
        return qe.EdgeConfig(
            vectors=made(dimension).vectors,
            sparse_vectors=made(dimension).sparse_vectors,
            quantization_config=how[kind],
        )

    if kind in how:
        shard.config = config
    try:
        yield
    finally:
        shard.config = made


def held(before: tuple[int, int]) -> dict[str, int]:
    """MiB that this process holds beyond `before`: for itself, and mapped files included."""
    now = memory(os.getpid())
    return {
        name: (after - earlier) >> 20
        for name, after, earlier in zip(("anonymous_mb", "resident_mb"), now, before, strict=True)
    }


def timed_queries(
    index: EdgeIndex, embedder: Embedder, queries: Sequence[tuple[Any, str, str]]
) -> tuple[dict[str, Any], list[list[str]]]:
    """Milliseconds and the first ten ids of every query; a question is embedded before each, as in a search."""
    times, alone, found = [], [], []
    index.search(IndexQuery(*queries[0][:2]), READER, 32)
    cpu = time.process_time()
    for vector, words, question in queries:
        began = time.perf_counter()
        embedder.embed_query(question)
        middle = time.perf_counter()
        top = index.search(IndexQuery(vector, words), READER, 32)
        times.append((time.perf_counter() - began) * 1000)
        alone.append((time.perf_counter() - middle) * 1000)
        found.append([hit.chunk_id for hit in top[:10]])
    cpu = (time.process_time() - cpu) * 1000 / len(queries)
    return {"ms": spread(times), "index_ms": spread(alone), "cpu_ms_mean": round(cpu, 2)}, found


if __name__ == "__main__":
    main()
