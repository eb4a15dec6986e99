"""Bounded channels between the stages of a run, and the one switch that stops them all.

A stage that fails or a caller that cancels must wake every thread at once, whatever it is waiting for; `queue.Queue`
cannot be woken, so the channels share a `Halt`. Nothing here knows about documents.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class Halted(Exception):
    """Raised in every stage once the run is stopping; it never leaves the pipeline."""


class Halt:
    """The switch of one run. The first error given to `stop` is the one the caller gets."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wake: list[Callable[[], None]] = []
        self._stopped = False
        self.error: BaseException | None = None

    @property
    def stopped(self) -> bool:
        return self._stopped

    def stop(self, error: BaseException | None) -> None:
        """Stop every stage; calls after the first change nothing."""
        with self._lock:
            if self._stopped:
                return
            self._stopped, self.error = True, error
            wake = list(self._wake)
        for call in wake:
            call()

    def check(self) -> None:
        """Raise `Halted` when the run is stopping."""
        if self._stopped:
            raise Halted

    def on_stop(self, call: Callable[[], None]) -> None:
        with self._lock:
            self._wake.append(call)


class Channel(Generic[T]):
    """A first-in-first-out queue bounded by weight instead of by number.

    An item heavier than the whole capacity is let in when the channel is empty, so that one huge document can pass.
    Safe for any number of producers and consumers.
    """

    def __init__(self, halt: Halt, capacity: float) -> None:
        self._halt = halt
        self._capacity = capacity
        self._items: deque[tuple[T, float]] = deque()
        self._weight = 0.0
        self._closed = False
        self._changed = threading.Condition()
        halt.on_stop(self._wake)

    def put(self, item: T, weight: float = 1.0) -> None:
        """Add an item, waiting for room. Raises `Halted` when the run stops."""
        with self._changed:
            self._changed.wait_for(lambda: self._halt.stopped or not self._items or self._fits(weight))
            self._halt.check()
            self._items.append((item, weight))
            self._weight += weight
            self._changed.notify_all()

    def put_first(self, items: Sequence[T]) -> None:
        """Put items at the front, in order, without waiting and without weight: for a consumer's own offspring."""
        with self._changed:
            self._halt.check()
            self._items.extendleft((item, 0.0) for item in reversed(items))
            self._changed.notify_all()

    def get(self, timeout: float | None = None) -> list[T]:
        """The next item as a list of one; empty when the channel is closed and drained, or at the timeout."""
        with self._changed:
            self._wait(timeout)
            return self._take() if self._items else []

    def get_many(self, weight: float) -> list[T]:
        """Wait for one item, then take what is already here up to `weight` in all.

        Taking what is there and not waiting for more means that batches are small while the consumer keeps up and
        grow by themselves when it does not.
        """
        with self._changed:
            self._wait(None)
            taken: list[T] = []
            while self._items and (not taken or self._items[0][1] <= weight):
                weight -= self._items[0][1]
                taken += self._take()
            return taken

    def close(self) -> None:
        """No more items will come; what is inside can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def rest(self) -> list[T]:
        """What was never taken, even after a stop."""
        with self._changed:
            found = [item for item, _ in self._items]
            self._items.clear()
            self._weight = 0.0
            return found

    @property
    def empty(self) -> bool:
        with self._changed:
            return not self._items

    @property
    def drained(self) -> bool:
        """True when the channel is closed and nothing is left in it."""
        with self._changed:
            return self._closed and not self._items

    def _wait(self, timeout: float | None) -> None:
        self._changed.wait_for(lambda: self._halt.stopped or self._items or self._closed, timeout)
        self._halt.check()

    def _take(self) -> list[T]:
        item, weight = self._items.popleft()
        self._weight -= weight
        self._changed.notify_all()
        return [item]

    def _fits(self, weight: float) -> bool:
        return self._weight + weight <= self._capacity

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()
