"""Measure the reader on articles and contracts it never saw: `python -m evals.reader DATA`. Prints one JSON object.

DATA holds `squad2/`, `training/` and `cuad/` in the form in which they are distributed. Parts (`--parts`):

- `squad`: the gold paragraph is given; test articles only (`models.training.data.TEST_GROUPS`).
- `end-to-end`: every paragraph of every article is searched, then read; the same questions.
- `clauses`: clauses of the contracts in `cuad/`, of kinds that training saw and did not; precision at 80 % recall.
- `pages`: the product's search over the same contracts, with and without the reader's relevance.
- `support`: sentences that the built-in language model wrote about the sample documents, labelled by hand.

Intervals draw articles or contracts anew, never questions. `--limit` takes every n-th question for a quick look.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evals.statistics import auroc, bootstrap, estimate
from strongroom import airgap
from strongroom.ports import Reader
from strongroom.types import Reading

PASSAGES = 8  # read for each question end to end
MATCH = 0.5  # Jaccard of words from which a clause counts as found (Hendrycks et al. 2021, CUAD)
RECALL = 0.8
CUAD_STEP = 950  # characters a window
LABELS = Path(__file__).parent / "reader_support.jsonl"


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line, open the models, run the parts that were asked for."""
    parser = argparse.ArgumentParser(prog="python -m evals.reader", description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--parts", default="squad,end-to-end,clauses,pages,support")
    parser.add_argument("--models-dir", type=Path)
    parser.add_argument("--artefact", type=Path, help="folder of another reader than the product's")
    parser.add_argument("--backend", default="auto", choices=["auto", "fast", "reference"])
    parser.add_argument("--limit", type=int, default=1, help="every n-th question or contract only")
    parser.add_argument("--windows", type=int, default=24, help="of a contract read for each clause; 0 = all")
    asked = parser.parse_args(arguments)
    airgap.prepare_environment()
    from models.defaults import DEFAULT_EMBEDDER, open_embedder, open_reader
    from strongroom.config import load

    settings = load().settings
    models_dir = asked.models_dir or settings.models_dir
    reader = open_reader(models_dir, asked.artefact, asked.backend)
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "squad": lambda: squad(asked.data, reader, asked.limit),
        "end-to-end": lambda: end_to_end(asked.data, reader, open_embedder(models_dir, DEFAULT_EMBEDDER), asked.limit),
        "clauses": lambda: clauses(
            asked.data, reader, open_embedder(models_dir, DEFAULT_EMBEDDER), asked.limit, asked.windows
        ),
        "pages": lambda: pages(asked.data, reader, settings.model_copy(update={"models_dir": models_dir}), asked.limit),
        "support": lambda: support(reader),
    }
    out: dict[str, Any] = {"reader": reader.name, "fingerprint": reader.fingerprint[:16]}
    for name in asked.parts.split(","):
        begun = time.monotonic()
        out[name] = parts[name]() | {"seconds": round(time.monotonic() - begun, 1)}
        print(json.dumps({name: out[name]}), flush=True)
    print(json.dumps(out, indent=1))


# ------------------------------------------------------------------------------------------------ articles


def article_questions(data: Path) -> tuple[list[Any], list[Any]]:
    """(test questions, all questions) of SQuAD's form, repeats left out."""
    from models.training.data import TEST_GROUPS, distinct
    from models.training.data import squad as read
    from models.training.mixture import SQUAD_FILES

    found = [e for name in SQUAD_FILES for e in read(data / name, "squad")]
    every = distinct([*found, *read(data / "training/xquad_en.json", "xquad")])
    return [e for e in every if e.group in TEST_GROUPS], every


