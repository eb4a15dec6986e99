"""The vector index on a Qdrant server or cluster. The only importer of `qdrant_client`.

Speaks REST only: gRPC opens connections in native code, which the egress guard cannot see. Every write waits until it
is applied and logged by the server, so `flush` has nothing left to do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
from qdrant_client import QdrantClient, models
from qdrant_client.common.client_exceptions import QdrantException
from qdrant_client.http.exceptions import ApiException, UnexpectedResponse

from retrieval.index import filters, fusion
from retrieval.index.filters import Conditions
from retrieval.index.hybrid import HybridIndex
from retrieval.index.points import batches, check_points, known_uuids
from retrieval.index.sparse import SPARSE_FINGERPRINT, SparseTerms
from strongroom.errors import ConfigError, IndexMismatchError, IndexUnreachableError, StrongroomError
from strongroom.ports import IndexPoint, Vector

_PAGE = 2_000  # points a scroll page
_BATCH = 128  # points an upsert request: about 1 MB of JSON at 384 dimensions
_OLDEST = (1, 19)  # first server that counts IDF inside a filter; an older one would leak hidden documents into scores


def connect(url: str, *, api_key: str | None = None, ca: Path | None = None, timeout: int = 30) -> QdrantClient:
    """A client for the server at `url`; nothing is sent yet.

    `ca` is a PEM file with the authority that signed the server's certificate. Proxy settings of the environment are
    ignored: vectors go to the named host or nowhere.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(
            f"the address of the vector index is not a URL: {url!r}",
            hint="Write it like https://qdrant.example.org:6333.",
        )
    if ca is not None and not ca.is_file():
        raise ConfigError(f"no certificate file at {ca}", hint="Name a PEM file of your certificate authority.")
    port = parts.port or (443 if parts.scheme == "https" else 6333)
    options: dict[str, Any] = {"trust_env": False}
    if ca is not None:
        options["verify"] = str(ca)
    return QdrantClient(
        url=url, port=port, api_key=api_key, timeout=timeout, prefer_grpc=False, check_compatibility=False, **options
    )


