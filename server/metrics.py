"""Prometheus metrics: ids of routes, counts and durations only, never a name or a word of a document."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """The counters of one server, in a registry of its own so that two servers in a process do not mix."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "strongroom_http_requests", "HTTP responses", ("route", "status"), registry=self.registry
        )
        self.searches = Histogram(
            "strongroom_search_seconds", "Time to answer a search", buckets=_SECONDS, registry=self.registry
        )
        self.first_token = Histogram(
            "strongroom_ask_first_token_seconds",
            "Time from question to first word",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.answers = Counter("strongroom_answers", "Answers by how they ended", ("end",), registry=self.registry)
        self.asking = Gauge("strongroom_asking", "Questions being answered now", registry=self.registry)
        self.files = Counter("strongroom_ingested_files", "Files by outcome", ("outcome",), registry=self.registry)
        self.jobs = Gauge("strongroom_ingest_jobs", "Open ingest jobs", registry=self.registry)

    def observe(self, route: str, status: int) -> None:
        """Count one response; status 0 means the client left before one was sent."""
        self.requests.labels(route, str(status)).inc()

    def text(self) -> bytes:
        """The exposition format that Prometheus scrapes."""
        return generate_latest(self.registry)
