"""Weigh a passage's place in the search result in choosing sentences. Prints a table; keeps the contracts in a cache.

    python -m evals.weigh_place DATA [--questions 200] [--places 0.2 0.1 0.025] [--cache FOLDER]

SQuAD 2.0: questions of articles that the reader did not learn from, among all paragraphs, in memory. CUAD: the
product's own search over the contracts. For each weight: gold in the first quote, in one of three, token F1 of the
exact answer, and for CUAD whether the first quote stands on a right page; each compared with the first weight, by
article or contract.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Sequence
from pathlib import Path

from evals import corpus, datasets
from evals.fit_abstention import Remembering
from evals.statistics import difference
from evals.weigh_reader import Asked, RememberingReader, measure, squad
from retrieval.answer import K
from strongroom.access import LOCAL_USER
from strongroom.app.appliance import Appliance
from strongroom.config import load
from strongroom.ports import Embedder, Reader

FIGURES = ("quote@1", "quote@3", "F1", "page first")


def contracts(data: Path, limit: int, held: Appliance) -> list[Asked]:
    """Questions of CUAD with what the product finds for them."""
    questions = [q for q in datasets.load(data / "cuad").questions if not q.unanswerable]
    random.Random(3).shuffle(questions)  # noqa: S311 - sampling, not secrets
    access = held.catalog.access_for(LOCAL_USER)
    return [
        Asked(
            q.text,
            q.answers,
            q.cluster,
            lambda _document, version, index: held.catalog.cited_page(version, index, access),
            tuple(held.searcher.search(q.text, access=access, k=K)[0]),
            q.pages,
        )
        for q in questions[:limit]
    ]


def weigh(
    name: str,
    asked: Sequence[Asked],
    places: Sequence[float],
    embedder: Embedder,
    reader: Reader,
    say: Callable[[str], None],
) -> None:
    """Say a set's figures for each weight, compared with the first."""
    groups = [question.group for question in asked]
    found = {place: measure(asked, embedder, reader, place=place) for place in places}
    for place, rows in found.items():
        parts = []
        for figure, label in enumerate(FIGURES if any(q.pages for q in asked) else FIGURES[:3]):
            d = difference([row[figure] for row in found[places[0]]], [row[figure] for row in rows], groups)
            compared = f" ({d.difference:+.3f}, p {d.p:.2f}, {d.wins} better, {d.losses} worse)"
            parts.append(f"{label} {d.second:.3f}{compared if place != places[0] else ''}")
        say(f"{name}, place {place}: {'  '.join(parts)}  {len(asked)} questions")


def main(argv: Sequence[str] | None = None, *, say: Callable[[str], None] = print) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--questions", type=int, default=200, help="of each set")
    parser.add_argument("--places", type=float, nargs="+", default=[0.2, 0.1, 0.025])
    parser.add_argument("--cache", type=Path, default=corpus.default_cache())
    args = parser.parse_args(argv)
    with corpus.appliance(datasets.load(args.data / "cuad"), load().settings, cache=args.cache) as held:
        embedder, reader = Remembering(held.embedder), RememberingReader(held.reader)
        weigh("cuad", contracts(args.data, args.questions, held), args.places, embedder, reader, say)
        weigh("squad", squad(args.data, args.questions, embedder), args.places, embedder, reader, say)


if __name__ == "__main__":
    main()
