"""Prepare an embedder for the fast backend, once, at install. Must not run at query time.

Writes the graphs and the fp32 vectors of the self-test; the registry records their hashes in the receipt.
"""

from __future__ import annotations

import json
from pathlib import Path

from models.spec import EmbedderSpec

GRAPH = "encoder.xml"
GRAPH_WEIGHTS = "encoder.bin"
REFERENCE = "reference.json"


def convert_embedder(spec: EmbedderSpec, folder: Path) -> bool:
    """Write the fast form of `spec` to `folder`; False (and nothing written) when the architecture is not supported.

    The reference vectors come from the torch model, not from the graph, so that the self-test also proves the graph.
    Raises `ModelError`.
    """
    from models import bert_graph
    from models.embedder import PROBES, ReferenceEmbedder, _native

    if not bert_graph.supported(spec):
        return False
    vectors = ReferenceEmbedder(spec).encode_exactly(PROBES)
    folder.mkdir(parents=True)
    with _native(spec.name):
        from openvino import save_model

        save_model(bert_graph.build(spec), str(folder / GRAPH), compress_to_fp16=False)
    stored = {"probes": list(PROBES), "vectors": [[float(value) for value in row] for row in vectors]}
    (folder / REFERENCE).write_text(json.dumps(stored), encoding="utf-8")
    return True


def convert_to_eight_bits(spec: EmbedderSpec, converted: Path, folder: Path) -> None:
    """Write the form of `spec` in 8 bits to `folder`, or a note instead of it when it fails its self-test.

    `converted` is what `convert_embedder` wrote. Raises `ModelError`.
    """
    from models.eight_bits import build_eight_bits
    from models.embedder import MIN_COSINE_EIGHT_BITS, FastEmbedder, _native

    folder.mkdir()
    with _native(spec.name):
        from openvino import save_model

        save_model(build_eight_bits(spec), str(folder / GRAPH), compress_to_fp16=False)
    opened = FastEmbedder(spec, converted, folder)
    opened.embed_documents([""])
    if opened.passage_precision != "i8":
        for name in (GRAPH, GRAPH_WEIGHTS):
            (folder / name).unlink()
        (folder / "refused.txt").write_text(f"8 bits give this model a cosine below {MIN_COSINE_EIGHT_BITS} to fp32.\n")