class ServerIndex(HybridIndex):
    """`VectorIndex` over one collection of a Qdrant server, created when it is missing. Safe to share between threads.

    Takes the client ready-made (see `connect`), so that contract tests can hand in the in-memory one.
    """

    def __init__(
        self,
        client: QdrantClient,
        dimension: int,
        *,
        collection: str = "strongroom",
        replace_mismatched: bool = False,
    ) -> None:
        super().__init__(dimension)
        self._client, self._collection = client, collection
        self._closed = False
        with self._mapped("open"):
            self._check_version()
            if not client.collection_exists(collection):
                self._create()
            elif differing := self._differing():
                if not replace_mismatched:
                    raise IndexMismatchError(
                        f"the collection {collection!r} was built with another {' and '.join(differing)}",
                        hint="Run `strongroom reindex`, or name another collection.",
                    )
                client.delete_collection(collection)
                self._create()

    # -------------------------------------------------------------------------------------------- writing

    def upsert(self, points: Sequence[IndexPoint]) -> None:
        """Insert or replace points by id. Raises `IndexMismatchError` for vectors of another size."""
        check_points(points, self._dimension)
        for batch in batches(points, _BATCH):
            with self._mapped("store points"):
                self._client.upsert(self._collection, [self._point(p) for p in batch], wait=True)

    def delete_versions(self, version_ids: Sequence[str]) -> None:
        for batch in batches(version_ids, _BATCH):
            selector = models.FilterSelector(filter=_filter(filters.field_is(filters.VERSION, tuple(batch))))
            with self._mapped("delete points"):
                self._client.delete(self._collection, points_selector=selector, wait=True)

    def set_access(self, document_id: str, allow: Sequence[str], deny: Sequence[str]) -> None:
        where = _filter(filters.field_is(filters.DOCUMENT, (document_id,)))
        with self._mapped("change access"):
            self._client.set_payload(
                self._collection, payload=filters.access_payload(tuple(allow), tuple(deny)), points=where, wait=True
            )

    def flush(self) -> None:
        """Nothing to do: every write waited for the server. Raises when the index is closed, like every method."""
        with self._mapped("flush"):
            pass

    def compact(self, patience: float = 0.0) -> bool:
        """Not in our hands: the server rewrites a segment when enough of its points are deleted."""
        return False

    def clear(self) -> None:
        """Remove every point by dropping and re-creating the collection."""
        with self._mapped("clear"):
            self._client.delete_collection(self._collection)
            self._create()

    def close(self) -> None:
        """Release the connections. Safe to call twice."""
        if not self._closed:
            self._closed = True
            self._client.close()

    # -------------------------------------------------------------------------------------------- reading

    def _ask(self, dense: Vector, terms: SparseTerms, conditions: Conditions, depth: int) -> list[fusion.Ranked]:
        where = _filter(conditions)
        requests = [models.QueryRequest(query=dense.tolist(), using=filters.DENSE, filter=where, limit=depth)]
        if terms.indices:
            requests.append(
                models.QueryRequest(
                    query=models.SparseVector(indices=list(terms.indices), values=list(terms.values)),
                    using=filters.SPARSE,
                    filter=where,
                    limit=depth,
                    params=models.SearchParams(idf=models.IdfCorpusParams(corpus=where)),
                )
            )
        with self._mapped("search"):
            answers = self._client.query_batch_points(self._collection, requests)
        return [[(str(p.id), float(p.score)) for p in answer.points] for answer in answers]

    def version_points(self, version_id: str) -> set[str]:
        where = _filter(filters.field_is(filters.VERSION, (version_id,)))
        return {str(record.id) for record in self._scroll(where, with_payload=False)}

    def vectors(self, ids: Sequence[str]) -> dict[str, Vector]:
        found: dict[str, Vector] = {}
        for batch in batches(known_uuids(ids), _PAGE):
            with self._mapped("read vectors"):
                records = self._client.retrieve(
                    self._collection, list(batch), with_payload=False, with_vectors=[filters.DENSE]
                )
            found.update((str(r.id), np.asarray(r.vector[filters.DENSE], dtype=np.float32)) for r in records)
        return found

    def all_points(self) -> dict[str, str]:
        records = self._scroll(None, with_payload=[filters.VERSION])
        return {str(record.id): str(record.payload[filters.VERSION]) for record in records}

    def count(self) -> int:
        with self._mapped("count points"):
            return int(self._client.count(self._collection, exact=True).count)

    # -------------------------------------------------------------------------------------------- server

    def _point(self, point: IndexPoint) -> models.PointStruct:
        terms = self._encoder.document(point.text, name=point.name, opening=point.opening)
        vector: dict[str, Any] = {filters.DENSE: point.dense.tolist()}
        if terms.indices:
            vector[filters.SPARSE] = models.SparseVector(indices=list(terms.indices), values=list(terms.values))
        return models.PointStruct(id=point.id, vector=vector, payload=filters.payload_of(point))

    def _scroll(self, where: models.Filter | None, *, with_payload: bool | list[str]) -> Iterator[Any]:
        offset = None
        while True:
            with self._mapped("list points"):
                records, offset = self._client.scroll(
                    self._collection, scroll_filter=where, limit=_PAGE, offset=offset, with_payload=with_payload
                )
            yield from records
            if offset is None:
                return

    def _check_version(self) -> None:
        version = str(self._client.info().version)
        numbers = [int(n) for n in version.split("-")[0].split(".")[:2] if n.isdigit()]
        if tuple(numbers) < _OLDEST:
            raise IndexUnreachableError(
                f"the Qdrant server is version {version}; {_OLDEST[0]}.{_OLDEST[1]} or newer is needed",
                hint="Upgrade the server: older ones let documents a person may not read change that person's scores.",
            )

    def _create(self) -> None:
        self._client.create_collection(
            self._collection,
            vectors_config={filters.DENSE: models.VectorParams(size=self._dimension, distance=models.Distance.COSINE)},
            sparse_vectors_config={filters.SPARSE: models.SparseVectorParams(modifier=models.Modifier.IDF)},
            metadata=self._built_with(),
        )
        for field in filters.KEYWORD_FIELDS:
            self._client.create_payload_index(
                self._collection, field, field_schema=models.PayloadSchemaType.KEYWORD, wait=True
            )

    def _differing(self) -> list[str]:
        """What the collection was built with that is not what this index would build."""
        config = self._client.get_collection(self._collection).config
        vectors: Any = config.params.vectors
        stored: dict[str, Any] = dict(config.metadata or {})
        dense = vectors.get(filters.DENSE) if isinstance(vectors, dict) else None
        stored["dimension"] = getattr(dense, "size", None)
        return sorted(key for key, value in self._built_with().items() if stored.get(key) != value)

    def _built_with(self) -> dict[str, Any]:
        return {
            "dimension": self._dimension,
            "sparse encoding": SPARSE_FINGERPRINT,
            "schema": filters.SCHEMA_VERSION,
        }

    # -------------------------------------------------------------------------------------------- errors

    @contextmanager
    def _mapped(self, action: str) -> Iterator[None]:
        """Turn what the client raises into ours; the in-memory client raises `ValueError` and `RuntimeError`."""
        what = f"the vector index (collection {self._collection!r}) failed to {action}"
        if self._closed:
            raise IndexUnreachableError(f"{what}: it is closed", hint="Open it again.")
        try:
            yield
        except StrongroomError:
            raise
        except UnexpectedResponse as exc:
            refused = exc.status_code in (401, 403)
            hint = "Check the API key." if refused else "See the Qdrant server's log."
            raise IndexUnreachableError(f"{what}: HTTP {exc.status_code} {exc.reason_phrase}", hint=hint) from exc
        except (ApiException, QdrantException, httpx.HTTPError, OSError, ValueError, RuntimeError) as exc:
            raise IndexUnreachableError(
                f"{what}: {exc}",
                hint="Is the Qdrant server running, and are its address and certificate right? Run `strongroom check`.",
            ) from exc


def _filter(conditions: Conditions) -> models.Filter:
    def match(field: str, values: tuple[str, ...]) -> Any:
        return models.FieldCondition(key=field, match=models.MatchAny(any=list(values)))

    return models.Filter(
        must=[match(f, v) for f, v in conditions.must],
        must_not=[match(f, v) for f, v in conditions.must_not],
    )
