"""Weigh what the reader says against meaning and words in choosing sentences. Prints a table, writes nothing.

    python -m evals.weigh_reader DATA --models MODELS_DIR

DATA holds `squad2/`, `training/squad2_more.json` and `cuad/`. Questions of articles and contracts that the reader never
learned from are searched among all paragraphs and all contracts, in memory (`evals.fit_abstention.Corpus`). For each
weight: whether the first quote, or one of three, holds a gold answer, and the token F1 of the exact answer.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evals import metrics
from evals.fit_abstention import Corpus, Remembering
from retrieval import context, exact
from retrieval.citations import PageLookup, PageReader
from retrieval.context import RankedChunk
from strongroom.ports import Embedder, Reader
from strongroom.types import Reading

WEIGHTS = (0.0, 0.2, 0.35, 0.5, 0.65, 0.8)
SPAN_WEIGHTS = (0.5, 0.7, 1.0)


@dataclass(frozen=True)
class Asked:
    """A question with its gold answers and what was found for it."""

    text: str
    gold: tuple[str, ...]
    group: str  # article or contract
    page: PageLookup
    hits: tuple[RankedChunk, ...]
    pages: tuple[int, ...] = ()  # on which an answer stands, where that is known


def squad(data: Path, limit: int, embedder: Embedder) -> list[Asked]:
    """Answerable questions of articles that the reader did not learn from, searched among all articles' paragraphs."""
    from models.training.data import DEV_GROUPS, TEST_GROUPS

    groups = DEV_GROUPS | TEST_GROUPS
    passages, questions = [], []
    for name in ("squad2/dev_public.json", "training/squad2_more.json"):
        for article in json.loads((data / name).read_text(encoding="utf-8"))["data"]:
            for paragraph in article["paragraphs"]:
                passages.append((article["title"].replace("_", " "), paragraph["context"]))
                asked = paragraph["qas"] if article["title"] in groups else ()
                questions += [
                    (q["question"], tuple(a["text"] for a in q["answers"]), article["title"])
                    for q in asked
                    if q["answers"]
                ]
    return _searched(passages, questions, limit, embedder)


def cuad(data: Path, limit: int, embedder: Embedder) -> list[Asked]:
    """Clauses of the contracts, searched among all contracts; no training saw any of them."""
    rows = [json.loads(line) for line in (data / "cuad/queries.jsonl").read_text(encoding="utf-8").splitlines()]
    items = [json.loads(line) for line in (data / "cuad/items.jsonl").read_text(encoding="utf-8").splitlines()]
    text_of = {item["pdf"]: item["txt"] for item in items}
    passages = []
    for name in sorted({row["document"] for row in rows}):
        text = (data / "cuad/txt" / text_of[name]).read_text(encoding="utf-8", errors="replace")
        passages += [(name, piece) for piece in re.findall(r"\S[\s\S]{0,880}\S*", text)]
    return _searched(
        passages, [(row["question"], tuple(row["spans"]), row["document"]) for row in rows], limit, embedder
    )


def _searched(
    passages: list[tuple[str, str]], questions: list[tuple[str, tuple[str, ...], str]], limit: int, embedder: Embedder
) -> list[Asked]:
    random.Random(3).shuffle(questions)  # noqa: S311 - sampling, not secrets
    corpus = Corpus(passages, embedder)
    everything = set(corpus.groups)
    return [
        Asked(text, gold, group, corpus.page, tuple(corpus.search(text, embedder.embed_query(text), everything)))
        for text, gold, group in questions[:limit]
    ]


class RememberingReader:
    """A reader that reads each passage once: only the weights change."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._known: dict[tuple[str, tuple[str, ...]], list[Reading]] = {}

    def read(self, question: str, passages: Sequence[str], *, spans: int = 3) -> list[Reading]:
        key = (question, tuple(passages))
        if key not in self._known:
            self._known[key] = self._reader.read(question, passages, spans=spans)
        return self._known[key]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)


def measure(
    asked: Sequence[Asked], embedder: Embedder, reader: Reader, *, place: float = context.W_RANK
) -> list[tuple[float, float, float, float]]:
    """By question: gold in the first quote, gold in the first three, token F1 of the exact answer, right page first."""
    out = []
    for question in asked:
        pages = PageReader(question.page)
        reading = context.read(question.text, question.hits, pages, embedder, reader, place=place)
        evidence = context.choose(reading, count_tokens=len, budget=1 << 20, max_quotes=3)
        right = [any(metrics.holds(e.text, gold) for gold in question.gold) for e in evidence]
        said = "; ".join(found.text for found in exact.find(question.text, evidence, pages)) if evidence else ""
        cited = bool(evidence) and pages.cite(evidence[0], 1).page in question.pages
        out.append((float(any(right[:1])), float(any(right)), metrics.token_f1(said, question.gold), float(cited)))
    return out


def main(argv: Sequence[str] | None = None, *, say: Callable[[str], None] = print) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--models", type=Path, required=True, help="folder of installed models")
    parser.add_argument("--reader", type=Path, help="folder of a reader's artefact (default: the product's own)")
    parser.add_argument("--questions", type=int, default=80, help="of each set")
    args = parser.parse_args(argv)
    from models.defaults import DEFAULT_EMBEDDER, open_embedder, open_reader

    embedder = Remembering(open_embedder(args.models, DEFAULT_EMBEDDER))
    reader = RememberingReader(open_reader(args.models, args.reader))
    sets = {
        "squad": squad(args.data, args.questions, embedder),
        "cuad": cuad(args.data, args.questions, embedder),
    }
    for weight in WEIGHTS:
        for span in SPAN_WEIGHTS if weight else (1.0,):
            context.W_READ, context.W_SPAN = weight, span
            found = {name: np.mean(measure(asked, embedder, reader), axis=0).tolist() for name, asked in sets.items()}
            shown = "  ".join(f"{name} {a:.3f} {b:.3f} {c:.3f}" for name, (a, b, c, _) in found.items())
            say(f"reader {weight:.2f} span {span:.1f}  quote@1, quote@3, F1: {shown}")


if __name__ == "__main__":
    main()
