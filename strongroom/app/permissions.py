"""Who may read and write what, as one person may see and change it. Implements `strongroom.engine.Permissions`.

Administrators decide about everything; whoever may write into a collection decides who reads it. Nobody needs to read
a document to decide about it, and deciding about it does not let them read it. Every change is audited.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from strongroom.app.acting import Acting
from strongroom.errors import NotFoundError, NotPermittedError, StrongroomError, UsageError
from strongroom.types import Clearance, ClearanceRequest, Grant, GrantRequest, Group, Wall

if TYPE_CHECKING:
    from strongroom.app.appliance import Appliance


class LocalPermissions(Acting):
    """Permissions in process, for one user. Thread-safe."""

    def __init__(self, appliance: Appliance, user: str, *, by: str) -> None:
        super().__init__(appliance, user)
        self._catalog = appliance.catalog
        self._acting = by != user

    # ------------------------------------------------------------------------------------------------ groups

    def groups(self) -> list[Group]:
        self._require_decider("group.list")
        return self._catalog.groups()

    def join(self, group: str, user: str) -> None:
        self._require_decider("group.add")
        try:
            self._catalog.join(group, user)
        except StrongroomError:
            self._audit("group.add", outcome="refused", group=group, user=user)
            raise
        self._audit("group.add", group=group, user=user)

    def leave(self, group: str, user: str) -> None:
        self._require_decider("group.remove")
        self._catalog.leave(group, user)
        self._audit("group.remove", group=group, user=user)

    # ------------------------------------------------------------------------------------------------ grants

    def grants(self, *, collection: str | None = None, document: str | None = None) -> list[Grant]:
        if collection is not None or document is not None:
            _, resource_id = self._resource(collection, document)
            return self._named(self._catalog.grants(resource_id))
        if self._is_admin():
            return self._named(self._catalog.grants())
        mine = self._catalog.writable(self._catalog.access_for(self._user))
        return self._named([grant for grant in self._catalog.grants() if grant.resource_id in mine])

    def _named(self, grants: list[Grant]) -> list[Grant]:
        """The same with names of those documents that the person may read."""
        if not any(grant.resource == "document" for grant in grants):
            return grants
        names = {d.id: d.name for d in self._catalog.documents(self._catalog.access_for(self._user))}
        return [replace(grant, name=names.get(grant.resource_id, grant.name)) for grant in grants]

    def grant(self, request: GrantRequest) -> Grant:
        resource, resource_id = self._resource(request.collection, request.document)
        facts: dict[str, Any] = {"principal": request.principal, "effect": request.effect, "right": request.right}
        try:
            made = self._catalog.grant(request.principal, resource, resource_id, request.effect, request.right)
        except StrongroomError:
            self._audit("grant.add", resource_id, outcome="refused", **facts)
            raise
        self._audit("grant.add", resource_id, grant=made.id, resource=resource, **facts)
        self._appliance.tell_index()
        return made

    def revoke(self, grant_id: str) -> None:
        found = next((g for g in self.grants() if g.id == grant_id), None)
        if found is None:
            raise NotFoundError(f"grant {grant_id} does not exist", hint="`strongroom grants list` shows them.")
        self._catalog.revoke(grant_id)
        facts: dict[str, Any] = {"principal": found.principal, "effect": found.effect, "right": found.right}
        self._audit("grant.remove", found.resource_id, grant=grant_id, resource=found.resource, **facts)
        self._appliance.tell_index()

    # ------------------------------------------------------------------------------------------------ walls

    def walls(self) -> list[Wall]:
        self._require_decider("wall.list")
        return self._catalog.walls()

    def add_wall(self, one: str, other: str) -> Wall:
        self._require_decider("wall.add")
        wall = self._catalog.add_wall(one, other, by=self._user)
        self._audit("wall.add", one=wall.one, other=wall.other)
        return wall

    def remove_wall(self, one: str, other: str) -> None:
        self._require_decider("wall.remove")
        self._catalog.remove_wall(one, other)
        self._audit("wall.remove", one=one, other=other)

    # ------------------------------------------------------------------------------------------------ clearances

    def clearances(self) -> list[Clearance]:
        access = self._catalog.access_for(self._user)
        found = self._catalog.clearances()
        if self._is_admin():
            return found
        return [c for c in found if c.by == self._user or self._catalog.may_decide(access, c)]

    def ask(self, request: ClearanceRequest) -> Clearance:
        self._in_their_own_name("clearance.ask")
        if (request.collection is None) == (request.document is None):
            raise UsageError("a clearance is about one thing", hint="Name either a collection or a document.")
        access = self._catalog.access_for(self._user, request.collection)  # unknown and unreadable ones alike
        if request.document is not None:
            collection = self._catalog.document(request.document, access).collection
        else:
            collection = str(request.collection)
        made = self._catalog.ask_clearance(
            request.action,
            collection_id=self._catalog.collection(collection).id,
            document_id=request.document,
            reason=request.reason,
            by=self._user,
        )
        self._audit("clearance.ask", made.document or "", clearance=made.id, asked=made.action)
        return made

    def decide(self, clearance_id: str, *, allow: bool) -> Clearance:
        action = "clearance.allow" if allow else "clearance.deny"
        self._in_their_own_name(action)
        if clearance_id not in {c.id for c in self.clearances()}:
            raise NotFoundError(
                f"clearance {clearance_id} does not exist", hint="`strongroom clearances list` shows them."
            )
        try:
            decided = self._catalog.decide_clearance(clearance_id, allow=allow, by=self._user)
        except StrongroomError:
            self._audit(action, outcome="refused", clearance=clearance_id)
            raise
        self._audit(action, decided.document or "", clearance=decided.id, asked=decided.action, asked_by=decided.by)
        return decided

    def _in_their_own_name(self, action: str) -> None:
        """Two people must be two people: whoever acts as another neither asks nor decides."""
        if self._acting:
            self._audit(action, outcome="refused")
            raise NotPermittedError(
                "nobody asks for a second person's consent, or gives it, in another's name", hint="Leave `--as` out."
            )

    # ------------------------------------------------------------------------------------------------

    def _resource(self, collection: str | None, document: str | None) -> tuple[str, str]:
        """Kind and id of what a grant is about. What a person may not decide about answers like what is not there."""
        if (collection is None) == (document is None):
            raise UsageError("a grant is about one thing", hint="Name either a collection or a document.")
        found = None
        if collection is not None:
            if self._is_admin() or self._catalog.may_write(self._catalog.access_for(self._user), collection):
                found = self._catalog.collection_id(collection)
            what = f"collection {collection!r}"
        else:
            if self._is_admin() or document in self._catalog.writable(self._catalog.access_for(self._user)):
                found = document
            what = f"document {document}"
        if found is None:
            self._audit("grant", outcome="refused")
            raise NotFoundError(f"{what} does not exist", hint="Or it is not yours to decide about.")
        return ("collection" if collection is not None else "document"), found

    def _require_decider(self, action: str) -> None:
        self._require_admin(action, "decide about groups and walls")
