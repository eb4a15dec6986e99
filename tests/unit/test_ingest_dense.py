"""Dense vectors of chunks: the name weighs as said, repetitions cost nothing, broken vectors are refused."""

import numpy as np
import pytest

from ingest.chunk import Wording
from ingest.dense import NAME_WEIGHT, DenseEncoder
from strongroom.errors import ModelError
from strongroom.ports import Vectors
from tests.fakes import FakeEmbedder


def test_a_vector_is_the_passage_and_a_share_of_the_name_in_unit_length() -> None:
    embedder = FakeEmbedder()
    made = DenseEncoder(embedder).encode([Wording("Harbour Lease", "the rent is due"), Wording("", "the rent is due")])
    name, passage = embedder.embed_documents(["Harbour Lease", "the rent is due"])
    expected = passage + NAME_WEIGHT * name
    assert np.allclose(made[0], expected / np.linalg.norm(expected), atol=1e-6)
    assert np.allclose(made[1], passage, atol=1e-6)


def test_names_and_repeated_clauses_are_embedded_once_across_calls() -> None:
    embedder = FakeEmbedder()
    encoder = DenseEncoder(embedder)
    first = encoder.encode([Wording("A", "clause one"), Wording("A", "clause two"), Wording("A", "clause one")])
    second = encoder.encode([Wording("A", "clause three"), Wording("B", "clause one")])
    assert [sorted(call) for call in embedder.calls] == [["A", "clause one", "clause two"], ["B", "clause three"]]
    assert np.array_equal(first[0], first[2])
    assert not np.allclose(first[0], second[1])  # another name


def test_what_is_remembered_is_bounded() -> None:
    embedder = FakeEmbedder()
    encoder = DenseEncoder(embedder, remembered=2)
    for text in ("one", "two", "three", "one"):
        encoder.encode([Wording("", text)])
    assert [call[0] for call in embedder.calls] == ["one", "two", "three", "one"]


def test_no_chunks_need_no_embedder() -> None:
    embedder = FakeEmbedder()
    assert DenseEncoder(embedder).encode([]).shape == (0, embedder.dimension)
    assert embedder.calls == []


@pytest.mark.parametrize("broken", [np.full((1, 64), np.nan, np.float32), np.ones((1, 63), np.float32)])
def test_unusable_vectors_are_refused(broken: Vectors) -> None:
    class Broken(FakeEmbedder):
        def embed_documents(self, texts):  # type: ignore[no-untyped-def]
            return broken

    with pytest.raises(ModelError, match="unusable vectors"):
        DenseEncoder(Broken()).encode([Wording("", "text")])
