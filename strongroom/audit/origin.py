"""Where an action comes from: the id and address of the request that is being served, carried in the context.

The server sets it once a request; the log reads it when an entry is written, so no layer between has to pass it on.
Whoever moves work to another thread copies the context with it (`contextvars.copy_context`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Origin:
    """One request: an id that its log lines share, the address it came from, and the session or token it was made with.

    All empty on the command line.
    """

    request: str = ""
    address: str = ""
    via: str = ""


_NOWHERE = Origin()
_current: ContextVar[Origin] = ContextVar("origin", default=_NOWHERE)


def current() -> Origin:
    """The request that this context serves."""
    return _current.get()


@contextmanager
def acting_from(origin: Origin) -> Iterator[None]:
    """Name `origin` in every entry that is written inside the block."""
    token = _current.set(origin)
    try:
        yield
    finally:
        _current.reset(token)
