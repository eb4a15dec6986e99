"""When contracts begin and end, asked in plain words: with the words beside a date left out of account, and as it is.

    python -m evals.dates DATA [--cache FOLDER]

DATA holds `cuad/`: its expiration and effective dates, asked as people ask ("When does the … expire?", "Until when does
the … run?"; "When did the … take effect?", "When does the … begin?") in the product's own search over the contracts.
Gold in the first quote, in one of three, and token F1 of the exact answer, compared by contract. CUAD's gold is a whole
clause, so F1 falls where the date alone is the answer.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from evals import corpus, datasets
from evals.fit_abstention import Remembering
from evals.statistics import difference
from evals.weigh_place import FIGURES
from evals.weigh_reader import Asked, RememberingReader, measure
from retrieval import times
from retrieval.answer import K
from strongroom.access import LOCAL_USER
from strongroom.app.appliance import Appliance
from strongroom.config import load

FORMS = {
    "Expiration Date": ("When does the {} expire?", "Until when does the {} run?"),
    "Effective Date": ("When did the {} take effect?", "When does the {} begin?"),
}
_LABELLED = re.compile(r"In the (?P<contract>.*), what is the (?P<label>.*)\?$")


def plainly(data: Path, label: str, held: Appliance) -> list[Asked]:
    """The questions of a label in plain words, with what the product finds for them."""
    access = held.catalog.access_for(LOCAL_USER)
    out = []
    for q in datasets.load(data / "cuad").questions:
        said = _LABELLED.match(q.text)
        if q.unanswerable or said is None or said["label"] != label:
            continue
        asked = Asked(q.text, q.answers, q.cluster, lambda _d, v, i: held.catalog.cited_page(v, i, access), ())
        for text in (form.format(said["contract"]) for form in FORMS[label]):
            out.append(replace(asked, text=text, hits=tuple(held.searcher.search(text, access=access, k=K)[0])))
    return out


def main(argv: Sequence[str] | None = None, *, say: Callable[[str], None] = print) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--cache", type=Path, default=corpus.default_cache())
    args = parser.parse_args(argv)
    with corpus.appliance(datasets.load(args.data / "cuad"), load().settings, cache=args.cache) as held:
        embedder, reader = Remembering(held.embedder), RememberingReader(held.reader)
        told = times.asked
        for label in FORMS:
            asked = plainly(args.data, label, held)
            rows = []
            for way in (lambda _question: None, told):
                times.asked = way
                rows.append(measure(asked, embedder, reader))
            groups = [question.group for question in asked]
            for n, figure in enumerate(FIGURES[:3]):
                d = difference([row[n] for row in rows[0]], [row[n] for row in rows[1]], groups)
                counts = f"p {d.p:.2f}, {d.wins} better, {d.losses} worse, {len(asked)} questions"
                say(f"{label}: {figure} {d.first:.3f} -> {d.second:.3f} ({counts})")


if __name__ == "__main__":
    main()
