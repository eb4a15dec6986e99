"""Files that people are given: whole or not at all, and readable by whoever asked for them alone."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from strongroom.errors import UsageError


def require_writable(path: Path) -> None:
    """Raise `UsageError` where no file could be put, before the work begins that it is for."""
    if path.is_dir() or not path.parent.is_dir():
        raise UsageError(f"no file can be written at {path}", hint="Name a file in a folder that exists.")
    if not os.access(path.parent, os.W_OK):
        raise UsageError(f"the folder {path.parent} cannot be written to", hint="Choose another folder.")


def replace_file(path: Path, content: bytes) -> None:
    """Put the content in place in one step, readable by its owner alone. Raises `UsageError`."""
    try:
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as out:
                out.write(content)
            Path(draft).replace(path)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise
    except OSError as exc:
        raise UsageError(f"cannot write {path}: {exc.strerror}", hint="Name a file in a folder of yours.") from exc
