"""Whole characters, stop strings, and a lock that serves in order."""

from __future__ import annotations

import threading
import time

from hypothesis import given
from hypothesis import strategies as st

from models.streaming import FairLock, StopFilter, Utf8Stream


@given(text=st.text(), cuts=st.lists(st.integers(0, 200), max_size=12))
def test_characters_survive_any_cut(text: str, cuts: list[int]) -> None:
    data = text.encode()
    stream, out, last = Utf8Stream(), "", 0
    for cut in sorted({min(cut, len(data)) for cut in cuts} | {len(data)}):
        out += stream.feed(data[last:cut])
        last = cut
    assert out + stream.finish() == text


@given(
    text=st.text(alphabet="abc|", max_size=40),
    stop=st.text(alphabet="abc|", min_size=1, max_size=4),
    width=st.integers(1, 5),
)
def test_stop_filter_equals_a_plain_split(text: str, stop: str, width: int) -> None:
    filter_ = StopFilter([stop])
    out = "".join(filter_.feed(text[at : at + width]) for at in range(0, len(text), width)) + filter_.finish()
    assert out == text.split(stop, 1)[0]
    assert filter_.stopped == (stop in text)


def test_the_earliest_of_several_stops_counts() -> None:
    filter_ = StopFilter(["END", "\n"])
    assert filter_.feed("one\ntwo END") == "one"


def test_lock_is_granted_in_order() -> None:
    # GIVEN a held lock and three threads that asked one after the other
    lock, order = FairLock(), list[int]()
    assert lock.acquire()

    def take(number: int) -> None:
        lock.acquire()
        order.append(number)
        lock.release()

    threads = []
    for number in range(3):
        threads.append(threading.Thread(target=take, args=(number,)))
        threads[-1].start()
        _until(lambda wanted=number + 1: lock.waiting == wanted)
    # WHEN it is released
    lock.release()
    for thread in threads:
        thread.join(10)
    # THEN they had it in the order of asking
    assert order == [0, 1, 2]


def test_waiting_can_be_called_off_and_the_next_in_line_is_served() -> None:
    lock, cancel, results = FairLock(), threading.Event(), dict[str, bool]()
    lock.acquire()
    first = threading.Thread(target=lambda: results.update(first=lock.acquire(cancel)))
    first.start()
    _until(lambda: lock.waiting == 1)
    second = threading.Thread(target=lambda: results.update(second=lock.acquire()))
    second.start()
    _until(lambda: lock.waiting == 2)
    cancel.set()
    first.join(10)
    lock.release()
    second.join(10)
    assert results == {"first": False, "second": True}


def test_another_thread_may_release() -> None:
    lock = FairLock()
    lock.acquire()
    thread = threading.Thread(target=lock.release)
    thread.start()
    thread.join(10)
    assert lock.acquire()


def _until(done: object) -> None:
    deadline = time.monotonic() + 10
    while not done():  # type: ignore[operator]
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.005)
