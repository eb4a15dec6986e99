"""Append-only, hash-chained audit log.

Recipe: an entry's body is canonical JSON (UTF-8, keys sorted, no spaces) of
`{"seq", "at", "actor", "action", "subject", "detail"}`. Its hash is HMAC-SHA-256, under the catalogue key and purpose
`audit`, of the previous entry's hash followed by the body. The first entry follows 32 zero bytes. The key makes a
chain that someone with write access to the database alone cannot forge again.

The chain alone cannot show that its end was cut off, so the newest (seq, hash) is also kept beside the keys, in
`audit.head`. Bodies hold ids, counts and keyed hashes; never words of a document.
"""

from __future__ import annotations

import base64
import hmac
import json
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection, func, insert, select

from strongroom.catalog.store import Store, utc_now
from strongroom.catalog.tables import audit as table
from strongroom.crypto import CATALOGUE_KEY, Vault
from strongroom.types import Problem

_GENESIS = bytes(32)
_QUESTION_AAD = "audit.question"
_ATTEMPT = ("at", "pid", "event", "host")  # what a line of `egress.log` holds


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the log, as it is exported."""

    seq: int
    at: str
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]
    hash: str


def canonical(value: Mapping[str, Any]) -> str:
    """The one JSON spelling that is hashed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


class Audit:
    """The log of one data directory."""

    def __init__(self, store: Store, vault: Vault, head_file: Path) -> None:
        self._store = store
        self._vault = vault
        self._head_file = head_file
        self._appending = threading.Lock()  # an entry and the record of it being the newest go together

    def append(self, actor: str, action: str, subject: str = "", **detail: Any) -> None:
        """Add one entry. `detail` values must be JSON scalars, lists or dicts of ids and counts."""
        with self._appending:
            with self._store.write() as conn:
                seq, previous = self._last(conn)
                body = canonical(
                    {
                        "seq": seq + 1,
                        "at": utc_now(),
                        "actor": actor,
                        "action": action,
                        "subject": subject,
                        "detail": detail,
                    }
                )
                digest = self._hash(previous, body)
                conn.execute(insert(table).values(seq=seq + 1, body=body, hash=digest))
            self._write_head(seq + 1, digest)

    def question(self, question: str, policy: Literal["hash", "text"]) -> dict[str, str]:
        """What an entry says of a question: a keyed hash that matches equal questions, by policy also sealed text."""
        said = {"question": self._vault.mac("question", question).hex()}
        if policy == "text":
            sealed = self._vault.seal_text(CATALOGUE_KEY, question, _QUESTION_AAD)
            said["question_sealed"] = base64.b64encode(sealed).decode()
        return said

    def open_question(self, entry: Entry) -> str | None:
        """The text of an entry's question, where the policy kept it."""
        sealed = entry.detail.get("question_sealed")
        return None if sealed is None else self._vault.open_text(base64.b64decode(sealed), _QUESTION_AAD)

    def entries(self, *, after: int = 0) -> Iterator[Entry]:
        """Entries in order, from the one after sequence number `after`."""
        with self._store.read() as conn:
            for row in conn.execute(select(table).where(table.c.seq > after).order_by(table.c.seq)):
                yield Entry(**json.loads(row.body), hash=bytes(row.hash).hex())

    def verify(self) -> tuple[int, list[Problem]]:
        """Walk the chain; returns how many entries were checked and every disagreement found."""
        problems: list[Problem] = []
        previous, expected = _GENESIS, 1
        head = self._read_head()
        hashes_at_head: bytes | None = None
        with self._store.read() as conn:
            for row in conn.execute(select(table).order_by(table.c.seq)):
                if row.seq != expected:
                    problems.append(_broken(f"audit entry {expected} is missing (next is {row.seq})"))
                    expected = row.seq
                if not hmac.compare_digest(self._hash(previous, row.body), bytes(row.hash)):
                    problems.append(_broken(f"audit entry {row.seq} was changed, or an entry before it was removed"))
                elif json.loads(row.body)["seq"] != row.seq:
                    problems.append(_broken(f"audit entry {row.seq} was moved"))
                if head and row.seq == head[0]:
                    hashes_at_head = bytes(row.hash)
                previous, expected = bytes(row.hash), row.seq + 1
        if head and (hashes_at_head is None or not hmac.compare_digest(hashes_at_head, head[1])):
            problems.append(_broken(f"the audit log ends before entry {head[0]}, which was written"))
        if head is None and expected > 1:
            problems.append(_broken("the record of the newest audit entry (audit.head) is missing or unreadable"))
        return expected - 1, problems

    def fold_egress(self, log: Path) -> int:
        """Move refused connection attempts from `egress.log` into the chain; returns how many."""
        taken = log.with_suffix(".folding")
        if not taken.exists():
            try:
                log.rename(taken)
            except FileNotFoundError:
                return 0
        lines = taken.read_text(encoding="utf-8", errors="replace").splitlines()
        for line in lines:
            try:
                attempt = json.loads(line)
            except json.JSONDecodeError:
                attempt = None
            # parsers of hostile files append to it too: nothing that stands in it may keep the appliance from opening
            known = {k: attempt[k] for k in _ATTEMPT if k in attempt} if isinstance(attempt, dict) else {}
            self.append("system", "egress.blocked", **(known or {"unreadable": True}))
        taken.unlink()
        return len(lines)

    # ------------------------------------------------------------------------------------------------

    def _last(self, conn: Connection) -> tuple[int, bytes]:
        newest = conn.execute(select(func.max(table.c.seq))).scalar()
        if newest is None:
            return 0, _GENESIS
        return newest, bytes(conn.execute(select(table.c.hash).where(table.c.seq == newest)).scalar_one())

    def _hash(self, previous: bytes, body: str) -> bytes:
        return self._vault.keys.mac(CATALOGUE_KEY, "audit", previous + body.encode())

    def _write_head(self, seq: int, digest: bytes) -> None:
        temporary = self._head_file.with_suffix(".new")
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(fd, f"{seq} {digest.hex()}\n".encode())
        finally:
            os.close(fd)
        temporary.replace(self._head_file)

    def _read_head(self) -> tuple[int, bytes] | None:
        try:
            seq, digest = self._head_file.read_text(encoding="utf-8").split()
            return int(seq), bytes.fromhex(digest)
        except (OSError, ValueError):
            return None


def _broken(what: str) -> Problem:
    return Problem(what, "Keep the data directory as it is and compare with an exported copy of the log.")
