"""What every embedder must do, run on each adapter with a small network of random weights, and on the fake."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from models.spec import EmbedderSpec, read_spec
from strongroom.errors import ModelError
from strongroom.ports import Embedder, Vector
from tests.fakes import FakeEmbedder

_VOCABULARY = "the rent lease tenant landlord pays month year agreement court notice deposit repair cat dog sleeps"
WORDS = _VOCABULARY.split()
TEXTS = [
    "the tenant pays the rent each month",
    "the landlord pays for the repair of the deposit",
    "a cat sleeps",
    "",
    " ".join(WORDS * 4),
    "court",
]


def make_directory(
    folder: Path, *, pooling: str = "mean", family: str = "bert", max_tokens: int = 24, positions: int = 64
) -> Path:
    """A sentence-transformers directory with a tiny random encoder, as the library itself would save it."""
    import torch
    import transformers
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    torch.manual_seed(7)
    vocabulary = {w: i for i, w in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    sizes = {
        "vocab_size": len(vocabulary),
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": positions,
        "pad_token_id": 0,
        "initializer_range": 0.2,  # wide enough that each layer changes the vectors, as a trained one does
    }
    if family == "bert":
        model = transformers.BertModel(transformers.BertConfig(**sizes))
    else:
        model = transformers.XLMRobertaModel(transformers.XLMRobertaConfig(**sizes))
    folder.mkdir(parents=True)
    model.eval().save_pretrained(folder, safe_serialization=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    special = {"unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]"}
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 64, **special})
    )
    (folder / "sentence_bert_config.json").write_text(
        json.dumps({"max_seq_length": max_tokens, "do_lower_case": False})
    )
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    (folder / "modules.json").write_text(
        json.dumps(
            [
                {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{name}"}
                for i, (path, name) in enumerate(modules)
            ]
        )
    )
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(
        json.dumps(
            {
                "word_embedding_dimension": 32,
                "pooling_mode_cls_token": pooling == "cls",
                "pooling_mode_mean_tokens": pooling == "mean",
                "pooling_mode_max_tokens": False,
                "pooling_mode_mean_sqrt_len_tokens": False,
            }
        )
    )
    return folder


class Pair:
    """Both adapters over one directory."""

    def __init__(self, folder: Path, **options: str) -> None:
        from models.convert import convert_embedder, convert_to_eight_bits
        from models.embedder import FastEmbedder, ReferenceEmbedder

        self.spec: EmbedderSpec = read_spec(make_directory(folder / "files", **options), name="tiny")  # type: ignore[arg-type]
        self.converted = folder / "fast"
        assert convert_embedder(self.spec, self.converted)
        self.fast = FastEmbedder(self.spec, self.converted, threads=2)
        self.in_eight_bits = folder / "eight-bits"
        convert_to_eight_bits(self.spec, self.converted, self.in_eight_bits)
        self.eight_bits = FastEmbedder(self.spec, self.converted, self.in_eight_bits, threads=2)
        self.reference = ReferenceEmbedder(self.spec, threads=2)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(tmp_path_factory.mktemp("bert"))


@pytest.fixture(params=["fake", "reference", "fast", "eight_bits"])
def embedder(request: pytest.FixtureRequest) -> Iterator[Embedder]:
    if request.param == "fake":
        yield FakeEmbedder(dimension=32, max_tokens=24)
    else:
        yield getattr(request.getfixturevalue("pair"), request.param)


class TestEmbedderContract:
    def test_unit_vectors_of_the_stated_shape(self, embedder: Embedder) -> None:
        vectors = embedder.embed_documents(TEXTS)
        assert vectors.shape == (len(TEXTS), embedder.dimension)
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-3)

    def test_nothing_in_nothing_out(self, embedder: Embedder) -> None:
        assert embedder.embed_documents([]).shape == (0, embedder.dimension)

    def test_order_and_neighbours_do_not_matter(self, embedder: Embedder) -> None:
        together = embedder.embed_documents(TEXTS)
        backwards = embedder.embed_documents(TEXTS[::-1])[::-1]
        alone = np.stack([embedder.embed_documents([text])[0] for text in TEXTS])
        assert float((together * backwards).sum(1).min()) >= 0.9999
        assert float((together * alone).sum(1).min()) >= 0.9999

    def test_many_texts_keep_their_places(self, embedder: Embedder) -> None:
        # GIVEN more texts than one window or batch holds, of mixed length
        texts = [" ".join(WORDS[: 1 + i % len(WORDS)]) for i in range(700)]
        vectors = embedder.embed_documents(texts)
        single = embedder.embed_documents(texts[: len(WORDS)])
        expected = single[[i % len(WORDS) for i in range(700)]]
        assert float((vectors * expected).sum(1).min()) >= 0.9999

    def test_a_query_is_embedded_like_a_document(self, embedder: Embedder) -> None:
        vector = embedder.embed_query(TEXTS[0])
        assert vector.shape == (embedder.dimension,)
        assert vector.dtype == np.float32
        assert float(vector @ embedder.embed_documents([TEXTS[0]])[0]) >= 0.99

    def test_text_beyond_the_maximum_changes_nothing(self, embedder: Embedder) -> None:
        long = " ".join(["rent"] * (embedder.max_tokens - 2))
        vectors = embedder.embed_documents([long, f"{long} cat dog court"])
        assert float(vectors[0] @ vectors[1]) >= 0.9999
        assert float(embedder.embed_query(long) @ embedder.embed_query(f"{long} cat")) >= 0.9999

    def test_different_texts_differ(self, embedder: Embedder) -> None:
        vectors = embedder.embed_documents([TEXTS[0], TEXTS[2]])
        assert float(vectors[0] @ vectors[1]) < 0.9999

    def test_tokens_tile_the_words_of_a_text(self, embedder: Embedder) -> None:
        text = "the tenant pays , the landlord sleeps"
        spans = embedder.tokenizer.offsets(text)
        assert [text[a:b] for a, b in spans] == text.split()
        assert embedder.tokenizer.count(text) == len(spans)

    def test_the_tokenizer_never_cuts(self, embedder: Embedder) -> None:
        assert embedder.tokenizer.count("rent " * 500) == 500

    def test_fingerprint_is_stable(self, embedder: Embedder) -> None:
        assert embedder.fingerprint == embedder.fingerprint
        assert len(embedder.fingerprint) >= 8


@pytest.mark.parametrize("options", [{"pooling": "cls"}, {"family": "xlm-roberta"}], ids=["cls", "xlm-roberta"])
def test_the_fast_graph_equals_the_reference_for_other_shapes(tmp_path: Path, options: dict[str, str]) -> None:
    pair = Pair(tmp_path, **options)
    fast, reference = pair.fast.embed_documents(TEXTS), pair.reference.embed_documents(TEXTS)
    assert float((fast * reference).sum(1).min()) >= 0.999


def test_the_fast_graph_equals_the_reference(pair: Pair) -> None:
    fast, reference = pair.fast.embed_documents(TEXTS), pair.reference.embed_documents(TEXTS)
    assert float((fast * reference).sum(1).min()) >= 0.999
    assert pair.fast.fingerprint == pair.reference.fingerprint


def test_in_fp32_the_graph_is_exact(pair: Pair) -> None:
    from models.embedder import FastEmbedder

    exact = FastEmbedder(pair.spec, pair.converted, threads=1, precision="f32")
    np.testing.assert_allclose(exact.embed_documents(TEXTS), pair.reference.embed_documents(TEXTS), atol=2e-5)


def test_a_graph_that_disagrees_with_its_reference_is_refused(pair: Pair, tmp_path: Path) -> None:
    from models.convert import GRAPH, GRAPH_WEIGHTS, REFERENCE
    from models.embedder import FastEmbedder

    # GIVEN a copy whose stored vectors belong to another network
    for name in (GRAPH, GRAPH_WEIGHTS):
        (tmp_path / name).write_bytes((pair.converted / name).read_bytes())
    stored = json.loads((pair.converted / REFERENCE).read_text())
    stored["vectors"] = stored["vectors"][::-1]
    (tmp_path / REFERENCE).write_text(json.dumps(stored))
    # WHEN it is opened THEN no precision passes
    with pytest.raises(ModelError, match="self-test") as caught:
        FastEmbedder(pair.spec, tmp_path)
    assert "f32: cosine" in str(caught.value)


def test_bf16_that_is_not_good_enough_falls_back_to_fp32(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    from models.embedder import FastEmbedder

    # GIVEN a processor whose bf16 gives other vectors
    honest = FastEmbedder._one

    def spoilt(self: FastEmbedder, text: str) -> Vector:
        return honest(self, text) * (-1 if self.precision == "bf16" else 1)

    monkeypatch.setattr(FastEmbedder, "_one", spoilt)
    # WHEN it is opened THEN fp32 is used instead, and bf16 is refused when asked for by name
    assert FastEmbedder(pair.spec, pair.converted).precision == "f32"
    with pytest.raises(ModelError, match="bf16"):
        FastEmbedder(pair.spec, pair.converted, precision="bf16")


def test_passages_in_8_bits_are_near_the_reference_and_questions_are_not_touched(pair: Pair) -> None:
    vectors, reference = pair.eight_bits.embed_documents(TEXTS), pair.reference.embed_documents(TEXTS)
    cosines = (vectors * reference).sum(1)
    assert 0.99 <= float(cosines.min()) < 0.99999  # near, and rounded indeed
    assert pair.eight_bits.passage_precision == "i8"
    np.testing.assert_array_equal(pair.eight_bits.embed_query(TEXTS[0]), pair.fast.embed_query(TEXTS[0]))
    assert pair.eight_bits.fingerprint == pair.reference.fingerprint


def test_a_form_in_8_bits_that_fails_its_self_test_gives_way(pair: Pair, tmp_path: Path) -> None:
    from models.convert import GRAPH, GRAPH_WEIGHTS
    from models.embedder import FastEmbedder

    # GIVEN a form in 8 bits of another network
    other = Pair(tmp_path, pooling="cls")
    for name in (GRAPH, GRAPH_WEIGHTS):
        (tmp_path / name).write_bytes((other.in_eight_bits / name).read_bytes())
    # WHEN passages are embedded THEN they are as exact as questions
    embedder = FastEmbedder(pair.spec, pair.converted, tmp_path, threads=2)
    np.testing.assert_array_equal(embedder.embed_documents(TEXTS), pair.fast.embed_documents(TEXTS))
    assert embedder.passage_precision == embedder.precision


def test_a_model_that_8_bits_would_spoil_is_not_converted_to_them(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from models import embedder
    from models.convert import convert_to_eight_bits

    monkeypatch.setattr(embedder, "MIN_COSINE_EIGHT_BITS", 1.01)
    convert_to_eight_bits(pair.spec, pair.converted, tmp_path / "eight-bits")
    assert [path.name for path in (tmp_path / "eight-bits").iterdir()] == ["refused.txt"]


def test_fingerprint_follows_what_decides_the_vectors(pair: Pair, tmp_path: Path) -> None:
    other = read_spec(make_directory(tmp_path / "files", pooling="cls"), name="tiny")
    shorter = read_spec(make_directory(tmp_path / "shorter", max_tokens=12), name="tiny")
    led = read_spec(pair.spec.directory, name="tiny", query_prefix="query: ")
    same = read_spec(make_directory(tmp_path / "same"), name="another name")
    assert len({pair.spec.fingerprint, other.fingerprint, shorter.fingerprint, led.fingerprint}) == 4
    assert same.fingerprint == pair.spec.fingerprint


def test_prefixes_lead_queries_and_documents(pair: Pair) -> None:
    from models.embedder import FastEmbedder

    spec = read_spec(pair.spec.directory, name="tiny", query_prefix="court ", document_prefix="cat ")
    led = FastEmbedder(spec, pair.converted, threads=1)
    assert float(led.embed_query("rent") @ pair.fast.embed_query("court rent")) >= 0.9999
    assert float(led.embed_documents(["rent"])[0] @ pair.fast.embed_documents(["cat rent"])[0]) >= 0.9999


def test_the_tokenizer_travels_by_pickle(pair: Pair) -> None:
    import pickle

    copy = pickle.loads(pickle.dumps(pair.fast.tokenizer))
    assert copy.offsets("the rent") == pair.fast.tokenizer.offsets("the rent")


def test_not_a_model_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="sentence-transformers"):
        read_spec(tmp_path, name="nothing")
