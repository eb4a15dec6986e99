"""The appliance with fake models: what is audited, what `verify` finds, how it recovers, what it refuses."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from strongroom.access import LOCAL_USER
from strongroom.app import open_engine
from strongroom.app.appliance import Appliance
from strongroom.app.asking import final_answer
from strongroom.app.engine import LocalEngine
from strongroom.catalog import tables
from strongroom.config import load
from strongroom.errors import (
    IndexUnreachableError,
    IntegrityError,
    LockedError,
    ModelError,
    NotFoundError,
    NotPermittedError,
    ParseError,
    UsageError,
)
from strongroom.types import (
    ApprovalRequest,
    AskRequest,
    CitationsEvent,
    IngestOptions,
    IngestRequest,
    SearchRequest,
    Style,
)
from strongroom.whole import WholeRequest
from tests.appliances import open_appliance
from tests.fakes import FakeModels
from tests.fakes_engine import make_pdf

QUESTION = "Who insures the Wolverine crane?"


@pytest.fixture
def appliance(tmp_path: Path) -> Iterator[Appliance]:
    opened = open_appliance(tmp_path / "data")
    yield opened
    opened.close()


@pytest.fixture
def engine(appliance: Appliance, tmp_path: Path) -> LocalEngine:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.pdf").write_bytes(make_pdf([["The Wolverine crane is insured by Harbour Mutual."], ["Second page."]]))
    (folder / "b.txt").write_text("Lunch is at noon.\n")
    engine = appliance.as_user(LOCAL_USER)
    engine.ingest(IngestRequest((str(folder),)), on_event=lambda _event: None)
    return engine


def pdf_id(engine: LocalEngine) -> str:
    return next(d.id for d in engine.documents() if d.name == "a.pdf")


def test_every_access_to_a_document_is_on_record_without_its_words(appliance: Appliance, engine: LocalEngine) -> None:
    # GIVEN one of everything that shows or destroys
    document = pdf_id(engine)
    engine.search(SearchRequest(QUESTION))
    list(engine.ask(AskRequest(QUESTION)))
    engine.page(document, 0)
    engine.page_image(document, 0)
    engine.original(document)
    engine.delete(document)
    # THEN each is in the log, in order, with the document's id
    entries = list(appliance.audit.entries())
    assert [e.action for e in entries] == ["ingest", "search", "ask", "answer", "read", "read", "export", "delete"]
    assert all(e.actor == LOCAL_USER for e in entries)
    assert document in entries[1].detail["documents"]
    assert document in entries[2].detail["documents"]
    assert [e.subject for e in entries[4:]] == [document] * 4
    # AND no word of question or document
    assert "Wolverine" not in str(entries)
    assert appliance.audit.verify() == (8, [])


@pytest.mark.parametrize("style", ["exact", "fluent"])
def test_who_leaves_in_the_middle_of_an_answer_is_on_record(
    appliance: Appliance, engine: LocalEngine, style: Style
) -> None:
    # WHEN a reader takes the first event that holds words, the quotes, and goes away
    events = engine.ask(AskRequest(QUESTION, style=style))
    quotes = next(event for event in events if isinstance(event, CitationsEvent))
    events.close()  # type: ignore[attr-defined]
    # THEN the question and what was quoted are on record all the same
    (entry,) = [e for e in appliance.audit.entries() if e.action == "ask"]
    assert entry.detail["question"]
    assert set(entry.detail["documents"]) == {c.document.id for c in quotes.citations} == {pdf_id(engine)}


def test_questions_and_looks_that_are_refused_are_on_record(appliance: Appliance, engine: LocalEngine) -> None:
    # GIVEN somebody who may read nothing
    appliance.catalog.ensure_user("ada", "viewer")
    ada, document = appliance.as_user("ada"), pdf_id(engine)
    before = len(list(appliance.audit.entries()))
    # WHEN they try what is there and what is not
    for place, one in (("default", document), ("nowhere", "00000000-0000-4000-8000-000000000000")):
        for attempt in (
            lambda p=place: ada.search(SearchRequest(QUESTION, collection=p)),
            lambda p=place: list(ada.ask(AskRequest(QUESTION, collection=p))),
            lambda p=place: list(ada.whole(WholeRequest(task="summarise", collection=p))),
            lambda p=place: ada.documents(p),
            lambda p=place: ada.doubtful_pages(0.5, collection=p),
            lambda i=one: ada.document(i),
            lambda i=one: ada.details(i),
            lambda i=one: ada.original(i),
            lambda i=one: ada.approve(ApprovalRequest(QUESTION, "approved", i, 0, 0, 5)),
        ):
            with pytest.raises(NotFoundError):
                attempt()
    # THEN each try is on record, and what is hidden looks there like what never was
    tried = list(appliance.audit.entries())[before:]
    assert {(e.actor, e.outcome) for e in tried} == {("ada", "refused")}
    actions = ["search", "ask", "summarise", "read", "read", "read", "read", "export", "approve"]
    assert [e.action for e in tried] == actions * 2
    assert [e.detail for e in tried[: len(actions)]] == [e.detail for e in tried[len(actions) :]]


def test_acting_as_another_user_is_on_record(appliance: Appliance) -> None:
    appliance.catalog.ensure_user("ada", "viewer")
    ada = appliance.as_user("ada")
    assert ada.documents() == []
    with pytest.raises(NotPermittedError):
        ada.delete("x")
    with pytest.raises(NotPermittedError):
        appliance.as_user("mallory")
    assert [(e.actor, e.action, e.subject, e.outcome) for e in appliance.audit.entries()] == [
        (LOCAL_USER, "act-as", "ada", "ok"),
        ("ada", "delete", "", "refused"),
    ]


def test_a_viewer_cannot_change_anything(appliance: Appliance, engine: LocalEngine, tmp_path: Path) -> None:
    appliance.catalog.ensure_user("ada", "viewer")
    ada = appliance.as_user("ada")
    for attempt in (
        lambda: ada.ingest(IngestRequest((str(tmp_path / "in"),)), on_event=lambda _event: None),
        lambda: ada.ingest_files([], IngestOptions(), on_event=lambda _event: None),
        lambda: ada.unchanged([], collection="default"),
        lambda: ada.delete(pdf_id(engine)),
        ada.verify,
    ):
        with pytest.raises(NotPermittedError):
            attempt()
    assert len(engine.documents()) == 2


def test_what_one_user_may_not_read_does_not_exist_for_them(appliance: Appliance, engine: LocalEngine) -> None:
    appliance.catalog.ensure_user("ada", "viewer")
    ada, document = appliance.as_user("ada"), pdf_id(engine)
    assert ada.search(SearchRequest(QUESTION)).hits == ()
    assert ada.documents() == []
    assert ada.collections() == []
    status = ada.status()
    assert (status.collections, status.states, status.chunks, status.points) == ({}, {}, 0, 0)
    assert engine.status().collections == {"default": 2}
    for attempt in (ada.document, ada.original, lambda d: ada.page(d, 0), lambda d: ada.page_image(d, 0)):
        with pytest.raises(NotFoundError, match="does not exist"):
            attempt(document)


# ------------------------------------------------------------------------------------------------ verify


def test_verify_finds_a_lost_point_a_stray_point_and_a_damaged_original(
    appliance: Appliance, engine: LocalEngine
) -> None:
    assert engine.verify().ok
    version = engine.document(pdf_id(engine)).version
    # a damaged original
    blob = appliance.blobs.path(version)
    good = blob.read_bytes()
    blob.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    assert "damaged" in engine.verify().problems[0].what
    blob.unlink()
    assert "missing" in engine.verify().problems[0].what
    blob.write_bytes(good)
    assert engine.verify().ok
    # a lost point
    appliance.raw_index.delete_versions([version])
    assert f"version {version}" in engine.verify().problems[0].what
    assert not engine.verify().ok


def test_an_index_that_lost_points_is_mended_at_start(
    appliance: Appliance, engine: LocalEngine, tmp_path: Path
) -> None:
    version = engine.document(pdf_id(engine)).version
    appliance.raw_index.delete_versions([version])
    appliance.raw_index.flush()
    appliance.close()
    again = Appliance(load({"data_dir": tmp_path / "data"}).settings, purpose="test", models=FakeModels())
    try:
        again.recover()
        restored = again.as_user(LOCAL_USER)
        assert restored.verify().ok
        assert "Wolverine" in restored.search(SearchRequest(QUESTION)).hits[0].text
    finally:
        again.close()


# ------------------------------------------------------------------------------------------------ refusals


def test_only_one_process_owns_the_directory(appliance: Appliance, tmp_path: Path) -> None:
    with pytest.raises(LockedError, match="test"):
        Appliance(load({"data_dir": tmp_path / "data"}).settings, purpose="second", models=FakeModels())


def test_a_data_directory_that_others_can_open_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o755)
    (tmp_path / "data").chmod(0o755)
    with pytest.raises(NotPermittedError, match="other users"):
        Appliance(load({"data_dir": tmp_path / "data"}).settings, purpose="test", models=FakeModels())


def test_a_page_that_cannot_be_drawn_costs_one_request(appliance: Appliance, engine: LocalEngine) -> None:
    # GIVEN an original that turns out not to be a PDF when it is drawn
    document = pdf_id(engine)
    view = engine.page(document, 0)
    original, appliance.blobs.read = appliance.blobs.read, lambda *_: b"%PDF-1.4 nonsense"  # type: ignore[method-assign]
    with pytest.raises(ParseError, match="could not be drawn"):
        appliance.renderer.page(view, dpi=72)
    # THEN the next page is drawn as if nothing had happened
    appliance.blobs.read = original  # type: ignore[method-assign]
    assert appliance.renderer.page(view, dpi=72).startswith(b"\x89PNG")


def test_an_empty_user_name_is_refused_and_not_taken_for_the_administrator(tmp_path: Path) -> None:
    settings = load({"data_dir": tmp_path / "data"}).settings
    with pytest.raises(NotPermittedError, match="does not exist"):
        open_engine(settings, purpose="test", as_user="")


# ------------------------------------------------------------------------------------------------ deletion


def test_a_deletion_is_on_record_even_when_the_index_fails_after_it(
    appliance: Appliance, engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = pdf_id(engine)

    def fail(_versions: object) -> None:
        raise IndexUnreachableError("the index is gone")

    monkeypatch.setattr(appliance.raw_index, "delete_versions", fail)
    with pytest.raises(IndexUnreachableError):
        engine.delete(document)
    last = list(appliance.audit.entries())[-1]
    assert (last.actor, last.action, last.subject) == (LOCAL_USER, "delete", document)
    assert last.detail["pages"] == 2


def test_page_images_of_a_deleted_document_leave_memory(appliance: Appliance, engine: LocalEngine) -> None:
    document = pdf_id(engine)
    engine.page_image(document, 0)
    engine.delete(document)
    assert not appliance.renderer._images


def test_what_prune_deletes_is_on_record_one_by_one(appliance: Appliance, engine: LocalEngine, tmp_path: Path) -> None:
    document = pdf_id(engine)
    engine.page_image(document, 0)
    (tmp_path / "in" / "a.pdf").unlink()
    request = IngestRequest((str(tmp_path / "in"),), prune=True)
    # WHEN it is only planned, THEN nothing is on record
    engine.ingest(replace(request, dry_run=True), on_event=lambda _event: None)
    assert [e.action for e in appliance.audit.entries()] == ["ingest", "read"]
    # WHEN it is done, THEN the deletion is, by whom and of which document
    engine.ingest(request, on_event=lambda _event: None)
    entry = list(appliance.audit.entries())[2]
    assert (entry.actor, entry.action, entry.subject) == (LOCAL_USER, "delete", document)
    assert not appliance.renderer._images


# ------------------------------------------------------------------------------------------------ opening


def test_a_catalogue_without_its_keys_is_refused_and_no_new_keys_are_made(
    appliance: Appliance, engine: LocalEngine, tmp_path: Path
) -> None:
    assert engine.documents()
    appliance.close()
    elsewhere = load({"data_dir": tmp_path / "data", "keys_dir": tmp_path / "keys"}).settings
    with pytest.raises(IntegrityError, match="no keys"):
        Appliance(elsewhere, purpose="test", models=FakeModels())
    assert not (tmp_path / "keys").exists()
    # the lock was given back, and with its keys it opens
    Appliance(load({"data_dir": tmp_path / "data"}).settings, purpose="test", models=FakeModels()).close()


def test_uploads_that_a_killed_server_left_are_gone_at_the_next_start(tmp_path: Path) -> None:
    settings = load({"data_dir": tmp_path / "data"}).settings
    Appliance(settings, purpose="test", models=FakeModels()).close()
    (settings.spool / "job").mkdir(parents=True)
    (settings.spool / "job" / "upload.txt").write_text("words of a document")
    Appliance(settings, purpose="test", models=FakeModels()).close()
    assert not settings.spool.exists()


def test_answers_in_quotes_alone_need_no_language_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_self: FakeModels, model_id: str) -> None:
        raise ModelError(f"{model_id} is not installed")

    monkeypatch.setattr(FakeModels, "llm", missing)
    settings = load({"data_dir": tmp_path / "data", "answer_style": "exact"}).settings
    opened = Appliance(settings, purpose="test", models=FakeModels())
    try:
        assert not opened.ready()
        opened.warm_up()
        assert opened.ready()
    finally:
        opened.close()


def test_two_threads_get_one_pipeline(appliance: Appliance) -> None:
    # two would not know of each other's runs; from Python 3.12 on, the standard library does not see to this
    together = threading.Barrier(4)

    def first_use() -> object:
        together.wait(10)
        return appliance.pipeline

    with ThreadPoolExecutor(4) as pool:
        found = {id(made.result()) for made in [pool.submit(first_use) for _ in range(4)]}
    assert len(found) == 1


def test_an_original_that_belongs_to_no_version_is_removed_at_start(appliance: Appliance, engine: LocalEngine) -> None:
    stray = appliance.blobs.path("00000000-0000-4000-8000-000000000000")
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"ciphertext")
    assert "belong to no version" in engine.verify().problems[0].what
    appliance.recover()
    assert not stray.exists()
    assert engine.verify().problems == ()


@pytest.mark.parametrize(
    ("settings", "request_", "style"),
    [
        ({}, {}, "exact"),
        ({"model": "capable-7b"}, {}, "fluent"),  # the catalogue says that it writes well
        ({"model": "capable-7b", "answer_style": "exact"}, {}, "exact"),
        ({"model": "capable-7b"}, {"verbatim": True}, "exact"),
        ({"answer_style": "fluent"}, {}, "fluent"),
        ({"answer_style": "fluent"}, {"style": "exact"}, "exact"),
        ({}, {"style": "fluent"}, "fluent"),
        ({}, {"model": "small-1b"}, "fluent"),  # who names a model wants its words
        ({}, {"model": "small-1b", "verbatim": True}, "exact"),  # or its choice of the documents'
        ({}, {"model": "small-1b", "style": "exact"}, "exact"),
    ],
)
def test_the_style_follows_request_settings_and_model(
    tmp_path: Path, settings: dict[str, str], request_: dict[str, object], style: str
) -> None:
    opened = Appliance(load({"data_dir": tmp_path / "data", **settings}).settings, purpose="test", models=FakeModels())
    try:
        engine = opened.as_user(LOCAL_USER)
        (tmp_path / "a.txt").write_text(
            "The Wolverine crane is insured by Harbour Mutual. Who insures it is no secret."
        )
        engine.ingest(IngestRequest((str(tmp_path / "a.txt"),)), on_event=lambda _event: None)
        answer = final_answer(engine, AskRequest(QUESTION, **request_))  # type: ignore[arg-type]
        assert not answer.abstained
        assert answer.style == style
        assert bool(answer.exact) == (style == "exact")
    finally:
        opened.close()


@pytest.mark.parametrize(
    "request_",
    [
        {"verbatim": True, "style": "fluent"},
    ],
)
def test_a_style_that_contradicts_the_request_is_refused(engine: LocalEngine, request_: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        list(engine.ask(AskRequest(QUESTION, **request_)))  # type: ignore[arg-type]


def test_judgements_are_seen_by_whoever_may_read_their_document_and_nobody_else(
    appliance: Appliance, engine: LocalEngine
) -> None:
    # GIVEN a judgement by the owner, and somebody who may read nothing
    document = pdf_id(engine)
    kept = engine.approve(ApprovalRequest(QUESTION, "approved", document, 0, 0, 12))
    appliance.catalog.ensure_user("ada", "viewer")
    ada = appliance.as_user("ada")
    # THEN she neither sees it nor can judge or withdraw, and cannot tell that the document exists
    assert ada.approvals() == []
    said = []
    for unknown in (document, "no-such-id"):
        with pytest.raises(NotFoundError) as raised:
            ada.approve(ApprovalRequest(QUESTION, "approved", unknown, 0, 0, 1))
        said.append(str(raised.value).replace(unknown, "it"))
    assert said[0] == said[1]
    with pytest.raises(NotPermittedError):
        ada.withdraw(kept.id)
    # AND the record names document and verdict, no word of either
    entry = next(e for e in appliance.audit.entries() if e.action == "approve")
    assert (entry.subject, entry.detail["verdict"]) == (document, "approved")
    assert "Wolverine" not in str(list(appliance.audit.entries()))


def test_words_of_a_judgement_are_sealed_under_the_key_of_their_document(
    appliance: Appliance, engine: LocalEngine
) -> None:
    document = pdf_id(engine)
    engine.approve(ApprovalRequest(QUESTION, "approved", document, 0, 0, 12))
    with appliance.store.read() as conn:
        row = conn.execute(select(tables.approvals)).one()
        key_id = conn.execute(select(tables.documents.c.key_id).where(tables.documents.c.id == document)).scalar_one()
    assert (row.question.key_id, row.text.key_id) == (key_id, key_id)
    assert b"Wolverine" not in appliance.settings.catalogue.read_bytes()
