"""Measure the fast embedder beside fp32 sentence-transformers on real chunks; print one JSON object.

    python benchmarks/embedder.py PDF_DIR [--models-dir DIR] [--chunks 500] [--rounds 3]

Texts are the PDFs' chunks as the product cuts and embeds them, the same for a given folder. The two backends
take turns within one run and the median round counts. `texts_per_s` is by the wall clock; `texts_per_cpu_s` divides by
the processor time of the process instead, which a busy machine disturbs less. Quote the ratios.
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

    models_dir = args.models_dir or Settings().models_dir
    model = args.model or DEFAULT_EMBEDDER
    chunks = read_chunks(args.pdf_dir, args.chunks)
    started = time.perf_counter()
    fast = open_embedder(models_dir, model, "fast")
    opened = time.perf_counter() - started
    reference = open_embedder(models_dir, model, "reference")
    assert isinstance(fast, FastEmbedder)
    for embedder in (fast, reference):  # threads, allocators, compiled shapes
        embedder.embed_documents(chunks[:64])

    runs: dict[str, list[tuple[float, float]]] = {"fast": [], "reference": []}
    vectors = {}
    for _ in range(args.rounds):
        for name, embedder in (("reference", reference), ("fast", fast)):

            def work(name: str = name, embedder: object = embedder) -> None:
                vectors[name] = embedder.embed_documents(chunks)  # type: ignore[attr-defined]

            runs[name].append(timed(work))
    cosines = sorted(float(c) for c in (vectors["fast"] * vectors["reference"]).sum(1))

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
                "open_s": round(opened, 2),
                "reference_texts_per_s": round(rate["reference", "s"], 1),
                "fast_texts_per_s": round(rate["fast", "s"], 1),
                "ratio": round(rate["fast", "s"] / rate["reference", "s"], 2),
                "reference_texts_per_cpu_s": round(rate["reference", "cpu_s"], 1),
                "fast_texts_per_cpu_s": round(rate["fast", "cpu_s"], 1),
                "ratio_cpu": round(rate["fast", "cpu_s"] / rate["reference", "cpu_s"], 2),
                "min_cosine": round(cosines[0], 6),
                "median_cosine": round(statistics.median(cosines), 6),
                "query_p50_ms": round(statistics.median(latencies), 2),
                "query_p95_ms": round(latencies[int(len(latencies) * 0.95)], 2),
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
