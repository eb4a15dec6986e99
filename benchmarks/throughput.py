"""Where the time of an ingest goes, what the embedder could do at most, and what share of that it does.

    python -m benchmarks.throughput PDF_DIR [--rounds 3]

Every figure is processor time of this process, which other work on the machine disturbs less than the wall clock. The
limit is arithmetic: operations of the encoder for these very texts, divided by what one core does in bare matrix
products of the model's shapes: in bf16 (torch on oneDNN, the kind of product that the embedder's engine runs) and in 8
bits (the product's own, with the rounding of its input). Embedding and the bare products take turns in one run. Prints
one JSON object; docs/decisions/throughput.md quotes it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.run import machine, note
from ingest.chunk import Chunker, Wording, wording
from ingest.dense import DenseEncoder
from ingest.parse.pdf import parse_pdf
from ingest.running import bodies
from models.defaults import embedder_spec, open_embedder
from models.eight_bits import EightBits
from models.embedder import FastEmbedder
from models.tokenizer import BatchTokenizer
from retrieval.index.edge import EdgeIndex
from strongroom import airgap
from strongroom.config import load
from strongroom.ports import IndexPoint
from strongroom.types import ParsedDocument


def main() -> None:
    """Parse arguments, measure, print the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pdf_dir", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    airgap.prepare_environment()
    settings = load().settings
    spec = embedder_spec(settings.models_dir, settings.embedder)
    config = json.loads((spec.directory / "config.json").read_text(encoding="utf-8"))
    embedder = open_embedder(settings.models_dir, settings.embedder, threads=1, precision=settings.embedder_precision)
    assert isinstance(embedder, FastEmbedder)
    tokenizer = BatchTokenizer(spec.tokenizer_file, max_tokens=spec.max_tokens)
    embedder.embed_documents(["warm up"] * 64)

    seconds: dict[str, float] = {}
    note("parse and cut")
    begun = time.process_time()
    paths = sorted(path for path in args.pdf_dir.rglob("*") if path.suffix.lower() == ".pdf")
    documents = [(path.name, parse_pdf(path)) for path in paths]
    seconds["parse"] = time.process_time() - begun
    begun = time.process_time()
    chunker = Chunker(embedder.tokenizer)
    wordings = [
        wording(name, document.title, chunk.headings, chunk.text)
        for name, document in documents
        for chunk in chunker.chunk(document)
    ]
    seconds["cut"] = time.process_time() - begun

    rounds, peaks, peaks_eight = [], [], []
    sizes = int(config["hidden_size"]), int(config["intermediate_size"])
    for at in range(args.rounds):
        note(f"embed, round {at + 1}")
        peaks.append(peak(*sizes))
        peaks_eight.append(peak_in_eight_bits(*sizes))
        begun = time.process_time()
        vectors = DenseEncoder(embedder).encode(wordings)
        rounds.append(time.process_time() - begun)
    seconds["embed"] = statistics.median(rounds)
    note("index")
    begun = time.process_time()
    with tempfile.TemporaryDirectory(prefix="strongroom-bench-") as folder:
        index = EdgeIndex(Path(folder), embedder.dimension)
        index.upsert(
            [
                IndexPoint(
                    f"00000000-0000-0000-0000-{i:012x}",
                    v,
                    w.passage,
                    "d",
                    "v",
                    "c",
                    ("group:everyone",),
                    name=w.context,
                )
                for i, (v, w) in enumerate(zip(vectors, wordings, strict=True))
            ]
        )
        index.flush()
        index.close()
    seconds["index"] = time.process_time() - begun

    distinct = {text for w in wordings for text in (w.passage, w.context) if text}
    lengths = [len(ids) for ids in tokenizer.ids(sorted(distinct))]
    work = sum(operations(length, config) for length in lengths)
    core, core_eight = statistics.median(peaks), statistics.median(peaks_eight)
    eight = sum(operations_in_eight_bits(length, config) for length in lengths)
    least = eight / core_eight + (work - eight) / core
    total = sum(seconds.values())
    figures: dict[str, Any] = {
        "machine": machine(),
        "load_average": round(os.getloadavg()[0], 1),
        "pages": sum(len(document.pages) for _, document in documents),
        "chunks": len(wordings),
        "tokens": tokens(documents, wordings, tokenizer, sum(lengths)),
        "cpu_s": {name: round(value, 2) for name, value in seconds.items()},
        "share_of_embedding": round(seconds["embed"] / total, 3),
        "embed_cpu_s_of_each_round": [round(value, 2) for value in rounds],
        "gflop": round(work / 1e9, 1),
        "gflop_in_eight_bits": round(eight / 1e9, 1),
        "peak_gflop_per_s_core": {"bf16": round(core / 1e9, 1), "eight_bits": round(core_eight / 1e9, 1)},
        "reached_gflop_per_s_core": round(work / seconds["embed"] / 1e9, 1),
        "least_cpu_s_for_embedding": {"bf16": round(work / core, 2), "eight_bits": round(least, 2)},
        "share_of_peak": round((work / core if embedder.passage_precision != "i8" else least) / seconds["embed"], 3),
    }
    print(json.dumps(figures, indent=1))


