"""The reader as a torch network: the embedder's encoder with heads, small enough to read and to train on a CPU.

Encoder: post-layer-norm transformer with exact GELU (Devlin et al. 2019, arXiv:1810.04805), its word embeddings kept as
they are, so that only the layers learn. Parameter names follow the checkpoint, so that a trained tensor is compared
with its base by name. Heads, all read from one pass: start and end of the span on every token (position 0 stands for
"no answer", as in Devlin et al. on SQuAD 2.0), and three numbers on the first token: answerable, relevant, supported.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as fn

CLS_HEADS = ("answerable", "relevant", "supported")
FROZEN = "embeddings.word_embeddings.weight"


class _Attention(nn.Module):  # type: ignore[misc]
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.self = nn.ModuleDict({name: nn.Linear(width, width) for name in ("query", "key", "value")})
        self.output = nn.ModuleDict({"dense": nn.Linear(width, width), "LayerNorm": nn.LayerNorm(width, eps=1e-12)})

    def forward(self, hidden: Tensor, bias: Tensor, drop: float) -> Tensor:
        batch, length, width = hidden.shape
        names = ("query", "key", "value")  # one product for the three: 15 % less time a step on a CPU
        weight = torch.cat([self.self[name].weight for name in names])
        offset = torch.cat([self.self[name].bias for name in names])
        wide = fn.linear(hidden, weight, offset).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = wide.permute(2, 0, 3, 1, 4).reshape(3, batch * self.heads, length, -1).unbind(0)
        hide = bias.expand(batch, self.heads, 1, length).reshape(batch * self.heads, 1, length)
        scores = torch.baddbmm(hide, query, key.transpose(1, 2), alpha=1 / math.sqrt(width // self.heads))
        mixed = torch.bmm(scores.softmax(-1), value).view(batch, self.heads, length, -1)
        mixed = mixed.transpose(1, 2).reshape(batch, length, width)
        normed: Tensor = self.output["LayerNorm"](hidden + fn.dropout(self.output["dense"](mixed), drop))
        return normed


class _Layer(nn.Module):  # type: ignore[misc]
    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.attention = _Attention(width, heads)
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, inner)})
        self.output = nn.ModuleDict({"dense": nn.Linear(inner, width), "LayerNorm": nn.LayerNorm(width, eps=1e-12)})

    def forward(self, hidden: Tensor, bias: Tensor, drop: float) -> Tensor:
        hidden = self.attention(hidden, bias, drop)
        wide = fn.gelu(self.intermediate["dense"](hidden))
        normed: Tensor = self.output["LayerNorm"](hidden + fn.dropout(self.output["dense"](wide), drop))
        return normed


class ReaderNetwork(nn.Module):  # type: ignore[misc]
    """Encoder and heads. `forward` gives span logits `[batch, tokens, 2]` and first-token logits `[batch, 3]`."""

    def __init__(self, config: dict[str, Any]) -> None:
        """`config` is the checkpoint's `config.json`."""
        super().__init__()
        width = int(config["hidden_size"])
        self.embeddings = nn.ModuleDict(
            {
                "word_embeddings": nn.Embedding(int(config["vocab_size"]), width),
                "position_embeddings": nn.Embedding(int(config["max_position_embeddings"]), width),
                "token_type_embeddings": nn.Embedding(int(config["type_vocab_size"]), width),
                "LayerNorm": nn.LayerNorm(width, eps=1e-12),
            }
        )
        layers = [
            _Layer(width, int(config["num_attention_heads"]), int(config["intermediate_size"]))
            for _ in range(int(config["num_hidden_layers"]))
        ]
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(layers)})
        self.heads = nn.ModuleDict(
            {"span": nn.Linear(width, 2), "inner": nn.Linear(width, width), "first": nn.Linear(width, len(CLS_HEADS))}
        )
        self.embeddings["word_embeddings"].weight.requires_grad_(False)

    def forward(self, ids: Tensor, types: Tensor, mask: Tensor, drop: float = 0.0) -> tuple[Tensor, Tensor]:
        places = self.embeddings["position_embeddings"].weight[: ids.shape[1]]
        hidden = self.embeddings["word_embeddings"](ids) + self.embeddings["token_type_embeddings"](types)
        hidden = fn.dropout(self.embeddings["LayerNorm"](hidden + places), drop)
        bias = ((1.0 - mask.to(hidden.dtype)) * -3.0e4)[:, None, None, :]
        for layer in self.encoder["layer"]:
            hidden = layer(hidden, bias, drop)
        first = self.heads["first"](fn.gelu(self.heads["inner"](hidden[:, 0])))
        return self.heads["span"](hidden), first


def load_base(folder: Path) -> ReaderNetwork:
    """A network with the embedder's weights and fresh heads (small random values, seeded by the caller)."""
    from safetensors.torch import load_file

    network = ReaderNetwork(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    held = load_file(str(folder / "model.safetensors"))
    state = network.state_dict()
    for name, value in state.items():
        if name.startswith("heads."):
            value.copy_(torch.randn_like(value) * 0.02 if name.endswith("weight") else torch.zeros_like(value))
        else:
            value.copy_(held[name])
    network.load_state_dict(state)
    return network
