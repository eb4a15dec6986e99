"""The catalogue's part in keeping folders in step: equal content, moves, stamps, and what was deleted on purpose."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, Table, delete, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from strongroom.catalog.ingesting import IngestingMixin
from strongroom.catalog.records import Begun, PointSource, Twin
from strongroom.catalog.store import utc_now
from strongroom.catalog.tables import EncryptedText, chunks, documents, meta, pages, tombstones, versions
from strongroom.types import DocumentState, SourceFile

_REWORD = "reword:"
# What a copied version has of its own; every other column of `versions` follows from content and recipe.
_OWN = frozenset(
    {"id", "document_id", "content_mac", "sha256", "recipe", "state", "reason", "size", "stamp", "created_at"}
)


class KeepingMixin(IngestingMixin):
    """Methods of `Catalog` for `ingest.pipeline` beyond the making of one version."""

    def twins(self, collection_id: str, sha256: str) -> list[Twin]:
        """Versions of that content in the collection that are the current or the newest one of their document."""
        with self.store.read() as conn:
            rows = conn.execute(
                select(documents.c.source, documents.c.name, documents.c.parent_id, versions)
                .join(documents, documents.c.id == versions.c.document_id)
                .where(
                    documents.c.collection_id == collection_id,
                    versions.c.content_mac == self.vault.mac("content", sha256),
                    versions.c.id.in_((documents.c.current_version_id, documents.c.newest_version_id)),
                )
                .order_by(versions.c.created_at, versions.c.id)
            ).all()
        return [
            Twin(
                uri=self.vault.open_text(row.source, f"documents.source:{row.document_id}"),
                name=self.vault.open_text(row.name, f"documents.name:{row.document_id}"),
                mime=row.mime,
                existing=self._existing(row.document_id, row),
                inside=row.parent_id is not None,
            )
            for row in rows
        ]

    def copy_version(self, begun: Begun, donor_id: str) -> tuple[list[PointSource], list[str]] | None:
        """Give a version the pages and chunks of another one of equal content, sealed anew under its own key.

        Returns what `store_parsed` does and the donor's chunk ids in the same order, or `None` when the donor no longer
        answers questions. Moves the version to `parsed`. Raises `NotFoundError` when its document was deleted.
        """
        with self.store.write() as conn:
            own = self._version_row(conn, begun.version_id)
            donor = conn.execute(
                select(versions)
                .join(documents, documents.c.current_version_id == versions.c.id)
                .where(
                    versions.c.id == donor_id,
                    versions.c.state == DocumentState.INDEXED,
                    versions.c.member_count == 0,  # what lies inside is only to be had by parsing
                )
            ).first()
            if donor is None:
                return None
            mine, key_id = begun.version_id, str(own.key_id)
            conn.execute(delete(pages).where(pages.c.version_id == mine))
            conn.execute(delete(chunks).where(chunks.c.version_id == mine))
            for row in conn.execute(select(pages).where(pages.c.version_id == donor_id)):
                values = self._resealed(pages, row, key_id, f"{donor_id}/{row.idx}", f"{mine}/{row.idx}")
                conn.execute(insert(pages).values({**values, "version_id": mine}))
            donors = []
            query = select(chunks).where(chunks.c.version_id == donor_id).order_by(chunks.c.ordinal)
            for row in conn.execute(query).all():
                donors.append(row.id)
                chunk_id = self.chunk_id(mine, row.ordinal)
                values = self._resealed(chunks, row, key_id, row.id, chunk_id)
                conn.execute(insert(chunks).values({**values, "id": chunk_id, "version_id": mine}))
            self._copy_personal(conn, key_id, donor_id, mine)
            shared = self._resealed(versions, donor, key_id, donor_id, mine)
            conn.execute(
                update(versions)
                .where(versions.c.id == mine)
                .values(
                    {name: value for name, value in shared.items() if name not in _OWN}
                    | {"state": DocumentState.PARSED, "reason": None}
                )
            )
        return self.point_sources(mine), donors

    def move_documents(self, moves: Sequence[tuple[str, SourceFile]]) -> list[str]:
        """Give documents another source and name; ids, keys, versions and grants stay. Returns the ids that moved.

        What lies inside a document goes along. The points of one that has another name now are on record as stale
        until `reworded` takes them off.
        A document that is gone, and one whose new source another document has, stay as they are.
        """
        moved = []
        with self.store.write() as conn:
            for document_id, file in moves:
                row = conn.execute(select(documents).where(documents.c.id == document_id)).first()
                if row is None:
                    continue
                mac = self._source_mac(file.uri)
                taken = select(documents.c.id).where(
                    documents.c.collection_id == row.collection_id, documents.c.source_mac == mac
                )
                if conn.execute(taken).first() is not None:
                    continue
                conn.execute(
                    update(documents)
                    .where(documents.c.id == document_id)
                    .values(
                        source_mac=mac,
                        source=self.vault.seal_text(row.key_id, file.uri, f"documents.source:{document_id}"),
                        name=self.vault.seal_text(row.key_id, file.name, f"documents.name:{document_id}"),
                        updated_at=utc_now(),
                    )
                )
                moved.append(document_id)
                old_name = self.vault.open_text(row.name, f"documents.name:{document_id}")
                if old_name != file.name and row.current_version_id is not None:
                    reworded = {"key": _REWORD + row.current_version_id, "value": utc_now()}
                    conn.execute(upsert(meta).values(reworded).on_conflict_do_nothing())
                before = self.vault.open_text(row.source, f"documents.source:{document_id}")
                for inner_id in self._inside(conn, [document_id]):
                    inner = conn.execute(select(documents).where(documents.c.id == inner_id)).one()
                    place = f"documents.source:{inner_id}"
                    uri = file.uri + self.vault.open_text(inner.source, place).removeprefix(before)
                    conn.execute(
                        update(documents)
                        .where(documents.c.id == inner_id)
                        .values(source_mac=self._source_mac(uri), source=self.vault.seal_text(inner.key_id, uri, place))
                    )
        return moved

    def stale_points(self) -> list[str]:
        """Versions whose points may still go by a name that their document no longer has."""
        with self.store.read() as conn:
            keys = conn.execute(select(meta.c.key).where(meta.c.key.startswith(_REWORD))).scalars()
            return [key.removeprefix(_REWORD) for key in keys]

    def reworded(self, version_ids: Sequence[str]) -> None:
        """The points of these versions go by their document's name."""
        with self.store.write() as conn:
            for version_id in version_ids:
                conn.execute(delete(meta).where(meta.c.key == _REWORD + version_id))

    def current_version(self, document_id: str) -> str | None:
        """The version that answers questions, or `None`."""
        with self.store.read() as conn:
            query = (
                select(versions.c.id)
                .join(documents, documents.c.current_version_id == versions.c.id)
                .where(documents.c.id == document_id, versions.c.state == DocumentState.INDEXED)
            )
            return conn.execute(query).scalar()

    def note_stamps(self, stamps: Iterable[tuple[str, str]]) -> None:
        """Record `(version id, stamp)`: what the file of that content looks like now. Unknown versions are fine."""
        with self.store.write() as conn:
            for version_id, stamp in stamps:
                conn.execute(update(versions).where(versions.c.id == version_id).values(stamp=stamp))

    # ------------------------------------------------------------------------------------------------ tombstones

    def buried(self, collection_id: str, uri: str, sha256: str) -> str | None:
        """When this content was deleted on purpose, or `None`.

        It counts for the source that it was deleted from, and for any other source too unless a document of the
        collection still has this content: a file that is renamed after its deletion does not come back by that.
        """
        content = self.vault.mac("content", sha256)
        with self.store.read() as conn:
            rows = conn.execute(
                select(tombstones.c.source_mac, tombstones.c.at)
                .where(tombstones.c.collection_id == collection_id, tombstones.c.content_mac == content)
                .order_by(tombstones.c.at)
            ).all()
        if not rows:
            return None
        here = self._source_mac(uri)
        for row in rows:
            if row.source_mac == here:
                return str(row.at)
        return None if self.twins(collection_id, sha256) else str(rows[-1].at)

    def unbury(self, collection_id: str, sha256: str) -> None:
        """Forget that this content was deleted on purpose."""
        with self.store.write() as conn:
            conn.execute(
                delete(tombstones).where(
                    tombstones.c.collection_id == collection_id,
                    tombstones.c.content_mac == self.vault.mac("content", sha256),
                )
            )

    @staticmethod
    def _bury(conn: Connection, document_id: str) -> None:
        """Note that a document is deleted on purpose, inside the transaction that deletes it."""
        rows = conn.execute(
            select(documents.c.collection_id, documents.c.source_mac, versions.c.content_mac)
            .join(versions, versions.c.document_id == documents.c.id)
            .where(documents.c.id == document_id)
        ).all()
        for row in rows:
            values = {"collection_id": row[0], "source_mac": row[1], "content_mac": row[2], "at": utc_now()}
            conn.execute(upsert(tombstones).values(values).on_conflict_do_nothing())

    # -------------------------------------------------------------------------------------------- inside a transaction

    def _resealed(self, table: Table, row: object, key_id: str, old: str, new: str) -> dict[str, object]:
        """A row's values for another version: what is sealed is sealed anew under `key_id`, for the row named `new`."""
        values: dict[str, object] = {}
        for column in table.c:
            value = getattr(row, column.name)
            if isinstance(column.type, EncryptedText) and value is not None:
                place = f"{table.name}.{column.name}"
                value = self.vault.reseal(value, f"{place}:{old}", key_id, f"{place}:{new}")
            values[column.name] = value
        return values
