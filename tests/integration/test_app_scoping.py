"""Scopes and mentions through the whole appliance: index, catalogue and answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.access import LOCAL_USER
from strongroom.app.asking import final_answer
from strongroom.engine import Engine
from strongroom.errors import NotFoundError, UsageError
from strongroom.types import AskRequest, IngestRequest, Message, Scope, SearchRequest
from tests.appliances import open_appliance

QUESTION = "What is the notice period?"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    folder = tmp_path / "in"
    folder.mkdir()
    for name, days in (("harbour-lease", "ninety"), ("crane-lease", "thirty"), ("canteen-rules", "seven")):
        (folder / f"{name}.txt").write_text(f"The notice period is {days} days, whoever gives notice.\n")
    appliance = open_appliance(tmp_path / "data")
    opened = appliance.as_user(LOCAL_USER)
    opened.ingest(IngestRequest((str(folder),)), on_event=lambda _: None)
    yield opened
    appliance.close()


def found(engine: Engine, question: str = QUESTION, **scope: object) -> set[str]:
    request = SearchRequest(question, scope=Scope(**scope))  # type: ignore[arg-type]
    return {hit.document.name for hit in engine.search(request).hits}


def test_a_search_keeps_to_its_scope(engine: Engine) -> None:
    assert len(found(engine)) == 3
    assert found(engine, documents=("crane",)) == {"crane-lease.txt"}
    assert found(engine, types=("pdf",)) == set()
    assert found(engine, "What is the notice period in #canteen-rules?") == {"canteen-rules.txt"}
    with pytest.raises(NotFoundError):
        found(engine, documents=("nowhere",))
    with pytest.raises(UsageError, match="Which document"):
        found(engine, "What does #lease say of the notice period?")


def test_an_answer_keeps_to_a_mention_and_a_follow_up_to_that_of_before(engine: Engine) -> None:
    answer = final_answer(engine, AskRequest(f"{QUESTION} See #crane-lease."))
    assert {c.document.name for c in answer.citations} == {"crane-lease.txt"}
    history = (Message("user", "What is the notice period of #harbour-lease?"), Message("assistant", "ninety days"))
    follow = final_answer(engine, AskRequest("And who gives it?", history=history))
    assert {c.document.name for c in follow.citations} == {"harbour-lease.txt"}


def test_an_ambiguous_mention_is_asked_back_and_searches_nothing(engine: Engine) -> None:
    answer = final_answer(engine, AskRequest(f"{QUESTION} See #lease."))
    assert answer.abstained
    assert answer.clarify is not None
    assert set(answer.clarify.options) == {"crane-lease.txt", "harbour-lease.txt"}
    assert answer.answer == answer.clarify.question
    assert answer.citations == ()


def test_what_was_searched_is_said(engine: Engine) -> None:
    answer = final_answer(engine, AskRequest("Who painted the Sistine Chapel?", scope=Scope(documents=("crane",))))
    assert answer.abstained
    assert answer.searched.startswith("the documents that you may read named crane; ")
