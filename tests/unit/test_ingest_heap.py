"""Freed memory goes back to the system, and not at every call."""

import gc
import sys
from pathlib import Path

import pytest

from ingest.heap import Heap


def anonymous() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon"))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_holes_in_the_heap_are_given_back_once_in_a_while() -> None:
    # GIVEN a heap of small blocks, all freed but the last of them, which keeps the heap from shrinking by itself
    blocks = [bytes(2_000) for _ in range(60_000)]
    last = blocks[-1]
    full = anonymous()
    blocks.clear()
    gc.collect()
    heap = Heap()
    # WHEN it is trimmed, THEN what was free goes, and a second call right after does nothing
    assert heap.give_back()
    assert full - anonymous() > 60 << 20
    assert not heap.give_back()
    assert last
