"""From a trained network to the artefact that ships: packed differences, calibration, and what is said of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from models.reader_network import ReaderNetwork
from models.reader_weights import Tensors, dumps, pack, write
from models.spec import file_sha256


def export(
    network: ReaderNetwork,
    base: Path,
    folder: Path,
    *,
    base_id: str,
    name: str,
    licence: str,
    calibration: Mapping[str, Sequence[float]],
    recipe: Mapping[str, Any],
) -> Path:
    """Write `reader.safetensors` into `folder`; `base` is the embedder's directory. Equal weights give equal files."""
    told = {"base": base_id, "name": name, "licence": licence, "recipe": dict(recipe)}
    return write(folder, dumps(*packed(network, base, calibration, told)))


def packed(
    network: ReaderNetwork, base: Path, calibration: Mapping[str, Sequence[float]], told: Mapping[str, Any]
) -> tuple[Tensors, dict[str, Any]]:
    """What an artefact is made of: tensors, and what it says of itself beside `told`."""
    trained = {n: p.detach().float().cpu().numpy() for n, p in network.named_parameters() if p.requires_grad}
    tensors = pack(trained, load_file(str(base / "model.safetensors")))
    digest = hashlib.sha256()
    for key in sorted(tensors):
        digest.update(key.encode() + np.ascontiguousarray(tensors[key]).tobytes())
    digest.update(json.dumps(calibration, sort_keys=True).encode())
    return tensors, {
        **told,
        "base_sha256": file_sha256(base / "model.safetensors"),
        "calibration": {key: [round(float(v), 5) for v in values] for key, values in calibration.items()},
        "fingerprint": digest.hexdigest(),
    }


def fit_logistic(features: Sequence[Sequence[float]], labels: Sequence[int], *, steps: int = 200) -> list[float]:
    """Weights and offset of a logistic regression by Newton's method, lightly regularised: a calibration."""
    x = np.hstack([np.asarray(features, dtype=np.float64), np.ones((len(features), 1))])
    y = np.asarray(labels, dtype=np.float64)
    weights = np.zeros(x.shape[1])
    penalty = np.diag([1e-3] * (x.shape[1] - 1) + [0.0])
    for _ in range(steps):
        p = 1 / (1 + np.exp(-np.clip(x @ weights, -30, 30)))
        gradient = x.T @ (p - y) + penalty @ weights
        hessian = (x * (p * (1 - p))[:, None]).T @ x + penalty + 1e-9 * np.eye(x.shape[1])
        step = np.linalg.solve(hessian, gradient)
        weights = weights - step
        if np.abs(step).max() < 1e-8:
            break
    return [float(w) for w in weights]
