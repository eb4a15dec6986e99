"""One person at work in this process: what goes on record in their name, and what takes an administrator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.errors import NotPermittedError

if TYPE_CHECKING:
    from strongroom.app.appliance import Appliance
    from strongroom.audit.log import Outcome


class Acting:
    """Base of the parts of the engine: the appliance, and the person who calls. Thread-safe."""

    def __init__(self, appliance: Appliance, user: str) -> None:
        self._appliance = appliance
        self._user = user

    def _is_admin(self) -> bool:
        return self._appliance.catalog.role(self._user) == "admin"

    def _require_admin(self, action: str, what: str) -> None:
        """Refuse everybody else. `action` is the name on record, and `what` follows "may not" in the message."""
        if not self._is_admin():
            self._audit(action, outcome="refused")
            raise NotPermittedError(f"{self._user} may not {what}", hint="Ask an administrator.")

    def _audit(self, action: str, subject: str = "", *, outcome: Outcome = "ok", **detail: object) -> None:
        self._appliance.audit.append(self._user, action, subject, outcome=outcome, **detail)
