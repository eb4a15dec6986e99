"""Who may read and write what, over the appliance in process and over HTTP: real catalogue and index, fake models."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from strongroom.access import LOCAL_USER
from strongroom.app.appliance import Appliance
from strongroom.client.engine import HttpEngine
from strongroom.engine import Engine
from strongroom.errors import NotFoundError, NotPermittedError, UsageError, WallError
from strongroom.types import ClearanceRequest, GrantRequest, IngestRequest, SearchRequest, SourceFile, Watch
from tests.fakes_engine import walk
from tests.permissions_room import open_appliance
from tests.server_fixtures import served

QUESTION = "Who buys the harbour company?"
SECRET = "The harbour company is bought by Meridian Holdings in April."


@dataclass
class Room:
    """One appliance, and a way to be anybody."""

    appliance: Appliance
    be: Callable[[str], Engine]
    folder: Path

    @property
    def admin(self) -> Engine:
        return self.be(LOCAL_USER)

    def ingest(self, user: str, collection: str, *groups: str, name: str = "merger.txt", text: str = SECRET) -> str:
        """Ingest one text as somebody; returns the document's id."""
        folder = self.folder / collection
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(text)
        outcomes: list[object] = []
        request = IngestRequest((str(folder / name),), collection=collection, groups=groups)
        self.be(user).ingest(request, on_event=outcomes.append)
        return str(next(o.document_id for o in outcomes if getattr(o, "document_id", None)))

    def grant(self, who: str, **about: str) -> str:
        return self.admin.permissions.grant(GrantRequest(principal=who, **about)).id  # type: ignore[arg-type]

    def reads(self, user: str, document: str, *, originals: bool = True) -> bool:
        """Whether a person may read a document; every read path must say the same."""
        engine = self.be(user)
        listed = document in {d.id for d in engine.documents()}
        found = document in {h.document.id for h in engine.search(SearchRequest(QUESTION, k=50)).hits}
        calls: list[Callable[[], object]] = [
            lambda: engine.document(document),
            lambda: engine.details(document),
            lambda: engine.page(document, 0),
            lambda: engine.chunks(document),
        ]
        if originals:
            calls.append(lambda: engine.original(document))
        for call in calls:
            try:
                call()
                readable = True
            except NotFoundError:
                readable = False
            assert readable == listed == found
        return listed


@pytest.fixture(params=["local", "http"])
def room(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Room]:
    with ExitStack() as stack:
        data_dir = tmp_path / "appliance"
        appliance = open_appliance(data_dir)
        stack.callback(appliance.close)
        for name, role in (("ada", "editor"), ("ed", "editor"), ("bob", "viewer"), ("carol", "viewer")):
            appliance.catalog.ensure_user(name, role)
        appliance.catalog.ensure_user("boss", "admin")
        appliance.catalog.ensure_user("audrey", "auditor")
        be: Callable[[str], Engine] = appliance.as_user
        if request.param == "http":
            up = stack.enter_context(served(data_dir, engine_for=appliance.as_user))

            def over_http(user: str) -> Engine:
                client = HttpEngine(up.url, up.token, discover=walk, as_user=user)
                stack.callback(client.close)
                return client

            be = over_http
        folder = tmp_path / "files"
        folder.mkdir()
        yield Room(appliance, be, folder)


def test_a_new_collection_is_its_makers_and_the_named_groups(room: Room) -> None:
    # GIVEN bob in a group WHEN ada makes a collection for it
    room.admin.permissions.join("deals", "bob")
    document = room.ingest("ada", "merger", "deals")
    # THEN she and the group read it, and nobody else: no administrator either
    assert [room.reads(user, document) for user in ("ada", "bob", "carol", "boss", LOCAL_USER)] == [
        True,
        True,
        False,
        False,
        False,
    ]
    # AND what she adds later is the group's too
    later = room.ingest("ada", "merger", name="later.txt", text="The harbour company is bought later.")
    assert room.reads("bob", later)


def test_a_grant_and_its_end_count_at_once(room: Room) -> None:
    document = room.ingest("ada", "merger")
    assert not room.reads("bob", document)
    grant = room.grant("user:bob", document=document)
    assert room.reads("bob", document)
    room.admin.permissions.revoke(grant)
    assert not room.reads("bob", document)
    grant = room.grant("group:deals", collection="merger")
    assert not room.reads("bob", document)
    room.admin.permissions.join("deals", "bob")
    assert room.reads("bob", document)
    room.admin.permissions.leave("deals", "bob")
    assert not room.reads("bob", document)


