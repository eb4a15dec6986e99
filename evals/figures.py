"""Figures of a run and of two runs side by side: means with intervals, abstention, latency, tokens. Plain JSON values.

Every interval is drawn by document (`evals.statistics`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evals import statistics
from evals.runs import Row, Run, errors, paired
from evals.scoring import METRICS

RISK = 0.05
_CURVE = 100  # points of the risk-coverage curve that are kept
_BINS = 10


def of_run(run: Run) -> dict[str, Any]:
    """All figures of a run."""
    rows = [row for row in run.rows if "error" not in row]
    kinds = sorted({row["kind"] for row in rows if row["kind"]})
    return {
        "set": run.about["set"],
        "questions": run.about["questions"],
        "measured": len(rows),
        "answerable": sum(not row["unanswerable"] for row in rows),
        "failed": len(errors(run.rows)),
        "metrics": _means(rows),
        "by_kind": {kind: _means([row for row in rows if row["kind"] == kind]) for kind in kinds},
        "abstention": _abstention([row for row in rows if "confidence" in row]),
        "latency_ms": _latency(rows),
        "tokens": _tokens(rows),
    }


def _means(rows: Sequence[Row]) -> dict[str, Any]:
    out = {}
    for name in METRICS:
        held = [row for row in rows if name in row["values"]]
        if held:
            values = [row["values"][name] for row in held]
            out[name] = _rounded(asdict(statistics.estimate(values, [row["cluster"] for row in held])))
    return out


def _abstention(rows: Sequence[Row]) -> dict[str, Any] | None:
    """How well the confidence tells right answers from wrong ones; `None` where nothing was answered."""
    if not rows:
        return None
    confidences = np.array([row["confidence"] for row in rows])
    answerable = np.array([not row["unanswerable"] for row in rows])
    wrong = [bool(row["wrong"]) for row in rows]
    right = ~np.array(wrong)
    clusters = [row["cluster"] for row in rows]
    curve = statistics.risk_coverage(confidences.tolist(), wrong)
    step = max(1, len(curve) // _CURVE)
    kept = curve[::-step][::-1]
    promise = statistics.guarantee(confidences.tolist(), wrong, clusters, risk=RISK)
    return {
        "auroc_answerable": _auroc(confidences, answerable, clusters),
        "auroc_right": _auroc(confidences, right, clusters),
        "area_under_risk": _number(statistics.area_under_risk(curve)),
        "risk_coverage": [[_number(x) for x in point] for point in kept],
        "guarantee": _rounded(asdict(promise)),
        "reliability": _reliability(confidences, answerable),
    }


def _auroc(confidences: NDArray[np.float64], positive: NDArray[np.bool_], clusters: Sequence[str]) -> dict[str, Any]:
    def of(index: NDArray[np.intp]) -> float:
        scores, up = confidences[index], positive[index]
        return statistics.auroc(scores[up], scores[~up])

    value = of(np.arange(len(confidences)))
    if math.isnan(value):
        return {"value": None, "low": None, "high": None}
    low, high = statistics.bootstrap(of, clusters)
    return _rounded({"value": value, "low": low, "high": high})


def _reliability(confidences: NDArray[np.float64], answerable: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """Answerable and unanswerable questions by confidence, in ten bins."""
    bins = np.minimum((confidences * _BINS).astype(int), _BINS - 1)
    return [
        {
            "from": b / _BINS,
            "answerable": int((answerable & (bins == b)).sum()),
            "unanswerable": int((~answerable & (bins == b)).sum()),
        }
        for b in range(_BINS)
    ]


def _latency(rows: Sequence[Row]) -> dict[str, Any]:
    out = {}
    for name in ("search", "first_token", "answer"):
        values = [row["timings_ms"][name] for row in rows if name in row["timings_ms"]]
        if values:
            out[name] = {f"p{int(s * 100)}": round(statistics.quantile(values, s), 2) for s in (0.5, 0.95, 0.99)}
    return out


def _tokens(rows: Sequence[Row]) -> dict[str, Any] | None:
    counted = [row["tokens"] for row in rows if "tokens" in row]
    if not counted:
        return None
    return {
        side: {"mean": round(sum(t[side] for t in counted) / len(counted), 1), "total": sum(t[side] for t in counted)}
        for side in ("prompt", "completion")
    }


def compared(first: Run, second: Run) -> dict[str, Any]:
    """What the second run does better or worse on the questions that both have, and how sure that is."""
    pairs = paired(first, second)
    metrics: dict[str, Any] = {}
    for name, metric in METRICS.items():
        both = [(a, b) for a, b in pairs if name in a["values"] and name in b["values"]]
        if both:
            found = statistics.difference(
                [a["values"][name] for a, _ in both],
                [b["values"][name] for _, b in both],
                [a["cluster"] for a, _ in both],
            )
            metrics[name] = _rounded(asdict(found)) | {"lower_is_better": metric.lower_is_better}
    for entry, corrected in zip(
        metrics.values(), statistics.holm([entry["p"] for entry in metrics.values()]), strict=True
    ):
        entry["p_holm"] = _number(corrected)
    settings_a, settings_b = first.about["settings"], second.about["settings"]
    return {
        "first": str(first.folder),
        "second": str(second.folder),
        "questions": len(pairs),
        "changed": {
            key: [settings_a.get(key), settings_b.get(key)]
            for key in sorted(settings_a | settings_b)
            if settings_a.get(key) != settings_b.get(key)
        },
        "same_code": first.about["code"] == second.about["code"],
        "metrics": metrics,
        "latency_ms": {"first": _latency([a for a, _ in pairs]), "second": _latency([b for _, b in pairs])},
    }


def _number(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {key: _number(value) if isinstance(value, float) else value for key, value in values.items()}
