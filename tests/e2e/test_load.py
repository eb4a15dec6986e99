"""Some people at once on the whole product, which is killed in between: `benchmarks.load`, for seconds."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

import pytest

from benchmarks.load import ROOT, run

pytestmark = pytest.mark.models


def test_an_acknowledged_upload_outlives_a_killed_server(tmp_path: Path) -> None:
    # GIVEN eight people who search, ask, look at pages and upload on a server with two documents
    folder = tmp_path / "documents"
    folder.mkdir()
    for name in ("information-handling-policy.pdf", "pilotage-direction-7.txt"):
        (folder / name).write_bytes((ROOT / "samples" / "documents" / name).read_bytes())
    wanted = argparse.Namespace(
        documents=folder, people=8, seconds=16.0, kill_every=5.0, pause=0.5, idle_searches=10, seed=1
    )
    # WHEN it is killed in the middle of that, each time after something was acknowledged
    report = asyncio.run(run(wanted, tmp_path))
    # THEN nothing went wrong but what the kills cut off, nobody saw another's document, and nothing kept was lost
    assert report["kills"] >= 1
    assert report["errors"] == {}
    assert report["cross_talk"] == []
    assert report["lost"] == []
    assert report["uploads_acknowledged"] >= 1
    assert report["done"]["upload"] >= 1
