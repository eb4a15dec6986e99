"""The embedded vector index: Qdrant's engine inside this process.

On disk: `PATH/active.json` (see `retrieval.index.active`) names the shard directory in use. Anything else in PATH is a
leftover and is removed when the index is opened.

Search is exact until enough points have gathered, then HNSW. The engine builds HNSW only when told to, and it holds
Python's global lock while it does (measured: 20 s for 20,000 points on a busy two-core machine, during which no thread
of the process ran). So a child process builds it in a copy of the shard, segment by segment, while this one keeps
answering; what is written meanwhile is repeated in the copy, which then takes the old shard's place.
Queries hold the global lock too, which is why one lock around everything here costs nothing.

The engine only marks points as deleted: their vectors stay in its segments and its log. So `compact` has the child fill
a new shard with the living points alone, which makes a deletion physical.

New points lie in the engine's writable segment, in memory, about 1.8 kB each; built ones lie in mapped files. So builds
are also what keeps memory flat, and storing waits for a build that falls behind.
"""

from __future__ import annotations

import logging
import multiprocessing
import shutil
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import qdrant_edge as qe

from retrieval.index import active, filters, fusion, shard
from retrieval.index.active import Active
from retrieval.index.filters import Conditions
from retrieval.index.hybrid import HybridIndex
from retrieval.index.points import batches, check_points, known_uuids
from retrieval.index.shard import BATCH, BUILD_AT
from retrieval.index.sparse import SparseTerms
from strongroom.errors import IndexUnreachableError, LockedError, StrongroomError
from strongroom.ports import IndexPoint, Vector

_log = logging.getLogger(__name__)
_PAGE = 2_000  # points a scroll page
_AHEAD = 0.25  # times as many points as start a build may be stored while one runs; then storing waits for it
_WAIT_S = 0.5
_ROOM = 64 << 20  # of the disk is left alone: where a mapped file finds no room the system ends the process (SIGBUS)


@dataclass(slots=True)
class _Journal:
    """What a build does not know of: points stored since it began, by id, and every other change, in its order."""

    stored: set[str] = field(default_factory=set)
    changes: list[Any] = field(default_factory=list)


