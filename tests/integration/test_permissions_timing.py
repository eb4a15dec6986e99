"""How long a refusal takes must not tell whether the thing is hidden or was never there.

Welch's t-test on interleaved measurements in random order, the slowest tenth left out, as dudect does (Reparaz,
Balasch and Verbauwhede, "Dude, is my code constant time?", DATE 2017): |t| below 4.5 is no evidence of a difference.
Measured in process, where there is least noise to hide in; the network only adds to it. Clocks need a quiet machine, so
the measurement is a long run (`-m slow`); that every refusal waits for the same moment is tested always.
"""

from __future__ import annotations

import gc
import math
import random
import statistics
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from strongroom.catalog import reading
from strongroom.errors import NotFoundError
from strongroom.types import SearchRequest
from tests.permissions_room import ingest, open_appliance

ROUNDS = 250
THRESHOLD = 4.5


def t_value(one: Callable[[], object], other: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Welch's t of the two calls' durations."""
    calls, times = (one, other), (list[float](), list[float]())
    order = [0, 1] * rounds
    random.Random(7).shuffle(order)
    gc.disable()
    try:
        for which in order:
            started = time.perf_counter_ns()
            with suppress(NotFoundError):
                calls[which]()
            times[which].append(float(time.perf_counter_ns() - started))
    finally:
        gc.enable()
    limit = sorted([*times[0], *times[1]])[int(0.9 * len(order))]
    kept = [[t for t in side if t <= limit] for side in times]
    spread = [statistics.variance(side) / len(side) for side in kept]
    return (statistics.mean(kept[0]) - statistics.mean(kept[1])) / math.sqrt(sum(spread))


def test_every_refusal_waits_for_the_same_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # GIVEN a document that bob may not read, and a clock that is stopped while a refusal looks things up
    appliance = open_appliance(tmp_path / "data")
    try:
        appliance.catalog.ensure_user("ed", "editor")
        appliance.catalog.ensure_user("bob", "viewer")
        (tmp_path / "in").mkdir()
        (tmp_path / "in" / "a.txt").write_text("The harbour notes.")
        ingest(appliance, "ed", tmp_path / "in", "secret")
        hidden = next(d.id for d in appliance.as_user("ed").documents("secret"))
        bob, waited = appliance.as_user("bob"), list[float]()
        monkeypatch.setattr(reading.time, "monotonic", lambda: 1000.0)
        monkeypatch.setattr(reading.time, "sleep", waited.append)
        # WHEN he asks for it, for what never was, and for collections of either kind
        for refused in (
            lambda: bob.document(hidden),
            lambda: bob.document(str(uuid.uuid4())),
            lambda: bob.page(hidden, 0),
            lambda: bob.original(hidden),
            lambda: bob.search(SearchRequest("harbour", collection="secret")),
            lambda: bob.documents("nowhere"),
        ):
            with pytest.raises(NotFoundError):
                refused()
        # THEN each of them waits as long
        assert waited == [pytest.approx(reading.REFUSAL)] * 6
    finally:
        monkeypatch.undo()
        appliance.close()


@pytest.mark.slow
def test_hidden_and_absent_take_the_same_time(tmp_path: Path) -> None:
    # GIVEN a collection with many documents that bob may not read, and one that he may
    appliance = open_appliance(tmp_path / "data")
    try:
        appliance.catalog.ensure_user("ed", "editor")
        appliance.catalog.ensure_user("bob", "viewer")
        appliance.catalog.join("harbour", "bob")
        for collection, groups in (("secret", ()), ("shared", ("harbour",))):
            folder = tmp_path / collection
            folder.mkdir()
            for n in range(30):
                (folder / f"{n}.txt").write_text(f"The harbour notes of {collection} number {n}.")
            ingest(appliance, "ed", folder, collection, *groups)
        hidden = next(d.id for d in appliance.as_user("ed").documents("secret"))
        bob = appliance.as_user("bob")
        absent, query = str(uuid.uuid4()), SearchRequest("harbour", collection="secret")
        nowhere = SearchRequest("harbour", collection="nowhere")
        pairs: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
            "document": (lambda: bob.document(hidden), lambda: bob.document(absent)),
            "page": (lambda: bob.page(hidden, 0), lambda: bob.page(absent, 0)),
            "original": (lambda: bob.original(hidden), lambda: bob.original(absent)),
            "search": (lambda: bob.search(query), lambda: bob.search(nowhere)),
            "list": (lambda: bob.documents("secret"), lambda: bob.documents("nowhere")),
        }
        # THEN no clock tells which of the two it was
        for name, (one, other) in pairs.items():
            with pytest.raises(NotFoundError):
                one()
            t = t_value(one, other)
            if abs(t) >= THRESHOLD:  # a busy machine gets a second chance
                t = t_value(one, other)
            assert abs(t) < THRESHOLD, f"{name}: t = {t:.1f}"
    finally:
        appliance.close()


@pytest.mark.slow
def test_a_difference_would_be_seen() -> None:
    """The instrument, on a machine that others use too: half as much again is found."""

    def busy(microseconds: int) -> Callable[[], None]:
        def call() -> None:
            until = time.perf_counter_ns() + microseconds * 1000
            while time.perf_counter_ns() < until:
                pass

        return call

    assert abs(t_value(busy(750), busy(500))) > THRESHOLD
