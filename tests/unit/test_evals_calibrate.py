"""Calibration: what is fitted is what was wrong, files are checked when they are used, and the command writes both."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from evals import calibrate
from evals.runs import Run
from retrieval import abstain
from strongroom.app.appliance import Appliance
from strongroom.cli.run import run
from strongroom.config import load
from strongroom.errors import ConfigError, ExitCode, UsageError
from tests.fakes import FakeModels

FEATURES = abstain.Features(dense=0.5, sentence=0.6, passage_words=0.6, strangers=0.0, answerable=0.6)


def made(folder: Path, *, scale: float, shift: float, count: int = 400, calibration: str | None = None) -> Run:
    """A run whose confidences are off: their log-odds must be scaled and shifted by these to be right."""
    rng = np.random.default_rng(1)
    rows = []
    for i in range(count):
        odds = float(rng.normal(0, 2))
        answerable = bool(rng.random() < 1 / (1 + np.exp(-(scale * odds + shift))))
        rows.append(
            {
                "id": str(i),
                "kind": "",
                "cluster": f"d{i % 20}",
                "confidence": 1 / (1 + np.exp(-odds)),
                "unanswerable": not answerable,
                "wrong": not answerable,
                "values": {},
            }
        )
    about = {"set": "ours", "settings": {"embedder": "all-minilm-l6-v2", "calibration": calibration}}
    folder.mkdir(exist_ok=True)
    (folder / "run.json").write_text(json.dumps(about))
    (folder / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Run(folder, about, tuple(rows))


def test_a_confidence_that_is_off_is_put_right(tmp_path: Path) -> None:
    found, after = calibrate.fit(made(tmp_path / "run", scale=0.5, shift=-1.0), risk=0.2)
    assert abs(found.scale - 0.5) < 0.15
    assert abs(found.shift + 1.0) < 0.3
    assert found.brier_after < found.brier_before - 0.02
    assert len(after) == found.questions == 400
    assert found.threshold is None or 0 < found.threshold <= 1


def test_what_ranks_the_wrong_way_round_is_not_turned_round() -> None:
    x = np.array([-2.0, -1.0, 1.0, 2.0] * 10)
    scale, shift = calibrate.platt(x, (x < 0).astype(float))
    assert scale == 0.0
    assert abs(shift) < 0.1


def test_too_few_questions_and_a_second_calibration_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="too few"):
        calibrate.fit(made(tmp_path / "a", scale=1, shift=0, count=30), risk=0.05)
    with pytest.raises(UsageError, match="with a calibration"):
        calibrate.fit(made(tmp_path / "b", scale=1, shift=0, calibration="x.json"), risk=0.05)


def test_the_command_writes_a_file_that_the_appliance_uses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # GIVEN a run whose confidences are too high
    monkeypatch.chdir(tmp_path)
    made(tmp_path / "run", scale=1.0, shift=-2.0)
    # WHEN it is calibrated
    assert run(["eval", "calibrate", "run", "--max-error", "0.2", "--json"]) == ExitCode.OK
    printed = json.loads(capsys.readouterr().out)
    page = (tmp_path / "run" / "calibration.html").read_text()
    assert page.count("<svg") == 2
    # THEN an appliance with that file is less sure of the same features, by as much
    file = tmp_path / "calibration.json"
    settings = load({"data_dir": tmp_path / "data", "calibration": file}).settings
    appliance = Appliance(settings, purpose="test", models=FakeModels())
    try:
        mine = appliance.calibration.probability(FEATURES)
    finally:
        appliance.close()
    plain = abstain.DEFAULT.probability(FEATURES)
    expected = printed["scale"] * abstain.log_odds(plain) + printed["shift"]
    assert mine < plain
    assert abs(abstain.log_odds(mine) - expected) < 1e-6


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("{}", "no calibration file"),
        ("not json", "no calibration file"),
        ('{"scale": NaN, "shift": 0, "embedder": "e"}', "no usable numbers"),
        ('{"scale": -1, "shift": 0, "embedder": "e"}', "no usable numbers"),
        ('{"scale": 1, "shift": 0, "embedder": "other"}', "made with the embedder 'other'"),
    ],
)
def test_a_file_that_says_nothing_here_is_refused(tmp_path: Path, body: str, what: str) -> None:
    path = tmp_path / "c.json"
    path.write_text(body)
    with pytest.raises(ConfigError, match=what):
        abstain.calibrated(path, embedder="e")
    with pytest.raises(ConfigError, match="no calibration file"):
        abstain.calibrated(tmp_path / "gone.json", embedder="e")
