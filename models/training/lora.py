"""Low-rank changes instead of whole matrices (LoRA, Hu et al. 2021, arXiv:2106.09685), to compare with full training.

Each matrix of the encoder becomes `weight + up @ down`, of which only the two thin ones learn; `merge` makes them one
matrix again, so that what is exported, read and averaged looks the same for both ways of training.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from models.reader_network import FROZEN, ReaderNetwork

ALPHA = 16.0  # the change is scaled by ALPHA / rank, so that one learning rate fits all ranks


class _LowRank(nn.Module):  # type: ignore[misc]
    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        rows, columns = weight.shape
        self.down = nn.Parameter(torch.randn(rank, columns, device=weight.device) / math.sqrt(columns))
        self.up = nn.Parameter(torch.zeros(rows, rank, device=weight.device))
        self.scale = ALPHA / rank

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.scale * (self.up @ self.down)


def adapt(network: ReaderNetwork, rank: int) -> ReaderNetwork:
    """Freeze the encoder and let low-rank changes of its matrices learn; the network computes what it did before."""
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name.startswith("heads."))
    for module in _matrices(network):
        parametrize.register_parametrization(module, "weight", _LowRank(cast(Tensor, module.weight), rank))
    return network


def merge(network: ReaderNetwork) -> ReaderNetwork:
    """Make whole matrices of the changes; everything but the word embeddings counts as trained again."""
    for module in _matrices(network):
        parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name != FROZEN)
    return network


def _matrices(network: ReaderNetwork) -> list[nn.Linear]:
    return [module for module in network.encoder.modules() if isinstance(module, nn.Linear)]
