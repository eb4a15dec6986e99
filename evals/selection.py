"""Compare what a language model is given: whole passages, or the sentences that the product chooses from them.

    python -m evals.selection DATA --models MODELS_DIR [--questions 60] [--rows FILE.jsonl]

Answerable questions of DATA/squad2/dev_public.json, searched among all its paragraphs; eight passages for each. Given
are all eight whole, as many of them whole as fit into the product's budget, or sentences within that budget. For each:
the answer's token F1 (SQuAD's definition), whether it holds a gold answer and whether the prompt does, tokens of the
prompt, and seconds to the first token, the choice of sentences counted in, and to the end. Intervals and tests are
drawn by article. With `--rows` results are kept question by question, and a later run goes on.
"""

from __future__ import annotations

import argparse
import json
import statistics as plain
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from evals import metrics, statistics
from evals.attacks import whole
from evals.fit_abstention import Corpus
from evals.verbatim import questions
from retrieval import context, prompt
from retrieval.answer import PROMPT_TOKENS, QUOTES
from retrieval.citations import PageReader
from retrieval.evidence import Evidence
from strongroom.ports import ChatModel, Embedder, GenerationOptions, Reader
from strongroom.types import Usage

WAYS = ("all passages", "passages in budget", "sentences")
TOKENS = 96


def main(argv: Sequence[str] | None = None, *, say: Callable[[str], None] = print) -> None:
    """Parse arguments, measure, print a line for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--models", type=Path, required=True, help="folder of installed models")
    parser.add_argument("--model", default="smollm2-135m-instruct-q4_1")
    parser.add_argument("--questions", type=int, default=60)
    parser.add_argument("--rows", type=Path, help="keep results here, and go on with them")
    args = parser.parse_args(argv)
    from models.defaults import DEFAULT_EMBEDDER, open_embedder, open_llm, open_reader

    rows: list[dict[str, Any]] = []
    if args.rows is not None and args.rows.exists():
        rows = [json.loads(line) for line in args.rows.read_text("utf-8").splitlines()]
    embedder, reader = open_embedder(args.models, DEFAULT_EMBEDDER), open_reader(args.models)
    llm = open_llm(args.models, args.model)
    articles = json.loads((args.data / "squad2/dev_public.json").read_text("utf-8"))["data"]
    article_of = {p["context"]: a["title"].replace("_", " ") for a in articles for p in a["paragraphs"]}
    corpus = Corpus([(title, text) for text, title in article_of.items()], embedder)
    done = {row["question"] for row in rows}
    for question, paragraph, gold in questions(args.data, args.questions):
        if question not in done:
            row = {"question": question, "article": article_of[paragraph]}
            rows.append(row | asked(question, gold, corpus, llm, embedder, reader))
            if args.rows is not None:
                with args.rows.open("a", encoding="utf-8") as out:
                    out.write(json.dumps(rows[-1]) + "\n")
    llm.close()
    report(rows, say)


def asked(
    question: str, gold: list[str], corpus: Corpus, llm: ChatModel, embedder: Embedder, reader: Reader
) -> dict[str, Any]:
    """What each way makes of one question."""
    hits = corpus.search(question, embedder.embed_query(question), set(corpus.groups))
    passages = [whole(hit.chunk, embedder) for hit in hits]
    fitting: list[Evidence] = []
    used = 0
    for passage in passages:
        used += llm.count_tokens(passage.text) + context.QUOTE_OVERHEAD
        if fitting and used > PROMPT_TOKENS:
            break
        fitting.append(passage)
    out = {}
    for name, given in zip(WAYS[:2], (passages, fitting), strict=True):
        out[name] = written(question, gold, given, llm, time.perf_counter())
    began = time.perf_counter()
    reading = context.read(question, hits, PageReader(corpus.page), embedder, reader)
    chosen = context.choose(reading, count_tokens=llm.count_tokens, budget=PROMPT_TOKENS, max_quotes=QUOTES)
    return out | {WAYS[2]: written(question, gold, chosen, llm, began)}


def written(
    question: str, gold: list[str], given: Sequence[Evidence], llm: ChatModel, began: float
) -> dict[str, float]:
    """The model's answer from these quotes, measured; `began` is when choosing them began."""
    limit = llm.context_tokens - TOKENS - 8
    messages, kept = prompt.fit(question, given, (), count_prompt=llm.count_prompt, limit=limit)
    usage: list[Usage] = []
    pieces: list[str] = []
    first = 0.0
    for piece in llm.stream(messages, GenerationOptions(max_tokens=TOKENS), on_usage=usage.append):
        first = first or time.perf_counter() - began
        pieces.append(piece)
    said = "".join(pieces)
    return {
        "f1": metrics.token_f1(said, gold),
        "holds": float(any(metrics.holds(said, g) for g in gold)),
        "given": float(any(metrics.holds(e.text, g) for e in kept for g in gold)),
        "prompt": float(usage[0].prompt_tokens) if usage else 0.0,
        "first": first,
        "total": time.perf_counter() - began,
    }


def report(rows: Sequence[dict[str, Any]], say: Callable[[str], None]) -> None:
    """Means with intervals, medians of times, and each way beside the sentences."""
    articles = [row["article"] for row in rows]
    for name in WAYS:
        of = {key: [row[name][key] for row in rows] for key in rows[0][name]}
        shown = []
        for key in ("f1", "holds", "given"):
            found = statistics.estimate(of[key], articles)
            shown.append(f"{key} {found.mean:.3f}" + (f" ({found.low:.3f}-{found.high:.3f})" if found.low else ""))
        shown += [f"{key} {plain.median(of[key]):.2f}" for key in ("prompt", "first", "total")]
        say(f"{name:18} {'  '.join(shown)}")
    for name in WAYS[:2]:
        for key in ("f1", "holds"):
            pair = [[row[way][key] for row in rows] for way in (name, WAYS[2])]
            moved = statistics.difference(pair[0], pair[1], articles)
            say(f"sentences against {name}: {key} {moved.difference:+.3f}, p {moved.p:.3f}, {len(rows)} questions")


if __name__ == "__main__":
    main()
