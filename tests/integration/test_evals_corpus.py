"""A question set's documents in an appliance of their own: ingested once, for these bytes and these settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from evals.corpus import corpus_key, opened
from evals.questions import Question, QuestionSet
from strongroom.config import Settings, load
from strongroom.errors import LockedError, UsageError
from strongroom.types import FileOutcome, IngestEvent, SearchRequest
from tests.fakes import FakeModels

TEXTS = {"Bridge 001.txt": "The bridge opened in 1901.", "Bridge 002.txt": "Its keeper was Ada Blom."}
SET = QuestionSet("bridges", (Question("1", "When did the bridge open?", ("Bridge 001.txt",)),), texts=TEXTS)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load({"data_dir": tmp_path / "the-organisations-own"}).settings


def outcomes(questions: QuestionSet, settings: Settings, cache: Path) -> dict[str, str]:
    """What became of each document, and that the first question finds the first document."""
    events: list[IngestEvent] = []
    with opened(questions, settings, cache=cache, on_event=events.append, models=FakeModels()) as engine:
        hits = engine.search(SearchRequest(questions.questions[0].text)).hits
        assert questions.questions[0].is_about(hits[0].document) == 0
    return {Path(e.path).name: e.outcome for e in events if isinstance(e, FileOutcome)}


def test_documents_are_ingested_once(settings: Settings, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert outcomes(SET, settings, cache) == dict.fromkeys(TEXTS, "indexed")
    assert outcomes(SET, settings, cache) == dict.fromkeys(TEXTS, "unchanged")
    assert not settings.data_dir.exists()


def test_files_are_ingested_where_they_are(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "Bridge 001.txt").write_text(TEXTS["Bridge 001.txt"])
    files = QuestionSet("bridges", SET.questions, files=(folder,))
    assert outcomes(files, settings, tmp_path / "cache") == {"Bridge 001.txt": "indexed"}
    with pytest.raises(UsageError, match="does not exist"):
        corpus_key(QuestionSet("x", SET.questions, files=(tmp_path / "gone",)), settings)


def test_other_bytes_or_other_chunks_are_another_corpus(settings: Settings) -> None:
    changed = QuestionSet("bridges", SET.questions, texts=TEXTS | {"Bridge 001.txt": "The bridge opened in 1902."})
    keys = {
        corpus_key(SET, settings),
        corpus_key(changed, settings),
        corpus_key(SET, settings.model_copy(update={"chunk_tokens": 100})),
    }
    assert len(keys) == 3
    assert corpus_key(SET, settings.model_copy(update={"abstain_below": 0.9})) in keys


def test_two_runs_do_not_share_a_corpus_at_once(settings: Settings, tmp_path: Path) -> None:
    def ignore(_event: IngestEvent) -> None:
        return None

    with (
        opened(SET, settings, cache=tmp_path, on_event=ignore, models=FakeModels()),
        pytest.raises(LockedError),
        opened(SET, settings, cache=tmp_path, on_event=ignore, models=FakeModels()),
    ):
        pass
