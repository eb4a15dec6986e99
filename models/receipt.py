"""The receipt of an installed model: which files with which hashes, under which licence, since when.

A receipt is written last, so a model without one was never finished. Hashing gigabytes at every start is too slow, so
each file also has a stamp (size, modification and inode-change time): the kernel changes the latter on every write
and no program can set it, so an equal stamp means an unchanged file. Any other stamp costs a full hash.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from models.catalogue import safe_relative
from models.spec import file_sha256
from strongroom.errors import ModelError

RECEIPT = "receipt.json"
SCHEMA = 1


@dataclass(frozen=True, slots=True)
class InstalledFile:
    """One file below the model's folder. `stamp` is (modified, changed) in nanoseconds."""

    path: str
    size: int
    sha256: str
    stamp: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was installed. `entry` is the path to hand to the adapter, below the model's folder."""

    id: str
    name: str
    kind: str
    licence: str
    permits: str
    source: str
    installed: str  # UTC, ISO 8601
    entry: str
    files: tuple[InstalledFile, ...]
    query_prefix: str = ""
    document_prefix: str = ""
    schema: int = SCHEMA

    def hashes(self, below: str = "") -> dict[str, str]:
        """SHA-256 by path relative to the folder `below`."""
        prefix = f"{below}/" if below else ""
        return {file.path[len(prefix) :]: file.sha256 for file in self.files if file.path.startswith(prefix)}


def describe(folder: Path, path: str) -> InstalledFile:
    """Hash one file of a model's folder."""
    return InstalledFile(path, (folder / path).stat().st_size, file_sha256(folder / path), _stamp(folder / path))


def write_receipt(folder: Path, receipt: Receipt) -> None:
    """Write atomically: a reader sees the old receipt or the new one."""
    partial = folder / f".{RECEIPT}.{os.getpid()}"
    with partial.open("w", encoding="utf-8") as out:
        json.dump(asdict(receipt), out, indent=1, sort_keys=True)
        out.flush()
        os.fsync(out.fileno())
    partial.replace(folder / RECEIPT)


def read_receipt(folder: Path) -> Receipt | None:
    """The receipt of a folder, or `None` when there is none. Raises `ModelError` when it is damaged."""
    path = folder / RECEIPT
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as exc:
        raise _damaged(folder, str(exc)) from exc
    try:
        if raw["schema"] != SCHEMA:
            raise ValueError(f"schema {raw['schema']} is not {SCHEMA}")
        files = tuple(
            InstalledFile(str(f["path"]), int(f["size"]), str(f["sha256"]), (int(f["stamp"][0]), int(f["stamp"][1])))
            for f in raw["files"]
        )
        if not all(safe_relative(path) for path in (raw["entry"], *(f.path for f in files))):
            raise ValueError("a path leaves the model's folder")
        return Receipt(**{**raw, "files": files})
    except (KeyError, TypeError, ValueError, IndexError) as exc:
        raise _damaged(folder, f"{type(exc).__name__}: {exc}") from exc


def check_files(folder: Path, receipt: Receipt, *, thorough: bool) -> Receipt:
    """Compare files with the receipt; return it with fresh stamps. Raises `ModelError` naming the first bad file.

    `thorough` hashes everything; otherwise only files whose stamp moved.
    """
    fresh = tuple(_check_file(folder, receipt.id, file, thorough=thorough) for file in receipt.files)
    return replace(receipt, files=fresh)


def _check_file(folder: Path, model_id: str, file: InstalledFile, *, thorough: bool) -> InstalledFile:
    path = folder / file.path
    hint = f"Remove it and install it again: `strongroom models remove {model_id}`, then pull or import."
    try:
        size, stamp = path.stat().st_size, _stamp(path)
        if size != file.size:
            raise ModelError(f"model {model_id}: {file.path} has {size} bytes, installed were {file.size}", hint=hint)
        if stamp == file.stamp and not thorough:
            return file
        found = file_sha256(path)
    except OSError as exc:
        raise ModelError(f"model {model_id}: {file.path} cannot be read: {exc}", hint=hint) from exc
    if found != file.sha256:
        raise ModelError(
            f"model {model_id}: {file.path} was changed after it was installed (SHA-256 {found})", hint=hint
        )
    return replace(file, stamp=stamp)


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_ctime_ns


def _damaged(folder: Path, why: str) -> ModelError:
    return ModelError(
        f"the receipt of model {folder.name} is damaged: {why}",
        hint=f"Remove it and install it again: `strongroom models remove {folder.name}`, then pull or import.",
    )
