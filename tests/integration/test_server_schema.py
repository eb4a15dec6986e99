"""Every route of the OpenAPI document is called with what fits its description and with what does not: never a 5xx.

Requests are made by schemathesis (property-based, from the document itself) and go through the whole server, guard and
limits included, to a real appliance over fake models.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from server.app import create_app
from server.limits import Rate
from server.settings import ServerSettings
from strongroom.access import LOCAL_USER
from strongroom.types import IngestRequest
from tests.appliances import open_appliance
from tests.server_fixtures import write_documents

schemathesis = pytest.importorskip("schemathesis")
hypothesis = pytest.importorskip("hypothesis")

TOKEN = "0123456789abcdef-for-the-schema-test"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
# Waits for the engine to take what is sent, and streams until a job ends: covered by the tests of ingest.
_STREAMS = {"/api/ingest/jobs/{job_id}/events", "/api/ingest/jobs/{job_id}/files"}


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """The server's own description of itself, over an appliance with documents in it."""
    root = tmp_path_factory.mktemp("schema")
    with closing(open_appliance(root / "appliance")) as opened:
        folder = write_documents(root / "docs")
        opened.as_user(LOCAL_USER).ingest(IngestRequest((str(folder),)), on_event=lambda _event: None)
        settings = ServerSettings(
            spool_dir=root / "spool", public_hosts=frozenset({"testserver"}), person_rate=Rate(10_000, 10_000)
        )
        app = create_app(opened.as_user, token=TOKEN, settings=settings)
        yield schemathesis.openapi.from_asgi("/openapi.json", app, headers=HEADERS)


def test_no_request_makes_the_server_fail(described: object) -> None:
    called = set()
    for found in described.get_all_operations():  # type: ignore[attr-defined]
        operation = found.ok()
        if operation.path in _STREAMS:
            continue
        called.add(operation.path)

        @hypothesis.settings(
            max_examples=16,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(case=hypothesis.strategies.one_of(*_strategies(operation)))
        def never_fails(case: object) -> None:
            response = case.call(headers=HEADERS)  # type: ignore[attr-defined]
            assert response.status_code < 500, f"{response.status_code}: {response.text}"
            assert "Traceback" not in response.text

        never_fails()
    assert len(called) > 20


def _strategies(operation: Any) -> list[Any]:
    """What fits the description, and what does not; there is no misfit where nothing is asked for."""
    asks = operation.body or operation.path_parameters or operation.query
    modes = list(schemathesis.GenerationMode) if asks else [schemathesis.GenerationMode.POSITIVE]
    return [operation.as_strategy(generation_mode=mode) for mode in modes]


def test_the_streams_that_are_left_out_are_there(described: object) -> None:
    assert set(described.raw_schema["paths"]) >= _STREAMS  # type: ignore[attr-defined]
