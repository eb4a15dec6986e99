"""What one file may cost when it is parsed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What one file may cost. `seconds` is the longest silence: a child that reads a scan page by page reports each
    page and gets as long again, up to `total_seconds` in all."""

    memory_bytes: int = 2 << 30
    seconds: float = 300.0
    output_bytes: int = 512 << 20
    total_seconds: float = 4 * 3600.0
    processes: int = 160  # of one child, its helpers and their threads' processes included
    members: int = 50_000
    member_bytes: int = 4 << 30  # all members of one file together
