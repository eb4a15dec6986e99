"""How much disk the appliance takes, by what the space holds."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from strongroom.config import Settings


def disk_use(settings: Settings) -> dict[str, int]:
    """Bytes by kind: originals, catalogue, index, keys, models, and the rest of the data directory."""
    data = settings.data_dir
    found = {
        "originals": _below(data / "blobs"),
        "catalogue": sum(_below(path) for path in data.glob(f"{settings.catalogue.name}*")),
        "index": _below(data / "index"),
        "keys": _below(settings.keys),
    }
    inside = sum(found.values()) - (0 if settings.keys.is_relative_to(data) else found["keys"])
    found["other data"] = max(0, _below(data) - inside)
    found["models"] = _below(settings.models_dir)
    return found


def _below(path: Path) -> int:
    """Bytes that a file or folder takes, links not followed; files that vanish meanwhile count nothing."""
    if not path.is_dir():
        return path.stat().st_blocks * 512 if path.exists() else 0
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(Path(folder, name)).st_blocks * 512
            except FileNotFoundError:
                continue
    return total
