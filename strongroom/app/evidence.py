"""What an installation can show about itself: the facts of `strongroom report`, as JSON data.

Reads beside a running server, changes nothing, opens no document. Holds ids, names of people and collections, counts
and settings; no word of a document, no name of one, no secret. It is evidence for the organisation's own assessment:
nothing here says that a law is complied with (`strongroom.app.articles` names the articles it can serve).
"""

from __future__ import annotations

import json
import platform
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from strongroom import __version__
from strongroom.audit import receipt as receipts
from strongroom.wire import to_data

if TYPE_CHECKING:
    from strongroom.audit import Audit
    from strongroom.catalog import Catalog
    from strongroom.config import Loaded

_NEWEST = 100  # attempts and receipts that are listed; all are counted
EGRESS = "egress.blocked"


def collect(loaded: Loaded, catalog: Catalog, audit: Audit, *, at: str) -> dict[str, Any]:
    """Every section by its id. `at` is the time of the report, ISO 8601 in UTC; the rest follows from the state."""
    from models.registry import Registry
    from strongroom.app.sbom import bill_of_materials

    settings = loaded.settings
    installed = sorted(Registry(settings.models_dir).installed(), key=lambda m: m.id)
    log = _log(audit)
    return {
        "made": at,
        "version": {"strongroom": __version__, "python": platform.python_version(), "system": platform.platform()},
        "configuration": _configuration(loaded),
        "models": [
            {
                "id": m.id,
                "kind": m.kind,
                "licence": m.licence,
                "permits": m.permits,
                "sha256": m.sha256,
                "in_use": m.id in (settings.model, settings.embedder, settings.speech),
            }
            for m in installed
        ],
        "reader": _own_reader(),
        "documents": _documents(catalog),
        "personal_data": _personal(catalog),
        "access": _access(catalog),
        "sign_in": _sign_in(loaded, catalog, audit),
        "audit": _chain(audit, log),
        "egress": {"attempts": log["egress"][-_NEWEST:], "count": len(log["egress"]), "waiting": _waiting(loaded)},
        "encryption": {
            "key_source": settings.key_source,
            "keys_apart": settings.keys_dir is not None,
            "data_keys": len(catalog.vault.keys.ids()),
            "destroyed_keys": len(catalog.vault.keys.destroyed()),
        },
        "deletion": _deletion(catalog, audit),
        "materials": bill_of_materials(installed, at=at),
    }


def _configuration(loaded: Loaded) -> list[dict[str, Any]]:
    from strongroom.config import SECRET_KEYS

    rows = []
    for key in type(loaded.settings).model_fields:
        value = getattr(loaded.settings, key)
        shown = "(set)" if key in SECRET_KEYS and value else value
        plain = list(map(str, shown)) if isinstance(shown, tuple) else shown
        plain = plain if isinstance(plain, (list, str, int, float, bool)) or plain is None else str(plain)
        rows.append({"key": key, "value": plain, "origin": loaded.origins[key].split(" ")[0]})
    return rows


def _own_reader() -> dict[str, Any]:
    from models.incoming import path_sha256
    from models.reader_weights import about, reader_folder

    folder = reader_folder()
    weights = sorted(folder.glob("*.safetensors"))
    return {"base": str(about(folder)["base"]), "sha256": {path.name: path_sha256(path) for path in weights}}


def _documents(catalog: Catalog) -> dict[str, Any]:
    per, states, chunks = catalog.counts()
    return {"collections": dict(sorted(per.items())), "states": dict(sorted(states.items())), "chunks": chunks}


def _personal(catalog: Catalog) -> dict[str, Any]:
    return {
        "collections": catalog.personal_totals(),
        "rules": [to_data(rule) for rule in catalog.withholding()],
    }


def _access(catalog: Catalog) -> dict[str, Any]:
    """People with their roles and groups, what is granted to whom, and who may never meet."""
    groups = catalog.groups()
    people = [
        {"user": name, "role": role, "groups": sorted(g.name for g in groups if name in g.members)}
        for name, role in catalog.people()
    ]
    single = [g for g in catalog.grants() if g.resource == "document"]
    return {
        "people": people,
        "collections": [to_data(g) for g in catalog.grants() if g.resource == "collection"],
        "single_documents": dict(sorted(Counter(f"{g.principal} {g.effect} {g.right}" for g in single).items())),
        "walls": [to_data(wall) for wall in catalog.walls()],
    }


def _sign_in(loaded: Loaded, catalog: Catalog, audit: Audit) -> dict[str, Any]:
    """How people get in: by what each signs in, who has a second factor, and who must."""
    from strongroom.accounts import Accounts

    settings = loaded.settings
    people = Accounts(catalog.store, catalog.vault, audit, second_factor=settings.second_factor).ways_in()
    by_password = [one for one in people if one["password"]]
    return {
        "single_sign_on": settings.oidc_issuer,
        "second_factor": settings.second_factor,
        "people": people,
        "by_password": len(by_password),
        "with_second_factor": sum(bool(one["second_factor"]) for one in by_password),
        "administrators_without": [o["user"] for o in by_password if o["role"] == "admin" and not o["second_factor"]],
    }


def _log(audit: Audit) -> dict[str, Any]:
    actions: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    egress = []
    first = last = None
    for entry in audit.entries():
        first, last = first or entry.at, entry.at
        actions[entry.action] += 1
        if entry.outcome == "refused":
            refused[entry.action] += 1
        if entry.action == EGRESS:
            egress.append({"seq": entry.seq, "at": entry.detail.get("at"), "host": entry.detail.get("host")})
    return {"actions": actions, "refused": refused, "egress": egress, "first": first, "last": last}


def _chain(audit: Audit, log: Mapping[str, Any]) -> dict[str, Any]:
    entries, problems = audit.verify()
    return {
        "entries": entries,
        "first": log["first"],
        "last": log["last"],
        "problems": [to_data(problem) for problem in problems],
        "public_key": audit.public_key,
        "actions": dict(sorted(log["actions"].items())),
        "refused": dict(sorted(log["refused"].items())),
    }


def _waiting(loaded: Loaded) -> int:
    """Attempts that the guard noted and the audit log has not taken up yet: it does so at the next start."""
    path = loaded.settings.data_dir / "egress.log"
    if not path.exists():
        return 0
    with path.open("rb") as lines:
        return sum(1 for line in lines if line.strip())


def _deletion(catalog: Catalog, audit: Audit) -> dict[str, Any]:
    kept = [receipts.parse(line) for line in catalog.receipts()]
    return {
        "receipts": [
            {
                "document": r.document_id,
                "at": r.at.isoformat(),
                "by": r.by,
                "destroyed": dict(sorted(r.destroyed.items())),
                "out_of_reach": list(r.out_of_reach),
                "genuine": receipts.genuine(r, audit.public_key),
            }
            for r in kept[-_NEWEST:]
        ],
        "count": len(kept),
        "not_genuine": sum(not receipts.genuine(r, audit.public_key) for r in kept),
        "unsettled": len(catalog.unsettled_deletions()),
        "holds": [{"id": h.id, "resource": h.resource, "at": h.at.isoformat(), "by": h.by} for h in catalog.holds()],
        "retention": {rule.collection: rule.keep_days for rule in catalog.retention()},
    }


def dumps(value: Mapping[str, Any]) -> str:
    """Evidence or a bill of materials as JSON: the same value gives the same bytes."""
    return json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True) + "\n"