class EdgeIndex(HybridIndex):
    """`VectorIndex` over one Qdrant Edge shard. Owns `path`; safe to share between threads, not between processes.

    `build_at` points without HNSW start a build at the next `flush`; `close` waits up to `patience` seconds for a
    running build and abandons it after that (the next session starts it again). `replace_mismatched` starts an empty
    index where the one on disk was built otherwise (for `reindex`), instead of raising `IndexMismatchError`.
    """

    def __init__(
        self,
        path: Path,
        dimension: int,
        *,
        replace_mismatched: bool = False,
        build_at: int = BUILD_AT,
        patience: float = 60.0,
    ) -> None:
        super().__init__(dimension)
        self._path = path
        self._build_at, self._patience = build_at, patience
        self._lock = threading.RLock()
        self._journal: _Journal | None = None  # what was written since the copy was made; None when no build runs
        self._builder: threading.Thread | None = None
        self._child: Any = None
        self._build_failed = False
        self._rewriting = ""  # the deletions that the running build leaves behind: `rewrite` of the state it began with
        self._shard: Any = None
        with self._mapped("open"):
            self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = active.read(self._path, self._dimension, replace_mismatched=replace_mismatched)
            if found is None:
                self._start_empty()
            else:
                self._active, self._shard = found, shard.load(self._path / found.shard, self._dimension)
            self._remove_leftovers()

    # -------------------------------------------------------------------------------------------- writing

    def upsert(self, points: Sequence[IndexPoint]) -> None:
        """Insert or replace points by id. Raises `IndexMismatchError` for vectors of another size."""
        check_points(points, self._dimension)
        for batch in batches(points, BATCH):
            self._check_room()
            self._wait_for_build()
            made = qe.UpdateOperation.upsert_points([self._point(p) for p in batch])
            with self._lock, self._mapped("store points"):
                self._open_shard().update(made)
                if self._journal is not None:
                    self._journal.stored.update(p.id for p in batch)

    def delete_versions(self, version_ids: Sequence[str]) -> None:
        for batch in batches(version_ids, BATCH):
            where = shard.filter_of(filters.field_is(filters.VERSION, tuple(batch)))
            self._write("delete points", qe.UpdateOperation.delete_points_by_filter(where))

    def set_access(self, document_id: str, allow: Sequence[str], deny: Sequence[str]) -> None:
        payload = filters.access_payload(tuple(allow), tuple(deny))
        where = shard.filter_of(filters.field_is(filters.DOCUMENT, (document_id,)))
        self._write("change access", qe.UpdateOperation.set_payload_by_filter(where, payload))

    def flush(self) -> None:
        """Make all writes so far durable; start an HNSW build in the background when one is due."""
        with self._lock, self._mapped("flush"):
            self._open_shard().flush()
            due = self._unbuilt() >= self._build_at or self._active.rewrite
            if self._journal is None and not self._build_failed and due:
                self._start_build()

    def compact(self, patience: float = 0.0) -> bool:
        """Begin to rewrite the files so that nothing of removed points is left in them; true when that is done.

        Waits up to `patience` seconds. A rewriting that a crash or `close` breaks off begins again at a later `flush`.
        """
        with self._lock, self._mapped("rewrite"):
            self._open_shard()
            self._use(replace(self._active, rewrite=uuid.uuid4().hex[:8]))
            self._build_failed = False
        deadline = time.monotonic() + patience
        while True:
            self.flush()
            builder = self._builder
            if builder is None or not self._active.rewrite:
                return not self._active.rewrite
            builder.join(max(0.0, deadline - time.monotonic()))
            if builder.is_alive() or self._build_failed:
                return False

    def clear(self) -> None:
        """Remove every point: a new empty shard takes the place of the old one, whose files are deleted."""
        self._abandon_build()
        with self._lock, self._mapped("clear"):
            old, old_name = self._open_shard(), self._active.shard
            self._start_empty()
            old.close()
            shutil.rmtree(self._path / old_name)

    def close(self) -> None:
        """Flush and release the files. Safe to call twice."""
        builder = self._builder
        if builder is not None:
            builder.join(self._patience)
        self._abandon_build()
        with self._lock:
            closing, self._shard = self._shard, None
            if closing is None:
                return
            with self._mapped("close"):
                closing.flush()
                closing.close()

    # -------------------------------------------------------------------------------------------- reading

    def _ask(self, dense: Vector, terms: SparseTerms, conditions: Conditions, depth: int) -> list[fusion.Ranked]:
        where = shard.filter_of(conditions)
        nearest = qe.Query.Nearest(dense.tolist(), using=filters.DENSE)
        requests = [qe.QueryRequest(limit=depth, query=nearest, filter=where)]
        if terms.indices:
            vector = qe.SparseVector(list(terms.indices), list(terms.values))
            requests.append(
                qe.QueryRequest(
                    limit=depth,
                    query=qe.Query.Nearest(vector, using=filters.SPARSE),
                    filter=where,
                    params=qe.SearchParams(idf=qe.IdfParams(corpus=where)),
                )
            )
        with self._lock, self._mapped("search"):
            answers = self._open_shard().query_batch(qe.QueryBatchRequest(requests))
        return [[(str(p.id), float(p.score)) for p in answer] for answer in answers]

    def version_points(self, version_id: str) -> set[str]:
        where = shard.filter_of(filters.field_is(filters.VERSION, (version_id,)))
        return {str(record.id) for record in self._scroll(where, with_payload=False)}

    def vectors(self, ids: Sequence[str]) -> dict[str, Vector]:
        found: dict[str, Vector] = {}
        for batch in batches(known_uuids(ids), _PAGE):
            with self._lock, self._mapped("read vectors"):
                records = self._open_shard().retrieve(list(batch), with_payload=False, with_vector=[filters.DENSE])
            found.update((str(r.id), np.asarray(r.vector[filters.DENSE], dtype=np.float32)) for r in records)
        return found

    def all_points(self) -> dict[str, str]:
        records = self._scroll(None, with_payload=[filters.VERSION])
        return {str(record.id): str(record.payload[filters.VERSION]) for record in records}

    def count(self) -> int:
        with self._lock, self._mapped("count points"):
            return int(self._open_shard().count(qe.CountRequest(exact=True)))

    # -------------------------------------------------------------------------------------------- shard

    def _point(self, point: IndexPoint) -> Any:
        terms = self._encoder.document(point.text, name=point.name, opening=point.opening)
        vectors: dict[str, Any] = {filters.DENSE: point.dense.tolist()}
        if terms.indices:
            vectors[filters.SPARSE] = qe.SparseVector(list(terms.indices), list(terms.values))
        return qe.Point(point.id, vectors, filters.payload_of(point))

    def _write(self, action: str, operation: Any) -> None:
        with self._lock, self._mapped(action):
            self._open_shard().update(operation)
            if self._journal is not None:
                self._journal.changes.append(operation)

    def _scroll(self, where: Any, *, with_payload: bool | list[str]) -> Iterator[Any]:
        offset = None
        while True:
            request = qe.ScrollRequest(offset=offset, limit=_PAGE, filter=where, with_payload=with_payload)
            with self._lock, self._mapped("list points"):
                records, offset = self._open_shard().scroll(request)
            yield from records
            if offset is None:
                return

    def _open_shard(self) -> Any:
        if self._shard is None:
            raise IndexUnreachableError(f"the vector index at {self._path} is closed", hint="Open it again.")
        return self._shard

    def _check_room(self) -> None:
        if shutil.disk_usage(self._path).free < _ROOM:
            raise IndexUnreachableError(
                f"the disk of {self._path} is full: less than {_ROOM >> 20} MiB are left",
                hint="Free disk space, then run the same command again: finished files are not repeated.",
            )

    def _start_empty(self) -> None:
        self._check_room()
        name = shard.new_name()
        self._shard = shard.create(self._path / name, self._dimension)
        self._use(Active(name))

    def _use(self, now: Active) -> None:
        active.write(self._path, self._dimension, now)
        self._active = now

    def _remove_leftovers(self) -> None:
        for entry in self._path.iterdir():
            if entry.name in (active.NAME, self._active.shard):
                continue
            if entry.is_dir() and entry.name.startswith(shard.PREFIX):
                shutil.rmtree(entry)
            elif active.is_draft(entry.name):
                entry.unlink()

    # -------------------------------------------------------------------------------------------- HNSW builds

    def _unbuilt(self) -> int:
        """Points added since the last build. The engine counts an indexed point once for each of its two vectors;

        `unbuildable` is what the last build left unindexed (points without words, segments too small for HNSW).
        """
        info = self._open_shard().info()
        return int(2 * info.points_count - info.indexed_vectors_count) - self._active.unbuildable

    def _start_build(self) -> None:
        """Copy the flushed shard and let a child process build HNSW in the copy, or in a new shard that it fills from
        the copy when deletions are to leave the files. Called under the lock."""
        name = shard.new_name()
        copy = shard.new_name() if self._active.rewrite else name
        try:
            shard.copy(self._path / self._active.shard, self._path / copy)
        except OSError as exc:  # no room for a copy: what was asked for, the flush, has been done
            _log.warning("no copy of the vector index can be made to rewrite it: %s", exc)
            self._build_failed = True
            shutil.rmtree(self._path / copy, ignore_errors=True)
            return
        self._journal = _Journal()
        self._rewriting = self._active.rewrite
        child = multiprocessing.get_context("spawn").Process(
            target=shard.build,
            args=(str(self._path / copy), str(self._path / name), self._dimension, self._build_at),
            name="strongroom-index-build",
            daemon=True,
        )
        child.start()
        self._child = child
        self._builder = threading.Thread(target=self._finish_build, args=(child, copy, name), daemon=True)
        self._builder.start()

    def _finish_build(self, child: Any, copy: str, name: str) -> None:
        child.join()
        if copy != name:
            shutil.rmtree(self._path / copy, ignore_errors=True)
        with self._lock:
            journal, self._journal, self._child = self._journal, None, None
            if journal is None or self._shard is None:  # abandoned, cleared or closed meanwhile
                shutil.rmtree(self._path / name, ignore_errors=True)
                return
            try:
                if child.exitcode != 0:
                    raise RuntimeError(f"the build process ended with {child.exitcode}")
                self._take_over(name, journal)
            except Exception:  # noqa: BLE001 - outermost edge of this thread
                # Search stays exact and right, only slower; the next session tries again.
                _log.exception("building the vector index failed; search stays exact")
                self._build_failed = True
                shutil.rmtree(self._path / name, ignore_errors=True)

    def _take_over(self, name: str, journal: _Journal) -> None:
        """Apply what was written during the build to the built copy and make it the shard in use."""
        built = shard.load(self._path / name, self._dimension)
        try:
            info = built.info()
            rest = int(2 * info.points_count - info.indexed_vectors_count)
            if info.points_count < self._build_at:  # too few for HNSW: none of them was meant to be in it
                rest = 0
            self._catch_up(built, journal)
            built.flush()
            previous, wanted = self._active.shard, self._active.rewrite
            # what was deleted while this was written is in the new shard's files too: that is for the next rewriting
            self._use(Active(name, rest, "" if wanted == self._rewriting else wanted))
        except BaseException:
            built.close()
            raise
        old, self._shard = self._shard, built
        old.close()
        shutil.rmtree(self._path / previous, ignore_errors=True)

    def _catch_up(self, built: Any, journal: _Journal) -> None:
        """Bring a built copy to the state of the shard in use.

        Deletions and changes of access first, in their order, then every point that was stored meanwhile as it is now
        (or is gone now): the shard in use has the last word, and nothing but ids had to be remembered.
        """
        for operation in journal.changes:
            built.update(operation)
        for ids in batches(sorted(journal.stored), BATCH):
            records = self._shard.retrieve(list(ids), with_payload=True, with_vector=True)
            if records:
                built.update(qe.UpdateOperation.upsert_points([shard.copied(record) for record in records]))
            if gone := {*ids} - {str(record.id) for record in records}:
                built.update(qe.UpdateOperation.delete_points(sorted(gone)))

    def _wait_for_build(self) -> None:
        """Let a build end first when more was stored meanwhile than is to be held in memory."""
        while (builder := self._builder) is not None and builder is not threading.current_thread():
            journal = self._journal
            if journal is None or len(journal.stored) < _AHEAD * max(self._build_at, BATCH):
                return
            builder.join(_WAIT_S)

    def _abandon_build(self) -> None:
        """Stop a running build; its copy is removed by the thread that waits for it."""
        with self._lock:
            builder, child, self._journal = self._builder, self._child, None
            if child is not None:
                child.kill()
        if builder is not None and builder is not threading.current_thread():
            builder.join()
        self._builder = None

    # -------------------------------------------------------------------------------------------- errors

    @contextmanager
    def _mapped(self, action: str) -> Iterator[None]:
        """Turn the engine's errors, which are plain `Exception`s or Rust panics, into ours."""
        try:
            yield
        except StrongroomError:
            raise
        except BaseException as exc:
            if not isinstance(exc, Exception) and type(exc).__name__ != "PanicException":
                raise
            if "WouldBlock" in str(exc):
                raise LockedError(
                    f"another process has the vector index at {self._path} open",
                    hint="Stop the other process, or let the running server answer.",
                ) from exc
            raise IndexUnreachableError(
                f"the vector index at {self._path} failed to {action}: {exc}",
                hint="Check that the disk is writable and not full; `strongroom reindex` rebuilds the index.",
            ) from exc