def squad(data: Path, reader: Reader, limit: int) -> dict[str, Any]:
    """Token F1 on answerable questions, official F1 with the best threshold and with 0.5, AUROC of answerability."""
    from models.training.scores import token_f1

    test = article_questions(data)[0][::limit]
    read = [reader.read(e.question, [e.passage], spans=1)[0] for e in test]
    f1 = [token_f1(_first(e.passage, r), e.answers) if e.answerable else 0.0 for e, r in zip(test, read, strict=True)]
    yes = [n for n, e in enumerate(test) if e.answerable]
    sure = [r.answerable for r in read]

    def official(threshold: float, index: Sequence[int]) -> float:
        right = [f1[n] if test[n].answerable else 0.0 for n in index if sure[n] >= threshold]
        silent = [1.0 for n in index if sure[n] < threshold and not test[n].answerable]
        return (sum(right) + sum(silent)) / len(index)

    squad2 = [n for n, e in enumerate(test) if e.source == "squad"]  # the set with unanswerable questions
    best = max(sorted(set(sure)), key=lambda t: official(t, squad2))
    no = [sure[n] for n in squad2 if not test[n].answerable]
    return {
        "f1": asdict(estimate([f1[n] for n in yes], [test[n].group for n in yes])),
        "f1_by_paragraph": asdict(estimate([f1[n] for n in yes], [test[n].passage for n in yes])),
        "exact": round(float(np.mean([f1[n] == 1.0 for n in yes])), 4),
        "official_at_half": round(official(0.5, squad2), 4),
        "official_best": round(official(best, squad2), 4),
        "threshold_best": round(best, 3),
        "auroc": round(auroc([sure[n] for n in squad2 if test[n].answerable], no), 4),
        "auroc_interval": bootstrap(
            lambda index: auroc(
                [sure[squad2[i]] for i in index if test[squad2[i]].answerable],
                [sure[squad2[i]] for i in index if not test[squad2[i]].answerable],
            ),
            [test[n].passage for n in squad2],
        ),
        "answerable": len(yes),
        "unanswerable": len(no),
        "articles": sorted({e.group for e in test}),
    }


def end_to_end(data: Path, reader: Reader, embedder: Any, limit: int) -> dict[str, Any]:
    """Search all paragraphs (dense and BM25, fused by rank), read the best, take the best span of all."""
    from evals.fit_abstention import Corpus
    from models.training.scores import token_f1

    test, every = article_questions(data)
    passages = list({e.passage: e.group for e in every}.items())
    corpus = Corpus([(group.replace("_", " "), text) for text, group in passages], embedder)
    groups = set(corpus.groups)
    asked = [e for e in test if e.answerable][::limit]
    f1, alone, found = [], [], []
    for e in asked:
        hits = corpus.search(e.question, embedder.embed_query(e.question), groups)[:PASSAGES]
        texts = [hit.chunk.text for hit in hits]
        read = reader.read(e.question, texts, spans=1)
        fused = np.array([hit.score for hit in hits])
        fused = (fused - fused.mean()) / (fused.std() + 1e-9)
        order = [_logit(r.answerable) + _logit(r.relevant) + float(s) for r, s in zip(read, fused, strict=True)]
        best = int(np.argmax(order))
        f1.append(token_f1(_first(texts[best], read[best]), e.answers))
        alone.append(token_f1(_first(texts[0], read[0]), e.answers))
        found.append(float(e.passage in texts))
    names = [e.group for e in asked]
    return {
        "f1": asdict(estimate(f1, names)),
        "f1_of_first_passage": round(float(np.mean(alone)), 4),
        "gold_paragraph_found": round(float(np.mean(found)), 4),
        "paragraphs": len(passages),
    }


# ------------------------------------------------------------------------------------------------ contracts


@dataclass(frozen=True, slots=True)
class Offered:
    """A span that the reader offered for a clause: how sure it is, and whether it is one."""

    score: float
    right: bool


