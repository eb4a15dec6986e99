"""Signed checkpoints, rotation and exports, attacked by somebody who holds every key but the signing key."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from strongroom.audit import Audit, KeepCheckpoints
from strongroom.audit import checkpoint as checkpoints
from strongroom.audit.log import verify_export
from strongroom.catalog import Store
from strongroom.crypto import CATALOGUE_KEY, KeyStore, Vault, canonical
from strongroom.errors import UsageError

ENTRIES = 8


class Log:
    """An audit log in a folder, with what an attacker who has the database and the chain's key needs."""

    def __init__(self, folder: Path, keep: KeepCheckpoints | None = None) -> None:
        self.folder = folder
        self.keys = KeyStore(folder / "keys")
        self.store = Store(folder / "catalog.sqlite")
        self.audit = Audit(self.store, Vault(self.keys), folder / "keys" / "audit.head", keep=keep)

    def fill(self, count: int = ENTRIES) -> None:
        for n in range(count):
            self.audit.append("local", "read", f"document-{n}", page=n)

    def bodies(self) -> list[str]:
        with sqlite3.connect(self.folder / "catalog.sqlite") as db:
            return [row[0] for row in db.execute("SELECT body FROM audit ORDER BY seq")]

    def forge(self, bodies: list[str]) -> None:
        """Put another history in place, renumbered and chained anew with the stolen key, head record included."""
        previous, rows = bytes(32), []
        for seq, body in enumerate(bodies, start=1):
            body = canonical({**json.loads(body), "seq": seq})
            previous = self.keys.mac(CATALOGUE_KEY, "audit", previous + body.encode())
            rows.append((seq, body, previous))
        with sqlite3.connect(self.folder / "catalog.sqlite") as db:
            db.execute("DELETE FROM audit")
            db.executemany("INSERT INTO audit VALUES (?, ?, ?)", rows)
        head = self.folder / "keys" / "audit.head"
        if rows:
            head.write_text(f"{len(rows)} {previous.hex()}\n")
        else:
            head.unlink()

    def close(self) -> None:
        self.store.close()
        self.keys.close()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    made = Log(tmp_path)
    made.fill()
    yield made
    made.close()


tamperings = st.one_of(
    st.tuples(st.just("edit"), st.integers(0, ENTRIES - 1)),
    st.tuples(st.just("delete"), st.integers(0, ENTRIES - 1)),
    st.tuples(st.just("insert"), st.integers(0, ENTRIES - 1)),
    st.tuples(st.just("swap"), st.integers(0, ENTRIES - 2)),
    st.tuples(st.just("truncate"), st.integers(0, ENTRIES - 1)),
)


def tamper(bodies: list[str], how: str, at: int) -> list[str]:
    entry = json.loads(bodies[at])
    if how == "edit":
        return [*bodies[:at], canonical({**entry, "actor": "someone else"}), *bodies[at + 1 :]]
    if how == "delete":
        return bodies[:at] + bodies[at + 1 :]
    if how == "insert":
        return [*bodies[:at], canonical({**entry, "action": "invented"}), *bodies[at:]]
    if how == "swap":
        return [*bodies[:at], bodies[at + 1], bodies[at], *bodies[at + 2 :]]
    return bodies[:at]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(tamperings, min_size=1, max_size=3), more=st.integers(0, 3))
def test_a_rewritten_history_is_found_by_a_checkpoint_held_elsewhere(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[str, int]], more: int
) -> None:
    # GIVEN a log, a checkpoint of it that was carried away, and entries after it
    log = Log(tmp_path_factory.mktemp("log"))
    try:
        log.fill()
        held = log.audit.checkpoint()
        assert held is not None
        log.fill(more)
        original = log.bodies()
        assert log.audit.verify([held]) == (ENTRIES + more, [])
        # WHEN somebody with the chain's key rewrites what was signed, so well that the chain itself is whole
        bodies = original[:ENTRIES]
        for how, at in changes:
            bodies = tamper(bodies, how, at) if at < len(bodies) - (how == "swap") else bodies
        log.forge(bodies + original[ENTRIES:])
        assert log.audit.verify()[1] == []
        # THEN the checkpoint tells, unless the changes undid each other
        same = [json.loads(b) for b in log.bodies()] == [json.loads(b) for b in original]
        assert (log.audit.verify([held])[1] == []) is same
    finally:
        log.close()


