"""One ingest in a process of its own, to be killed: `python -m tests.kill_child DATA FOLDER file|edge`.

Writes a dot to stdout before and after each call of the catalogue, the originals, the index and the embedder, so that
the parent can kill it between any two of them, or, by waiting a little, within one. Ends with `whole` if it lives.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any

from ingest.work import PipelineSettings
from tests.ingest_bench import RECIPE, Bench, ingest, listing

_PARTS = frozenset({"catalog", "blobs", "index", "embedder"})
_lock = threading.Lock()


def tell(text: str) -> None:
    with _lock:
        os.write(1, text.encode())


class Dotted:
    """A part that tells of each call."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        if not callable(found):
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            tell(".")
            try:
                return found(*args, **kwargs)
            finally:
                tell(".")

        return call


def open_bench(data: Path, kind: str) -> Bench:
    """The bench over the fake index in a file, or over the embedded engine."""
    index: Any = None
    if kind == "edge":
        from retrieval.index import open_index

        index = open_index(path=data / "index", dimension=64)
    bench = Bench.open(data, index=index)
    bench.settings = PipelineSettings(recipe=RECIPE, embed_weight=20, commit_documents=4)
    return bench


def main() -> None:
    data, folder, kind = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    bench = open_bench(data, kind)
    bench.wrap = lambda name, real: Dotted(real) if name in _PARTS else real
    ingest(bench, listing(folder), roots=(folder.as_uri(),), prune=True)
    bench.close()
    tell("whole")


if __name__ == "__main__":
    main()
