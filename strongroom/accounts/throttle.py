"""Slower after failures: attempts to sign in are counted by account and by address, and made to wait.

An attempt counts before the password is checked, so that many at once gain nothing, and is taken back when it
succeeds. Names that do not exist are counted like those that do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Literal

from sqlalchemy import delete, select
from sqlalchemy.dialects.sqlite import insert as upsert

from strongroom.catalog.store import Store
from strongroom.catalog.tables import throttles
from strongroom.crypto import Vault
from strongroom.listen import is_loopback

Kind = Literal["account", "address"]
FREE: dict[Kind, int] = {"account": 5, "address": 20}
"""Failures before the first wait. People behind one address share its count, so that one is larger."""
FIRST_WAIT = 15.0  # seconds; doubles with each further failure
LONGEST_WAIT: dict[Kind, float] = {"account": 900.0, "address": 60.0}
"""Seconds. An office behind one address must not be kept out by one person in it, nor by one guest."""
FORGOTTEN_AFTER = 86_400.0


class Throttle:
    """Counts of failed attempts. Safe from any thread; kept across restarts."""

    def __init__(self, store: Store, vault: Vault, *, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._vault = vault
        self._clock = clock

    def attempt(self, keys: Iterable[tuple[Kind, str]]) -> tuple[bool, bool]:
        """Count an attempt; returns whether it may go on, and whether it began a wait.

        One that may not go on counts nothing: a person must not be kept out by what somebody else keeps trying.
        """
        now, rows = self._clock(), []
        with self._store.write() as conn:
            for kind, value in keys:
                if kind == "address" and (not value or is_loopback(value)):
                    continue  # a proxy on this machine speaks for everybody, the command line for its owner
                key = self._key(kind, value)
                row = conn.execute(select(throttles).where(throttles.c.key == key)).first()
                failures = 0 if row is None or now - row.last > FORGOTTEN_AFTER else row.failures
                rows.append((kind, key, failures, 0.0 if row is None else row.until, now if row is None else row.last))
            free = all(until <= now for _, _, _, until, _ in rows)
            begun = False
            for kind, key, failures, until, last in rows:
                if free:
                    failures, last = failures + 1, now
                    over = failures - FREE[kind]
                    if over >= 0:
                        until = now + min(LONGEST_WAIT[kind], FIRST_WAIT * 2.0 ** min(over, 10))
                        begun = True
                values = {"failures": failures, "last": last, "until": until}
                statement = upsert(throttles).values(key=key, **values)
                conn.execute(statement.on_conflict_do_update(index_elements=["key"], set_=values))
        return free, begun

    def succeeded(self, account: str, address: str) -> None:
        """Forget the account's failures, and take this attempt back from the address."""
        with self._store.write() as conn:
            conn.execute(delete(throttles).where(throttles.c.key == self._key("account", account)))
            key = self._key("address", address)
            row = conn.execute(select(throttles).where(throttles.c.key == key)).first()
            if row is not None:
                left = max(0, row.failures - 1)
                until = row.until if left >= FREE["address"] else 0.0
                conn.execute(throttles.update().where(throttles.c.key == key).values(failures=left, until=until))

    def forgive(self, account: str) -> None:
        """End an account's wait."""
        with self._store.write() as conn:
            conn.execute(delete(throttles).where(throttles.c.key == self._key("account", account)))

    def waits_until(self, account: str) -> float | None:
        """When the account's wait ends, in seconds since the epoch; `None` when it does not wait."""
        with self._store.read() as conn:
            until = conn.execute(
                select(throttles.c.until).where(throttles.c.key == self._key("account", account))
            ).scalar()
        return until if until is not None and until > self._clock() else None

    def _key(self, kind: Kind, value: str) -> bytes:
        return self._vault.mac(f"throttle.{kind}", value)
