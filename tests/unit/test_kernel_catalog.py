"""The catalogue: states, swaps, release under access, deletion, and no word of a document on disk in the clear."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import insert

from strongroom.access import LOCAL_USER, NOBODY, AccessFilter
from strongroom.blobs import BlobStore
from strongroom.catalog import Begun, Catalog, Collection, Store, grants
from strongroom.catalog.store import HEAD
from strongroom.catalog.tables import collections as collections_table
from strongroom.crypto import KeyStore, Vault
from strongroom.errors import IntegrityError, NotFoundError
from strongroom.types import Chunk, DocumentState, Locator, Page, ParsedDocument, SourceFile

TEXT = "Zanzibar holds the tender.\nQuokka pays it back."
SECRETS = (b"Zanzibar", b"Quokka", b"Platypus", b"axolotl", b"Narwhal", b"Wombat")


@dataclass
class Room:
    catalog: Catalog
    blobs: BlobStore
    keys: KeyStore
    folder: Path
    collection: Collection

    def add(self, uri: str = "file:///axolotl.pdf", sha256: str = "aa", *, index: bool = True) -> Begun:
        file = SourceFile(str(self.folder / "x"), uri, uri.rsplit("/", 1)[1], 3)
        begun = self.catalog.begin(self.collection.id, file, sha256=sha256, mime="application/pdf", recipe="r1")
        self.catalog.store_parsed(begun, parsed(), cut())
        if index:
            self.catalog.mark_indexed([begun.version_id])
        return begun

    def ids(self, begun: Begun) -> list[str]:
        return [source.chunk_id for source in self.catalog.point_sources(begun.version_id)]

    def me(self) -> AccessFilter:
        return self.catalog.access_for(LOCAL_USER)


def parsed() -> ParsedDocument:
    pages = (Page(0, 1, Locator("page", "1"), 0, 26, 612, 792), Page(1, 2, Locator("page", "Platypus"), 27, len(TEXT)))
    return ParsedDocument(TEXT, pages, "application/pdf", title="Narwhal")


def cut() -> list[Chunk]:
    return [Chunk(0, 0, 26, TEXT[:26], ("Wombat",), (0,)), Chunk(1, 27, len(TEXT), TEXT[27:], (), (1,))]


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    keys = KeyStore(tmp_path / "keys")
    catalog = Catalog(Store(tmp_path / "catalog.sqlite"), Vault(keys))
    catalog.ensure_user(LOCAL_USER, "admin")
    blobs = BlobStore(tmp_path / "blobs", keys, catalog.key_of)
    yield Room(catalog, blobs, keys, tmp_path, catalog.ensure_collection("default"))
    catalog.close()
    keys.close()


def test_a_version_answers_only_once_it_is_indexed(room: Room) -> None:
    begun = room.add(index=False)
    assert room.catalog.release(room.ids(begun), room.me()) == []
    assert room.catalog.unindexed() == [begun.version_id]
    room.catalog.mark_indexed([begun.version_id])
    first, second = room.catalog.release(room.ids(begun), room.me())
    assert (first.text, first.headings, first.page_numbers) == (TEXT[:26], ("Wombat",), (1,))
    assert (second.page_numbers, second.locator.label) == ((2,), "Platypus")
    assert first.document.name == "axolotl.pdf"


def test_release_keeps_the_order_asked_for_and_drops_what_is_unknown(room: Room) -> None:
    ids = room.ids(room.add())
    released = room.catalog.release([ids[1], "unknown", ids[0]], room.me())
    assert [c.id for c in released] == [ids[1], ids[0]]


def test_a_new_version_replaces_the_old_one_at_once_and_only_when_whole(room: Room) -> None:
    # GIVEN a version that answers, and its successor being made
    old = room.add(sha256="aa")
    old_ids = room.ids(old)
    new = room.add(sha256="bb", index=False)
    assert len(room.catalog.release(old_ids, room.me())) == 2
    # WHEN the successor is whole
    new_ids = room.ids(new)
    room.catalog.mark_indexed([new.version_id])
    # THEN only it answers, and the old points are listed for removal
    assert room.catalog.release(old_ids, room.me()) == []
    assert len(room.catalog.release(new_ids, room.me())) == 2
    assert new.document_id == old.document_id
    assert room.catalog.removals() == [old.version_id]
    room.catalog.removals_done([old.version_id])
    assert room.catalog.removals() == []


def test_a_failed_new_version_leaves_the_old_one_answering(room: Room) -> None:
    old = room.add(sha256="aa")
    new = room.add(sha256="bb", index=False)
    room.catalog.mark_failed(new, DocumentState.QUARANTINED, "password protected")
    assert len(room.catalog.release(room.ids(old), room.me())) == 2
    found = room.catalog.find(room.collection.id, "file:///axolotl.pdf")
    assert found is not None
    assert (found.state, found.reason, found.sha256) == (DocumentState.QUARANTINED, "password protected", "bb")


def test_a_resumed_version_makes_the_same_ids(room: Room) -> None:
    first = room.add(index=False)
    ids = room.ids(first)
    again = room.add(index=False)
    assert (again.version_id, room.ids(again)) == (first.version_id, ids)
    assert room.catalog.removals() == []


def test_the_same_bytes_in_two_places_stay_two_documents_with_two_keys(room: Room) -> None:
    a, b = room.add("file:///a.pdf"), room.add("file:///b.pdf")
    assert a.document_id != b.document_id
    assert room.catalog.key_of(a.document_id) != room.catalog.key_of(b.document_id)
    room.catalog.delete_document(a.document_id, by="local")
    assert len(room.catalog.release(room.ids(b), room.me())) == 2


# ------------------------------------------------------------------------------------------------ access


def test_nobody_and_unknown_users_read_nothing(room: Room) -> None:
    begun = room.add()
    for access in (NOBODY, room.catalog.access_for("mallory")):
        assert room.catalog.release(room.ids(begun), access) == []
        assert room.catalog.documents(access) == []
        with pytest.raises(NotFoundError):
            room.catalog.document(begun.document_id, access)
        with pytest.raises(NotFoundError):
            room.catalog.page(begun.document_id, 0, access)


def test_an_unreadable_document_looks_like_one_that_does_not_exist(room: Room) -> None:
    begun = room.add()
    stranger = room.catalog.access_for("mallory")
    with pytest.raises(NotFoundError) as hidden:
        room.catalog.document(begun.document_id, stranger)
    with pytest.raises(NotFoundError) as unknown:
        room.catalog.document("0" * 36, stranger)
    assert str(hidden.value).replace(begun.document_id, "ID") == str(unknown.value).replace("0" * 36, "ID")
    with pytest.raises(NotFoundError) as collection:
        room.catalog.access_for("mallory", "default")
    with pytest.raises(NotFoundError) as no_collection:
        room.catalog.access_for("mallory", "nonsuch")
    assert str(collection.value).replace("default", "X") == str(no_collection.value).replace("nonsuch", "X")


def test_a_denial_counts_from_its_commit_and_beats_every_grant(room: Room) -> None:
    begun = room.add()
    me = room.me()
    (principal,) = me.principals
    with room.catalog.store.write() as conn:
        grants.add_grant(conn, principal, "document", begun.document_id, "deny")
    assert room.catalog.release(room.ids(begun), me) == []
    assert room.catalog.documents(me) == []


def test_a_group_named_at_ingest_may_read(room: Room) -> None:
    file = SourceFile("x", "file:///g.pdf", "g.pdf", 3)
    begun = room.catalog.begin(room.collection.id, file, sha256="cc", mime="a/b", recipe="r1", groups=("auditors",))
    assert "group:auditors" in room.catalog.principals_of([begun.document_id])[begun.document_id][0]
    room.catalog.store_parsed(begun, parsed(), cut())
    room.catalog.mark_indexed([begun.version_id])
    room.catalog.ensure_user("ada", "viewer", groups=("auditors",))
    assert len(room.catalog.release(room.ids(begun), room.catalog.access_for("ada"))) == 2


def test_a_collection_filter_releases_nothing_of_another_collection(room: Room) -> None:
    begun = room.add()
    room.catalog.ensure_collection("other")
    assert room.catalog.release(room.ids(begun), room.catalog.access_for(LOCAL_USER, "other")) == []


# ------------------------------------------------------------------------------------------------ deletion, encryption


def test_no_word_of_a_document_stands_on_disk_in_the_clear(room: Room) -> None:
    # GIVEN a document with secret words in every text column, and one that failed with such a reason
    (room.folder / "x").write_bytes(TEXT.encode())
    begun = room.add()
    room.blobs.put(begun.document_id, begun.version_id, room.folder / "x")
    (room.folder / "x").unlink()
    failed = room.add("file:///Wombat.pdf", "dd", index=False)
    room.catalog.mark_failed(failed, DocumentState.FAILED, "Quokka cannot be read")
    # WHEN every file of the data directory is read as an attacker would
    stored = b"".join(p.read_bytes() for p in sorted(room.folder.rglob("*")) if p.is_file())
    # THEN none of the words is there
    assert [word for word in SECRETS if word in stored] == []


def test_plaintext_cannot_be_bound_to_an_encrypted_column(room: Room) -> None:
    statement = insert(collections_table).values(id="1", name_mac=b"1", name=b"plain", created_at="")
    with pytest.raises(Exception, match="Sealed"), room.catalog.store.write() as conn:
        conn.execute(statement)


def test_deletion_gives_a_receipt_and_old_copies_do_not_open(room: Room) -> None:
    # GIVEN a copy of catalogue and originals from before the deletion
    (room.folder / "x").write_bytes(b"original")
    begun = room.add()
    room.blobs.put(begun.document_id, begun.version_id, room.folder / "x")
    room.catalog.store.scrub()
    (room.folder / "backup").mkdir()
    (room.folder / "backup" / "catalog.sqlite").write_bytes((room.folder / "catalog.sqlite").read_bytes())
    ids = room.ids(begun)
    # WHEN
    receipt = room.catalog.delete_document(begun.document_id, by="local")
    # THEN
    assert receipt.destroyed == {"key": 1, "versions": 1, "pages": 2, "chunks": 2}
    assert receipt.out_of_reach
    assert room.catalog.removals() == [begun.version_id]
    assert room.catalog.find(room.collection.id, "file:///axolotl.pdf") is None
    backup = Catalog(Store(room.folder / "backup" / "catalog.sqlite"), Vault(room.keys))
    with pytest.raises(IntegrityError):
        backup.release(ids, backup.access_for(LOCAL_USER))
    with pytest.raises(IntegrityError):
        BlobStore(room.folder / "blobs", room.keys, backup.key_of).read(begun.document_id, begun.version_id)


def test_a_crash_between_deletion_and_key_destruction_is_finished_later(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = room.add()
    key_id = room.catalog.key_of(begun.document_id)
    monkeypatch.setattr(room.keys, "destroy", lambda _ids: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        room.catalog.delete_document(begun.document_id, by="local")
    monkeypatch.undo()
    assert room.keys.has(key_id)
    assert room.catalog.finish_deletions() == 1
    assert not room.keys.has(key_id)


def test_deletion_while_parsing_wins(room: Room) -> None:
    begun = room.add(index=False)
    room.catalog.delete_document(begun.document_id, by="local")
    with pytest.raises(NotFoundError):
        room.catalog.store_parsed(begun, parsed(), cut())
    room.catalog.mark_indexed([begun.version_id])
    room.catalog.mark_failed(begun, DocumentState.FAILED, "x")
    assert room.catalog.find(room.collection.id, "file:///axolotl.pdf") is None


# ------------------------------------------------------------------------------------------------ store


def test_a_newer_schema_is_refused(room: Room) -> None:
    room.catalog.close()
    with sqlite3.connect(room.folder / "catalog.sqlite") as db:
        db.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(IntegrityError, match="newer"):
        Store(room.folder / "catalog.sqlite")


def test_a_file_that_is_no_database_is_refused_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "catalog.sqlite").write_bytes(b"this is not a database" * 100)
    with pytest.raises(IntegrityError, match=r"catalog\.sqlite"):
        Store(tmp_path / "catalog.sqlite")


def test_a_failed_transaction_leaves_nothing(room: Room) -> None:
    def fails_half_way() -> None:
        with room.catalog.store.write() as conn:
            grants.add_grant(conn, "group:x", "document", "d")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails_half_way()
    with room.catalog.store.read() as conn:
        assert grants.principals_by_resource(conn, ["d"])["d"] == (frozenset(), frozenset())


def test_tables_and_migration_agree(room: Room) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from strongroom.catalog.tables import metadata

    with room.catalog.store.engine.connect() as conn:
        assert compare_metadata(MigrationContext.configure(conn), metadata) == []


def test_a_file_put_back_after_a_failed_change_needs_no_work(room: Room) -> None:
    # GIVEN a version that answers, and a newer one that failed
    room.add(sha256="aa")
    room.catalog.mark_failed(room.add(sha256="bb", index=False), DocumentState.FAILED, "broken")
    # WHEN the file has its old content again
    found = room.catalog.find(room.collection.id, "file:///axolotl.pdf", sha256="aa")
    # THEN the version that answers is found, and other content still meets the newest
    assert found is not None
    assert (found.sha256, found.state) == ("aa", DocumentState.INDEXED)
    other = room.catalog.find(room.collection.id, "file:///axolotl.pdf", sha256="cc")
    assert other is not None
    assert other.sha256 == "bb"


def test_the_copy_before_a_migration_holds_what_still_stands_in_the_wal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # GIVEN a catalogue whose newest entry has not been folded into its file, as after a kill
    path = tmp_path / "catalog.sqlite"
    store = Store(path)
    with store.write() as conn:
        conn.exec_driver_sql("INSERT INTO meta VALUES ('kept', 'yes')")
    assert b"kept" not in path.read_bytes()
    # WHEN a newer program opens it
    monkeypatch.setattr("strongroom.catalog.store.HEAD", "9999")
    Store(path).close()
    # THEN the copy that it made first is whole, and private
    copy = path.with_suffix(f".before-{HEAD}")
    with closing(sqlite3.connect(copy)) as db:
        assert db.execute("SELECT value FROM meta WHERE key = 'kept'").fetchone() == ("yes",)
    assert copy.stat().st_mode & 0o077 == 0
    store.close()
