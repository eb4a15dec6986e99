"""Passwords: argon2id hashes, and which passwords are taken.

Parameters are RFC 9106's second recommended option (64 MiB, 3 passes, 4 lanes). The policy follows NIST SP 800-63B:
length counts, composition rules do not; what is common or easily guessed is refused, and nothing expires by itself.
"""

from __future__ import annotations

import threading

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY

from strongroom.errors import UsageError

SHORTEST = 12
LONGEST = 128
_GUESSED = 72  # characters that the estimate looks at; its cost grows with the square of the length
_ENOUGH = 3  # of zxcvbn's 0 to 4: more than 10^8 guesses (Wheeler 2016)


class Passwords:
    """Hashes and checks. Two at a time: each takes 64 MiB, and a flood of sign-ins must not take the memory."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)
        self._turns = threading.BoundedSemaphore(2)
        self._nobody: str | None = None

    def hash(self, password: str) -> str:
        with self._turns:
            return self._hasher.hash(password)

    def matches(self, hashed: str | None, password: str) -> bool:
        """True when the password is the one. Without a hash the same work is done, and the answer is no."""
        known = self._of_nobody() if hashed is None else hashed
        with self._turns:
            try:
                self._hasher.verify(known, password[:LONGEST])
            except (VerificationError, InvalidHashError):
                return False
        return hashed is not None

    def stale(self, hashed: str) -> bool:
        """True when the hash was made with other parameters than those in force."""
        return self._hasher.check_needs_rehash(hashed)

    def _of_nobody(self) -> str:
        if self._nobody is None:
            self._nobody = self.hash("the password of nobody")
        return self._nobody

    def warm_up(self) -> None:
        """Make the hash that unknown names are compared with, so that the first of them takes no longer."""
        self._of_nobody()


def refuse_weak(password: str, name: str) -> None:
    """Raise `UsageError` for a password that is too short, holds the name, or is easily guessed."""
    if len(password) < SHORTEST:
        raise UsageError(f"the password has fewer than {SHORTEST} characters", hint="Some words in a row do well.")
    if len(password) > LONGEST:
        raise UsageError(f"the password has more than {LONGEST} characters", hint="Choose a shorter one.")
    if len(name) > 2 and name.casefold() in password.casefold():
        raise UsageError("the password holds the name of the account", hint="Choose one without it.")
    from zxcvbn import zxcvbn  # its word lists take a tenth of a second to load

    if zxcvbn(password[:_GUESSED], user_inputs=[name, "strongroom"])["score"] < _ENOUGH:
        raise UsageError(
            "the password is common or easily guessed", hint="Use more words, or words that do not belong together."
        )
