"""Measure follow-ups told from new topics, on a small labelled set of our own.

    python -m evals.conversation --models MODELS_DIR

For each threshold of likeness (`retrieval.condense.ALIKE`): how many follow-ups are completed, how many new topics are
left alone. 0 turns the likeness off, so that only words decide, as before.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from retrieval import condense
from strongroom.ports import Embedder
from strongroom.types import Message

SET = Path(__file__).with_name("conversations.jsonl")
THRESHOLDS = (-1.0, 0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4)


def rates(embedder: Embedder) -> tuple[float, float]:
    """Share of follow-ups that lean on what was before, and share of new topics that do not."""
    right: dict[bool, list[bool]] = {True: [], False: []}
    for line in SET.read_text("utf-8").splitlines():
        case = json.loads(line)
        history = [Message("user", text) for text in case["before"]]
        leans = bool(condense.leans_on(case["question"], history, embedder))
        right[case["follows"]].append(leans == case["follows"])
    return sum(right[True]) / len(right[True]), sum(right[False]) / len(right[False])


def main(argv: Sequence[str] | None = None, *, say: Callable[[str], None] = print) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True, help="folder of installed models")
    args = parser.parse_args(argv)
    from models.defaults import DEFAULT_EMBEDDER, open_embedder

    embedder = open_embedder(args.models, DEFAULT_EMBEDDER)
    for threshold in THRESHOLDS:
        condense.ALIKE = threshold
        follow, new = rates(embedder)
        say(f"{threshold:5.2f}  follow-ups completed {follow:.2f}  new topics left alone {new:.2f}")


if __name__ == "__main__":
    main()
