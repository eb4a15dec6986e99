"""Which document a name on the command line means, and which names show a document best."""

from __future__ import annotations

from contextlib import suppress
from fnmatch import fnmatch
from typing import TYPE_CHECKING
from uuid import UUID

from strongroom.cli.common import printable
from strongroom.errors import NotFoundError, UsageError
from strongroom.types import DocumentInfo

if TYPE_CHECKING:
    from strongroom.engine import Engine

_CANDIDATES = 10


def find(opened: Engine, text: str, collection: str | None = None) -> DocumentInfo:
    """The one document that `text` names: an id, the beginning of one, a name, or the end of a path.

    Raises `NotFoundError` when there is none that the asker may read, and `UsageError` naming the candidates when there
    are several.
    """
    if _is_id(text):  # a name is asked for by its list: as an id it would be a refusal on record
        with suppress(NotFoundError):
            return opened.document(text)
    readable = opened.documents(collection)
    wanted = text.removeprefix("./")
    ways = (
        lambda d: len(text) >= 4 and d.id.startswith(text.lower()),
        lambda d: d.name == text,
        lambda d: shown_path(d).endswith("/" + wanted.lstrip("/")) or text in (d.path, shown_path(d)),
    )
    for way in ways:
        found = [d for d in readable if way(d)]
        if len(found) == 1:
            return found[0]
        if found:
            some = "; ".join(f"{d.id} {printable(shown_path(d))} ({d.collection})" for d in found[:_CANDIDATES])
            more = f" and {len(found) - _CANDIDATES} more" if len(found) > _CANDIDATES else ""
            raise UsageError(f"{text!r} names {len(found)} documents", hint=f"Give one id: {some}{more}.")
    raise NotFoundError(f"document {text!r} does not exist", hint="`strongroom documents list` lists them.")


def id_of(opened: Engine, text: str) -> str:
    """Id of the document that `text` names, where the asker reads it; else `text`: administrators name ids."""
    try:
        return find(opened, text).id
    except NotFoundError:
        return text


def _is_id(text: str) -> bool:
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False


def shown_path(document: DocumentInfo) -> str:
    from strongroom.wire import shown_uri

    return shown_uri(document.path)


def distinct_length(ids: list[str]) -> int:
    """How many characters, 8 at least, tell these ids apart."""
    return next((n for n in range(8, 36) if len({i[:n] for i in ids}) == len(ids)), 36)


def like(document: DocumentInfo, glob: str) -> bool:
    return any(fnmatch(text.casefold(), glob.casefold()) for text in (document.name, shown_path(document)))


def file_name(document: DocumentInfo) -> str:
    """The document's name as that of a file in one folder: whoever added it chose it, and it must lead nowhere else."""
    name = printable(document.name).replace("/", "_").strip()
    return document.id if name in ("", ".", "..") else name.encode()[-200:].decode("utf-8", "ignore")
