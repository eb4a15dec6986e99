"""Learn from approved answers: collect pairs, train in a child, compare, use or discard; retire and roll back.

The words of the pairs go to the child through a pipe, the weights come back through one, and both are never on a disk
in the clear: a trained reader lies sealed under a key of its own, destroyed when it goes out of use (ADR 0018).
It answers only whoever may read every document that it was trained on.
"""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from strongroom.errors import ModelError, NotFoundError, UsageError
from strongroom.types import TrainedReader

if TYPE_CHECKING:
    from strongroom.app.appliance import Appliance

FEWEST = 40  # pairs; fewer teach nothing and prove nothing
FEWEST_DOCUMENTS = 8  # of which every fourth or so is held apart
BETTER = 0.01  # token F1 on what was held apart by which a new reader must win

Pair = dict[str, Any]
Train = Callable[[Sequence[Pair], bytes], tuple[dict[str, Any], bytes]]
"""`(pairs, current) -> (scores, trained)`: trains on from the artefact `current`."""


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
    before = appliance.readers.read(current, current) if current else appliance.models.reader_artefact()
    try:
        told, weights = (train or _child(appliance))(found, before)
        appliance.keys.create(reader_id)
        appliance.readers.put(reader_id, reader_id, io.BytesIO(weights))
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
    """Destroy the keys and delete the weights of readers that are not in use. Finishes what a crash left."""
    gone = {reader.id for reader in appliance.catalog.readers() if reader.state != "in use"}
    appliance.keys.destroy(gone & appliance.keys.ids())
    for reader_id in gone:
        appliance.readers.delete(reader_id)
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
    def run(found: Sequence[Pair], current: bytes) -> tuple[dict[str, Any], bytes]:
        command = [sys.executable, "-m", "models.training.approved", "--base", str(appliance.models.reader_base())]
        given = json.dumps({"artefact": base64.b64encode(current).decode(), "pairs": list(found)})
        done = subprocess.run(command, input=given, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise ModelError(f"training ended with status {done.returncode}", hint="Its messages are above.")
        told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return told, base64.b64decode(told["artefact"])

    return run
