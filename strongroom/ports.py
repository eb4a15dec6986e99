"""The Protocols that rooms talk through, so that ingest, retrieval and models never import each other.

`strongroom.app` is the one place that picks adapters. Each Protocol has one contract test class under
`tests/contract/`, run against every adapter. Unless a method says otherwise it may be called from any thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from strongroom.access import AccessFilter
from strongroom.types import (
    IndexHit,
    Message,
    Reading,
    Usage,
)

Vectors = NDArray[np.float32]
Vector = NDArray[np.float32]


# ------------------------------------------------------------------------------------------------ models


class Tokenizer(Protocol):
    """The embedder's tokenizer, cheap enough to live in every parser process."""

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """Character spans of the content tokens of `text` (no special tokens), in order."""
        ...

    def count(self, text: str) -> int:
        """Number of content tokens in `text`."""
        ...


class SpeechModel(Protocol):
    """Speech to text. Picklable; nothing is loaded before the first call, so every parser process can have one."""

    @property
    def name(self) -> str: ...

    @property
    def installed(self) -> bool:
        """False when the weights are not on this machine; `transcribe` must not be called then."""
        ...

    @property
    def sample_rate(self) -> int: ...

    def transcribe(self, samples: NDArray[np.float32]) -> list[str]:
        """The sentences spoken in up to 30 s of mono sound, in order. Raises `ModelError`."""
        ...


class Embedder(Protocol):
    """Text to unit vectors. Deterministic up to cosine 0.9999: batch composition may change the last bits."""

    @property
    def name(self) -> str: ...

    @property
    def dimension(self) -> int: ...

    @property
    def max_tokens(self) -> int:
        """Longest input in tokens, special tokens included; longer texts are cut at the end."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes whenever vectors stop being comparable: weights hash, pooling, maximum length."""
        ...

    @property
    def tokenizer(self) -> Tokenizer: ...

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, shape `(len(texts), dimension)`, float32, in the order given; no texts give `(0, d)`."""
        ...

    def embed_query(self, text: str) -> Vector:
        """One unit vector, shape `(dimension,)`, float32."""
        ...


class Reranker(Protocol):
    """Reads question and passage together and says how well they fit: slower than vectors, and seldom worse."""

    @property
    def name(self) -> str: ...

    def scores(self, question: str, passages: Sequence[str]) -> list[float]:
        """One number from 0 to 1 for each passage, in order. Comparable within one question."""
        ...


class Inference(NamedTuple):
    """Probabilities, 0..1, that a claim follows from a text and that it goes against it."""

    entails: float
    contradicts: float


class Entailment(Protocol):
    """Says whether a claim follows from a text: natural language inference."""

    @property
    def name(self) -> str: ...

    def infer(self, claim: str, evidence: Sequence[str]) -> list[Inference]:
        """One `Inference` for each piece of evidence, in order. Texts too long for the model are cut."""
        ...


class Reader(Protocol):
    """Finds the words of a passage that answer a question. Deterministic up to the last digits of its scores."""

    @property
    def name(self) -> str: ...

    @property
    def fingerprint(self) -> str:
        """Changes whenever scores stop being comparable: weights or calibration."""
        ...

    def read(self, question: str, passages: Sequence[str], *, spans: int = 3) -> list[Reading]:
        """One `Reading` for each passage, in order, with at most `spans` spans each.

        Offsets are exact: `passage[span.start : span.end]` is the quote. Passages of any length are read whole. A
        passage without words has no spans and is not answerable.
        """
        ...

    def support(self, claim: str, evidence: Sequence[str]) -> list[float]:
        """For each piece of evidence the probability, 0..1, that it alone supports the claim as it is worded."""
        ...


QUOTE_SEPARATOR = " …\n"  # between the runs of a text that is made of quotes


@dataclass(frozen=True, slots=True)
class GenerationOptions:
    """How to generate. `schema` constrains output to JSON of that schema; `allowed` constrains it to quote.

    `allowed` holds source texts: the output is then made of verbatim runs of these texts, joined by `QUOTE_SEPARATOR`,
    and nothing else. A run ends with a sentence, or with its text.
    """

    max_tokens: int = 256
    temperature: float = 0.0
    stop: tuple[str, ...] = ()
    seed: int = 0
    schema: Mapping[str, Any] | None = None
    allowed: tuple[str, ...] | None = None


class ChatModel(Protocol):
    """A language model that streams text. One generation at a time per context; calls queue."""

    @property
    def name(self) -> str: ...

    @property
    def context_tokens(self) -> int: ...

    def count_tokens(self, text: str) -> int:
        """Tokens of `text` by the model's own tokenizer, without special tokens."""
        ...

    def count_prompt(self, messages: Sequence[Message]) -> int:
        """Tokens of the whole prompt after the model's own chat template."""
        ...

    def stream(
        self,
        messages: Sequence[Message],
        options: GenerationOptions,
        *,
        cancel: threading.Event | None = None,
        on_usage: Callable[[Usage], None] | None = None,
    ) -> Iterator[str]:
        """Yield text pieces as they are decoded.

        Closing the iterator or setting `cancel` stops generation at the next token and frees the context.
        `on_usage` is called once when generation ends. Raises `UsageError` when the prompt does not fit.
        """
        ...

    def close(self) -> None:
        """Free the model's memory. Safe to call twice."""
        ...


