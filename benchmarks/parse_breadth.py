"""Parse every file below the given folders in the sandbox, and account for each: parsed, or refused with its reason.

    python -m benchmarks.parse_breadth FOLDER [FOLDER ...] [--workers 2] [--ocr auto] [--json]

Prints one line a file that was not parsed, then counts by reason, time, and the most memory that this process and all
below it held at once (anonymous: what a limit counts; resident: mapped files too).
Exits 1 when a file came back without text and without a reason, or with a reason that says nothing to do.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from benchmarks.memory import Watch
from ingest.mime import detect
from ingest.sandbox import ParserPool
from strongroom.app.models import InstalledModels
from strongroom.config import Settings
from strongroom.errors import ParseError, QuarantineError


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("folders", nargs="+", type=Path)
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--ocr", choices=("auto", "always", "never"), default="auto")
    options.add_argument("--json", action="store_true", help="one JSON line a file")
    chosen = options.parse_args()
    files = sorted(path for folder in chosen.folders for path in folder.rglob("*") if path.is_file())
    begun = time.monotonic()
    waiting: list[tuple[Path, str, Future[Any] | Exception]] = []
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    silent = 0
    models = InstalledModels(Settings())
    watch = Watch(os.getpid())
    watch.start()
    with (
        tempfile.TemporaryDirectory() as spool,
        ParserPool(
            chosen.workers,
            tokenizer=models.tokenizer(),
            speech=models.speech(),
            ocr=chosen.ocr,
            spool=Path(spool) / "parts",
        ) as pool,
    ):
        for path in files:
            try:
                mime = detect(path)
                waiting.append((path, mime, pool.submit(path, mime)))
            except ParseError as exc:
                waiting.append((path, "", exc))
        for path, mime, outcome in waiting:
            try:
                if isinstance(outcome, Exception):
                    raise outcome
                document, chunks = outcome.result()
                line = {"path": str(path), "outcome": "parsed", "mime": mime, "chunks": len(chunks)}
                line |= {"pages": len(document.pages), "characters": len(document.text)}
                silent += not document.text.strip()
                counts["parsed"] += 1
            except ParseError as exc:
                kind = "quarantined" if isinstance(exc, QuarantineError) else "refused"
                line = {"path": str(path), "outcome": kind, "mime": mime, "reason": str(exc), "hint": exc.hint}
                silent += not exc.hint
                counts[kind] += 1
                reasons[str(exc)] += 1
            if chosen.json or line["outcome"] != "parsed":
                print(json.dumps(line, ensure_ascii=False), flush=True)
    watch.ended.set()
    watch.join()
    for reason, count in reasons.most_common():
        print(f"{count:5} {reason}", file=sys.stderr)
    print(
        f"{len(files)} files in {time.monotonic() - begun:.0f} s: {dict(counts)}; {silent} without text or advice; "
        f"peak of the process tree {watch.peak_anonymous['whole_tree'] >> 20} MiB anonymous, "
        f"{watch.peak_resident['whole_tree'] >> 20} MiB resident",
        file=sys.stderr,
    )
    return 1 if silent else 0


if __name__ == "__main__":
    sys.exit(main())
