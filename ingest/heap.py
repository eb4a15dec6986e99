"""Give freed memory back to the system during a long run.

Threads that allocate beside each other leave glibc's heap full of holes: after an ingest of 25,000 passages half of
what the process held was free memory that it had kept. Does nothing where the C library cannot. Standard library only.
"""

from __future__ import annotations

import ctypes
import time

_EVERY_S = 5.0  # one call takes some ten milliseconds


class Heap:
    """Trims the heap of this process now and then. One thread at a time."""

    def __init__(self) -> None:
        self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        self._next = 0.0

    def give_back(self) -> bool:
        """Trim, unless that was done a moment ago; true when it was done."""
        now = time.monotonic()
        if self._trim is None or now < self._next:
            return False
        self._next = now + _EVERY_S
        self._trim(ctypes.c_size_t(0))
        return True