# ------------------------------------------------------------------------------------------------ index


@dataclass(frozen=True, slots=True)
class IndexPoint:
    """One chunk for the index. The sparse encoder sees `text` (the passage), `name` and `opening`; no adapter stores
    a word of them."""

    id: str  # UUID
    dense: Vector
    text: str
    document_id: str
    version_id: str
    collection_id: str
    allow: tuple[str, ...] = ()  # principals that may read; set at writing, by `ingest.regrant.write_points`
    deny: tuple[str, ...] = ()  # principals that may not, whatever `allow` says
    name: str = ""  # what the document is called, in words
    opening: bool = False  # the first passage of its document


@dataclass(frozen=True, slots=True)
class IndexQuery:
    """A hybrid query: the question's dense vector and its words for BM25."""

    dense: Vector
    text: str


class VectorIndex(Protocol):
    """Ids, vectors and filter fields; derived from the catalogue and rebuildable from it. Holds no text.

    All writes are idempotent. Errors are raised as `IndexUnreachableError`.
    """

    def upsert(self, points: Sequence[IndexPoint]) -> None:
        """Insert or replace points by id."""
        ...

    def delete_versions(self, version_ids: Sequence[str]) -> None:
        """Remove all points of these versions; unknown ids are fine."""
        ...

    def set_access(self, document_id: str, allow: Sequence[str], deny: Sequence[str]) -> None:
        """Replace the principals on every point of a document."""
        ...

    def search(self, query: IndexQuery, access: AccessFilter, limit: int) -> list[IndexHit]:
        """Best `limit` candidates, best first, under `access`; IDF counts only points inside `access`.

        An `AccessFilter` without principals matches nothing.
        """
        ...

    def version_points(self, version_id: str) -> set[str]:
        """Ids of the points of a version."""
        ...

    def vectors(self, ids: Sequence[str]) -> dict[str, Vector]:
        """Dense vectors by id, for those that exist."""
        ...

    def all_points(self) -> dict[str, str]:
        """Every point id with its version id (for `verify`)."""
        ...

    def count(self) -> int:
        """Number of points."""
        ...

    def flush(self) -> None:
        """Make all writes so far durable."""
        ...

    def compact(self, patience: float = 0.0) -> bool:
        """Begin to rewrite storage so that nothing of removed points is left in it; true when that is done.

        Waits up to `patience` seconds; false where it goes on in the background or is not in our hands. Idempotent.
        """
        ...

    def clear(self) -> None:
        """Remove every point (for `reindex`)."""
        ...

    def close(self) -> None:
        """Flush and release files or connections. Safe to call twice."""
        ...