def test_a_denial_wins(room: Room) -> None:
    document = room.ingest("ada", "merger", "deals")
    room.admin.permissions.join("deals", "bob")
    denial = room.grant("user:bob", document=document, effect="deny")
    assert not room.reads("bob", document)
    room.grant("user:bob", document=document)
    room.grant("user:bob", collection="merger", right="write")
    assert not room.reads("bob", document)
    room.admin.permissions.revoke(denial)
    assert room.reads("bob", document)


def test_grants_stay_through_versions_and_moves(room: Room) -> None:
    document = room.ingest("ada", "merger")
    room.grant("user:bob", document=document)
    assert room.ingest("ada", "merger", text=f"{SECRET} This was changed.") == document
    assert room.reads("bob", document)
    assert not room.reads("carol", document)


def test_an_auditor_reads_no_document_whatever_is_granted(room: Room) -> None:
    document = room.ingest("ada", "merger", "deals")
    room.admin.permissions.join("deals", "audrey")
    room.grant("user:audrey", collection="merger")
    assert not room.reads("audrey", document)


# ------------------------------------------------------------------------------------------------ writing


def test_an_editor_writes_only_where_a_grant_says_so(room: Room) -> None:
    # GIVEN ada's collection, which ed may read
    document = room.ingest("ada", "merger")
    room.grant("user:ed", collection="merger")
    ed = room.be("ed")
    # THEN he may not add, replace, delete, or find out what is there
    for dry_run in (False, True):
        request = IngestRequest((str(room.folder / "merger"),), collection="merger", dry_run=dry_run)
        with pytest.raises(NotPermittedError):
            ed.ingest(request, on_event=lambda _event: None)
    with pytest.raises(NotPermittedError):
        ed.delete(document)
    uri = (room.folder / "merger" / "merger.txt").as_uri()
    assert ed.unchanged([(uri, "0" * 64)], collection="merger") == {}
    # UNTIL he is given that
    room.grant("user:ed", collection="merger", right="write")
    assert room.ingest("ed", "merger", text="Other words.") == document
    ed.delete(document)
    assert room.admin.permissions.grants(document=document) == []


def test_a_viewer_with_a_grant_to_write_still_only_reads(room: Room) -> None:
    document = room.ingest("ada", "merger")
    room.grant("user:bob", collection="merger", right="write")
    assert room.reads("bob", document)
    with pytest.raises(NotPermittedError):
        room.be("bob").delete(document)


def test_what_is_hidden_from_a_writer_is_neither_reported_nor_pruned(room: Room) -> None:
    # GIVEN a document that ed may not read, in a collection that he may write
    hidden = room.ingest("ada", "merger")
    shown = room.ingest("ada", "merger", name="shown.txt", text="Anyone may know.")
    room.grant("user:ed", collection="merger", right="write")
    room.grant("user:ed", document=hidden, effect="deny")
    # WHEN its file and another are gone, and he prunes
    (room.folder / "merger" / "merger.txt").unlink()
    (room.folder / "merger" / "shown.txt").unlink()
    (room.folder / "merger" / "new.txt").write_text("Something new.")
    events: list[object] = []
    request = IngestRequest((str(room.folder / "merger"),), collection="merger", prune=True, prune_all=True)
    room.be("ed").ingest(request, on_event=events.append)
    # THEN he hears of the other alone, and it alone is gone
    told = {getattr(e, "document_id", None) for e in events}
    assert hidden not in told
    assert "merger.txt" not in repr(events)
    assert shown in told
    assert room.reads("ada", hidden)


# ------------------------------------------------------------------------------------------------ who decides


def test_whoever_may_write_decides_about_grants_and_others_learn_nothing(room: Room) -> None:
    document = room.ingest("ada", "merger")
    ada, ed = room.be("ada").permissions, room.be("ed").permissions
    grant = ada.grant(GrantRequest(principal="user:bob", document=document))
    assert room.reads("bob", document)
    assert {g.id for g in ada.grants(document=document)} == {grant.id}
    # a collection of another's and one that does not exist answer alike
    messages = []
    for about in ({"collection": "merger"}, {"collection": "nothing"}):
        with pytest.raises(NotFoundError) as refused:
            ed.grant(GrantRequest(principal="user:ed", **about))
        messages.append(str(refused.value).replace(about["collection"], "X"))
        with pytest.raises(NotFoundError):
            ed.grants(**about)
    assert len(set(messages)) == 1
    with pytest.raises(NotFoundError):
        ed.revoke(grant.id)
    with pytest.raises(NotFoundError):
        ed.grant(GrantRequest(principal="user:ed", document=document))
    assert ed.grants() == []
    assert room.reads("bob", document)


