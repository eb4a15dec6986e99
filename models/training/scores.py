"""Scores of a reader: token F1 as SQuAD's official script counts it, AUROC, and intervals by resampling groups."""

from __future__ import annotations

import random
import re
import string
from collections import Counter
from collections.abc import Callable, Sequence

_ARTICLES = re.compile(r"\b(a|an|the)\b")


def normalise(text: str) -> str:
    """Lower case, no punctuation, no articles, single spaces (Rajpurkar et al. 2016)."""
    bare = "".join(c for c in text.lower() if c not in string.punctuation)
    return " ".join(_ARTICLES.sub(" ", bare).split())


def token_f1(predicted: str, gold: Sequence[str]) -> float:
    """Best F1 over the gold answers; no gold answers means that an empty prediction is right."""
    if not gold:
        return float(not normalise(predicted))
    return max(_f1(normalise(predicted).split(), normalise(answer).split()) for answer in gold)


def _f1(predicted: list[str], gold: list[str]) -> float:
    if not predicted or not gold:
        return float(predicted == gold)
    common = sum((Counter(predicted) & Counter(gold)).values())
    return 2 * common / (len(predicted) + len(gold))


def auroc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """Chance that a positive scores above a negative; ties count half."""
    if not positive or not negative:
        return float("nan")
    ranked = sorted([(s, 1) for s in positive] + [(s, 0) for s in negative])
    total, at = 0.0, 0
    while at < len(ranked):
        stop = at
        while stop < len(ranked) and ranked[stop][0] == ranked[at][0]:
            stop += 1
        rank = (at + 1 + stop) / 2
        total += rank * sum(label for _, label in ranked[at:stop])
        at = stop
    n = len(positive)
    return (total - n * (n + 1) / 2) / (n * len(negative))


def interval(
    groups: dict[str, list[float]],
    *,
    rounds: int = 2000,
    seed: int = 0,
    statistic: Callable[[list[float]], float] | None = None,
) -> tuple[float, float]:
    """95 % interval of the mean when whole groups (articles, contracts) are drawn again with replacement."""
    rng = random.Random(seed)
    names = list(groups)
    of = statistic or (lambda values: sum(values) / len(values))
    means = []
    for _ in range(rounds):
        drawn = [value for name in rng.choices(names, k=len(names)) for value in groups[name]]
        means.append(of(drawn))
    means.sort()
    return means[int(rounds * 0.025)], means[int(rounds * 0.975) - 1]
