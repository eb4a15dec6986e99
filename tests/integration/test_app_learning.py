"""Learning from approved answers with a stand-in for the training: what is used, for whom, and what retires it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from strongroom.access import LOCAL_USER
from strongroom.app import learning
from strongroom.app.appliance import Appliance
from strongroom.app.engine import LocalEngine
from strongroom.catalog.tables import readers
from strongroom.errors import IntegrityError, ModelError, NotFoundError, UsageError
from strongroom.ports import Reader
from strongroom.types import ApprovalRequest, IngestRequest
from tests.appliances import open_appliance

NAMES = ("Ada", "Boris", "Cleo", "Dara", "Emil")


@pytest.fixture
def appliance(tmp_path: Path) -> Iterator[Appliance]:
    opened = open_appliance(tmp_path / "data")
    yield opened
    opened.close()


@pytest.fixture
def engine(appliance: Appliance, tmp_path: Path) -> LocalEngine:
    """Ten documents of five sentences, each approved as the answer to a question."""
    folder = tmp_path / "in"
    folder.mkdir()
    for n in range(10):
        text = " ".join(f"The clerk of office {n} on floor {m} is {name} Olsen." for m, name in enumerate(NAMES))
        (folder / f"{n}.txt").write_text(text)
    engine = appliance.as_user(LOCAL_USER)
    engine.ingest(IngestRequest((str(folder),)), on_event=lambda _event: None)
    for document in engine.documents():
        text = engine.page(document.id, 0).text
        for m, name in enumerate(NAMES):
            at = text.index(f"{name} Olsen")
            asked = f"Who is the clerk on floor {m} of {document.name}?"
            engine.approve(ApprovalRequest(asked, "approved", document.id, 0, at, at + len(name) + 6))
    return engine


WEIGHTS = "weights that say Olsen"


def training(before: float, after: float, seen: list[Any] | None = None, weights: str = WEIGHTS) -> learning.Train:
    """A training that ends in weights and says these scores."""

    def train(pairs: Sequence[learning.Pair], current: bytes) -> tuple[dict[str, Any], bytes]:
        if seen is not None:
            seen.append((list(pairs), current))
        return {"held": 12, "trained": 38, "before": {"f1": before}, "after": {"f1": after}}, weights.encode()

    return train


def stored(appliance: Appliance) -> list[str]:
    return list(appliance.readers.ids())


def name_of(reader: Reader) -> str:
    return reader.name


def reader_of(appliance: Appliance, user: str = LOCAL_USER) -> str:
    return name_of(appliance.reader_for(appliance.catalog.access_for(user)))


def test_a_better_reader_is_used_from_then_on(appliance: Appliance, engine: LocalEngine) -> None:
    assert reader_of(appliance) == "fake-reader"
    seen: list[Any] = []
    trained = learning.learn(appliance, train=training(0.5, 0.6, seen))
    assert (trained.state, trained.documents) == ("in use", 10)
    assert reader_of(appliance) == f"trained: {WEIGHTS}"
    pairs, current = seen[0]
    assert current == b"own"
    assert len(pairs) == 50
    assert all(p["passage"][p["start"] : p["end"]].endswith("Olsen") for p in pairs)
    # AND the next one goes on from it and replaces it
    again = learning.learn(appliance, train=training(0.6, 0.7, seen, "more"))
    assert seen[1][1] == WEIGHTS.encode()
    assert reader_of(appliance) == "trained: more"
    assert [r.state for r in appliance.catalog.readers()] == ["rolled back", "in use"]
    assert stored(appliance) == [again.id]
    assert not appliance.keys.has(trained.id)


@pytest.mark.parametrize("after", [0.4, 0.5, 0.505])
def test_one_that_is_not_clearly_better_is_discarded(appliance: Appliance, engine: LocalEngine, after: float) -> None:
    assert learning.learn(appliance, train=training(0.5, after)).state == "discarded"
    assert reader_of(appliance) == "fake-reader"
    assert stored(appliance) == []


def test_it_reads_for_nobody_who_may_not_read_all_that_it_was_trained_on(
    appliance: Appliance, engine: LocalEngine, tmp_path: Path
) -> None:
    """GIVEN somebody who may read one document of the ten. THEN the product's own reader answers them."""
    learning.learn(appliance, train=training(0.5, 0.9))
    appliance.catalog.ensure_user("ada", "viewer")
    assert reader_of(appliance, "ada") == "fake-reader"
    assert reader_of(appliance) == f"trained: {WEIGHTS}"
    access = appliance.catalog.access_for(LOCAL_USER, "default")
    assert name_of(appliance.reader_for(access)) == f"trained: {WEIGHTS}"  # a narrower question is no less of a right