def test_only_administrators_decide_about_groups_and_walls(room: Room) -> None:
    for user in ("ada", "bob", "audrey"):
        permissions = room.be(user).permissions
        for call in (
            permissions.groups,
            permissions.walls,
            lambda p=permissions, u=user: p.join("deals", u),
            lambda p=permissions, u=user: p.leave("deals", u),
            lambda p=permissions: p.add_wall("a", "b"),
            lambda p=permissions: p.remove_wall("a", "b"),
        ):
            with pytest.raises(NotPermittedError):
                call()
    assert room.admin.permissions.groups() == []


def test_groups_and_grants_are_listed_with_names(room: Room) -> None:
    document = room.ingest("ada", "merger", "deals")
    room.admin.permissions.join("deals", "bob")
    room.admin.permissions.join("deals", "bob")
    (group,) = room.admin.permissions.groups()
    assert (group.name, group.members) == ("deals", ("bob",))
    shown = {(g.principal, g.resource, g.name, g.effect, g.right) for g in room.admin.permissions.grants()}
    assert shown == {
        ("user:ada", "collection", "merger", "allow", "write"),
        ("group:deals", "collection", "merger", "allow", "read"),
        ("group:deals", "document", "", "allow", "read"),  # no document's name, for they may not read it
    }
    assert {g.resource_id for g in room.admin.permissions.grants(document=document)} == {document}
    assert {g.name for g in room.be("ada").permissions.grants(document=document)} == {"merger.txt"}  # who reads it


def test_what_makes_no_sense_is_refused(room: Room) -> None:
    room.ingest("ada", "merger")
    permissions = room.admin.permissions
    for request in (
        GrantRequest(principal="user:bob"),
        GrantRequest(principal="user:bob", collection="merger", document="x"),
        GrantRequest(principal="bob", collection="merger"),
        GrantRequest(principal="group:", collection="merger"),
        GrantRequest(principal="group:a\nb", collection="merger"),
        GrantRequest(principal="user:nobody", collection="merger"),
        GrantRequest(principal="user:bob", document="no-such-id"),
    ):
        with pytest.raises(UsageError):
            permissions.grant(request)
    for call in (
        lambda: permissions.join("deals", "nobody"),
        lambda: permissions.join("x" * 65, "bob"),
        lambda: permissions.leave("deals", "bob"),
        lambda: permissions.revoke("no-such-id"),
        lambda: permissions.add_wall("a", "a"),
        lambda: permissions.remove_wall("a", "b"),
    ):
        with pytest.raises(UsageError):
            call()


def test_changes_are_on_record_with_who_made_them(room: Room) -> None:
    document = room.ingest("ada", "merger")
    room.grant("user:bob", document=document)
    room.admin.permissions.join("deals", "bob")
    with pytest.raises(NotPermittedError):
        room.be("bob").permissions.join("deals", "bob")
    entries = [e for e in room.appliance.audit.export() if e["action"] in ("grant.add", "group.add")]
    assert [(e["actor"], e["action"], e["outcome"]) for e in entries] == [
        (LOCAL_USER, "grant.add", "ok"),
        (LOCAL_USER, "group.add", "ok"),
        ("bob", "group.add", "refused"),
    ]
    assert entries[0]["subject"] == document


# ------------------------------------------------------------------------------------------------ walls


def test_nobody_and_nothing_is_on_both_sides_of_a_wall(room: Room) -> None:
    # GIVEN a matter on each side
    permissions = room.admin.permissions
    permissions.join("red", "bob")
    permissions.join("blue", "carol")
    red = room.ingest("ada", "red-files", "red")
    blue = room.ingest("ada", "blue-files", "blue")
    permissions.add_wall("red", "blue")
    # THEN nobody gets across: by membership, by a grant of their own, of a document, or of the other group
    with pytest.raises(WallError):
        permissions.join("blue", "bob")
    for request in (
        GrantRequest(principal="user:bob", collection="blue-files"),
        GrantRequest(principal="user:bob", document=blue),
        GrantRequest(principal="group:red", document=blue),
        GrantRequest(principal="group:red", collection="blue-files"),
        GrantRequest(principal="group:blue", document=red),
    ):
        with pytest.raises(WallError):
            permissions.grant(request)
    with pytest.raises(WallError):
        room.ingest("ada", "both-files", "red", "blue")
    assert (room.reads("bob", red), room.reads("bob", blue)) == (True, False)
    assert (room.reads("carol", red), room.reads("carol", blue)) == (False, True)
    assert {g.name: g.members for g in permissions.groups()} == {"red": ("bob",), "blue": ("carol",)}


