"""What the server needs to know besides its engine. Plain values: reading configuration is the caller's work."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
"""Host names that a browser or client on this machine uses. Anything else must be configured."""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Limits and names of one server.

    Sizes are in bytes, times in seconds. `spool_dir` holds uploads until they are ingested; it must be on a disk with
    room for `upload_slots` files a job and is emptied at start.
    """

    spool_dir: Path
    public_hosts: frozenset[str] = field(default_factory=frozenset)
    max_json_bytes: int = 1 << 20
    max_offer_bytes: int = 16 << 20
    max_file_bytes: int = 512 << 20
    call_threads: int = 8
    ask_threads: int = 16
    ingest_threads: int = 4
    upload_slots: int = 16
    heartbeat: float = 1.0
    job_idle: float = 600.0

    @property
    def hosts(self) -> frozenset[str]:
        """Every host name the server answers to, lower case."""
        return LOOPBACK_NAMES | {host.lower() for host in self.public_hosts}
