"""The vector index: one Protocol (`strongroom.ports.VectorIndex`), two adapters, one factory.

`edge` runs Qdrant's engine inside this process and is the default; `server` speaks to a Qdrant server. Both write the
same points, ask the same two queries and fuse them with the same code, so moving from one to the other changes no
ranking. Nothing here decides who may read: the filter comes in as an `AccessFilter` and only narrows.
"""

from __future__ import annotations

from pathlib import Path

from retrieval.index.sparse import SPARSE_FINGERPRINT
from strongroom.errors import ConfigError
from strongroom.ports import VectorIndex

__all__ = ["SPARSE_FINGERPRINT", "open_index"]


def open_index(
    *,
    dimension: int,
    path: Path | None = None,
    url: str | None = None,
    api_key: str | None = None,
    ca: Path | None = None,
    collection: str = "strongroom",
    replace_mismatched: bool = False,
) -> VectorIndex:
    """Open the index at `path` (embedded) or at `url` (server), creating it when it is not there yet.

    Raises `ConfigError` unless exactly one of the two is given, `IndexUnreachableError` when it cannot be opened,
    `IndexMismatchError` when it holds vectors of another size or sparse encoding (with `replace_mismatched` it is
    emptied instead, for `reindex`), `LockedError` when another process has the embedded index open. The adapter that
    is not asked for is not imported.
    """
    if (path is None) == (url is None):
        raise ConfigError(
            "the vector index needs either a directory or a server address",
            hint="Set one of the two; the default is a directory inside the data directory.",
        )
    if path is not None:
        from retrieval.index.edge import EdgeIndex

        return EdgeIndex(path, dimension, replace_mismatched=replace_mismatched)
    from retrieval.index.server import ServerIndex, connect

    assert url is not None
    client = connect(url, api_key=api_key, ca=ca)
    return ServerIndex(client, dimension, collection=collection, replace_mismatched=replace_mismatched)
