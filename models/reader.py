"""The reader: which words of a passage answer a question, whether any do, and whether evidence supports a claim.

One pass of a small cross-encoder gives all of it. `FastReader` runs on OpenVINO like the embedder, `ReferenceReader`
in fp32 torch. Both take an artefact over the default embedder's weights; neither fetches anything. What a passage says
is data: it is tokenised and scored, never followed.
"""

from __future__ import annotations

import json
import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.cpu import threads_or_default
from models.pairs import PairTokenizer, Window
from models.reader_weights import Artefact, about, merged
from models.spans import Scored, merge, window_spans
from strongroom.errors import ModelError
from strongroom.types import Reading, ReadSpan

if TYPE_CHECKING:
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

GRAPH = "reader.xml"
REFERENCE = "reference.json"
MIN_COSINE = 0.999  # of the logits against fp32; below it a precision is not used
TOKEN_BUDGET = 1024  # padded tokens a batch
STEP = 16  # lengths are padded to a multiple, so that few shapes are compiled

PROBES: tuple[tuple[str, str], ...] = (
    ("Who may end the agreement early?", "Either party may end this agreement with 30 days' notice in writing."),
    ("When does the lease begin?", "The lease of the boat house begins on 1 May 2024 and runs for five years."),
    ("The tenant pays 4,250 EUR a month.", "The tenant pays 2,450 EUR on the first working day of each month."),
    ("What is the Governing Law?", " ".join(f"Section {n}. Records are kept for {n + 2} years." for n in range(1, 25))),
    ("?", ""),
)


