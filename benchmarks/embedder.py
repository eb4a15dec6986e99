"""Measure the fast embedder, and the same in bf16, beside fp32 sentence-transformers on real chunks; print one JSON.

    python benchmarks/embedder.py PDF_DIR [--models-dir DIR] [--chunks 500] [--rounds 3]

Texts are the PDFs' chunks as the product cuts and embeds them, the same for a given folder. `fast` embeds them as the
product does (in 8 bits), `bf16` as it does questions. They take turns within one run and the median round counts.
`texts_per_s` is by the wall clock; `texts_per_cpu_s` divides by the processor time of the process instead, which a busy
machine disturbs less. Quote the ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from strongroom import airgap

airgap.prepare_environment()


def read_chunks(folder: Path, count: int) -> list[str]:
    """`count` chunks as the product embeds them, from the PDFs below `folder`, shuffled with a fixed seed."""
    from ingest.chunk import Chunker, wording
    from ingest.parse import parse_file
    from models.defaults import DEFAULT_EMBEDDER, tokenizer_path
    from models.tokenizer import FileTokenizer
    from strongroom.config import load

    chunker = Chunker(FileTokenizer(tokenizer_path(load().settings.models_dir, DEFAULT_EMBEDDER)))
    texts: list[str] = []
    for path in sorted(folder.rglob("*.pdf")):
        document = parse_file(path, "application/pdf", ocr="never")
        texts += [wording(path.name, document.title, c.headings, c.text).passage for c in chunker.chunk(document)]
    random.Random(7).shuffle(texts)
    if len(texts) < count:
        raise SystemExit(f"{folder} gives only {len(texts)} chunks, {count} are needed")
    return texts[:count]


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Wall-clock and processor seconds of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pdf_dir", type=Path)
    parser.add_argument("--models-dir", type=Path)
    parser.add_argument("--model", default=None)
    parser.add_argument("--chunks", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()

    from models.cpu import usable_cpus
    from models.defaults import DEFAULT_EMBEDDER, open_embedder
    from models.embedder import FastEmbedder
    from strongroom.config import Settings
    from strongroom.ports import Embedder

    models_dir = args.models_dir or Settings().models_dir
    model = args.model or DEFAULT_EMBEDDER
    chunks = read_chunks(args.pdf_dir, args.chunks)
    started = time.perf_counter()
    fast = open_embedder(models_dir, model, "fast")
    opened = time.perf_counter() - started
    assert isinstance(fast, FastEmbedder)
    embedders: dict[str, Embedder] = {
        "reference": open_embedder(models_dir, model, "reference"),
        "bf16": open_embedder(models_dir, model, "fast", precision="bf16"),
        "fast": fast,
    }
    for embedder in embedders.values():  # threads, allocators, compiled shapes
        embedder.embed_documents(chunks[:64])

    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in embedders}
    vectors = {}
    for _ in range(args.rounds):
        for name, embedder in embedders.items():

            def work(name: str = name, embedder: Embedder = embedder) -> None:
                vectors[name] = embedder.embed_documents(chunks)

            runs[name].append(timed(work))
    cosines = {name: (vectors[name] * vectors["reference"]).sum(1) for name in embedders}

    questions = [" ".join(chunk.split()[3:14]) for chunk in chunks[:200]]
    for question in questions[:50]:
        fast.embed_query(question)
    latencies = sorted(timed(lambda q=question: fast.embed_query(q))[0] * 1000 for question in questions)

    rate = {
        (name, clock): len(chunks) / statistics.median(run[at] for run in runs[name])
        for name in runs
        for at, clock in enumerate(("s", "cpu_s"))
    }
    print(
        json.dumps(
            {
                "model": model,
                "chunks": len(chunks),
                "mean_characters": round(statistics.mean(map(len, chunks))),
                "cpus": usable_cpus(),
                "load_average": round(os.getloadavg()[0], 1),
                "precision": fast.precision,
                "passage_precision": fast.passage_precision,
                "open_s": round(opened, 2),
                **{f"{name}_texts_per_s": round(rate[name, "s"], 1) for name in runs},
                "ratio": round(rate["fast", "s"] / rate["reference", "s"], 2),
                "ratio_of_bf16": round(rate["bf16", "s"] / rate["reference", "s"], 2),
                **{f"{name}_texts_per_cpu_s": round(rate[name, "cpu_s"], 1) for name in runs},
                "ratio_cpu": round(rate["fast", "cpu_s"] / rate["reference", "cpu_s"], 2),
                "ratio_cpu_of_bf16": round(rate["bf16", "cpu_s"] / rate["reference", "cpu_s"], 2),
                "min_cosine": round(float(cosines["fast"].min()), 6),
                "median_cosine": round(float(statistics.median(cosines["fast"])), 6),
                "min_cosine_of_bf16": round(float(cosines["bf16"].min()), 6),
                "query_p50_ms": round(statistics.median(latencies), 2),
                "query_p95_ms": round(latencies[int(len(latencies) * 0.95)], 2),
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
