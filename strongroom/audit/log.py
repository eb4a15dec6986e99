"""The chain: append-only entries, each bound to the one before by a keyed hash.

Recipe: an entry's body is canonical JSON (UTF-8, keys sorted, no spaces) of
`{"seq", "at", "actor", "action", "subject", "outcome", "request", "address", "detail"}` (entries written by an earlier
release lack some of these). Its hash is HMAC-SHA-256, under the catalogue key and purpose `audit`, of the previous
entry's hash followed by the body. The first entry follows 32 zero bytes. The key makes a chain that someone with write
access to the database alone cannot forge again.

The chain alone cannot show that its end was cut off, so the newest (seq, hash) is also kept beside the keys, in
`audit.head`, and signed checkpoints can be kept off the machine (`strongroom.audit.checkpoint`). Bodies hold ids,
counts and keyed hashes; never words of a document.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection, delete, func, insert, select

from strongroom.audit import checkpoint as checkpoints
from strongroom.audit.checkpoint import GENESIS, Checkpoint
from strongroom.audit.origin import current
from strongroom.catalog.store import Store, utc_now
from strongroom.catalog.tables import audit as table
from strongroom.crypto import CATALOGUE_KEY, SigningKey, Vault, canonical
from strongroom.errors import UsageError
from strongroom.types import Problem

log = logging.getLogger(__name__)

Outcome = Literal["ok", "refused", "failed"]
QuestionPolicy = Literal["none", "hash", "full"]

_QUESTION_AAD = "audit.question"
_ATTEMPT = ("at", "pid", "event", "host")  # what a line of `egress.log` holds
_ROTATED = "audit.rotate"
_DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the log."""

    seq: int
    at: str
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]
    hash: str
    outcome: Outcome = "ok"
    request: str = ""
    address: str = ""


@dataclass(frozen=True, slots=True)
class KeepCheckpoints:
    """Where checkpoints are written by themselves: every `entries`, and after `seconds` at the latest."""

    folder: Path
    entries: int = 1000
    seconds: float = _DAY


@dataclass(slots=True)
class _Walk:
    """A pass over the chain, entry by entry, that collects every disagreement."""

    previous: bytes
    expected: int
    chain: bytes = GENESIS
    problems: list[Problem] = field(default_factory=list)

    def step(self, seq: int, body: str, stored: bytes, digest: Callable[[bytes, str], bytes]) -> None:
        if seq != self.expected:
            self.problems.append(_broken(f"audit entry {self.expected} is missing (next is {seq})"))
        if not hmac.compare_digest(digest(self.previous, body), stored):
            self.problems.append(_broken(f"audit entry {seq} was changed, or an entry before it was removed"))
        elif json.loads(body)["seq"] != seq:
            self.problems.append(_broken(f"audit entry {seq} was moved"))
        self.chain = checkpoints.extend(self.chain, [body])
        self.previous, self.expected = stored, seq + 1


