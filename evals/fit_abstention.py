"""Fit the weights of `retrieval.abstain` and print them with what they achieve. Writes nothing.

    python -m evals.fit_abstention DATA --models MODELS_DIR

DATA holds `squad2/dev_public.json`, `training/squad2_more.json` and `cuad/` (`queries.jsonl`, `items.jsonl`, `txt/`).
Three kinds of question: *answered* (the passage is in the corpus), *silent* (its whole article or contract was left out
of the corpus) and *near miss* (SQuAD 2.0's unanswerable questions and clauses that a contract does not hold: the topic
is there, the answer is not). Only articles and contracts that the reader never saw are asked about: weights are
fitted on those that calibrated it and half of the contracts, and measured on its test articles and the other contracts.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evals.statistics import auroc
from retrieval import abstain, context, lexical
from retrieval.citations import PageReader
from strongroom.ports import Embedder, Reader, Vectors
from strongroom.types import DocumentRef, Locator, PageView, StoredChunk

Floats = NDArray[np.float64]
KINDS = ("answered", "silent", "near miss")
K = 8


@dataclass(frozen=True)
class Question:
    text: str
    group: str  # article or contract; split by this, never by question
    kind: str
    corpus: str  # "squad" or "cuad"
    train: bool


@dataclass(frozen=True)
class Hit:
    chunk: StoredChunk
    score: float
    dense: float | None


class Corpus:
    """Passages in memory with dense and BM25 search, fused by reciprocal rank: the product's search in miniature."""

    def __init__(self, passages: Sequence[tuple[str, str]], embedder: Embedder) -> None:
        self.groups = [group for group, _ in passages]
        self.texts = [text for _, text in passages]
        self.vectors: Vectors = embedder.embed_documents([f"{g}\n{t}" for g, t in passages])
        self.terms = [lexical.terms(f"{g} {t}") for g, t in passages]
        self.mean = sum(map(len, self.terms)) / len(self.terms)

    def search(self, question: str, vector: NDArray[np.float32], groups: set[str]) -> list[Hit]:
        index = [i for i, g in enumerate(self.groups) if g in groups]
        dense = self.vectors[index] @ vector
        sparse = self._bm25(question, index)
        rank = np.argsort(np.argsort(-dense)), np.argsort(np.argsort(-sparse))
        fused = 1 / (60 + rank[0]) + np.where(sparse > 0, 1 / (60 + rank[1]), 0.0)
        return [Hit(self.chunk(index[j]), float(fused[j]), float(dense[j])) for j in np.argsort(-fused)[:K]]

    def _bm25(self, question: str, index: list[int]) -> Floats:
        asked = set(lexical.terms(question))
        weights = lexical.rarity([set(self.terms[i]) for i in index])
        out = np.zeros(len(index))
        for row, i in enumerate(index):
            length = 1.2 * (0.25 + 0.75 * len(self.terms[i]) / self.mean)
            for term in asked:
                count = self.terms[i].count(term)
                out[row] += weights.get(term, 0.0) * count * 2.2 / (count + length) if count else 0.0
        return out

    def chunk(self, i: int) -> StoredChunk:
        document = DocumentRef(str(i), self.groups[i], self.groups[i])
        text = self.texts[i]
        return StoredChunk(str(i), document, "v", 0, 0, len(text), text, (), (0,), (), Locator("section", ""))

    def page(self, document_id: str, version_id: str, index: int) -> PageView:
        chunk = self.chunk(int(document_id))
        end = len(chunk.text)
        place = Locator("section", "")
        return PageView(chunk.document, "v", 0, 1, None, place, 0, end, chunk.text, None, None, b"", "text/plain")


# ------------------------------------------------------------------------------------------------ data


