"""A shard directory of Qdrant's embedded engine: made, opened, and built anew in a process of its own.

`build` is the body of that process (see `retrieval.index.edge` for why there is one).
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import uuid
from pathlib import Path
from typing import Any

import qdrant_edge as qe

from retrieval.index import filters
from retrieval.index.filters import Conditions

BATCH = 512  # points an upsert operation
BUILD_AT = 20_000  # points without HNSW at which a build starts; exact search over them takes about 7 ms of CPU
PREFIX = "shard-"
_PLACE = qe.Memory.Cached


def filter_of(conditions: Conditions) -> Any:
    """The engine's filter for these conditions."""

    def match(field: str, values: tuple[str, ...]) -> Any:
        return qe.FieldCondition(field, match=qe.MatchAny(list(values)))

    return qe.Filter(
        must=[match(f, v) for f, v in conditions.must],
        must_not=[match(f, v) for f, v in conditions.must_not],
    )


def create(path: Path, dimension: int) -> Any:
    """A new shard, with an index for each field that filters name."""
    shard = qe.EdgeShard.create(str(path), config(dimension))
    for keyword in filters.KEYWORD_FIELDS:
        shard.update(qe.UpdateOperation.create_field_index(keyword, qe.KeywordIndexParams(memory=_PLACE)))
    shard.flush()
    return shard


def load(path: Path, dimension: int) -> Any:
    """Open a shard; one from before its parts lay in files keeps them in memory until it is next rewritten."""
    return qe.EdgeShard.load(str(path), config(dimension))


def copy(source: Path, target: Path) -> None:
    """Copy a flushed shard. Holes of its files stay holes: of a small one's 200 MB all but half a megabyte are."""
    shutil.copytree(source, target, copy_function=_copy_file)


def _copy_file(source: str, target: str) -> None:
    with open(source, "rb", buffering=0) as old, open(target, "xb", buffering=0) as new:
        end = os.fstat(old.fileno()).st_size
        os.truncate(new.fileno(), end)
        at = 0
        while at < end:
            try:
                at = os.lseek(old.fileno(), at, os.SEEK_DATA)
            except OSError as exc:
                if exc.errno != errno.ENXIO:  # which says that nothing but a hole is left
                    raise
                break
            hole = os.lseek(old.fileno(), at, os.SEEK_HOLE)
            os.lseek(new.fileno(), at, os.SEEK_SET)
            while at < hole:
                at += os.sendfile(new.fileno(), old.fileno(), at, hole - at)
    shutil.copymode(source, target)


def config(dimension: int) -> Any:
    """Vectors, words, filters and ids lie in mapped files, which the kernel can take out of memory, once built."""
    return qe.EdgeConfig(
        vectors={filters.DENSE: qe.EdgeVectorParams(size=dimension, distance=qe.Distance.Cosine)},
        sparse_vectors={filters.SPARSE: qe.EdgeSparseVectorParams(modifier=qe.Modifier.Idf, memory=_PLACE)},
        id_tracker_memory=_PLACE,
    )


def copied(record: Any) -> Any:
    """A point that was read, as one to be written."""
    return qe.Point(record.id, record.vector or {}, record.payload)


def new_name() -> str:
    """A fresh shard name, random so that a build orphaned by a crash can never write into a later shard."""
    return f"{PREFIX}{uuid.uuid4().hex[:12]}"


def build(source: str, target: str, dimension: int, build_at: int) -> None:
    """Body of the child process: HNSW where it pays, in a copy of a shard or a new one that its living points fill."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process when it leaves
    os.nice(10)
    if source == target:
        shard = load(Path(target), dimension)
    else:
        shard = create(Path(target), dimension)
        _fill(shard, load(Path(source), dimension))
    if shard.info().points_count >= build_at:
        shard.optimize()
    shard.flush()
    shard.close()


def _fill(new: Any, old: Any) -> None:
    """Write the living points of one shard into another, which builds as it grows so that memory stays flat."""
    offset, waiting = None, 0
    while True:
        request = qe.ScrollRequest(offset=offset, limit=BATCH, filter=None, with_payload=True, with_vector=True)
        records, offset = old.scroll(request)
        if records:
            new.update(qe.UpdateOperation.upsert_points([copied(record) for record in records]))
        waiting += len(records)
        if waiting >= BUILD_AT:
            new.optimize()
            waiting = 0
        if offset is None:
            break
    old.close()
