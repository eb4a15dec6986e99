"""Channels: order, bounds, batches, and waking up whoever waits when the run stops."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.flow import Channel, Halt, Halted


def background(work: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    results: list[object] = []

    def body() -> None:
        try:
            results.append(work())
        except Halted:
            results.append(Halted)

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    return thread, results


def test_get_takes_exactly_one_even_if_items_weigh_nothing() -> None:
    channel: Channel[str] = Channel(Halt(), 10)
    channel.put("a", 0.0)
    channel.put("b", 0.0)
    assert channel.get() == ["a"]
    assert channel.get() == ["b"]


def test_closed_channel_gives_what_is_left_and_then_nothing() -> None:
    channel: Channel[int] = Channel(Halt(), 10)
    channel.put(1)
    channel.close()
    assert not channel.drained
    assert channel.get() == [1]
    assert channel.get() == []
    assert channel.get_many(5) == []
    assert channel.drained


def test_put_waits_for_room() -> None:
    channel: Channel[int] = Channel(Halt(), 2)
    channel.put(1, 1.5)
    thread, _ = background(lambda: channel.put(2, 1.0))
    thread.join(0.1)
    assert thread.is_alive()
    assert channel.get() == [1]
    thread.join(5)
    assert not thread.is_alive()
    assert channel.get() == [2]


def test_item_heavier_than_the_channel_is_let_in_alone() -> None:
    channel: Channel[str] = Channel(Halt(), 2)
    channel.put("huge", 100)
    assert channel.get_many(1) == ["huge"]


@pytest.mark.parametrize("waiting", ["get", "get_many", "put"])
def test_stop_wakes_whoever_waits(waiting: str) -> None:
    halt = Halt()
    channel: Channel[int] = Channel(halt, 1)
    if waiting == "put":
        channel.put(0)
    calls: dict[str, Callable[[], object]] = {
        "get": channel.get,
        "get_many": lambda: channel.get_many(3),
        "put": lambda: channel.put(1),
    }
    thread, results = background(calls[waiting])
    time.sleep(0.05)
    halt.stop(ValueError("first"))
    halt.stop(ValueError("second"))
    thread.join(5)
    assert results == [Halted]
    assert str(halt.error) == "first"


def test_timeout_gives_nothing() -> None:
    assert Channel[int](Halt(), 1).get(timeout=0.01) == []


@given(st.lists(st.floats(0, 5), max_size=30), st.floats(0, 12))
def test_batches_keep_order_and_stay_within_their_weight(weights: list[float], limit: float) -> None:
    channel: Channel[int] = Channel(Halt(), float("inf"))
    for number, size in enumerate(weights):
        channel.put(number, size)
    channel.close()
    taken: list[int] = []
    while batch := channel.get_many(limit):
        assert len(batch) == 1 or sum(weights[i] for i in batch) <= limit + 1e-6
        taken += batch
    assert taken == list(range(len(weights)))


def test_nothing_is_lost_or_doubled_between_many_threads() -> None:
    # GIVEN four producers and three consumers on a narrow channel
    channel: Channel[int] = Channel(Halt(), 3)
    producers = [background(lambda n=n: [channel.put(n * 1000 + i) for i in range(200)])[0] for n in range(4)]

    def consume() -> list[int]:
        found: list[int] = []
        while batch := channel.get_many(2):
            found += batch
        return found

    consumers = [background(consume) for _ in range(3)]
    for thread in producers:
        thread.join(20)
    channel.close()
    for thread, _ in consumers:
        thread.join(20)

    # THEN every item arrived once
    arrived = sorted(i for _, results in consumers for batch in results for i in batch)  # type: ignore[attr-defined]
    assert arrived == sorted(n * 1000 + i for n in range(4) for i in range(200))
