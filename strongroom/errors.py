"""Every error the product raises on purpose: one root, an exit code, and a hint that says what to do.

The CLI and the server map these in one place each. A message names what went wrong and which item; the hint says
what to do next. Standard library only.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes scripts may rely on (documented in docs/reference/exit-codes.md)."""

    OK = 0
    UNEXPECTED = 1
    USAGE = 2
    PARTIAL = 3
    INDEX_UNREACHABLE = 10
    LOCKED = 11
    MODEL_MISSING = 12
    INDEX_MISMATCH = 13
    INTEGRITY = 14
    NOT_PERMITTED = 15
    INTERRUPTED = 130


class StrongroomError(Exception):
    """Root of all expected errors."""

    exit_code = ExitCode.UNEXPECTED
    http_status = 500

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(StrongroomError):
    """The request itself is wrong: a bad option, an unknown collection, a malformed line."""

    exit_code = ExitCode.USAGE
    http_status = 400


class ConfigError(UsageError):
    """A configuration key or value is unknown or malformed."""


class NotFoundError(UsageError):
    """The named thing does not exist, or the asker may not know that it does."""

    http_status = 404


class IndexUnreachableError(StrongroomError):
    """The vector index cannot be reached or opened."""

    exit_code = ExitCode.INDEX_UNREACHABLE
    http_status = 503


class WallError(StrongroomError):
    """A membership or a grant would bring together what a wall keeps apart."""

    exit_code = ExitCode.NOT_PERMITTED
    http_status = 409


class LockedError(StrongroomError):
    """Another process owns the data directory."""

    exit_code = ExitCode.LOCKED
    http_status = 423


class ModelError(StrongroomError):
    """A model is missing, its hash is wrong, or it cannot be used safely."""

    exit_code = ExitCode.MODEL_MISSING
    http_status = 503


class IndexMismatchError(StrongroomError):
    """The index was built with another embedder, chunker or schema."""

    exit_code = ExitCode.INDEX_MISMATCH
    http_status = 409


class IntegrityError(StrongroomError):
    """Stored data do not match their hashes, tags or each other."""

    exit_code = ExitCode.INTEGRITY
    http_status = 500


class NotPermittedError(StrongroomError):
    """The asker may not do this."""

    exit_code = ExitCode.NOT_PERMITTED
    http_status = 403


class UnauthorizedError(NotPermittedError):
    """The request carries no valid credential."""

    http_status = 401


class SignInError(NotPermittedError):
    """Signing in did not work. The message is the same whatever the reason, so that it tells nothing about accounts."""

    http_status = 401


class HeldError(NotPermittedError):
    """A legal hold keeps the document as it is."""

    http_status = 409


class EgressBlockedError(NotPermittedError):
    """Something tried to reach a host that is not on the allow-list."""


class CancelledError(StrongroomError):
    """The caller asked to stop."""

    exit_code = ExitCode.INTERRUPTED
    http_status = 499


# Ends the reason of a failure that says nothing about the content, so the next run tries the file again.
TRIED_AGAIN = "It is tried again at the next ingest."


class ParseError(StrongroomError):
    """One file could not be read. The run goes on; the file is `failed` with this message as its reason."""

    exit_code = ExitCode.PARTIAL
    http_status = 422


# Begins the reason of whatever needs a password, so that a run that brings passwords tries it again.
LOCKED = "password protected"
LOCKED_HINT = "give its password with --password-file, or save a copy without one"


class QuarantineError(ParseError):
    """One file is not safe or not possible to open (password, bomb, crash, hang): kept apart with a reason."""
