"""What the index knows of who may read what, kept in step with the catalogue. Must not decide anything about it.

A changed grant puts the documents that it is about on a list, in the transaction that changes it. `tell_index` works
through that list: right after the change, before the next search, and after a crash at the next start. Points that are
written meanwhile carry principals from the same moment as their writing, under the same lock, so that no change can
fall between.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from strongroom.ports import IndexPoint

if TYPE_CHECKING:
    from strongroom.catalog import Catalog
    from strongroom.ports import VectorIndex

_TELLING = threading.Lock()


def tell_index(catalog: Catalog, index: VectorIndex) -> int:
    """Give the index the principals of documents whose grants changed; returns how many. Cheap when there are none."""
    if not catalog.regrants():
        return 0
    with _TELLING:
        waiting = catalog.regrants()
        for document_id, (allow, deny) in catalog.principals_of(waiting).items():
            index.set_access(document_id, sorted(allow), sorted(deny))
        index.flush()
        catalog.regrants_done(waiting)
    return len(waiting)


def write_points(catalog: Catalog, index: VectorIndex, points: Sequence[IndexPoint]) -> None:
    """Write points with the principals that their documents have now. A document that is gone has none."""
    with _TELLING:
        now = catalog.principals_of(point.document_id for point in points)
        nobody: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())
        fresh = []
        for point in points:
            allow, deny = now.get(point.document_id, nobody)
            fresh.append(replace(point, allow=tuple(sorted(allow)), deny=tuple(sorted(deny))))
        index.upsert(fresh)
