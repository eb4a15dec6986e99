"""What must be kept and for how long, as an administrator decides it. Implements `strongroom.engine.Keeping`.

Every change is audited, and so is every refusal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.app import deleting
from strongroom.app.acting import Acting
from strongroom.errors import NotPermittedError, UsageError
from strongroom.types import Hold, HoldRequest, Retention, RetentionRun

if TYPE_CHECKING:
    from strongroom.app.appliance import Appliance
    from strongroom.catalog.records import Collection


class LocalKeeping(Acting):
    """Holds, retention and receipts in process, for one user. Thread-safe."""

    def __init__(self, appliance: Appliance, user: str) -> None:
        super().__init__(appliance, user)
        self._catalog = appliance.catalog

    def holds(self) -> list[Hold]:
        self._require_keeper("hold.list")
        return self._catalog.holds()

    def hold(self, request: HoldRequest) -> Hold:
        self._require_keeper("hold.add")
        if not request.reason.strip():
            raise UsageError("a hold needs a reason", hint="Name the matter: it is what a later reader goes by.")
        if (request.document_id is None) == (request.collection is None):
            raise UsageError("say what to hold", hint="Give either a document or a collection.")
        if request.document_id is not None:
            resource, resource_id = "document", request.document_id
        else:
            resource, resource_id = "collection", self._catalog.collection(str(request.collection)).id
        placed = self._catalog.place_hold(resource, resource_id, reason=request.reason, by=self._user)
        self._audit("hold.add", resource_id, hold=placed.id, resource=resource)
        return placed

    def lift(self, hold_id: str) -> None:
        self._require_keeper("hold.remove")
        self._catalog.lift_hold(hold_id)
        self._audit("hold.remove", hold_id)

    def retention(self) -> list[Retention]:
        self._require_keeper("retention.list")
        return self._catalog.retention()

    def keep_for(self, collection: str, days: int) -> None:
        self._require_keeper("retention.set")
        if days < 0:
            raise UsageError(f"{days} days", hint="Give the days after the last change; 0 keeps documents for good.")
        place = self._catalog.collection(collection)
        if days:
            self._require_consent("retention.set", place, "a rule that deletes from")
        self._catalog.keep_for(place.id, days or None)
        self._audit("retention.set", place.id, keep_days=days)

    def apply_retention(self, *, dry_run: bool = False) -> RetentionRun:
        self._require_keeper("retention.apply")
        deleted, held = deleting.apply_retention(self._appliance, by=self._user, dry_run=dry_run)
        return RetentionRun(tuple(deleted), tuple(held), dry_run)

    def delete_collection(self, name: str) -> list[str]:
        self._require_keeper("delete.collection")
        place = self._catalog.collection(name)
        if not self._catalog.may_write(self._catalog.access_for(self._user), name):
            self._audit("delete.collection", place.id, outcome="refused")
            raise NotPermittedError(
                f"{self._user} may not write into a collection called {name!r}", hint="It needs a grant to write."
            )
        self._require_consent("delete.collection", place, "deleting")
        return deleting.delete_collection(self._appliance, name, by=self._user)

    def receipts(self) -> list[str]:
        self._require_keeper("receipts")
        return list(self._catalog.receipts())

    def _require_keeper(self, action: str) -> None:
        self._require_admin(action, "decide about what is kept")

    def _require_consent(self, action: str, place: Collection, what: str) -> None:
        """Where deleting in bulk needs two people. Raises `NotPermittedError`."""
        if "delete" not in self._appliance.settings.two_person:
            return
        if self._catalog.cleared("delete", place.name, None, by=self._user) is None:
            self._audit(action, place.id, outcome="refused")
            raise NotPermittedError(
                f"{what} {place.name!r} needs the consent of a second person",
                hint="Ask for it with `strongroom clearances ask`.",
            )
