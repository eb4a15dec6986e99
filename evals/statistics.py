"""Intervals and tests over numbers: bootstrap by cluster, Clopper-Pearson, AUROC, risk and coverage, paired tests.

Questions about one document rise and fall together, so whatever is drawn anew is drawn by document, never by question.
Every random draw is seeded. Must not know questions, engines or files.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

DRAWS = 2_000
SEED = 7
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over `n` questions of `clusters` documents, with its 95 % interval (`None` with fewer than two)."""

    mean: float
    low: float | None
    high: float | None
    n: int
    clusters: int


@dataclass(frozen=True, slots=True)
class Difference:
    """What changed from one configuration to the other over the same `n` questions.

    `p` is two-sided, by flipping the sign of whole documents' differences; `mcnemar` is the exact test by question,
    for values that are 0 or 1. `wins` and `losses` count questions where the second was better and worse.
    """

    first: float
    second: float
    difference: float
    low: float | None
    high: float | None
    p: float
    mcnemar: float | None
    wins: int
    losses: int
    n: int
    clusters: int


@dataclass(frozen=True, slots=True)
class Guarantee:
    """Share of questions that may be answered so that at most `risk` of the answers are wrong.

    Each half of the documents is answered at the threshold that the other half allowed. `thresholds` holds both
    (`None`: no threshold kept the promise there), `low` and `high` bound the error by Clopper-Pearson.
    """

    risk: float
    coverage: float
    answered: int
    wrong: int
    questions: int
    error: float | None
    low: float | None
    high: float | None
    thresholds: tuple[float | None, float | None]


# ------------------------------------------------------------------------------------------------ means


def estimate(values: Sequence[float], clusters: Sequence[str], *, draws: int = DRAWS) -> Estimate:
    """Mean and percentile bootstrap interval, resampling whole clusters (Efron and Tibshirani 1993, ch. 8 and 13).

    Raises `ValueError` without values.
    """
    if not values:
        raise ValueError("no values to average")
    sums, counts = _by_cluster(values, clusters)
    mean = float(sums.sum() / counts.sum())
    low, high = _interval(sums, counts, draws)
    return Estimate(mean, low, high, len(values), len(sums))


def bootstrap(
    statistic: Callable[[NDArray[np.intp]], float], clusters: Sequence[str], *, draws: int = 400
) -> tuple[float | None, float | None]:
    """Percentile interval of a statistic of question indices, resampling whole clusters; NaN draws drop out."""
    names = sorted(set(clusters))
    if len(names) < 2:
        return None, None
    of = np.array(clusters)
    members = [np.flatnonzero(of == name) for name in names]
    rng = np.random.default_rng(SEED)
    found = [
        statistic(np.concatenate([members[i] for i in rng.integers(len(names), size=len(names))])) for _ in range(draws)
    ]
    kept = [value for value in found if not math.isnan(value)]
    if len(kept) < draws // 2:
        return None, None
    return _percentiles(np.array(kept))


def _by_cluster(values: Sequence[float], clusters: Sequence[str]) -> tuple[Floats, Floats]:
    names, index = np.unique(np.array(clusters), return_inverse=True)
    weights = np.asarray(values, dtype=np.float64)
    sums = np.bincount(index, weights=weights, minlength=len(names)).astype(np.float64)
    return sums, np.bincount(index, minlength=len(names)).astype(np.float64)


def _interval(sums: Floats, counts: Floats, draws: int) -> tuple[float | None, float | None]:
    size = len(sums)
    if size < 2:
        return None, None
    times = np.random.default_rng(SEED).multinomial(size, [1 / size] * size, size=draws)
    return _percentiles((times @ sums) / (times @ counts))


def _percentiles(found: Floats) -> tuple[float, float]:
    tail = (1 - CONFIDENCE) / 2 * 100
    low, high = np.percentile(found, [tail, 100 - tail])
    return float(low), float(high)


