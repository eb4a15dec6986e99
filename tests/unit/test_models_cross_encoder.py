"""Cross-encoders from a folder: loaded as they are, refused by name; one orders hits, one judges what was written."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from models.cross_encoder import CrossEncoderNli, CrossEncoderReranker
from models.defaults import open_nli
from models.incoming import path_sha256
from models.registry import Registry
from retrieval import grounding
from retrieval.evidence import Evidence
from retrieval.search import Searcher
from strongroom.errors import ModelError
from tests.answering import Shelf
from tests.fakes import FakeEmbedder, FakeReader
from tests.unit.test_retrieval_search import ANN, ListIndex, Release

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "harbour", "dues", "rise", "crane", "steel", "."]


RANKED = (
    ("harbour", "dues rise .", 1.0),
    ("harbour", "steel .", 0.0),
    ("harbour", "crane steel rise", 0.0),
    ("harbour", "crane dues", 1.0),
    ("dues", "steel crane", 0.0),
    ("crane", "rise dues", 1.0),
)
# A quote, a claim and their relation: "dues" follows from "dues", "steel" goes against it, a crane says nothing.
INFERRED = (
    ("harbour dues .", "dues rise .", "entailment"),
    ("dues .", "dues", "entailment"),
    ("harbour dues .", "steel rise .", "contradiction"),
    ("dues .", "harbour steel", "contradiction"),
    ("harbour dues", "crane rise .", "neutral"),
    ("dues .", "harbour crane .", "neutral"),
    ("dues harbour rise steel crane", "harbour dues rise", "entailment"),
    ("dues harbour rise steel crane", "steel harbour rise", "contradiction"),
)


RELATIONS = ("entailment", "neutral", "contradiction")


def write_model(folder: Path, *, outputs: int = 1, labels: Sequence[str] = ()) -> Path:
    """A cross-encoder of one tiny layer. With one output its score is high for passages that say "dues" and low for
    "steel"; with `labels`, which are `RELATIONS`, it has learnt those above."""
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
        num_labels=len(labels) or outputs,
        **({"id2label": dict(enumerate(labels))} if labels else {}),
    )
    torch.manual_seed(0)
    model = BertForSequenceClassification(config).eval()
    if labels:
        learn(
            model, tokenizer, [(quote, claim, labels.index(relation)) for quote, claim, relation in INFERRED], 0.01, 200
        )
    elif outputs == 1:
        learn(model, tokenizer, RANKED, 0.02, 60)
    model.save_pretrained(folder, safe_serialization=True)
    return folder


def learn(
    model: object, tokenizer: object, pairs: Sequence[tuple[str, str, float | int]], rate: float, steps: int
) -> None:
    """A few steps on what the score, or the chosen output, should be."""
    import torch
    from torch.nn import functional

    encoded = [tokenizer.encode(a, b) for a, b, _ in pairs]  # type: ignore[attr-defined]
    longest = max(len(one.ids) for one in encoded)
    ids, kinds, mask = (
        torch.tensor([getattr(one, field) + [0] * (longest - len(one.ids)) for one in encoded])
        for field in ("ids", "type_ids", "attention_mask")
    )
    wanted = torch.tensor([label for *_, label in pairs])
    optimiser = torch.optim.Adam(model.parameters(), lr=rate)  # type: ignore[attr-defined]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # so small a model only waits for more
    for _ in range(steps):
        logits = model(input_ids=ids, token_type_ids=kinds, attention_mask=mask).logits  # type: ignore[operator]
        if wanted.is_floating_point():
            loss = functional.binary_cross_entropy_with_logits(logits[:, 0], wanted)
        else:
            loss = functional.cross_entropy(logits, wanted)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    torch.set_num_threads(threads)


def reordered(source: Path, folder: Path, labels: Sequence[str]) -> Path:
    """A model of inference with the same mind and its outputs in another order."""
    from transformers import BertForSequenceClassification

    shutil.copytree(source, folder)
    model = BertForSequenceClassification.from_pretrained(source)
    rows = [RELATIONS.index(label.casefold()) for label in labels]
    model.classifier.weight.data = model.classifier.weight.data[rows].clone()
    model.classifier.bias.data = model.classifier.bias.data[rows].clone()
    model.config.id2label = dict(enumerate(labels))
    model.save_pretrained(folder, safe_serialization=True)
    return folder


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


# ------------------------------------------------------------------------------------------------ inference


@pytest.fixture(scope="module")
def judging(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("nli"), labels=RELATIONS)


@pytest.mark.parametrize("labels", [RELATIONS, ("CONTRADICTION", "ENTAILMENT", "NEUTRAL")])
def test_which_output_means_what_is_read_from_the_model(tmp_path: Path, judging: Path, labels: Sequence[str]) -> None:
    model = CrossEncoderNli("tiny", reordered(judging, tmp_path / "nli", labels))
    found = model.infer("dues rise .", ["harbour dues ."]) + model.infer("steel rise .", ["harbour dues ."])
    found += model.infer("crane rise .", ["harbour dues"])
    assert [one.entails > 0.5 for one in found] == [True, False, False]
    assert [one.contradicts > 0.5 for one in found] == [False, True, False]
    assert model.infer("dues", []) == []


def test_a_model_that_does_not_name_its_outputs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="which of its outputs means entailment"):
        CrossEncoderNli("topics", write_model(tmp_path, outputs=3))


def test_an_installed_model_takes_support_away_and_never_gives_it(tmp_path: Path, judging: Path) -> None:
    # GIVEN the model carried in under an id of the catalogue, and found because it is installed
    source, store = reordered(judging, tmp_path / "nli", ("contradiction", "entailment", "neutral")), tmp_path / "store"
    assert open_nli(store, "auto") is None
    Registry(store).import_file("nli-minilm2-l6-h768", source, sha256=path_sha256(source))
    nli = open_nli(store, "auto")
    assert nli is not None
    assert nli.name == "nli-minilm2-l6-h768"

    class Agreeing(FakeReader):
        def support(self, claim: str, evidence: Sequence[str]) -> list[float]:
            return [1.0] * len(evidence)

    embedder, quote = FakeEmbedder(512), "dues harbour rise steel crane"
    (chunk,) = Shelf({"d": [quote]}).chunks()
    vector = embedder.embed_documents([quote])[0]
    quotes = [Evidence(chunk, chunk.start, chunk.end, chunk.text, 1.0, 1.0, 1.0, vector)]

    def support(text: str, *, use: object) -> str:
        (found,) = grounding.check(text, [(len(text), 1)], quotes, "?", embedder, Agreeing(), nli=use)  # type: ignore[arg-type]
        return found.support

    # WHEN sentences whose words all stand in the quote are checked without and with it
    # THEN what follows stays, what goes against the quote is not carried, and a stranger's words stay strange
    entailed, denied = "harbour dues rise", "steel harbour rise"
    assert support(entailed, use=None) == support(entailed, use=nli) == "supported"
    assert support(denied, use=None) == "supported"
    assert support(denied, use=nli) == "unsupported"
    assert support("rain falls on the northern coast", use=nli) == "unsupported"


def test_another_kind_of_model_is_refused_by_name(tmp_path: Path, folder: Path) -> None:
    Registry(tmp_path).import_file("ms-marco-minilm-l6-v2", folder, sha256=path_sha256(folder))
    assert open_nli(tmp_path, "auto") is None
    with pytest.raises(ModelError, match="of kind reranker, not an NLI model"):
        open_nli(tmp_path, "ms-marco-minilm-l6-v2")
    with pytest.raises(ModelError, match="not installed"):
        open_nli(tmp_path, "nli-deberta-v3-base")
