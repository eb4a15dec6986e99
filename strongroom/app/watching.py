"""Watched folders while a server runs: one thread for each watch, started again after trouble.

The list itself is in the catalogue, so that the next server goes on with it. Nothing here decides what an ingest does.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from strongroom.errors import StrongroomError
from strongroom.types import FileOutcome, IngestEvent, IngestRequest, IngestSummary, Watch

if TYPE_CHECKING:
    from strongroom.app.appliance import Appliance

log = logging.getLogger(__name__)

AGAIN_S = 30.0


@dataclass(slots=True)
class _Running:
    """A watch and its thread. Only that thread changes `state`."""

    watch: Watch
    stop: threading.Event = field(default_factory=threading.Event)
    state: str = "starting"
    thread: threading.Thread | None = None


class Watching:
    """Keeps watched folders in step until it is closed. Thread-safe."""

    def __init__(self, appliance: Appliance, *, again: float = AGAIN_S) -> None:
        self._appliance = appliance
        self._again = again
        self._lock = threading.Lock()
        self._running: dict[str, _Running] = {}

    def start(self) -> None:
        """Take up every watch of the catalogue."""
        for watch in self._appliance.catalog.watches():
            self.take_up(watch)

    def take_up(self, watch: Watch) -> None:
        """Start to follow one watch."""
        running = _Running(watch)
        running.thread = threading.Thread(target=self._run, args=(running,), name=f"watch-{watch.id[:8]}", daemon=True)
        with self._lock:
            self._running[watch.id] = running
        running.thread.start()

    def drop(self, watch_id: str) -> None:
        """Stop following a watch; an ingest that it runs is cancelled. Unknown ids are fine."""
        with self._lock:
            running = self._running.pop(watch_id, None)
        if running is not None and running.thread is not None:
            running.stop.set()
            running.thread.join()

    def state(self, watch_id: str) -> str:
        """What a watch is doing, in words."""
        with self._lock:
            running = self._running.get(watch_id)
        return running.state if running is not None else Watch.state

    def close(self) -> None:
        """Stop all watches and wait for them."""
        with self._lock:
            ids = list(self._running)
        for watch_id in ids:
            self._running[watch_id].stop.set()
        for watch_id in ids:
            self.drop(watch_id)

    def _run(self, running: _Running) -> None:
        while not running.stop.is_set():
            try:
                self._follow(running)
            except StrongroomError as exc:
                running.state = f"waiting after trouble: {exc}"
                log.warning("watch %s: %s", running.watch.id, type(exc).__name__)
            except Exception:  # the outermost edge of the watch's thread
                running.state = "waiting after a defect; see the log"
                log.exception("watch %s", running.watch.id)
            running.stop.wait(self._again)

    def _follow(self, running: _Running) -> None:
        from ingest.watch import follow
        from strongroom.app.engine import LocalEngine

        watch = running.watch
        request = IngestRequest(watch.paths, collection=watch.collection, groups=watch.groups, prune=watch.prune)

        def on_event(event: IngestEvent) -> None:
            if isinstance(event, FileOutcome) and event.outcome != "unchanged":
                running.state = "ingesting"

        def on_summary(summary: IngestSummary) -> None:
            failed = sum(summary.outcomes.get(name, 0) for name in ("failed", "quarantined"))
            troubles = [f"{failed} files failed" if failed else "", f"{summary.kept} kept" if summary.kept else ""]
            running.state = ", ".join(["in step", *filter(None, troubles)])

        follow(
            LocalEngine(self._appliance, watch.by),
            request,
            on_event=on_event,
            on_summary=on_summary,
            stop=running.stop,
            max_bytes=self._appliance.settings.max_file_mb << 20,
            poll=watch.poll,
        )

    def shown(self, watch: Watch) -> Watch:
        """The watch with what it is doing."""
        return replace(watch, state=self.state(watch.id))
