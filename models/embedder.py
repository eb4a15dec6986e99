"""Embedders for sentence-transformers directories: a fast one on OpenVINO and the fp32 torch reference.

Imported lazily: both load their library in the constructor, never at import. Neither fetches anything; both read
absolute directories that the registry has verified. `models.defaults.open_embedder` chooses between them.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.cpu import threads_or_default
from models.spec import EmbedderSpec
from models.tokenizer import BatchTokenizer, FileTokenizer
from strongroom.errors import ModelError

if TYPE_CHECKING:
    from strongroom.ports import Vector, Vectors

log = logging.getLogger(__name__)

MIN_COSINE = 0.999  # below this against fp32, a precision is not used
GRAPH = "encoder.xml"
GRAPH_WEIGHTS = "encoder.bin"
REFERENCE = "reference.json"
TOKEN_BUDGET = 1024  # padded tokens a batch: 1,024 to 2,048 were best of 512 to 8,192 (activations stay in cache)
WINDOW = 256  # texts tokenised ahead of the network at a time
QUERY_STEP = 8  # query lengths are padded to a multiple, so that few shapes are compiled

# What the self-test embeds: short, long, numbers, other scripts, empty. Stored with its fp32 vectors at install.
PROBES: tuple[str, ...] = (
    "Who may end the agreement early?",
    "The tenant pays 4,250.00 EUR on the first working day of each month; late payments bear interest at 7.5 % a year.",
    "Le bailleur peut résilier le contrat avec un préavis de trois mois. Der Vermieter haftet nicht für höhere Gewalt.",
    "合同自签署之日起生效。 Договор вступает в силу с даты подписания.",
    " ".join(
        f"Section {n}. The supplier shall keep records of delivery {n * 37} for {n + 2} years and show them "
        "on request, unless a court orders otherwise or the parties agree in writing."
        for n in range(1, 7)
    ),
    "",
)


class _OfSpec:
    """What an embedder says of itself, whatever runs it."""

    def __init__(self, spec: EmbedderSpec) -> None:
        self._spec = spec
        self._tokenizer = FileTokenizer(spec.tokenizer_file)

    @property
    def name(self) -> str:
        return self._spec.name

    @property
    def dimension(self) -> int:
        return self._spec.dimension

    @property
    def max_tokens(self) -> int:
        return self._spec.max_tokens

    @property
    def fingerprint(self) -> str:
        return self._spec.fingerprint

    @property
    def tokenizer(self) -> FileTokenizer:
        return self._tokenizer


class FastEmbedder(_OfSpec):
    """OpenVINO on the CPU: bf16 where the processor has it and the self-test passes, else fp32.

    Two compiled forms share the weights: one stream a core for bulk work, and one request over all cores for
    questions, so that a question does not wait behind an ingest. Each is compiled on first use.
    """

    def __init__(self, spec: EmbedderSpec, converted: Path, *, threads: int = 0, precision: str = "auto") -> None:
        """Open the converted graph and test it against its reference vectors.

        `precision` is `auto`, `bf16` or `f32`. Raises `ModelError` when no allowed precision keeps cosine 0.999.
        """
        super().__init__(spec)
        self._threads = threads_or_default(threads)
        self._batches = BatchTokenizer(spec.tokenizer_file, max_tokens=spec.max_tokens)
        self._bulk_lock = threading.Lock()
        self._query_lock = threading.Lock()
        self._bulk: Any = None
        with _native(spec.name):
            from openvino import Core

            self._core = Core()
            self._graph = self._core.read_model(converted / GRAPH)
        self.precision = ""
        self._query: Any = None
        self._choose_precision(converted / REFERENCE, precision)

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, shape `(len(texts), dimension)`. One bulk call runs at a time; others wait."""
        out = np.zeros((len(texts), self.dimension), dtype=np.float32)
        if not texts:
            return out
        with self._bulk_lock, _native(self.name):
            if self._bulk is None:
                self._bulk = self._open_bulk()
            self._bulk.set_callback(lambda request, rows: _store(out, rows, request))
            for rows, ids, mask in self._padded(texts):
                self._bulk.start_async({0: ids, 1: mask}, rows)
            self._bulk.wait_all()
        return out

    def embed_query(self, text: str) -> Vector:
        """One unit vector, shape `(dimension,)`."""
        return self._one(self._spec.query_prefix + text)

    def _one(self, text: str) -> Vector:
        (tokens,) = self._batches.ids([text])
        length = min(-(-len(tokens) // QUERY_STEP) * QUERY_STEP, self.max_tokens)
        ids, mask = _pad([tokens], length)
        with self._query_lock, _native(self.name):
            self._query.infer({0: ids, 1: mask})
            return np.array(self._query.get_output_tensor(0).data[0], dtype=np.float32)

    def _padded(self, texts: Sequence[str]) -> Iterator[tuple[list[int], Any, Any]]:
        """Batches of similar length under the token budget, longest first so that the last ones are short.

        Characters sort the whole call roughly; tokens sort each window exactly, so that tokenising a window overlaps
        with the network working on the one before.
        """
        prefix = self._spec.document_prefix
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        for start in range(0, len(order), WINDOW):
            window = order[start : start + WINDOW]
            tokens = self._batches.ids([prefix + texts[i] for i in window])
            ranked = sorted(range(len(window)), key=lambda j: -len(tokens[j]))
            while ranked:
                longest = len(tokens[ranked[0]])
                take = max(1, TOKEN_BUDGET // longest)
                batch, ranked = ranked[:take], ranked[take:]
                ids, mask = _pad([tokens[j] for j in batch], longest)
                yield [window[j] for j in batch], ids, mask

    def _choose_precision(self, reference: Path, wanted: str) -> None:
        stored = json.loads(reference.read_text(encoding="utf-8"))
        vectors = np.array(stored["vectors"], dtype=np.float32)
        has_bf16 = "BF16" in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        tried: list[str] = []
        for precision in ("bf16", "f32") if wanted == "auto" else (wanted,):
            if precision == "bf16" and not has_bf16:
                tried.append("bf16: this processor lacks it")
                continue
            self.precision = precision
            with _native(self.name):
                self._query = self._open_query()
            worst = float(min(np.dot(self._one(text), vectors[i]) for i, text in enumerate(stored["probes"])))
            if worst >= MIN_COSINE:
                log.info(
                    "embedder %s: %s on %d threads, self-test cosine %.5f", self.name, precision, self._threads, worst
                )
                return
            tried.append(f"{precision}: cosine {worst:.5f}")
            log.warning("embedder %s: %s fails the self-test (cosine %.5f)", self.name, precision, worst)
        raise ModelError(
            f"{self.name}: the fast backend fails its self-test ({'; '.join(tried)})",
            hint='Set `embedder_backend = "reference"` to use fp32 torch.',
        )

    def _open_query(self) -> Any:
        return self._compile(streams=1).create_infer_request()

    def _open_bulk(self) -> Any:
        from openvino import AsyncInferQueue

        streams = self._threads if self._threads <= 8 else max(8, self._threads // 2)
        return AsyncInferQueue(self._compile(streams=streams), streams)

    def _compile(self, *, streams: int) -> Any:
        options = {
            "INFERENCE_PRECISION_HINT": self.precision,
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": self._threads,
        }
        return self._core.compile_model(self._graph, "CPU", options)


class ReferenceEmbedder(_OfSpec):
    """sentence-transformers in fp32 torch: slower, exact, and able to run every architecture."""

    def __init__(self, spec: EmbedderSpec, *, threads: int = 0, batch: int = 32, device: str = "cpu") -> None:
        """Load the directory. Raises `ModelError`."""
        super().__init__(spec)
        self._batch = batch
        self._lock = threading.Lock()
        with _native(spec.name):
            import torch
            from sentence_transformers import SentenceTransformer
            from transformers.utils import logging as transformers_logging

            transformers_logging.disable_progress_bar()
            torch.set_num_threads(threads_or_default(threads))
            self._model: Any = SentenceTransformer(
                str(spec.directory.absolute()), device=device, local_files_only=True, trust_remote_code=False
            )
            self._model.max_seq_length = spec.max_tokens

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, shape `(len(texts), dimension)`."""
        if not texts:
            return np.zeros((0, self.dimension), dtype=np.float32)
        return self._encode([self._spec.document_prefix + text for text in texts])

    def embed_query(self, text: str) -> Vector:
        """One unit vector, shape `(dimension,)`."""
        vector: Vector = self._encode([self._spec.query_prefix + text])[0]
        return vector

    def encode_exactly(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors of `texts` as they stand, without any prefix."""
        return self._encode(list(texts))

    def _encode(self, texts: list[str]) -> Vectors:
        with self._lock, _native(self.name):
            vectors = self._model.encode(
                texts, batch_size=self._batch, normalize_embeddings=True, show_progress_bar=False
            )
        return np.asarray(vectors, dtype=np.float32)


def _store(out: Vectors, rows: list[int], request: Any) -> None:
    out[rows] = request.get_output_tensor(0).data


def _pad(tokens: list[list[int]], length: int) -> tuple[Any, Any]:
    """Ids and mask, int32, `[len(tokens), length]`. The mask hides the padding, so its id does not matter."""
    ids = np.zeros((len(tokens), length), dtype=np.int32)
    mask = np.zeros((len(tokens), length), dtype=np.int32)
    for row, one in enumerate(tokens):
        ids[row, : len(one)] = one
        mask[row, : len(one)] = 1
    return ids, mask


@contextmanager
def _native(name: str) -> Iterator[None]:
    """Map what OpenVINO, torch and their files raise to `ModelError`."""
    try:
        yield
    except (RuntimeError, OSError, ValueError, ImportError) as exc:
        raise ModelError(
            f"embedder {name} failed: {type(exc).__name__}: {str(exc).splitlines()[0][:300] if str(exc) else ''}",
            hint=f"Run `strongroom models verify`; then `strongroom models pull {name}` if a file is damaged.",
        ) from exc
