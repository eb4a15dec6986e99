"""The reader as one OpenVINO graph: the embedder's layers with segment embeddings and the reader's heads on top."""

from __future__ import annotations

from typing import Any

import numpy as np

from models.bert_graph import MASKED, Layers
from models.reader_weights import Tensors


def build(tensors: Tensors, config: dict[str, Any]) -> Any:
    """The graph as `openvino.Model`: int32 ids, types and mask `[batch, tokens]` to `span` and `first` logits.

    `span` is `[batch, tokens, 2]` (start, end); `first` is `[batch, 3]`, the three heads of the first token.
    """
    from openvino import Model
    from openvino import opset13 as op

    net = Layers(op, tensors, heads=int(config["num_attention_heads"]), eps=float(config["layer_norm_eps"]))
    ids, types, mask = (
        op.parameter([-1, -1], np.int32, name=name) for name in ("input_ids", "token_type_ids", "attention_mask")
    )
    hidden = _embed(op, net, tensors, ids, types)
    keep = op.convert(mask, "f32")
    bias = op.unsqueeze(op.multiply(op.subtract(net.constant(1.0), keep), net.constant(MASKED)), net.ints(1, 2))
    for layer in range(int(config["num_hidden_layers"])):
        hidden = net.encode(hidden, bias, f"encoder.layer.{layer}.")
    span = net.linear(hidden, "heads.span")
    first = op.gather(hidden, net.ints(0), net.scalar(1))  # [batch, 1, width]
    inner = op.gelu(net.linear(first, "heads.inner"), "ERF")
    first = op.squeeze(net.linear(inner, "heads.first"), net.ints(1))
    return Model([op.result(span, name="span"), op.result(first, name="first")], [ids, types, mask], "reader")


def _embed(op: Any, net: Any, tensors: Tensors, ids: Any, types: Any) -> Any:
    words = op.gather(net.constant(tensors["embeddings.word_embeddings.weight"]), ids, net.scalar(0))
    kinds = op.gather(net.constant(tensors["embeddings.token_type_embeddings.weight"]), types, net.scalar(0))
    length = op.gather(op.shape_of(ids, "i64"), net.ints(1), net.scalar(0))
    places = net.constant(tensors["embeddings.position_embeddings.weight"])
    places = op.slice(places, net.ints(0), length, net.ints(1), net.ints(0))
    return net.norm(op.add(op.add(words, kinds), op.unsqueeze(places, net.ints(0))), "embeddings.LayerNorm")
