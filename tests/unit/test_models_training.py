"""Training of the reader: what is kept apart, what is made up, and that a killed run ends like one that was not."""

from __future__ import annotations

import dataclasses
import json
import random
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.pairs import PairTokenizer
from models.reader import ReferenceReader
from models.reader_network import load_base
from models.training.curves import draw
from models.training.data import DEV_GROUPS, SHARE_ALIKE, TEST_GROUPS, hard_negatives, split
from models.training.examples import Example, batches, rows, tensors
from models.training.export import export, fit_logistic
from models.training.lora import adapt, merge
from models.training.measure import calibrate, report
from models.training.mixture import TRIAL, Mixture, Write, free_of, mixture, thinned
from models.training.questions import UNSEEN
from models.training.scores import auroc, token_f1
from models.training.support import statement
from models.training.text import negated, other_number, pieces, sentences
from models.training.train import Recipe, device_of, train
from strongroom.errors import UsageError
from tests.contract.test_embedder_contract import WORDS, make_directory
from tests.fakes import FakeEmbedder

torch.set_num_threads(1)  # these networks are tiny, and two threads wait for each other on a busy machine

TEST_ARTICLE = next(iter(sorted(TEST_GROUPS)))
DEV_ARTICLE = next(iter(sorted(DEV_GROUPS)))


