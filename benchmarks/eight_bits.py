"""What 8-bit products give the default embedder, and what they cost it: speed beside bf16, and cosine to fp32.

    python -m benchmarks.eight_bits PDF_DIR [--texts 96] [--xquad FOLDER]

Passages are those of contracts, as the product cuts them, and with `--xquad` 30 paragraphs of each of its languages.
One core, one run, processor time of the better of two passes. The first line is the form of questions (bf16), the
second the product's form of passages; the others are what was not taken. Prints one JSON line for each with lowest and
mean cosines; docs/decisions/throughput.md quotes them.
"""

from __future__ import annotations

import argparse
import functools
import json
import random
import time
from pathlib import Path
from typing import Any

import numpy as np

from ingest.chunk import Chunker
from ingest.parse.pdf import parse_pdf
from models.bert_graph import build
from models.defaults import embedder_spec
from models.eight_bits import EightBits, calibration_ids, measure_reach
from models.embedder import TOKEN_BUDGET, _pad
from models.tokenizer import BatchTokenizer, FileTokenizer
from strongroom import airgap
from strongroom.config import load

_PARAGRAPHS = 30


class All(EightBits):
    exact = ()


class AllWithLessMoved(EightBits):
    exact = ()
    moved_last = 0.65


class FirstTwoLayers(EightBits):
    exact = tuple(f"encoder.layer.{layer}.output.dense" for layer in range(2))


class NoLastProduct(EightBits):
    exact = tuple(f"encoder.layer.{layer}.output.dense" for layer in range(6))


FORMS: dict[str, type[EightBits]] = {
    "all but the last of the first layer (the product)": EightBits,
    "all": All,
    "all, 0.65 before every product": AllWithLessMoved,
    "all but the last of the first two layers": FirstTwoLayers,
    "all but the last of each layer": NoLastProduct,
}


def main() -> None:
    """Parse arguments, measure each form, print its line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pdf_dir", type=Path)
    parser.add_argument("--texts", type=int, default=96)
    parser.add_argument("--xquad", type=Path)
    args = parser.parse_args()
    airgap.prepare_environment()
    from openvino import Core

    settings = load().settings
    spec = embedder_spec(settings.models_dir, settings.embedder)
    tokenizer = BatchTokenizer(spec.tokenizer_file, max_tokens=spec.max_tokens)
    tokens = {"contracts": tokenizer.ids(contracts(args.pdf_dir, FileTokenizer(spec.tokenizer_file))[: args.texts])}
    for path in sorted(args.xquad.glob("xquad.*.json")) if args.xquad else ():
        tokens[path.suffixes[0][1:]] = tokenizer.ids(paragraphs(path))
    core = Core()
    reach = measure_reach(spec, calibration_ids(spec))
    exact = {name: timed(core, build(spec), ids, "f32")[0] for name, ids in tokens.items()}
    bf16 = 0.0
    for name, form in {"none": None, **FORMS}.items():
        model = build(spec, form and functools.partial(form, reach=reach))
        figures: dict[str, Any] = {"products": name}
        for text, ids in tokens.items():
            vectors, seconds = timed(core, model, ids, "bf16")
            cosine = (exact[text] * vectors).sum(axis=1)
            figures[text] = [round(float(value), 4) for value in (cosine.min(), cosine.mean())]
            if text == "contracts":
                bf16 = bf16 or seconds
                figures |= {"cpu_s": round(seconds, 3), "times_bf16": round(bf16 / seconds, 3)}
        print(json.dumps(figures), flush=True)


def contracts(folder: Path, tokenizer: FileTokenizer) -> list[str]:
    """Passages of some of the folder's PDFs, shuffled with a fixed seed."""
    chunker = Chunker(tokenizer)
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() == ".pdf")
    texts = [chunk.text for path in paths[2:30:3] for chunk in chunker.chunk(parse_pdf(path, ocr="never"))]
    random.Random(3).shuffle(texts)
    return texts


def paragraphs(path: Path) -> list[str]:
    """Some paragraphs of a file in SQuAD's form, drawn with a fixed seed."""
    articles = json.loads(path.read_text(encoding="utf-8"))["data"]
    texts = [paragraph["context"] for article in articles for paragraph in article["paragraphs"]]
    return random.Random(3).sample(texts, _PARAGRAPHS)


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
