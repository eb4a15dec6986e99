"""Files that people are given: whole or not at all, and readable by whoever asked for them alone."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from strongroom.errors import UsageError


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
