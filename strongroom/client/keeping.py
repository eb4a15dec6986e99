"""Holds, retention and receipts over HTTP: `HttpKeeping` speaks the `Keeping` Protocol to a running server."""

from __future__ import annotations

from strongroom.client.connection import Connection, segment
from strongroom.types import Hold, HoldRequest, Retention, RetentionRun
from strongroom.wire import RetentionRule, dumps, loads


class HttpKeeping:
    """Methods may be called from any thread."""

    def __init__(self, http: Connection) -> None:
        self._http = http

    def holds(self) -> list[Hold]:
        return loads(list[Hold], self._http.send("GET", "/api/holds").content)

    def hold(self, request: HoldRequest) -> Hold:
        return loads(Hold, self._http.send("POST", "/api/holds", content=dumps(request)).content)

    def lift(self, hold_id: str) -> None:
        self._http.send("DELETE", f"/api/holds/{segment(hold_id)}")

    def retention(self) -> list[Retention]:
        return loads(list[Retention], self._http.send("GET", "/api/retention").content)

    def keep_for(self, collection: str, days: int) -> None:
        self._http.send("PUT", "/api/retention", content=dumps(RetentionRule(collection, days)))

    def apply_retention(self, *, dry_run: bool = False) -> RetentionRun:
        params = {"dry_run": str(dry_run).lower()}
        response = self._http.send("POST", "/api/retention/apply", params=params, timeout=self._http.patient)
        return loads(RetentionRun, response.content)

    def delete_collection(self, name: str) -> list[str]:
        response = self._http.send("DELETE", "/api/collections", params={"name": name}, timeout=self._http.patient)
        return loads(list[str], response.content)

    def receipts(self) -> list[str]:
        return loads(list[str], self._http.send("GET", "/api/receipts").content)
