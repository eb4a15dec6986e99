"""The catalogue's reading side: what retrieval and front ends get, always under an `AccessFilter`.

The index only narrows. Whatever it proposes is released here, after a check of version, state and grants as they
are now.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, bindparam, func, select, text

from strongroom.access import AccessFilter
from strongroom.catalog import grants
from strongroom.catalog.personal import OPEN, PersonalMixin, Veil, kinds_of
from strongroom.catalog.tables import chunks, collections, documents, pages, personal, versions
from strongroom.crypto import Sealed
from strongroom.errors import NotFoundError
from strongroom.types import DocumentInfo, DocumentRef, DocumentState, Flag, Locator, PageView, StoredChunk

_BATCH = 500
REFUSAL = 0.003  # seconds that a refusal takes, whatever it had to look at


class ReadingMixin(PersonalMixin):
    """Methods of `Catalog` for `retrieval` and the front ends."""

    def access_for(self, user: str, collection: str | None = None) -> AccessFilter:
        """The filter of a user, over one collection or all. An unknown user reads nothing.

        Raises `NotFoundError` for a collection that does not exist or holds nothing the user may read: both look alike.
        """
        began = time.monotonic()
        with self.store.read() as conn:
            access = replace(grants.reader(conn, user), withheld=self._withheld_from(conn, user))
            if collection is None:
                return access
            collection_id = conn.execute(
                select(collections.c.id).where(collections.c.name_mac == self.vault.mac("collection", collection))
            ).scalar()
            readable = self._reads_something(conn, collection_id or "", access)
        if not readable:
            _wait_out(began)
            raise NotFoundError(
                f"collection {collection!r} does not exist", hint="`strongroom collections` lists them."
            )
        return replace(access, collections=frozenset({str(collection_id)}))

    def release(self, chunk_ids: Sequence[str], access: AccessFilter) -> list[StoredChunk]:
        """The chunks among `chunk_ids` that `access` may read now, in the order given.

        A chunk is released only when its version is the current, indexed one of its document and the document's grants,
        read in the same snapshot, allow it.
        """
        if not access.principals or not chunk_ids:
            return []
        with self.store.read() as conn:
            rows: list[Row[Any]] = []
            touched: dict[str, list[Row[Any]]] = defaultdict(list)
            for at in range(0, len(chunk_ids), _BATCH):
                batch = chunks.c.id.in_(chunk_ids[at : at + _BATCH])
                rows += conn.execute(_CHUNK_QUERY.where(batch)).all()
                for page in conn.execute(_TOUCHED_PAGES_QUERY.where(batch)):
                    touched[page.chunk_id].append(page)
            access = grants.as_of_now(conn, access)
            principals = grants.principals_by_resource(
                conn, [i for row in rows for i in (row.document_id, row.collection_id)]
            )
            veils = self._veils(conn, access, rows)
        found: dict[str, StoredChunk] = {}
        refs: dict[str, DocumentRef] = {}  # hits share documents: each name is opened once
        for row in rows:
            allow, deny = grants.merge(principals[row.document_id], principals[row.collection_id])
            in_scope = access.in_scope(row.collection_id, row.document_id)
            if in_scope and access.may_read(allow, deny):
                veil = veils.get(row.version_id, OPEN)
                if row.document_id not in refs:
                    refs[row.document_id] = self._ref(row.document_id, row, veil)
                found[row.id] = self._stored_chunk(row, touched[row.id], refs[row.document_id], veil)
        return [found[i] for i in chunk_ids if i in found]

    def documents(self, access: AccessFilter) -> list[DocumentInfo]:
        """Every document that `access` may read, by name."""
        with self.store.read() as conn:
            access = grants.as_of_now(conn, access)
            rows = conn.execute(_DOCUMENT_QUERY).all()
            names = {r.id: r.name for r in conn.execute(select(collections.c.id, collections.c.name))}
            principals = grants.principals_by_resource(conn, [*names, *(r.id for r in rows)])
            veils = self._veils(conn, access, rows)
        opened = {i: self.vault.open_text(name, f"collections.name:{i}") for i, name in names.items()}
        shown = []
        for row in rows:
            allow, deny = grants.merge(principals[row.id], principals[row.collection_id])
            in_scope = access.in_scope(row.collection_id, row.id)
            if in_scope and access.may_read(allow, deny):
                veil = veils.get(row.version_id, OPEN)
                shown.append(self._document_info(row, opened[row.collection_id], veil))
        return sorted(shown, key=lambda d: (d.name.casefold(), d.path))

    def document(self, document_id: str, access: AccessFilter) -> DocumentInfo:
        """One document. Raises `NotFoundError` for unknown and for unreadable ones alike."""
        row, collection_name = self._readable_row(document_id, access)
        return self._document_info(row, collection_name, self._veil_of(row, access))

    def page(self, document_id: str, index: int, access: AccessFilter) -> PageView:
        """Page `index` (0-based) of the current version. Raises `NotFoundError` as `document` does."""
        row, _ = self._readable_row(document_id, access)
        return self._page(row, index, access)

    def cited_page(self, version_id: str, index: int, access: AccessFilter) -> PageView:
        """Page of a version whose chunk was released to `access` a moment ago, for making a citation of it."""
        with self.store.read() as conn:
            row = conn.execute(_DOCUMENT_QUERY.where(versions.c.id == version_id)).first()
        if row is None:
            raise NotFoundError("the document was deleted or replaced while it was read", hint="Ask again.")
        return self._page(row, index, access)

    def veil(self, document_id: str, access: AccessFilter) -> Veil:
        """What is withheld from `access` of the version shown. Raises `NotFoundError` as `document` does."""
        row, _ = self._readable_row(document_id, access)
        return self._veil_of(row, access)

    def counts(self) -> tuple[dict[str, int], dict[str, int], int]:
        """Documents by collection name, documents by state, and chunks that answer questions."""
        with self.store.read() as conn:
            names = {r.id: r.name for r in conn.execute(select(collections.c.id, collections.c.name))}
            per = conn.execute(
                select(documents.c.collection_id, func.count()).group_by(documents.c.collection_id)
            ).all()
            states = conn.execute(
                select(versions.c.state, func.count())
                .join(documents, versions.c.id == SHOWN_VERSION)
                .group_by(versions.c.state)
            ).all()
            total = conn.execute(
                select(func.coalesce(func.sum(versions.c.chunk_count), 0)).join(
                    documents, documents.c.current_version_id == versions.c.id
                )
            ).scalar_one()
        by_id = dict.fromkeys(names, 0) | {row[0]: row[1] for row in per}
        by_name = {self.vault.open_text(names[i], f"collections.name:{i}"): n for i, n in by_id.items()}
        return by_name, {row[0]: row[1] for row in states}, int(total)

    # ------------------------------------------------------------------------------------------------

    def _reads_something(self, conn: Connection, collection_id: str, access: AccessFilter) -> bool:
        """Whether the collection or a document in it can be read. Looks at the reader's own grants only, so that a
        collection that is hidden takes as long as one that does not exist."""
        own = grants.principals_by_resource(conn, [collection_id])[collection_id]
        if access.may_read(*own):
            return True
        granted = {"principals": list(access.principals), "collection": collection_id}
        ids = list(conn.execute(_GRANTED_DOCUMENTS, granted).scalars())
        per = grants.principals_by_resource(conn, ids)
        return any(access.may_read(*grants.merge(p, own)) for p in per.values())

    def _readable_row(self, document_id: str, access: AccessFilter) -> tuple[Row[Any], str]:
        began = time.monotonic()
        with self.store.read() as conn:
            # the same steps for a document that is hidden and for one that never was: no clock tells them apart
            place = conn.execute(select(documents.c.collection_id).where(documents.c.id == document_id)).scalar()
            now = grants.as_of_now(conn, access)
            readable = now.may_read(*grants.document_principals(conn, document_id, place or document_id))
            row = conn.execute(_DOCUMENT_QUERY.where(documents.c.id == document_id)).first() if readable else None
            name = conn.execute(select(collections.c.name).where(collections.c.id == place)).scalar()
        if row is None or name is None:
            _wait_out(began)
            raise NotFoundError(
                f"document {document_id} does not exist", hint="`strongroom documents list` lists them."
            )
        return row, self.vault.open_text(name, f"collections.name:{place}")

    def _veil_of(self, row: Row[Any], access: AccessFilter) -> Veil:
        with self.store.read() as conn:
            return self._veils(conn, access, [row]).get(row.version_id, OPEN)

    def _page(self, row: Row[Any], index: int, access: AccessFilter) -> PageView:
        veil = self._veil_of(row, access)
        with self.store.read() as conn:
            page = conn.execute(select(pages).where(pages.c.version_id == row.version_id, pages.c.idx == index)).first()
        if page is None:
            raise NotFoundError(
                f"document {row.id} has no page at position {index + 1}", hint=f"It has {row.page_count} pages."
            )
        key = f"{row.version_id}/{index}"
        return PageView(
            document=self._ref(row.id, row, veil),
            version_id=row.version_id,
            index=index,
            count=row.page_count,
            number=page.number,
            locator=Locator(page.kind, veil.words(self.vault.open_text(page.label, f"pages.label:{key}"))),
            start=page.start,
            end=page.end,
            text=veil.text(self.vault.open_text(page.text, f"pages.text:{key}"), page.start),
            width=page.width,
            height=page.height,
            layout=self.vault.open_packed(page.layout, f"pages.layout:{key}"),
            mime=row.mime,
            ocr_confidence=page.ocr_confidence,
            flags=self._flags(page.flags, key, veil),
            withheld=veil.within(page.start, page.end),
        )

    def _flags(self, sealed: Sealed | None, key: str, veil: Veil) -> tuple[Flag, ...]:
        """Flags of the page `version/index`; what they say of it may hold its words."""
        if sealed is None:
            return ()
        kept = (Flag(*row) for row in self.vault.open_json(sealed, f"pages.flags:{key}"))
        return tuple(replace(flag, detail=veil.words(flag.detail)) for flag in kept)

    def _stored_chunk(
        self, row: Row[Any], touched: Sequence[Row[Any]], document: DocumentRef, veil: Veil
    ) -> StoredChunk:
        first = touched[0]
        flags = [f for p in touched for f in self._flags(p.flags, f"{row.version_id}/{p.idx}", veil)]
        label = self.vault.open_text(first.label, f"pages.label:{row.version_id}/{first.idx}")
        return StoredChunk(
            id=row.id,
            document=document,
            version_id=row.version_id,
            ordinal=row.ordinal,
            start=row.start,
            end=row.end,
            text=veil.text(self.vault.open_text(row.text, f"chunks.text:{row.id}"), row.start),
            headings=tuple(map(veil.words, self.vault.open_json(row.headings, f"chunks.headings:{row.id}"))),
            pages=tuple(range(row.page_first, row.page_last + 1)),
            page_numbers=tuple(p.number for p in touched if p.number is not None),
            locator=Locator(first.kind, veil.words(label)),
            flags=tuple(dict.fromkeys(flags)),
        )

    def _ref(self, document_id: str, row: Row[Any], veil: Veil) -> DocumentRef:
        return DocumentRef(
            id=document_id,
            name=veil.words(self.vault.open_text(row.name, f"documents.name:{document_id}")),
            path=veil.words(self.vault.open_text(row.source, f"documents.source:{document_id}")),
        )

    def _document_info(self, row: Row[Any], collection: str, veil: Veil) -> DocumentInfo:
        ref = self._ref(row.id, row, veil)
        return DocumentInfo(
            id=ref.id,
            name=ref.name,
            path=ref.path,
            collection=collection,
            state=DocumentState(row.state),
            mime=row.mime,
            size=row.size,
            pages=row.page_count,
            chunks=row.chunk_count,
            reason=row.reason and self.vault.open_text(row.reason, f"versions.reason:{row.version_id}"),
            added=datetime.fromisoformat(row.created_at),
            updated=datetime.fromisoformat(row.updated_at),
            version=row.version_id,
            parent=row.parent_id,
            personal=kinds_of(row.personal_counts),
        )


# CROSS JOIN fixes the order: from the reader's grants to documents, whatever the collection holds.
_GRANTED_DOCUMENTS = text(
    "SELECT d.id FROM grants g CROSS JOIN documents d ON d.id = g.resource_id "
    "WHERE g.principal IN :principals AND g.effect = 'allow' AND d.collection_id = :collection"
).bindparams(bindparam("principals", expanding=True))

_CHUNK_QUERY: Select[Any] = (
    select(
        chunks,
        documents.c.id.label("document_id"),
        documents.c.collection_id,
        documents.c.name,
        documents.c.source,
    )
    .join(versions, versions.c.id == chunks.c.version_id)
    .join(documents, documents.c.current_version_id == versions.c.id)
    .where(versions.c.state == DocumentState.INDEXED)
)

_TOUCHED_PAGES_QUERY: Select[Any] = (
    select(chunks.c.id.label("chunk_id"), pages.c.idx, pages.c.number, pages.c.kind, pages.c.label, pages.c.flags)
    .join(
        pages,
        and_(pages.c.version_id == chunks.c.version_id, pages.c.idx.between(chunks.c.page_first, chunks.c.page_last)),
    )
    .order_by(pages.c.idx)
)

# The version shown is the one that answers questions; before the first is whole, the one being made.
SHOWN_VERSION = func.coalesce(documents.c.current_version_id, documents.c.newest_version_id)

_DOCUMENT_QUERY: Select[Any] = (
    select(
        documents.c.id,
        documents.c.collection_id,
        documents.c.name,
        documents.c.source,
        documents.c.created_at,
        documents.c.updated_at,
        documents.c.parent_id,
        versions.c.id.label("version_id"),
        versions.c.state,
        versions.c.mime,
        versions.c.size,
        versions.c.page_count,
        versions.c.chunk_count,
        versions.c.reason,
        personal.c.counts.label("personal_counts"),
    )
    .join(versions, versions.c.id == SHOWN_VERSION)
    .outerjoin(personal, personal.c.version_id == versions.c.id)
)


def _wait_out(began: float) -> None:
    """Let every refusal end at the same moment: the rows of a hidden thing take microseconds more than none."""
    time.sleep(max(0.0, began + REFUSAL - time.monotonic()))