def clauses(data: Path, reader: Reader, embedder: Any, limit: int, most: int) -> dict[str, Any]:
    """Precision at 80 % recall of clause spans, for kinds of clause that training saw and for the eight it did not.

    Each question reads the windows of its contract, at most `most` (0 = all) of those most like it; a clause elsewhere
    counts as missed. Of spans that overlap the best one counts. Also given for the first `PASSAGES` windows alone.
    """
    from models.training.questions import UNSEEN, contract_name

    items = [json.loads(line) for line in (data / "cuad/items.jsonl").read_text("utf-8").splitlines()]
    names = sorted({i["contract"] for i in items})[::limit]
    found: dict[str, dict[int, list[Offered]]] = {kind: {PASSAGES: [], most: []} for kind in ("seen", "unseen")}
    gold = dict.fromkeys(found, 0)
    read = 0
    for name in names:
        own = [i for i in items if i["contract"] == name]
        text = (data / "cuad/txt" / own[0]["txt"]).read_text("utf-8", errors="replace")
        starts, windows = zip(*_overlapping(text), strict=True)
        vectors = embedder.embed_documents(windows)
        for item in own:
            kind = "unseen" if item["category"] in UNSEEN else "seen"
            question = f"In the {contract_name(name)}, what is the {item['category']}?"
            near = np.argsort(-(vectors @ embedder.embed_query(question)))[: most or None]
            wanted = [_words(span) for span in item["spans"]] if item["answerable"] else []
            gold[kind] += len(wanted)
            read += len(near)
            spans: list[tuple[float, int, int, int]] = []
            for rank, reading in enumerate(reader.read(question, [windows[n] for n in near], spans=3)):
                at = starts[near[rank]]
                spans += [(s.score * reading.answerable, at + s.start, at + s.end, rank) for s in reading.spans]
            for count, into in found[kind].items():
                into += _judged(text, [s for s in spans if not count or s[3] < count], wanted)
    return {"windows_read": read, "contracts": len(names)} | {
        kind: {"clauses": gold[kind]}
        | {f"{count or 'all'}_windows": _curve(offered, gold[kind]) for count, offered in by_count.items()}
        for kind, by_count in found.items()
    }


def _judged(text: str, spans: Sequence[tuple[float, int, int, int]], wanted: Sequence[set[str]]) -> list[Offered]:
    """The spans without those that overlap a better one, each right when it is a wanted clause not found before."""
    taken: list[tuple[int, int]] = []
    free, out = list(range(len(wanted))), []
    for score, start, end, _ in sorted(spans, reverse=True):
        if any(start < b and a < end for a, b in taken):
            continue
        taken.append((start, end))
        words = _words(text[start:end])
        match = next((g for g in free if _jaccard(words, wanted[g]) >= MATCH), None)
        if match is not None:
            free.remove(match)
        out.append(Offered(score, match is not None))
    return out


def _curve(found: Sequence[Offered], gold: int) -> dict[str, Any]:
    """Precision at 80 % recall (`None` when that recall is never reached), area under the curve, best F1."""
    right, best, area, at_recall, before = 0, 0.0, 0.0, None, 0.0
    for number, offered in enumerate(sorted(found, key=lambda o: -o.score), 1):
        right += offered.right
        precision, recall = right / number, right / max(1, gold)
        best = max(best, 2 * precision * recall / max(1e-9, precision + recall))
        area += (recall - before) * precision
        before = recall
        if recall >= RECALL:
            at_recall = max(at_recall or 0.0, precision)
    return {
        "precision_at_80_recall": None if at_recall is None else round(at_recall, 4),
        "most_recall": round(before, 4),
        "area_under_curve": round(area, 4),
        "best_f1": round(best, 4),
    }


