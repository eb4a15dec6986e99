"""An appliance for tests of who may read what: real catalogue, key store, blobs and embedded index; fake models.

Files are parsed in threads of this process, a line a chunk, so that thousands of steps take minutes. Must not be used
to test parsing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import event

from ingest.parse.pdf import parse_pdf
from strongroom.app.appliance import Appliance
from strongroom.config import load
from strongroom.types import Chunk, IngestRequest, ParsedDocument
from tests.fakes import FakeModels
from tests.ingest_bench import ThreadPool, line_chunks, parse


def open_appliance(data_dir: Path, **settings: Any) -> Appliance:
    """The appliance over `data_dir`, with nothing that waits for a disk."""
    appliance = Appliance(load({"data_dir": data_dir, **settings}).settings, purpose="test", models=FakeModels())
    appliance.store.engine.dispose()
    event.listen(appliance.store.engine, "connect", _in_no_hurry)
    appliance._parser_pool = lambda _workers, _ocr: _pool()  # type: ignore[method-assign,assignment,return-value]
    # rewriting the index's files after a deletion starts a process each time, and changes nothing that can be read
    appliance.raw_index.compact = lambda patience=0.0: True  # type: ignore[method-assign]
    return appliance


def _pool() -> ThreadPool:
    pool = ThreadPool(1)
    pool.parse = _parse
    return pool


def _parse(path: Path, mime: str) -> tuple[ParsedDocument, list[Chunk]]:
    if mime != "application/pdf":
        return parse(path, mime)
    document = parse_pdf(path, ocr="never")
    return document, line_chunks(document.text, document.pages)


def ingest(appliance: Appliance, user: str, path: Path, collection: str, *groups: str, **more: Any) -> list[Any]:
    """Ingest a file or folder as somebody; returns what was reported of files."""
    events: list[Any] = []
    request = IngestRequest((str(path),), collection=collection, groups=groups, **more)
    appliance.as_user(user).ingest(request, on_event=events.append)
    return [e for e in events if hasattr(e, "outcome")]


def _in_no_hurry(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA synchronous=OFF")
