"""How often the cells of `strongroom extract` are right, on the labelled contracts of CUAD (Hendrycks et al. 2021).

    python -m evals.extract CUAD [--contracts N] [--skip N] [--ask WHAT] [--work FOLDER] [--json FILE]

Every category of the labels is a field; what it asks is its name, CUAD's own description, or both. The contracts (the
first N by name, after the first `skip`) are ingested and extracted through the same engine as the command's. A cell is
right when its quote holds a labelled span or shares half of its words with one (Jaccard, as in CUAD); a page is right
when a label stands on it; "not found" is right where the contract has no label of the category.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.statistics import auroc, estimate
from retrieval import lexical
from retrieval.whole import values
from retrieval.whole.extract import FOUND_FROM
from strongroom.access import LOCAL_USER
from strongroom.app.appliance import Appliance
from strongroom.config import load
from strongroom.errors import StrongroomError
from strongroom.types import ErrorEvent, IngestRequest
from strongroom.whole import Cell, Field, Row, WholeDone, WholeRequest

MATCH = 0.5
DATES = ("Agreement Date", "Effective Date", "Expiration Date")
THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5)


@dataclass(frozen=True, slots=True)
class Judged:
    """A cell beside its labels. `held` is about the quote, whether or not the cell said that it was found."""

    contract: str
    category: str
    labelled: bool
    confidence: float
    held: bool
    page: bool
    value: bool | None  # of a date: whether it is the labelled one


def descriptions(folder: Path) -> dict[str, str]:
    """CUAD's description of each category, by the letters of its name."""
    text = next(folder.glob("README*")).read_text(encoding="utf-8")
    found = re.findall(r"Category:\s*(.+)\n\s*Description:\s*(.+)", text)
    return {_letters(name): " ".join(described.split()) for name, described in found}


def _letters(name: str) -> str:
    name = re.sub(r"\(.*?\)|\bip\b", "", name.casefold())
    aliases = {
        "rightoffirstrefusaloffer": "rofr",
        "noticetoterminate": "noticeperiodto",
        "pricerestrictions": "pricerestriction",
    }
    letters = re.sub(r"[^a-z]", "", name)
    return next((short for long, short in aliases.items() if letters.startswith(long)), letters)


def question_for(category: str, described: dict[str, str]) -> str:
    """The description of a category; its name where there is none."""
    letters = _letters(category)
    best = [
        text
        for name, text in described.items()
        if name == letters or letters.startswith(name) or name.startswith(letters[:20])
    ]
    return best[0] if best else category


def wording(category: str, described: dict[str, str], ask: str) -> str:
    """What the field asks: its name alone, CUAD's description, or both."""
    text = question_for(category, described)
    return {"named": "", "described": text, "both": f"{category}: {text}"}[ask]


def judge(cell: Cell, item: dict[str, Any], contract: str) -> Judged:
    """Compare a cell with the labels of its category."""
    quote = set(lexical.words(cell.citation.quote)) if cell.citation else set()
    folded = lexical.fold(cell.citation.quote) if cell.citation else ""
    held = False
    for span in item["spans"]:
        words = set(lexical.words(span))
        held = (
            held or lexical.fold(span) in folded or (bool(words) and len(words & quote) / len(words | quote) >= MATCH)
        )
    page = cell.citation is not None and cell.citation.page in (item["pages"] or [])
    value = None
    if item["category"] in DATES and item["answerable"]:
        wanted = {d.date for d in values.dates(item["answer"] or "") if d.date}
        value = bool(wanted) and cell.found and cell.value in wanted if wanted else None
    return Judged(contract, item["category"], item["answerable"], cell.confidence, held, page, value)


