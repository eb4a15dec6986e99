"""What the socket guard of a run refused."""

from __future__ import annotations

from pathlib import Path


def refused_connections(data_dir: Path) -> list[str]:
    """Lines of the log of refused attempts; there may be an empty one, made for parser children to write to."""
    log = data_dir / "egress.log"
    return log.read_text(encoding="utf-8").splitlines() if log.exists() else []