def test_a_wall_is_refused_while_it_is_breached(room: Room) -> None:
    permissions = room.admin.permissions
    permissions.join("red", "bob")
    permissions.join("blue", "bob")
    with pytest.raises(WallError):
        permissions.add_wall("red", "blue")
    permissions.leave("blue", "bob")
    room.ingest("ada", "shared", "red", "blue")
    with pytest.raises(WallError):
        permissions.add_wall("red", "blue")
    assert permissions.walls() == []


def test_a_wall_holds_at_reading_even_where_it_was_got_round(room: Room) -> None:
    # GIVEN a wall WHEN a membership appears that nobody checked
    permissions = room.admin.permissions
    permissions.join("red", "bob")
    red, blue = room.ingest("ada", "red-files", "red"), room.ingest("ada", "blue-files", "blue")
    permissions.add_wall("blue", "red")
    with room.appliance.store.write() as conn:
        conn.exec_driver_sql("INSERT INTO memberships SELECT id, 'blue' FROM users WHERE name = 'bob'")
    # THEN bob, who is on both sides, reads neither
    assert not room.reads("bob", red)
    assert not room.reads("bob", blue)


# ------------------------------------------------------------------------------------------------ watches


def test_a_watched_folder_belongs_to_whoever_watches_it(room: Room) -> None:
    watched = room.folder / "watched"
    watched.mkdir()
    room.be("boss").add_watch(Watch(paths=(str(watched),), collection="watched", by="ada"))
    assert [w.by for w in room.admin.watches()] == ["boss"]
    owners = {g.principal for g in room.admin.permissions.grants(collection="watched")}
    assert owners == {"user:boss"}


def test_an_upload_is_held_to_the_same_rules(room: Room, tmp_path: Path) -> None:
    document = room.ingest("ada", "merger")
    path = tmp_path / "x.txt"
    path.write_text("planted")
    file = SourceFile(str(path), (room.folder / "merger" / "merger.txt").as_uri(), "merger.txt", 7)
    from strongroom.types import IngestOptions

    with pytest.raises(NotPermittedError):
        room.be("ed").ingest_files([file], IngestOptions(collection="merger"), on_event=lambda _event: None)
    assert SECRET in room.be("ada").page(document, 0).text


# ------------------------------------------------------------------------------------------------ two people


@pytest.fixture(params=["local", "http"])
def strict(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Room]:
    """Export and bulk deletion need two people here, and everybody acts in their own name."""
    with ExitStack() as stack:
        data_dir = tmp_path / "appliance"
        rules = {"two_person": ("export", "delete"), "two_person_deletions": 1}
        appliance = open_appliance(data_dir, **rules)
        stack.callback(appliance.close)
        for name, role in (("ada", "editor"), ("ed", "editor"), ("bob", "viewer"), ("boss", "admin")):
            appliance.catalog.ensure_user(name, role)

        def own_name(user: str, **_by: str) -> Engine:
            return appliance.as_user(user, by=user)

        be: Callable[[str], Engine] = own_name
        if request.param == "http":
            up = stack.enter_context(served(data_dir, engine_for=own_name))

            def over_http(user: str) -> Engine:
                client = HttpEngine(up.url, up.token, discover=walk, as_user=user)
                stack.callback(client.close)
                return client

            be = over_http
        folder = tmp_path / "files"
        folder.mkdir()
        yield Room(appliance, be, folder)


def test_an_original_leaves_only_with_the_consent_of_a_second_person(strict: Room) -> None:
    # GIVEN a document that two people read
    document = strict.ingest("ada", "merger", "deals")
    other = strict.ingest("ada", "merger", name="other.txt", text="Other words.")
    strict.admin.permissions.join("deals", "bob")
    bob, ada = strict.be("bob"), strict.be("ada")
    for engine in (bob, ada):
        with pytest.raises(NotPermittedError):
            engine.original(document)
    # WHEN one asks THEN it waits, and nobody decides on a request of their own
    asked = bob.permissions.ask(ClearanceRequest(action="export", reason="The court wants it", document=document))
    assert (asked.state, asked.by, asked.reason) == ("waiting", "bob", "The court wants it")
    with pytest.raises(NotPermittedError):
        bob.permissions.decide(asked.id, allow=True)
    with pytest.raises(NotPermittedError):
        bob.original(document)
    # AND somebody who has nothing to do with it does not even see it
    assert strict.be("ed").permissions.clearances() == []
    with pytest.raises(NotFoundError):
        strict.be("ed").permissions.decide(asked.id, allow=True)
    # WHEN another allows it THEN it counts for this person, this document and this action alone
    assert ada.permissions.decide(asked.id, allow=True).decided_by == "ada"
    assert bob.original(document) == SECRET.encode()
    for call in (lambda: bob.original(other), lambda: ada.original(document)):
        with pytest.raises(NotPermittedError):
            call()
    # AND is decided for good
    with pytest.raises(UsageError):
        strict.be("boss").permissions.decide(asked.id, allow=False)
    # AND all of it is on record, the consent with the export
    entries = [e for e in strict.appliance.audit.export() if "clearance" in e["action"] or e["action"] == "export"]
    done = [(e["actor"], e["action"], e["outcome"]) for e in entries]
    assert ("bob", "clearance.ask", "ok") in done
    assert ("bob", "clearance.allow", "refused") in done
    assert ("ada", "clearance.allow", "ok") in done
    (exported,) = [e for e in entries if e["action"] == "export" and e["outcome"] == "ok"]
    assert exported["detail"]["clearance"] == asked.id


