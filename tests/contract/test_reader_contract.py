"""What every reader must do, run on each adapter over a small network of random weights, and on the fake."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load

from models.reader import FastForm, FastReader, ReferenceReader, _Reader, convert, probe_logits, reference_of
from models.reader_weights import WEIGHTS, about, dumps, merged
from models.training.export import export
from strongroom.errors import ModelError
from strongroom.ports import Reader
from tests.contract.test_embedder_contract import make_directory
from tests.fakes import FakeReader

QUESTION = "who pays the rent each month"
PASSAGES = [
    "the tenant pays the rent each month. the landlord pays for the repair.",
    "  a cat sleeps — the dog  sleeps\n\tin court ",
    "",
    "   \n ",
    "court " * 700 + "the tenant pays the deposit",
    "Ünïcode: the lease — 合同 — ends; the tenant pays “the rent” …",
]
CALIBRATION = {"span": [0.5, 0.0], "answerable": [0.4, 0.8, 0.1], "relevant": [1.0, 0.0], "supported": [1.0, 0.0]}


def make_artefact(folder: Path, base: Path) -> Path:
    """An artefact of random differences over the tiny network in `base`."""
    import torch

    from models.reader_network import load_base

    torch.manual_seed(3)
    network = load_base(base)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * (0.4 if name.startswith("heads.") else 0.05))
    export(
        network,
        base,
        folder,
        base_id="tiny",
        name="tiny-reader",
        licence="none",
        calibration=CALIBRATION,
        recipe={},
    )
    return folder


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("reader")
    base = make_directory(root / "base", max_tokens=64, positions=512)
    artefact = make_artefact(root / "artefact", base)
    convert(artefact, base, base / "tokenizer.json", root / "fast")
    return {"base": base, "artefact": artefact, "fast": root / "fast"}


@pytest.fixture(scope="module")
def carried(places: dict[str, Path]) -> bytes:
    """The same artefact as bytes that bring the logits of their self-test along, as those trained here do."""
    plain = (places["artefact"] / WEIGHTS).read_bytes()
    reference = reference_of(plain, places["base"], places["base"] / "tokenizer.json")
    return dumps(load(plain), about(plain) | {"reference": reference})


@pytest.fixture(params=["fast", "fast in memory", "reference", "fake"])
def reader(request: pytest.FixtureRequest, places: dict[str, Path], carried: bytes) -> Reader:
    tokenizer = places["base"] / "tokenizer.json"
    makers: dict[str, Callable[[], Reader]] = {
        "fast": lambda: FastReader(places["artefact"], FastForm.stored(places["fast"]), tokenizer, threads=2),
        "fast in memory": lambda: FastReader(carried, FastForm.built(carried, places["base"]), tokenizer, threads=2),
        "reference": lambda: ReferenceReader(places["artefact"], places["base"], tokenizer, threads=1),
        "fake": FakeReader,
    }
    return makers[request.param]()


class TestReaderContract:
    def test_one_reading_for_each_passage_in_order(self, reader: Reader) -> None:
        together = reader.read(QUESTION, PASSAGES)
        assert len(together) == len(PASSAGES)
        for passage, reading in zip(PASSAGES, together, strict=True):
            (alone,) = reader.read(QUESTION, [passage])
            assert alone.answerable == pytest.approx(reading.answerable, abs=0.02)
            assert alone.relevant == pytest.approx(reading.relevant, abs=0.02)

    def test_spans_are_ranked_apart_and_inside_the_passage(self, reader: Reader) -> None:
        for count in (1, 2, 5):
            for passage, reading in zip(PASSAGES, reader.read(QUESTION, PASSAGES, spans=count), strict=True):
                assert len(reading.spans) <= count
                scores = [span.score for span in reading.spans]
                assert scores == sorted(scores, reverse=True)
                assert all(0 <= score <= 1 for score in scores)
                ordered = sorted(reading.spans, key=lambda span: span.start)
                assert all(a.end <= b.start for a, b in itertools.pairwise(ordered))
                for span in reading.spans:
                    quote = passage[span.start : span.end]
                    assert quote == quote.strip() != ""

    def test_nothing_to_read(self, reader: Reader) -> None:
        assert reader.read(QUESTION, []) == []
        assert reader.support(QUESTION, []) == []
        for reading in reader.read(QUESTION, ["", "  \n"]):
            assert reading.spans == ()
            assert reading.answerable == reading.relevant == 0.0
        assert reader.support("the tenant pays", ["", " "]) == [0.0, 0.0]

    def test_probabilities(self, reader: Reader) -> None:
        for reading in reader.read(QUESTION, PASSAGES):
            assert 0 <= reading.answerable <= 1
            assert 0 <= reading.relevant <= 1
        found = reader.support("the tenant pays the rent", PASSAGES)
        assert len(found) == len(PASSAGES)
        assert all(0 <= value <= 1 for value in found)

    def test_the_question_matters(self, reader: Reader) -> None:
        passage = PASSAGES[0]
        first, second = reader.read("who pays the rent", [passage]), reader.read("a dog sleeps", [passage])
        assert first != second

    def test_the_end_of_a_long_passage_is_read(self, reader: Reader) -> None:
        """GIVEN a passage of many windows WHEN its last words change THEN what is read changes."""
        ends = ["the tenant pays the rent each month", "a cat"]
        long = ["court " * 700 + end for end in ends]
        first, second = reader.read(QUESTION, long, spans=400)
        assert max(span.end for span in first.spans) > len("court " * 700)
        assert first.spans != second.spans

    def test_threads_share_a_reader(self, reader: Reader) -> None:
        expected = reader.read(QUESTION, PASSAGES)
        found: dict[int, object] = {}

        def work(number: int) -> None:
            found[number] = [(reading.answerable, len(reading.spans)) for reading in reader.read(QUESTION, PASSAGES)]

        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 4
        for one in found.values():
            assert isinstance(one, list)
            for (answerable, count), reading in zip(one, expected, strict=True):
                assert answerable == pytest.approx(reading.answerable, abs=0.02)
                assert count == len(reading.spans)

    def test_says_what_it_is(self, reader: Reader) -> None:
        assert reader.name
        assert reader.fingerprint


def test_fast_and_reference_agree(places: dict[str, Path]) -> None:
    tokenizer = places["base"] / "tokenizer.json"
    fast: _Reader = FastReader(places["artefact"], FastForm.stored(places["fast"]), tokenizer, threads=2)
    reference: _Reader = ReferenceReader(places["artefact"], places["base"], tokenizer, threads=1)
    for a, b in zip(probe_logits(fast), probe_logits(reference), strict=True):
        assert float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b))) >= 0.999


def test_another_base_is_refused(places: dict[str, Path], tmp_path: Path) -> None:
    other = tmp_path / "model.safetensors"
    other.write_bytes((places["base"] / "model.safetensors").read_bytes() + b" ")
    with pytest.raises(ModelError, match="trained over weights"):
        merged(places["artefact"], other)


def test_a_wrong_fast_form_fails_the_self_test(places: dict[str, Path], tmp_path: Path) -> None:
    import json
    import shutil

    broken = tmp_path / "fast"
    shutil.copytree(places["fast"], broken)
    stored = json.loads((broken / "reference.json").read_text())
    stored[0] = [-value for value in stored[0]]
    (broken / "reference.json").write_text(json.dumps(stored))
    with pytest.raises(ModelError, match="self-test"):
        FastReader(places["artefact"], FastForm.stored(broken), places["base"] / "tokenizer.json")
