"""Chunks to vectors: what each says, mixed with what its document is called, and nothing embedded twice.

Embedding takes nearly all the time of an ingest, so the tokens that go into the embedder are what counts. A document's
name before each of its chunks was an eighth of them. Here the name is embedded once and added to the vector of each
chunk, which finds pages at least as well: docs/decisions/throughput.md has the figures. Texts that repeat (clauses that
many contracts share, copies) are embedded once for as long as the memory of recent ones reaches.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from strongroom.errors import ModelError

if TYPE_CHECKING:
    from ingest.chunk import Wording
    from strongroom.ports import Embedder, Vector, Vectors

NAME_WEIGHT = 0.5  # of the name's unit vector beside the passage's; 0.4 to 0.7 are alike
_REMEMBERED = 8192  # vectors; 12 MiB at 384 dimensions


class DenseEncoder:
    """Makes the dense vectors of chunks. One thread at a time."""

    def __init__(self, embedder: Embedder, *, remembered: int = _REMEMBERED) -> None:
        self._embedder = embedder
        self._remembered = remembered
        self._recent: OrderedDict[bytes, Vector] = OrderedDict()

    def encode(self, wordings: Sequence[Wording]) -> Vectors:
        """Unit vectors, shape `(len(wordings), dimension)`. Raises `ModelError` for vectors no index should hold."""
        known = self._embedded([text for w in wordings for text in (w.passage, w.context) if text])
        dense = np.zeros((len(wordings), self._embedder.dimension), dtype=np.float32)
        for row, wording in zip(dense, wordings, strict=True):
            if wording.passage:
                row += known[wording.passage]
            if wording.context:
                row += NAME_WEIGHT * known[wording.context]
        norms = np.linalg.norm(dense, axis=1, keepdims=True)
        return np.asarray(dense / np.maximum(norms, 1e-12), dtype=np.float32)

    def renamed(self, dense: Sequence[Vector], old: Sequence[str], new: Sequence[str]) -> list[Vector]:
        """The vectors that the same passages have under another name. Only the names are embedded.

        A vector is v = (p + w n) / c with unit vectors p (passage) and n (name). From |p| = 1 follows
        c = w (v . n) + sqrt(1 - w^2 + w^2 (v . n)^2), and from that the passage's own vector, p = c v - w n.
        """
        if old == new:
            return list(dense)
        known = self._embedded([name for name in (*old, *new) if name])
        made = []
        for vector, was, becomes in zip(dense, old, new, strict=True):
            passage = np.asarray(vector, dtype=np.float64)
            if was:
                name = NAME_WEIGHT * known[was].astype(np.float64)
                along = float(passage @ name)
                passage = (along + np.sqrt(along**2 + 1 - NAME_WEIGHT**2)) * passage - name
            if becomes:
                passage = passage + NAME_WEIGHT * known[becomes]
            made.append(np.asarray(passage / max(float(np.linalg.norm(passage)), 1e-12), dtype=np.float32))
        return made

    def _embedded(self, texts: Sequence[str]) -> dict[str, Vector]:
        """The vector of each distinct text, from memory where it was embedded lately."""
        keys = {text: hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).digest() for text in texts}
        found = {text: self._recent[key] for text, key in keys.items() if key in self._recent}
        new = [text for text in keys if text not in found]
        if new:
            vectors = self._embedder.embed_documents(new)
            if vectors.shape != (len(new), self._embedder.dimension) or not np.isfinite(vectors).all():
                raise ModelError(
                    f"embedder {self._embedder.name} returned unusable vectors of shape {vectors.shape}",
                    hint="Run `strongroom check`; another embedder backend may help.",
                )
            found |= dict(zip(new, vectors, strict=True))
        for text, key in keys.items():
            self._recent[key] = found[text]
            self._recent.move_to_end(key)
        while len(self._recent) > self._remembered:
            self._recent.popitem(last=False)
        return found
