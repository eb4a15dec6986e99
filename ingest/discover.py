"""Walk files and folders in a stable order and say, for every entry, whether it is to be ingested or why not.

Nothing is opened here and nothing is judged by content: that is `ingest.mime`'s work. Every
entry met ends as exactly one `SourceFile` or one `FileOutcome`, so that a run can account for each file by name.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from urllib.parse import quote

from ingest.members import SAFE
from strongroom.errors import UsageError
from strongroom.types import FileOutcome, SourceFile

# Paths stay plain strings here: there may be 100,000 of them, and names need not be UTF-8.
# ruff: noqa: PTH100, PTH114, PTH116, PTH118, PTH119, PTH120

MAX_BYTES = 2 * 1024**3
_MAX_DEPTH = 200  # each folder is two frames of Python's stack; running out of it would end the whole walk
_JUNK = frozenset({"thumbs.db", "desktop.ini", "ehthumbs.db", ".ds_store", "__macosx"})
_LOCK_PREFIXES = ("~$", ".~lock.", "._")


def discover(
    paths: Sequence[str | os.PathLike[str]],
    *,
    follow_symlinks: bool = False,
    max_bytes: int = MAX_BYTES,
    ignore: Sequence[str] = (),
) -> Iterator[SourceFile | FileOutcome]:
    """Yield the files under `paths` in sorted order, each path once, and an outcome for each entry passed over.

    Paths named by the caller are taken even when they are hidden or symbolic links; inside folders both are skipped
    with a reason. `ignore` holds shell patterns matched against the name and against the path below the folder named.
    Raises `UsageError` before anything is yielded when one of `paths` does not exist.
    """
    roots = [os.path.abspath(os.fspath(path)) for path in paths]
    for root in roots:
        if not os.path.lexists(root):
            raise UsageError(f"no such file or folder: {display(root)}", hint="check the path and run again")
    return _Walk(follow_symlinks=follow_symlinks, max_bytes=max_bytes, ignore=tuple(ignore)).run(roots)


def rediscover(
    roots: Sequence[str | os.PathLike[str]], changed: Sequence[str], *, max_bytes: int = MAX_BYTES
) -> Iterator[SourceFile | FileOutcome]:
    """As `discover`, but only what stands at or below the `changed` paths now; paths outside the roots are left out."""
    absolute = [os.path.abspath(os.fspath(root)) for root in roots]
    walk = _Walk(follow_symlinks=False, max_bytes=max_bytes, ignore=())
    for path in sorted(set(changed), key=os.fsencode):
        root = next((r for r in absolute if path == r or path.startswith(r.rstrip(os.sep) + os.sep)), None)
        if root is not None and os.path.lexists(path):
            yield from walk.again(path, root=root)


def display(path: str) -> str:
    """A path as it can be printed and stored: undecodable bytes shown as U+FFFD."""
    return os.fsencode(path).decode("utf-8", "replace")


def file_uri(path: str) -> str:
    """The `file://` URI of an absolute path, percent-encoded byte by byte, so that any file name has one."""
    return "file://" + quote(os.fsencode(path), safe=SAFE).replace("!/", "%21/")


class _Walk:
    """One walk; remembers what it has seen so that overlapping roots yield each path once."""

    def __init__(self, *, follow_symlinks: bool, max_bytes: int, ignore: tuple[str, ...]) -> None:
        self.follow_symlinks = follow_symlinks
        self.max_bytes = max_bytes
        self.ignore = ignore
        self.seen: set[str] = set()
        self.folders: set[tuple[int, int]] = set()  # only kept when links are followed: guards against loops

    def run(self, roots: Sequence[str]) -> Iterator[SourceFile | FileOutcome]:
        for root in roots:
            yield from self._entry(root, root=root)

    def again(self, path: str, *, root: str) -> Iterator[SourceFile | FileOutcome]:
        """What a whole walk from `root` would yield at `path`: nothing below a folder that it passes over."""
        above = os.path.dirname(path)
        while len(above) > len(root):
            if above in self.seen or os.path.islink(above) or self._skip_by_name(above, root=root) is not None:
                return
            above = os.path.dirname(above)
        yield from self._entry(path, root=root)

    def _entry(self, path: str, *, root: str) -> Iterator[SourceFile | FileOutcome]:
        if path in self.seen:
            return
        self.seen.add(path)
        named = path == root
        reason = self._skip_by_name(path, root=root)
        if reason is not None:
            yield _outcome(path, "skipped", reason)
            return
        try:
            info = os.lstat(path)
            if stat.S_ISLNK(info.st_mode):
                if not (named or self.follow_symlinks):
                    yield _outcome(path, "skipped", "symbolic link; name its target, or ask to follow links")
                    return
                info = os.stat(path)
        except OSError as exc:
            yield _outcome(path, "failed", _os_reason(exc))
            return
        if stat.S_ISDIR(info.st_mode):
            yield from self._folder(path, info, root=root)
        elif not stat.S_ISREG(info.st_mode):
            yield _outcome(path, "skipped", "not a regular file (device, pipe or socket)")
        elif info.st_size > self.max_bytes:
            yield _outcome(path, "skipped", f"{info.st_size} bytes is over the limit of {self.max_bytes}")
        elif not os.access(path, os.R_OK):
            yield _outcome(path, "failed", "permission denied: let this user read the file")
        else:
            yield SourceFile(path=path, uri=file_uri(path), name=display(os.path.basename(path)), size=info.st_size)

    def _folder(self, path: str, info: os.stat_result, *, root: str) -> Iterator[SourceFile | FileOutcome]:
        if path.count(os.sep) - root.count(os.sep) > _MAX_DEPTH:
            yield _outcome(path, "failed", f"nested more than {_MAX_DEPTH} folders deep")
            return
        if self.follow_symlinks:
            identity = (info.st_dev, info.st_ino)
            if identity in self.folders:
                yield _outcome(path, "skipped", "a link back to a folder that was already walked")
                return
            self.folders.add(identity)
        try:
            with os.scandir(path) as entries:
                names = sorted((entry.name for entry in entries), key=os.fsencode)
        except OSError as exc:
            yield _outcome(path, "failed", _os_reason(exc))
            return
        for name in names:
            yield from self._entry(os.path.join(path, name), root=root)

    def _skip_by_name(self, path: str, *, root: str) -> str | None:
        name = os.path.basename(path)
        if name.lower() in _JUNK:
            return "a file of the desktop, not a document"
        if name.startswith(_LOCK_PREFIXES):
            return "a lock or companion file of another program, not a document"
        if path == root:
            return None
        if name.startswith("."):
            return "hidden"
        relative = os.path.relpath(path, root)
        for pattern in self.ignore:
            if fnmatch(name, pattern) or fnmatch(relative, pattern):
                return f"ignored by pattern {pattern}"
        return None


def _outcome(path: str, outcome: str, reason: str) -> FileOutcome:
    return FileOutcome(path=display(path), outcome=outcome, reason=reason)  # type: ignore[arg-type]


def _os_reason(exc: OSError) -> str:
    if isinstance(exc, PermissionError):
        return "permission denied: let this user read it"
    if isinstance(exc, FileNotFoundError):
        return "broken symbolic link, or removed while the folder was read"
    return f"cannot be read: {exc.strerror or type(exc).__name__}"
