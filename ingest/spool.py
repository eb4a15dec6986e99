"""Uploads on their way into the pipeline: plain files with random names, readable by us alone, gone after use.

The name a client gives is never used as a path. Nothing survives a restart: whatever is found at start is a leftover of
a crash and is removed. Only the process that owns the data directory may open a spool.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from strongroom.errors import NotPermittedError, UsageError
from strongroom.types import SourceFile

_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,10}\Z")


class Spool:
    """A folder (mode 0700) of uploads in flight, each limited to `max_bytes`."""

    def __init__(self, directory: Path, *, max_bytes: int) -> None:
        """Make the folder, or empty the one a crash left. Raises `NotPermittedError` when it is a symbolic link."""
        if directory.is_symlink():
            raise NotPermittedError(
                f"the spool folder {directory} is a symbolic link",
                hint="Remove it; Strongroom makes a folder of its own.",
            )
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        directory.chmod(0o700)
        self._directory = directory
        self._max_bytes = max_bytes
        self.wipe()

    def write(self, chunks: Iterable[bytes], *, uri: str, name: str) -> SourceFile:
        """Store one upload and return it as a source file; the caller removes it after use.

        Raises `UsageError` when it is larger than the limit. Whatever goes wrong, no part of the upload stays behind.
        """
        path = self._directory / (secrets.token_hex(16) + _suffix(name))
        size = 0
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(fd, "wb") as out:
                for chunk in chunks:
                    size += len(chunk)
                    if size > self._max_bytes:
                        raise UsageError(
                            f"{name} is larger than {self._max_bytes:,} bytes",
                            hint="Split the file, or raise `max_file_mb`.",
                        )
                    out.write(chunk)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return SourceFile(path=str(path), uri=uri, name=name, size=size)

    @contextmanager
    def holding(self, chunks: Iterable[bytes], *, uri: str, name: str) -> Iterator[SourceFile]:
        """`write` that removes the upload when the block ends, however it ends."""
        file = self.write(chunks, uri=uri, name=name)
        try:
            yield file
        finally:
            self.remove(file)

    def remove(self, file: SourceFile) -> None:
        """Remove an upload; one that is gone, or that lies elsewhere, is left alone."""
        path = Path(file.path)
        if path.parent == self._directory:
            path.unlink(missing_ok=True)

    def wipe(self) -> int:
        """Remove every upload and return how many there were."""
        count = 0
        with os.scandir(self._directory) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    continue
                with suppress(FileNotFoundError):
                    Path(entry.path).unlink()
                    count += 1
        return count


def _suffix(name: str) -> str:
    """The file name's extension when it is a plain one: some parsers go by it."""
    found = _SUFFIX.search(name)
    return found.group().lower() if found else ""
