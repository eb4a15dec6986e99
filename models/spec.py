"""What a sentence-transformers directory says about itself, read without loading it. Standard library only."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from strongroom.errors import ModelError

Pooling = Literal["mean", "cls"]


@dataclass(frozen=True, slots=True)
class EmbedderSpec:
    """Everything that decides what vectors a directory gives.

    `weights` and `vocabulary` are SHA-256 hashes; `max_tokens` counts special tokens; `modules` are the class names
    of the pipeline, in order.
    """

    name: str
    directory: Path
    dimension: int
    max_tokens: int
    pooling: Pooling
    modules: tuple[str, ...]
    architecture: str
    weights: str
    vocabulary: str
    query_prefix: str = ""
    document_prefix: str = ""

    @property
    def tokenizer_file(self) -> Path:
        return self.directory / "tokenizer.json"

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the canonical JSON (sorted keys, no spaces) of all fields but the name and the directory.

        Vectors are always scaled to unit length, whatever the directory says, so that is not part of it.
        """
        facts = {key: value for key, value in asdict(self).items() if key not in ("name", "directory")}
        canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(canonical.encode()).hexdigest()


def read_spec(
    directory: Path,
    *,
    name: str,
    hashes: dict[str, str] | None = None,
    query_prefix: str = "",
    document_prefix: str = "",
) -> EmbedderSpec:
    """Read the configuration files of a sentence-transformers directory.

    `hashes` gives known SHA-256 by relative path; what it lacks is hashed here. Raises `ModelError`.
    """
    try:
        config = _json(directory / "config.json")
        modules = json.loads((directory / "modules.json").read_text(encoding="utf-8"))
        names = tuple(str(module["type"]).rsplit(".", 1)[-1] for module in modules)
        pooling_path = next(m["path"] for m in modules if str(m["type"]).rsplit(".", 1)[-1] == "Pooling")
        pooling = _json(directory / pooling_path / "config.json")
        weights = "model.safetensors"  # pickled weights are programs, and are refused
        hashes = hashes or {}
        return EmbedderSpec(
            name=name,
            directory=directory,
            dimension=int(
                pooling.get("word_embedding_dimension") or pooling.get("embedding_dimension") or config["hidden_size"]
            ),
            max_tokens=_max_tokens(directory, config),
            pooling=_pooling(pooling),
            modules=names,
            architecture=str(config.get("model_type", "")),
            weights=hashes.get(weights) or file_sha256(directory / weights),
            vocabulary=hashes.get("tokenizer.json") or file_sha256(directory / "tokenizer.json"),
            query_prefix=query_prefix,
            document_prefix=document_prefix,
        )
    except (OSError, KeyError, TypeError, ValueError, StopIteration) as exc:
        raise ModelError(
            f"{name}: {directory.name} is not a sentence-transformers directory ({type(exc).__name__}: {exc})",
            hint="It needs config.json, modules.json, tokenizer.json, a Pooling module and model.safetensors.",
        ) from exc


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, hex."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _max_tokens(directory: Path, config: dict[str, Any]) -> int:
    offset = position_offset(config)
    limit = int(config["max_position_embeddings"]) - offset
    for file, key in (("sentence_bert_config.json", "max_seq_length"), ("tokenizer_config.json", "model_max_length")):
        path = directory / file
        stated = _json(path).get(key) if path.exists() else None
        if isinstance(stated, int | float) and 0 < stated <= limit:
            return int(stated)
    return limit


def position_offset(config: dict[str, Any]) -> int:
    """First position id: RoBERTa's family keeps `pad_token_id + 1` places free, BERT starts at 0."""
    return int(config.get("pad_token_id", 1)) + 1 if "roberta" in str(config.get("model_type")) else 0


def _pooling(config: dict[str, Any]) -> Pooling:
    stated = config.get("pooling_mode")
    modes = [stated] if isinstance(stated, str) else list(stated or ())
    modes += [
        key.removeprefix("pooling_mode_")
        for key, on in config.items()
        if key.startswith("pooling_mode_") and on is True
    ]
    short: dict[str, Pooling] = {"mean": "mean", "mean_tokens": "mean", "cls": "cls", "cls_token": "cls"}
    found = {mode: short.get(mode) for mode in modes}
    if len(found) != 1 or None in found.values():
        raise ValueError(f"pooling {sorted(found)} is not supported")
    return next(value for value in found.values() if value is not None)


def _json(path: Path) -> dict[str, Any]:
    value = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(value, dict):
        raise TypeError(f"{path.name} is not a JSON object")
    return value
