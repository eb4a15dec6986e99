"""`active.json`: which shard directory of the embedded index is in use, what it was built with, what is left to do.

The file is replaced in one step, so a crash leaves the old shard or the new one in use, never half of each.
"""

from __future__ import annotations

import json
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retrieval.index import filters
from retrieval.index.sparse import SPARSE_FINGERPRINT
from strongroom.errors import IndexMismatchError

NAME = "active.json"


@dataclass(frozen=True, slots=True)
class Active:
    """`unbuildable` points were left without HNSW by the last build; `rewrite` names deletions still in the files."""

    shard: str
    unbuildable: int = 0
    rewrite: str = ""


def read(folder: Path, dimension: int, *, replace_mismatched: bool) -> Active | None:
    """What the file says; `None` for a new index, and with `replace_mismatched` for one that was built otherwise.

    Raises `IndexMismatchError` for one that was built otherwise.
    """
    try:
        state: dict[str, Any] = json.loads((folder / NAME).read_text("utf-8"))
    except FileNotFoundError:
        return None
    wanted = _built_with(dimension)
    differing = sorted(key for key, value in wanted.items() if state.get(key) != value)
    if differing and replace_mismatched:
        return None
    if differing:
        raise IndexMismatchError(
            f"the vector index at {folder} was built with another {' and '.join(differing)}",
            hint="Run `strongroom reindex`, or go back to the embedder it was built with.",
        )
    return Active(str(state["shard"]), int(state.get("unbuildable", 0)), str(state.get("rewrite", "")))


def write(folder: Path, dimension: int, active: Active) -> None:
    """Replace the file, durably."""
    state = {"shard": active.shard, "unbuildable": active.unbuildable, "rewrite": active.rewrite}
    temporary = folder / f".{NAME}.{uuid.uuid4().hex[:8]}"
    with temporary.open("w", encoding="utf-8") as file:
        json.dump({**state, **_built_with(dimension)}, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(folder / NAME)
    directory = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def is_draft(name: str) -> bool:
    """True for what a crash left of a `write`."""
    return name.startswith(f".{NAME}.")


def _built_with(dimension: int) -> dict[str, Any]:
    return {"dimension": dimension, "sparse encoding": SPARSE_FINGERPRINT, "schema": filters.SCHEMA_VERSION}
