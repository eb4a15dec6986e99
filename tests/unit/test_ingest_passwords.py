"""Passwords are for one run on this machine: whatever would keep them or send them away refuses them, and says so."""

import threading
from pathlib import Path
from typing import cast

import pytest

from ingest.cluster import RayParserPool
from strongroom.cli.ingest import keep_in_step
from strongroom.client.engine import HttpEngine
from strongroom.config import load
from strongroom.engine import Engine
from strongroom.errors import UsageError
from strongroom.types import IngestRequest


def _request(folder: Path) -> IngestRequest:
    return IngestRequest((str(folder),), passwords=("s3cret",))


def test_a_server_is_not_sent_any(tmp_path: Path) -> None:
    engine = HttpEngine("http://127.0.0.1:1", "token")
    with pytest.raises(UsageError, match="passwords are not sent to a server") as caught:
        engine.ingest(_request(tmp_path), on_event=lambda _event: None, cancel=threading.Event())
    assert "s3cret" not in f"{caught.value} {caught.value.hint}"


def test_watching_takes_none(tmp_path: Path) -> None:
    settings = load({"data_dir": tmp_path / "data"}).settings
    with pytest.raises(UsageError, match="--watch takes no passwords"):
        keep_in_step(
            cast(Engine, None),
            _request(tmp_path),
            settings,
            poll=None,
            on_event=lambda _event: None,
            json_output=False,
        )


def test_a_cluster_is_not_sent_any() -> None:
    pool = RayParserPool.__new__(RayParserPool)  # without a cluster
    with pytest.raises(UsageError, match="passwords are not sent to a cluster"):
        pool.unlock_with(("s3cret",))