class Audit:
    """The log of one data directory."""

    def __init__(
        self,
        store: Store,
        vault: Vault,
        head_file: Path,
        *,
        keep: KeepCheckpoints | None = None,
        on_append: Callable[[], None] = lambda: None,
    ) -> None:
        """`keep` writes checkpoints by itself; `on_append` is told of every new entry (it must return at once)."""
        self._store = store
        self._vault = vault
        self._head_file = head_file
        self._keep = keep
        self._on_append = on_append
        self._appending = threading.Lock()  # an entry and the record of it being the newest go together
        self._kept: tuple[int, float] | None = None  # newest kept checkpoint: entry and time
        self._walked: tuple[int, bytes] | None = None  # an entry and the running digest up to it

    # ------------------------------------------------------------------------------------------------ writing

    def append(self, actor: str, action: str, subject: str = "", *, outcome: Outcome = "ok", **detail: Any) -> None:
        """Add one entry. `detail` values must be JSON scalars, lists or dicts of ids and counts.

        When this returns the entry is durable. A checkpoint that cannot be kept is logged and tried again with the next
        entry: a full disk elsewhere must not stop the work here.
        """
        origin = current()
        said = {
            "actor": actor,
            "action": action,
            "subject": subject,
            "outcome": outcome,
            "request": origin.request,
            "address": origin.address,
            "detail": {**detail, "via": origin.via} if origin.via else detail,
        }
        with self._appending:
            with self._store.write() as conn:
                seq, previous = self._last(conn)
                body = canonical({**said, "seq": seq + 1, "at": utc_now()})
                digest = self._hash(previous, body)
                conn.execute(insert(table).values(seq=seq + 1, body=body, hash=digest))
            self._write_head(seq + 1, digest)
            self._keep_when_due(seq + 1)
        self._on_append()

    def question(self, question: str, policy: QuestionPolicy) -> dict[str, Any]:
        """What an entry says of a question: nothing, a keyed hash that matches equal questions, or also its text.

        The hash is keyed because a plain one of a short question can be guessed. The text is sealed.
        """
        if policy == "none":
            return {}
        said = {"question": self._vault.mac("question", question).hex()}
        if policy == "full":
            sealed = self._vault.seal_text(CATALOGUE_KEY, question, _QUESTION_AAD)
            said["question_sealed"] = base64.b64encode(sealed).decode()
        return said

    def fold_egress(self, refused: Path) -> int:
        """Move refused connection attempts from `egress.log` into the chain; returns how many."""
        taken = refused.with_suffix(".folding")
        if not taken.exists():
            try:
                refused.rename(taken)
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
            self.append("system", "egress.blocked", outcome="refused", **(known or {"unreadable": True}))
        taken.unlink()
        return len(lines)

    def rotate(self, archive: Path, *, keep: int) -> int:
        """Move all but the newest `keep` entries into the file `archive`; returns how many were moved.

        The chain goes on: an entry names the last one moved, its hash, and the digest of the archive, and `verify`
        begins there. Raises `UsageError` when the file exists.
        """
        if archive.exists():
            raise UsageError(f"{archive} exists", hint="Give a file that does not exist yet.")
        with self._store.read() as conn:
            newest, _ = self._last(conn)
        last = newest - max(keep, 0)
        lines = [line for line in self.export() if line["seq"] <= last]
        if not lines:
            return 0
        written = _write_lines(archive, lines)
        _, chain = self._chain_at(last)
        self.append(
            "system",
            _ROTATED,
            first=lines[0]["seq"],
            last=last,
            hash=lines[-1]["hash"],
            chain=chain.hex(),
            archive_sha256=written,
        )
        with self._store.write() as conn:
            conn.execute(delete(table).where(table.c.seq <= last))
        return len(lines)

    # ------------------------------------------------------------------------------------------------ reading

    def entries(self, *, after: int = 0) -> Iterator[Entry]:
        """Entries in order, from the one after sequence number `after`."""
        for line in self.export(after=after):
            yield Entry(**line)

    def export(self, *, after: int = 0) -> Generator[dict[str, Any]]:
        """Entries as they are exported: their body, word for word, and their hash."""
        with self._store.read() as conn:
            for row in conn.execute(select(table).where(table.c.seq > after).order_by(table.c.seq)):
                yield {**json.loads(row.body), "hash": bytes(row.hash).hex()}

    def newest(self, *, before: int | None = None, limit: int) -> list[dict[str, Any]]:
        """Entries as they are exported, newest first: the last ones, or those before a sequence number."""
        query = select(table).order_by(table.c.seq.desc()).limit(limit)
        with self._store.read() as conn:
            rows = conn.execute(query if before is None else query.where(table.c.seq < before)).all()
        return [{**json.loads(row.body), "hash": bytes(row.hash).hex()} for row in rows]

    def open_question(self, line: dict[str, Any]) -> str | None:
        """The text of an exported entry's question, where the policy kept it."""
        sealed = line["detail"].get("question_sealed")
        return None if sealed is None else self._vault.open_text(base64.b64decode(sealed), _QUESTION_AAD)

    @property
    def public_key(self) -> str:
        """The key that checkpoints and receipts verify with, hexadecimal."""
        return SigningKey(self._vault.keys).public

    def checkpoint(self) -> Checkpoint | None:
        """A signed statement of what the log holds now; `None` while it is empty."""
        with self._store.read() as conn:
            seq, stored = self._last(conn)
        if not seq:
            return None
        at, chain = self._chain_at(seq)
        return checkpoints.sign(SigningKey(self._vault.keys), seq=seq, at=at, hash=stored.hex(), chain=chain.hex())

    def verify(self, held: Sequence[Checkpoint] = ()) -> tuple[int, list[Problem]]:
        """Walk the chain; returns how many entries were checked and every disagreement found.

        `held` are checkpoints from elsewhere; those that this log keeps by itself are compared as well.
        """
        head = self._read_head()
        seen: dict[int, tuple[bytes, bytes]] = {}
        kept, problems = self._kept_ones()
        compared = (*kept, *held)
        wanted = {c.seq for c in compared}
        count = 0
        with self._store.read() as conn:
            rows = conn.execute(select(table).order_by(table.c.seq)).all()
        walk = self._begin([(row.seq, row.body) for row in rows])
        for row in rows:
            walk.step(row.seq, row.body, bytes(row.hash), self._hash)
            count += 1
            if row.seq in wanted or (head and row.seq == head[0]):
                seen[row.seq] = (bytes(row.hash), walk.chain)
        problems += walk.problems
        if head and (head[0] not in seen or not hmac.compare_digest(seen[head[0]][0], head[1])):
            problems.append(_broken(f"the audit log ends before entry {head[0]}, which was written"))
        if head is None and count:
            problems.append(_broken("the record of the newest audit entry (audit.head) is missing or unreadable"))
        first = rows[0].seq if rows else 1
        for one in compared:
            if one.seq >= first or not rows:  # older ones belong to an archive
                problems += _compare(one, seen.get(one.seq), self.public_key)
        return count, problems

    # ------------------------------------------------------------------------------------------------

    def _begin(self, rows: Sequence[tuple[int, str]]) -> _Walk:
        """Where the walk starts: at the beginning, or after the last entry that a rotation took away."""
        if rows and rows[0][0] > 1:
            for _, body in reversed(rows):
                entry = json.loads(body)
                if entry["action"] == _ROTATED and entry["detail"].get("last") == rows[0][0] - 1:
                    detail = entry["detail"]
                    return _Walk(bytes.fromhex(detail["hash"]), rows[0][0], bytes.fromhex(detail["chain"]))
        return _Walk(GENESIS, 1)

    def _chain_at(self, seq: int) -> tuple[str, bytes]:
        """Time of an entry, and the running digest up to it."""
        known, chain = self._walked or (0, GENESIS)
        if known >= seq:
            known = 0
        query = select(table.c.seq, table.c.body).where(table.c.seq > known).order_by(table.c.seq)
        with self._store.read() as conn:
            rows = conn.execute(query).all()
        if not known:  # a later entry says where a log begins that was rotated
            chain = self._begin([(row.seq, row.body) for row in rows]).chain
        bodies = [row.body for row in rows if row.seq <= seq]
        chain = checkpoints.extend(chain, bodies)
        self._walked = (seq, chain)  # so that a checkpoint takes no longer in a log of years
        return str(json.loads(bodies[-1])["at"]), chain

    def _keep_when_due(self, seq: int) -> None:
        if self._keep is None:
            return
        if self._kept is None:
            newest = max(self._kept_files(), key=_number, default=None)
            self._kept = (0, 0.0) if newest is None else (_number(newest), newest.stat().st_mtime)
        kept_seq, kept_at = self._kept
        if seq - kept_seq < self._keep.entries and time.time() - kept_at < self._keep.seconds:
            return
        try:
            self._keep.folder.mkdir(parents=True, exist_ok=True)
            made = self.checkpoint()
            assert made is not None
            _write_lines(self._keep.folder / f"audit-{made.seq:012}.json", [json.loads(checkpoints.dumps(made))])
        except OSError as exc:
            log.error("a checkpoint of the audit log could not be kept: %s", exc.strerror)
            return
        self._kept = (seq, time.time())

    def _kept_files(self) -> list[Path]:
        return sorted(self._keep.folder.glob("audit-*.json")) if self._keep is not None else []

    def _kept_ones(self) -> tuple[list[Checkpoint], list[Problem]]:
        found: list[Checkpoint] = []
        problems: list[Problem] = []
        for path in self._kept_files():
            try:
                found.append(checkpoints.read(path))
            except UsageError as exc:
                problems.append(_broken(str(exc)))
        return found, problems

    def _last(self, conn: Connection) -> tuple[int, bytes]:
        newest = conn.execute(select(func.max(table.c.seq))).scalar()
        if newest is None:
            return 0, GENESIS
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


