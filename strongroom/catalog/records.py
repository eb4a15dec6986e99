"""Values that the catalogue hands out to the ingest side. What retrieval gets lives in `strongroom.types`."""

from __future__ import annotations

from dataclasses import dataclass

from strongroom.types import DocumentState


@dataclass(frozen=True, slots=True)
class Collection:
    """A collection, by id and name."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Existing:
    """The newest version of a document, as ingest needs it to decide whether there is work."""

    document_id: str
    version_id: str
    sha256: str
    state: DocumentState
    recipe: str
    reason: str | None
    pages: int
    chunks: int
    members: int = 0  # documents directly inside it
    stamp: str | None = None  # what its file looked like when the hash was taken


@dataclass(frozen=True, slots=True)
class Twin:
    """A version whose content a file has, and the document's source: it may have moved, or have been copied."""

    uri: str
    name: str
    mime: str
    existing: Existing
    inside: bool = False  # it lies inside another document: there is no file of its own that could have moved


@dataclass(frozen=True, slots=True)
class Begun:
    """A version that is being made."""

    document_id: str
    version_id: str
    collection_id: str


@dataclass(frozen=True, slots=True)
class PointSource:
    """All that (re)making a chunk's index point needs."""

    chunk_id: str
    document_id: str
    version_id: str
    collection_id: str
    name: str
    title: str | None
    headings: tuple[str, ...]
    text: str
    ordinal: int