class _Reader(ABC):
    """Windows, batches, spans and calibration; adapters only run the network."""

    def __init__(self, artefact: Artefact, tokenizer: Path) -> None:
        told = about(artefact)
        self._calibration: dict[str, list[float]] = told["calibration"]
        self._name, self._fingerprint = str(told["name"]), str(told["fingerprint"])
        self._pairs = PairTokenizer(tokenizer)

    @property
    def name(self) -> str:
        return self._name

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    @abstractmethod
    def _run(self, groups: list[list[Window]]) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Span logits `[batch, tokens, 2]` and first-token logits `[batch, 3]` of each group of windows."""

    def read(self, question: str, passages: Sequence[str], *, spans: int = 3) -> list[Reading]:
        """One `Reading` a passage, in order."""
        windows, logits, first = self._logits([(question, passage) for passage in passages])
        out = []
        for own in windows:
            found: list[Scored] = []
            for window in own:
                found += window_spans(window, logits[id(window)], count=spans)
            best = merge(found, spans)
            heads = np.max([first[id(window)] for window in own], axis=0)
            margin = best[0].margin if best else -20.0
            out.append(
                Reading(
                    spans=tuple(ReadSpan(s.start, s.end, self._sure("span", s.margin)) for s in best),
                    answerable=self._sure("answerable", margin, float(heads[0])) if best else 0.0,
                    relevant=self._sure("relevant", float(heads[1])) if best else 0.0,
                )
            )
        return out

    def support(self, claim: str, evidence: Sequence[str]) -> list[float]:
        """For each piece of evidence the probability that it alone supports the claim."""
        windows, _, first = self._logits([(claim, text) for text in evidence])
        return [
            self._sure("supported", max(float(first[id(w)][2]) for w in own)) if own[0].places else 0.0
            for own in windows
        ]

    def _sure(self, head: str, *values: float) -> float:
        """Logistic calibration: weights for each value, then an offset."""
        *weights, offset = self._calibration[head]
        total = offset + sum(w * v for w, v in zip(weights, values, strict=True))
        return float(1 / (1 + np.exp(-np.clip(total, -30, 30))))

    def _logits(
        self, pairs: Sequence[tuple[str, str]]
    ) -> tuple[list[list[Window]], dict[int, NDArray[np.float32]], dict[int, NDArray[np.float32]]]:
        windows = self._pairs.windows(pairs) if pairs else []
        ranked = sorted((window for own in windows for window in own), key=lambda w: -len(w.ids))
        groups: list[list[Window]] = []
        while ranked:
            take = max(1, TOKEN_BUDGET // _padded(len(ranked[0].ids)))
            groups.append(ranked[:take])
            ranked = ranked[take:]
        span: dict[int, NDArray[np.float32]] = {}
        first: dict[int, NDArray[np.float32]] = {}
        with _native(self._name):
            for group, (spans, heads) in zip(groups, self._run(groups), strict=True):
                for row, window in enumerate(group):
                    span[id(window)], first[id(window)] = spans[row], heads[row]
        return windows, span, first


@dataclass(frozen=True, slots=True)
class FastForm:
    """A reader for OpenVINO: a graph, or the file of one, and the fp32 logits of its self-test."""

    graph: Any
    reference: Sequence[Sequence[float]]

    @classmethod
    def stored(cls, folder: Path) -> FastForm:
        """What `convert` wrote."""
        with _native(folder.parent.name):
            return cls(folder / GRAPH, json.loads((folder / REFERENCE).read_text(encoding="utf-8")))

    @classmethod
    def built(cls, artefact: Artefact, base: Path) -> FastForm:
        """In memory, of an artefact that carries its own reference. Raises `ModelError`."""
        from models import reader_graph

        told = about(artefact)
        with _native(told["name"]):
            graph = reader_graph.build(merged(artefact, base / "model.safetensors"), read_config(base))
            return cls(graph, told["reference"])


class FastReader(_Reader):
    """OpenVINO on the CPU: bf16 where the processor has it and the self-test passes, else fp32."""

    def __init__(self, artefact: Artefact, form: FastForm, tokenizer: Path, *, threads: int = 0) -> None:
        """Open the graph and test it against its fp32 logits. Raises `ModelError`."""
        super().__init__(artefact, tokenizer)
        self._threads = threads_or_default(threads)
        self._lock = threading.Lock()
        with _native(self._name):
            from openvino import Core

            self._core = Core()
            self._graph = self._core.read_model(form.graph) if isinstance(form.graph, Path) else form.graph
        self.precision = ""
        self._queue: Any = None
        self._choose_precision(form.reference)

    def _run(self, groups: list[list[Window]]) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        out: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = [(np.zeros(0), np.zeros(0))] * len(groups)  # type: ignore[list-item]

        def store(request: Any, number: int) -> None:
            out[number] = (
                np.array(request.get_output_tensor(0).data, dtype=np.float32),
                np.array(request.get_output_tensor(1).data, dtype=np.float32),
            )

        with self._lock:
            self._queue.set_callback(store)
            for number, group in enumerate(groups):
                self._queue.start_async(dict(enumerate(_inputs(group))), number)
            self._queue.wait_all()
        return out

    def _choose_precision(self, reference: Sequence[Sequence[float]]) -> None:
        stored = [np.array(flat, dtype=np.float32) for flat in reference]
        has_bf16 = "BF16" in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        tried = []
        for precision in ("bf16", "f32") if has_bf16 else ("f32",):
            with _native(self._name):
                self._open(precision)
            worst = min(_cosine(a, b) for a, b in zip(probe_logits(self), stored, strict=True))
            if worst >= MIN_COSINE:
                self.precision = precision
                log.info(
                    "reader %s: %s on %d threads, self-test cosine %.5f", self._name, precision, self._threads, worst
                )
                return
            tried.append(f"{precision}: cosine {worst:.5f}")
        raise ModelError(
            f"{self._name}: the fast backend fails its self-test ({'; '.join(tried)})",
            hint='Set `embedder_backend = "reference"` to use fp32 torch.',
        )

    def _open(self, precision: str) -> None:
        from openvino import AsyncInferQueue

        options = {
            "INFERENCE_PRECISION_HINT": precision,
            "NUM_STREAMS": self._threads,
            "INFERENCE_NUM_THREADS": self._threads,
        }
        self._queue = AsyncInferQueue(self._core.compile_model(self._graph, "CPU", options), self._threads)


class ReferenceReader(_Reader):
    """fp32 torch: slower, exact."""

    def __init__(self, artefact: Artefact, base: Path, tokenizer: Path, *, threads: int = 0) -> None:
        """Merge the artefact over `base`, a folder with `model.safetensors` and `config.json`. Raises `ModelError`."""
        super().__init__(artefact, tokenizer)
        self._lock = threading.Lock()
        with _native(self._name):
            import torch

            from models.reader_network import ReaderNetwork

            torch.set_num_threads(threads_or_default(threads))
            self._network = ReaderNetwork(read_config(base))
            tensors = merged(artefact, base / "model.safetensors")
            self._network.load_state_dict({name: torch.from_numpy(value) for name, value in tensors.items()})
            self._network.eval()

    def _run(self, groups: list[list[Window]]) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        import torch

        out = []
        with self._lock, torch.inference_mode():
            for group in groups:
                ids, types, mask = (torch.from_numpy(array).long() for array in _inputs(group))
                span, first = self._network(ids, types, mask)
                out.append((span.numpy(), first.numpy()))
        return out


def convert(artefact: Artefact, base: Path, tokenizer: Path, folder: Path) -> None:
    """Write the fast form to `folder`: the merged graph and the fp32 logits of its self-test. Raises `ModelError`."""
    from models import reader_graph

    tensors = merged(artefact, base / "model.safetensors")
    flat = reference_of(artefact, base, tokenizer)
    folder.mkdir(parents=True)
    with _native(about(artefact)["name"]):
        from openvino import save_model

        save_model(reader_graph.build(tensors, read_config(base)), str(folder / GRAPH), compress_to_fp16=False)
    (folder / REFERENCE).write_text(json.dumps(flat), encoding="utf-8")


def reference_of(artefact: Artefact, base: Path, tokenizer: Path) -> list[list[float]]:
    """The fp32 logits that a fast form is tested against."""
    return [[float(v) for v in logits] for logits in probe_logits(ReferenceReader(artefact, base, tokenizer))]


def probe_logits(reader: _Reader) -> list[NDArray[np.float32]]:
    """All logits of each probe in one row: what the self-test compares."""
    windows, span, first = reader._logits(PROBES)
    return [
        np.concatenate([part for w in own for part in (span[id(w)][: len(w.ids)].ravel(), first[id(w)])])
        for own in windows
    ]


def read_config(base: Path) -> dict[str, Any]:
    """The base's `config.json`."""
    config: dict[str, Any] = json.loads((base / "config.json").read_text(encoding="utf-8"))
    return config


def _padded(length: int) -> int:
    return -(-length // STEP) * STEP


def _inputs(group: list[Window]) -> tuple[NDArray[np.int32], ...]:
    """Ids, types and mask, int32, `[len(group), longest rounded up]`."""
    shape = (len(group), _padded(max(len(window.ids) for window in group)))
    ids, types, mask = (np.zeros(shape, dtype=np.int32) for _ in range(3))
    for row, window in enumerate(group):
        size = len(window.ids)
        ids[row, :size], types[row, window.first : size], mask[row, :size] = window.ids, 1, 1
    return ids, types, mask


def _cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return float(a @ b / max(1e-9, float(np.linalg.norm(a) * np.linalg.norm(b))))


@contextmanager
def _native(name: str) -> Iterator[None]:
    """Map what OpenVINO, torch and their files raise to `ModelError`."""
    try:
        yield
    except (RuntimeError, OSError, ValueError, KeyError, ImportError) as exc:
        raise ModelError(
            f"reader {name} failed: {type(exc).__name__}: {str(exc).splitlines()[0][:300] if str(exc) else ''}",
            hint="Run `strongroom models verify`; then `strongroom models pull --defaults` if a file is damaged.",
        ) from exc
