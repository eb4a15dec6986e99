"""What the catalogue says about one document beyond the list, and of the last ingest, for those who operate it."""

from __future__ import annotations

import base64
from collections import Counter
from datetime import datetime
from itertools import chain
from typing import Any, cast

from sqlalchemy import Row, select

from strongroom.access import AccessFilter
from strongroom.catalog import grants
from strongroom.catalog.personal import OPEN
from strongroom.catalog.reading import SHOWN_VERSION, ReadingMixin
from strongroom.catalog.tables import chunks, documents, pages, versions
from strongroom.crypto import CATALOGUE_KEY, Sealed
from strongroom.errors import NotFoundError
from strongroom.types import (
    DocumentDetail,
    DocumentRef,
    DocumentState,
    DocumentVersion,
    DoubtfulPage,
    IngestRun,
    Locator,
    PageFacts,
    StoredChunk,
)
from strongroom.wire import dumps, loads

_LAST_INGEST = "last_ingest"


class DetailMixin(ReadingMixin):
    """Methods of `Catalog` for the operator's views; what belongs to documents stays under an `AccessFilter`."""

    def details(self, document_id: str, access: AccessFilter) -> DocumentDetail:
        """One document with versions, pages' facts, parent and members. Raises `NotFoundError` as `document` does."""
        info, veil = self.document(document_id, access), self.veil(document_id, access)
        with self.store.read() as conn:
            current = conn.execute(
                select(documents.c.current_version_id).where(documents.c.id == document_id)
            ).scalar_one_or_none()
            made = conn.execute(
                select(versions).where(versions.c.document_id == document_id).order_by(versions.c.created_at)
            ).all()
            kept = conn.execute(
                select(pages.c.idx, pages.c.number, pages.c.kind, pages.c.label, pages.c.start, pages.c.end)
                .add_columns(pages.c.ocr_confidence, pages.c.flags)
                .where(pages.c.version_id == info.version)
                .order_by(pages.c.idx)
            ).all()
            spans = conn.execute(
                select(chunks.c.page_first, chunks.c.page_last).where(chunks.c.version_id == info.version)
            ).all()
        per_page = Counter(chain.from_iterable(range(s.page_first, s.page_last + 1) for s in spans))
        return DocumentDetail(
            document=info,
            versions=tuple(
                DocumentVersion(
                    id=v.id,
                    state=DocumentState(v.state),
                    mime=v.mime,
                    size=v.size,
                    pages=v.page_count,
                    chunks=v.chunk_count,
                    recipe=v.recipe,
                    reason=v.reason and self.vault.open_text(v.reason, f"versions.reason:{v.id}"),
                    added=datetime.fromisoformat(v.created_at),
                    current=v.id == current,
                )
                for v in made
            ),
            pages=tuple(
                PageFacts(
                    index=p.idx,
                    number=p.number,
                    locator=Locator(
                        p.kind, veil.words(self.vault.open_text(p.label, f"pages.label:{info.version}/{p.idx}"))
                    ),
                    characters=p.end - p.start,
                    chunks=per_page[p.idx],
                    ocr_confidence=p.ocr_confidence,
                    flags=self._flags(p.flags, f"{info.version}/{p.idx}", veil),
                )
                for p in kept
            ),
            parent=self._parent(info.parent, access),
            members=self._members_of(document_id, access),
        )

    def chunks_of(self, document_id: str, access: AccessFilter) -> list[StoredChunk]:
        """The chunks of the current version, in order. Raises `NotFoundError` as `document` does."""
        info = self.document(document_id, access)
        with self.store.read() as conn:
            ids = conn.execute(
                select(chunks.c.id).where(chunks.c.version_id == info.version).order_by(chunks.c.ordinal)
            ).scalars()
            found = list(ids)
        return self.release(found, access)

    def doubtful_pages(self, below: float, access: AccessFilter) -> list[DoubtfulPage]:
        """Pages of indexed documents that `access` may read, with an OCR confidence below `below`; worst first."""
        with self.store.read() as conn:
            rows = conn.execute(
                select(pages.c.version_id, pages.c.idx, pages.c.kind, pages.c.label, pages.c.ocr_confidence)
                .add_columns(documents.c.id, documents.c.collection_id, documents.c.name, documents.c.source)
                .join(documents, documents.c.current_version_id == pages.c.version_id)
                .where(pages.c.ocr_confidence < below)
                .order_by(pages.c.ocr_confidence, documents.c.id, pages.c.idx)
            ).all()
            access = grants.as_of_now(conn, access)
            principals = grants.principals_by_resource(conn, list({i for r in rows for i in (r.id, r.collection_id)}))
            veils = self._veils(conn, access, cast(list[Row[Any]], rows))
        found = []
        for row in rows:
            in_scope = access.in_scope(row.collection_id, row.id)
            if in_scope and access.may_read(*grants.merge(principals[row.id], principals[row.collection_id])):
                veil = veils.get(row.version_id, OPEN)
                label = self.vault.open_text(row.label, f"pages.label:{row.version_id}/{row.idx}")
                locator = Locator(row.kind, veil.words(label))
                found.append(DoubtfulPage(self._ref(row.id, row, veil), row.idx, locator, row.ocr_confidence))
        return found

    # ------------------------------------------------------------------------------------------------ runs

    def note_ingest(self, run: IngestRun) -> None:
        """Remember the last run. It names a collection, so it is sealed."""
        sealed = self.vault.seal_text(CATALOGUE_KEY, dumps(run).decode(), f"meta.{_LAST_INGEST}")
        self.set_meta(_LAST_INGEST, base64.b64encode(bytes(sealed)).decode("ascii"))

    def last_ingest(self) -> IngestRun | None:
        """The last run that ended, for those who administer."""
        kept = self.get_meta(_LAST_INGEST)
        if kept is None:
            return None
        return loads(IngestRun, self.vault.open_text(Sealed(base64.b64decode(kept)), f"meta.{_LAST_INGEST}").encode())

    # ------------------------------------------------------------------------------------------------

    def _parent(self, document_id: str | None, access: AccessFilter) -> DocumentRef | None:
        if document_id is None:
            return None
        try:
            found = self.document(document_id, access)
        except NotFoundError:  # it may be hidden from this reader
            return None
        return DocumentRef(found.id, found.name, found.path)

    def _members_of(self, document_id: str, access: AccessFilter) -> tuple[DocumentRef, ...]:
        with self.store.read() as conn:
            rows = conn.execute(
                select(documents.c.id, documents.c.collection_id, documents.c.name, documents.c.source)
                .add_columns(SHOWN_VERSION.label("version_id"))
                .where(documents.c.parent_id == document_id)
            ).all()
            access = grants.as_of_now(conn, access)
            principals = grants.principals_by_resource(conn, list({i for r in rows for i in (r.id, r.collection_id)}))
            veils = self._veils(conn, access, cast(list[Row[Any]], rows))
        readable = [
            self._ref(r.id, r, veils.get(r.version_id, OPEN))
            for r in rows
            if access.may_read(*grants.merge(principals[r.id], principals[r.collection_id]))
        ]
        return tuple(sorted(readable, key=lambda ref: ref.path))
