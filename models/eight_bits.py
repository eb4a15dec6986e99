"""An encoder whose matrix products run in 8 bits: what embeds passages. Used when a model is installed.

Method: weights in 8 bits with one scale a row, activations in 8 bits with one scale a tensor, fixed beforehand, and the
outliers of activations moved into the weights (Xiao et al. 2023, "SmoothQuant", arXiv:2211.10438). The last product of
the first layer stays exact: its rounding alone costs more than that of any other, most of all in scripts that the model
knows badly. docs/decisions/throughput.md has the figures.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.bert_graph import Layers, build
from models.spec import EmbedderSpec
from models.tokenizer import BatchTokenizer, FileTokenizer

if TYPE_CHECKING:
    from numpy.typing import NDArray

_RANDOM = [180] * 16 + [1, 2, 3, 4, 6, 8, 12, 16] * 2  # lengths of texts of random tokens
_LEAST = 1e-5

_TEXTS = Path(__file__).with_name("calibration.txt")


def build_eight_bits(spec: EmbedderSpec) -> Any:
    """The graph of `spec` as `bert_graph.build` gives it, with its products in 8 bits."""
    return build(spec, functools.partial(EightBits, reach=measure_reach(spec, calibration_ids(spec))))


def calibration_ids(spec: EmbedderSpec) -> list[list[int]]:
    """Token ids of what scales are measured on: prose of several kinds, its first words, and random tokens.

    Random tokens reach every part of the vocabulary, so that scripts are not cut off by scales made for others; short
    texts have activations of their own, up to the text of no token at all.
    """
    tokens = BatchTokenizer(spec.tokenizer_file, max_tokens=spec.max_tokens)
    prose = _TEXTS.read_text(encoding="utf-8").split("\n\n")
    starts = [" ".join(text.split()[:words]) for text in prose for words in (0, 1, 3)]
    first, *_, last = tokens.ids([""])[0]
    rng = np.random.default_rng(1)
    size = FileTokenizer(spec.tokenizer_file).vocabulary
    lengths = [min(length, spec.max_tokens - 2) for length in _RANDOM]
    random = [[first, *map(int, rng.integers(0, size, length)), last] for length in lengths]
    return [*tokens.ids(prose), *tokens.ids(starts), *random]


def measure_reach(spec: EmbedderSpec, texts: Sequence[Sequence[int]]) -> dict[str, NDArray[np.float32]]:
    """The largest activation of each channel before each product, in fp32 over `texts` (token ids), by product."""
    from openvino import Core

    seen: dict[str, Any] = {}
    model = build(spec, functools.partial(_Watched, seen=seen))
    model.add_outputs([node.output(0) for node in seen.values()])
    request = Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    reach: dict[str, NDArray[np.float32]] = {}
    for ids in texts:
        values = list(request({0: np.array([ids], np.int32), 1: np.ones((1, len(ids)), np.int32)}).values())
        for at, value in zip(seen, values[1:], strict=True):
            reach[at] = np.maximum(reach.get(at, np.float32(_LEAST)), value)
    return reach


class _Watched(Layers):
    """Also gives the largest activation of each channel before each product."""

    def __init__(self, *args: Any, seen: dict[str, Any], **options: Any) -> None:
        super().__init__(*args, **options)
        self._seen = seen

    def linear(self, hidden: Any, at: str) -> Any:
        self._seen[at] = self._op.reduce_max(self._op.abs(hidden), self.ints(0, 1))
        return super().linear(hidden, at)


class EightBits(Layers):
    """All products but one in 8 bits."""

    exact = ("encoder.layer.0.output.dense",)
    moved = 0.65  # how much of an activation's reach moves into the weights
    moved_last = 0.9  # the same before the last product of a layer, whose activations reach furthest

    def __init__(self, *args: Any, reach: Mapping[str, NDArray[np.float32]], **options: Any) -> None:
        super().__init__(*args, **options)
        self._reach = reach
        self._rounded: dict[str, tuple[Any, NDArray[np.float32]]] = {}

    def linear(self, hidden: Any, at: str) -> Any:
        if at in self.exact:
            return super().linear(hidden, at)
        op = self._op
        rounded, moved = self._round(hidden, at)
        weight = self._weights[f"{at}.weight"] * moved
        scale = np.maximum(np.abs(weight).max(1, keepdims=True), _LEAST) / 127
        eight = op.convert(op.constant(np.round(weight / scale).astype(np.int8)), "f32")
        product = op.matmul(rounded, op.multiply(eight, self.constant(scale)), False, True)
        return op.add(product, self.constant(self._weights[f"{at}.bias"][None, None]))

    def _round(self, hidden: Any, at: str) -> tuple[Any, NDArray[np.float32]]:
        """Activations divided by a factor a channel and rounded to 8 bits, and those factors.

        Query, key and value have the same input, which is rounded once.
        """
        layer, self_attention, _ = at.partition(".self.")
        same = [f"{layer}.self.{name}" for name in ("query", "key", "value")] if self_attention else [at]
        if same[0] not in self._rounded:
            weights = np.max([np.abs(self._weights[f"{name}.weight"]).max(0) for name in same], axis=0)
            share = self.moved_last if at.endswith("output.dense") and "attention" not in at else self.moved
            moved = np.maximum(self._reach[at] ** share / np.maximum(weights, _LEAST) ** (1 - share), 1e-4)
            top = float((self._reach[at] / moved).max())
            ends = [self.constant(-top * 128 / 127), self.constant(top)]
            divided = self._op.multiply(hidden, self.constant((1 / moved)[None, None]))
            self._rounded[same[0]] = self._op.fake_quantize(divided, *ends, *ends, 256), moved
        return self._rounded[same[0]]
