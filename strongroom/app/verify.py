"""`strongroom verify`: do catalogue, index, originals, keys and audit log agree?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.errors import StrongroomError
from strongroom.types import Problem, VerifyReport

if TYPE_CHECKING:
    from strongroom.app.appliance import Appliance

_REINDEX = "Run `strongroom reindex`."
_RESTORE = "Restore the data directory and the key store from the same backup."


def verify(appliance: Appliance) -> VerifyReport:
    """Compare every store with the catalogue and report every disagreement. Changes nothing."""
    problems: list[Problem] = []
    checked: dict[str, int] = {}
    _index(appliance, checked, problems)
    _originals(appliance, checked, problems)
    _deletions(appliance, checked, problems)
    entries, broken = appliance.audit.verify()
    checked["audit entries"] = entries
    problems += broken
    return VerifyReport(checked, tuple(problems))


def _index(appliance: Appliance, checked: dict[str, int], problems: list[Problem]) -> None:
    catalog = appliance.catalog
    points = appliance.raw_index.all_points()
    checked["points"] = len(points)
    by_version: dict[str, set[str]] = {}
    for point, version in points.items():
        by_version.setdefault(version, set()).add(point)
    current = catalog.indexed_versions()
    checked["versions"] = len(current)
    chunks = 0
    for version in current:
        wanted, found = catalog.chunk_ids(version), by_version.pop(version, set())
        chunks += len(wanted)
        if wanted != found:
            problems.append(
                Problem(
                    f"version {version}: {len(wanted - found)} chunks lack a point, "
                    f"{len(found - wanted)} points lack a chunk",
                    _REINDEX,
                )
            )
    checked["chunks"] = chunks
    waiting = set(catalog.unindexed())
    going = set(catalog.removals())
    for version, stray in by_version.items():
        if version not in waiting | going:
            problems.append(
                Problem(f"{len(stray)} points belong to version {version}, which the catalogue does not know", _REINDEX)
            )
    if waiting or going:
        problems.append(
            Problem(
                f"{len(waiting)} versions wait to be indexed and {len(going)} to be removed from the index",
                "Run any `strongroom ingest`, or start the server: both finish what was broken off.",
                "warning",
            )
        )


def _deletions(appliance: Appliance, checked: dict[str, int], problems: list[Problem]) -> None:
    """What was deleted must be absent: its key, its rows, its original. (Its points belong to no version: `_index`.)"""
    from strongroom.audit import receipt as receipts

    deleted = appliance.catalog.deleted_keys()
    checked["deletions"] = len(deleted)
    back = set(deleted) & {document_id for document_id, _, _ in appliance.catalog.version_files()}
    keys = set(deleted.values()) & appliance.keys.ids()
    for what, found in (("documents", back), ("keys of documents", keys)):
        if found:
            problems.append(
                Problem(f"{len(found)} {what} that were deleted are there", "Start the server: it finishes deletions.")
            )
    unsettled = appliance.catalog.unsettled_deletions()
    if unsettled:
        problems.append(
            Problem(
                f"{len(unsettled)} deletions are not finished: traces may be left in files",
                "Start the server: it finishes deletions.",
                "warning",
            )
        )
    public = appliance.audit.public_key
    forged = [text for text in appliance.catalog.receipts() if not receipts.genuine(receipts.parse(text), public)]
    if forged:
        problems.append(Problem(f"{len(forged)} receipts of deletions were changed", _RESTORE))


def _originals(appliance: Appliance, checked: dict[str, int], problems: list[Problem]) -> None:
    known = set()
    count = 0
    for document_id, version_id, state in appliance.catalog.version_files():
        known.add(version_id)
        if state != "indexed":
            continue
        count += 1
        try:
            for _ in appliance.blobs.stream(document_id, version_id):
                pass
        except StrongroomError as exc:
            problems.append(Problem(str(exc), exc.hint or _RESTORE))
    checked["originals"] = count
    stray = [v for v in appliance.blobs.ids() if v not in known]
    if stray:
        problems.append(
            Problem(
                f"{len(stray)} originals belong to no version (their keys are gone)",
                "They are removed when the server starts.",
                "warning",
            )
        )
