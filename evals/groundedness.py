"""Judge labelled sentences of the built-in language model as those of an answer are judged, check by check.

    python -m evals.groundedness --models MODELS_DIR [--nli ID]

200 sentences with their quotes, labelled by hand (evals/reader_support.md says how). For the rules alone, for rules and
reader, and with `--nli` also with an installed model of natural language inference: how many of the sentences that are
carried, and of those that are not, are called supported, partly so, or unsupported. No question is given with them.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from evals.reader import LABELS
from retrieval import grounding
from retrieval.evidence import Evidence
from strongroom import types
from strongroom.ports import Embedder, Entailment, Reader
from strongroom.types import DocumentRef, Locator, StoredChunk


class _Agreeing:
    """A reader that objects to nothing, so that the rules stand alone."""

    name = fingerprint = "agreeing"

    def read(self, question: str, passages: Sequence[str], *, spans: int = 3) -> list[types.Reading]:
        raise NotImplementedError("only sentences are judged here")

    def support(self, claim: str, evidence: Sequence[str]) -> list[float]:
        return [1.0] * len(evidence)


def judged(
    sentence: str, evidence: Sequence[str], embedder: Embedder, reader: Reader, nli: Entailment | None
) -> types.Support:
    """The support of one sentence that cites all of its quotes; of a text of several, the worst."""
    place = Locator("section", "")
    quotes = []
    for number, (text, vector) in enumerate(zip(evidence, embedder.embed_documents(evidence), strict=True)):
        document = DocumentRef("d", "document", "document")
        chunk = StoredChunk(str(number), document, "v", number, 0, len(text), text, (), (0,), (), place)
        quotes.append(Evidence(chunk, 0, len(text), text, 1.0, 1.0, 1.0, vector))
    marks = [(len(sentence), n) for n in range(1, len(quotes) + 1)]
    found = grounding.check(sentence, marks, quotes, "", embedder, reader, nli=nli)
    order: tuple[types.Support, ...] = ("unsupported", "partial", "supported")
    return min((one.support for one in found), key=order.index, default="unsupported")


def main(argv: Sequence[str] | None = None, *, say: Callable[[str], None] = print) -> None:
    """Parse arguments, judge, print a line for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True, help="folder of installed models")
    parser.add_argument("--nli", help="id of an installed model of natural language inference")
    args = parser.parse_args(argv)
    from models.defaults import DEFAULT_EMBEDDER, open_embedder, open_nli, open_reader

    embedder, reader = open_embedder(args.models, DEFAULT_EMBEDDER), open_reader(args.models)
    ways: dict[str, tuple[Reader, Entailment | None]] = {"rules": (_Agreeing(), None), "rules, reader": (reader, None)}
    if args.nli:
        second = open_nli(args.models, args.nli)
        ways |= {"rules, NLI": (_Agreeing(), second), "rules, reader, NLI": (reader, second)}
    rows = [json.loads(line) for line in LABELS.read_text("utf-8").splitlines()]
    for name, (by, nli) in ways.items():
        counts: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
        for row in rows:
            counts[row["supported"]][judged(row["sentence"], row["evidence"], embedder, by, nli)] += 1
        for carried, found in counts.items():
            shown = ", ".join(f"{support} {found[support]}" for support in ("supported", "partial", "unsupported"))
            say(f"{name}: of {found.total()} that are {'' if carried else 'not '}carried: {shown}")


if __name__ == "__main__":
    main()
