"""Measure the search for personal data beside plain Presidio. Prints a table, writes nothing.

    python -m evals.personal DATA [--spacy-model FOLDER]

DATA is a file of labelled texts as Presidio's data generator makes them (a JSON list with `full_text` and `spans`). A
labelled span is found when a finding of its kind touches it; a finding is right when it touches a labelled span of its
kind. Characters are counted too: the share of a kind's labelled characters that would be blacked out.

Plain Presidio is its analyser with all recognisers as they come, at its default threshold of 0. It has no language
model of its own: with `--spacy-model` it gets one, else a pipeline that splits words and finds no names.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ingest.privacy import find

Found = Sequence[tuple[str, int, int]]  # kind, start, end

KINDS = {
    "PERSON": "name",
    "STREET_ADDRESS": "address",
    "EMAIL_ADDRESS": "email",
    "PHONE_NUMBER": "phone",
    "IP_ADDRESS": "ip",
    "IBAN_CODE": "iban",
    "CREDIT_CARD": "card",
    "US_DRIVER_LICENSE": "national_id",
    "US_SSN": "national_id",
    "LOCATION": "address",  # the nearest that spaCy's models know
}


def ours(text: str) -> Found:
    return [(span.kind, span.start, span.end) for span in find(text)]


def presidio(model: Path | None) -> Callable[[str], Found]:
    """Plain Presidio, with the network lookup of its mail recogniser switched off."""
    import presidio_analyzer
    import spacy
    import tldextract
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

    offline = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
    tldextract.extract = offline.__call__  # type: ignore[assignment]  # a function there, a method here
    engine = SpacyNlpEngine()
    engine.nlp = {"en": spacy.load(model) if model else spacy.blank("en")}
    analyser = presidio_analyzer.AnalyzerEngine(nlp_engine=engine, supported_languages=["en"])

    def run(text: str) -> Found:
        results = analyser.analyze(text, language="en")
        return [(KINDS[r.entity_type], r.start, r.end) for r in results if r.entity_type in KINDS]

    return run


def measure(samples: Sequence[dict[str, Any]], run: Callable[[str], Found]) -> dict[str, tuple[float, ...]]:
    """By kind: labelled spans, recall, precision, share of labelled characters found."""
    labelled, hit, made, right = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    characters, covered = Counter[str](), Counter[str]()
    for sample in samples:
        gold = [
            (KINDS[s["entity_type"]], int(s["start_position"]), int(s["end_position"]))
            for s in sample["spans"]
            if s["entity_type"] in KINDS
        ]
        found = run(sample["full_text"])
        for kind, start, end in gold:
            labelled[kind] += 1
            touching = [(a, b) for k, a, b in found if k == kind and a < end and start < b]
            hit[kind] += bool(touching)
            characters[kind] += end - start
            covered[kind] += len({i for a, b in touching for i in range(max(a, start), min(b, end))})
        for kind, start, end in found:
            made[kind] += 1
            right[kind] += any(k == kind and a < end and start < b for k, a, b in gold)
    return {
        kind: (
            labelled[kind],
            hit[kind] / labelled[kind],
            right[kind] / made[kind] if made[kind] else 1.0,
            covered[kind] / characters[kind],
        )
        for kind in sorted(labelled)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Precision and recall of the search for personal data.")
    parser.add_argument("data", type=Path)
    parser.add_argument("--spacy-model", type=Path, help="a spaCy pipeline with entities, for plain Presidio")
    given = parser.parse_args()
    samples = json.loads(given.data.read_text(encoding="utf-8"))
    size = sum(len(sample["full_text"]) for sample in samples)
    runs: list[tuple[str, Callable[[str], Found]]] = [("strongroom", ours), ("presidio", presidio(given.spacy_model))]
    columns = {}
    for name, run in runs:
        run(samples[0]["full_text"])  # loads what it needs
        began = time.perf_counter()
        columns[name] = measure(samples, run)
        seconds = time.perf_counter() - began
        print(f"{name}: {len(samples)} texts, {size:,} characters, {seconds:.1f} s")
    print(f"\n{'':12} {'n':>4}" + "".join(f" | {name:>10}: recall precision characters" for name in columns))
    for kind in columns["strongroom"]:
        row = f"{kind:12} {columns['strongroom'][kind][0]:>4}"
        for figures in columns.values():
            _, recall, precision, share = figures[kind]
            row += f" | {recall:18.2f} {precision:9.2f} {share:10.2f}"
        print(row)


if __name__ == "__main__":
    main()