def operations(length: int, config: dict[str, Any]) -> float:
    """Multiplications and additions of the encoder for one text of `length` tokens, padding not counted."""
    attention = 2 * 2 * length * int(config["hidden_size"])
    return float(length * (products(config) + int(config["num_hidden_layers"]) * attention))


def products(config: dict[str, Any]) -> int:
    """Those of all matrix products with weights, for one token."""
    width, wide = int(config["hidden_size"]), int(config["intermediate_size"])
    return int(config["num_hidden_layers"]) * 2 * (4 * width * width + 2 * width * wide)


def operations_in_eight_bits(length: int, config: dict[str, Any]) -> float:
    """Those of one text that run in 8 bits when passages do: products with weights, but for the last ones of layers
    that stay exact."""
    exact = len(EightBits.exact) * 2 * int(config["hidden_size"]) * int(config["intermediate_size"])
    return float(length * (products(config) - exact))


def peak_in_eight_bits(width: int, wide: int) -> float:
    """The same as `peak` for the embedder's products in 8 bits, their input in bf16."""
    from openvino import Core, Model
    from openvino import opset13 as op

    rng, core, best = np.random.default_rng(0), Core(), 0.0
    for inner, outer in ((width, wide), (wide, width)):
        weights = {
            "p.weight": rng.normal(size=(outer, inner)).astype(np.float32),
            "p.bias": np.zeros(outer, np.float32),
        }
        layers = EightBits(op, weights, heads=1, eps=1e-12, reach={"p": np.full(inner, 4.0, np.float32)})
        hidden = op.parameter([1, 1024, inner], np.float32)
        model = Model([op.result(layers.linear(hidden, "p"))], [hidden], "product")
        options = {"INFERENCE_PRECISION_HINT": "bf16", "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": 1}
        request = core.compile_model(model, "CPU", options).create_infer_request()
        request.infer({0: rng.normal(size=(1, 1024, inner)).astype(np.float32)})
        best = max(best, rate(request.infer, 2 * 1024 * inner * outer))
    return best


def peak(width: int, wide: int) -> float:
    """Operations a second of one core in the model's largest products, bf16, the best of several."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    best = 0.0
    try:
        with torch.inference_mode():
            for inner, outer in ((width, wide), (wide, width)):
                hidden = torch.randn(1024, inner, dtype=torch.bfloat16)
                layer = torch.nn.Linear(inner, outer, bias=False, dtype=torch.bfloat16)
                best = max(best, rate(partial(layer, hidden), 2 * 1024 * inner * outer))
    finally:
        torch.set_num_threads(threads)
    return best


def rate(product: Callable[[], object], work: int) -> float:
    """Operations a second of a product of `work` operations, the best of 30 times ten."""
    best = 0.0
    for _ in range(30):
        begun = time.process_time()
        for _ in range(10):
            product()
        best = max(best, 10 * work / (time.process_time() - begun))
    return best


def tokens(
    documents: Sequence[tuple[str, ParsedDocument]],
    wordings: Sequence[Wording],
    tokenizer: BatchTokenizer,
    embedded: int,
) -> dict[str, int]:
    """Tokens embedded, and what they would be otherwise. Two of each text are the model's own marks."""

    def count(texts: Sequence[str]) -> int:
        return sum(len(ids) for ids in tokenizer.ids(texts))

    cut_off = [
        piece
        for _, document in documents
        for page, (start, end) in zip(document.pages, bodies(document), strict=True)
        for piece in (document.text[page.start : start], document.text[end : page.end])
        if piece.strip()
    ]
    return {
        "embedded": embedded,
        "with_the_name_before_each_chunk": count([w.text for w in wordings]),
        "of_running_heads_left_out": count(cut_off) - 2 * len(cut_off),
        "of_texts_that_repeat": count([w.passage for w in wordings]) - count(sorted({w.passage for w in wordings})),
    }


if __name__ == "__main__":
    main()
