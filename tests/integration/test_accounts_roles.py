"""Roles over the real catalogue and index: an auditor reads nothing by any path, and a role counts from its change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from server.state import Doors
from strongroom.access import LOCAL_USER
from strongroom.accounts import Passwords
from strongroom.app.appliance import Appliance
from strongroom.client.engine import HttpEngine
from strongroom.errors import NotFoundError, NotPermittedError, StrongroomError, UnauthorizedError
from strongroom.people import AccountChange, Identity, NewAccount, RedeemRequest, Role
from strongroom.types import AskRequest, GrantRequest, IngestRequest, SearchRequest
from tests.appliances import open_appliance
from tests.fakes_engine import walk
from tests.server_fixtures import cheap_hasher, served

PASSWORD = "seven grey herons at dawn"
QUESTION = "Who buys the harbour company?"
SECRET = "The harbour company is bought by Meridian Holdings in April."


class Office:
    """An appliance behind its server, with people who sign in."""

    def __init__(self, root: Path, appliance: Appliance, url: str) -> None:
        self.appliance, self.url, self.root = appliance, url, root
        self.owner = appliance.desk(Identity(LOCAL_USER, "owner"))

    def add(self, name: str, role: Role) -> None:
        code = self.owner.add_user(NewAccount(name, role)).code
        self.appliance.accounts.redeem(RedeemRequest(code, PASSWORD))

    def sign_in(self, name: str) -> HttpEngine:
        session = self.appliance.accounts.sign_in(name, PASSWORD).session
        return HttpEngine(self.url, session, discover=walk)


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    data_dir = tmp_path / "data"
    appliance = open_appliance(data_dir)
    appliance.accounts.passwords = Passwords(cheap_hasher())
    doors = Doors(appliance.accounts, appliance.desk)
    try:
        with served(data_dir, engine_for=appliance.as_user, doors=doors) as up:
            made = Office(tmp_path, appliance, up.url)
            (tmp_path / "merger.txt").write_text(SECRET)
            engine = appliance.as_user(LOCAL_USER)
            engine.ingest(IngestRequest((str(tmp_path / "merger.txt"),)), on_event=lambda _event: None)
            yield made
    finally:
        appliance.close()


def test_an_auditor_reads_no_document_by_any_path_even_with_a_grant(office: Office) -> None:
    # GIVEN an auditor whom somebody has granted everything
    office.add("vera", "auditor")
    owner = office.appliance.as_user(LOCAL_USER)
    document = owner.documents()[0].id
    owner.permissions.grant(GrantRequest(principal="user:vera", collection="default", right="write"))
    vera = office.sign_in("vera")
    # THEN lists are empty, documents are not there, nothing is changed
    assert vera.documents() == []
    assert vera.collections() == []
    assert vera.search(SearchRequest(QUESTION)).hits == ()
    assert "Meridian" not in str(list(vera.ask(AskRequest(QUESTION))))
    assert vera.approvals() == []
    assert vera.doubtful_pages(1.0) == []
    status = vera.status()
    assert (status.collections, status.chunks, status.points) == ({}, 0, 0)
    reads: tuple[Callable[[], object], ...] = (
        lambda: vera.document(document),
        lambda: vera.details(document),
        lambda: vera.chunks(document),
        lambda: vera.page(document, 0),
        lambda: vera.page_image(document, 0),
        lambda: vera.original(document),
    )
    for read in reads:
        with pytest.raises(NotFoundError):
            read()
    (office.root / "other.txt").write_text("More.")
    for change in (
        lambda: vera.delete(document),
        lambda: vera.ingest(IngestRequest((str(office.root / "other.txt"),)), on_event=lambda _event: None),
        vera.verify,
    ):
        with pytest.raises(StrongroomError):
            change()
    assert [d.id for d in owner.documents()] == [document]
    # AND the log is theirs to read, without a word of a document
    log = office.appliance.desk(Identity("vera", "session")).audit()
    assert any(line["actor"] == "vera" and line["action"] == "search" for line in log)
    assert "Meridian" not in str(log)


def test_an_editor_who_becomes_a_viewer_writes_no_more(office: Office) -> None:
    office.add("emil", "editor")
    (office.root / "mine.txt").write_text("The fee is due in June.")
    request = IngestRequest((str(office.root / "mine.txt"),), collection="emil")
    emil = office.sign_in("emil")
    assert emil.ingest(request, on_event=lambda _event: None).outcomes == {"indexed": 1}
    document = emil.documents()[0].id
    office.owner.change_user("emil", AccountChange(role="viewer"))
    with pytest.raises(UnauthorizedError):  # the session of before is over
        emil.delete(document)
    again = office.sign_in("emil")
    assert [d.id for d in again.documents()] == [document]
    with pytest.raises(NotPermittedError):
        again.delete(document)


def test_only_administrators_act_as_others(office: Office) -> None:
    office.add("anna", "editor")
    office.add("root", "admin")
    for name, may in (("anna", False), ("root", True)):
        session = office.appliance.accounts.sign_in(name, PASSWORD).session
        acting = HttpEngine(office.url, session, as_user=LOCAL_USER)
        if may:
            assert len(acting.documents()) == 1
        else:
            with pytest.raises(NotPermittedError):
                acting.documents()
    on_record = [(e.actor, e.subject, e.outcome) for e in office.appliance.audit.entries() if e.action == "act-as"]
    assert on_record == [("anna", "", "refused"), ("root", LOCAL_USER, "ok")]


def test_what_is_done_names_the_session_it_was_done_with(office: Office) -> None:
    office.add("root", "admin")
    engine = office.sign_in("root")
    engine.search(SearchRequest(QUESTION))
    entry = [e for e in office.appliance.audit.entries() if e.action == "search"][-1]
    (session,) = (s.id for s in office.owner.sessions("root") if f"session:{s.id}" == entry.detail["via"])
    assert entry.actor == "root"
    assert session
