"""What 8-bit products would give the default embedder: speed beside bf16, and cosine to fp32, one core, one run.

    python -m benchmarks.eight_bits PDF_DIR [--texts 96]

Weights in 8 bits a row, activations in 8 bits a tensor with scales measured beforehand, outliers of activations moved
into the weights (Xiao et al. 2023, "SmoothQuant", arXiv:2211.10438). A measurement: nothing in the product uses it.
Prints one JSON line for each form; docs/decisions/throughput.md quotes them.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ingest.chunk import Chunker
from ingest.parse.pdf import parse_pdf
from models.bert_graph import Layers, build
from models.defaults import embedder_spec
from models.embedder import TOKEN_BUDGET, _pad
from models.spec import EmbedderSpec
from models.tokenizer import BatchTokenizer, FileTokenizer
from strongroom import airgap
from strongroom.config import load

_CALIBRATION = 96

# name: which products, the exponent, and the exponent before a layer's last product
FORMS: dict[str, tuple[Callable[[str], bool], float, float]] = {
    "all, 0.8": (lambda _at: True, 0.8, 0.8),
    "all, 0.65 and 0.85": (lambda _at: True, 0.65, 0.85),
    "all but the last of a layer, 0.65": (lambda at: not _last(at), 0.65, 0.65),
    "query, key and value, 0.5": (lambda at: "self" in at, 0.5, 0.5),
    "the first wide product, 0.5": (lambda at: at.endswith("intermediate.dense"), 0.5, 0.5),
}


def _last(at: str) -> bool:
    return at.endswith("output.dense") and "attention" not in at


class _Watched(Layers):
    """Also gives the largest activation of each channel before each product."""

    seen: dict[str, Any]

    def linear(self, hidden: Any, at: str) -> Any:
        op = self._op
        self.seen[at] = op.reduce_max(op.abs(hidden), self.ints(0, 1))
        return super().linear(hidden, at)


class _Eight(Layers):
    """Chosen products in 8 bits."""

    largest: dict[str, Any]
    form: tuple[Callable[[str], bool], float, float]

    def linear(self, hidden: Any, at: str) -> Any:
        chosen, usual, last = self.form
        if not chosen(at):
            return super().linear(hidden, at)
        op, exponent = self._op, last if _last(at) else usual
        weight, reach = self._weights[f"{at}.weight"], np.maximum(self.largest[at], 1e-5)
        moved = np.maximum(reach**exponent / np.maximum(np.abs(weight).max(0), 1e-5) ** (1 - exponent), 1e-4)
        weight, top = weight * moved[None], float((reach / moved).max())
        ends = [self.constant(-top * 128 / 127), self.constant(top)]
        hidden = op.fake_quantize(op.multiply(hidden, self.constant((1 / moved)[None, None])), *ends, *ends, 256)
        scale = np.abs(weight).max(1)[:, None] / 127
        eight = op.constant(np.clip(np.round(weight / scale), -127, 127).astype(np.int8))
        product = op.matmul(hidden, op.multiply(op.convert(eight, "f32"), self.constant(scale)), False, True)
        return op.add(product, self.constant(self._weights[f"{at}.bias"][None, None]))


def main() -> None:
    """Parse arguments, measure each form, print its line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pdf_dir", type=Path)
    parser.add_argument("--texts", type=int, default=96)
    args = parser.parse_args()
    airgap.prepare_environment()
    from openvino import Core

    settings = load().settings
    spec = embedder_spec(settings.models_dir, settings.embedder)
    chunker = Chunker(FileTokenizer(spec.tokenizer_file))
    paths = sorted(path for path in args.pdf_dir.rglob("*") if path.suffix.lower() == ".pdf")
    texts = [chunk.text for path in paths[2:30:3] for chunk in chunker.chunk(parse_pdf(path, ocr="never"))]
    random.Random(3).shuffle(texts)
    tokens = BatchTokenizer(spec.tokenizer_file, max_tokens=spec.max_tokens).ids(texts[: _CALIBRATION + args.texts])
    core = Core()
    exact, _ = timed(core, build(spec), tokens[_CALIBRATION:], "f32")
    vectors, bf16 = timed(core, build(spec), tokens[_CALIBRATION:], "bf16")
    report("none", bf16, bf16, exact, vectors)
    _Eight.largest = calibrated(core, spec, tokens[:_CALIBRATION])
    for name, form in FORMS.items():
        _Eight.form = form
        vectors, seconds = timed(core, build(spec, _Eight), tokens[_CALIBRATION:], "bf16")
        report(name, seconds, bf16, exact, vectors)


def report(name: str, seconds: float, bf16: float, exact: Any, vectors: Any) -> None:
    """Print one line."""
    cosine = (exact * vectors).sum(axis=1)
    figures = {"cpu_s": seconds, "times_bf16": bf16 / seconds, "lowest_cosine": cosine.min(), "mean": cosine.mean()}
    print(json.dumps({"products": name, **{k: round(float(v), 5) for k, v in figures.items()}}), flush=True)


def calibrated(core: Any, spec: EmbedderSpec, tokens: list[list[int]]) -> dict[str, Any]:
    """The largest activation of each channel before each product, over texts taken one by one."""
    _Watched.seen = {}
    model = build(spec, _Watched)
    model.add_outputs([node.output(0) for node in _Watched.seen.values()])
    request = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1})
    largest: dict[str, Any] = {}
    for one in tokens:
        values = list(request({0: np.array([one], np.int32), 1: np.ones((1, len(one)), np.int32)}).values())
        for at, value in zip(_Watched.seen, values[1:], strict=True):
            largest[at] = np.maximum(largest.get(at, 0), value)
    return largest


def timed(core: Any, model: Any, tokens: list[list[int]], precision: str) -> tuple[Any, float]:
    """Vectors of all texts, and the processor seconds of the better of two passes."""
    options = {"INFERENCE_PRECISION_HINT": precision, "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": 1}
    request = core.compile_model(model, "CPU", options).create_infer_request()
    order = sorted(range(len(tokens)), key=lambda i: -len(tokens[i]))
    out = np.zeros((len(tokens), model.output(0).partial_shape[1].get_length()), dtype=np.float32)
    batches = []
    while order:
        take = max(1, TOKEN_BUDGET // len(tokens[order[0]]))
        rows, order = order[:take], order[take:]
        batches.append((rows, *_pad([tokens[i] for i in rows], len(tokens[rows[0]]))))
    best = float("inf")
    for _ in range(2):
        begun = time.process_time()
        for rows, ids, mask in batches:
            request.infer({0: ids, 1: mask})
            out[rows] = request.get_output_tensor(0).data
        best = min(best, time.process_time() - begun)
    return out, best


if __name__ == "__main__":
    main()