def verify_export(
    lines: Iterable[dict[str, Any]], held: Sequence[Checkpoint], public_key: str
) -> tuple[int, list[Problem]]:
    """Check an exported log, from its first entry on, against checkpoints and the public key: no other secret.

    What comes after the newest checkpoint is only checked for its numbering. Returns entries checked and problems.
    """
    problems: list[Problem] = []
    seen: dict[int, tuple[bytes, bytes]] = {}
    wanted = {c.seq for c in held}
    chain, expected = GENESIS, 1
    for line in lines:
        if line["seq"] != expected:
            problems.append(_broken(f"audit entry {expected} is missing (next is {line['seq']})"))
            expected = line["seq"]
        chain = checkpoints.extend(chain, [checkpoints.body_of(line)])
        if expected in wanted:
            seen[expected] = (bytes.fromhex(line["hash"]), chain)
        expected += 1
    for one in held:
        problems += _compare(one, seen.get(one.seq), public_key)
    return expected - 1, problems


def _compare(one: Checkpoint, found: tuple[bytes, bytes] | None, public_key: str) -> list[Problem]:
    if not one.genuine(public_key):
        return [_broken(f"the checkpoint of entry {one.seq} was not signed with this appliance's key")]
    if found is None:
        return [_broken(f"the audit log ends before entry {one.seq}, which a signed checkpoint holds")]
    if found[0].hex() != one.hash or found[1].hex() != one.chain:
        return [_broken(f"the audit log up to entry {one.seq} is not what the checkpoint signed")]
    return []


def _write_lines(path: Path, lines: Iterable[dict[str, Any]]) -> str:
    """Write a file whole or not at all, readable by its owner; returns its SHA-256."""
    partial = path.with_name(path.name + ".part")
    digest = hashlib.sha256()
    fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "wb") as out:
        for line in lines:
            data = (json.dumps(line, sort_keys=True, ensure_ascii=False) + "\n").encode()
            digest.update(data)
            out.write(data)
        out.flush()
        os.fsync(out.fileno())
    partial.replace(path)
    return digest.hexdigest()


def _number(path: Path) -> int:
    """The entry that a kept checkpoint is of, by its file name."""
    digits = path.stem.removeprefix("audit-")
    return int(digits) if digits.isdigit() else 0


def _broken(what: str) -> Problem:
    return Problem(what, "Keep the data directory as it is and compare with an exported copy of the log.")