def test_a_checkpoint_signed_by_another_appliance_is_refused(log: Log, tmp_path: Path) -> None:
    other = Log(tmp_path / "other")
    other.fill()
    foreign = other.audit.checkpoint()
    other.close()
    assert foreign is not None
    assert "not signed with this appliance's key" in log.audit.verify([foreign])[1][0].what


@pytest.mark.parametrize("field", ["seq", "at", "hash", "chain", "key", "signature"])
def test_every_field_of_a_checkpoint_is_signed(log: Log, field: str) -> None:
    held = log.audit.checkpoint()
    assert held is not None
    assert held.genuine(log.audit.public_key)
    value = getattr(held, field)
    changed = value + 1 if isinstance(value, int) else ("0" if value[0] != "0" else "1") + value[1:]
    assert not replace(held, **{field: changed}).genuine(log.audit.public_key)


def test_an_export_is_checked_with_the_public_key_alone(log: Log) -> None:
    held = log.audit.checkpoint()
    assert held is not None
    lines = list(log.audit.export())
    assert verify_export(lines, [held], log.audit.public_key) == (ENTRIES, [])
    lines[3]["subject"] = "document-9"
    assert verify_export(lines, [held], log.audit.public_key)[1]
    assert verify_export(lines[:3], [held], log.audit.public_key)[1]


def test_rotation_moves_entries_and_the_chain_goes_on(log: Log, tmp_path: Path) -> None:
    # GIVEN a checkpoint from before
    held = log.audit.checkpoint()
    assert held is not None
    # WHEN twice some entries are moved away
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    assert log.audit.rotate(first, keep=5) == 3
    log.fill(4)
    assert log.audit.rotate(second, keep=5) == 5
    # THEN what is left verifies, and archives and log together are what was signed
    count, problems = log.audit.verify()
    assert (count, problems) == (6, [])
    later = log.audit.checkpoint()
    assert later is not None
    whole = [json.loads(line) for path in (first, second) for line in path.read_text().splitlines()]
    whole += list(log.audit.export())
    assert verify_export(whole, [held, later], log.audit.public_key) == (14, [])
    assert log.audit.verify([held, later])[1] == []


def test_entries_that_vanish_without_a_rotation_are_found(log: Log, tmp_path: Path) -> None:
    log.audit.rotate(tmp_path / "old.jsonl", keep=5)
    with sqlite3.connect(tmp_path / "catalog.sqlite") as db:
        db.execute("DELETE FROM audit WHERE seq <= 5")
    assert log.audit.verify()[1]


def test_a_crash_between_archive_and_removal_loses_nothing(
    log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # GIVEN a kill after the rotation is on record and before the rows are gone
    def killed(*_args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("strongroom.audit.log.delete", killed)
    with pytest.raises(KeyboardInterrupt):
        log.audit.rotate(tmp_path / "old.jsonl", keep=5)
    monkeypatch.undo()
    # THEN the log is whole, and rotating again works
    assert log.audit.verify() == (ENTRIES + 1, [])
    assert log.audit.rotate(tmp_path / "again.jsonl", keep=5) == 4
    assert log.audit.verify() == (6, [])
    with pytest.raises(UsageError, match="exists"):
        log.audit.rotate(tmp_path / "again.jsonl", keep=1)


def test_checkpoints_are_kept_by_themselves_and_compared(tmp_path: Path) -> None:
    # GIVEN a log that keeps one every four entries
    log = Log(tmp_path / "log", KeepCheckpoints(tmp_path / "elsewhere", entries=4))
    log.fill(10)
    kept = sorted((tmp_path / "elsewhere").iterdir())
    assert [checkpoints.read(path).seq for path in kept] == [1, 5, 9]
    assert log.audit.verify() == (10, [])
    # WHEN history is rewritten THEN verify finds it without being told where they are
    log.forge(log.bodies()[:7])
    assert any("signed" in p.what for p in log.audit.verify()[1])
    # a checkpoint that was tampered with is a problem too, not a crash
    kept[0].write_text("{}")
    assert any("not a checkpoint" in p.what for p in log.audit.verify()[1])
    log.close()


def test_a_full_disk_for_checkpoints_does_not_stop_the_log(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    log = Log(tmp_path / "log", KeepCheckpoints(blocked, entries=1))
    log.fill(2)
    assert log.audit.verify() == (2, [])
    log.close()
