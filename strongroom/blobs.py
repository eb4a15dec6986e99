"""Originals as encrypted files, one a version, each under its document's own key.

A blob is written to a temporary name, synced, and renamed, so that a crash leaves either the whole blob or none.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from strongroom.crypto import KeyStore, open_stream, seal_stream
from strongroom.errors import IntegrityError

_TEMPORARY = ".part"


class BlobStore:
    """Encrypted originals under `<root>/<first two characters of the version id>/<version id>`."""

    def __init__(self, root: Path, keys: KeyStore, key_of: Callable[[str], str]) -> None:
        """`key_of` maps a document id to the id of its data key."""
        self._root = root
        self._keys = keys
        self._key_of = key_of
        root.mkdir(parents=True, exist_ok=True, mode=0o700)

    def path(self, version_id: str) -> Path:
        return self._root / version_id[:2] / version_id

    def put(self, document_id: str, version_id: str, source: Path | BinaryIO) -> None:
        """Encrypt the file at `source`, or an open one; replaces an earlier blob of the same version."""
        key = self._keys.get(self._key_of(document_id))
        target = self.path(version_id)
        target.parent.mkdir(exist_ok=True, mode=0o700)
        temporary = target.with_name(target.name + _TEMPORARY)
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        opened = source.open("rb") if isinstance(source, Path) else source
        with os.fdopen(fd, "wb") as sink, opened as plain:
            seal_stream(key, plain, sink, _aad(version_id))
            sink.flush()
            os.fsync(sink.fileno())
        temporary.replace(target)

    def stream(self, document_id: str, version_id: str) -> Iterator[bytes]:
        """Decrypted segments. Raises `IntegrityError` when the blob is missing or damaged."""
        key = self._keys.get(self._key_of(document_id))
        try:
            with self.path(version_id).open("rb") as source:
                yield from open_stream(key, source, _aad(version_id))
        except FileNotFoundError as exc:
            raise IntegrityError(
                f"the original of document {document_id} is missing", hint="Restore `blobs/` from a backup."
            ) from exc

    def read(self, document_id: str, version_id: str) -> bytes:
        """The whole original."""
        return b"".join(self.stream(document_id, version_id))

    def exists(self, version_id: str) -> bool:
        return self.path(version_id).is_file()

    def delete(self, version_id: str) -> None:
        """Remove a blob; a missing one is fine."""
        self.path(version_id).unlink(missing_ok=True)

    def ids(self) -> Iterator[str]:
        """Version ids that have a blob; leftovers of a crash (`*.part`) are not among them."""
        for folder in sorted(self._root.iterdir()):
            if folder.is_dir():
                yield from sorted(p.name for p in folder.iterdir() if not p.name.endswith(_TEMPORARY))


def _aad(version_id: str) -> str:
    return f"blob:{version_id}"