def pages(data: Path, reader: Reader, settings: Any, limit: int) -> dict[str, Any]:
    """Right page first, by the product's search alone and with the reader's relevance added.

    The weight of the relevance is chosen on one half of the contracts and measured on the other, both ways.
    """
    from evals.corpus import default_cache, opened
    from evals.datasets import load
    from evals.metrics import holds
    from strongroom.types import SearchRequest

    questions = load(data / "cuad")
    table: list[dict[str, Any]] = []
    with opened(questions, settings, cache=default_cache(), on_event=lambda _: None) as engine:
        for question in [q for q in questions.questions if q.pages][::limit]:
            hits = engine.search(SearchRequest(question.text, k=PASSAGES)).hits
            read = reader.read(question.text, [hit.text for hit in hits], spans=1)
            right = [
                bool(set(hit.pages) & set(question.pages)) and question.is_about(hit.document) is not None
                for hit in hits
            ]
            golds = [text for texts in question.gold for text in texts]
            table.append(
                {
                    "contract": question.documents[0],
                    "score": [hit.score for hit in hits],
                    "relevant": [_logit(r.relevant) for r in read],
                    "answerable": [_logit(r.answerable) for r in read],
                    "right": right,
                    "holds": [any(holds(hit.text, gold) for gold in golds) for hit in hits],
                }
            )
    names = sorted({row["contract"] for row in table})
    halves = [set(names[::2]), set(names[1::2])]
    weights = [(a, b) for a in (0.0, 0.1, 0.2, 0.3, 0.5, 0.8, 1.2) for b in (0.0, 0.1, 0.2, 0.4)]
    with_reader: list[tuple[float, float, str]] = []
    chosen = []
    for fit, measure in (halves, halves[::-1]):
        best = max(weights, key=lambda w: np.mean([_page_first(row, w)[0] for row in table if row["contract"] in fit]))
        chosen.append(best)
        with_reader += [(*_page_first(row, best), row["contract"]) for row in table if row["contract"] in measure]
    alone = [(*_page_first(row, (0.0, 0.0)), row["contract"]) for row in table]
    return {
        "retrieval_alone": asdict(estimate([r[0] for r in alone], [r[2] for r in alone])),
        "with_reader": asdict(estimate([r[0] for r in with_reader], [r[2] for r in with_reader])),
        "gold_in_quote@3_alone": round(float(np.mean([r[1] for r in alone])), 4),
        "gold_in_quote@3_with_reader": round(float(np.mean([r[1] for r in with_reader])), 4),
        "weights_chosen": chosen,
    }


def _page_first(row: dict[str, Any], weights: tuple[float, float]) -> tuple[float, float]:
    """(right page first, gold words in one of the first three passages) when ranked with these weights."""
    score = np.array(row["score"])
    score = (score - score.mean()) / (score.std() + 1e-9)
    total = score + weights[0] * np.array(row["relevant"]) + weights[1] * np.array(row["answerable"])
    order = np.argsort(-total, kind="stable")
    return float(row["right"][order[0]]), float(any(row["holds"][n] for n in order[:3]))


# ------------------------------------------------------------------------------------------------ claims


def support(reader: Reader) -> dict[str, Any]:
    """Precision and recall of finding the unsupported among the labelled sentences; chance of the order being right."""
    rows = [json.loads(line) for line in LABELS.read_text("utf-8").splitlines()]
    sure = [max(reader.support(row["sentence"], row["evidence"])) for row in rows]
    wrong = [not row["supported"] for row in rows]
    flagged = [value < 0.5 for value in sure]
    both = sum(f and w for f, w in zip(flagged, wrong, strict=True))
    unsupported = [1 - s for s, w in zip(sure, wrong, strict=True) if w]
    return {
        "precision": round(both / max(1, sum(flagged)), 4),
        "recall": round(both / max(1, sum(wrong)), 4),
        "auroc": round(auroc(unsupported, [1 - s for s, w in zip(sure, wrong, strict=True) if not w]), 4),
        "sentences": len(rows),
        "unsupported": sum(wrong),
    }


# ------------------------------------------------------------------------------------------------ small things


def _first(passage: str, reading: Reading) -> str:
    return passage[reading.spans[0].start : reading.spans[0].end] if reading.spans else ""


def _logit(probability: float) -> float:
    clipped = min(max(probability, 1e-6), 1 - 1e-6)
    return float(np.log(clipped / (1 - clipped)))


def _overlapping(text: str) -> list[tuple[int, str]]:
    """Windows of a contract with their places, overlapping by a third, so that most clauses stand whole in one."""
    step = CUAD_STEP * 2 // 3
    return [(at, text[at : at + CUAD_STEP]) for at in range(0, max(1, len(text) - CUAD_STEP // 3), step)]


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


def _jaccard(a: set[str], b: set[str]) -> float:
    return len(a & b) / max(1, len(a | b))


if __name__ == "__main__":
    main()
