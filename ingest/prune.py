"""Which documents have lost their file, and whether that may be believed.

A folder that could not be read looks exactly like a folder whose files were deleted, so a document only counts as
vanished when its root is there, no error was met in or above it, and nothing stands at its path.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

from strongroom.types import FileOutcome
from strongroom.wire import shown_uri


class Seen:
    """What one listing came across. Filled by one thread, asked after it has ended."""

    def __init__(self, roots: Iterable[str]) -> None:
        """`roots` are the source URIs of the files and folders that were listed."""
        self._roots = {shown_uri(uri).rstrip("/") or "/": uri for uri in roots}
        self._uris: set[str] = set()
        self._passed_over: set[str] = set()
        self._errors: set[str] = set()

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
        """`(document id, URI)` of the documents under the roots whose file is gone, by URI."""
        trusted = {path for path, uri in self._roots.items() if self._trusted(path, uri)}
        gone = []
        for document_id, uri in sources:
            if uri in self._uris:
                continue
            path = shown_uri(uri)
            above = [path, *_parents(path)]
            if trusted.intersection(above) and not self._passed_over.intersection(above):
                gone.append((document_id, uri))
        return sorted(gone, key=lambda pair: pair[1])

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
