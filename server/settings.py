"""What the server needs to know besides its engine, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from server.limits import Rate
from strongroom import tls
from strongroom.config import Settings
from strongroom.connections import Patience, with_proxies
from strongroom.listen import reachable

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
"""Host names that a browser or client on this machine uses. Anything else must be configured."""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Limits and names of one server.

    Sizes are in bytes, times in seconds. `answers_at_once` and `ingest_threads` are for all people together,
    `questions_waiting` and `jobs_waiting` for one of them.
    `spool_dir` holds uploads until they are ingested; it must be on a disk with room for `upload_slots` files a job
    and is emptied at start.
    """

    spool_dir: Path
    public_hosts: frozenset[str] = field(default_factory=frozenset)
    tls: tls.Tls | None = None
    patience: Patience = field(default_factory=Patience)
    max_json_bytes: int = 1 << 20
    max_offer_bytes: int = 16 << 20
    max_file_bytes: int = 512 << 20
    call_threads: int = 8
    answers_at_once: int = 4
    questions_waiting: int = 16
    works_at_once: int = 2  # over whole documents: they take minutes, and more would only wait for each other
    works_waiting: int = 8  # of one person
    address_rate: Rate = field(default_factory=lambda: Rate(20, 200))
    person_rate: Rate = field(default_factory=lambda: Rate(100, 500))
    ingest_threads: int = 4
    jobs_waiting: int = 8
    upload_slots: int = 16
    heartbeat: float = 1.0
    job_idle: float = 600.0

    @classmethod
    def configured(cls, settings: Settings) -> ServerSettings:
        """As the appliance's configuration says; the rest is by default. Raises `ConfigError` for a bad certificate."""
        return cls(
            spool_dir=settings.spool,
            # Clients on this machine address it by where it listens; an address in digits cannot be rebound.
            public_hosts=frozenset({*settings.public_hosts, reachable(settings.host)}),
            tls=tls.configured(settings.tls_certificate, settings.tls_key),
            patience=with_proxies(settings.proxies),
            answers_at_once=settings.answers_at_once,
            max_file_bytes=settings.max_file_mb << 20,
        )

    @property
    def hosts(self) -> frozenset[str]:
        """Every host name the server answers to, lower case."""
        return LOOPBACK_NAMES | {host.lower() for host in self.public_hosts}