def run(folder: Path, *, contracts: int, skip: int, work: Path, ask: str) -> tuple[list[Judged], WholeDone]:
    """Ingest and extract. Raises `StrongroomError`."""
    items = [json.loads(line) for line in (folder / "items.jsonl").read_text(encoding="utf-8").splitlines()]
    chosen = sorted({i["pdf"] for i in items}, key=str.casefold)[skip : skip + contracts]
    described = descriptions(folder)
    names = sorted({i["category"] for i in items})
    fields = tuple(Field(n, "date" if n in DATES else "text", wording(n, described, ask)) for n in names)
    appliance = Appliance(load({"data_dir": work}).settings, purpose="evals.extract")
    try:
        engine = appliance.as_user(LOCAL_USER)
        paths = tuple(str(folder / "pdf" / name) for name in chosen)
        engine.ingest(IngestRequest(paths), on_event=lambda _event: None)
        ids = tuple(d.id for d in engine.documents() if d.name in chosen)
        by = {(i["pdf"], i["category"]): i for i in items}
        judged: list[Judged] = []
        done: WholeDone | None = None
        for event in engine.whole(WholeRequest(task="extract", documents=ids, fields=fields)):
            if isinstance(event, Row):
                name = event.document.name
                judged += [judge(c, by[name, c.field], name) for c in event.cells if (name, c.field) in by]
            elif isinstance(event, WholeDone):
                done = event
            elif isinstance(event, ErrorEvent):
                raise StrongroomError(event.message, hint=event.hint)
        assert done is not None
        return judged, done
    finally:
        appliance.close()


def figures(judged: Sequence[Judged]) -> dict[str, Any]:
    """What is reported, with intervals by contract."""
    labelled = [j for j in judged if j.labelled]
    absent = [j for j in judged if not j.labelled]

    def mean(rows: Sequence[Judged], values_: Sequence[float]) -> dict[str, float | None]:
        e = estimate(values_, [r.contract for r in rows])
        return {
            "mean": round(e.mean, 3),
            "low": e.low and round(e.low, 3),
            "high": e.high and round(e.high, 3),
            "n": e.n,
        }

    dated = [j for j in labelled if j.value is not None]
    out: dict[str, Any] = {
        "cells": len(judged),
        "labelled": len(labelled),
        "quote holds a label": mean(labelled, [float(j.held) for j in labelled]),
        "page of a label": mean(labelled, [float(j.page) for j in labelled]),
        "AUROC of presence": round(auroc([j.confidence for j in labelled], [j.confidence for j in absent]), 3),
        "dates right": mean(dated, [float(bool(j.value)) for j in dated]) if dated else None,
        "thresholds": {},
    }
    for threshold in THRESHOLDS:
        said = [j for j in judged if j.confidence >= threshold]
        right = sum(j.labelled and j.held for j in said)
        silent = sum(not j.labelled and j.confidence < threshold for j in judged)
        out["thresholds"][str(threshold)] = {
            "filled": len(said),
            "filled and right": round(right / len(said), 3) if said else None,
            "labels found": round(right / len(labelled), 3),
            "labelled cells filled": round(sum(j.labelled for j in said) / len(labelled), 3),
            "absent cells left empty": round(silent / len(absent), 3),
        }
    return out


def written_dates(folder: Path) -> tuple[int, int]:
    """Of all labels of a date that is written out in the labelled words: how many are read as labelled, and how many
    there are. Needs no model."""
    right = total = 0
    for line in (folder / "items.jsonl").read_text(encoding="utf-8").splitlines():
        item = json.loads(line)
        if item["category"] not in DATES or not item["answerable"]:
            continue
        labelled = {d.date for d in values.dates(item["answer"] or "", relative=False)}
        found = [d for span in item["spans"] for d in values.dates(span, relative=False)]
        read = {iso for d in found for iso in (d.date, d.until) if re.match(r"\d{4}-\d\d", iso)}
        if labelled and read:
            total += 1
            right += bool(labelled & read)
    return right, total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "cuad", type=Path, help="folder with items.jsonl, pdf/ and the README that names the categories"
    )
    parser.add_argument("--contracts", type=int, default=10)
    parser.add_argument("--skip", type=int, default=0)
    parser.add_argument("--ask", choices=("named", "described", "both"), default="described")
    parser.add_argument(
        "--work", type=Path, default=Path("build/extract"), help="data directory, kept for the next run"
    )
    parser.add_argument("--json", type=Path, help="every judged cell, one line each")
    chosen = parser.parse_args()
    began = time.monotonic()
    judged, done = run(chosen.cuad, contracts=chosen.contracts, skip=chosen.skip, work=chosen.work, ask=chosen.ask)
    if chosen.json is not None:
        rows = ({k: getattr(j, k) for k in Judged.__slots__} for j in judged)
        chosen.json.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    result = {
        "threshold in use": FOUND_FROM,
        "seconds": round(time.monotonic() - began, 1),
        "extract": done.seconds,
        "kept from before": done.reused,
        "written dates": written_dates(chosen.cuad),
        **figures(judged),
    }
    sys.stdout.write(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
