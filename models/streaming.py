"""Small parts of a text stream: whole characters from bytes, stop strings, and a fair lock. Standard library only."""

from __future__ import annotations

import codecs
import threading
from collections import deque
from collections.abc import Sequence


class StopFilter:
    """Pass text on up to the first stop string, holding back what could be the beginning of one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""
        self.stopped = False

    def feed(self, text: str) -> str:
        """Text that is certain to lie before any stop string. After a stop, always empty."""
        if self.stopped:
            return ""
        self._held += text
        cuts = [at for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if cuts:
            self.stopped = True
            out, self._held = self._held[: min(cuts)], ""
            return out
        keep = max((self._overlap(stop) for stop in self._stops), default=0)
        out, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return out

    def finish(self) -> str:
        """What was held back and turned out not to be a stop string."""
        out, self._held = self._held, ""
        return out

    def _overlap(self, stop: str) -> int:
        """Length of the longest end of the held text that begins `stop`."""
        longest = min(len(stop) - 1, len(self._held))
        return next((n for n in range(longest, 0, -1) if self._held.endswith(stop[:n])), 0)


class Utf8Stream:
    """Bytes in, whole characters out: a character that two tokens share appears with the second."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def feed(self, piece: bytes) -> str:
        return self._decoder.decode(piece)

    def finish(self) -> str:
        """Nothing, or one replacement character for bytes that never became a character."""
        return self._decoder.decode(b"", final=True)


class FairLock:
    """A lock that is granted in the order of asking. Any thread may release it, and waiting can be called off."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._held = False
        self._queue: deque[threading.Event] = deque()

    @property
    def waiting(self) -> int:
        """How many callers stand in line."""
        with self._mutex:
            return len(self._queue)

    def acquire(self, cancel: threading.Event | None = None) -> bool:
        """Wait for the turn. False when `cancel` was set first; the lock is not held then."""
        with self._mutex:
            if not self._held:
                self._held = True
                return True
            ticket = threading.Event()
            self._queue.append(ticket)
        try:
            while not ticket.wait(0.05 if cancel is not None else None):
                if cancel is not None and cancel.is_set():
                    self._leave(ticket)
                    return False
        except BaseException:  # an interrupt while waiting must not leave a dead ticket at the head of the line
            self._leave(ticket)
            raise
        return True

    def release(self) -> None:
        """Hand the lock to whoever waits longest."""
        with self._mutex:
            if not self._held:
                raise RuntimeError("the lock is not held")
            if self._queue:
                self._queue.popleft().set()
            else:
                self._held = False

    def _leave(self, ticket: threading.Event) -> None:
        with self._mutex:
            granted = ticket not in self._queue
            if not granted:
                self._queue.remove(ticket)
        if granted:  # the turn came at the very moment of leaving
            self.release()
