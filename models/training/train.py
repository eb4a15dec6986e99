"""The training loop: bf16 arithmetic over fp32 weights, one thread a process, checkpoints to go on from.

Weights, optimiser and position are written together and renamed into place, and the order of the batches depends on
the seed alone, so that a resumed run ends with the same weights as one that was never killed.
"""

from __future__ import annotations

import copy
import json
import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as fn

from models.reader_network import ReaderNetwork
from models.training.examples import Batch, Row, batches, tensors

Tell = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Recipe:
    """What was tried is in docs/decisions/reader.md."""

    rate: float = 3e-4
    layer_decay: float = 0.9  # each layer below the top learns this much slower
    warm_up: float = 0.06
    dropout: float = 0.1
    weight_decay: float = 0.01
    clip: float = 1.0
    batch_tokens: int = 2560
    batch_most: int = 32
    first_weight: float = 0.4  # of each of the three first-token losses beside the span loss
    average: float = 0.0  # decay of the running average of the weights that is kept at the end; 0 = the last weights
    sync: int = 8  # steps between averagings of the workers
    seed: int = 0
    lora: int = 0  # rank of low-rank changes to the matrices, which alone learn beside the heads; 0 = all weights learn


def device_of(name: str = "auto") -> torch.device:
    """Where to train: `cpu`, the name of an accelerator (`cuda`), or the one that torch can use here, if any."""
    if name != "auto":
        return torch.device(name)
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


def low_precision(device: torch.device) -> torch.dtype:
    """bf16, unless the GPU is too old for it."""
    old = device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.float32 if old else torch.bfloat16


def losses(span: Tensor, first: Tensor, batch: Batch) -> dict[str, Tensor]:
    """Mean losses by head; heads without a labelled example in the batch are left out."""
    out: dict[str, Tensor] = {}
    span = span.float().masked_fill(batch.mask[:, :, None] == 0, -1e4)
    known = batch.start.sum(1) > 0
    if known.any():
        each = -(batch.start * span[:, :, 0].log_softmax(1) + batch.end * span[:, :, 1].log_softmax(1)).sum(1) / 2
        out["span"] = each[known].mean()
    for column, name in enumerate(("answerable", "relevant", "supported")):
        label = batch.labels[:, column]
        if (label >= 0).any():
            keep = label >= 0
            out[name] = fn.binary_cross_entropy_with_logits(first[keep, column].float(), label[keep].float())
    return out


def order(epochs: Sequence[Sequence[Row]], recipe: Recipe) -> list[list[Row]]:
    """The batches of all epochs, in the order the seed gives."""
    rng = random.Random(recipe.seed)
    out: list[list[Row]] = []
    for rows in epochs:
        out += batches(rows, tokens=recipe.batch_tokens, most=recipe.batch_most, rng=rng)
    return out


def train(
    network: ReaderNetwork,
    epochs: Sequence[Sequence[Row]],
    recipe: Recipe,
    folder: Path | None,
    *,
    tell: Tell,
    every: int = 64,
    stop_after: int | None = None,
    rank: int = 0,
    workers: int = 1,
) -> ReaderNetwork:
    """Train in place and give back the network to use. Goes on from the checkpoint in `folder` when there is one.

    Without a folder nothing is written: what is learnt of private documents is on no disk in the clear.
    Works where the network lies: on a GPU after `network.to(...)`, with one process.

    With `workers` processes (inside an initialised `torch.distributed` group) each takes every n-th batch and their
    weights are averaged every few steps (local SGD, Stich 2019, arXiv:1805.09767): on a CPU two processes of one thread
    do more than one process of two, and wait for each other seldom. A checkpoint is written every `every` steps;
    `stop_after` ends the run after so many steps, as a kill would just after a checkpoint.
    """
    plan = order(epochs, recipe)
    steps = len(plan) // workers
    plan = plan[rank::workers]
    optimiser, trained = _optimiser(network, recipe)
    average = copy.deepcopy(network) if recipe.average else None
    device = next(network.parameters()).device
    fast = copy.deepcopy(network).to(low_precision(device))
    pairs = [(m, f) for m, f in zip(network.parameters(), fast.parameters(), strict=True) if m.requires_grad]
    checkpoint = None if folder is None else folder / "checkpoint.pt"
    step = begun_at = _resume(checkpoint, recipe, steps, network, average, optimiser)
    _reseed(recipe, step, rank)
    sums: dict[str, list[float]] = {}
    begun = time.monotonic()
    while step < steps:
        factor = _factor(step, steps, recipe.warm_up)
        for group in optimiser.param_groups:
            group["lr"] = group["base"] * factor
        with torch.no_grad():
            for master, low in pairs:
                low.copy_(master)
                low.grad = None
        batch = tensors(plan[step], device)
        span, first = fast(batch.ids, batch.types, batch.mask, recipe.dropout)
        found = losses(span, first, batch)
        total = sum((v * (1.0 if k == "span" else recipe.first_weight) for k, v in found.items()), span.new_zeros(()))
        total.backward()
        for master, low in pairs:
            master.grad = None if low.grad is None else low.grad.float()
        torch.nn.utils.clip_grad_norm_(trained, recipe.clip)
        optimiser.step()
        step += 1
        for name, value in found.items():
            sums.setdefault(name, []).append(float(value.detach()))
        last = step == steps or (stop_after is not None and step - begun_at >= stop_after)
        if workers > 1 and (step % recipe.sync == 0 or step % every == 0 or last):
            _mean(trained, workers)
        if average is not None:
            _average(average, network, min(recipe.average, (1 + step) / (10 + step)))
        if rank == 0 and (step % 25 == 0 or step == steps):
            left = (steps - step) * (time.monotonic() - begun) / (step - begun_at)
            tell(
                {"step": step, "of": steps, "left_s": round(left), "rate": optimiser.param_groups[0]["lr"]}
                | {name: round(sum(v) / len(v), 4) for name, v in sorted(sums.items())}
            )
            sums = {}
        if step % every == 0 or last:
            if workers > 1:  # one state for all, so that one file holds it
                _mean([m for p in trained for m in optimiser.state[p].values() if m.dim()], workers)
            if rank == 0 and checkpoint is not None:
                _save(checkpoint, recipe, step, steps, network, average, optimiser)
            _reseed(recipe, step, rank)
        if last:
            break
    return average if average is not None else network


