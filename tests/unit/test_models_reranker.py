"""A cross-encoder from a folder: loaded as it is, refused by name, and what it says decides the order of hits."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.reranker import CrossEncoderReranker
from retrieval.search import Searcher
from strongroom.errors import ModelError
from tests.fakes import FakeEmbedder
from tests.unit.test_retrieval_search import ANN, ListIndex, Release

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "harbour", "dues", "rise", "crane", "steel", "."]


def write_model(folder: Path, *, outputs: int = 1) -> Path:
    """A cross-encoder of one tiny layer, whose score is high for passages that say "dues" and low for "steel"."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    ).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=64,
        num_labels=outputs,
    )
    torch.manual_seed(0)
    model = BertForSequenceClassification(config).eval()
    if outputs == 1:
        learn(model, tokenizer)
    model.save_pretrained(folder, safe_serialization=True)
    return folder


def learn(model: object, tokenizer: object) -> None:
    """A few steps on what the score should be."""
    import torch

    pairs = [("harbour", "dues rise .", 1.0), ("harbour", "steel .", 0.0), ("harbour", "crane steel rise", 0.0)]
    pairs += [("harbour", "crane dues", 1.0), ("dues", "steel crane", 0.0), ("crane", "rise dues", 1.0)]
    encoded = [tokenizer.encode(a, b) for a, b, _ in pairs]  # type: ignore[attr-defined]
    longest = max(len(one.ids) for one in encoded)
    ids, kinds, mask = (
        torch.tensor([getattr(one, field) + [0] * (longest - len(one.ids)) for one in encoded])
        for field in ("ids", "type_ids", "attention_mask")
    )
    wanted = torch.tensor([[label] for *_, label in pairs])
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)  # type: ignore[attr-defined]
    for _ in range(60):
        logits = model(input_ids=ids, token_type_ids=kinds, attention_mask=mask).logits  # type: ignore[operator]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, wanted)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("reranker"))


def test_scores_come_in_order_and_do_not_depend_on_the_batch(folder: Path) -> None:
    reranker = CrossEncoderReranker("tiny", folder)
    passages = ["steel .", "harbour dues rise .", "crane steel", "dues"] * 6
    scores = reranker.scores("harbour", passages)
    assert [score > 0.5 for score in scores] == [False, True, False, True] * 6
    assert reranker.scores("harbour", passages[1:2]) == pytest.approx(scores[1:2], abs=1e-5)
    assert reranker.scores("harbour", []) == []


def test_what_is_no_reranker_is_refused_by_name(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(ModelError, match="3 outputs"):
        CrossEncoderReranker("topics", write_model(tmp_path / "three", outputs=3))
    with pytest.raises(ModelError, match="no safetensors"):
        CrossEncoderReranker("empty", tmp_path)
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for path in folder.iterdir():
        (damaged / path.name).write_bytes(path.read_bytes()[: 2_000 if path.suffix == ".safetensors" else None])
    with pytest.raises(ModelError, match="reranker damaged failed"):
        CrossEncoderReranker("damaged", damaged)


def test_a_reranker_decides_the_order_among_what_may_be_read(folder: Path) -> None:
    # GIVEN an index that likes the wrong passages best, and a catalogue that holds one back
    texts = {"c0": "steel .", "c1": "crane steel", "c2": "dues dues", "c3": "harbour dues rise ."}
    index, release = ListIndex(list(texts)), Release(refuse=["c2"], texts=texts)
    parts = {"index": index, "embedder": FakeEmbedder(), "release": release}
    # WHEN asked without and with it
    plain, plain_ms = Searcher(**parts).search("harbour", access=ANN, k=2)  # type: ignore[arg-type]
    searcher = Searcher(**parts, reranker=CrossEncoderReranker("tiny", folder))  # type: ignore[arg-type]
    better, better_ms = searcher.search("harbour", access=ANN, k=2)
    # THEN it looks beyond the k that were wanted, keeps the cosine, and never sees what was held back
    assert [item.chunk.id for item in plain] == ["c0", "c1"]
    assert better[0].chunk.id == "c3"
    assert better[0].dense == 0.5
    assert better[0].score > 0.5 > better[1].score
    assert "rerank" in better_ms
    assert "rerank" not in plain_ms
