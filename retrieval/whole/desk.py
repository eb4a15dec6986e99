"""What every task over whole documents works with: the documents opened, their sentences, their quotes, what was kept.

A document is read whole, chunk by chunk, and each sentence knows the chunk that it is cited from. What a task worked
out for a document is kept by the caller's `Kept`, so that work that was stopped goes on where it was. Must not search
the index, and must not see a chunk that was not released.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from retrieval.citations import PageLookup, PageReader
from retrieval.evidence import Evidence
from retrieval.sentences import split_sentences
from strongroom.errors import CancelledError, IntegrityError, NotFoundError
from strongroom.flags import touching
from strongroom.ports import ChatModel, Embedder, Entailment, Reader, Vector, Vectors
from strongroom.types import Citation, DocumentInfo, DocumentRef, Flag, StoredChunk
from strongroom.whole import WholeItem, WholeProgress

RECIPE = "1"  # part of what names kept work: another recipe does not use it
_NO_VECTOR = np.zeros(0, dtype=np.float32)


class Kept(Protocol):
    """Work that was done for a version of a document, by a name that says what and how. Gone with the document."""

    def get(self, version_id: str, name: str) -> str | None: ...
    def put(self, version_id: str, name: str, body: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Desk:
    """The parts that tasks share. `chunks` releases all chunks of a document to whoever asked, or raises
    `NotFoundError`; `llm` is there only where it writes well enough to be asked."""

    chunks: Callable[[str], Sequence[StoredChunk]]
    pages: PageLookup
    vectors: Callable[[Sequence[str]], Mapping[str, Vector]]
    embedder: Embedder
    reader: Reader
    llm: ChatModel | None
    kept: Kept
    nli: Entailment | None = None


@dataclass(frozen=True, slots=True)
class Passage:
    """A sentence at document offsets `[start, end)`, which lies in (and is cited from) `chunk`."""

    chunk: StoredChunk
    start: int
    end: int
    text: str

    @property
    def flags(self) -> tuple[Flag, ...]:
        """What was flagged in it when the document was read: words that nobody sees, or that talk to a machine."""
        return touching(self.chunk.flags, self.start, self.end)


class Opened:
    """One document, read whole. Serves one task on one thread."""

    def __init__(self, desk: Desk, info: DocumentInfo) -> None:
        self._desk = desk
        self.info = info
        self.ref = DocumentRef(info.id, info.name, info.path)
        self.chunks = tuple(desk.chunks(info.id))
        self.pages = PageReader(desk.pages)
        self._by_id = {chunk.id: chunk for chunk in self.chunks}

    @cached_property
    def passages(self) -> tuple[Passage, ...]:
        """Every sentence of every chunk once, in order, completed where a chunk's edge cuts it."""
        found: dict[int, Passage] = {}
        for chunk in self.chunks:
            base, window = self.pages.window(chunk)
            for span in split_sentences(window):
                start, end = base + span.start, base + span.end
                if end <= chunk.start or start >= chunk.end or not any(map(str.isalnum, window[span.start : span.end])):
                    continue
                before = found.get(start)
                if before is None or before.end < end:
                    found[start] = Passage(chunk, start, end, window[span.start : span.end])
        out: list[Passage] = []
        for passage in sorted(found.values(), key=lambda p: (p.start, -p.end)):
            if out and passage.start < out[-1].end:
                continue  # the end of a sentence that a window began in the middle of
            out.append(passage)
        return tuple(out)

    @cached_property
    def digest(self) -> str:
        """Of the words that were released."""
        words = [[c.id, c.text, *c.headings, *(f"{f.kind}{f.start}" for f in c.flags)] for c in self.chunks]
        return hashlib.sha256(json.dumps([self.info.name, words]).encode()).hexdigest()

    @cached_property
    def vectors(self) -> Vectors:
        """The chunks' unit vectors in order: those of the index, and new ones where it has none."""
        known = self._desk.vectors([chunk.id for chunk in self.chunks])
        missing = [chunk for chunk in self.chunks if chunk.id not in known]
        fresh = self._desk.embedder.embed_documents([chunk.text for chunk in missing])
        by_id = dict(known) | {chunk.id: vector for chunk, vector in zip(missing, fresh, strict=True)}
        rows = [by_id[chunk.id] for chunk in self.chunks]
        return np.stack(rows) if rows else np.zeros((0, self._desk.embedder.dimension), dtype=np.float32)

    def chunk(self, chunk_id: str) -> StoredChunk:
        """One of the document's chunks. Raises `NotFoundError` for work that was kept of other chunks."""
        if chunk_id not in self._by_id:
            raise NotFoundError(f"{self.info.name} was read again meanwhile", hint="Repeat the command.")
        return self._by_id[chunk_id]

    def cite(self, chunk_id: str, start: int, end: int, n: int = 1, *, score: float = 1.0) -> Citation:
        """A citation of document offsets `[start, end)`, read from the pages again."""
        chunk = self.chunk(chunk_id)
        base, window = self.pages.window(chunk)
        text = window[start - base : end - base]
        return self.pages.cite(Evidence(chunk, start, end, text, score, 0.0, 0.0, _NO_VECTOR), n)


