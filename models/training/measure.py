"""Score a network on examples: spans against gold answers, answerability, relevance, support."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from models.pairs import PairTokenizer
from models.reader_network import ReaderNetwork
from models.spans import LONGEST, Scored, merge, window_spans
from models.training.examples import Example, Row, batches, tensors
from models.training.export import fit_logistic
from models.training.mixture import Mixture
from models.training.scores import auroc, interval, token_f1
from models.training.train import low_precision


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the network says of one example: best spans, and the three first-token logits (largest over windows)."""

    spans: tuple[Scored, ...]
    first: tuple[float, float, float]

    @property
    def margin(self) -> float:
        return self.spans[0].margin if self.spans else -30.0


@torch.no_grad()  # type: ignore[untyped-decorator]
def predict(
    network: ReaderNetwork,
    examples: Sequence[Example],
    tokenizer: PairTokenizer,
    *,
    longest: int = LONGEST,
    count: int = 3,
) -> list[Prediction]:
    """Predictions in the order of `examples`, by the torch network with its products in bf16, as at run time.

    Not wholly in bf16 as in training: that moved token F1 by 0.01.
    """
    device = next(network.parameters()).device
    windows = tokenizer.windows([(e.question, e.passage) for e in examples])
    rows = [Row(w, None, None, (-1, -1, -1)) for own in windows for w in own]
    spans: dict[int, list[Scored]] = {}
    first: dict[int, list[float]] = {}
    for group in batches(rows, tokens=4096, most=64):
        batch = tensors(group, device)
        with torch.autocast(device.type, low_precision(device)):
            given = network(batch.ids, batch.types, batch.mask)
        span, heads = (t.float().cpu().numpy() for t in given)
        for n, row in enumerate(group):
            number = row.window.passage
            spans.setdefault(number, []).extend(window_spans(row.window, span[n], longest=longest, count=count))
            old = first.get(number, [-99.0] * 3)
            first[number] = [max(a, float(b)) for a, b in zip(old, heads[n], strict=True)]
    return [
        Prediction(tuple(merge(spans.get(n, []), count)), tuple(first[n]))  # type: ignore[arg-type]
        for n in range(len(examples))
    ]


def calibrate(network: ReaderNetwork, mixed: Mixture, tokenizer: PairTokenizer) -> dict[str, list[float]]:
    """Logistic weights that turn logits into probabilities, fitted on what was kept for it (see `mixture`).

    Questions and clauses weigh the same: the larger of the two sets is thinned.
    """
    features: dict[str, list[list[float]]] = {"span": [], "answerable": [], "relevant": [], "supported": []}
    labels: dict[str, list[int]] = {name: [] for name in features}

    def add(head: str, values: list[float], label: int) -> None:
        features[head].append(values)
        labels[head].append(label)

    size = max(200, min(len(mixed.dev), len(mixed.dev_clauses)))
    shown = [*_thin(mixed.dev, size), *_thin(mixed.dev_clauses, size), *_thin(mixed.dev_others, size // 2)]
    for e, p in zip(shown, predict(network, shown, tokenizer), strict=True):
        if e.answerable is not None and p.spans and e.source not in ("squad-no", "xquad-no"):
            add("answerable", [p.margin, p.first[0]], e.answerable)
            add("span", [p.margin], int(_hit(e, p)))
        if e.relevant is not None:
            add("relevant", [p.first[1]], e.relevant)
    claims = _thin(mixed.dev_claims, 1500)
    for e, p in zip(claims, predict(network, claims, tokenizer), strict=True):
        add("supported", [p.first[2]], int(e.supported or 0))
    return {head: logistic(values, labels[head]) for head, values in features.items()}


def logistic(values: Sequence[Sequence[float]], labels: Sequence[int]) -> list[float]:
    """Weights and offset; never a weight below zero.

    Margin and answerability say nearly the same, and a fit may set one against the other: then the margin counts alone.
    """
    if len(set(labels)) < 2:
        return [1.0] * len(values[0]) + [0.0] if values else [1.0, 0.0]
    fitted = fit_logistic(values, labels)
    if min(fitted[:-1]) >= 0:
        return fitted
    weight, offset = fit_logistic([v[:1] for v in values], labels)
    return [weight, *[0.0] * (len(values[0]) - 1), offset]


def report(network: ReaderNetwork, examples: Sequence[Example], tokenizer: PairTokenizer) -> dict[str, float]:
    """`reading` of the network's predictions; empty when there is nothing answerable to measure on."""
    if not any(e.answerable == 1 for e in examples):
        return {}
    return reading(examples, predict(network, examples, tokenizer))


def _thin(examples: Sequence[Example], size: int) -> list[Example]:
    step = max(1.0, len(examples) / size)
    return [examples[int(n * step)] for n in range(min(size, len(examples)))]


def _hit(example: Example, prediction: Prediction) -> bool:
    """True when the best span shares at least half of its words (F1) with a gold answer."""
    if example.answerable != 1 or not prediction.spans:
        return False
    best = prediction.spans[0]
    gold = example.answers or tuple(example.passage[a:b] for a, b in example.spans or ())
    return token_f1(example.passage[best.start : best.end], gold) >= 0.5


def reading(examples: Sequence[Example], predictions: Sequence[Prediction]) -> dict[str, float]:
    """Token F1 on answerable questions, official F1 with the best threshold, AUROCs of answerability."""
    f1: list[float] = []
    groups: dict[str, list[float]] = {}
    plain: list[float] = []
    for e, p in zip(examples, predictions, strict=True):
        if e.answerable == 1:
            s = p.spans[0] if p.spans else None
            value = token_f1(e.passage[s.start : s.end] if s else "", e.answers)
            f1.append(value)
            groups.setdefault(e.group, []).append(value)
        plain.append(f1[-1] if e.answerable == 1 else 0.0)
    low, high = interval(groups)
    out = {
        "f1": round(float(np.mean(f1)), 4),
        "f1_low": round(low, 3),
        "f1_high": round(high, 3),
        "answerable": len(f1),
    }
    labels = [e.answerable for e in examples]
    if 0 in labels:
        for name, score in (
            ("margin", [p.margin for p in predictions]),
            ("head", [p.first[0] for p in predictions]),
            ("both", [p.margin + 2 * p.first[0] for p in predictions]),
        ):
            yes = [s for s, label in zip(score, labels, strict=True) if label == 1]
            no = [s for s, label in zip(score, labels, strict=True) if label == 0]
            out[f"auroc_{name}"] = round(auroc(yes, no), 4)
            out[f"official_{name}"] = round(best_threshold(score, labels, plain)[1], 4)
    return out


def best_threshold(score: Sequence[float], labels: Sequence[int | None], f1: Sequence[float]) -> tuple[float, float]:
    """(threshold, official F1) where answering only above the threshold does best."""
    ranked = sorted(zip(score, labels, f1, strict=True), key=lambda t: -t[0])
    right = sum(1.0 for _, label, _ in ranked if label == 0)
    best, at = right, float("inf")
    for s, label, value in ranked:
        right += value if label == 1 else -1.0
        if right > best:
            best, at = right, s
    return at, best / len(ranked)
