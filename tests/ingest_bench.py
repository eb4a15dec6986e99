"""A whole ingest on small parts: real catalogue, key store and blobs in a folder; fake parser, embedder and index.

The fake index keeps the promise that the real ones make and no more: what was written is durable after `flush`, and
may be lost before it. The fake parser obeys the first word of a file, so that a test can ask for any trouble.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import event

from ingest.chunk import Wording
from ingest.pipeline import Pipeline
from ingest.work import Parts, PipelineSettings
from strongroom.blobs import BlobStore
from strongroom.catalog import Catalog, PointSource, Store
from strongroom.crypto import KeyStore, Vault
from strongroom.errors import ParseError, QuarantineError
from strongroom.ports import IndexPoint, Vector
from strongroom.types import (
    Chunk,
    FileOutcome,
    IngestEvent,
    IngestOptions,
    IngestSummary,
    Locator,
    OcrMode,
    Page,
    ParsedDocument,
    SourceFile,
)
from tests.fakes import FakeEmbedder

RECIPE = "bench-1"


def parse(path: Path, _mime: str) -> tuple[ParsedDocument, list[Chunk]]:
    """A page for each form feed, a chunk for each line that is not blank."""
    text = path.read_text(encoding="utf-8")
    if text.startswith("!bad"):
        raise ParseError("The file is damaged.", hint="Ask for another copy.")
    if text.startswith("!locked"):
        raise QuarantineError("The file is protected by a password.", hint="Remove the password.")
    if text.startswith("!bug"):
        raise ZeroDivisionError(text)  # as parsers do: the message holds words of the document
    pages, at = [], 0
    for index, body in enumerate(text.split("\f")):
        end = at + len(body) + 1
        pages.append(Page(index, index + 1, Locator("page", str(index + 1)), at, min(end, len(text))))
        at = end
    chunks = [] if text.startswith("!empty") else line_chunks(text, pages)
    return ParsedDocument(text=text, pages=tuple(pages), mime="text/plain", title=None), chunks


def line_chunks(text: str, pages: Sequence[Page]) -> list[Chunk]:
    """A chunk for each line that is not blank."""
    chunks: list[Chunk] = []
    at = 0
    for line in text.splitlines(keepends=True):
        bare = line.strip()
        if bare:
            start = at + line.index(bare)
            page = next(p.index for p in pages if p.start <= start < p.end)
            chunks.append(Chunk(len(chunks), start, start + len(bare), bare, (), (page,)))
        at += len(line)
    return chunks


class ThreadPool:
    """Parses in threads; `calls` counts the files."""

    def __init__(self, workers: int = 2) -> None:
        self.workers = workers
        self.calls: list[str] = []
        self.parse: Callable[[Path, str], tuple[ParsedDocument, list[Chunk]]] = parse
        self._threads = ThreadPoolExecutor(workers)

    def submit(self, path: Path, mime: str) -> Future[tuple[ParsedDocument, list[Chunk]]]:
        self.calls.append(str(path))
        return self._threads.submit(self.parse, path, mime)

    def unlock_with(self, passwords: Sequence[str]) -> None:
        self.passwords = tuple(passwords)

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)


class FileIndex:
    """Points in a journal file: a line for each write, on disk at `flush`, read again at the next start."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._points: dict[str, tuple[str, str, Vector]] = {}
        self._waiting: list[dict[str, Any]] = []
        self.access: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {}  # by document; not kept on disk
        self.names: dict[str, str] = {}  # the name last said of each point, for BM25; not kept on disk
        if path.exists():
            for line in path.read_bytes().split(b"\n"):
                try:
                    self._apply(json.loads(line))
                except ValueError:  # the line that a kill cut short
                    continue

    def upsert(self, points: Sequence[IndexPoint]) -> None:
        packed = [
            (p.id, p.document_id, p.version_id, base64.b64encode(p.dense.astype("<f4").tobytes()).decode())
            for p in points
        ]
        self._do({"op": "upsert", "points": packed})
        self.access |= {p.document_id: (p.allow, p.deny) for p in points}
        self.names |= {p.id: p.name for p in points}

    def set_access(self, document_id: str, allow: Sequence[str], deny: Sequence[str]) -> None:
        self.access[document_id] = (tuple(allow), tuple(deny))

    def delete_versions(self, version_ids: Sequence[str]) -> None:
        self._do({"op": "versions", "ids": list(version_ids)})

    def clear(self) -> None:
        self._do({"op": "clear"})

    def version_points(self, version_id: str) -> set[str]:
        with self._lock:
            return {i for i, (_, version, _v) in self._points.items() if version == version_id}

    def vectors(self, ids: Sequence[str]) -> dict[str, Vector]:
        with self._lock:
            return {i: self._points[i][2] for i in ids if i in self._points}

    def all_points(self) -> dict[str, str]:
        with self._lock:
            return {i: version for i, (_, version, _v) in self._points.items()}

    def count(self) -> int:
        return len(self._points)

    def flush(self) -> None:
        with self._lock:
            lines = b"".join(json.dumps(op).encode() + b"\n" for op in self._waiting)
            self._waiting.clear()
            if lines:
                with self._path.open("ab") as out:
                    out.write(lines)

    def close(self) -> None:
        self.flush()

    def _do(self, op: dict[str, Any]) -> None:
        with self._lock:
            self._apply(op)
            self._waiting.append(op)

    def _apply(self, op: dict[str, Any]) -> None:
        match op["op"]:
            case "upsert":
                for point_id, document_id, version_id, packed in op["points"]:
                    vector = np.frombuffer(base64.b64decode(packed), dtype="<f4")
                    self._points[point_id] = (document_id, version_id, vector)
            case "versions":
                gone = set(op["ids"])
                self._points = {i: point for i, point in self._points.items() if point[1] not in gone}
            case "clear":
                self._points.clear()


