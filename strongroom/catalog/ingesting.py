"""The catalogue's writing side: what ingest calls while a version is made, swapped in, replaced or given up."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, and_, delete, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from strongroom.access import group_principal
from strongroom.catalog import grants, walls
from strongroom.catalog.granting import named
from strongroom.catalog.holding import hold_on, refuse_if_held
from strongroom.catalog.learning import retire_readers
from strongroom.catalog.personal import PersonalMixin
from strongroom.catalog.records import Begun, Existing, PointSource
from strongroom.catalog.store import utc_now
from strongroom.catalog.tables import chunks, deletions, documents, pages, removals, versions
from strongroom.catalog.tables import grants as grants_table
from strongroom.crypto import Sealed
from strongroom.errors import NotFoundError
from strongroom.types import Chunk, DocumentState, ParsedDocument, SourceFile


class IngestingMixin(PersonalMixin):
    """Methods of `Catalog` for `ingest.pipeline`."""

    def find(self, collection_id: str, uri: str, *, sha256: str | None = None) -> Existing | None:
        """The newest version of the document at (collection, uri), whatever its state.

        With `sha256`, the version that answers questions is preferred when it has that content: a file put back to
        what it was, after a change that failed, needs no work.
        """
        here = (documents.c.collection_id == collection_id, documents.c.source_mac == self._source_mac(uri))
        with self.store.read() as conn:
            row = None
            if sha256 is not None:
                current = versions.c.id == documents.c.current_version_id
                same = versions.c.content_mac == self.vault.mac("content", sha256)
                row = conn.execute(select(versions).join(versions, current).where(*here, same)).first()
            if row is None:
                newest = versions.c.id == documents.c.newest_version_id
                row = conn.execute(select(versions).join(versions, newest).where(*here)).first()
        return None if row is None else self._existing(row.document_id, row)

    def begin(
        self,
        collection_id: str,
        file: SourceFile,
        *,
        sha256: str,
        mime: str,
        recipe: str,
        groups: Sequence[str] = (),
        stamp: str | None = None,
        parent: Begun | None = None,
    ) -> Begun:
        """Open a new version in state `pending`; an unfinished newest version is replaced, a finished one kept.

        The version id follows from document, content and recipe, so a resumed run makes the same ids again. With
        `parent` the document lies inside that one and gets its grants; raises `NotFoundError` when that was deleted
        meanwhile: deletion wins. Raises `HeldError` when other content would replace what a legal hold keeps, and
        `WallError` when the groups may not have it in common with those that read it already.
        """
        now = utc_now()
        with self.store.write() as conn:
            found = conn.execute(
                select(documents.c.id, documents.c.key_id, documents.c.current_version_id).where(
                    documents.c.collection_id == collection_id, documents.c.source_mac == self._source_mac(file.uri)
                )
            ).first()
            document_id, key_id = (
                (found.id, found.key_id) if found else self._new_document(conn, collection_id, file, now)
            )
            if found and found.current_version_id:
                self._refuse_to_replace(conn, document_id, collection_id, found.current_version_id, sha256)
            # keyed, so that nobody can tell from an id alone whether a certain file is stored
            version_id = str(uuid.uuid5(uuid.UUID(document_id), self.vault.mac("version", f"{sha256}:{recipe}").hex()))
            current = found.current_version_id if found else None
            self._drop_versions(conn, document_id, keep={current} if current and current != version_id else set())
            if current == version_id:  # only reached when a re-ingest was forced
                conn.execute(update(documents).where(documents.c.id == document_id).values(current_version_id=None))
            conn.execute(delete(removals).where(removals.c.version_id == version_id))
            conn.execute(
                insert(versions).values(
                    id=version_id,
                    document_id=document_id,
                    content_mac=self.vault.mac("content", sha256),
                    sha256=self.vault.seal_text(key_id, sha256, f"versions.sha256:{version_id}"),
                    recipe=recipe,
                    state=DocumentState.PENDING,
                    mime=mime,
                    size=file.size,
                    page_count=0,
                    chunk_count=0,
                    stamp=stamp,
                    created_at=now,
                )
            )
            conn.execute(
                update(documents)
                .where(documents.c.id == document_id)
                .values(newest_version_id=version_id, updated_at=now)
            )
            before = grants.document_principals(conn, document_id, collection_id)
            for group in groups:
                grants.add_grant(conn, group_principal(named(group)), "document", document_id)
            if parent is not None:
                self._place_inside(conn, document_id, parent)
            if grants.document_principals(conn, document_id, collection_id) != before:
                walls.refuse_grants(conn, (document_id,))
                if current is not None:  # the version that it replaces answers until then
                    grants.note_change(conn, "document", document_id)
        return Begun(document_id, version_id, collection_id)

    def store_parsed(
        self, begun: Begun, parsed: ParsedDocument, cut: Sequence[Chunk], *, members: Sequence[str] = ()
    ) -> list[PointSource]:
        """Write pages and chunks and move the version to `parsed`, in one transaction.

        `members` are the source URIs of what lies inside: documents that are known already go over to this version, so
        that making it the current one drops those that it no longer holds.
        Raises `NotFoundError` when the document was deleted meanwhile: deletion wins.
        """
        version_id = begun.version_id
        with self.store.write() as conn:
            row = self._version_row(conn, version_id)
            key_id = row.key_id
            conn.execute(delete(pages).where(pages.c.version_id == version_id))
            conn.execute(delete(chunks).where(chunks.c.version_id == version_id))
            if parsed.pages:
                conn.execute(
                    insert(pages), [self._page_values(key_id, version_id, parsed, i) for i in range(len(parsed.pages))]
                )
            if cut:
                conn.execute(insert(chunks), [self._chunk_values(key_id, version_id, chunk) for chunk in cut])
            if parsed.personal is not None:
                self._keep_personal(conn, key_id, version_id, parsed.personal, parsed.text)
            title: Sealed | None = None
            if parsed.title:
                title = self.vault.seal_text(key_id, parsed.title, f"versions.title:{version_id}")
            conn.execute(
                update(versions)
                .where(versions.c.id == version_id)
                .values(
                    state=DocumentState.PARSED,
                    reason=None,
                    title=title,
                    mime=parsed.mime,
                    page_count=len(parsed.pages),
                    chunk_count=len(cut),
                    member_count=len(parsed.members),
                )
            )
            for at in range(0, len(members), 500):
                macs = [self._source_mac(uri) for uri in members[at : at + 500]]
                held = and_(documents.c.parent_id == begun.document_id, documents.c.source_mac.in_(macs))
                conn.execute(update(documents).where(held).values(parent_version_id=version_id))
        name = self.vault.open_text(row.name, f"documents.name:{begun.document_id}")
        return [
            PointSource(
                chunk_id=self.chunk_id(version_id, chunk.ordinal),
                document_id=begun.document_id,
                version_id=version_id,
                collection_id=begun.collection_id,
                name=name,
                title=parsed.title,
                headings=chunk.headings,
                text=chunk.text,
                ordinal=chunk.ordinal,
            )
            for chunk in cut
        ]

    def adopt(self, document_id: str, parent: Begun) -> None:
        """Note that the document, which is unchanged, lies inside this version of its parent too."""
        with self.store.write() as conn:
            self._place_inside(conn, document_id, parent)

    def leave_out(self, parent: Begun) -> None:
        """Note that a member of this version is not taken, for good: its absence is no reason to parse it again."""
        with self.store.write() as conn:
            self._one_less(conn, parent.version_id)

    def inside(self, document_id: str) -> list[tuple[str, Existing]]:
        """`(source URI, newest version)` of every document inside this one, at any depth, by URI."""
        with self.store.read() as conn:
            ids = self._inside(conn, [document_id])
            rows = [
                row
                for at in range(0, len(ids), 500)
                for row in conn.execute(
                    select(documents.c.id, documents.c.source, documents.c.collection_id).where(
                        documents.c.id.in_(ids[at : at + 500])
                    )
                )
            ]
        opened = [(self.vault.open_text(r.source, f"documents.source:{r.id}"), r.collection_id) for r in rows]
        found = [(uri, self.find(collection_id, uri)) for uri, collection_id in sorted(opened)]
        return [(uri, known) for uri, known in found if known is not None]

    def mark_indexed(self, version_ids: Sequence[str], *, by: str = "ingest") -> list[tuple[str, str]]:
        """Make versions the current ones of their documents; what they replace goes on the removal list.

        Versions whose document was deleted meanwhile are passed over, and so are those that would replace what a legal
        hold keeps that was placed meanwhile: they wait until it is lifted. Documents that lay inside a replaced version
        and do not lie inside the new one are deleted; returns `(document id, source URI)` of these.
        """
        now = utc_now()
        dropped: list[tuple[str, str]] = []
        keys: list[str] = []
        with self.store.write() as conn:
            for version_id in version_ids:
                row = conn.execute(select(versions.c.document_id).where(versions.c.id == version_id)).first()
                if row is None or self._holds_another(conn, row.document_id, version_id):
                    continue
                self._drop_versions(conn, row.document_id, keep={version_id})
                conn.execute(update(versions).where(versions.c.id == version_id).values(state=DocumentState.INDEXED))
                conn.execute(
                    update(documents)
                    .where(documents.c.id == row.document_id)
                    .values(current_version_id=version_id, newest_version_id=version_id, updated_at=now)
                )
                gone = conn.execute(
                    select(documents.c.id, documents.c.source).where(
                        documents.c.parent_id == row.document_id, documents.c.parent_version_id != version_id
                    )
                ).all()
                for document_id, source in gone:
                    dropped.append((document_id, self.vault.open_text(source, f"documents.source:{document_id}")))
                    for inner in [document_id, *self._inside(conn, [document_id])]:
                        keys.append(self._delete_rows(conn, inner, by=by)[0])
        self.vault.keys.destroy(keys)
        return dropped

    def mark_failed(self, begun: Begun, state: DocumentState, reason: str) -> None:
        """Give a version up with a reason; an older indexed version stays current. Deletion wins."""
        with self.store.write() as conn:
            try:
                row = self._version_row(conn, begun.version_id)
            except NotFoundError:
                return
            sealed = self.vault.seal_text(row.key_id, reason, f"versions.reason:{begun.version_id}")
            conn.execute(update(versions).where(versions.c.id == begun.version_id).values(state=state, reason=sealed))

    def unindexed(self) -> list[str]:
        """Versions that were parsed but not yet indexed: what a crash left."""
        with self.store.read() as conn:
            query = (
                select(versions.c.id).where(versions.c.state == DocumentState.PARSED).order_by(versions.c.created_at)
            )
            return list(conn.execute(query).scalars())

    def indexed_versions(self) -> list[str]:
        """Versions that answer questions now."""
        with self.store.read() as conn:
            query = (
                select(versions.c.id)
                .join(documents, documents.c.current_version_id == versions.c.id)
                .where(versions.c.state == DocumentState.INDEXED)
                .order_by(versions.c.created_at, versions.c.id)
            )
            return list(conn.execute(query).scalars())

    def point_sources(self, version_id: str) -> list[PointSource]:
        """What is needed to embed a version again, from the catalogue alone."""
        with self.store.read() as conn:
            row = self._version_row(conn, version_id)
            rows = conn.execute(
                select(chunks.c.id, chunks.c.ordinal, chunks.c.text, chunks.c.headings)
                .where(chunks.c.version_id == version_id)
                .order_by(chunks.c.ordinal)
            ).all()
        name = self.vault.open_text(row.name, f"documents.name:{row.document_id}")
        title = row.title and self.vault.open_text(row.title, f"versions.title:{version_id}")
        return [
            PointSource(
                chunk_id=r.id,
                document_id=row.document_id,
                version_id=version_id,
                collection_id=row.collection_id,
                name=name,
                title=title,
                headings=tuple(self.vault.open_json(r.headings, f"chunks.headings:{r.id}")),
                text=self.vault.open_text(r.text, f"chunks.text:{r.id}"),
                ordinal=r.ordinal,
            )
            for r in rows
        ]

    def removals(self) -> list[str]:
        """Versions whose points must still leave the index."""
        with self.store.read() as conn:
            return list(conn.execute(select(removals.c.version_id)).scalars())

    def removals_done(self, version_ids: Sequence[str]) -> None:
        with self.store.write() as conn:
            for at in range(0, len(version_ids), 500):
                conn.execute(delete(removals).where(removals.c.version_id.in_(version_ids[at : at + 500])))

    def sources(self, collection_id: str) -> list[tuple[str, str]]:
        """`(document id, source URI)` of every document in a collection that is not inside another."""
        with self.store.read() as conn:
            rows = conn.execute(
                select(documents.c.id, documents.c.source).where(
                    documents.c.collection_id == collection_id, documents.c.parent_id.is_(None)
                )
            ).all()
        return [(r.id, self.vault.open_text(r.source, f"documents.source:{r.id}")) for r in rows]

    @staticmethod
    def chunk_id(version_id: str, ordinal: int) -> str:
        """Id of a chunk: the same for the same version and place, so that a resumed run repeats no point."""
        return str(uuid.uuid5(uuid.UUID(version_id), str(ordinal)))

    # -------------------------------------------------------------------------------------------- inside a transaction

    def _new_document(self, conn: Connection, collection_id: str, file: SourceFile, now: str) -> tuple[str, str]:
        document_id = str(uuid.uuid4())
        key_id = self.vault.keys.create()
        conn.execute(
            insert(documents).values(
                id=document_id,
                collection_id=collection_id,
                source_mac=self._source_mac(file.uri),
                source=self.vault.seal_text(key_id, file.uri, f"documents.source:{document_id}"),
                name=self.vault.seal_text(key_id, file.name, f"documents.name:{document_id}"),
                key_id=key_id,
                created_at=now,
                updated_at=now,
            )
        )
        return document_id, key_id

    def _existing(self, document_id: str, row: Row[Any]) -> Existing:
        return Existing(
            document_id=document_id,
            version_id=row.id,
            sha256=self.vault.open_text(row.sha256, f"versions.sha256:{row.id}"),
            state=DocumentState(row.state),
            recipe=row.recipe,
            reason=row.reason and self.vault.open_text(row.reason, f"versions.reason:{row.id}"),
            pages=row.page_count,
            chunks=row.chunk_count,
            members=row.member_count,
            stamp=row.stamp,
        )

    def _refuse_to_replace(
        self, conn: Connection, document_id: str, collection_id: str, current: str, sha256: str
    ) -> None:
        content = conn.execute(select(versions.c.content_mac).where(versions.c.id == current)).scalar()
        if content != self.vault.mac("content", sha256):
            refuse_if_held(conn, document_id, (collection_id, *self._inside(conn, [document_id])))

    def _holds_another(self, conn: Connection, document_id: str, version_id: str) -> bool:
        """True when a hold keeps other content than this version's as the document's current one."""
        document = conn.execute(
            select(documents.c.current_version_id, documents.c.collection_id).where(documents.c.id == document_id)
        ).one()
        contents = select(versions.c.content_mac).where(versions.c.id.in_((version_id, document.current_version_id)))
        if len(set(conn.execute(contents).scalars())) < 2:
            return False
        inside = self._inside(conn, [document_id])
        return hold_on(conn, (document_id, document.collection_id, *inside)) is not None

    def _place_inside(self, conn: Connection, document_id: str, parent: Begun) -> None:
        """Put a document inside a version of another and give it that one's grants."""
        held = conn.execute(select(versions.c.id).where(versions.c.id == parent.version_id)).first()
        if held is None:
            raise NotFoundError(
                f"version {parent.version_id} does not exist", hint="What held this document was deleted or replaced."
            )
        conn.execute(
            update(documents)
            .where(documents.c.id == document_id)
            .values(parent_id=parent.document_id, parent_version_id=parent.version_id)
        )
        given = conn.execute(select(grants_table).where(grants_table.c.resource_id == parent.document_id)).all()
        for row in given:
            grants.add_grant(conn, row.principal, "document", document_id, row.effect, right=row.right)

    def _one_less(self, conn: Connection, version_id: str | None) -> None:
        fewer = {"member_count": versions.c.member_count - 1}
        conn.execute(update(versions).where(versions.c.id == version_id).values(fewer))

    def _delete_rows(self, conn: Connection, document_id: str, *, by: str) -> tuple[str, dict[str, int]]:
        """Delete a document's rows and enter it in the ledger; returns its key, yet to be destroyed, and counts."""
        key_id = conn.execute(select(documents.c.key_id).where(documents.c.id == document_id)).scalar_one()
        ids = list(conn.execute(select(versions.c.id).where(versions.c.document_id == document_id)).scalars())
        destroyed = {"key": 1, "versions": len(ids), "pages": 0, "chunks": 0}
        for version_id in ids:
            destroyed["pages"] += conn.execute(delete(pages).where(pages.c.version_id == version_id)).rowcount
            destroyed["chunks"] += conn.execute(delete(chunks).where(chunks.c.version_id == version_id)).rowcount
            conn.execute(upsert(removals).values(version_id=version_id, at=utc_now()).on_conflict_do_nothing())
        conn.execute(delete(versions).where(versions.c.document_id == document_id))
        retire_readers(conn, document_id)
        conn.execute(delete(grants_table).where(grants_table.c.resource_id == document_id))
        conn.execute(delete(documents).where(documents.c.id == document_id))
        conn.execute(
            insert(deletions).values(
                document_id=document_id, key_id=key_id, at=utc_now(), by=by, destroyed=json.dumps(destroyed)
            )
        )
        return key_id, destroyed

    def _drop_versions(self, conn: Connection, document_id: str, keep: set[str]) -> None:
        """Delete the document's other versions and put them on the removal list."""
        ids = conn.execute(select(versions.c.id).where(versions.c.document_id == document_id)).scalars()
        for version_id in [i for i in ids if i not in keep]:
            conn.execute(upsert(removals).values(version_id=version_id, at=utc_now()).on_conflict_do_nothing())
            conn.execute(delete(versions).where(versions.c.id == version_id))

    def _version_row(self, conn: Connection, version_id: str) -> Row[tuple[object, ...]]:
        row = conn.execute(
            select(
                versions.c.id,
                versions.c.title,
                versions.c.state,
                documents.c.id.label("document_id"),
                documents.c.collection_id,
                documents.c.key_id,
                documents.c.name,
            )
            .join(documents, documents.c.id == versions.c.document_id)
            .where(versions.c.id == version_id)
        ).first()
        if row is None:
            raise NotFoundError(f"version {version_id} does not exist", hint="Its document was deleted or replaced.")
        return row  # type: ignore[return-value]

    def _page_values(self, key_id: str, version_id: str, parsed: ParsedDocument, i: int) -> dict[str, object]:
        page = parsed.pages[i]
        row = f"{version_id}/{page.index}"
        found = [[f.kind, f.start, f.end, f.detail] for f in parsed.flags if f.start < page.end and f.end > page.start]
        return {
            "version_id": version_id,
            "idx": page.index,
            "number": page.number,
            "kind": page.locator.kind,
            "label": self.vault.seal_text(key_id, page.locator.label, f"pages.label:{row}"),
            "start": page.start,
            "end": page.end,
            "width": page.width,
            "height": page.height,
            "ocr_confidence": page.ocr_confidence,
            "text": self.vault.seal_text(key_id, parsed.text[page.start : page.end], f"pages.text:{row}"),
            "layout": self.vault.seal_packed(key_id, page.layout, f"pages.layout:{row}"),
            "flags": self.vault.seal_json(key_id, found, f"pages.flags:{row}") if found else None,
        }

    def _chunk_values(self, key_id: str, version_id: str, chunk: Chunk) -> dict[str, object]:
        chunk_id = self.chunk_id(version_id, chunk.ordinal)
        touched = chunk.pages or (0,)
        return {
            "id": chunk_id,
            "version_id": version_id,
            "ordinal": chunk.ordinal,
            "start": chunk.start,
            "end": chunk.end,
            "page_first": min(touched),
            "page_last": max(touched),
            "text": self.vault.seal_text(key_id, chunk.text, f"chunks.text:{chunk_id}"),
            "headings": self.vault.seal_json(key_id, list(chunk.headings), f"chunks.headings:{chunk_id}"),
        }