@dataclass
class Work:
    """One run of a task: its clock, what it may still do, what it left out, what it had from before."""

    desk: Desk
    cancel: threading.Event | None
    unit: str
    total: int
    began: float = field(default_factory=time.monotonic)
    done: int = 0
    reused: int = 0
    items: int = 0
    left_out: list[tuple[str, str]] = field(default_factory=list)

    def go_on(self) -> None:
        """Raise `CancelledError` when the caller asked to stop. What was worked out so far is kept."""
        if self.cancel is not None and self.cancel.is_set():
            raise CancelledError("the work was cancelled", hint="Run it again: it goes on where it stopped.")

    def progress(self, current: str = "") -> WholeProgress:
        """Where the work stands."""
        seconds = round(time.monotonic() - self.began, 3)
        return WholeProgress(self.done, self.total, self.unit, seconds, current, self.reused)  # type: ignore[arg-type]

    def open(self, info: DocumentInfo) -> Opened | None:
        """The document; `None`, and a note of the reason, for one that can no longer be read."""
        try:
            return Opened(self.desk, info)
        except (NotFoundError, IntegrityError) as exc:
            self.left_out.append((info.name, str(exc)))
            return None

    def kept(self, opened: Opened, name: str, work: Callable[[], Any], *, again: bool = False) -> Any:
        """What `work` gave for this version of the document before, or gives now. JSON values only."""
        key = name_of(self.desk, opened, name)
        if not again:
            body = self.desk.kept.get(opened.info.version, key)
            if body is not None:
                self.reused += 1
                return json.loads(body)
        result = work()
        self.desk.kept.put(opened.info.version, key, json.dumps(result))
        return result


def name_of(desk: Desk, opened: Opened, name: str) -> str:
    """Names kept work by all that it depends on: recipe, models, what was asked, and the words that the asker may see.

    Two people from whom different words are withheld never share work.
    """
    models = [model.name for model in (desk.llm, desk.nli) if model is not None]
    parts = [RECIPE, desk.embedder.fingerprint, desk.reader.fingerprint, " ".join(models), name]
    return hashlib.sha256(json.dumps([*parts, opened.digest]).encode()).hexdigest()


def each_document(
    work: Work, documents: Sequence[DocumentInfo], do: Callable[[Opened], Iterator[WholeProgress | WholeItem]]
) -> Iterator[WholeProgress | WholeItem]:
    """Open the documents one after the other and yield what `do` makes of each, with progress before and after.

    Each counts for its share of the total. One that is deleted or replaced while it is read is left out.
    """
    share = work.total // max(1, len(documents))
    for index, info in enumerate(documents):
        work.go_on()
        yield work.progress(info.name)
        opened = work.open(info)
        if opened is not None:
            try:
                yield from do(opened)
            except (NotFoundError, IntegrityError) as exc:
                work.left_out.append((info.name, str(exc)))
        work.done = (index + 1) * share
    yield work.progress()
