"""Which documents have lost their file, and whether that may be believed.

A folder that could not be read looks exactly like a folder whose files were deleted, so a document only counts as
vanished when its root is there, no error was met in or above it, and nothing stands at its path.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

from strongroom.types import FileOutcome
from strongroom.wire import shown_uri

# More than this many documents, and more than this share of a root's, are only removed when that is asked for.
MANY = 10
MOST = 0.5


class Seen:
    """What one listing came across. Filled by one thread, asked after it has ended."""

    def __init__(
        self, roots: Iterable[str], within: Iterable[str] | None = None, *, hidden: frozenset[str] = frozenset()
    ) -> None:
        """`roots` are the source URIs of the files and folders that were listed, `within` the parts that were.

        `hidden` are ids of documents that whoever lists may not read: nothing is said of them.
        """
        self.hidden = hidden
        self._within = None if within is None else {shown_uri(uri).rstrip("/") or "/": uri for uri in within}
        self._roots = {shown_uri(uri).rstrip("/") or "/": uri for uri in roots}
        self._uris: set[str] = set()
        self._passed_over: set[str] = set()
        self._errors: set[str] = set()
        self._trust: set[str] | None = None

    def file(self, uri: str) -> bool:
        """Note a file; false when it was noted before."""
        if uri in self._uris:
            return False
        self._uris.add(uri)
        return True

    def passed_over(self, outcome: FileOutcome) -> None:
        """Note an entry that was not taken: what lies at or below it may well still be there."""
        path = outcome.path.rstrip("/") or "/"
        self._passed_over.add(path)
        if outcome.outcome == "failed":
            self._errors.add(path)

    def vanished(self, sources: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """`(document id, URI)` of the documents in what was listed whose file is gone, by URI."""
        shown = (pair for pair in sources if pair[0] not in self.hidden)
        listed = (pair for pair in shown if self._was_looked_for(pair[1]) and self.gone(pair[1]))
        return sorted(listed, key=lambda pair: pair[1])

    @property
    def complete(self) -> bool:
        """True when only some paths were looked for, and a file was met at each of them: nothing can have vanished."""
        return self._within is not None and self._uris.issuperset(self._within.values())

    def _was_looked_for(self, uri: str) -> bool:
        path = shown_uri(uri)
        return self._within is None or not self._within.keys().isdisjoint([path, *_parents(path)])

    def gone(self, uri: str) -> bool:
        """True when a source is under a root that may be believed, and its file was not listed and is not there."""
        if uri in self._uris or _is_here(uri):
            return False
        path = shown_uri(uri)
        above = [path, *_parents(path)]
        return bool(self.trusted.intersection(above)) and not self._passed_over.intersection(above)

    def listed(self, uri: str) -> bool:
        """True for a file that the listing came across."""
        return uri in self._uris

    def believed(self, uri: str) -> bool:
        """True when the source is under a root that may be believed."""
        path = shown_uri(uri)
        return bool(self.trusted.intersection([path, *_parents(path)]))

    @property
    def trusted(self) -> set[str]:
        """Roots whose listing may be believed. Asked for when the listing has ended."""
        if self._trust is None:
            self._trust = {path for path, uri in self._roots.items() if self._trusted(path, uri)}
        return self._trust

    def too_many(self, gone: Iterable[tuple[str, str]], sources: Iterable[tuple[str, str]]) -> dict[str, str]:
        """Document ids that must not be removed without being told twice, with the reason.

        Those are the documents of a root of which nothing is left, or of which most would go at once: a disk that is
        not mounted and a folder that was emptied by mistake look like that.
        """
        total = Counter(self._root(uri) for _, uri in sources)
        lost: dict[str, list[str]] = {}
        for document_id, uri in gone:
            lost.setdefault(self._root(uri), []).append(document_id)
        kept: dict[str, str] = {}
        for root, ids in lost.items():
            if len(ids) == total[root] or (len(ids) > MANY and len(ids) > MOST * total[root]):
                what = f"{len(ids)} of {total[root]} documents below {root} would go"
                kept |= dict.fromkeys(ids, f"Its file is gone, but it is kept: {what}; `--prune-all` removes them.")
        return kept

    def _root(self, uri: str) -> str:
        """The nearest trusted root of a source; empty for one that is under none."""
        path = shown_uri(uri)
        return next((p for p in [path, *_parents(path)] if p in self.trusted), "")

    def _met_below(self, root: str) -> bool:
        return any(root == path or root in _parents(path) for path in (*map(shown_uri, self._uris), *self._passed_over))

    def _trusted(self, path: str, uri: str) -> bool:
        """False when the root is missing or something at or under it could not be read.

        The root of an upload is a folder on another machine: that it is there shows in what was listed below it.
        """
        if not (_is_here(uri) or self._met_below(path)):
            return False
        return not any(path == error or path in _parents(error) for error in self._errors)


def _is_here(uri: str) -> bool:
    return uri.startswith("file:///") and os.path.lexists(os.fsdecode(unquote_to_bytes(uri.removeprefix("file://"))))


def _parents(path: str) -> list[str]:
    """The folders above a path (or the prefixes of a URI at its slashes), nearest first."""
    found = []
    while (cut := path.rfind("/")) > 0:
        path = path[:cut]
        found.append(path)
    return [*found, "/"]
