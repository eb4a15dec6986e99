"""Which documents a question is about: by options, and by `#name` in its words.

Names are only ever compared with those of documents that the asker may read, so a name that is hidden and one that
never was look the same. Must not widen an `AccessFilter`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from strongroom.access import AccessFilter
from strongroom.errors import NotFoundError, UsageError
from strongroom.types import Clarification, DocumentInfo, DocumentState, Scope
from strongroom.wire import shown_uri

Documents = Callable[[], Sequence[DocumentInfo]]  # that the asker may read, within the collection asked

_MENTION = re.compile(r"(?<!\S)#(?:\"([^\"\n]{1,200})\"|([^\W_][\w.\-]*\w|[^\W\d_]\w*))")
_SHOWN = 6  # candidates named
_LEAST = 3  # letters of a mention that may stand for a part of a name


def mentions(text: str) -> list[str]:
    """What stands behind `#` in a text: `#lease`, `#lease-2024.pdf`, `#"annual report"`."""
    return [match.group(1) or match.group(2) for match in _MENTION.finditer(text)]


def without_marks(text: str) -> str:
    """The text with mentions as plain words: a document's name helps to find it."""
    return _MENTION.sub(lambda match: match.group(1) or match.group(2), text)


def named(name: str, documents: Sequence[DocumentInfo]) -> list[DocumentInfo]:
    """Documents that a name stands for, by the first that fits: id, name, name without ending, path, words of it."""
    wanted = name.strip().casefold()
    parts = set(_words(name))
    ways: tuple[Callable[[DocumentInfo], bool], ...] = (
        lambda d: d.id == wanted or (len(wanted) >= 8 and d.id.startswith(wanted)),
        lambda d: d.name.casefold() == wanted,
        lambda d: PurePosixPath(d.name).stem.casefold() == wanted,
        lambda d: "/" in wanted and shown_uri(d.path).casefold().endswith("/" + wanted.lstrip("./")),
        lambda d: len("".join(parts)) >= _LEAST and parts <= set(_words(d.name)),
        lambda d: len(wanted) >= _LEAST and any(w.startswith(wanted) for w in _words(d.name)),
    )
    return next((found for way in ways if (found := [d for d in documents if way(d)])), [])


def narrowed(access: AccessFilter, scope: Scope, documents: Documents) -> AccessFilter:
    """`access` within a scope. Raises `NotFoundError` for a name of no document, `UsageError` for one of several."""
    if scope == Scope():
        return access
    readable = documents()
    kept = [d for d in readable if _fits(d, scope)]
    if scope.documents:
        chosen = {_one(name, readable).id for name in scope.documents}
        kept = [d for d in kept if d.id in chosen]
    ids = frozenset(d.id for d in kept)
    return replace(access, documents=ids if access.documents is None else ids & access.documents)


def mentioned(
    access: AccessFilter, texts: Sequence[str], documents: Documents
) -> tuple[AccessFilter, Clarification | None]:
    """`access` within the documents that the first of `texts` with a known mention names.

    A mention that fits several documents, or a file name that fits none, is asked back. A `#` before other words is
    nobody's name and changes nothing.
    """
    for text in texts:
        found = mentions(text)
        if not found:
            continue
        readable = [d for d in documents() if d.state == DocumentState.INDEXED]
        chosen: set[str] = set()
        for name in found:
            fitting = named(name, readable)
            if len(fitting) > 1:
                return access, Clarification(f"Which document is meant by #{name}?", tuple(_options(fitting)))
            if not fitting and "." in name:
                return access, Clarification(f"There is no document #{name} that you may read. Which one is meant?", ())
            chosen.update(d.id for d in fitting)
        if chosen:
            ids = frozenset(chosen)
            return replace(access, documents=ids if access.documents is None else ids & access.documents), None
    return access, None


def _one(name: str, documents: Sequence[DocumentInfo]) -> DocumentInfo:
    found = named(name, documents)
    if not found:
        raise NotFoundError(f"document {name!r} does not exist", hint="`strongroom documents list` lists them.")
    if len(found) > 1:
        raise UsageError(f"{name!r} names {len(found)} documents", hint=f"Give one of: {'; '.join(_options(found))}.")
    return found[0]


def _options(documents: Sequence[DocumentInfo]) -> Iterator[str]:
    """Names, with the path where names are equal."""
    names = [d.name for d in documents]
    for d in documents[:_SHOWN]:
        yield d.name if names.count(d.name) == 1 else f"{d.name} ({shown_uri(d.path)}, {d.id[:8]})"


def _fits(document: DocumentInfo, scope: Scope) -> bool:
    day = document.updated.date()
    in_time = (scope.since is None or day >= scope.since) and (scope.until is None or day <= scope.until)
    kinds = {kind.casefold().lstrip(".") for kind in scope.types}
    ending = PurePosixPath(document.name).suffix.casefold().lstrip(".")
    of_type = not kinds or ending in kinds or document.mime.casefold() in kinds
    return in_time and of_type and (not scope.personal or document.holds(scope.personal))


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.casefold())


def described(collection: str | None, scope: Scope) -> str:
    """Where a question was asked, in words: `the documents in “contracts” since 2026-01-01`."""
    words = "the documents that you may read" if collection is None else f"the documents in “{collection}”"
    if scope.documents:
        words += f" named {', '.join(scope.documents)}"
    if scope.types:
        words += f" of type {', '.join(scope.types)}"
    if scope.personal:
        words += f" with personal data ({', '.join(scope.personal)})"
    if scope.since is not None:
        words += f" since {scope.since}"
    if scope.until is not None:
        words += f" until {scope.until}"
    return words
