"""Second factors, all offline: codes of an authenticator app (RFC 6238), recovery codes, security keys (WebAuthn)."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime

import pyotp
from sqlalchemy import delete, insert, update

from strongroom.accounts import rows, webauthn_keys
from strongroom.accounts.rows import Person
from strongroom.catalog.store import Store
from strongroom.catalog.tables import accounts, recovery_codes
from strongroom.crypto import CATALOGUE_KEY, Vault
from strongroom.errors import UsageError
from strongroom.people import RecoveryCodes, SecondFactor, TotpSetup

STEP = 30  # seconds that a code is good for
_WINDOW = 1  # steps to either side, for clocks that differ
_RECOVERY_CODES = 10
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # nothing that looks like something else


class SecondFactors:
    """Second factors of users. Secrets are sealed, recovery codes kept as keyed fingerprints."""

    def __init__(self, store: Store, vault: Vault, *, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._vault = vault
        self._clock = clock
        self._challenges: dict[str, bytes] = {}

    def methods(self, person: Person) -> tuple[str, ...]:
        """By what a person can take the second step; empty when none is asked for."""
        with self._store.read() as conn:
            keys = rows.key_count(conn, person.id)
        return ("totp",) * (person.totp is not None) + ("key",) * bool(keys)

    def check(self, person: Person, answer: SecondFactor, challenge: bytes) -> str | None:
        """By what the answer is right; `None` when it is not. A code that was used is not right again."""
        if answer.credential is not None:
            good = webauthn_keys.verify(self._store, person.id, answer.credential, challenge, answer.origin)
            return "password, key" if good else None
        code = answer.code.replace(" ", "").replace("-", "").casefold()
        if code.isascii() and code.isdigit():
            return "password, totp" if self._totp(person, code) else None
        return "password, recovery code" if self._recover(person, code) else None

    # ------------------------------------------------------------------------------------------------ TOTP

    def _totp(self, person: Person, code: str) -> bool:
        if person.totp is None:
            return False
        secret = self._vault.open_text(person.totp, f"accounts.totp:{person.id}")
        step = self._step_of(secret, code)
        if step is None:
            return False
        with self._store.write() as conn:  # of two with the same code, one finds the step unused
            used = update(accounts).where(accounts.c.user_id == person.id, accounts.c.totp_step < step)
            return conn.execute(used.values(totp_step=step)).rowcount == 1

    def _step_of(self, secret: str, code: str) -> int | None:
        totp, now = pyotp.TOTP(secret, interval=STEP), int(self._clock().timestamp()) // STEP
        for step in range(now - _WINDOW, now + _WINDOW + 1):
            if secrets.compare_digest(totp.generate_otp(step).encode(), code.encode()):
                return step
        return None

    def begin_totp(self, person: Person) -> TotpSetup:
        """A fresh secret, which counts once a code of it was given."""
        secret = pyotp.random_base32()
        with self._store.write() as conn:
            sealed = self._vault.seal_text(CATALOGUE_KEY, secret, f"accounts.totp_new:{person.id}")
            rows.put(conn, person.id, totp_new=sealed)
        return TotpSetup(secret, pyotp.TOTP(secret).provisioning_uri(name=person.name, issuer_name="Strongroom"))

    def confirm_totp(self, person: Person, code: str) -> RecoveryCodes:
        """Take the new secret into use; returns fresh recovery codes. Raises `UsageError` for a wrong code."""
        if person.totp_new is None:
            raise UsageError("nothing was begun", hint="Begin again.")
        secret = self._vault.open_text(person.totp_new, f"accounts.totp_new:{person.id}")
        step = self._step_of(secret, code.replace(" ", ""))
        if step is None:
            raise UsageError("that is not the code", hint="Codes change every 30 seconds: check the device's clock.")
        with self._store.write() as conn:
            sealed = self._vault.seal_text(CATALOGUE_KEY, secret, f"accounts.totp:{person.id}")
            rows.put(conn, person.id, totp=sealed, totp_new=None, totp_step=step)
        return self.fresh_recovery_codes(person)

    # ------------------------------------------------------------------------------------------------ recovery

    def fresh_recovery_codes(self, person: Person) -> RecoveryCodes:
        """New recovery codes; earlier ones no longer count."""
        codes = tuple("".join(secrets.choice(_ALPHABET) for _ in range(12)) for _ in range(_RECOVERY_CODES))
        with self._store.write() as conn:
            conn.execute(delete(recovery_codes).where(recovery_codes.c.user_id == person.id))
            for code in codes:
                conn.execute(insert(recovery_codes).values(user_id=person.id, digest=self._mac(person.id, code)))
        return RecoveryCodes(tuple(f"{c[:4]}-{c[4:8]}-{c[8:]}" for c in codes))

    def _recover(self, person: Person, code: str) -> bool:
        used = (recovery_codes.c.user_id == person.id) & (recovery_codes.c.digest == self._mac(person.id, code))
        with self._store.write() as conn:
            return conn.execute(delete(recovery_codes).where(used)).rowcount == 1

    def _mac(self, user_id: str, code: str) -> bytes:
        return self._vault.mac(f"recovery:{user_id}", code)

    # ------------------------------------------------------------------------------------------------ security keys

    def begin_key(self, person: Person, origin: str) -> dict[str, object]:
        """What the browser needs to make a credential on a security key."""
        self._challenges[person.id] = challenge = secrets.token_bytes(32)
        return webauthn_keys.creation(self._store, person, challenge, origin)

    def add_key(self, person: Person, credential: dict[str, object], origin: str) -> RecoveryCodes | None:
        """Keep a credential that a key made; returns recovery codes with the first factor. Raises `UsageError`."""
        first = not self.methods(person)
        challenge = self._challenges.pop(person.id, None)
        if challenge is None:
            raise UsageError("nothing was begun", hint="Begin again.")
        webauthn_keys.add(self._store, person.id, credential, challenge, origin)
        return self.fresh_recovery_codes(person) if first else None

    def key_request(self, user_id: str, challenge: bytes, origin: str) -> dict[str, object]:
        """What the browser needs to ask a security key for its answer."""
        return webauthn_keys.request(self._store, user_id, challenge, origin)

    def drop(self, person: Person) -> None:
        """Take every second factor off an account."""
        with self._store.write() as conn:
            rows.put(conn, person.id, totp=None, totp_new=None)
            conn.execute(delete(recovery_codes).where(recovery_codes.c.user_id == person.id))
            webauthn_keys.forget(conn, person.id)
