"""Questions whose answer is a cell of a table: which row is quoted, and which of its cells is the answer.

    python -m evals.cells DATA --models MODELS_DIR [--questions 150] [--show]

Three sets. *People*: questions of TAT-QA (`training/tatqa_dev.json`; Zhu et al. 2021, arXiv:2105.07624) whose one
answer stands in a cell below the table's head, asked over the table and the text of its page; each table is written as
the product writes a sheet. *PDFs*: tables as the product's parser finds them in `icdar2013-tables-us/` and in some of
`kg10q/docs/`, with questions made of a row's name and a column's label, searched within that document. Made questions
use the table's own words, so they are easier than people's; their truth is the parser's, not the page's.

Each set twice: with the words as the reader marks them, and moved to the cell that the question names (the product).
For each: `row`, the first quote holds the row; `cell`, the exact answer is the cell's value; `name`, the exact answer
is the row's name or a label instead. With 95 % intervals by document.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from evals import metrics
from evals.fit_abstention import Corpus, Remembering
from evals.statistics import estimate
from evals.weigh_reader import RememberingReader
from ingest.parse import parse_file
from ingest.parse.grid import render_rows
from retrieval import cells as choosing
from retrieval import context, exact
from retrieval.cells import cells
from retrieval.citations import PageReader
from strongroom.ports import Embedder, Reader

PASSAGE = 900  # characters
REPORTS = 4  # quarterly reports read
FORMS = (
    "What was {label} for {name}?",
    "What is the {label} of {name}?",
    "{name}: how much is it for {label}?",
    "How much was {name} in {label}?",
)


@dataclass(frozen=True)
class Asked:
    """A question over one document, the value that answers, and the row that it stands in."""

    text: str
    gold: str
    row: str
    document: str


@dataclass(frozen=True)
class Answered:
    """What became of a question."""

    asked: Asked
    said: str
    row: bool
    cell: bool
    name: bool


def passages(text: str) -> list[str]:
    """Lines in passages of up to `PASSAGE` characters; no line is cut."""
    out: list[str] = []
    for line in text.splitlines():
        if out and len(out[-1]) + len(line) < PASSAGE:
            out[-1] += f"\n{line}"
        elif line.strip():
            out.append(line)
    return out


def people(path: Path) -> tuple[list[tuple[str, str]], list[Asked]]:
    """TAT-QA's passages by page and its questions that one cell answers."""
    held, asked = [], []
    for page in json.loads(path.read_text("utf-8")):
        uid = page["table"]["uid"]
        lines = list(render_rows(page["table"]["table"]))
        prose = [p["text"] for p in sorted(page["paragraphs"], key=lambda p: p["order"])]
        held += [(uid, piece) for part in ("\n".join(lines), *prose) for piece in passages(part)]
        for qa in page["questions"]:
            if qa["answer_from"] != "table" or qa["answer_type"] != "span" or len(qa["answer"]) != 1:
                continue
            gold = str(qa["answer"][0])
            rows = [line for line in lines for cell in cells(line) if cell.label and same(cell.value, gold)]
            if len(rows) == 1:  # in several, nobody could tell which is meant
                asked.append(Asked(qa["question"], gold, rows[0], uid))
    return held, asked


def made(paths: Sequence[Path], each: int, rng: random.Random) -> tuple[list[tuple[str, str]], list[Asked]]:
    """Passages of PDFs, and up to `each` questions of each made of a row's name and one of its labels."""
    held, asked = [], []
    for path in paths:
        text = parse_file(path, "application/pdf", ocr="never").text
        held += [(path.name, piece) for piece in passages(text)]
        own = [
            Asked(rng.choice(FORMS).format(name=name, label=label), value, line, path.name)
            for line, name, label, value in _told_apart(text)
        ]
        asked += rng.sample(own, min(each, len(own)))
    return held, asked


