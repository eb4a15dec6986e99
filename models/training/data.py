"""Read the training sets from a folder: each becomes examples whose `group` is the article or the filer.

The folder holds `squad2/dev_public.json`, `training/squad2_more.json`, `training/xquad_en.json`,
`training/cuad_spans.jsonl`, `training/tatqa_dev.json` and `pubmedqa/pqal_dev500.json`; a file that is not there is left
out and said so. Nothing is fetched, and no data is written anywhere but into the caller's output folder.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.training.examples import Example
from models.training.questions import UNSEEN, clause_question

Embed = Callable[[Sequence[str]], NDArray[np.float32]]

SHARE_ALIKE = frozenset({"squad", "xquad"})  # CC BY-SA 4.0; the others are CC BY 4.0 or MIT
TEST_GROUPS = frozenset({"Yuan_dynasty", "Fresno,_California", "Pharmacy", "Victoria_and_Albert_Museum"})
DEV_GROUPS = frozenset({"Force", "Nikola_Tesla", "Oxygen", "Rhine", "Kenya", "Doctor_Who"})
CLAUSE_WINDOW = 950  # characters: about 220 tokens, a little more than the product's chunks


def squad(path: Path, source: str) -> list[Example]:
    """SQuAD's form, 1.1 or 2.0. Spans of all annotators are kept."""
    out = []
    for article in json.loads(path.read_text(encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            text = paragraph["context"]
            for qa in paragraph["qas"]:
                spans = [(a["answer_start"], a["answer_start"] + len(a["text"])) for a in qa["answers"]]
                spans = [(a, b) for a, b in spans if b <= len(text) and b > a]
                answerable = bool(spans) and not qa.get("is_impossible", False)
                out.append(
                    Example(
                        qa["question"].strip(),
                        text,
                        tuple(spans) if answerable else (),
                        int(answerable),
                        1 if answerable else None,
                        None,
                        article["title"],
                        source,
                        str(qa["id"]),
                        tuple(a["text"] for a in qa["answers"]) if answerable else (),
                    )
                )
    return out


def plausible(path: Path) -> dict[str, str]:
    """Wrong but tempting answers of SQuAD 2.0's unanswerable questions, by question id."""
    found = {}
    for article in json.loads(path.read_text(encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            for qa in paragraph["qas"]:
                if qa.get("is_impossible") and qa.get("plausible_answers"):
                    found[str(qa["id"])] = qa["plausible_answers"][0]["text"]
    return found


def tatqa(path: Path) -> list[Example]:
    """Questions that the text alone answers, with the first place of each answer in the paragraphs named."""
    out = []
    for page in json.loads(path.read_text(encoding="utf-8")):
        texts = {str(p["order"]): p["text"] for p in page["paragraphs"]}
        for qa in page["questions"]:
            if qa["answer_from"] != "text" or qa["answer_type"] not in ("span", "multi-span"):
                continue
            answers = [str(a) for a in qa["answer"]] if isinstance(qa["answer"], list) else [str(qa["answer"])]
            for number in qa["rel_paragraphs"]:
                text = texts.get(str(number), "")
                spans = [(text.find(a), text.find(a) + len(a)) for a in answers if a and a in text]
                if spans:
                    out.append(
                        Example(
                            qa["question"], text, tuple(spans), 1, 1, None, f"tatqa-{page['table']['uid']}", "tatqa",
                            qa["uid"], tuple(answers),
                        )
                    )  # fmt: skip
    return out


def pubmedqa(path: Path) -> list[Example]:
    """Titles in question form with the parts of their own abstract: relevant, spans unknown."""
    out = []
    for number, item in json.loads(path.read_text(encoding="utf-8")).items():
        text = " ".join(item["CONTEXTS"])
        out.append(Example(item["QUESTION"], text, None, None, 1, None, f"pubmed-{number}", "pubmedqa", number))
    return out


def cuad(path: Path, *, embed: Embed, rng: random.Random, negatives: int = 2, most: int | None = None) -> list[Example]:
    """Windows of contracts: around each clause, and for every question those most like it that do not hold it.

    For a clause that a contract lacks, the most similar window is a negative: what a careless reader would quote.
    Categories of `UNSEEN` are left out. At most `most` contracts are read.
    """
    out = []
    for contract in load_json_lines(path)[:most]:
        text, name = contract["text"], contract["contract"]
        group = name.split("_")[0]
        windows = _windows(text)
        vectors = embed([text[a:b] for a, b in windows])
        items = [item for item in contract["items"] if item["category"] not in UNSEEN]
        questions = [clause_question(item["category"], name, rng) for item in items]
        asked = embed(questions)
        for item, question, vector in zip(items, questions, asked, strict=True):
            spans = [tuple(span) for span in item["spans"]] if item["answerable"] else []
            for begin, end in spans[:3]:
                a, b = _around(text, begin, end, rng)
                held = tuple((s - a, e - a) for s, e in spans if s >= a and e <= b)
                asking = clause_question(item["category"], name, rng)
                out.append(Example(asking, text[a:b], held, 1, 1, None, group, "cuad", f"{name}|{item['category']}"))
            free = [n for n, (a, b) in enumerate(windows) if not any(s < b and e > a for s, e in spans)]
            ranked = sorted(free, key=lambda n: -float(vectors[n] @ vector))
            wanted = ranked[: negatives if spans else 1]
            if spans and len(free) > 8:
                wanted.append(rng.choice(free))
            for n in wanted:
                a, b = windows[n]
                out.append(Example(question, text[a:b], (), 0, 0, None, group, "cuad-no", f"{name}|{item['category']}"))
    return out


def texts(folder: Path) -> list[tuple[str, str]]:
    """(file, window) of the text files in a folder: passages that nobody asked anything about."""
    out = []
    for path in sorted(folder.glob("*.txt")):
        text = path.read_text(encoding="utf-8", errors="replace")
        out += [(path.stem, text[a:b].strip()) for a, b in _windows(text) if b - a >= CLAUSE_WINDOW // 3]
    return out


def hard_negatives(examples: Sequence[Example], *, embed: Embed, rng: random.Random, each: int = 1) -> list[Example]:
    """For answerable questions, passages that our own embedder ranks high in the same pool and that hold no answer."""
    passages = list({e.passage: None for e in examples})
    groups = {e.passage: e.group for e in examples}
    vectors = embed(passages)
    asked = [e for e in examples if e.relevant == 1]
    scores = embed([e.question for e in asked]) @ vectors.T
    out = []
    for example, row in zip(asked, scores, strict=True):
        answers = [a.lower() for a in example.answers]
        ranked = [passages[n] for n in np.argsort(-row)[:12]]
        fit = [p for p in ranked if p != example.passage and not any(a in p.lower() for a in answers)]
        for passage in rng.sample(fit[:6], min(each, len(fit[:6]))):
            out.append(
                replace(
                    example, passage=passage, spans=(), answerable=0, relevant=0, source=f"{example.source}-no",
                    group=example.group if groups[passage] == example.group else f"{example.group}|{groups[passage]}",
                )
            )  # fmt: skip
    return out


def split(examples: Iterable[Example], kept_out: frozenset[str]) -> tuple[list[Example], list[Example]]:
    """(training, kept out) by group; an example that joins two groups is trained on only when both are free."""
    training, out = [], []
    for example in examples:
        groups = example.group.split("|")
        if not any(group in kept_out for group in groups):
            training.append(example)
        elif all(group in kept_out for group in groups):
            out.append(example)
    return training, out


def distinct(examples: Iterable[Example]) -> list[Example]:
    """The first of those with the same question and passage (XQuAD repeats questions of SQuAD)."""
    seen: dict[tuple[str, str], Example] = {}
    for example in examples:
        seen.setdefault((_plain(example.question), _plain(example.passage)), example)
    return list(seen.values())


def _plain(text: str) -> str:
    return re.sub(r"\W+", " ", text.lower()).strip()


def _windows(text: str) -> list[tuple[int, int]]:
    """Consecutive windows that end at sentence or word borders where there is one near."""
    out, at = [], 0
    while at < len(text):
        end = min(len(text), at + CLAUSE_WINDOW)
        if end < len(text):
            border = max(text.rfind(". ", at + CLAUSE_WINDOW // 2, end), text.rfind("\n", at + CLAUSE_WINDOW // 2, end))
            end = border + 1 if border > 0 else end
        out.append((at, end))
        at = end
    return out


def _around(text: str, begin: int, end: int, rng: random.Random) -> tuple[int, int]:
    """A window of the usual size with the span at a random place in it, cut at spaces."""
    room = max(0, CLAUSE_WINDOW - (end - begin))
    a = max(0, begin - rng.randint(0, room))
    b = min(len(text), max(end, a + CLAUSE_WINDOW))
    while 0 < a < begin and not text[a - 1].isspace():
        a += 1
    return a, b


def load_json_lines(path: Path) -> list[dict[str, Any]]:
    """Objects, one a line."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
