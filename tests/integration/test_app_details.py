"""What the operator sees of documents and runs: only what they may read, on record, and with nothing in the clear."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select, update

from strongroom.access import LOCAL_USER
from strongroom.app.appliance import Appliance
from strongroom.app.engine import LocalEngine
from strongroom.catalog.tables import meta, pages
from strongroom.config import load
from strongroom.errors import NotFoundError
from strongroom.types import FileOutcome, IngestEvent, IngestProgress, IngestRequest
from tests.fakes import FakeModels
from tests.fakes_engine import make_pdf


@pytest.fixture
def appliance(tmp_path: Path) -> Iterator[Appliance]:
    opened = Appliance(load({"data_dir": tmp_path / "data"}).settings, purpose="test", models=FakeModels())
    yield opened
    opened.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.pdf").write_bytes(make_pdf([["The Wolverine crane is insured."], ["Second page of words."]]))
    (folder / "bad.pdf").write_bytes(b"%PDF-1.4 damaged")
    return folder


@pytest.fixture
def engine(appliance: Appliance, folder: Path) -> LocalEngine:
    engine = appliance.as_user(LOCAL_USER)
    engine.ingest(IngestRequest(paths=(str(folder),), collection="Secret plans"), on_event=lambda _event: None)
    return engine


def good(engine: LocalEngine) -> str:
    return next(d.id for d in engine.documents() if d.name == "a.pdf")


def test_reading_chunks_is_on_record_and_looking_at_facts_reads_no_text(
    appliance: Appliance, engine: LocalEngine
) -> None:
    before = len(list(appliance.audit.entries()))
    detail = engine.details(good(engine))
    assert len(list(appliance.audit.entries())) == before
    assert sum(page.characters for page in detail.pages) > 20
    chunks = engine.chunks(good(engine))
    (entry,) = list(appliance.audit.entries())[before:]
    assert (entry.action, entry.subject, entry.detail["chunks"]) == ("read", good(engine), len(chunks))
    assert sum(page.chunks for page in detail.pages) >= len(chunks) > 0


def test_who_may_not_read_gets_nothing_and_the_attempt_is_on_record(appliance: Appliance, engine: LocalEngine) -> None:
    appliance.catalog.ensure_user("ada", "viewer")
    with appliance.store.write() as conn:
        conn.execute(update(pages).values(ocr_confidence=0.3))
    ada = appliance.as_user("ada")
    for method in (ada.details, ada.chunks):
        with pytest.raises(NotFoundError):
            method(good(engine))
    assert ada.doubtful_pages(0.9) == []
    assert (ada.status().last_ingest, ada.status().disk) == (None, {})
    refused = [e for e in appliance.audit.entries() if e.outcome == "refused"]
    assert [(e.actor, e.action, e.subject) for e in refused] == [("ada", "read", good(engine))] * 2


def test_doubtful_pages_come_least_sure_first(appliance: Appliance, engine: LocalEngine) -> None:
    with appliance.store.write() as conn:
        for index, confidence in ((0, 0.6), (1, 0.4)):
            conn.execute(update(pages).where(pages.c.idx == index).values(ocr_confidence=confidence))
    assert [(p.index, p.confidence) for p in engine.doubtful_pages(0.7)] == [(1, 0.4), (0, 0.6)]
    assert [p.index for p in engine.doubtful_pages(0.5, collection="Secret plans")] == [1]


def test_a_new_version_is_listed_while_the_old_one_is_gone(engine: LocalEngine, folder: Path) -> None:
    (before,) = engine.details(good(engine)).versions
    (folder / "a.pdf").write_bytes(make_pdf([["The Wolverine crane was sold."]]))
    engine.ingest(IngestRequest(paths=(str(folder),), collection="Secret plans"), on_event=lambda _event: None)
    current = [v for v in engine.details(good(engine)).versions if v.current]
    assert [v.pages for v in current] == [1]
    assert current[0].id != before.id


def test_the_last_run_is_kept_and_names_no_collection_in_the_clear(appliance: Appliance, engine: LocalEngine) -> None:
    status = engine.status()
    assert status.last_ingest is not None
    assert status.last_ingest.collection == "Secret plans"
    assert status.last_ingest.summary.outcomes["indexed"] == 1
    assert status.disk["originals"] > 0
    assert set(status.disk) == {"originals", "catalogue", "index", "keys", "other data", "models"}
    with appliance.store.read() as conn:
        kept = "".join(conn.execute(select(meta.c.value)).scalars())
    assert "Secret" not in kept


def test_progress_counts_bytes_failures_and_how_long_each_file_took(appliance: Appliance, folder: Path) -> None:
    events: list[IngestEvent] = []
    appliance.as_user(LOCAL_USER).ingest(IngestRequest(paths=(str(folder),)), on_event=events.append)
    last = [e for e in events if isinstance(e, IngestProgress)][-1]
    total = sum(path.stat().st_size for path in folder.iterdir())
    assert (last.bytes_done, last.bytes_total, last.failed, last.current) == (total, total, 1, ())
    read = next(e for e in events if isinstance(e, FileOutcome) and e.outcome == "indexed")
    assert read.seconds > 0
