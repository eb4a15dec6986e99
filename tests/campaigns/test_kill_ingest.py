"""The kill campaign as a test: `STRONGROOM_TEST_DATA` names the folder, the sample documents stand in for it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.campaigns.kill_ingest import campaign

SAMPLES = Path(__file__).parents[2] / "samples" / "documents"


@pytest.mark.slow
@pytest.mark.models
@pytest.mark.timeout(0)
def test_twenty_kills_lose_nothing(tmp_path: Path) -> None:
    folder = Path(os.environ.get("STRONGROOM_TEST_DATA") or SAMPLES)
    kills = int(os.environ.get("STRONGROOM_TEST_KILLS") or 20)
    result = campaign(folder, tmp_path, kills=kills, seed=20261101)
    print(json.dumps(result, indent=2))
    assert result["problems"] == []
    assert result["kills"] == kills
