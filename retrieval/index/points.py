"""Checks and cuts that both adapters make before points reach an engine. Knows no engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar
from uuid import UUID

import numpy as np

from strongroom.errors import IndexMismatchError, IntegrityError
from strongroom.ports import IndexPoint

T = TypeVar("T")


def check_points(points: Sequence[IndexPoint], dimension: int) -> None:
    """Raise before anything is written: an engine would store a broken vector and answer nonsense later."""
    for point in points:
        if point.dense.shape != (dimension,):
            raise IndexMismatchError(
                f"the vector of chunk {point.id} has shape {point.dense.shape}, the index holds {dimension} values",
                hint="The index was built with another embedder: run `strongroom reindex`.",
            )
        if not np.isfinite(point.dense).all():
            raise IntegrityError(
                f"the vector of chunk {point.id} is not finite",
                hint="Run `strongroom check`: the embedder gives broken output on this machine.",
            )


def known_uuids(ids: Sequence[str]) -> list[str]:
    """The ids that can be a point's, without repetition: engines refuse a whole request for one odd id."""
    return [i for i in dict.fromkeys(ids) if _is_uuid(i)]


def batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Cut `items` into runs of at most `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