@dataclass
class Bench:
    """A data directory with a pipeline over it; `open` again on the same folder to start anew after a crash."""

    catalog: Catalog
    blobs: BlobStore
    index: Any
    embedder: Any
    keys: KeyStore
    pools: list[ThreadPool] = field(default_factory=list)
    ocr_modes: list[OcrMode | None] = field(default_factory=list)
    settings: PipelineSettings = field(default_factory=lambda: PipelineSettings(recipe=RECIPE))
    wrap: Callable[[str, Any], Any] = field(default=lambda _name, part: part)
    pool_type: Callable[[], ThreadPool] = ThreadPool

    @classmethod
    def open(cls, root: Path, *, index: Any = None, embedder: Any = None, **more: Any) -> Bench:
        keys = KeyStore(root / "keys")
        store = Store(root / "catalog.sqlite")
        store.engine.dispose()
        event.listen(store.engine, "connect", _in_no_hurry)
        catalog = Catalog(store, Vault(keys))
        catalog.ensure_user("local", "admin", ("everyone",))
        return cls(
            catalog=catalog,
            blobs=BlobStore(root / "blobs", keys, catalog.key_of),
            index=index if index is not None else FileIndex(root / "index.jsonl"),
            embedder=embedder if embedder is not None else FakeEmbedder(),
            keys=keys,
            **more,
        )

    def pipeline(self) -> Pipeline:
        return Pipeline(
            Parts(
                catalog=self.wrap("catalog", self.catalog),
                blobs=self.wrap("blobs", self.blobs),
                index=self.wrap("index", self.index),
                embedder=self.wrap("embedder", self.embedder),
                pool=self._pool,
                detect=lambda _file: "text/plain",
                wording=worded,
                settings=self.settings,
            )
        )

    def _pool(self, _workers: int | None, ocr: OcrMode | None) -> ThreadPool:
        self.pools.append(self.pool_type())
        self.ocr_modes.append(ocr)
        return self.pools[-1]

    @property
    def parsed(self) -> list[str]:
        """Names of the files that were parsed, in every run so far."""
        return [Path(call).name for pool in self.pools for call in pool.calls]

    def close(self) -> None:
        self.index.close()
        self.catalog.close()
        self.keys.close()


def _in_no_hurry(connection: Any, _record: object) -> None:
    """No waiting for the disk: a killed process, the worst that happens here, loses nothing that it has written."""
    connection.execute("PRAGMA synchronous=OFF")


def worded(source: PointSource) -> Wording:
    return Wording(source.name, source.text)