def _article(title: str, rng: random.Random) -> dict[str, Any]:
    """An article of made-up paragraphs with one answerable and one unanswerable question each."""
    paragraphs = []
    for _ in range(4):
        year, name = rng.randint(1500, 1999), rng.choice(["Alder", "Birch", "Cedar", "Damson"]) + " Hall"
        text = (
            f"The court of {name} was built in {year}. The tenant pays the rent each month to the landlord. "
            f"In {year + 20} it was not sold, and the deposit was lost by the court."
        )
        paragraphs.append(
            {
                "context": text,
                "qas": [
                    {
                        "id": f"{title}-{year}-a",
                        "question": f"When was the court of {name} built?",
                        "answers": [{"text": str(year), "answer_start": text.find(str(year))}],
                    },
                    {
                        "id": f"{title}-{year}-b",
                        "question": "Who sold the cat?",
                        "answers": [],
                        "is_impossible": True,
                        "plausible_answers": [{"text": "the court", "answer_start": text.find("the court")}],
                    },
                ],
            }
        )
    return {"title": title, "paragraphs": paragraphs}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All sets in miniature, in the form in which they are distributed."""
    rng = random.Random(2)
    root = tmp_path_factory.mktemp("data")
    for name in ("squad2", "training", "pubmedqa"):
        (root / name).mkdir()
    titles = [["Harbours", "Cranes", DEV_ARTICLE], ["Ferries", TEST_ARTICLE], ["Locks"]]
    files = ["squad2/dev_public.json", "training/squad2_more.json", "training/xquad_en.json"]
    for file, group in zip(files, titles, strict=True):
        (root / file).write_text(json.dumps({"data": [_article(title, rng) for title in group]}))
    contracts = []
    for number in range(15):
        text = f"This lease is made on {number + 1} May 2001. The tenant pays rent. " * 40 + "The audit is yearly."
        items = [
            {"category": "Agreement Date", "answerable": True, "spans": [[22, 22 + len(f"{number + 1} May 2001")]]},
            {"category": "Audit Rights", "answerable": True, "spans": [[len(text) - 20, len(text)]]},
            {"category": "Governing Law", "answerable": False, "spans": []},
        ]
        contracts.append(json.dumps({"contract": f"FILER{number}_2001_EX-10-LEASE.PDF", "text": text, "items": items}))
    (root / "training/cuad_spans.jsonl").write_text("\n".join(contracts))
    abstracts = {
        str(n): {"QUESTION": f"Does rent {n} help?", "CONTEXTS": [f"We asked {n} tenants about the rent each year."]}
        for n in range(6)
    }
    (root / "pubmedqa/pqal_dev500.json").write_text(json.dumps(abstracts))
    return root


@pytest.fixture(scope="module")
def mixed(data: Path) -> Mixture:
    told: list[str] = []
    found = mixture(
        data, FakeEmbedder().embed_documents, without=frozenset(), seed=1, amounts=TRIAL_ALL, tell=told.append
    )
    assert any("tatqa_dev.json is not there" in line for line in told)
    return found


TRIAL_ALL = TRIAL.__class__(
    **{**{name: getattr(TRIAL, name) for name in TRIAL.__slots__}, "contracts": None, "questions": None}
)


def _all(mixed: Mixture) -> list[Example]:
    return [e for stage in (mixed.first, mixed.second) for epoch in stage for e in epoch]


def test_articles_filers_and_clause_types_are_kept_apart(mixed: Mixture) -> None:
    trained = {group for e in _all(mixed) for group in e.group.split("|")}
    calibrated = {
        g for kept in (mixed.dev, mixed.dev_clauses, mixed.dev_others, mixed.dev_claims) for g in _groups(kept)
    }
    assert {e.group for e in mixed.test} == {TEST_ARTICLE}
    assert DEV_ARTICLE in calibrated
    assert any(group.startswith("FILER") for group in calibrated)
    assert trained & calibrated == set()
    assert TEST_ARTICLE not in trained | calibrated
    assert {"Harbours", "Cranes", "Ferries", "Locks"} <= trained
    assert "Audit Rights" in UNSEEN
    assert not any("Audit" in e.question or "Audit" in e.id for e in [*_all(mixed), *mixed.dev_clauses])
    test_words = {e.passage for e in mixed.test}
    assert not any(e.passage in test_words for e in _all(mixed))


def _groups(examples: Sequence[Example]) -> set[str]:
    return {group for e in examples for group in e.group.split("|")}


def test_without_share_alike_nothing_of_these_sets_is_used(data: Path) -> None:
    found = mixture(
        data,
        FakeEmbedder().embed_documents,
        without=frozenset({"squad", "xquad"}),
        seed=1,
        amounts=TRIAL_ALL,
        tell=lambda _: None,
    )
    used = [*_all(found), *found.dev, *found.dev_others, *found.dev_claims, *found.dev_clauses]
    assert used
    assert all(group.startswith(("FILER", "pubmed")) for group in _groups(used))
    assert {e.group for e in found.test} == {TEST_ARTICLE}  # still measured on


def test_a_mixture_is_freed_of_the_share_alike_sets_afterwards(mixed: Mixture) -> None:
    found = free_of(mixed, SHARE_ALIKE)
    used = [*_all(found), *found.dev, *found.dev_others, *found.dev_claims, *found.dev_clauses]
    assert {e.source for e in used} >= {"cuad", "support"}
    assert all(group.startswith(("FILER", "pubmed")) for group in _groups(used))
    assert found.test == mixed.test


def test_a_language_model_writes_about_what_is_trained_on_and_about_other_texts(data: Path, tmp_path: Path) -> None:
    (tmp_path / "speech.txt").write_text("The harbour was dredged to twelve metres. " * 20, encoding="utf-8")
    learnt: list[Example] = []
    about: list[str] = []

    def writer(people: list[Example]) -> Write:
        learnt.extend(people)

        def write(passages: list[tuple[str, str]], each: int) -> list[Example]:
            about.extend(group for group, _ in passages)
            return [Example("What is it?", t, ((0, 3),), 1, 1, None, g, "written", "", (t[:3],)) for g, t in passages]

        return write

    found = mixture(
        data,
        FakeEmbedder().embed_documents,
        without=frozenset(),
        seed=1,
        amounts=dataclasses.replace(TRIAL_ALL, write_about=10_000),
        tell=lambda _: None,
        write=writer,
        more=tmp_path,
    )
    kept = {DEV_ARTICLE, TEST_ARTICLE} | _groups(found.dev_clauses)
    assert learnt
    assert not kept & _groups(learnt)
    assert "speech" in about
    assert not kept & set(about)
    assert len(found.first) == 2
    assert all(any(e.source == "written" for e in epoch) for epoch in [*found.first, *found.second])


def test_spans_say_what_the_answers_say(mixed: Mixture) -> None:
    checked = 0
    for e in _all(mixed):
        for (a, b), answer in zip(e.spans or (), e.answers, strict=False):
            assert e.passage[a:b] == answer
            checked += 1
    assert checked > 20


def test_a_mixture_is_the_same_after_saving(mixed: Mixture, tmp_path: Path) -> None:
    mixed.save(tmp_path / "mixture.json")
    assert Mixture.load(tmp_path / "mixture.json") == mixed


def test_hard_negatives_hold_no_answer(mixed: Mixture) -> None:
    people = [e for e in mixed.second[0] if e.source == "squad"]
    found = hard_negatives(people, embed=FakeEmbedder().embed_documents, rng=random.Random(0), each=3)
    assert found
    assert all(a.lower() not in e.passage.lower() for e in found for a in e.answers)
    assert all((e.answerable, e.relevant, e.spans) == (0, 0, ()) for e in found)


def test_an_example_that_joins_two_groups_is_dropped_when_one_is_kept_out() -> None:
    both = Example("q", "p", (), 0, 0, None, "A|B", "squad-no")
    assert split([both], frozenset({"A"})) == ([], [])
    assert split([both], frozenset({"A", "B"})) == ([], [both])
    assert split([both], frozenset()) == ([both], [])


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_directory(tmp_path_factory.mktemp("network") / "base", positions=512)


def _trained(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in network.named_parameters() if p.requires_grad}


def test_a_killed_run_ends_with_the_same_weights(base: Path, mixed: Mixture, tmp_path: Path) -> None:
    """GIVEN a run stopped twice WHEN it goes on THEN its weights equal those of a run that was never stopped."""
    tokenizer = PairTokenizer(base / "tokenizer.json")
    found = [rows(mixed.second[0][:60], tokenizer)]
    recipe = Recipe(rate=1e-3, batch_tokens=512, batch_most=8)

    def run(folder: Path, stops: Sequence[int | None]) -> dict[str, torch.Tensor]:
        network = None
        for stop in stops:
            torch.manual_seed(0)
            network = load_base(base)
            train(network, found, recipe, folder, tell=lambda _: None, every=4, stop_after=stop)
        assert network is not None
        return _trained(network)

    whole = run(tmp_path / "whole", [None])
    stopped = run(tmp_path / "stopped", [4, 8, None])
    assert all(torch.equal(whole[name], stopped[name]) for name in whole)
    fresh = load_base(base)
    assert not torch.equal(whole["heads.span.weight"], dict(fresh.named_parameters())["heads.span.weight"])


def test_low_rank_training_changes_only_thin_matrices_and_merges_to_whole_ones(
    base: Path, mixed: Mixture, tmp_path: Path
) -> None:
    """GIVEN a run with LoRA, killed once WHEN merged THEN the network computes the same and exports like any other."""
    found = [rows(mixed.second[0][:24], PairTokenizer(base / "tokenizer.json"))]
    recipe = Recipe(rate=1e-2, batch_tokens=512, lora=2)
    batch = tensors(found[0][:4])
    plain = load_base(base)
    before = plain(batch.ids, batch.types, batch.mask)[0]
    for stop in (4, None):
        torch.manual_seed(0)
        network = adapt(load_base(base), 2)
        learnt = sum(p.numel() for p in network.parameters() if p.requires_grad)
        heads = sum(p.numel() for p in network.heads.parameters())
        assert learnt - heads < sum(p.numel() for p in plain.encoder.parameters()) / 2
        train(network, found, recipe, tmp_path, tell=lambda _: None, every=4, stop_after=stop)
    during = network(batch.ids, batch.types, batch.mask)[0]
    assert not torch.allclose(before, during)
    merged = merge(network)
    assert torch.allclose(during, merged(batch.ids, batch.types, batch.mask)[0], atol=1e-5)
    assert _trained(merged).keys() == _trained(plain).keys()
    assert torch.equal(merged.embeddings["position_embeddings"].weight, plain.embeddings["position_embeddings"].weight)


def test_training_goes_where_torch_has_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: torch.device("cuda"))
    assert device_of() == torch.device("cuda")
    assert device_of("cpu") == torch.device("cpu")
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: None)
    assert device_of() == torch.device("cpu")


def test_nothing_of_a_pass_stays_on_the_cpu_when_the_network_lies_elsewhere(base: Path, mixed: Mixture) -> None:
    """GIVEN torch's device without memory in place of a GPU WHEN a batch passes THEN no two devices meet."""
    device = torch.device("meta")
    network = load_base(base).to(device)
    batch = tensors(rows(mixed.second[0][:4], PairTokenizer(base / "tokenizer.json")), device)
    span, first = network(batch.ids, batch.types, batch.mask, 0.1)
    (span.log_softmax(1) * batch.start[:, :, None]).sum().backward()
    assert {value.device for value in (span, first, batch.end, batch.labels)} == {device}
    network.heads["first"].to_empty(device="cpu")
    with pytest.raises(RuntimeError, match="device"):
        network(batch.ids, batch.types, batch.mask)