def test_a_denied_and_an_outlived_request_open_nothing(strict: Room) -> None:
    document = strict.ingest("ada", "merger")
    ada, boss = strict.be("ada"), strict.be("boss")
    request = ClearanceRequest(action="export", reason="why", document=document)
    assert boss.permissions.decide(ada.permissions.ask(request).id, allow=False).state == "denied"
    with pytest.raises(NotPermittedError):
        ada.original(document)
    asked, late = ada.permissions.ask(request), ada.permissions.ask(request)
    boss.permissions.decide(asked.id, allow=True)
    ada.original(document)
    with strict.appliance.store.write() as conn:
        conn.exec_driver_sql("UPDATE clearances SET expires = '2020-01-01T00:00:00.000000+00:00'")
    with pytest.raises(NotPermittedError):
        ada.original(document)
    with pytest.raises(UsageError):
        boss.permissions.decide(late.id, allow=True)
    assert {c.state for c in ada.permissions.clearances()} == {"denied", "expired"}


def test_bulk_deletion_needs_a_second_person_however_it_is_cut_up(strict: Room) -> None:
    # GIVEN that one deletion a day is not bulk
    documents = [strict.ingest("ada", "merger", name=f"{n}.txt", text=f"Words {n}.") for n in range(3)]
    ada = strict.be("ada")
    ada.delete(documents[0])
    # THEN the next one is refused, and so is pruning
    with pytest.raises(NotPermittedError):
        ada.delete(documents[1])
    (strict.folder / "merger" / "1.txt").unlink()
    request = IngestRequest((str(strict.folder / "merger"),), collection="merger", prune=True, prune_all=True)
    with pytest.raises(NotPermittedError):
        ada.ingest(request, on_event=lambda _event: None)
    assert strict.reads("ada", documents[1], originals=False)
    # UNTIL another allows it
    asked = ada.permissions.ask(ClearanceRequest(action="delete", reason="Matter closed", collection="merger"))
    strict.be("boss").permissions.decide(asked.id, allow=True)
    ada.delete(documents[1])
    ada.ingest(request, on_event=lambda _event: None)
    # AND an administrator deletes the whole collection neither without a grant nor alone
    boss = strict.be("boss")
    with pytest.raises(NotPermittedError, match="may not write"):
        boss.keeping.delete_collection("merger")
    boss.permissions.grant(GrantRequest(principal="user:boss", collection="merger", right="write"))
    with pytest.raises(NotPermittedError, match="second person"):
        boss.keeping.delete_collection("merger")
    assert strict.reads("ada", documents[2], originals=False)


def test_nobody_asks_or_decides_in_anothers_name(room: Room) -> None:
    document = room.ingest("ada", "merger")
    with pytest.raises(NotPermittedError):
        room.be("ada").permissions.ask(ClearanceRequest(action="export", reason="why", document=document))
    own = room.appliance.as_user("ada", by="ada").permissions
    asked = own.ask(ClearanceRequest(action="export", reason="why", document=document))
    with pytest.raises(NotPermittedError):
        room.be("boss").permissions.decide(asked.id, allow=True)
    assert own.clearances()[0].state == "waiting"


def test_what_may_not_be_read_cannot_be_asked_for(strict: Room) -> None:
    document = strict.ingest("ada", "merger")
    bob = strict.be("bob").permissions
    for about in ({"document": document}, {"collection": "merger"}, {"collection": "nothing"}, {"document": "x"}):
        with pytest.raises(NotFoundError):
            bob.ask(ClearanceRequest(action="export", reason="why", **about))
    for wrong in (
        ClearanceRequest(action="export", reason=" ", document=document),
        ClearanceRequest(action="export", reason="why"),
    ):
        with pytest.raises(UsageError):
            strict.be("ada").permissions.ask(wrong)
