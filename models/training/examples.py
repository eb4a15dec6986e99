"""One training example and how examples become batches of tensors."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from models.pairs import PairTokenizer, Window

POOL = 4096  # examples sorted by length together: large enough for even batches, small enough to stay shuffled


@dataclass(frozen=True, slots=True)
class Example:
    """A question (or claim), a passage, and what is known about the pair.

    `spans` are character spans in the passage, one for each annotator or occurrence; `None` means that nothing is known
    about spans, an empty tuple that there is none. Labels are 1, 0 or `None` for unknown. `group` is the article or
    the filer: what must never be split.
    """

    question: str
    passage: str
    spans: tuple[tuple[int, int], ...] | None
    answerable: int | None
    relevant: int | None
    supported: int | None
    group: str
    source: str
    id: str = ""
    answers: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Row:
    """A window with its targets: weights over token positions for start and end, and three labels (-1 unknown)."""

    window: Window
    start: dict[int, float] | None
    end: dict[int, float] | None
    labels: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Batch:
    ids: Tensor
    types: Tensor
    mask: Tensor
    start: Tensor  # [batch, tokens], rows sum to 1, or to 0 where spans are unknown
    end: Tensor
    labels: Tensor  # [batch, 3] in {-1, 0, 1}


def rows(examples: Sequence[Example], tokenizer: PairTokenizer, *, every_window: bool = False) -> list[Row]:
    """One row an example: a window that holds an answer, else the first; all windows with `every_window`."""
    out = []
    windows = tokenizer.windows([(e.question, e.passage) for e in examples])
    for example, own in zip(examples, windows, strict=True):
        found = [_row(example, window) for window in own]
        if every_window:
            out.extend(found)
            continue
        with_answer = [row for row in found if row.start and 0 not in row.start]
        out.append((with_answer or found)[0])
    return out


def _row(example: Example, window: Window) -> Row:
    labels = tuple(-1 if v is None else v for v in (example.answerable, example.relevant, example.supported))
    if example.spans is None:
        return Row(window, None, None, labels)  # type: ignore[arg-type]
    starts: dict[int, float] = {}
    ends: dict[int, float] = {}
    for begin, stop in example.spans:
        inside = [n for n, (a, b) in enumerate(window.places) if a < stop and b > begin]
        if not inside or window.places[inside[0]][0] > begin + 1 or window.places[inside[-1]][1] < stop - 1:
            continue  # cut by the window's border
        starts[window.first + inside[0]] = starts.get(window.first + inside[0], 0.0) + 1.0
        ends[window.first + inside[-1]] = ends.get(window.first + inside[-1], 0.0) + 1.0
    if not starts:
        if example.answerable == 1:
            labels = (0, *labels[1:])
        return Row(window, {0: 1.0}, {0: 1.0}, labels)  # type: ignore[arg-type]
    total = sum(starts.values())
    return Row(window, {k: v / total for k, v in starts.items()}, {k: v / total for k, v in ends.items()}, labels)  # type: ignore[arg-type]


def batches(found: Sequence[Row], *, tokens: int, most: int, rng: random.Random | None = None) -> list[list[Row]]:
    """Rows of similar length under a budget of padded tokens; shuffled with `rng`, else in order of length."""
    order = list(found)
    if rng is not None:
        rng.shuffle(order)
    out: list[list[Row]] = []
    for at in range(0, len(order), POOL):
        pool = sorted(order[at : at + POOL], key=lambda row: -len(row.window.ids))
        while pool:
            take = max(1, min(most, tokens // len(pool[0].window.ids)))
            out.append(pool[:take])
            pool = pool[take:]
    if rng is not None:
        rng.shuffle(out)
    return out


def tensors(group: Sequence[Row], device: torch.device | None = None) -> Batch:
    """Pad a group of rows to its longest window."""
    length = max(len(row.window.ids) for row in group)
    ids, types, mask = (np.zeros((len(group), length), dtype=np.int64) for _ in range(3))
    start, end = (np.zeros((len(group), length), dtype=np.float32) for _ in range(2))
    for n, row in enumerate(group):
        size = len(row.window.ids)
        ids[n, :size], types[n, :size], mask[n, :size] = row.window.ids, row.window.types, 1
        for target, weights in ((start, row.start), (end, row.end)):
            for position, weight in (weights or {}).items():
                target[n, position] = weight
    labels = np.array([row.labels for row in group])
    return Batch(*(torch.from_numpy(array).to(device) for array in (ids, types, mask, start, end, labels)))
