"""The reader's own parts: packing of weights, spans from logits, windows over a passage."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from models.pairs import MAX_TOKENS, PairTokenizer, Window
from models.reader_weights import about, dumps, merged, pack, reader_folder, write
from models.spans import Scored, merge, window_spans
from models.spec import file_sha256
from strongroom.errors import ModelError
from tests.contract.test_embedder_contract import make_directory

LIMIT = 8 << 20  # bytes of the artefact in the wheel


def test_packed_weights_come_back_close_and_small(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    rng = np.random.default_rng(5)
    base = {
        "encoder.layer.0.x.weight": rng.normal(size=(96, 128)).astype(np.float32),
        "encoder.layer.0.x.bias": rng.normal(size=96).astype(np.float32),
        "pooler.dense.weight": rng.normal(size=(4, 4)).astype(np.float32),
    }
    changed = {name: value + rng.normal(size=value.shape).astype(np.float32) * 0.02 for name, value in base.items()}
    del changed["pooler.dense.weight"]
    changed["heads.span.weight"] = rng.normal(size=(2, 128)).astype(np.float32)
    save_file(base, str(tmp_path / "base.safetensors"))
    facts = {"base_sha256": file_sha256(tmp_path / "base.safetensors")}
    path = write(tmp_path / "reader", dumps(pack(changed, base), facts))
    back = merged(tmp_path / "reader", tmp_path / "base.safetensors")
    assert set(back) == set(changed)
    for name, value in changed.items():
        wanted = value - base.get(name, np.zeros(1))
        error = float(np.linalg.norm(back[name] - value) / np.linalg.norm(wanted))
        assert error < (0.12 if name.endswith("x.weight") else 0.002), name
    assert path.stat().st_size < 96 * 128 * 0.8


def test_an_artefact_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        about(tmp_path)
    (tmp_path / "reader.safetensors").write_bytes(b"not a tensor file")
    with pytest.raises(ModelError, match="cannot be read"):
        about(tmp_path)


def test_the_products_reader_names_its_base_and_fits_the_wheel() -> None:
    told = about(reader_folder())
    assert told["base"] == "all-minilm-l6-v2"
    assert len(told["base_sha256"]) == 64
    assert set(told["calibration"]) == {"span", "answerable", "relevant", "supported"}
    assert (reader_folder() / "reader.safetensors").stat().st_size < LIMIT
    for name in ("MODEL_CARD.md", "LICENSE.md"):
        assert (reader_folder() / name).exists()


def test_the_best_span_starts_before_it_ends() -> None:
    window = Window(0, [1] * 8, 3, [(0, 3), (4, 7), (8, 12), (13, 20)])
    logits = np.zeros((8, 2), dtype=np.float32)
    logits[4, 0], logits[5, 1] = 5.0, 4.0
    logits[6, 0], logits[3, 1] = 6.0, 3.0  # the largest sum, but it would end before it starts
    logits[0] = 1.0
    best, *_ = window_spans(window, logits, count=3, discount=0.0)
    assert (best.start, best.end, best.margin) == (4, 12, pytest.approx(7.0))
    short, *_ = window_spans(window, logits, count=3, discount=5.0)
    assert short.end - short.start < best.end - best.start


def test_spans_do_not_overlap_and_longest_holds() -> None:
    rng = np.random.default_rng(1)
    places = [(n * 5, n * 5 + 4) for n in range(30)]
    window = Window(0, [1] * 34, 3, places)
    for _ in range(20):
        found = window_spans(window, rng.normal(size=(34, 2)).astype(np.float32), count=6, longest=4)
        assert [s.margin for s in found] == sorted((s.margin for s in found), reverse=True)
        ordered = sorted(found, key=lambda s: s.start)
        assert all(a.end <= b.start for a, b in pairwise(ordered))
        assert all(s.end - s.start <= 4 * 5 for s in found)


def test_the_same_words_in_two_windows_count_once() -> None:
    found = [Scored(10, 20, 3.0), Scored(10, 20, 2.5), Scored(12, 18, 4.0), Scored(30, 35, 1.0)]
    assert merge(found, 5) == [Scored(12, 18, 4.0), Scored(30, 35, 1.0)]


def test_windows_cover_a_long_passage_and_overlap(tmp_path: Path) -> None:
    tokenizer = PairTokenizer(make_directory(tmp_path / "base") / "tokenizer.json")
    passage = "the tenant pays rent " * 300
    (windows,) = tokenizer.windows([("who pays", passage)])
    assert all(len(w.ids) <= MAX_TOKENS and len(w.ids) == len(w.types) for w in windows)
    covered = {place for w in windows for place in w.places}
    assert len(covered) == 1200
    for before, after in pairwise(windows):
        assert len(set(before.places) & set(after.places)) >= 96
    assert passage[slice(*windows[-1].places[-1])] == "rent"
