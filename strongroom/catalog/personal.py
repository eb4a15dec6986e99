"""Personal data in stored documents: where it stands, and for whom it is blacked out.

Every word of a document that leaves the catalogue for a reader goes through a `Veil`. What a rule withholds is replaced
character by character, so that offsets, quotes and boxes stay right, and a model never gets to see it. A document that
nobody looked into is withheld as a whole where a rule withholds anything.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import Connection, Row, delete, insert, select

from strongroom.access import AccessFilter
from strongroom.catalog.base import CatalogBase
from strongroom.catalog.tables import collections, documents, pages, personal, users, versions, withholding
from strongroom.errors import NotFoundError, UsageError
from strongroom.types import PERSONAL_KINDS, DocumentState, PersonalData, Withholding

BLACK = "\u2588"
_SEPARATORS = str.maketrans(dict.fromkeys("_-.,/\\\t\n", " "))
_SHORTEST = 3  # characters of a value that is looked for in names and headings


@dataclass(frozen=True, slots=True)
class Veil:
    """What is withheld of one version: spans of its text, the words that stand there, or (`whole`) everything."""

    spans: tuple[tuple[int, int], ...] = ()
    values: tuple[str, ...] = ()
    whole: bool = False

    def text(self, text: str, start: int) -> str:
        """A part of the document's text that begins at offset `start`, blacked out."""
        if self.whole:
            return _blacked(text)
        for begin, end in self.within(start, start + len(text)):
            text = text[: begin - start] + _blacked(text[begin - start : end - start]) + text[end - start :]
        return text

    def words(self, words: str) -> str:
        """Words that stand elsewhere (a name, a path, a heading), with the withheld values blacked out."""
        if self.whole:
            return _blacked(words)
        plain = _plain(words)
        for value in self.values:
            at = plain.find(value)
            while at >= 0:
                words = words[:at] + _blacked(words[at : at + len(value)]) + words[at + len(value) :]
                at = plain.find(value, at + len(value))
        return words

    def within(self, start: int, end: int) -> tuple[tuple[int, int], ...]:
        """The withheld spans that touch `[start, end)`, cut to it."""
        if self.whole:
            return ((start, end),)
        return tuple((max(a, start), min(b, end)) for a, b in self.spans if a < end and b > start)


OPEN = Veil()


