"""Embedders for sentence-transformers directories: a fast one on OpenVINO and the fp32 torch reference.

The fast one embeds questions in bf16 (or fp32) and passages in 8 bits, each behind a self-test against fp32 vectors
(ADR 0004). Vectors of one model are interchangeable, whatever made them.

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
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from models.convert import GRAPH, REFERENCE
from models.cpu import threads_or_default
from models.spec import EmbedderSpec
from models.tokenizer import BatchTokenizer, FileTokenizer
from strongroom.errors import ModelError

if TYPE_CHECKING:
    from strongroom.ports import Vector, Vectors

log = logging.getLogger(__name__)

Precision = Literal["auto", "bf16", "f32"]

MIN_COSINE = 0.999  # below this against fp32, a precision is not used
MIN_COSINE_EIGHT_BITS = 0.99  # the same for passages in 8 bits
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
    """OpenVINO on the CPU: bf16 where the processor has it, else fp32; passages in 8 bits where there is such a form.

    Two compiled forms: one stream a core for bulk work, and one request over all cores for questions, so that a
    question does not wait behind an ingest. The first is compiled, and passes its own self-test, on first use.
    """

    def __init__(
        self,
        spec: EmbedderSpec,
        converted: Path,
        eight_bits: Path | None = None,
        *,
        threads: int = 0,
        precision: Precision = "auto",
    ) -> None:
        """Open the graph in `converted` and test it against its reference vectors.

        `auto` takes bf16, or else fp32. Passages have the precision of questions unless `eight_bits`, the folder of
        that form, is given. Raises `ModelError` when no allowed precision keeps cosine 0.999.
        """
        super().__init__(spec)
        self._threads = threads_or_default(threads)
        self._batches = BatchTokenizer(spec.tokenizer_file, max_tokens=spec.max_tokens)
        self._bulk_lock = threading.Lock()
        self._query_lock = threading.Lock()
        self._bulk: Any = None
        self._eight_bits = eight_bits
        with _native(spec.name):
            from openvino import Core

            self._core = Core()
            self._graph = self._core.read_model(converted / GRAPH)
        self._reference = json.loads((converted / REFERENCE).read_text(encoding="utf-8"))
        self.precision = ""  # of questions
        self.passage_precision = ""  # known when the first passage was embedded
        self._query: Any = None
        self._choose_precision(("bf16", "f32") if precision == "auto" else (precision,))

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, shape `(len(texts), dimension)`. One bulk call runs at a time; others wait."""
        if not texts:
            return np.zeros((0, self.dimension), dtype=np.float32)
        with self._bulk_lock, _native(self.name):
            if self._bulk is None:
                self._bulk = self._open_bulk()
            return self._all(self._bulk, [self._spec.document_prefix + text for text in texts])

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

    def _all(self, queue: Any, texts: Sequence[str]) -> Vectors:
        out = np.zeros((len(texts), self.dimension), dtype=np.float32)
        queue.set_callback(lambda request, rows: _store(out, rows, request))
        for rows, ids, mask in self._padded(texts):
            queue.start_async({0: ids, 1: mask}, rows)
        queue.wait_all()
        return out

    def _padded(self, texts: Sequence[str]) -> Iterator[tuple[list[int], Any, Any]]:
        """Batches of similar length under the token budget, longest first so that the last ones are short.

        Characters sort the whole call roughly; tokens sort each window exactly, so that tokenising a window overlaps
        with the network working on the one before.
        """
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        for start in range(0, len(order), WINDOW):
            window = order[start : start + WINDOW]
            tokens = self._batches.ids([texts[i] for i in window])
            ranked = sorted(range(len(window)), key=lambda j: -len(tokens[j]))
            while ranked:
                longest = len(tokens[ranked[0]])
                take = max(1, TOKEN_BUDGET // longest)
                batch, ranked = ranked[:take], ranked[take:]
                ids, mask = _pad([tokens[j] for j in batch], longest)
                yield [window[j] for j in batch], ids, mask

    def _choose_precision(self, allowed: Sequence[str]) -> None:
        has_bf16 = "BF16" in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        tried: list[str] = []
        for precision in allowed:
            if precision == "bf16" and not has_bf16:
                tried.append("bf16: this processor lacks it")
                continue
            self.precision = precision
            with _native(self.name):
                self._query = self._compile(self._graph, streams=1).create_infer_request()
            worst = min(self._cosines(np.stack([self._one(text) for text in self._reference["probes"]])))
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

    def _open_bulk(self) -> Any:
        """What embeds passages: in 8 bits when there is such a form and it passes, else as questions are."""
        if self._eight_bits is not None:
            queue = self._queue(self._core.read_model(self._eight_bits / GRAPH))
            cosines = self._cosines(self._all(queue, self._reference["probes"]))
            worst = min(c for c, text in zip(cosines, self._reference["probes"], strict=True) if text)  # none is empty
            if worst >= MIN_COSINE_EIGHT_BITS:
                log.info("embedder %s: passages in 8 bits, self-test cosine %.5f", self.name, worst)
                self.passage_precision = "i8"
                return queue
            log.warning("embedder %s: 8 bits fail the self-test (cosine %.5f)", self.name, worst)
        self.passage_precision = self.precision
        return self._queue(self._graph)

    def _cosines(self, vectors: Vectors) -> list[float]:
        """Of the probes' vectors to fp32."""
        return [float(c) for c in (vectors * np.array(self._reference["vectors"], dtype=np.float32)).sum(1)]

    def _queue(self, graph: Any) -> Any:
        from openvino import AsyncInferQueue

        streams = self._threads if self._threads <= 8 else max(8, self._threads // 2)
        return AsyncInferQueue(self._compile(graph, streams=streams), streams)

    def _compile(self, graph: Any, *, streams: int) -> Any:
        options = {
            "INFERENCE_PRECISION_HINT": self.precision,
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": self._threads,
        }
        return self._core.compile_model(graph, "CPU", options)


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
