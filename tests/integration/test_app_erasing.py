"""Deletion that can be proved: what is gone, what a backup opens, what a hold keeps, what a crash leaves."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from retrieval.index.shard import copy as copy_sparse
from strongroom.access import LOCAL_USER
from strongroom.app import deleting
from strongroom.app.appliance import Appliance
from strongroom.audit import receipt as receipts
from strongroom.config import load
from strongroom.errors import HeldError, IntegrityError, NotFoundError
from strongroom.types import AskRequest, FileOutcome, IngestRequest, SearchRequest
from tests.fakes import FakeModels
from tests.fakes_engine import make_pdf

CANARIES = ("Quillfeather", "Zimburrow", "Oaktwistle")
TEXT = "The {} valve is serviced by Harbour Mutual every second spring."


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "in"
    made.mkdir()
    (made / "Zimburrow.pdf").write_bytes(make_pdf([[TEXT.format("Quillfeather")], ["Second page."]]))
    (made / "b.txt").write_text(TEXT.format("Oaktwistle"))
    return made


def opened(tmp_path: Path, **settings: object) -> Appliance:
    loaded = load({"data_dir": tmp_path / "data", **settings})
    return Appliance(loaded.settings, purpose="test", models=FakeModels())


@pytest.fixture
def appliance(tmp_path: Path, folder: Path) -> Iterator[Appliance]:
    made = opened(tmp_path)
    ingest(made, folder)
    yield made
    made.close()


def ingest(appliance: Appliance, folder: Path, **options: bool) -> list[FileOutcome]:
    seen: list[FileOutcome] = []
    appliance.as_user(LOCAL_USER).ingest(
        IngestRequest((str(folder),), **options),
        on_event=lambda e: seen.append(e) if isinstance(e, FileOutcome) else None,
    )
    return seen


def id_of(appliance: Appliance, name: str) -> str:
    return next(d.id for d in appliance.as_user(LOCAL_USER).documents() if d.name == name)


def spellings(word: str) -> Iterator[bytes]:
    """A word as it could stand in a file without anybody having meant to write it."""
    for text in (word, word.lower(), word.upper()):
        yield text.encode()
        yield text.encode("utf-16-le")
        yield text.encode("utf-16-be")
        for shift in range(3):  # base64 of a longer text that holds the word at any offset
            encoded = base64.b64encode(b"\0" * shift + text.encode())
            yield encoded[4 : len(encoded) // 4 * 4 - 4]


def test_no_word_of_a_document_stands_in_the_data_directory(appliance: Appliance, tmp_path: Path) -> None:
    # GIVEN documents that were ingested, asked about, looked at and exported, with everything flushed or not
    engine = appliance.as_user(LOCAL_USER)
    engine.search(SearchRequest("Quillfeather valve"))
    list(engine.ask(AskRequest("Who services the Oaktwistle valve?")))
    document = id_of(appliance, "Zimburrow.pdf")
    engine.page(document, 0)
    engine.page_image(document, 0)
    # THEN no file holds a word of them or of a name, while it is open and after
    for closing_first in (False, True):
        if closing_first:
            appliance.close()
        files = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
        assert {"catalog.sqlite", "keys.sqlite"} <= {path.name for path in files}
        for path in files:
            data = b"\0".join(path.read_bytes().split(bytes(4096)))  # the index's files are mostly holes
            for word in CANARIES:
                found = [s for s in spellings(word) if s in data]
                assert not found, f"{path.name} holds {word}"
                assert word not in path.name


def test_a_deletion_leaves_a_receipt_that_verifies_anywhere(appliance: Appliance, tmp_path: Path) -> None:
    document = id_of(appliance, "b.txt")
    receipt = appliance.as_user(LOCAL_USER).delete(document)
    public = appliance.audit.public_key
    assert receipt.destroyed["chunks"] == 1
    assert receipts.genuine(receipt, public)
    assert not receipts.genuine(receipt, "00" * 32)
    # it is kept as well, and every field of it is signed
    (stored,) = appliance.catalog.receipts()
    file = tmp_path / "receipts.jsonl"
    file.write_text(stored)
    assert receipts.genuine(receipts.read(file)[0], public)
    for field, value in json.loads(stored).items():
        changed = {**json.loads(stored), field: [*value, "x"] if isinstance(value, list) else value}
        if isinstance(value, str):
            changed[field] = value.replace(value[0], "0" if value[0] != "0" else "1", 1)
        elif isinstance(value, dict):
            changed[field] = {**value, "chunks": 7}
        if field == "at":
            changed[field] = "2020-01-01T00:00:00Z"
        assert not receipts.genuine(receipts.parse(json.dumps(changed)), public), field
    report = appliance.as_user(LOCAL_USER).verify()
    assert report.ok
    assert report.checked["deletions"] == 1


def test_vectors_and_rows_of_a_deleted_document_are_gone_from_the_files(appliance: Appliance, tmp_path: Path) -> None:
    # GIVEN what stands in the files of one document
    document = id_of(appliance, "Zimburrow.pdf")
    version = appliance.as_user(LOCAL_USER).document(document).version
    vectors = appliance.index.vectors(sorted(appliance.index.version_points(version)))
    dense = next(iter(vectors.values())).tobytes()
    wrapped = appliance.keys._db.execute(
        "SELECT wrapped FROM keys WHERE id = ?", (appliance.catalog.key_of(document),)
    ).fetchone()[0]
    appliance.index.flush()

    def holding(needle: bytes) -> list[str]:
        return [p.name for p in (tmp_path / "data").rglob("*") if p.is_file() and needle in p.read_bytes()]

    assert holding(dense)
    assert holding(wrapped)
    assert holding(version.encode())
    # WHEN it is deleted
    receipt = appliance.as_user(LOCAL_USER).delete(document)
    # THEN its vector, its key and its version are in no file, and the receipt does not claim too little
    assert holding(dense) == []
    assert holding(wrapped) == []
    assert holding(version.encode()) == []
    assert "files of the vector index, until they are rewritten" not in receipt.out_of_reach


def test_a_backup_from_before_opens_nothing_with_the_keys_that_are_left(appliance: Appliance, tmp_path: Path) -> None:
    # GIVEN a backup of everything but the appliance key, made before
    document = id_of(appliance, "b.txt")
    appliance.close()
    copy_sparse(tmp_path / "data", tmp_path / "backup")
    (tmp_path / "backup" / "keys" / "appliance.key").unlink()
    with closing(opened(tmp_path)) as again:
        again.as_user(LOCAL_USER).delete(document)
    # WHEN it is put together with the appliance key of today, THEN the key store of then does not open
    restored = tmp_path / "a" / "data"
    copy_sparse(tmp_path / "backup", restored)
    shutil.copy(tmp_path / "data" / "keys" / "appliance.key", restored / "keys" / "appliance.key")
    with pytest.raises(IntegrityError, match="does not open"):
        opened(tmp_path / "a")
    # AND with the key store of today, the document is deleted once more before anybody can ask
    restored = tmp_path / "b" / "data"
    copy_sparse(tmp_path / "backup", restored)
    shutil.rmtree(restored / "keys")
    copy_sparse(tmp_path / "data" / "keys", restored / "keys")
    with closing(opened(tmp_path / "b")) as back:
        back.recover()
        engine = back.as_user(LOCAL_USER)
        assert [d.name for d in engine.documents()] == ["Zimburrow.pdf"]
        with pytest.raises(NotFoundError):
            engine.document(document)
        assert "delete" in [e.action for e in back.audit.entries() if e.subject == document]
        problems = [p.what for p in engine.verify().problems if "audit" not in p.what]
        assert problems == []


def test_a_crash_after_the_key_is_gone_is_finished_at_the_next_start(
    appliance: Appliance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = id_of(appliance, "b.txt")

    def crash(*_args: object, **_kwargs: object) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(type(appliance.raw_index), "compact", crash)
        with pytest.raises(KeyboardInterrupt):
            appliance.as_user(LOCAL_USER).delete(document)
    assert appliance.catalog.receipts() == []
    assert [p.severity for p in appliance.as_user(LOCAL_USER).verify().problems] == ["warning"]
    appliance.close()
    with closing(opened(tmp_path)) as again:
        again.recover()
        assert len(again.catalog.receipts()) == 1
        assert again.as_user(LOCAL_USER).verify().problems == ()


# ---------------------------------------------------------------------------------------------------- holds


def holding_document(appliance: Appliance) -> None:
    appliance.catalog.place_hold("document", id_of(appliance, "b.txt"), reason="Matter 1", by="ann")


def holding_collection(appliance: Appliance) -> None:
    place = appliance.catalog.collection("default")
    appliance.catalog.place_hold("collection", place.id, reason="Matter 1", by="ann")


@pytest.mark.parametrize("hold", [holding_document, holding_collection])
def test_a_hold_keeps_a_document_from_everything_that_would_destroy_it(
    appliance: Appliance, folder: Path, hold: Callable[[Appliance], None]
) -> None:
    # GIVEN a hold
    hold(appliance)
    document = id_of(appliance, "b.txt")
    engine = appliance.as_user(LOCAL_USER)
    original = engine.original(document)
    # THEN it is neither deleted, nor replaced by a changed file, nor pruned, nor taken by a retention rule
    with pytest.raises(HeldError, match="legal hold"):
        engine.delete(document)
    (folder / "b.txt").write_text("Something else stands here now.")
    outcomes = {o.path.rpartition("/")[2]: o for o in ingest(appliance, folder)}
    assert outcomes["b.txt"].outcome == "skipped"
    assert "legal hold" in str(outcomes["b.txt"].reason)
    (folder / "b.txt").unlink()
    outcomes = {o.path.rpartition("/")[2]: o for o in ingest(appliance, folder, prune=True)}
    assert outcomes["b.txt"].outcome == "skipped"
    place = appliance.catalog.collection("default")
    appliance.catalog.keep_for(place.id, 0)
    _, held = deleting.apply_retention(appliance, by="test")
    assert document in held
    with pytest.raises(HeldError):
        deleting.delete_collection(appliance, "default", by="test")
    assert engine.original(document) == original
    assert engine.document(document).state == "indexed"
    # WHEN it is lifted
    for one in appliance.catalog.holds():
        assert one.reason == "Matter 1"
        appliance.catalog.lift_hold(one.id)
    # THEN it can be deleted
    engine.delete(document)
    assert engine.verify().ok


def test_retention_deletes_what_is_older_than_its_rule_and_nothing_else(
    appliance: Appliance, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = appliance.catalog.collection("default")
    appliance.catalog.keep_for(place.id, 30)
    assert deleting.apply_retention(appliance, by="test") == ([], [])
    later = datetime.now(UTC) + timedelta(days=31)
    outlived = appliance.catalog.outlived(later)
    assert len(outlived) == 2
    monkeypatch.setattr(appliance.catalog, "outlived", lambda: outlived)
    assert deleting.apply_retention(appliance, by="test", dry_run=True) == (outlived, [])
    assert len(appliance.as_user(LOCAL_USER).documents()) == 2
    assert deleting.apply_retention(appliance, by="test") == (outlived, [])
    assert appliance.as_user(LOCAL_USER).documents() == []
    assert len(appliance.catalog.receipts()) == 2
    appliance.catalog.keep_for(place.id, None)
    assert appliance.catalog.retention() == []


def test_a_collection_goes_with_all_its_documents(appliance: Appliance) -> None:
    assert len(deleting.delete_collection(appliance, "default", by="test")) == 2
    with pytest.raises(NotFoundError):
        appliance.catalog.collection("default")
    assert len(appliance.catalog.receipts()) == 2
    assert appliance.as_user(LOCAL_USER).verify().ok