class PersonalMixin(CatalogBase):
    """Methods of `Catalog` for personal data."""

    # ------------------------------------------------------------------------------------------------ findings

    def note_personal(self, version_id: str, found: PersonalData) -> None:
        """Keep what was found in a version; replaces what was found before. Raises `NotFoundError`."""
        text = self.text_of(version_id)
        with self.store.write() as conn:
            key_id = self._key_of_version(conn, version_id)
            if key_id is None:
                raise NotFoundError(f"version {version_id} does not exist", hint="It was deleted or replaced.")
            self._keep_personal(conn, key_id, version_id, found, text)

    def not_looked_into(self, detector: str) -> list[str]:
        """Parsed versions in which personal data was not looked for by these rules, oldest first."""
        done = select(personal.c.version_id).where(personal.c.detector == detector)
        states = (DocumentState.INDEXED, DocumentState.PARSED)
        query = select(versions.c.id).where(versions.c.state.in_(states), versions.c.id.not_in(done))
        with self.store.read() as conn:
            return list(conn.execute(query.order_by(versions.c.created_at)).scalars())

    def personal_totals(self) -> dict[str, dict[str, Any]]:
        """By collection: current documents with text, how many were looked into, and findings by kind."""
        query = (
            select(documents.c.collection_id, personal.c.counts)
            .join(versions, versions.c.id == documents.c.current_version_id)
            .outerjoin(personal, personal.c.version_id == versions.c.id)
        )
        with self.store.read() as conn:
            rows = conn.execute(query).all()
            names = {r.id: r.name for r in conn.execute(select(collections.c.id, collections.c.name))}
        totals: dict[str, dict[str, Any]] = {}
        for collection_id, name in names.items():
            counts = [row.counts for row in rows if row.collection_id == collection_id]
            found = Counter[str]()
            for one in counts:
                found.update(json.loads(one or "{}"))
            totals[self.vault.open_text(name, f"collections.name:{collection_id}")] = {
                "documents": len(counts),
                "looked_into": sum(one is not None for one in counts),
                "findings": {kind: found[kind] for kind in PERSONAL_KINDS if found[kind]},
            }
        return dict(sorted(totals.items()))

    def text_of(self, version_id: str) -> str:
        """The whole text of a version, for the product's own work on it."""
        with self.store.read() as conn:
            rows = conn.execute(
                select(pages.c.idx, pages.c.text).where(pages.c.version_id == version_id).order_by(pages.c.idx)
            ).all()
        return "".join(self.vault.open_text(row.text, f"pages.text:{version_id}/{row.idx}") for row in rows)

    # ------------------------------------------------------------------------------------------------ rules

    def withholding(self) -> list[Withholding]:
        """Every rule, by collection and role."""
        with self.store.read() as conn:
            rows = conn.execute(select(withholding)).all()
            names = {r.id: r.name for r in conn.execute(select(collections.c.id, collections.c.name))}
        rules = [
            Withholding(
                row.role,
                tuple(json.loads(row.kinds)),
                self.vault.open_text(names[i], f"collections.name:{i}") if (i := row.collection_id) else None,
            )
            for row in rows
            if not row.collection_id or row.collection_id in names
        ]
        return sorted(rules, key=lambda r: (r.collection or "", r.role))

    def withhold(self, rule: Withholding, *, remove: bool = False) -> None:
        """Set the rule of a role and a collection, or remove it. It counts from the next reading.

        A rule without kinds shows everything, also where the rule for all collections does not. Raises `UsageError`
        for a kind that does not exist and `NotFoundError` for a collection that does not.
        """
        unknown = sorted(set(rule.kinds) - set(PERSONAL_KINDS))
        if unknown:
            raise UsageError(
                f"no such kind of personal data: {unknown[0]}", hint=f"Kinds: {', '.join(PERSONAL_KINDS)}."
            )
        place = ""
        with self.store.write() as conn:
            if rule.collection is not None:
                mac = self.vault.mac("collection", rule.collection)
                found = conn.execute(select(collections.c.id).where(collections.c.name_mac == mac)).scalar()
                if found is None:
                    raise NotFoundError(
                        f"collection {rule.collection!r} does not exist", hint="`strongroom collections` lists them."
                    )
                place = str(found)
            here = (withholding.c.collection_id == place, withholding.c.role == rule.role)
            conn.execute(delete(withholding).where(*here))
            if not remove:
                kinds = json.dumps([kind for kind in PERSONAL_KINDS if kind in rule.kinds])
                conn.execute(insert(withholding).values(collection_id=place, role=rule.role, kinds=kinds))

    def withholds(self) -> bool:
        """Whether any rule withholds anything: then every document has to be looked into."""
        return any(rule.kinds for rule in self.withholding())

    # ------------------------------------------------------------------------------------------------ inside

    def _withheld_from(self, conn: Connection, user: str) -> tuple[tuple[str, frozenset[str]], ...]:
        """What the rules keep from a user, as an `AccessFilter` holds it."""
        role = conn.execute(select(users.c.role).where(users.c.name == user)).scalar()
        rows = conn.execute(
            select(withholding.c.collection_id, withholding.c.kinds).where(withholding.c.role == role)
        ).all()
        return tuple(sorted((row.collection_id, frozenset(json.loads(row.kinds))) for row in rows))

    def _veils(self, conn: Connection, access: AccessFilter, rows: Iterable[Row[Any]]) -> dict[str, Veil]:
        """By version id, what `access` may not see of the documents in `rows` (with `version_id`, `collection_id`)."""
        kinds = {row.version_id: access.withheld_in(row.collection_id) for row in rows} if access.withheld else {}
        veiled = [version_id for version_id, withheld in kinds.items() if withheld]
        found: dict[str, Veil] = dict.fromkeys(veiled, Veil(whole=True))
        for at in range(0, len(veiled), 500):
            batch = personal.c.version_id.in_(veiled[at : at + 500])
            for row in conn.execute(select(personal.c.version_id, personal.c.spans).where(batch)):
                spans = self.vault.open_json(row.spans, f"personal.spans:{row.version_id}")
                found[row.version_id] = _veil(spans, kinds[row.version_id])
        return found

    def _keep_personal(self, conn: Connection, key_id: str, version_id: str, found: PersonalData, text: str) -> None:
        counts = Counter(span.kind for span in found.spans)
        spans = [[s.kind, s.start, s.end, s.score, text[s.start : s.end]] for s in found.spans]
        conn.execute(
            insert(personal)
            .values(
                version_id=version_id,
                detector=found.detector,
                counts=json.dumps({kind: counts[kind] for kind in PERSONAL_KINDS if counts[kind]}),
                spans=self.vault.seal_json(key_id, spans, f"personal.spans:{version_id}"),
            )
            .prefix_with("OR REPLACE")
        )

    def _copy_personal(self, conn: Connection, key_id: str, donor_id: str, version_id: str) -> None:
        """Take over what was found in a version of equal text."""
        row = conn.execute(select(personal).where(personal.c.version_id == donor_id)).first()
        if row is not None:
            old, new = f"personal.spans:{donor_id}", f"personal.spans:{version_id}"
            conn.execute(
                insert(personal)
                .values(
                    version_id=version_id,
                    detector=row.detector,
                    counts=row.counts,
                    spans=self.vault.reseal(row.spans, old, key_id, new),
                )
                .prefix_with("OR REPLACE")
            )


def _veil(spans: Sequence[Sequence[Any]], kinds: frozenset[str]) -> Veil:
    hidden = [span for span in spans if span[0] in kinds]
    values = {_plain(cast(str, span[4])).strip() for span in hidden}
    return Veil(
        tuple((span[1], span[2]) for span in hidden),
        tuple(sorted((v for v in values if len(v) >= _SHORTEST), key=lambda v: (-len(v), v))),
    )


def _plain(words: str) -> str:
    """Words as they are compared: lower case, separators as blanks, every character in its place."""
    return "".join(low if len(low := c.lower()) == 1 else c for c in words).translate(_SEPARATORS)


def _blacked(text: str) -> str:
    return "".join(c if c == "\n" else BLACK for c in text)


def kinds_of(counts: str | None) -> dict[str, int] | None:
    """Counts by kind as the catalogue holds them; `None` for a version that was not looked into."""
    return None if counts is None else json.loads(counts)