@torch.no_grad()  # type: ignore[untyped-decorator]
def _mean(values: Sequence[Tensor], workers: int) -> None:
    """Replace each tensor by its mean over the workers."""
    flat = torch.cat([value.flatten() for value in values])
    torch.distributed.all_reduce(flat)
    at = 0
    for value in values:
        value.copy_(flat[at : at + value.numel()].view_as(value) / workers)
        at += value.numel()


def _reseed(recipe: Recipe, step: int, rank: int) -> None:
    """Dropout depends on the step of the last checkpoint, so that a resumed run draws the same."""
    torch.manual_seed((recipe.seed + 1) * 1_000_003 + step * 64 + rank)


def _factor(step: int, steps: int, warm_up: float) -> float:
    rising = max(1, int(steps * warm_up))
    return min((step + 1) / rising, max(0.0, (steps - step) / max(1, steps - rising)))


def _optimiser(network: ReaderNetwork, recipe: Recipe) -> tuple[torch.optim.AdamW, list[Tensor]]:
    """AdamW with a rate for each depth (heads fastest) and no decay for norms and biases."""
    layers = len(network.encoder["layer"])
    groups, trained = [], []
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        if name.startswith("heads."):
            depth = 0
        elif name.startswith("encoder.layer."):
            depth = layers - int(name.split(".")[2]) - 1
        else:
            depth = layers
        rate = recipe.rate * math.pow(recipe.layer_decay, depth)
        decay = recipe.weight_decay if parameter.dim() > 1 else 0.0
        groups.append({"params": [parameter], "lr": rate, "base": rate, "weight_decay": decay})
        trained.append(parameter)
    return torch.optim.AdamW(groups, betas=(0.9, 0.98), eps=1e-6, fused=True), trained


@torch.no_grad()  # type: ignore[untyped-decorator]
def _average(average: ReaderNetwork, network: ReaderNetwork, decay: float) -> None:
    for kept, now in zip(average.parameters(), network.parameters(), strict=True):
        if now.requires_grad:
            kept.lerp_(now, 1 - decay)


def _trained(network: ReaderNetwork) -> dict[str, Tensor]:
    return {name: p.detach() for name, p in network.named_parameters() if p.requires_grad}


def _save(path: Path, recipe: Recipe, step: int, steps: int, network: Any, average: Any, optimiser: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    torch.save(
        {
            "recipe": json.dumps(asdict(recipe)),
            "step": step,
            "steps": steps,
            "network": _trained(network),
            "average": None if average is None else _trained(average),
            "optimiser": optimiser.state_dict(),
        },
        partial,
    )
    partial.replace(path)


def _resume(path: Path | None, recipe: Recipe, steps: int, network: Any, average: Any, optimiser: Any) -> int:
    if path is None or not path.exists():
        return 0
    held = torch.load(path, weights_only=True, map_location=next(network.parameters()).device)
    if Recipe(**json.loads(held["recipe"])) != recipe or held["steps"] != steps:
        raise SystemExit(f"{path} belongs to another recipe or other data; give a fresh output folder")
    network.load_state_dict(held["network"], strict=False)
    if average is not None:
        average.load_state_dict(held["average"], strict=False)
    optimiser.load_state_dict(held["optimiser"])
    return int(held["step"])
