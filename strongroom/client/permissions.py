"""Permissions over HTTP: `HttpPermissions` speaks the `Permissions` Protocol to a running server."""

from __future__ import annotations

from strongroom.client.connection import Connection, segment
from strongroom.types import Clearance, ClearanceRequest, Grant, GrantRequest, Group, Wall
from strongroom.wire import dumps, loads


class HttpPermissions:
    """Methods may be called from any thread."""

    def __init__(self, http: Connection) -> None:
        self._http = http

    def groups(self) -> list[Group]:
        return loads(list[Group], self._http.send("GET", "/api/groups").content)

    def join(self, group: str, user: str) -> None:
        self._http.send("PUT", f"/api/groups/{segment(group)}/members/{segment(user)}")

    def leave(self, group: str, user: str) -> None:
        self._http.send("DELETE", f"/api/groups/{segment(group)}/members/{segment(user)}")

    def grants(self, *, collection: str | None = None, document: str | None = None) -> list[Grant]:
        asked = {"collection": collection, "document": document}
        params = {key: value for key, value in asked.items() if value is not None}
        return loads(list[Grant], self._http.send("GET", "/api/grants", params=params).content)

    def grant(self, request: GrantRequest) -> Grant:
        return loads(Grant, self._http.send("POST", "/api/grants", content=dumps(request)).content)

    def revoke(self, grant_id: str) -> None:
        self._http.send("DELETE", f"/api/grants/{segment(grant_id)}")

    def walls(self) -> list[Wall]:
        return loads(list[Wall], self._http.send("GET", "/api/walls").content)

    def add_wall(self, one: str, other: str) -> Wall:
        return loads(Wall, self._http.send("PUT", f"/api/walls/{segment(one)}/{segment(other)}").content)

    def remove_wall(self, one: str, other: str) -> None:
        self._http.send("DELETE", f"/api/walls/{segment(one)}/{segment(other)}")

    def clearances(self) -> list[Clearance]:
        return loads(list[Clearance], self._http.send("GET", "/api/clearances").content)

    def ask(self, request: ClearanceRequest) -> Clearance:
        return loads(Clearance, self._http.send("POST", "/api/clearances", content=dumps(request)).content)

    def decide(self, clearance_id: str, *, allow: bool) -> Clearance:
        path = f"/api/clearances/{segment(clearance_id)}/{'allow' if allow else 'deny'}"
        return loads(Clearance, self._http.send("POST", path).content)
