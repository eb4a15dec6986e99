"""Learn from approved answers: collect pairs, train in a child, compare, use or discard; retire and roll back.

The words of the pairs go to the child through a pipe and are never on a disk in the clear. A trained reader answers
only whoever may read every document that it was trained on.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from strongroom.errors import ModelError, NotFoundError, UsageError
from strongroom.types import TrainedReader

if TYPE_CHECKING:
    from strongroom.app.appliance import Appliance

FEWEST = 40  # pairs; fewer teach nothing and prove nothing
FEWEST_DOCUMENTS = 8  # of which every fourth or so is held apart
BETTER = 0.01  # token F1 on what was held apart by which a new reader must win

Pair = dict[str, Any]
Train = Callable[[Sequence[Pair], Path, Path], dict[str, Any]]
"""`(pairs, current, out) -> scores`: trains on from the artefact in `current` and leaves the new one in `out`."""


def learn(appliance: Appliance, *, train: Train | None = None) -> TrainedReader:
    """Train a reader on approved and corrected answers and use it if it is better.

    Raises `UsageError` for too few pairs, `ModelError` when training fails.
    """
    found = pairs(appliance)
    sources = {p["document"] for p in found}
    if len(found) < FEWEST or len(sources) < FEWEST_DOCUMENTS:
        raise UsageError(
            f"{len(found)} approved answers about {len(sources)} documents are too few to learn from",
            hint=f"Approve answers until there are {FEWEST} about {FEWEST_DOCUMENTS} documents.",
        )
    catalog = appliance.catalog
    current = catalog.current_reader()
    reader_id = catalog.begin_reader(sources | _sources_of(appliance, current))
    folder = appliance.readers_dir / reader_id
    folder.mkdir(parents=True, mode=0o700)
    before = appliance.readers_dir / current if current else None
    try:
        told = (train or _child(appliance))(found, before or appliance.models.reader_artefact(), folder)
        scores = {
            "held_apart": float(told["held"]),
            "trained": float(told["trained"]),
            "f1_before": float(told["before"].get("f1", 0.0)),
            "f1_after": float(told["after"].get("f1", 0.0)),
        }
    except BaseException:
        catalog.settle_reader(reader_id, use=False, scores={})
        tidy(appliance)
        raise
    better = scores["held_apart"] > 0 and scores["f1_after"] >= scores["f1_before"] + BETTER
    state = catalog.settle_reader(reader_id, use=better, scores=scores)
    appliance.audit.append("local", "reader.train", reader_id, state=state, documents=len(sources), scores=scores)
    tidy(appliance)
    return next(r for r in catalog.readers() if r.id == reader_id)


def roll_back(appliance: Appliance) -> str:
    """Put the product's own reader back to work. Raises `NotFoundError` when it is at work already."""
    reader_id = appliance.catalog.roll_reader_back()
    if reader_id is None:
        raise NotFoundError("no trained reader is in use", hint="`strongroom models readers` lists them.")
    appliance.audit.append("local", "reader.roll-back", reader_id)
    tidy(appliance)
    return reader_id


def tidy(appliance: Appliance) -> None:
    """Delete the weights of readers that are not in use, the converted ones too. Finishes what a crash left."""
    current = appliance.catalog.current_reader()
    home = appliance.readers_dir
    for folder in sorted(home.iterdir()) if home.is_dir() else ():
        if folder.name != current:
            appliance.models.forget_reader(folder)
            shutil.rmtree(folder, ignore_errors=True)
    appliance.forget_readers()


def pairs(appliance: Appliance) -> list[Pair]:
    """Approved and corrected answers with the chunk that holds them; the last word on a question and document counts.

    What no chunk of the document's current version holds any more is left out.
    """
    access = appliance.catalog.access_for("local")
    last = {(a.question, a.document.id): a for a in appliance.catalog.approvals(access) if a.verdict != "rejected"}
    out: list[Pair] = []
    for approval in last.values():
        for chunk in appliance.catalog.chunks_of(approval.document.id, access):
            at = chunk.text.find(approval.text)
            if at >= 0:
                end = at + len(approval.text)
                held = {"question": approval.question, "passage": chunk.text, "start": at, "end": end}
                out.append(held | {"document": approval.document.id})
                break
    return out


def _sources_of(appliance: Appliance, reader_id: str | None) -> set[str]:
    """A reader that goes on from another one holds what that one was trained on."""
    return appliance.catalog.reader_documents(reader_id) if reader_id else set()


def _child(appliance: Appliance) -> Train:
    def run(found: Sequence[Pair], current: Path, out: Path) -> dict[str, Any]:
        base = appliance.models.reader_base()
        command = [sys.executable, "-m", "models.training.approved"]
        command += ["--artefact", str(current), "--base", str(base), "--out", str(out)]
        lines = "".join(json.dumps(pair) + "\n" for pair in found)
        done = subprocess.run(command, input=lines, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise ModelError(f"training ended with status {done.returncode}", hint="Its messages are above.")
        told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return told

    return run
