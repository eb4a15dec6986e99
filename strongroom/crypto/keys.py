"""The key store: one data key a document, wrapped by the appliance key, apart from the catalogue.

Files in the key directory (mode 0700): `appliance.key` (32 random bytes, mode 0600) and `keys.sqlite` (wrapped
keys). It is never part of a data backup, so that removing a key here makes every copy of that document's ciphertext
unreadable. SQLite runs with `secure_delete` and a rollback journal that is truncated, so a removed key leaves no page
behind.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import sqlite3
import threading
import uuid
from collections.abc import Iterable
from pathlib import Path

from strongroom.crypto.seal import KEY_BYTES, seal, unseal
from strongroom.errors import IntegrityError, NotPermittedError

_SCHEMA = "CREATE TABLE IF NOT EXISTS keys (id TEXT PRIMARY KEY, wrapped BLOB NOT NULL, created TEXT NOT NULL) STRICT"
_WRAP_AAD = "key:{}"


class KeyStore:
    """Creates, hands out and destroys data keys. Safe to use from several threads of one process."""

    def __init__(self, directory: Path) -> None:
        """Open the store, making it at first start.

        Raises `NotPermittedError` when other users can read the key file and `IntegrityError` when keys exist that the
        appliance key cannot open.
        """
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._wrapping_id = str(uuid.UUID(int=0))
        database = directory / "keys.sqlite"
        self._wrapping = self._read_or_make(directory / "appliance.key", fresh=not database.exists())
        self._lock = threading.Lock()
        self._cache: dict[str, bytes] = {}
        if not database.exists():
            database.touch(mode=0o600)
        self._db = sqlite3.connect(database, check_same_thread=False, isolation_level=None)
        for pragma in ("journal_mode=TRUNCATE", "synchronous=FULL", "secure_delete=ON", "busy_timeout=5000"):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.execute(_SCHEMA)

    @staticmethod
    def _read_or_make(path: Path, *, fresh: bool) -> bytes:
        if path.exists():
            if path.stat().st_mode & 0o077:
                raise NotPermittedError(
                    f"key file {path} can be read by other users",
                    hint=f"Run `chmod 600 {path}` and find out who read it.",
                )
            key = path.read_bytes()
            if len(key) != KEY_BYTES:
                raise IntegrityError(f"key file {path} is damaged", hint="Restore the key store from its own backup.")
            return key
        if not fresh:
            raise IntegrityError(
                f"key file {path} is missing although keys exist", hint="Restore the key store from its own backup."
            )
        key = os.urandom(KEY_BYTES)
        draft = path.with_suffix(".new")  # a crash in here must not leave half a key for the next start to find
        draft.unlink(missing_ok=True)
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "wb") as out:
            out.write(key)
            out.flush()
            os.fsync(out.fileno())
        draft.rename(path)
        return key

    def create(self, key_id: str | None = None) -> str:
        """Make a data key and return its id."""
        key_id = key_id or str(uuid.uuid4())
        key = os.urandom(KEY_BYTES)
        wrapped = seal(self._wrapping, self._wrapping_id, key, _WRAP_AAD.format(key_id))
        with self._lock:
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
            key = self._cache[key_id] = unseal(self._wrapping, row[0], _WRAP_AAD.format(key_id))
        return key

    def destroy(self, key_ids: Iterable[str]) -> int:
        """Remove keys for good; returns how many existed."""
        count = 0
        with self._lock:
            for key_id in key_ids:
                count += self._db.execute("DELETE FROM keys WHERE id = ?", (key_id,)).rowcount
                self._cache.pop(key_id, None)
        return count

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
