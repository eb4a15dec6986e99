"""Fit an appliance's confidence to an organisation's own questions, from the kept results of a run.

Platt's method (1999): the log-odds of the confidence are scaled and shifted by a logistic regression, with his targets
for small sets, so that 0.8 means that about 80 of 100 such questions have an answer. The order of questions does not
change, so what cannot be told apart before cannot afterwards: AUROC stays. Whether it helps is measured on documents
that were held apart (cross-validation by document). Must not see a question's words.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evals import plots, statistics
from evals.questions import write_private
from evals.runs import Run
from retrieval.abstain import log_odds
from strongroom.errors import UsageError

FEWEST = 20  # questions of either kind below which a fit says nothing
_FOLDS = 5
_BINS = 10
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Fit:
    """What was fitted and how well it does. Errors are means of squares (Brier 1950), on questions held apart."""

    scale: float
    shift: float
    questions: int
    answerable: int
    brier_before: float
    brier_after: float
    auroc: float
    threshold: float | None  # from which at most `risk` of the answers are wrong, with 95 % confidence
    risk: float
    coverage: float | None  # share of questions answered from there


def fit(run: Run, *, risk: float) -> tuple[Fit, Floats]:
    """The fit for a run, and the calibrated confidence of each question of it.

    Raises `UsageError` for a run without answers, one that was made with a calibration already, and one with fewer than
    `FEWEST` questions of either kind.
    """
    rows = answered(run)
    if run.about["settings"].get("calibration"):
        raise UsageError(
            "this run was made with a calibration", hint="Take `calibration` out of the settings and run again."
        )
    before = np.array([row["confidence"] for row in rows])
    y = np.array([not row["unanswerable"] for row in rows], dtype=float)
    if min(y.sum(), len(y) - y.sum()) < FEWEST:
        raise UsageError(
            f"{int(y.sum())} questions with an answer and {int(len(y) - y.sum())} without are too few",
            hint=f"Have {FEWEST} of each; `strongroom eval generate --unanswerable` drafts some.",
        )
    x = np.array([log_odds(c) for c in before])
    apart = _held_apart(x, y, [row["cluster"] for row in rows])
    scale, shift = platt(x, y)
    after = _curve(x, scale, shift)
    wrong = [bool(row["wrong"]) for row in rows]
    threshold = statistics.threshold_for(after.tolist(), wrong, risk=risk)
    found = Fit(
        scale=scale,
        shift=shift,
        questions=len(rows),
        answerable=int(y.sum()),
        brier_before=float(np.mean((before - y) ** 2)),
        brier_after=float(np.mean((apart - y) ** 2)),
        auroc=statistics.auroc(before[y == 1], before[y == 0]),
        threshold=threshold,
        risk=risk,
        coverage=None if threshold is None else float(np.mean(after >= threshold)),
    )
    return found, after


def answered(run: Run) -> list[dict[str, Any]]:
    """The rows of a run that have a confidence. Raises `UsageError` when there are none."""
    rows = [row for row in run.rows if "error" not in row and "confidence" in row]
    if not rows:
        raise UsageError(f"{run.folder} holds no answers", hint="Run without `--search-only`.")
    return rows


def platt(x: Floats, y: Floats, *, steps: int = 100) -> tuple[float, float]:
    """Scale (never negative) and shift of log-odds, by Newton's method with Platt's targets."""
    up, down = y.sum(), len(y) - y.sum()
    target = np.where(y == 1, (up + 1) / (up + 2), 1 / (down + 2))
    design = np.stack([x, np.ones_like(x)], axis=1)
    beta = np.array([1.0, 0.0])
    for _ in range(steps):
        p = _curve(x, *beta)
        gradient = design.T @ (p - target) + 1e-6 * beta
        hessian = (design * (p * (1 - p))[:, None]).T @ design + 1e-6 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        beta = beta - step / max(1.0, float(np.abs(step).max()))  # small sets: no leap
        if np.abs(step).max() < 1e-9:
            break
    if beta[0] <= 0:  # the confidence ranks the wrong way round here: say the share of answerable questions
        return 0.0, float(np.log((up + 1) / (down + 1)))
    return float(beta[0]), float(beta[1])


def _curve(x: Floats, scale: float, shift: float) -> Floats:
    found: Floats = 1 / (1 + np.exp(-np.clip(scale * x + shift, -30, 30)))
    return found


def _held_apart(x: Floats, y: Floats, clusters: Sequence[str]) -> Floats:
    """Each question's calibrated confidence, fitted on other documents."""
    names = sorted(set(clusters))
    fold = np.array([names.index(c) % min(_FOLDS, max(2, len(names))) for c in clusters])
    out = np.empty_like(x)
    for part in sorted(set(fold.tolist())):
        rest = fold != part
        fair = len(set(y[rest].tolist())) == 2
        out[~rest] = _curve(x[~rest], *(platt(x[rest], y[rest]) if fair else (1.0, 0.0)))
    return out


def write(path: Path, found: Fit, run: Run) -> None:
    """The calibration file that the setting `calibration` names."""
    body = {
        "format": 1,
        "scale": found.scale,
        "shift": found.shift,
        "embedder": run.about["settings"].get("embedder"),
        "set": run.about["set"],
        "questions": found.questions,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_private(path, json.dumps(body, indent=1) + "\n")


def page(run: Run, found: Fit, after: Floats) -> str:
    """Risk over coverage, and reliability before and after, as one HTML page without words of documents."""
    rows = answered(run)
    before = np.array([row["confidence"] for row in rows])
    y = np.array([not row["unanswerable"] for row in rows], dtype=float)
    curve = statistics.risk_coverage(after.tolist(), [bool(row["wrong"]) for row in rows])
    risk = plots.lines(
        "Wrong answers among those given",
        [plots.Line("risk", [(c, r) for c, r, _ in curve], stepped=True)],
        x_label="share of questions answered",
        y_label="share of them wrong",
        guide=found.risk,
    )
    fair = plots.Line("what it says", [(0.0, 0.0), (1.0, 1.0)])
    reliable = plots.lines(
        "Share of questions with an answer, by confidence",
        [fair, plots.Line("before", _bins(before, y)), plots.Line("after", _bins(after, y))],
        x_label="confidence",
        y_label="share with an answer",
    )
    figures = (
        f"{found.questions} questions, {found.answerable} with an answer. AUROC {found.auroc:.3f}. Squared error "
        f"{found.brier_before:.4f} before, {found.brier_after:.4f} after on documents held apart."
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Calibration</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{plots.POLICY}"><style>{plots.STYLE}</style></head><body>'
        f'<h1>Calibration</h1><p>{figures}</p><div class="plots">{risk}{reliable}</div></body></html>'
    )


def _bins(confidence: Floats, y: Floats) -> list[tuple[float, float]]:
    place = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    return [
        (float(confidence[place == b].mean()), float(y[place == b].mean())) for b in range(_BINS) if (place == b).any()
    ]


def summary(found: Fit) -> dict[str, Any]:
    """The fit as JSON values."""
    values = {name: getattr(found, name) for name in Fit.__dataclass_fields__}
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in values.items()}
