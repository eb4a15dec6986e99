"""Who may read what: the one place that turns a person into a filter.

Every search takes an `AccessFilter` by type, so a query without one does not type-check. Everything here fails
closed: an unknown user, an empty set of principals or a missing grant reads nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

LOCAL_USER = "local"


def user_principal(user_id: str) -> str:
    """What a grant to one person names."""
    return f"user:{user_id}"


def group_principal(group: str) -> str:
    """What a grant to a group names."""
    return f"group:{group}"


@dataclass(frozen=True, slots=True)
class AccessFilter:
    """The principals a person acts as, and the collections the question is about.

    `collections` are collection ids; `None` means every collection the principals can read. `barred` are the groups
    behind a wall: what any of them may read is hidden, whatever else would allow it. The index narrows by this; the
    catalogue rechecks every hit before release. `withheld` are the kinds of personal data that the person does not see,
    by collection id; "" stands for the collections that are not named. `documents` are the ids that the question is
    about; `None` means all.
    """

    principals: frozenset[str]
    collections: frozenset[str] | None = None
    barred: frozenset[str] = frozenset()
    withheld: tuple[tuple[str, frozenset[str]], ...] = ()
    documents: frozenset[str] | None = None

    def in_scope(self, collection_id: str, document_id: str) -> bool:
        """True when a document is among those that the question is about. Says nothing about rights."""
        in_collection = self.collections is None or collection_id in self.collections
        return in_collection and (self.documents is None or document_id in self.documents)

    def may_read(self, allow: frozenset[str], deny: frozenset[str]) -> bool:
        """True when some principal is allowed, none is denied, and nobody behind a wall is allowed. Deny wins."""
        return bool(self.principals & allow) and not (self.principals & deny) and not (self.barred & allow)

    def withheld_in(self, collection_id: str) -> frozenset[str]:
        """Kinds of personal data that are blacked out in documents of a collection."""
        rules = dict(self.withheld)
        return rules.get(collection_id, rules.get("", frozenset()))


NOBODY = AccessFilter(frozenset(), frozenset())
