"""Compare ways to answer from one gold paragraph: a model alone, one that may only quote, and the reader.

    python -m evals.verbatim DATA --models MODELS_DIR --questions 300 [--unseen] [--rows FILE.jsonl]

DATA holds `squad2/dev_public.json`; with `--unseen` also `training/`, and only articles are asked about that no
training of the reader saw. The model quotes whole sentences, or one or more spans that the reader names.
For each way the token F1 (SQuAD's definition) with a 95 % interval by paragraph, the share of answers with a word that
is not in the paragraph, and the time a token. `masking` is the share of decoding that choosing the allowed tokens
takes. With `--rows` results are kept question by question, and a later run goes on.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evals import metrics
from models.verbatim import SEPARATOR
from strongroom.ports import ChatModel, GenerationOptions
from strongroom.types import Message, Usage

if TYPE_CHECKING:
    from strongroom.ports import Reader

TOKENS = 48
SPANS = 5  # of the reader, among which the model may choose
ASK = "Answer the question with words from the text, as briefly as possible.\n\nText: {text}\n\nQuestion: {question}"


def questions(data: Path, count: int) -> list[tuple[str, str, list[str]]]:
    """`(question, paragraph, gold answers)`, the same for every run."""
    found = [
        (qa["question"], paragraph["context"], [a["text"] for a in qa["answers"]])
        for article in json.loads((data / "squad2/dev_public.json").read_text("utf-8"))["data"]
        for paragraph in article["paragraphs"]
        for qa in paragraph["qas"]
        if qa["answers"]
    ]
    random.Random(11).shuffle(found)  # noqa: S311 - sampling, not secrets
    return found[:count]


def unseen(data: Path, count: int) -> list[tuple[str, str, list[str]]]:
    """The same, of the articles that were kept from the reader's training (docs/decisions/reader.md)."""
    from evals.reader import article_questions

    found = [(e.question, e.passage, list(e.answers)) for e in article_questions(data)[0] if e.answers]
    random.Random(11).shuffle(found)  # noqa: S311 - sampling, not secrets
    return found[:count]


def generated(llm: ChatModel, question: str, text: str, allowed: tuple[str, ...] | None) -> tuple[str, int, float]:
    """The model's answer, its tokens, and seconds from the first to the last of them."""
    usage: list[Usage] = []
    prompt = [Message("user", ASK.format(text=text, question=question))]
    options = GenerationOptions(max_tokens=TOKENS, allowed=allowed)
    pieces, first = [], 0.0
    for piece in llm.stream(prompt, options, on_usage=usage.append):
        first = first or time.perf_counter()
        pieces.append(piece)
    return "".join(pieces), usage[0].completion_tokens if usage else 0, time.perf_counter() - first if first else 0.0


class Clock:
    """Time spent in the methods of `models.verbatim.VerbatimConstraint`, without the work itself changed."""

    def __init__(self) -> None:
        self.spent = 0.0

    def watch(self, kind: type, name: str) -> None:
        inner = getattr(kind, name)

        def timed(*args: Any, **named: Any) -> Any:
            began = time.perf_counter()
            try:
                return inner(*args, **named)
            finally:
                self.spent += time.perf_counter() - began

        setattr(kind, name, timed)


def row(llm: ChatModel, reader: Reader, clock: Clock, asked: tuple[str, str, list[str]]) -> dict[str, Any]:
    """What each way says to one question."""
    question, text, gold = asked
    out: dict[str, Any] = {"question": question, "paragraph": text[:60]}
    held = set(metrics.normalise(text))
    read = reader.read(question, [text], spans=SPANS)[0]
    spans = tuple(text[s.start : s.end] for s in read.spans)
    for name, allowed in (("free", None), ("sentences", (text,)), ("spans", spans or (text,))):
        clock.spent = 0.0
        said, tokens, seconds = generated(llm, question, text, allowed)
        out[name] = {
            "answer": said,
            "f1": metrics.token_f1(said, gold),
            "first": metrics.token_f1(said.split(SEPARATOR)[0], gold),
            "foreign": not all(run in text for run in said.split(SEPARATOR))
            if allowed
            else bool(set(metrics.normalise(said)) - held),
            "tokens": tokens,
            "seconds": seconds,
            "masking": clock.spent,
        }
    said = spans[0] if spans else ""
    out["reader"] = {"answer": said, "f1": metrics.token_f1(said, gold), "foreign": False}
    return out


def report(rows: Sequence[dict[str, Any]], say: Callable[[str], None]) -> None:
    rng = np.random.default_rng(0)
    groups = [[r for r in rows if r["paragraph"] == p] for p in dict.fromkeys(r["paragraph"] for r in rows)]
    drawn = rng.integers(0, len(groups), (1000, len(groups)))
    for name in ("free", "sentences", "spans", "reader"):
        sums = np.array([sum(r[name]["f1"] for r in group) for group in groups])
        sizes = np.array([len(group) for group in groups])
        means = sums[drawn].sum(1) / sizes[drawn].sum(1)
        low, high = np.quantile(means, (0.025, 0.975))
        line = f"{name:9} F1 {sums.sum() / len(rows):.3f} ({low:.3f}-{high:.3f})"
        line += f"  answers with a foreign word {np.mean([r[name]['foreign'] for r in rows]):.3f}"
        if name != "reader":
            tokens, seconds = (sum(r[name][key] for r in rows) for key in ("tokens", "seconds"))
            line += f"  {1000 * seconds / max(tokens, 1):.1f} ms a token, {tokens / len(rows):.1f} tokens"
        if name in ("sentences", "spans"):
            masking = sum(r[name]["masking"] for r in rows)
            line += f"  first quote alone F1 {np.mean([r[name]['first'] for r in rows]):.3f}"
            line += f"  masking {masking / max(seconds, 1e-9):.1%} of decoding"
        say(line)
    say(f"{len(rows)} questions, {len(groups)} paragraphs")


def main(argv: Sequence[str] | None = None, *, say: Callable[[str], None] = print) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--models", type=Path, required=True, help="folder of installed models")
    parser.add_argument("--model", default="smollm2-135m-instruct-q4_1")
    parser.add_argument("--questions", type=int, default=300)
    parser.add_argument("--unseen", action="store_true", help="only articles that the reader was not trained on")
    parser.add_argument("--rows", type=Path, help="keep results here, and go on with them")
    parser.add_argument("--seconds", type=float, default=1e9, help="stop after so long")
    args = parser.parse_args(argv)
    from models.defaults import open_llm, open_reader
    from models.verbatim import VerbatimConstraint

    rows: list[dict[str, Any]] = []
    if args.rows is not None and args.rows.exists():
        rows = [json.loads(line) for line in args.rows.read_text("utf-8").splitlines()]
    done, began = {r["question"] for r in rows}, time.monotonic()
    llm, reader, clock = open_llm(args.models, args.model), open_reader(args.models), Clock()
    for name in ("__init__", "allowed", "accept"):
        clock.watch(VerbatimConstraint, name)
    for asked in (unseen if args.unseen else questions)(args.data, args.questions):
        if asked[0] in done:
            continue
        if time.monotonic() - began > args.seconds:
            break
        rows.append(row(llm, reader, clock, asked))
        if args.rows is not None:
            with args.rows.open("a", encoding="utf-8") as out:
                out.write(json.dumps(rows[-1]) + "\n")
    llm.close()
    report(rows, say)


if __name__ == "__main__":
    main()