def quantile(values: Sequence[float], share: float) -> float:
    """The value that `share` of the values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


# ------------------------------------------------------------------------------------------------ shares


def binomial_upper_tail(successes: int, trials: int, share: float) -> float:
    """P(X >= successes) for X binomial, summed in logarithms."""
    if successes <= 0:
        return 1.0
    if share <= 0.0:
        return 0.0
    if share >= 1.0:
        return 1.0
    k = np.arange(successes, trials + 1, dtype=np.float64)
    factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, trials + 1, dtype=np.float64)))])
    whole = k.astype(np.intp)
    logs = factorials[trials] - factorials[whole] - factorials[trials - whole]
    logs += k * math.log(share) + (trials - k) * math.log1p(-share)
    top = float(logs.max())
    return min(1.0, float(np.exp(logs - top).sum()) * math.exp(top))


def clopper_pearson(successes: int, trials: int, *, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Exact two-sided interval of a share (Clopper and Pearson 1934). Raises `ValueError` for impossible counts."""
    if not 0 <= successes <= trials or trials == 0:
        raise ValueError(f"{successes} of {trials} is no share")
    tail = (1 - confidence) / 2
    return share_at_least(successes, trials, tail), share_at_most(successes, trials, tail)


def share_at_most(successes: int, trials: int, tail: float) -> float:
    """One-sided upper Clopper-Pearson bound: the true share is above it with probability `tail` at most."""
    return 1.0 - share_at_least(trials - successes, trials, tail)


def share_at_least(successes: int, trials: int, tail: float) -> float:
    """One-sided lower Clopper-Pearson bound, by bisection on the binomial tail."""
    if successes == 0:
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if binomial_upper_tail(successes, trials, middle) < tail:
            low = middle
        else:
            high = middle
    return (low + high) / 2


# ------------------------------------------------------------------------------------------------ ranking by confidence


def auroc(positive: Sequence[float] | Floats, negative: Sequence[float] | Floats) -> float:
    """Probability that a positive scores above a negative, ties counted half (Mann-Whitney); NaN when one is empty."""
    up, down = np.asarray(positive, dtype=np.float64), np.sort(np.asarray(negative, dtype=np.float64))
    if not len(up) or not len(down):
        return math.nan
    below, not_above = np.searchsorted(down, up, side="left"), np.searchsorted(down, up, side="right")
    return float((below + not_above).sum()) / 2 / (len(up) * len(down))


def risk_coverage(confidences: Sequence[float], wrong: Sequence[bool]) -> list[tuple[float, float, float]]:
    """`(coverage, risk, threshold)` for every threshold, from the strictest to answering all.

    Risk is the share of wrong answers among those at or above the threshold (El-Yaniv and Wiener 2010).
    """
    order = sorted(range(len(confidences)), key=lambda i: -confidences[i])
    points: list[tuple[float, float, float]] = []
    errors = 0
    for count, i in enumerate(order, start=1):
        errors += wrong[i]
        is_last_of_tie = count == len(order) or confidences[order[count]] != confidences[i]
        if is_last_of_tie:
            points.append((count / len(order), errors / count, confidences[i]))
    return points


def area_under_risk(points: Sequence[tuple[float, float, float]]) -> float:
    """Mean risk over coverage 0..1: the lower the better (AURC); NaN without points."""
    if not points:
        return math.nan
    area, before = 0.0, 0.0
    for coverage, risk, _ in points:
        area += (coverage - before) * risk
        before = coverage
    return area


def threshold_for(
    confidences: Sequence[float], wrong: Sequence[bool], *, risk: float, confidence: float = CONFIDENCE
) -> float | None:
    """The lowest threshold at which at most `risk` of the answers are wrong, with `confidence`; `None` if unknown.

    Thresholds on a fixed grid are tested from the strictest down, each by the one-sided Clopper-Pearson bound, and the
    first that fails ends the search: fixed-sequence testing, which needs no correction for their number (Angelopoulos
    et al. 2021, "Learn then Test"). Those with too few answers to pass even without an error are left out.
    """
    fewest = math.ceil(math.log(1 - confidence) / math.log(1 - risk))
    allowed: float | None = None
    for step in range(100, -1, -1):
        threshold = step / 100
        answered = [w for c, w in zip(confidences, wrong, strict=True) if c >= threshold]
        if len(answered) < fewest:
            continue
        if share_at_most(sum(answered), len(answered), 1 - confidence) > risk:
            break
        allowed = threshold
    return allowed


