"""The audit chain, tested by attack: every edit, removal, insertion, reordering and truncation must be found."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.audit import Audit
from strongroom.catalog import Store
from strongroom.crypto import KeyStore, Vault

ATTACKS = {
    "edit a body": "UPDATE audit SET body = replace(body, 'document-3', 'document-9') WHERE seq = 3",
    "edit a hash": "UPDATE audit SET hash = zeroblob(32) WHERE seq = 2",
    "remove from the middle": "DELETE FROM audit WHERE seq = 3",
    "remove the first": "DELETE FROM audit WHERE seq = 1",
    "cut the end": "DELETE FROM audit WHERE seq >= 4",
    "remove all": "DELETE FROM audit",
    "swap two": "UPDATE audit SET seq = CASE seq WHEN 2 THEN 103 WHEN 3 THEN 102 END WHERE seq IN (2, 3);"
    "UPDATE audit SET seq = seq - 100 WHERE seq > 100",
    "swap bodies": "UPDATE audit SET body = (SELECT body FROM audit WHERE seq = 5) WHERE seq = 4",
    "repeat one": "INSERT INTO audit SELECT 6, body, hash FROM audit WHERE seq = 5",
}


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Audit]:
    keys = KeyStore(tmp_path / "keys")
    store = Store(tmp_path / "catalog.sqlite")
    audit = Audit(store, Vault(keys), tmp_path / "keys" / "audit.head")
    for n in range(1, 6):
        audit.append("local", "read", f"document-{n}", page=n)
    yield audit
    store.close()
    keys.close()


def test_an_untouched_log_verifies(log: Audit) -> None:
    assert log.verify() == (5, [])
    assert [e.subject for e in log.entries()] == [f"document-{n}" for n in range(1, 6)]
    assert [e.seq for e in log.entries(after=3)] == [4, 5]


@pytest.mark.parametrize("attack", ATTACKS)
def test_every_attack_on_the_table_is_found(log: Audit, tmp_path: Path, attack: str) -> None:
    with sqlite3.connect(tmp_path / "catalog.sqlite") as db:
        db.executescript(ATTACKS[attack])
    assert log.verify()[1]


def test_a_forged_entry_without_the_key_is_found(log: Audit, tmp_path: Path) -> None:
    body = json.dumps({"seq": 6, "at": "", "actor": "x", "action": "y", "subject": "", "detail": {}})
    with sqlite3.connect(tmp_path / "catalog.sqlite") as db:
        db.execute("INSERT INTO audit VALUES (6, ?, randomblob(32))", (body,))
    assert log.verify()[1]


def test_a_removed_head_file_is_found(log: Audit, tmp_path: Path) -> None:
    (tmp_path / "keys" / "audit.head").unlink()
    assert "audit.head" in log.verify()[1][0].what


def test_a_head_that_lags_after_a_crash_is_fine(log: Audit, tmp_path: Path) -> None:
    # GIVEN a crash between the commit of entry 6 and the writing of the head file
    head = (tmp_path / "keys" / "audit.head").read_text()
    log.append("local", "read", "document-6")
    (tmp_path / "keys" / "audit.head").write_text(head)
    # THEN
    assert log.verify() == (6, [])


def test_blocked_connections_are_folded_in_once(log: Audit, tmp_path: Path) -> None:
    egress = tmp_path / "egress.log"
    egress.write_text('{"at": 1.0, "pid": 2, "event": "socket.connect", "host": "evil"}\nnot json\n')
    assert log.fold_egress(egress) == 2
    assert log.fold_egress(egress) == 0
    entries = list(log.entries(after=5))
    assert entries[0].detail["host"] == "evil"
    assert entries[1].detail == {"unreadable": True}
    assert log.verify() == (7, [])


def test_equal_questions_match_and_no_words_are_stored(log: Audit, tmp_path: Path) -> None:
    said = log.question("who is ill?", "hash")
    assert said == log.question("who is ill?", "hash")
    assert said != log.question("who is well?", "hash")
    log.append("local", "search", **said)
    log.append("local", "search", **log.question("who is ill?", "full"))
    stored = b"".join(p.read_bytes() for p in tmp_path.glob("catalog.sqlite*"))
    assert b"who is ill" not in stored


def test_by_policy_the_question_can_be_read_again(log: Audit) -> None:
    log.append("local", "search", **log.question("who is ill?", "full"))
    log.append("local", "search", **log.question("who is well?", "hash"))
    kept, hashed = log.export(after=5)
    assert log.open_question(kept) == "who is ill?"
    assert log.open_question(hashed) is None


def test_the_head_names_the_newest_entry_though_threads_append_together(
    log: Audit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # GIVEN one thread that is slow to record its entry as the newest, and another that appends meanwhile
    write_head, writing = log._write_head, threading.Event()

    def slow(seq: int, digest: bytes) -> None:
        if seq == 6:
            writing.set()
            time.sleep(0.3)
        write_head(seq, digest)

    monkeypatch.setattr(log, "_write_head", slow)
    first = threading.Thread(target=log.append, args=("local", "read", "document-6"))
    first.start()
    assert writing.wait(10)
    log.append("local", "read", "document-7")
    first.join()
    assert log.verify() == (7, [])
    # WHEN the newest entry is cut off, THEN that is found
    with sqlite3.connect(tmp_path / "catalog.sqlite") as db:
        db.execute("DELETE FROM audit WHERE seq = 7")
    assert log.verify()[1]


def test_whatever_stands_in_the_egress_log_is_folded_in(log: Audit, tmp_path: Path) -> None:
    refused = tmp_path / "egress.log"
    refused.write_bytes(
        b'{"at": 1.5, "pid": 7, "event": "socket.connect", "host": "x"}\n5\n{"actor": "x", "at": 2}\n{"cut\n\xff\n'
    )
    assert log.fold_egress(refused) == 5
    details = [e.detail for e in log.entries(after=5)]
    assert details[0] == {"at": 1.5, "pid": 7, "event": "socket.connect", "host": "x"}
    assert details[1:] == [{"unreadable": True}, {"at": 2}, {"unreadable": True}, {"unreadable": True}]
    assert not refused.exists()
    assert log.verify()[1] == []
