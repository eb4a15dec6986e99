"""The reader's artefact: what training changed, in few bits, over the embedder's weights. Numpy and safetensors only.

A fine-tuned weight is its base plus a small difference, and the difference tolerates very few bits (Liu et al. 2024,
"BitDelta", arXiv:2402.10193, show one bit for large models). Here: matrices of the encoder as 4-bit differences with
one half-precision scale for 64 columns, vectors as half-precision differences, heads in half precision as they are.
The base is named by its hash, which is checked before anything is merged. An artefact is a folder, or the bytes of
its file: what an organisation trained on its documents is never on a disk in the clear.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.spec import file_sha256
from strongroom.errors import ModelError

WEIGHTS = "reader.safetensors"
GROUP = 64  # columns that share a scale
MAX_HEADER = 16 << 20  # bytes; ours have some 20,000
FORMAT = "strongroom-reader-1"

Tensors = dict[str, NDArray[Any]]
Artefact = Path | bytes


def reader_folder() -> Path:
    """The artefact that comes with the product."""
    return Path(__file__).parent / "reader"


def pack(trained: Mapping[str, NDArray[np.float32]], base: Mapping[str, NDArray[np.float32]]) -> Tensors:
    """Trained tensors as differences to `base`; names that `base` lacks are heads and are kept whole."""
    out: Tensors = {}
    for name, value in trained.items():
        if name not in base:
            out[name] = value.astype(np.float16)
            continue
        delta = value.astype(np.float32) - base[name].astype(np.float32)
        if delta.ndim == 2 and delta.shape[1] % GROUP == 0:
            out[f"{name}.q4"], out[f"{name}.scale"] = _quantise(delta)
        else:
            out[name] = delta.astype(np.float16)
    return out


def dumps(tensors: Tensors, about: Mapping[str, Any]) -> bytes:
    """The artefact as bytes; `about` (base hash, heads, calibration, recipe) travels in their own header."""
    from safetensors.numpy import save

    packed: bytes = save(tensors, metadata={"format": FORMAT, "about": json.dumps(about, sort_keys=True)})
    return packed


def write(folder: Path, artefact: bytes) -> Path:
    """Write the artefact into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / WEIGHTS
    partial = path.with_suffix(".part")
    partial.write_bytes(artefact)
    partial.replace(path)
    return path


def about(artefact: Artefact) -> dict[str, Any]:
    """What the artefact says of itself. Raises `ModelError` when it is missing or of another format."""
    path = "in memory" if isinstance(artefact, bytes) else artefact / WEIGHTS
    try:
        with io.BytesIO(artefact) if isinstance(artefact, bytes) else (artefact / WEIGHTS).open("rb") as held:
            size = int.from_bytes(held.read(8), "little")  # the header of safetensors: its length, then JSON
            metadata = json.loads(held.read(min(size, MAX_HEADER))).get("__metadata__", {})
    except (OSError, ValueError) as exc:
        raise ModelError(
            f"the reader {path} cannot be read: {exc}", hint="Install the product again, or name another reader."
        ) from exc
    if metadata.get("format") != FORMAT:
        raise ModelError(
            f"{path} is of format {metadata.get('format')!r}, this version reads {FORMAT}",
            hint="Train it again with this version, or upgrade.",
        )
    told: dict[str, Any] = json.loads(metadata["about"])
    return told


def merged(artefact: Artefact, base: Path) -> Tensors:
    """All weights of the reader in float32: `base` (a `model.safetensors`) plus the differences of the artefact.

    Raises `ModelError` when the base is not the one that the reader was trained on.
    """
    from safetensors.numpy import load, load_file

    told = about(artefact)
    found = file_sha256(base)
    if told["base_sha256"] != found:
        raise ModelError(
            f"the reader was trained over weights {told['base_sha256'][:12]}, installed are {found[:12]}",
            hint="Install its base again: `strongroom models pull --defaults`.",
        )
    held = load_file(str(base))
    unused = ("pooler.", "embeddings.position_ids")  # the former is never read, the latter only counts
    out: Tensors = {n: v.astype(np.float32) for n, v in held.items() if not n.startswith(unused)}
    packed = load(artefact) if isinstance(artefact, bytes) else load_file(str(artefact / WEIGHTS))
    for name, value in packed.items():
        if name.endswith(".q4"):
            plain = name.removesuffix(".q4")
            out[plain] = out[plain] + _restore(value, packed[f"{plain}.scale"])
        elif name.endswith(".scale"):
            continue
        elif name.startswith("heads."):
            out[name] = value.astype(np.float32)
        else:
            out[name] = out[name] + value.astype(np.float32)
    return out


def _quantise(delta: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
    """Two 4-bit values a byte, and the scales `[rows, columns / GROUP]` that leave the smallest squared error."""
    rows, columns = delta.shape
    grouped = delta.reshape(rows, columns // GROUP, GROUP)
    largest = np.maximum(np.abs(grouped).max(2, keepdims=True), 1e-8)
    best_error = np.full(largest.shape, np.inf, dtype=np.float32)
    best_scale = (largest / 7).astype(np.float16)
    for shrink in (1.0, 0.9, 0.8, 0.7, 0.6, 0.5):
        scale = np.maximum((largest * shrink / 7).astype(np.float16), np.float16(6e-8))
        wide = scale.astype(np.float32)
        error = np.square(np.clip(np.rint(grouped / wide), -8, 7) * wide - grouped).sum(2, keepdims=True)
        better = error < best_error
        best_error, best_scale = np.where(better, error, best_error), np.where(better, scale, best_scale)
    values = np.clip(np.rint(grouped / best_scale.astype(np.float32)), -8, 7).astype(np.int8)
    nibbles = (values.reshape(rows, columns) + 8).astype(np.uint8)
    return nibbles[:, 0::2] | (nibbles[:, 1::2] << 4), best_scale[:, :, 0]


def _restore(packed: NDArray[np.uint8], scale: NDArray[np.float16]) -> NDArray[np.float32]:
    rows, half = packed.shape
    values = np.empty((rows, half * 2), dtype=np.float32)
    values[:, 0::2] = (packed & 15).astype(np.float32) - 8
    values[:, 1::2] = (packed >> 4).astype(np.float32) - 8
    wide = scale.astype(np.float32)[:, :, None]
    return (values.reshape(rows, -1, GROUP) * wide).reshape(rows, half * 2)
