"""Every route of the OpenAPI document is called with what fits its description and with what does not: never a 5xx.

Requests are made by schemathesis (property-based, from the document itself) and go through the whole server, guard and
limits included, to a real appliance over fake models.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from server.app import create_app
from server.limits import Rate
from server.settings import ServerSettings
from strongroom.access import LOCAL_USER
from strongroom.types import IngestRequest
from tests.contract.test_engine_contract import appliance
from tests.server_fixtures import write_documents

schemathesis = pytest.importorskip("schemathesis")
hypothesis = pytest.importorskip("hypothesis")

TOKEN = "a-token-for-the-schema-test"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
# Waits for the engine to take what is sent, and streams until a job ends: covered by the tests of ingest.
_STREAMS = {"/api/ingest/jobs/{job_id}/events", "/api/ingest/jobs/{job_id}/files"}


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """The server's own description of itself, over an appliance with documents in it."""
    root = tmp_path_factory.mktemp("schema")
    with appliance(root / "appliance") as opened:
        folder = write_documents(root / "docs")
        opened.as_user(LOCAL_USER).ingest(IngestRequest((str(folder),)), on_event=lambda _event: None)
        settings = ServerSettings(
            spool_dir=root / "spool", public_hosts=frozenset({"testserver"}), person_rate=Rate(10_000, 10_000)
        )
        app = create_app(opened.as_user, token=TOKEN, settings=settings)
        yield schemathesis.openapi.from_asgi("/openapi.json", app, headers=HEADERS)


schema = schemathesis.pytest.from_fixture("described")


@schema.exclude(path_regex="/(events|files)$").parametrize()
@hypothesis.settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)
def test_no_request_makes_the_server_fail(case: object) -> None:
    response = case.call(headers=HEADERS)  # type: ignore[attr-defined]
    assert response.status_code < 500 or response.status_code == 507, response.text
    assert "Traceback" not in response.text


def test_every_route_is_in_the_description_or_open_on_purpose(described: object, tmp_path: Path) -> None:
    paths = set(described.raw_schema["paths"])  # type: ignore[attr-defined]
    assert paths >= _STREAMS
    assert len(paths) > 20