def test_other_weights_of_a_mixture(mixed: Mixture) -> None:
    found = thinned(mixed, {"squad": 0.5, "cuad-no": 0.0}, epochs=1, seed=0)
    counts, before = (Counter(e.source for e in m.second[0]) for m in (found, mixed))
    assert 0 < counts["squad"] < before["squad"]
    assert counts["cuad-no"] == 0 < before["cuad-no"]
    assert counts["cuad"] == before["cuad"]
    assert (found.dev, found.test) == (mixed.dev, mixed.test)
    with pytest.raises(UsageError, match="squat"):
        thinned(mixed, {"squat": 0.5}, epochs=1, seed=0)


def test_another_recipe_does_not_go_on_from_this_checkpoint(base: Path, mixed: Mixture, tmp_path: Path) -> None:
    found = [rows(mixed.second[0][:12], PairTokenizer(base / "tokenizer.json"))]
    train(load_base(base), found, Recipe(), tmp_path, tell=lambda _: None, stop_after=1)
    with pytest.raises(SystemExit, match="another recipe"):
        train(load_base(base), found, Recipe(rate=1e-5), tmp_path, tell=lambda _: None)


def test_from_examples_to_a_reader_that_has_learnt(base: Path, tmp_path: Path) -> None:
    """GIVEN passages in which "court" is always the answer WHEN trained THEN the artefact finds it in others."""
    rng = random.Random(3)
    examples = []
    for number in range(120):
        words = [rng.choice([w for w in WORDS if w != "court"]) for _ in range(9)]
        place = rng.randrange(9)
        start = len(" ".join([*words[:place], ""]))
        passage = " ".join([*words[:place], "court", *words[place:]])
        examples.append(
            Example("who", passage, ((start, start + 5),), 1, 1, None, f"g{number}", "made", "", ("court",))
        )
    tokenizer = PairTokenizer(base / "tokenizer.json")
    lines: list[dict[str, Any]] = []
    torch.manual_seed(0)
    network = train(
        load_base(base),
        [rows(examples[:100], tokenizer)] * 12,
        Recipe(rate=5e-3, batch_tokens=512, dropout=0.0),
        tmp_path,
        tell=lines.append,
    )
    assert lines[-1]["span"] < lines[0]["span"] / 2
    calibration = {"span": [1.0, 0.0], "answerable": [1.0, 1.0, 0.0], "relevant": [1.0, 0.0], "supported": [1.0, 0.0]}
    export(
        network, base, tmp_path / "reader", base_id="b", name="n", licence="l", calibration=calibration, recipe={}
    )  # fmt: skip
    reader = ReferenceReader(tmp_path / "reader", base, base / "tokenizer.json", threads=1)
    found = [reader.read(e.question, [e.passage], spans=1)[0].spans[0] for e in examples[100:]]
    right = [e.passage[s.start : s.end] == e.answers[0] for e, s in zip(examples[100:], found, strict=True)]
    assert np.mean(right) >= 0.8
    assert report(network, examples[100:], tokenizer)["f1"] >= 0.8


