"""Work over whole documents on the real catalogue and index with fake models: who sees what, and what is kept."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from strongroom.access import LOCAL_USER
from strongroom.app.appliance import Appliance
from strongroom.app.engine import LocalEngine
from strongroom.catalog.tables import works
from strongroom.errors import CancelledError, NotFoundError
from strongroom.types import IngestOptions, IngestRequest, SourceFile
from strongroom.whole import Field, Row, WholeDone, WholeProgress, WholeRequest
from tests.appliances import open_appliance

FIELDS = (Field("clerk", question="Who is the clerk of the office?"), Field("opened", "date", "When was it opened?"))
SECRET = "Ottilie"


@pytest.fixture
def appliance(tmp_path: Path) -> Iterator[Appliance]:
    opened = open_appliance(tmp_path / "data")
    yield opened
    opened.close()


@pytest.fixture
def engine(appliance: Appliance, tmp_path: Path) -> LocalEngine:
    folder = tmp_path / "in"
    folder.mkdir()
    for n in range(4):
        (folder / f"{n}.txt").write_text(
            f"The clerk of the office {n} is {SECRET}. It was opened by {SECRET} on 3 May 201{n}.\n"
        )
    engine = appliance.as_user(LOCAL_USER)
    engine.ingest(IngestRequest((str(folder),)), on_event=lambda _event: None)
    return engine


def rows(engine: LocalEngine, request: WholeRequest) -> tuple[dict[str, Row], WholeDone]:
    events = list(engine.whole(request))
    done = events[-1]
    assert isinstance(done, WholeDone)
    return {e.document.name: e for e in events if isinstance(e, Row)}, done


def count(appliance: Appliance) -> int:
    with appliance.store.read() as conn:
        return conn.execute(select(func.count()).select_from(works)).scalar_one()


def test_work_that_was_stopped_goes_on_where_it_was(appliance: Appliance, engine: LocalEngine) -> None:
    # GIVEN work that is stopped after three cells
    request, cancel = WholeRequest(task="extract", fields=FIELDS), threading.Event()
    events = engine.whole(request, cancel=cancel)
    assert any(isinstance(event, WholeProgress) and event.done == 3 for event in events)
    cancel.set()
    with pytest.raises(CancelledError):
        list(events)
    assert count(appliance) == 3
    # WHEN it is run again THEN only the rest is worked out, and the whole table is there
    found, done = rows(engine, request)
    assert (done.reused, count(appliance)) == (3, 8)
    assert {name: row.cells[1].value for name, row in found.items()} == {f"{n}.txt": f"201{n}-05-03" for n in range(4)}
    # AND `again` works everything out anew
    anew, done = rows(engine, WholeRequest(task="extract", fields=FIELDS, again=True))
    assert (anew, done.reused) == (found, 0)


def test_another_version_is_read_anew(appliance: Appliance, engine: LocalEngine, tmp_path: Path) -> None:
    request = WholeRequest(task="extract", fields=FIELDS)
    rows(engine, request)
    (tmp_path / "in" / "0.txt").write_text("The clerk of the office 0 is Boris. It was opened on 4 May 2010.\n")
    engine.ingest(IngestRequest((str(tmp_path / "in"),)), on_event=lambda _event: None)
    found, done = rows(engine, request)
    assert found["0.txt"].cells[1].value == "2010-05-04"
    assert "Boris" in found["0.txt"].cells[0].text
    assert done.reused == 6


def test_what_is_kept_is_sealed_and_goes_with_its_document(appliance: Appliance, engine: LocalEngine) -> None:
    rows(engine, WholeRequest(task="extract", fields=FIELDS))
    with appliance.store.read() as conn:
        bodies = [bytes(body) for body in conn.execute(select(works.c.body)).scalars()]
    assert len(bodies) == 8
    assert not any(SECRET.encode() in body for body in bodies)
    first = engine.documents()[0]
    engine.delete(first.id)
    assert count(appliance) == 6
    assert engine.verify().ok


def test_only_what_may_be_read_is_worked_on_and_kept_work_tells_nobody_else(
    appliance: Appliance, engine: LocalEngine, tmp_path: Path
) -> None:
    # GIVEN a viewer of one document, and work that the administrator did on all of them
    appliance.catalog.ensure_user("ada", "viewer", ("board",))
    path = tmp_path / "in" / "board.txt"
    path.write_text("The clerk of the office 9 is Cleo. It was opened on 3 May 1999.\n")
    upload = SourceFile(str(path), path.as_uri(), path.name, path.stat().st_size)
    engine.ingest_files([upload], IngestOptions(groups=("board",)), on_event=lambda _event: None)
    ada = appliance.as_user("ada")
    tasks = {
        "extract": WholeRequest(task="extract", fields=FIELDS),
        "summarise": WholeRequest(task="summarise"),
        "timeline": WholeRequest(task="timeline"),
        "sheet": WholeRequest(task="sheet", questions=("Who is the clerk of the office?",)),
    }
    for request in tasks.values():
        said = str(list(engine.whole(request)))
        assert SECRET in said
        assert "0.txt" in said
    # WHEN the viewer asks for everything THEN nothing of the others comes, from no task
    for request in tasks.values():
        said = str(list(ada.whole(request)))
        assert SECRET not in said
        assert not any(f"{n}.txt" in said for n in range(4))
    assert "board.txt" in str(list(ada.whole(tasks["extract"])))
    # AND a document that is named by its id is as unknown as one that never was
    hidden = next(d for d in engine.documents() if d.name == "0.txt")
    readable = ada.documents()[0]
    for request in (
        WholeRequest(task="timeline", documents=(hidden.id,)),
        WholeRequest(task="compare", documents=(readable.id, hidden.id)),
        WholeRequest(task="sheet", documents=(hidden.id,), questions=("Who?",)),
    ):
        with pytest.raises(NotFoundError) as refused:
            list(ada.whole(request))
        assert str(refused.value) == f"document {hidden.id} does not exist"
        entry = list(appliance.audit.entries())[-1]
        assert (entry.actor, entry.action, entry.subject, entry.outcome) == ("ada", request.task, hidden.id, "refused")


def test_a_right_that_is_taken_away_ends_it_in_the_middle(appliance: Appliance, engine: LocalEngine) -> None:
    # GIVEN work over two documents
    first, second = engine.documents()[:2]
    events = engine.whole(WholeRequest(task="extract", fields=FIELDS, documents=(first.id, second.id)))
    found = []
    for event in events:
        found.append(event)
        if isinstance(event, Row):
            engine.delete(second.id)  # WHEN the second is deleted while the first is read
            break
    found += list(events)
    # THEN it is left out, by name, and the work ends well
    assert [e.document.id for e in found if isinstance(e, Row)] == [first.id]
    done = found[-1]
    assert isinstance(done, WholeDone)
    assert [name for name, _ in done.left_out] == [second.name]


def test_the_log_names_what_was_read_before_it_is_read(appliance: Appliance, engine: LocalEngine) -> None:
    events = engine.whole(WholeRequest(task="timeline"))
    next(iter(events))
    ids = {d.id for d in engine.documents()}
    entry = list(appliance.audit.entries())[-1]
    assert (entry.action, set(entry.detail["documents"])) == ("timeline", ids)
    list(engine.whole(WholeRequest(task="sheet", questions=("Who is the clerk of the office?",))))
    entry = list(appliance.audit.entries())[-1]
    assert entry.action == "sheet"
    assert entry.detail["documents"]
    assert SECRET not in str(entry)


def test_a_document_without_text_is_named_and_a_hidden_one_is_not(
    appliance: Appliance, engine: LocalEngine, tmp_path: Path
) -> None:
    (tmp_path / "in" / "broken.pdf").write_bytes(b"%PDF-1.4 no more than this")
    engine.ingest(IngestRequest((str(tmp_path / "in"),)), on_event=lambda _event: None)
    found, done = rows(engine, WholeRequest(task="extract", fields=FIELDS))
    assert (len(found), done.documents) == (4, 4)
    ((name, reason),) = done.left_out
    assert name == "broken.pdf"
    assert reason
    # somebody who may not read it does not hear of it
    appliance.catalog.ensure_user("clara", "viewer", ())
    assert rows(appliance.as_user("clara"), WholeRequest(task="extract", fields=FIELDS))[1].left_out == ()
