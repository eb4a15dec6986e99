"""One contract for `Keeping`: holds, retention and receipts, in process and over HTTP alike."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from strongroom.access import LOCAL_USER
from strongroom.app.appliance import Appliance
from strongroom.engine import Engine
from strongroom.errors import HeldError, NotFoundError, NotPermittedError, UsageError
from strongroom.types import HoldRequest, IngestRequest
from tests.appliances import open_appliance
from tests.server_fixtures import served


class KeepingContract:
    """Subclasses provide the fixture `engine`: an `Engine` without documents, for an administrator."""

    @pytest.fixture
    def ids(self, engine: Engine, tmp_path: Path) -> dict[str, str]:
        """Two documents by name."""
        folder = tmp_path / "contracts"
        folder.mkdir()
        for name in ("supply", "notes"):
            (folder / f"{name}.txt").write_text(f"The {name} of the harbour office are kept for thirty days.\n")
        engine.ingest(IngestRequest((str(folder),)), on_event=lambda _event: None)
        return {d.name.removesuffix(".txt"): d.id for d in engine.documents()}

    def test_what_is_held_is_not_deleted_until_the_hold_is_lifted(self, engine: Engine, ids: dict[str, str]) -> None:
        held = ids["supply"]
        hold = engine.keeping.hold(HoldRequest("Matter 2026-114", document_id=held))
        assert engine.keeping.holds() == [hold]
        assert (hold.resource, hold.resource_id, hold.reason, hold.by) == ("document", held, "Matter 2026-114", "local")
        with pytest.raises(HeldError):
            engine.delete(held)
        engine.keeping.lift(hold.id)
        assert engine.keeping.holds() == []
        engine.delete(held)
        assert [json.loads(r)["document_id"] for r in engine.keeping.receipts()] == [held]

    def test_a_hold_needs_a_reason_and_one_thing_that_exists(self, engine: Engine, ids: dict[str, str]) -> None:
        for request, error in (
            (HoldRequest(" ", collection="default"), UsageError),
            (HoldRequest("x"), UsageError),
            (HoldRequest("x", document_id="a", collection="default"), UsageError),
            (HoldRequest("x", document_id="no-such"), NotFoundError),
            (HoldRequest("x", collection="no-such"), NotFoundError),
        ):
            with pytest.raises(error):
                engine.keeping.hold(request)
        with pytest.raises(NotFoundError):
            engine.keeping.lift("no-such")

    def test_retention_deletes_what_outlived_its_rule_and_leaves_what_is_held(
        self, engine: Engine, ids: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # GIVEN a rule of 30 days, a hold on one of two documents, and a day 31 days later
        held = ids["supply"]
        engine.keeping.hold(HoldRequest("Matter", document_id=held))
        engine.keeping.keep_for("default", 30)
        assert [(r.collection, r.keep_days) for r in engine.keeping.retention()] == [("default", 30)]
        assert engine.keeping.apply_retention().deleted == ()
        later = datetime.now(UTC) + timedelta(days=31)
        monkeypatch.setattr("strongroom.catalog.holding.datetime", _clock(later))
        # WHEN it is tried and then done THEN the other one goes
        gone = ids["notes"]
        tried = engine.keeping.apply_retention(dry_run=True)
        assert (tried.deleted, tried.held, tried.dry_run) == ((gone,), (held,), True)
        assert len(engine.documents()) == 2
        assert engine.keeping.apply_retention().deleted == (gone,)
        assert [d.id for d in engine.documents()] == [held]
        # AND 0 days are no rule
        engine.keeping.keep_for("default", 0)
        assert engine.keeping.retention() == []
        with pytest.raises(UsageError):
            engine.keeping.keep_for("default", -1)
        with pytest.raises(NotFoundError):
            engine.keeping.keep_for("no-such", 1)

    def test_a_collection_goes_whole_or_not_at_all(self, engine: Engine, ids: dict[str, str]) -> None:
        # GIVEN a hold on one of two documents THEN neither goes
        hold = engine.keeping.hold(HoldRequest("Matter", document_id=ids["supply"]))
        with pytest.raises(HeldError):
            engine.keeping.delete_collection("default")
        assert len(engine.documents()) == 2
        # WHEN it is lifted THEN both go, with a receipt each, and the collection with them
        engine.keeping.lift(hold.id)
        assert set(engine.keeping.delete_collection("default")) == set(ids.values())
        assert (engine.documents(), engine.collections()) == ([], [])
        assert {json.loads(r)["document_id"] for r in engine.keeping.receipts()} == set(ids.values())
        assert engine.verify().problems == ()
        with pytest.raises(NotFoundError):
            engine.keeping.delete_collection("default")


def _clock(now: datetime) -> type[datetime]:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return now

    return Clock


class TestLocalKeeping(KeepingContract):
    """The appliance in process."""

    @pytest.fixture
    def engine(self, tmp_path: Path) -> Iterator[Engine]:
        with closing(open_appliance(tmp_path / "appliance")) as opened:
            yield opened.as_user(LOCAL_USER)


class TestKeepingOverHttp(KeepingContract):
    """The appliance behind its server."""

    @pytest.fixture
    def engine(self, tmp_path: Path) -> Iterator[Engine]:
        data_dir = tmp_path / "appliance"
        with closing(open_appliance(data_dir)) as opened, served(data_dir, engine_for=opened.as_user) as up:
            yield up.client


@pytest.mark.parametrize("role", ["viewer", "editor"])
def test_whoever_does_not_administer_decides_nothing_and_the_attempt_is_on_record(tmp_path: Path, role: str) -> None:
    with closing(open_appliance(tmp_path / "appliance")) as opened:
        opened.catalog.ensure_user("mallory", role)
        keeping = opened.as_user("mallory").keeping
        attempts = (
            keeping.holds,
            lambda: keeping.hold(HoldRequest("x", collection="default")),
            lambda: keeping.lift("x"),
            keeping.retention,
            lambda: keeping.keep_for("default", 1),
            keeping.apply_retention,
            lambda: keeping.delete_collection("default"),
            keeping.receipts,
        )
        for attempt in attempts:
            with pytest.raises(NotPermittedError):
                attempt()
        assert _refused(opened) == len(attempts)


def _refused(opened: Appliance) -> int:
    return sum(e["actor"] == "mallory" and e["outcome"] == "refused" for e in opened.audit.export())
