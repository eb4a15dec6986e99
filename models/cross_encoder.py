"""Cross-encoders from local folders, through sentence-transformers: nothing is fetched, no code in them is run.

Two kinds are opened here. A reranker has one output. A model of natural language inference has one for each relation,
in an order that differs from model to model: which is which is read from its configuration, never assumed.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.cpu import threads_or_default
from strongroom.errors import ModelError
from strongroom.ports import Inference

_BATCH = 16


class _CrossEncoder:
    """A sequence classifier of a folder (config.json, model.safetensors, tokenizer); texts too long are cut."""

    def __init__(self, name: str, folder: Path, kind: str, threads: int) -> None:
        self.name = name
        self._kind = kind
        self._lock = threading.Lock()
        if not any(folder.glob("*.safetensors")):
            raise ModelError(f"{kind} {name} has no safetensors weights", hint="Carry in a copy that has them.")
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
                activation_fn=torch.nn.Identity(),  # the folder may not name one
            )
        except Exception as exc:
            raise self._failed(exc) from exc

    def _logits(self, pairs: Sequence[tuple[str, str]]) -> Any:
        """One row for each pair; raw values of all outputs."""
        with self._lock:
            try:
                found = self._model.predict(
                    list(pairs), batch_size=_BATCH, show_progress_bar=False, convert_to_tensor=True
                )
            except (RuntimeError, ValueError) as exc:
                raise self._failed(exc) from exc
        return found.float()

    def _failed(self, exc: Exception) -> ModelError:
        first = str(exc).splitlines()[0][:300] if str(exc) else ""
        return ModelError(
            f"{self._kind} {self.name} failed: {type(exc).__name__}: {first}",
            hint="Run `strongroom models verify`; then import it again if a file is damaged.",
        )


class CrossEncoderReranker(_CrossEncoder):
    """The `Reranker` port over a model with one output."""

    def __init__(self, name: str, folder: Path, *, threads: int = 0) -> None:
        """Load the folder. Raises `ModelError`: damaged, pickled weights, or more than one output."""
        super().__init__(name, folder, "reranker", threads)
        outputs = int(self._model.config.num_labels)
        if outputs != 1:
            raise ModelError(
                f"{name} has {outputs} outputs, and a reranker has one", hint="Install a cross-encoder for ranking."
            )

    def scores(self, question: str, passages: Sequence[str]) -> list[float]:
        """From 0 to 1 how well each passage fits the question, in order. Long passages are cut at the end."""
        if not passages:
            return []
        return [float(score) for score in self._logits([(question, passage) for passage in passages]).sigmoid()]


class CrossEncoderNli(_CrossEncoder):
    """The `Entailment` port over a model whose outputs are named, one of them `entailment`."""

    def __init__(self, name: str, folder: Path, *, threads: int = 0) -> None:
        """Load the folder. Raises `ModelError`: damaged, pickled weights, or outputs that do not say what they mean."""
        super().__init__(name, folder, "NLI model", threads)
        labels = {str(label).casefold(): int(n) for n, label in self._model.config.id2label.items()}
        if "entailment" not in labels:
            raise ModelError(
                f"{name} does not say which of its outputs means entailment: they are called {', '.join(labels)}",
                hint="Its config.json needs an `id2label` with entailment, neutral and contradiction.",
            )
        self._entails, self._contradicts = labels["entailment"], labels.get("contradiction")

    def infer(self, claim: str, evidence: Sequence[str]) -> list[Inference]:
        """For each piece of evidence, in order, whether the claim follows from it or goes against it."""
        if not evidence:
            return []
        shares = self._logits([(text, claim) for text in evidence]).softmax(dim=-1).tolist()
        against = self._contradicts
        return [Inference(row[self._entails], row[against] if against is not None else 0.0) for row in shares]