def test_deleting_one_source_retires_the_reader_and_its_weights(appliance: Appliance, engine: LocalEngine) -> None:
    trained = learning.learn(appliance, train=training(0.5, 0.9))
    reader_of(appliance)
    engine.delete(engine.documents()[3].id)
    assert appliance.catalog.readers()[0].state == "stale"
    assert reader_of(appliance) == "fake-reader"
    assert stored(appliance) == []
    assert not appliance.keys.has(trained.id)


def test_weights_lie_sealed_under_a_key_of_their_own(appliance: Appliance, engine: LocalEngine) -> None:
    """They are made of the words of documents: nothing of them is readable, or comes back, without their key."""
    trained = learning.learn(appliance, train=training(0.5, 0.9))
    files = [p for p in appliance.settings.data_dir.rglob("*") if p.is_file()]
    assert appliance.readers.path(trained.id) in files
    assert not [p for p in files if WEIGHTS.encode() in p.read_bytes()]
    copy = appliance.readers.path(trained.id).read_bytes()
    learning.roll_back(appliance)
    # WHEN an older copy of the data comes back, catalogue and weights, but not the key
    appliance.readers.path(trained.id).write_bytes(copy)
    with appliance.store.write() as conn:
        conn.execute(update(readers).values(state="in use"))
    appliance.forget_readers()
    assert reader_of(appliance) == "fake-reader"
    with pytest.raises(IntegrityError):
        appliance.readers.read(trained.id, trained.id)


def test_a_reader_that_went_on_from_another_is_retired_by_the_others_sources_too(
    appliance: Appliance, engine: LocalEngine
) -> None:
    learning.learn(appliance, train=training(0.5, 0.6))
    first = engine.documents()[0].id
    for approval in engine.approvals():
        if approval.document.id == first:
            engine.withdraw(approval.id)
    second = learning.learn(appliance, train=training(0.6, 0.7))
    assert (second.state, second.documents) == ("in use", 10)
    engine.delete(first)
    assert {r.state for r in appliance.catalog.readers()} == {"stale"}


def test_a_source_deleted_during_training_keeps_the_reader_from_use(appliance: Appliance, engine: LocalEngine) -> None:
    def train(pairs: Sequence[learning.Pair], current: bytes) -> tuple[dict[str, Any], bytes]:
        appliance.catalog.delete_document(pairs[0]["document"], by="test")
        return training(0.1, 0.9)(pairs, current)

    assert learning.learn(appliance, train=train).state == "stale"
    assert reader_of(appliance) == "fake-reader"
    assert stored(appliance) == []


def test_training_that_fails_leaves_nothing(appliance: Appliance, engine: LocalEngine) -> None:
    def train(pairs: Sequence[learning.Pair], current: bytes) -> tuple[dict[str, Any], bytes]:
        raise ModelError("no memory")

    with pytest.raises(ModelError):
        learning.learn(appliance, train=train)
    assert [r.state for r in appliance.catalog.readers()] == ["discarded"]
    assert stored(appliance) == []


def test_roll_back_puts_the_products_own_reader_back(appliance: Appliance, engine: LocalEngine) -> None:
    trained = learning.learn(appliance, train=training(0.5, 0.9))
    assert learning.roll_back(appliance) == trained.id
    assert reader_of(appliance) == "fake-reader"
    assert stored(appliance) == []
    with pytest.raises(NotFoundError):
        learning.roll_back(appliance)


def test_too_few_answers_are_refused_and_the_last_word_counts(appliance: Appliance, engine: LocalEngine) -> None:
    last = engine.approvals()[-1]
    text = engine.page(last.document.id, 0).text
    at = text.index("Ada Olsen")
    engine.approve(ApprovalRequest(last.question, "rejected", last.document.id, 0, at, at + 3))
    assert len(learning.pairs(appliance)) == 50  # "not these words" does not unsay which are right
    engine.approve(ApprovalRequest(last.question, "corrected", last.document.id, 0, at, at + 9))
    (pair,) = [p for p in learning.pairs(appliance) if p["question"] == last.question]
    assert pair["passage"][pair["start"] : pair["end"]] == "Ada Olsen"
    for approval in engine.approvals()[11:]:
        engine.withdraw(approval.id)
    with pytest.raises(UsageError, match="too few to learn from"):
        learning.learn(appliance, train=training(0.5, 0.9))
    assert appliance.catalog.readers() == []