def test_calibration_of_every_head(base: Path, mixed: Mixture) -> None:
    torch.manual_seed(0)
    found = calibrate(load_base(base), mixed, PairTokenizer(base / "tokenizer.json"))
    assert {name: len(values) for name, values in found.items()} == {
        "span": 2,
        "answerable": 3,
        "relevant": 2,
        "supported": 2,
    }


def test_logistic_regression_recovers_its_weights() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 2))
    labels = (rng.random(4000) < 1 / (1 + np.exp(-(2 * x[:, 0] - x[:, 1] + 0.5)))).astype(int)
    assert fit_logistic(x.tolist(), labels.tolist()) == pytest.approx([2, -1, 0.5], abs=0.2)


def test_batches_hold_every_row_once_within_the_budget(base: Path, mixed: Mixture) -> None:
    found = rows(mixed.second[0], PairTokenizer(base / "tokenizer.json"))
    made = batches(found, tokens=600, most=8, rng=random.Random(1))
    assert sorted(id(row) for group in made for row in group) == sorted(id(row) for row in found)
    for group in made:
        assert len(group) <= 8
        batch = tensors(group)
        assert batch.ids.numel() <= 600 or len(group) == 1
        assert torch.all((batch.start.sum(1) - 1).abs() < 1e-5) or any(row.start is None for row in group)


