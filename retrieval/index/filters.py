"""What a point carries besides its vectors, and the access filter in an engine-neutral form.

One place decides which fields exist and what an `AccessFilter` means, so that the two adapters cannot drift apart.
Fails closed: a filter that could match nobody's documents is `None`, and adapters then ask no engine at all.
"""

from __future__ import annotations

from dataclasses import dataclass

from strongroom.access import AccessFilter
from strongroom.ports import IndexPoint

DENSE, SPARSE = "dense", "sparse"  # names of the two vectors of a point
DOCUMENT, VERSION, COLLECTION, ALLOW, DENY = "document_id", "version_id", "collection_id", "allow", "deny"
KEYWORD_FIELDS = (ALLOW, DENY, COLLECTION, DOCUMENT, VERSION)
SCHEMA_VERSION = 1  # of the payload and the vector names; a change needs `strongroom reindex`


@dataclass(frozen=True, slots=True)
class Conditions:
    """Every `must` field holds one of its values and no `must_not` field holds any of its values."""

    must: tuple[tuple[str, tuple[str, ...]], ...] = ()
    must_not: tuple[tuple[str, tuple[str, ...]], ...] = ()


def payload_of(point: IndexPoint) -> dict[str, object]:
    """The fields stored with a point: ids and principals, never a word of the text."""
    return {
        DOCUMENT: point.document_id,
        VERSION: point.version_id,
        COLLECTION: point.collection_id,
        **access_payload(point.allow, point.deny),
    }


def access_payload(allow: tuple[str, ...], deny: tuple[str, ...]) -> dict[str, object]:
    """The two fields that say who may read, sorted so that equal sets are equal payloads."""
    return {ALLOW: sorted(set(allow)), DENY: sorted(set(deny))}


def access_conditions(access: AccessFilter) -> Conditions | None:
    """The conditions of a search under `access`; `None` when it can match nothing.

    No principals, or an empty set of collections or documents, means nothing; `None` means any of them.
    """
    if not access.principals or access.collections == frozenset() or access.documents == frozenset():
        return None
    principals = tuple(sorted(access.principals))
    must: tuple[tuple[str, tuple[str, ...]], ...] = ((ALLOW, principals),)
    if access.collections is not None:
        must += ((COLLECTION, tuple(sorted(access.collections))),)
    if access.documents is not None:
        must += ((DOCUMENT, tuple(sorted(access.documents))),)
    must_not: tuple[tuple[str, tuple[str, ...]], ...] = ((DENY, principals),)
    if access.barred:
        must_not += ((ALLOW, tuple(sorted(access.barred))),)
    return Conditions(must=must, must_not=must_not)


def field_is(field: str, values: tuple[str, ...]) -> Conditions:
    """The conditions that pick points whose `field` is one of `values`."""
    return Conditions(must=((field, values),))
