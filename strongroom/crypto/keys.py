"""The key store: one data key a document, wrapped by the appliance key, apart from the catalogue.

Files in the key directory (mode 0700): `keys.sqlite` (wrapped keys) and, where the key is not given from outside,
`appliance.key` (32 random bytes, mode 0600). It is never part of a data backup, so that removing a key here makes every
copy of that document's ciphertext unreadable. SQLite runs with `secure_delete` and a rollback journal that is
truncated, so a removed key leaves no page behind.

Rotation wraps every data key anew under a fresh appliance key, so that an older copy of `keys.sqlite` opens with
nothing that still exists. It is one transaction between two renames: the new key is first written beside the old one
(`appliance.key.next`), then all keys are wrapped anew, then the new file takes the old one's place. Which of the two is
in force after a crash is told by a proof value that the transaction replaced.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import sqlite3
import threading
import uuid
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from strongroom.crypto.seal import KEY_BYTES, seal, unseal
from strongroom.crypto.source import read_key_file, sync_folder, write_secret
from strongroom.errors import IntegrityError

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS keys (id TEXT PRIMARY KEY, wrapped BLOB NOT NULL, created TEXT NOT NULL) STRICT",
    "CREATE TABLE IF NOT EXISTS destroyed (id TEXT PRIMARY KEY, at TEXT NOT NULL) STRICT",
    "CREATE TABLE IF NOT EXISTS wrapping (id TEXT PRIMARY KEY, proof BLOB NOT NULL) STRICT",
)
_WRAP_AAD = "key:{}"
_PROOF = b"strongroom appliance key"
_PROOF_AAD = "wrapping"


class KeyStore:
    """Creates, hands out and destroys data keys. Safe to use from several threads of one process."""

    def __init__(self, directory: Path, *, given: bytes | None = None) -> None:
        """Open the store, making it at first start. `given` is an appliance key from outside instead of the file.

        Raises `NotPermittedError` when other users can read the key file and `IntegrityError` when keys exist that the
        appliance key cannot open.
        """
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._file = directory / "appliance.key"
        self._next = directory / "appliance.key.next"
        database = directory / "keys.sqlite"
        self._given = given
        fresh = not database.exists()
        if fresh:
            if given is None and not self._file.exists():
                write_secret(self._file, os.urandom(KEY_BYTES))
            database.touch(mode=0o600)
        self._lock = threading.RLock()
        self._cache: dict[str, bytes] = {}
        self._db = sqlite3.connect(database, check_same_thread=False, isolation_level=None)
        for pragma in ("journal_mode=TRUNCATE", "synchronous=FULL", "secure_delete=ON", "busy_timeout=5000"):
            self._db.execute(f"PRAGMA {pragma}")
        for statement in _SCHEMA:
            self._db.execute(statement)
        try:
            self._wrapping_id, self._wrapping = self._open_wrapping()
        except BaseException:
            self._db.close()
            raise

    # ------------------------------------------------------------------------------------------------ appliance key

    def _open_wrapping(self) -> tuple[str, bytes]:
        """The appliance key in force, with its id; finishes or drops a rotation that a crash broke off."""
        row = self._db.execute("SELECT id, proof FROM wrapping").fetchone()
        wrapping_id = row[0] if row else str(uuid.UUID(int=0))
        if row is None:  # a new store, or one from before rotation was possible
            row = self._db.execute("SELECT id, wrapped FROM keys LIMIT 1").fetchone()
            aad = _WRAP_AAD.format(row[0]) if row else ""
        else:
            aad = _PROOF_AAD
        if self._given is not None:
            key = self._given
            if row and not _opens(key, row[1], aad):
                raise IntegrityError(
                    "the appliance key that was given does not open the key store",
                    hint="Give the key or passphrase of this data directory.",
                )
        else:
            key = self._from_files(row[1] if row else None, aad)
        if aad != _PROOF_AAD:
            self._db.execute(
                "INSERT OR IGNORE INTO wrapping (id, proof) VALUES (?, ?)", (wrapping_id, _proof(key, wrapping_id))
            )
        return wrapping_id, key

    def _from_files(self, sealed: bytes | None, aad: str) -> bytes:
        key = read_key_file(self._file) if self._file.exists() else None
        if self._next.exists():
            following = read_key_file(self._next)
            if sealed is not None and _opens(following, sealed, aad):
                self._next.rename(self._file)  # the transaction went through, the rename did not
                sync_folder(self._file.parent)
                return following
            if key is not None and sealed is not None and _opens(key, sealed, aad):
                self._next.unlink()  # the transaction did not go through
        if key is None:
            raise IntegrityError(
                f"key file {self._file} is missing although keys exist",
                hint="Restore the key store from its own backup, or set `key_source` to where the key comes from.",
            )
        if sealed is not None and not _opens(key, sealed, aad):
            raise IntegrityError(
                f"key file {self._file} does not open the key store",
                hint="Restore the key store from its own backup: key file and keys.sqlite belong together.",
            )
        return key

    @property
    def in_file(self) -> bool:
        """True when the appliance key lies in a file here, so that the program can replace it by itself."""
        return self._given is None

    def rotate(self, given: bytes | None = None, *, to_file: bool = False) -> int:
        """Wrap all data keys under another appliance key; returns how many. No data is encrypted anew.

        Without arguments a key in a file is replaced by a fresh one. `given` is a key that comes from outside from now
        on; `to_file` brings the key into a file. A kill at any moment leaves a store that opens: with the key in the
        file, or with the old or the new one of two that were given.
        """
        with self._lock:
            if given is None and not (to_file or self.in_file):
                raise IntegrityError(
                    "the appliance key comes from outside and cannot be replaced from here",
                    hint="Give the new key: `strongroom keys rotate --to …`.",
                )
            key = given if given is not None else os.urandom(KEY_BYTES)
            if given is None:
                write_secret(self._next, key)
            wrapping_id = str(uuid.uuid4())
            count = self._wrap_anew(key, wrapping_id)
            if given is None:
                _overwrite(self._file)
                self._next.rename(self._file)
            else:
                _overwrite(self._file)
                self._file.unlink(missing_ok=True)
            sync_folder(self._file.parent)
            self._wrapping_id, self._wrapping, self._given = wrapping_id, key, given
        return count

    def _wrap_anew(self, key: bytes, wrapping_id: str) -> int:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            rows = self._db.execute("SELECT id, wrapped FROM keys").fetchall()
            wrapped = []
            for key_id, old in rows:
                aad = _WRAP_AAD.format(key_id)
                wrapped.append((bytes(seal(key, wrapping_id, unseal(self._wrapping, old, aad), aad)), key_id))
            self._db.executemany("UPDATE keys SET wrapped = ? WHERE id = ?", wrapped)
            self._db.execute("DELETE FROM wrapping")
            self._db.execute("INSERT INTO wrapping (id, proof) VALUES (?, ?)", (wrapping_id, _proof(key, wrapping_id)))
            self._db.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise
        return len(wrapped)

    # ------------------------------------------------------------------------------------------------ data keys

    def create(self, key_id: str | None = None) -> str:
        """Make a data key and return its id."""
        key_id = key_id or str(uuid.uuid4())
        key = os.urandom(KEY_BYTES)
        with self._lock:
            wrapped = seal(self._wrapping, self._wrapping_id, key, _WRAP_AAD.format(key_id))
            self._db.execute(
                "INSERT INTO keys (id, wrapped, created) VALUES (?, ?, strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))",
                (key_id, bytes(wrapped)),
            )
            self._cache[key_id] = key
        return key_id

    def has(self, key_id: str) -> bool:
        with self._lock:
            return self._db.execute("SELECT 1 FROM keys WHERE id = ?", (key_id,)).fetchone() is not None

    def get(self, key_id: str) -> bytes:
        """The key. Raises `IntegrityError` when it was destroyed or never existed."""
        with self._lock:
            if key_id in self._cache:
                return self._cache[key_id]
            row = self._db.execute("SELECT wrapped FROM keys WHERE id = ?", (key_id,)).fetchone()
            if row is None:
                raise IntegrityError(
                    f"key {key_id} does not exist",
                    hint="The document was deleted, or the key store is older than the catalogue.",
                )
            # still under the lock: a key that is destroyed meanwhile must not come back into the cache
            key = self._cache[key_id] = self._unwrap(key_id, row[0])
        return key

    def _unwrap(self, key_id: str, wrapped: bytes) -> bytes:
        try:
            return unseal(self._wrapping, wrapped, _WRAP_AAD.format(key_id))
        except IntegrityError:
            if not self.in_file:
                raise
            # a command beside the server: the server has rotated since this store was opened
            self._wrapping_id, self._wrapping = self._open_wrapping()
            return unseal(self._wrapping, wrapped, _WRAP_AAD.format(key_id))

    def destroy(self, key_ids: Iterable[str]) -> int:
        """Remove keys for good; returns how many existed."""
        count = 0
        with self._lock:
            for key_id in key_ids:
                self._db.execute("BEGIN IMMEDIATE")
                existed = self._db.execute("DELETE FROM keys WHERE id = ?", (key_id,)).rowcount
                if existed:
                    self._db.execute(
                        "INSERT OR IGNORE INTO destroyed VALUES (?, strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))", (key_id,)
                    )
                self._db.execute("COMMIT")
                count += existed
                self._cache.pop(key_id, None)
        return count

    def destroyed(self) -> set[str]:
        """Ids of keys that were destroyed here: a restored copy of the data must not bring their documents back."""
        with self._lock:
            return {row[0] for row in self._db.execute("SELECT id FROM destroyed")}

    def ids(self) -> set[str]:
        with self._lock:
            return {row[0] for row in self._db.execute("SELECT id FROM keys")}

    def mac(self, key_id: str, purpose: str, value: bytes) -> bytes:
        """Keyed fingerprint for look-ups (HMAC-SHA-256): equal values match; nothing is tested without the key."""
        return hmac.new(self.get(key_id), purpose.encode() + b"\0" + value, hashlib.sha256).digest()

    def close(self) -> None:
        with self._lock:
            self._cache.clear()
            self._db.close()


def _proof(key: bytes, wrapping_id: str) -> bytes:
    return bytes(seal(key, wrapping_id, _PROOF, _PROOF_AAD))


def _opens(key: bytes, sealed: bytes, aad: str) -> bool:
    try:
        unseal(key, sealed, aad)
    except IntegrityError:
        return False
    return True


def _overwrite(path: Path) -> None:
    """Put other bytes where a key stood. A file system may keep the old ones; the receipt of a deletion says so."""
    with suppress(FileNotFoundError), path.open("r+b") as file:
        file.write(os.urandom(KEY_BYTES))
        file.flush()
        os.fsync(file.fileno())
