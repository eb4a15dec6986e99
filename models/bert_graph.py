"""A BERT-family encoder with pooling as one OpenVINO graph, written by operators straight from the safetensors.

Method: Devlin et al. 2019 (arXiv:1810.04805), post-layer-norm encoder with exact GELU; pooling and scaling to unit
length as in Reimers and Gurevych 2019 (arXiv:1908.10084), inside the graph so that only one vector a text comes back.
No converter runs, so nothing of OpenVINO's tools (which report usage) is called. Attention is spelt out as
matmul, softmax, matmul: the CPU plug-in compiles that pattern into one fused kernel, which on two cores was slightly
faster here than its ready-made attention operator.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from models.spec import EmbedderSpec, position_offset
from strongroom.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

ARCHITECTURES = frozenset({"bert", "roberta", "xlm-roberta"})
_MODULES = ({"Transformer", "Pooling"}, {"Transformer", "Pooling", "Normalize"})
MASKED = -3.0e4  # finite in bf16 too; exp() of it is 0


def supported(spec: EmbedderSpec) -> bool:
    """True when this module can express the directory's pipeline exactly."""
    config = json.loads((spec.directory / "config.json").read_text(encoding="utf-8"))
    return (
        spec.architecture in ARCHITECTURES
        and set(spec.modules) in _MODULES
        and config.get("hidden_act") == "gelu"
        and config.get("position_embedding_type", "absolute") == "absolute"
        and (spec.directory / "model.safetensors").exists()
    )


def build(spec: EmbedderSpec, layers: Callable[..., Layers] | None = None) -> Any:
    """The graph as `openvino.Model`: int32 ids and mask `[batch, tokens]` to unit vectors `[batch, dimension]`.

    `layers` puts other products in the place of the usual ones. Raises `ModelError` when a weight is missing.
    """
    from openvino import Model
    from openvino import opset13 as op

    config = json.loads((spec.directory / "config.json").read_text(encoding="utf-8"))
    weights = _Weights(spec)
    heads, eps = int(config["num_attention_heads"]), float(config["layer_norm_eps"])
    net = (layers or Layers)(op, weights, heads=heads, eps=eps)

    ids = op.parameter([-1, -1], np.int32, name="input_ids")
    mask = op.parameter([-1, -1], np.int32, name="attention_mask")
    keep = op.convert(mask, "f32")
    hidden = net.embed(ids, position_offset(config))
    bias = op.unsqueeze(op.multiply(op.subtract(net.constant(1.0), keep), net.constant(MASKED)), net.ints(1, 2))
    for layer in range(int(config["num_hidden_layers"])):
        hidden = net.encode(hidden, bias, f"encoder.layer.{layer}.")
    pooled = net.mean(hidden, keep) if spec.pooling == "mean" else op.gather(hidden, net.scalar(0), net.scalar(1))
    unit = op.normalize_l2(pooled, net.ints(1), 1e-12, "max")
    return Model([op.result(unit, name="embedding")], [ids, mask], "encoder")


class _Weights:
    """Tensors by their name inside the encoder, as float32, whatever prefix the checkpoint puts before it."""

    def __init__(self, spec: EmbedderSpec) -> None:
        from safetensors.numpy import load_file

        self._tensors: dict[str, NDArray[Any]] = load_file(str(spec.directory / "model.safetensors"))
        word = "embeddings.word_embeddings.weight"
        self._prefix = next((key[: -len(word)] for key in self._tensors if key.endswith(word)), "")
        self._name = spec.name

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        try:
            return np.ascontiguousarray(self._tensors[self._prefix + name], dtype=np.float32)
        except KeyError as exc:
            raise ModelError(
                f"{self._name}: the weights hold no {name}", hint="The file is not a BERT encoder."
            ) from exc


class Layers:
    """The pieces of the encoder as OpenVINO nodes."""

    def __init__(
        self, op: Any, weights: Mapping[str, NDArray[np.float32]] | _Weights, *, heads: int, eps: float
    ) -> None:
        self._op, self._weights, self._heads, self._eps = op, weights, heads, eps

    def constant(self, value: Any) -> Any:
        return self._op.constant(np.asarray(value, dtype=np.float32))

    def ints(self, *values: int) -> Any:
        return self._op.constant(np.array(values, dtype=np.int64))

    def scalar(self, value: int) -> Any:
        return self._op.constant(np.int64(value))

    def embed(self, ids: Any, offset: int) -> Any:
        """Word, position and (first) type embeddings, normalised. Position and type rows are added beforehand."""
        op, weights = self._op, self._weights
        words = op.gather(self.constant(weights["embeddings.word_embeddings.weight"]), ids, self.scalar(0))
        places = weights["embeddings.position_embeddings.weight"][offset:]
        places = places + weights["embeddings.token_type_embeddings.weight"][0]
        length = op.gather(op.shape_of(ids, "i64"), self.ints(1), self.scalar(0))
        places = op.slice(self.constant(places), self.ints(0), length, self.ints(1), self.ints(0))
        return self.norm(op.add(words, op.unsqueeze(places, self.ints(0))), "embeddings.LayerNorm")

    def encode(self, hidden: Any, bias: Any, at: str) -> Any:
        """One transformer layer."""
        op = self._op
        query, key, value = (
            self._split(self.linear(hidden, f"{at}attention.self.{n}")) for n in ("query", "key", "value")
        )
        width = self._weights[f"{at}attention.self.query.weight"].shape[0]
        scores = op.multiply(op.matmul(query, key, False, True), self.constant(1 / math.sqrt(width // self._heads)))
        mixed = op.matmul(op.softmax(op.add(scores, bias), -1), value, False, False)
        mixed = op.reshape(op.transpose(mixed, self.ints(0, 2, 1, 3)), self.ints(0, 0, width), True)
        hidden = self.norm(
            op.add(hidden, self.linear(mixed, f"{at}attention.output.dense")), f"{at}attention.output.LayerNorm"
        )
        wide = op.gelu(self.linear(hidden, f"{at}intermediate.dense"), "ERF")
        return self.norm(op.add(hidden, self.linear(wide, f"{at}output.dense")), f"{at}output.LayerNorm")

    def mean(self, hidden: Any, keep: Any) -> Any:
        """Mean over the tokens that the mask keeps."""
        op = self._op
        total = op.reduce_sum(op.multiply(hidden, op.unsqueeze(keep, self.ints(2))), self.ints(1), False)
        return op.divide(total, op.maximum(op.reduce_sum(keep, self.ints(1), True), self.constant(1e-9)))

    def linear(self, hidden: Any, at: str) -> Any:
        product = self._op.matmul(hidden, self.constant(self._weights[f"{at}.weight"]), False, True)
        return self._op.add(product, self.constant(self._weights[f"{at}.bias"][None, None]))

    def norm(self, hidden: Any, at: str) -> Any:
        op = self._op
        normal = op.mvn(hidden, self.ints(-1), True, self._eps, "inside_sqrt")
        scaled = op.multiply(normal, self.constant(self._weights[f"{at}.weight"][None, None]))
        return op.add(scaled, self.constant(self._weights[f"{at}.bias"][None, None]))

    def _split(self, hidden: Any) -> Any:
        """`[batch, tokens, width]` to `[batch, heads, tokens, width / heads]`."""
        op = self._op
        return op.transpose(op.reshape(hidden, self.ints(0, 0, self._heads, -1), True), self.ints(0, 2, 1, 3))
