"""Tell when files under some folders have changed and come to rest, so that an ingest can follow them.

Nothing is read here. `Watcher.run` calls back in its own thread: with `None` for a look at everything (at the start, at
intervals, and whenever events may have been lost), else with the paths that changed. Every look compares what is there
with what is known, so an event too many costs a little and an event too few is made good by the next full look.

Events come from inotify through watchdog. Where the kernel's limits do not suffice, or `poll` says so (network file
systems report no changes made elsewhere), a full look at intervals takes their place.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ingest.decide import Stamp
from ingest.discover import file_uri, rediscover
from strongroom.errors import CancelledError

if TYPE_CHECKING:
    from watchdog.events import FileSystemEvent

    from strongroom.engine import Engine
    from strongroom.types import IngestRequest, IngestSummary, OnEvent

log = logging.getLogger(__name__)

SETTLE_S = 2.0
LONGEST_S = 60.0  # a path that never comes to rest is looked at all the same
RESCAN_S = 600.0
POLL_S = 30.0
# More events than this at once mean a look at everything: cheaper than path by path, and the kernel, which drops events
# when 16,384 of them wait, cannot have dropped any without this number being reached first.
MANY_EVENTS = 5000
_TICK_S = 0.2
_QUIET_EVENTS = frozenset({"opened", "closed_no_write"})
LIMIT_HINT = (
    "inotify has no watches left for this folder, so it is looked at every %.0f s instead. "
    "Raise fs.inotify.max_user_watches and max_user_instances (sysctl) to be told at once."
)

Look = Callable[[tuple[str, ...] | None], None]


class Changes:
    """Paths that changed, until they have come to rest. Thread-safe."""

    def __init__(self, *, settle: float = SETTLE_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._settle = settle
        self._clock = clock
        self._lock = threading.RLock()
        self._paths: dict[str, tuple[float, float]] = {}  # first and last event
        self._looks: dict[str, Stamp | None] = {}
        self._events = 0
        self._all = False

    def add(self, paths: Iterable[str]) -> None:
        """Note one event."""
        now = self._clock()
        with self._lock:
            self._events += 1
            if self._all:
                return
            for path in paths:
                self._paths[path] = (self._paths.get(path, (now, now))[0], now)
                self._looks.pop(path, None)
            if self._events > MANY_EVENTS:
                self.everything()

    def everything(self) -> None:
        """Events may have been lost: look at everything next."""
        with self._lock:
            self._all = True
            self._paths.clear()
            self._looks.clear()

    def take(self) -> tuple[str, ...] | None:
        """The paths that have come to rest, and `None` for everything; what was taken is forgotten."""
        now = self._clock()
        with self._lock:
            if self._all:
                self._all, self._events = False, 0
                return None
            ready = [path for path, times in self._paths.items() if self._at_rest(path, *times, now)]
            for path in ready:
                del self._paths[path]
                self._looks.pop(path, None)
            if not self._paths:
                self._events = 0
        return tuple(sorted(ready))

    def _at_rest(self, path: str, first: float, last: float, now: float) -> bool:
        """Quiet for a while, and of the same size and time at two looks: not every way of writing makes an event."""
        if now - first > LONGEST_S:
            return True
        if now - last < self._settle:
            return False
        stamp = _stamp(path)
        if path in self._looks and self._looks[path] == stamp:
            return True
        self._looks[path] = stamp
        self._paths[path] = (first, now - self._settle / 2)
        return False


class Watcher:
    """Watches folders (and files) until it is told to stop."""

    def __init__(
        self,
        roots: Sequence[str],
        *,
        settle: float = SETTLE_S,
        rescan: float = RESCAN_S,
        poll: float | None = None,
    ) -> None:
        """`poll` looks at everything that often, in seconds, instead of waiting for events."""
        self.roots = [os.path.abspath(root) for root in roots]  # noqa: PTH100 - names need not be UTF-8
        self.changes = Changes(settle=settle)
        self._rescan = rescan
        self._poll = poll
        self._identities: dict[str, tuple[int, int] | None] = {}
        self._observer: object | None = None

    def run(self, look: Look, stop: threading.Event) -> None:
        """Call `look` until `stop` is set. Whatever it raises ends the watch."""
        self._watch()
        try:
            look(None)
            full = time.monotonic()
            while not stop.wait(_TICK_S):
                if self._replaced():  # unmounted, mounted, deleted or made again: the old watches are worth nothing
                    self._watch()
                    self.changes.everything()
                if time.monotonic() - full > (self._poll or self._rescan):
                    self.changes.everything()
                due = self.changes.take()
                if due is None:
                    look(None)
                    full = time.monotonic()
                elif due:
                    look(due)
        finally:
            self._unwatch()

    def _watch(self) -> None:
        self._unwatch()
        self._identities = {root: _identity(root) for root in self.roots}
        if self._poll is not None:
            return
        from watchdog.events import FileSystemEventHandler
        from watchdog.observers import Observer

        handler = FileSystemEventHandler()
        handler.on_any_event = self._noted  # type: ignore[method-assign]
        observer = None
        try:
            observer = Observer()
            for root, identity in self._identities.items():
                if identity is not None:
                    # a file is watched through its folder: it may be replaced
                    folder = root if os.path.isdir(root) else os.path.dirname(root)  # noqa: PTH112, PTH120
                    observer.schedule(handler, folder, recursive=folder == root)
            observer.start()
            self._observer = observer
        except OSError as exc:
            if observer is not None:
                with suppress(RuntimeError):
                    observer.stop()
            self._poll = POLL_S
            log.warning(LIMIT_HINT + " (%s)", POLL_S, exc.strerror)

    def _unwatch(self) -> None:
        observer, self._observer = self._observer, None
        if observer is not None:
            observer.stop()  # type: ignore[attr-defined]
            observer.join()  # type: ignore[attr-defined]

    def _replaced(self) -> bool:
        return any(_identity(root) != known for root, known in self._identities.items())

    def _noted(self, event: FileSystemEvent) -> None:
        """What watchdog calls in its own thread."""
        if event.event_type in _QUIET_EVENTS or (event.is_directory and event.event_type == "modified"):
            return
        paths = [os.fsdecode(path) for path in (event.src_path, event.dest_path) if path]
        inside = [path for path in paths if any(path == root or path.startswith(root + os.sep) for root in self.roots)]
        if inside:
            self.changes.add(inside)


def follow(
    engine: Engine,
    request: IngestRequest,
    *,
    on_event: OnEvent,
    on_summary: Callable[[IngestSummary], None],
    stop: threading.Event,
    max_bytes: int,
    poll: float | None = None,
    settle: float = SETTLE_S,
) -> None:
    """Keep documents in step with `request.paths` until `stop` is set; `on_summary` hears of each ingest.

    The engine may be the appliance in this process or a server: the files are looked at here. A path that is missing
    for a while is left out until it is back.
    """
    roots = tuple(file_uri(os.path.abspath(path)) for path in request.paths)  # noqa: PTH100

    def look(changed: tuple[str, ...] | None) -> None:
        if changed is None:
            present = tuple(path for path in request.paths if Path(path).exists())
            if present:
                on_summary(engine.ingest(replace(request, paths=present), on_event=on_event, cancel=stop))
            return
        options = replace(request.options(roots), within=tuple(map(file_uri, changed)))
        files = rediscover(request.paths, changed, max_bytes=max_bytes)
        on_summary(engine.ingest_files(files, options, on_event=on_event, cancel=stop))

    with suppress(CancelledError):
        Watcher(request.paths, settle=settle, poll=poll).run(look, stop)


def _stamp(path: str) -> Stamp | None:
    try:
        return Stamp.of(Path(path).stat())
    except OSError:
        return None


def _identity(path: str) -> tuple[int, int] | None:
    try:
        info = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return info.st_dev, info.st_ino