def _told_apart(text: str) -> Iterator[tuple[str, str, str, str]]:
    """Row, its name, a label and its value, where the document has them once: else the question has two answers."""
    rows = []
    for line in dict.fromkeys(text.splitlines()):
        held = cells(line)
        if held and not held[0].label and re.search(r"[^\W\d_]{3}", held[0].value):
            rows.append((line, held[0].value, [cell for cell in held[1:] if cell.label and cell.value]))
    names = Counter(name.casefold() for _, name, _ in rows)
    for line, name, held in rows:
        labels = Counter(cell.label for cell in held)
        if names[name.casefold()] == 1:
            yield from ((line, name, c.label, c.value) for c in held if labels[c.label] == 1)


def same(a: str, b: str) -> bool:
    return metrics.normalise(a) == metrics.normalise(b) != []


def report(name: str, found: Sequence[Answered], say: Callable[[str], None]) -> None:
    documents = [one.asked.document for one in found]
    parts = []
    for figure in ("row", "cell", "name"):
        e = estimate([float(getattr(one, figure)) for one in found], documents)
        parts.append(f"{figure} {e.mean:.3f} ({e.low:.3f}-{e.high:.3f})")
    say(f"{name:22} {'  '.join(parts)}  {len(found)} questions, {len(set(documents))} documents")


def measure(asked: Sequence[Asked], corpus: Corpus, embedder: Embedder, reader: Reader) -> list[Answered]:
    out = []
    for question in asked:
        hits = corpus.search(question.text, embedder.embed_query(question.text), {question.document})
        pages = PageReader(corpus.page)
        reading = context.read(question.text, hits, pages, embedder, reader)
        evidence = context.choose(reading, count_tokens=len, budget=1 << 20, max_quotes=3)
        said = exact.find(question.text, evidence, pages)[0].text if evidence else ""
        heads = [text for cell in cells(question.row) for text in (cell.label or cell.value,)]
        heads += [cell.value for cell in cells(question.row)[:1]]
        right = same(said, question.gold)
        name = not right and any(same(said, head) for head in heads)
        row = bool(evidence) and " ".join(question.row.split()) in " ".join(evidence[0].text.split())
        out.append(Answered(question, said, row, right, name))
    return out


def main(argv: Sequence[str] | None = None, *, say: Callable[[str], None] = print) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--models", type=Path, required=True, help="folder of installed models")
    parser.add_argument("--questions", type=int, default=150, help="of each set at most")
    parser.add_argument("--show", action="store_true", help="name what was answered wrongly")
    args = parser.parse_args(argv)
    from models.defaults import DEFAULT_EMBEDDER, open_embedder, open_reader

    embedder, reader = (
        Remembering(open_embedder(args.models, DEFAULT_EMBEDDER)),
        RememberingReader(open_reader(args.models)),
    )
    rng = random.Random(5)  # noqa: S311 - sampling, not secrets
    tables = sorted((args.data / "icdar2013-tables-us").glob("*.pdf"))
    reports = sorted((args.data / "kg10q/docs").glob("*.pdf"))
    sets = {
        "people": people(args.data / "training/tatqa_dev.json"),
        "PDFs": made(tables, max(1, args.questions // len(tables)), rng),
        "reports": made(rng.sample(reports, REPORTS), args.questions // REPORTS, rng),
    }
    for name, (held, questions) in sets.items():
        chosen = rng.sample(questions, min(args.questions, len(questions)))
        inside = {q.document for q in chosen}
        corpus = Corpus([(group, text) for group, text in held if group in inside], embedder)
        found: list[Answered] = []
        for way, choose in (("as the reader marks", lambda *_, **__: None), ("the cell named", choosing.answering)):
            choosing.answering = choose
            found = measure(chosen, corpus, embedder, reader)
            report(f"{name}, {way}", found, say)
        for one in found if args.show else ():
            if not one.cell:
                row = f"row {one.row}: {one.asked.row[:200]}"
                say(f"  {one.asked.text} {one.asked.gold!r}, said {one.said[:80]!r}; {row}")


if __name__ == "__main__":
    main()
