"""Going on from a reader with approved answers: what is held apart, and an artefact that opens."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from strongroom.config import load


def pairs(documents: int, each: int) -> list[dict[str, object]]:
    out: list[dict[str, object]] = []
    for d in range(documents):
        passage = " ".join(
            f"The pump in hall {d}-{n} was built by Firm {chr(65 + n)}{d} in {1900 + d}." for n in range(each)
        )
        for n in range(each):
            words = f"Firm {chr(65 + n)}{d}"
            at = passage.index(words)
            asked = f"Who built the pump in hall {d}-{n}?"
            out.append(
                {"question": asked, "passage": passage, "start": at, "end": at + len(words), "document": f"d{d}"}
            )
    return out


def test_documents_are_held_apart_whole_and_each_question_meets_a_wrong_passage() -> None:
    from models.training.approved import split

    examples, held = split(pairs(12, 3))
    right = [e for e in examples if e.answerable]
    wrong = [e for e in examples if not e.answerable]
    assert held
    assert not {e.group for e in examples} & {e.group for e in held}
    assert len(right) + len(held) == 36
    assert len(wrong) == len(right)
    assert all(e.spans == () for e in wrong)
    assert all(e.passage[e.spans[0][0] : e.spans[0][1]] == e.answers[0] for e in right if e.spans)


@pytest.mark.models
def test_the_child_gives_back_a_reader_that_opens_and_says_how_it_compares(tmp_path: Path) -> None:
    from strongroom.app.models import InstalledModels

    settings = load({"embedder_backend": "fast"}).settings
    models = InstalledModels(settings)
    current = base64.b64encode(models.reader_artefact()).decode()
    done = subprocess.run(
        [sys.executable, "-m", "models.training.approved", "--base", str(models.reader_base())],
        input=json.dumps({"artefact": current, "pairs": pairs(8, 2)}),
        env=os.environ | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["held"] > 0
    assert 0 <= told["after"]["f1"] <= 1
    # nothing is left in the clear; torch makes an empty folder for its compiler when no earlier import named one
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    before = {path.name for path in settings.models_dir.iterdir()}
    reader = models.reader(base64.b64decode(told["artefact"]))
    assert reader.read("Who built the pump?", ["The pump was built by Firm A."])[0].spans
    assert {path.name for path in settings.models_dir.iterdir()} == before  # nor is it converted on a disk