def source(path: Path) -> SourceFile:
    return SourceFile(str(path), path.as_uri(), path.name, path.stat().st_size if path.exists() else 0)


def listing(folder: Path) -> list[SourceFile]:
    return [source(path) for path in sorted(folder.rglob("*")) if path.is_file()]


def ingest(
    bench: Bench,
    files: Iterable[SourceFile | FileOutcome],
    *,
    pipeline: Pipeline | None = None,
    cancel: threading.Event | None = None,
    **more: Any,
) -> tuple[IngestSummary, dict[str, FileOutcome]]:
    """Run and return the summary and the outcomes by file name; a second outcome of a file fails the test."""
    outcomes: dict[str, FileOutcome] = {}

    def on_event(happened: IngestEvent) -> None:
        if isinstance(happened, FileOutcome):
            name = Path(happened.path).name
            assert name not in outcomes, f"two outcomes of {name}"
            outcomes[name] = happened

    summary = (pipeline or bench.pipeline()).run(files, IngestOptions(**more), on_event=on_event, cancel=cancel)
    return summary, outcomes


def snapshot(bench: Bench) -> dict[str, Any]:
    """Documents, chunks and vectors by collection and URI, without ids: those differ between data directories."""
    state: dict[str, Any] = {}
    indexed = set(bench.catalog.indexed_versions())
    for collection in bench.catalog.collections():
        for document_id, uri in bench.catalog.sources(collection.id):
            known = bench.catalog.find(collection.id, uri)
            assert known is not None
            assert known.document_id == document_id
            chunks = bench.catalog.point_sources(known.version_id) if known.version_id in indexed else []
            vectors = bench.index.vectors([c.chunk_id for c in chunks])
            state[f"{collection.name} {uri}"] = {
                "sha256": known.sha256,
                "state": known.state,
                "reason": known.reason,
                "pages": known.pages,
                "texts": [c.text for c in chunks],
                "vectors": [vectors.get(c.chunk_id) for c in chunks],
            }
    return state


def disagreements(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Where two snapshots differ; vectors may differ in their last bits (cosine >= 0.9999)."""
    found = [f"only in one: {uri}" for uri in sorted(one.keys() ^ other.keys())]
    for uri in sorted(one.keys() & other.keys()):
        a, b = one[uri], other[uri]
        found += [f"{key} of {uri}" for key in a if key != "vectors" and a[key] != b[key]]
        for left, right in zip(a["vectors"], b["vectors"], strict=False):
            if left is None or right is None or float(np.dot(left, right)) < 0.9999:
                found.append(f"a vector of {uri}")
    return found


def faults(bench: Bench) -> list[str]:
    """Where catalogue, index and originals disagree, at rest and whole: nothing missing, nothing orphaned."""
    catalog, found = bench.catalog, faults_now(bench)
    points = bench.index.all_points()
    indexed = set(catalog.indexed_versions())
    found += [f"point {i} of a version that is not current" for i, version in points.items() if version not in indexed]
    found += [f"version {v} still parsed" for v in catalog.unindexed()]
    found += [f"version {v} still to be removed" for v in catalog.removals()]
    blobs = set(bench.blobs.ids())
    found += [f"original {v} of no current version" for v in sorted(blobs - indexed)]
    return found


def keys_of_nothing(bench: Bench) -> int:
    """Keys that belong to no document, besides the catalogue's own."""
    documents = {d for c in bench.catalog.collections() for d, _ in bench.catalog.sources(c.id)}
    return len(bench.keys.ids() - {bench.catalog.key_of(d) for d in documents}) - 1


def faults_now(bench: Bench) -> list[str]:
    """What must hold at every moment: a version that answers questions has all its points and its original."""
    found = []
    files = {version: document for document, version, _ in bench.catalog.version_files()}
    for version_id in bench.catalog.indexed_versions():
        if bench.index.version_points(version_id) != bench.catalog.chunk_ids(version_id):
            found.append(f"points of version {version_id} are not its chunks")
        if not bench.blobs.exists(version_id):
            found.append(f"no original of version {version_id}")
        elif not bench.blobs.read(files[version_id], version_id):
            found.append(f"empty original of version {version_id}")
    return found