def squad(
    path: Path, groups: Mapping[str, bool], *, limit: int, rng: random.Random
) -> tuple[list[tuple[str, str]], list[Question]]:
    """All paragraphs, and sampled questions of the articles in `groups`, which says whether they are for the fit.

    Half of the answerable questions are asked without their article.
    """
    passages: list[tuple[str, str]] = []
    answerable: list[tuple[str, str, bool]] = []
    impossible: list[tuple[str, str, bool]] = []
    for article in json.loads(path.read_text("utf-8"))["data"]:
        group = article["title"].replace("_", " ")
        for paragraph in article["paragraphs"]:
            passages.append((group, paragraph["context"]))
            for qa in paragraph["qas"] if article["title"] in groups else ():
                kept = impossible if qa["is_impossible"] else answerable
                kept.append((qa["question"], group, groups[article["title"]]))
    rng.shuffle(answerable)
    rng.shuffle(impossible)
    half = min(limit, len(answerable) // 2)
    parts = {"answered": answerable[:half], "silent": answerable[half : 2 * half], "near miss": impossible[:limit]}
    return passages, [Question(q, g, kind, "squad", train) for kind, part in parts.items() for q, g, train in part]


def cuad(folder: Path, *, contracts: int, rng: random.Random) -> tuple[list[tuple[str, str]], list[Question]]:
    """Contract passages of about 900 characters and questions; every second contract is for measuring only."""
    queries = [json.loads(line) for line in (folder / "queries.jsonl").read_text("utf-8").splitlines()]
    items = [json.loads(line) for line in (folder / "items.jsonl").read_text("utf-8").splitlines()]
    names = sorted({q["document"] for q in queries})[:contracts]
    text_of = {i["pdf"]: i["txt"] for i in items}
    passages, questions = [], []
    for number, name in enumerate(names):
        text = (folder / "txt" / text_of[name]).read_text("utf-8", errors="replace")
        passages += [(name, piece) for piece in re.findall(r"\S[\s\S]{0,880}\S*", text)]
        asked = [q["question"] for q in queries if q["document"] == name]
        absent = sorted({i["category"] for i in items if i["pdf"] == name and not i["answerable"]})
        rng.shuffle(asked)
        rng.shuffle(absent)
        stem = re.sub(r"what is the .*", "what is the ", asked[0])
        train = number % 2 == 0
        questions += [Question(q, name, "answered", "cuad", train) for q in asked[:6]]
        questions += [Question(q, name, "silent", "cuad", train) for q in asked[6:12]]
        questions += [Question(f"{stem}{c}?", name, "near miss", "cuad", train) for c in absent[:4]]
    return passages, questions


# ------------------------------------------------------------------------------------------------ fitting


def fit(x: Floats, y: Floats, w: Floats, *, ridge: float = 1e-3, steps: int = 50) -> tuple[Floats, float]:
    """Weighted ridge logistic regression by Newton's method on standardised features; raw-scale weights and bias."""
    mean, scale = x.mean(0), x.std(0) + 1e-9
    z = np.hstack([(x - mean) / scale, np.ones((len(x), 1))])
    beta = np.zeros(z.shape[1])
    penalty = np.diag([ridge * w.sum()] * x.shape[1] + [0.0])
    for _ in range(steps):
        p = 1 / (1 + np.exp(-z @ beta))
        gradient = z.T @ (w * (p - y)) + penalty @ beta
        hessian = (z * (w * p * (1 - p))[:, None]).T @ z + penalty + 1e-9 * np.eye(z.shape[1])
        beta -= np.linalg.solve(hessian, gradient)
    raw = beta[:-1] / scale
    return raw, float(beta[-1] - raw @ mean)


def measure(
    questions: Sequence[Question],
    corpora: dict[str, Corpus],
    embedder: Embedder,
    reader: Reader,
    rng: random.Random,
) -> Floats:
    """One row of features for each question, in corpora of varying size."""
    rows = []
    for q in questions:
        corpus = corpora[q.corpus]
        others = sorted(set(corpus.groups) - {q.group})
        groups = set(rng.sample(others, rng.choice([2, min(5, len(others)), len(others)])))
        if q.kind != "silent":
            groups.add(q.group)
        hits = corpus.search(q.text, embedder.embed_query(q.text), groups)
        reading = context.read(q.text, hits, PageReader(corpus.page), embedder, reader)
        rows.append(astuple(abstain.features(q.text, reading)))
    return np.array(rows)


def report(questions: Sequence[Question], scores: dict[str, Floats], say: Callable[[str], None]) -> None:
    """Say the AUROC of each score against each kind of unanswerable question, by corpus and pooled."""
    kinds, where = np.array([q.kind for q in questions]), np.array([q.corpus for q in questions])
    test = np.array([not q.train for q in questions])
    for corpus in ("squad", "cuad", "both"):
        inside = test & ((where == corpus) | (corpus == "both"))
        for name, score in scores.items():
            answered = score[inside & (kinds == "answered")]
            parts = [f"{k}: AUROC {auroc(answered, score[inside & (kinds == k)]):.3f}" for k in KINDS[1:]]
            say(f"{corpus:6} {name:10} {'  '.join(parts)}")
        counts = {k: int((inside & (kinds == k)).sum()) for k in KINDS}
        say(f"{corpus:6} questions: {counts}")
        for name, level in itertools.product(("calibrated", "in use"), (0.15, 0.2, 0.25, 0.3, 0.35, 0.5)):
            shares = [f"{k} {np.mean(scores[name][inside & (kinds == k)] >= level):.3f}" for k in KINDS]
            say(f"{corpus:6} {name:10} share answered at p >= {level:.2f}: {'  '.join(shares)}")


def main(argv: Sequence[str] | None = None, *, say: Callable[[str], None] = print) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--models", type=Path, required=True, help="folder of installed models")
    parser.add_argument("--embedder", default="all-minilm-l6-v2")
    parser.add_argument("--reader", type=Path, help="folder of a reader's artefact (default: the product's own)")
    parser.add_argument("--questions", type=int, default=150, help="of each kind and SQuAD file")
    parser.add_argument("--contracts", type=int, default=24)
    args = parser.parse_args(argv)
    from models.defaults import open_embedder, open_reader
    from models.training.data import DEV_GROUPS, TEST_GROUPS

    embedder = Remembering(open_embedder(args.models, args.embedder))
    rng = random.Random(7)  # noqa: S311 - sampling, not secrets
    groups = dict.fromkeys(DEV_GROUPS, True) | dict.fromkeys(TEST_GROUPS, False)
    more = squad(args.data / "training/squad2_more.json", groups, limit=args.questions, rng=rng)
    dev = squad(args.data / "squad2/dev_public.json", groups, limit=args.questions, rng=rng)
    contracts = cuad(args.data / "cuad", contracts=args.contracts, rng=rng)
    corpora = {"squad": Corpus([*more[0], *dev[0]], embedder), "cuad": Corpus(contracts[0], embedder)}
    questions = [*more[1], *dev[1], *contracts[1]]
    x = measure(questions, corpora, embedder, open_reader(args.models, args.reader), rng)
    speaks, says = _part(questions, x[:, abstain.TOPIC], "near miss"), _part(questions, x[:, abstain.ANSWER], "silent")
    for name, (weights, bias, _) in (("topic", speaks), ("answer", says)):
        say(f"{name}={tuple(weights.round(3).tolist())} {name}_bias={bias:.3f}")
    in_use = np.array([abstain.DEFAULT.probability(abstain.Features(*row)) for row in x])
    scores = {"calibrated": speaks[2] * says[2], "in use": in_use, "topic alone": speaks[2], "dense": x[:, 0]}
    report(questions, scores, say)


def _part(questions: Sequence[Question], x: Floats, without: str) -> tuple[Floats, float, Floats]:
    """One of the two functions, fitted without a kind of question: weights, bias and its value for every question.

    Prose and contracts count alike, and so do questions with and without an answer.
    """
    asked = [q.train and q.kind != without for q in questions]
    train = np.array(asked)
    y = np.array([float(q.kind == "answered") for q in questions])
    w = np.ones(len(questions))
    for group in {(q.corpus, q.kind) for q in questions}:
        inside = train & np.array([(q.corpus, q.kind) == group for q in questions])
        w[inside] /= max(1.0, inside.sum() / 100)
    weights, bias = fit(x[train], y[train], w[train])
    return weights, bias, 1 / (1 + np.exp(-(x @ weights + bias)))


class Remembering:
    """An embedder that embeds each text once: questions share most of their passages."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._known: dict[str, NDArray[np.float32]] = {}

    def embed_query(self, text: str) -> NDArray[np.float32]:
        return self._embedder.embed_query(text)

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        new = list(dict.fromkeys(t for t in texts if t not in self._known))
        self._known.update(zip(new, self._embedder.embed_documents(new), strict=True))
        return np.stack([self._known[t] for t in texts])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._embedder, name)


if __name__ == "__main__":
    main()
