"""A cross-encoder from a local folder, through sentence-transformers: nothing is fetched, no code in it is run."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.cpu import threads_or_default
from strongroom.errors import ModelError

_BATCH = 16


class CrossEncoderReranker:
    """The `Reranker` port over a sequence classifier with one output (config.json, model.safetensors, tokenizer)."""

    def __init__(self, name: str, folder: Path, *, threads: int = 0) -> None:
        """Load the folder. Raises `ModelError`: damaged, pickled weights, or more than one output."""
        self.name = name
        self._lock = threading.Lock()
        if not any(folder.glob("*.safetensors")):
            raise ModelError(f"reranker {name} has no safetensors weights", hint="Carry in a copy that has them.")
        try:
            import torch
            from sentence_transformers import CrossEncoder
            from transformers.utils import logging as transformers_logging

            transformers_logging.disable_progress_bar()
            torch.set_num_threads(threads_or_default(threads))
            self._model: Any = CrossEncoder(
                str(folder.absolute()),
                device="cpu",
                local_files_only=True,
                trust_remote_code=False,
                model_kwargs={"use_safetensors": True},
                activation_fn=torch.nn.Sigmoid(),
            )
            outputs = int(self._model.config.num_labels)
        except Exception as exc:
            raise _failed(name, exc) from exc
        if outputs != 1:
            raise ModelError(
                f"{name} has {outputs} outputs, and a reranker has one", hint="Install a cross-encoder for ranking."
            )

    def scores(self, question: str, passages: Sequence[str]) -> list[float]:
        """From 0 to 1 how well each passage fits the question, in order. Long passages are cut at the end."""
        if not passages:
            return []
        with self._lock:
            try:
                found = self._model.predict(
                    [(question, passage) for passage in passages], batch_size=_BATCH, show_progress_bar=False
                )
            except (RuntimeError, ValueError) as exc:
                raise _failed(self.name, exc) from exc
        return [float(score) for score in found]


def _failed(name: str, exc: Exception) -> ModelError:
    first = str(exc).splitlines()[0][:300] if str(exc) else ""
    return ModelError(
        f"reranker {name} failed: {type(exc).__name__}: {first}",
        hint="Run `strongroom models verify`; then import it again if a file is damaged.",
    )