def test_curves_are_a_picture(tmp_path: Path) -> None:
    lines = [{"stage": s, "step": n, "span": 3 / n, "answerable": 0.5} for s in ("first", "second") for n in (1, 2, 3)]
    (tmp_path / "log.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    draw(tmp_path / "log.jsonl", tmp_path / "curves.svg")
    drawn = ElementTree.parse(tmp_path / "curves.svg").getroot()
    assert len(drawn.findall("{http://www.w3.org/2000/svg}polyline")) == 2


@pytest.mark.parametrize(
    ("question", "answer", "wanted"),
    [
        ("Who wrote the letter?", "Ada", "Ada wrote the letter."),
        ("When did the lease begin?", "1 May", "The lease begin 1 May."),
        ("Which party pays?", "the tenant", "The tenant party pays."),
    ],
)
def test_statements(question: str, answer: str, wanted: str) -> None:
    assert statement(question, answer) == wanted


def test_text_is_taken_apart_and_changed() -> None:
    text = "Dr. Ada Low paid $4,250 in May 2001. It was not sold. Then the deposit increased by 7 percent."
    assert [text[a:b][:6] for a, b in sentences(text)] == ["Dr. Ad", "It was", "Then t"]
    kinds = {text[p.start : p.end]: p.kind for p in pieces(text)}
    assert kinds["May 2001"] == "date"
    assert kinds["$4,250"] == "number"
    rng = random.Random(0)
    for _ in range(20):
        assert other_number("$4,250", rng) != "$4,250"
    assert negated("It was not sold.", random.Random(1)) == "It was sold."
    assert negated("The rent is due.", rng) not in (None, "The rent is due.")


def test_scores() -> None:
    assert token_f1("The Court, of Rome", ["court of rome"]) == 1.0
    assert token_f1("court", ["court of rome"]) == pytest.approx(0.5)
    assert token_f1("", []) == 1.0
    assert auroc([0.9, 0.8], [0.1, 0.8]) == pytest.approx(0.875)