def guarantee(
    confidences: Sequence[float], wrong: Sequence[bool], clusters: Sequence[str], *, risk: float
) -> Guarantee:
    """What share of questions can be answered at an error of at most `risk`, as `Guarantee` describes."""
    half = _halves(clusters)
    answered = mistakes = 0
    thresholds: list[float | None] = []
    for side in (0, 1):
        others = [i for i in range(len(wrong)) if half[clusters[i]] != side]
        threshold = threshold_for([confidences[i] for i in others], [wrong[i] for i in others], risk=risk)
        thresholds.append(threshold)
        if threshold is None:
            continue
        shown = [wrong[i] for i in range(len(wrong)) if half[clusters[i]] == side and confidences[i] >= threshold]
        answered += len(shown)
        mistakes += sum(shown)
    low, high = clopper_pearson(mistakes, answered) if answered else (None, None)
    return Guarantee(
        risk=risk,
        coverage=answered / len(wrong) if wrong else 0.0,
        answered=answered,
        wrong=mistakes,
        questions=len(wrong),
        error=mistakes / answered if answered else None,
        low=low,
        high=high,
        thresholds=(thresholds[0], thresholds[1]),
    )


def _halves(clusters: Sequence[str]) -> dict[str, int]:
    """Each document to one of two halves of about the same number of questions; the same for the same documents."""
    counts = dict.fromkeys(sorted(set(clusters)), 0)
    for name in clusters:
        counts[name] += 1
    names = list(counts)
    np.random.default_rng(SEED).shuffle(names)
    sizes = [0, 0]
    half: dict[str, int] = {}
    for name in sorted(names, key=lambda n: -counts[n]):
        half[name] = 0 if sizes[0] <= sizes[1] else 1
        sizes[half[name]] += counts[name]
    return half


# ------------------------------------------------------------------------------------------------ two configurations


def difference(
    first: Sequence[float], second: Sequence[float], clusters: Sequence[str], *, draws: int = 10_000
) -> Difference:
    """Compare values of the same questions: clustered bootstrap interval, permutation test, McNemar for 0/1 values."""
    if len(first) != len(second) or not first:
        raise ValueError("nothing to pair")
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    sums, counts = _by_cluster((b - a).tolist(), clusters)
    low, high = _interval(sums, counts, DRAWS)
    binary = bool(np.isin(a, (0.0, 1.0)).all() and np.isin(b, (0.0, 1.0)).all())
    wins, losses = int((b > a).sum()), int((b < a).sum())
    return Difference(
        first=float(a.mean()),
        second=float(b.mean()),
        difference=float((b - a).mean()),
        low=low,
        high=high,
        p=_flips(sums, draws),
        mcnemar=mcnemar(wins, losses) if binary else None,
        wins=wins,
        losses=losses,
        n=len(a),
        clusters=len(sums),
    )


def _flips(sums: Floats, draws: int) -> float:
    """Two-sided p by flipping signs of clusters: all of the combinations when they are few, else at random."""
    moved = sums[np.abs(sums) > 1e-12]
    if not len(moved):
        return 1.0
    observed = abs(float(moved.sum())) - 1e-9
    if len(moved) <= 13:
        bits = (np.arange(2 ** len(moved))[:, None] >> np.arange(len(moved))) & 1
        return float((np.abs((1 - 2 * bits) @ moved) >= observed).mean())
    signs = np.random.default_rng(SEED).choice(np.array([-1.0, 1.0]), size=(draws, len(moved)))
    return float((1 + (np.abs(signs @ moved) >= observed).sum()) / (1 + draws))


def mcnemar(wins: int, losses: int) -> float:
    """Exact two-sided McNemar test: how likely so lopsided a split of the changed questions is by chance."""
    changed = wins + losses
    if not changed:
        return 1.0
    return min(1.0, 2 * binomial_upper_tail(max(wins, losses), changed, 0.5))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number (Holm 1979), in the order given."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    out, running = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[i]))
        out[i] = running
    return out
