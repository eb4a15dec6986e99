"""Small documents with pages and word boxes, and a search over them, for tests of the answering path."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from retrieval import lexical
from retrieval.search import ScoredChunk
from strongroom.access import AccessFilter
from strongroom.errors import NotFoundError
from strongroom.layout import pack_words
from strongroom.types import DocumentRef, Flag, Locator, Message, PageView, StoredChunk
from tests.fakes import FakeEmbedder

ACCESS = AccessFilter(frozenset({"user:local"}))


@dataclass(frozen=True)
class Shelf:
    """Documents as lists of page texts. Every page is one chunk unless `chunk_chars` cuts smaller."""

    documents: dict[str, list[str]]
    chunk_chars: int | None = None
    gap: str = ""  # white space between pages that belongs to neither
    flags: dict[str, tuple[Flag, ...]] = field(default_factory=dict)  # by document

    def page(self, document_id: str, version_id: str, index: int) -> PageView:
        """What a catalogue would return; raises `NotFoundError` for what is not there."""
        if document_id not in self.documents or version_id != "v1":
            raise NotFoundError("no such page")
        texts = self.documents[document_id]
        start = sum(len(t) + len(self.gap) for t in texts[:index])
        text = texts[index]
        layout = pack_words(
            (start + m.start(), start + m.end(), 10.0 + m.start(), 20.0, 10.0 + m.end(), 32.0)
            for m in re.finditer(r"\S+", text)
        )
        ref = DocumentRef(document_id, f"{document_id}.pdf", f"file:///{document_id}.pdf")
        place = Locator("page", str(index + 1))
        end = start + len(text)
        return PageView(
            ref, "v1", index, len(texts), index + 1, place, start, end, text, 595.0, 842.0, layout, "application/pdf"
        )

    def text(self, document_id: str) -> str:
        return self.gap.join(self.documents[document_id])

    def chunks(self) -> list[StoredChunk]:
        """All chunks of all documents; with `chunk_chars`, equal pieces that ignore sentences and pages."""
        out = []
        for name, texts in self.documents.items():
            whole = self.text(name)
            pages = [self.page(name, "v1", i) for i in range(len(texts))]
            size = self.chunk_chars
            bounds = (
                [(p.start, p.end) for p in pages]
                if size is None
                else [(i, min(i + size, len(whole))) for i in range(0, len(whole), size)]
            )
            for ordinal, (start, end) in enumerate(bounds):
                touched = tuple(p.index for p in pages if p.start < end and start < p.end)
                out.append(
                    StoredChunk(
                        id=f"{name}-{ordinal}",
                        document=pages[0].document,
                        version_id="v1",
                        ordinal=ordinal,
                        start=start,
                        end=end,
                        text=whole[start:end],
                        flags=self.flags.get(name, ()),
                        headings=(),
                        pages=touched,
                        page_numbers=tuple(i + 1 for i in touched),
                        locator=pages[touched[0]].locator,
                    )
                )
        return out


class ShelfSearch:
    """Ranks a shelf's chunks by cosine and shared words. `questions` holds what was searched for."""

    def __init__(self, shelf: Shelf, embedder: FakeEmbedder) -> None:
        self._chunks, self._embedder = shelf.chunks(), embedder
        self.questions: list[str] = []

    def search(
        self, question: str, *, access: AccessFilter, k: int, history: Sequence[Message] = ()
    ) -> tuple[list[ScoredChunk], dict[str, float]]:
        self.questions.append(question)
        vector, asked = self._embedder.embed_query(question), set(lexical.terms(question))
        found = []
        for chunk in self._chunks:
            dense = float(self._embedder.embed_query(chunk.text) @ vector)
            shared = float(len(asked & set(lexical.terms(chunk.text))))
            found.append(ScoredChunk(chunk, dense + shared, dense, shared))
        found.sort(key=lambda s: (-s.score, s.chunk.id))
        return found[:k], {"total": 0.1}
