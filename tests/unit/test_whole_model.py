"""Work over whole documents with a language model: every passage is read, and nothing it says is taken on trust."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from retrieval.whole.desk import Work
from retrieval.whole.extract import extract
from retrieval.whole.summarise import apart, summarise
from strongroom.errors import CancelledError
from strongroom.types import Flag, IngestRequest
from strongroom.whole import Cell, Field, Point, Row, WholeRequest
from tests.fakes import FakeChatModel, FakeEmbedder
from tests.fakes_engine import FakeEngine

SENTENCES = [f"Clause {n} says that the harbour dues for berth {n} are {100 + n} euros a month." for n in range(60)]


@pytest.fixture
def engine(tmp_path: Path) -> FakeEngine:
    (tmp_path / "dues.txt").write_text(" ".join(SENTENCES))
    engine = FakeEngine()
    engine.ingest(IngestRequest((str(tmp_path),)), on_event=lambda _e: None)
    return engine


def points(engine: FakeEngine, model: FakeChatModel) -> list[Point]:
    documents = engine.documents()
    work = Work(engine.desk(documents, model), None, "documents", len(documents))
    request = WholeRequest(task="summarise", points=3)
    return [e for e in summarise(request, documents, work) if isinstance(e, Point)]


def test_every_passage_is_in_a_prompt_and_every_sentence_is_checked(engine: FakeEngine) -> None:
    # GIVEN a model whose context holds a part of the document only
    said = f"{SENTENCES[40]} The harbour was founded by pirates in 1650."
    model = FakeChatModel(context_tokens=700, reply=lambda _m, _o: said)
    # WHEN a summary is made
    found = points(engine, model)
    # THEN it took several prompts, in which each sentence stands once at the leaves
    prompts = "\n".join(m.content for call in model.prompts for m in call)
    assert len(model.prompts) > 3
    assert [s for s in SENTENCES if s not in prompts] == []
    # AND the sentence that the document carries is cited, the other is not and says so
    carried, invented = found
    assert (carried.support, carried.extract) == ("supported", False)
    assert "berth 40 are 140 euros" in carried.citations[0].quote
    assert (invented.support, invented.citations) == ("unsupported", ())


def test_what_nobody_sees_is_told_to_no_model_and_is_no_part_of_a_summary(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    # GIVEN a hidden sentence that gives orders
    documents = engine.documents()
    chunks = engine.chunks(documents[0].id)
    hidden = chunks[7]
    chunks[7] = replace(hidden, flags=(Flag("hidden", hidden.start, hidden.end, "drawn without ink"),))
    monkeypatch.setattr(FakeEngine, "chunks", lambda _self, _id: chunks)
    model = FakeChatModel(context_tokens=700, reply=lambda _m, _o: "Nothing.")
    # WHEN it is summarised with and without a model
    points(engine, model)
    assert hidden.text.strip() not in "\n".join(m.content for call in model.prompts for m in call)
    work = Work(engine.desk(documents), None, "documents", 1)
    shown = [e for e in summarise(WholeRequest(task="summarise", points=50), documents, work) if isinstance(e, Point)]
    # THEN it is in neither
    assert len(shown) > 20
    assert all("berth 7 " not in point.text for point in shown)


def cell(engine: FakeEngine, field: Field, reply: Callable[..., str]) -> tuple[Cell, FakeChatModel]:
    documents = engine.documents()
    model = FakeChatModel(reply=reply)
    work = Work(engine.desk(documents, model), None, "cells", 1)
    request = WholeRequest(task="extract", fields=(field,), again=True)
    (row,) = [e for e in extract(request, documents, work) if isinstance(e, Row)]
    return row.cells[0], model


DUES = Field("dues", "money", "How high are the harbour dues for berth 12?")


def test_a_cell_holds_only_words_that_stand_in_the_document(engine: FakeEngine) -> None:
    found, model = cell(engine, DUES, lambda _m, _o: json.dumps({"found": True, "words": "112 euros"}))
    assert (found.found, found.value, found.text) == (True, "EUR 112", "112 euros")
    assert found.citation is not None
    assert "112 euros" in found.citation.quote
    assert model.prompts, "the model was asked"
    invented, _ = cell(engine, DUES, lambda _m, _o: json.dumps({"found": True, "words": "999 euros"}))
    assert (invented.found, invented.value) == (False, "")
    assert invented.flags == ("the model's words do not stand in the document",)


@pytest.mark.parametrize("reply", ["", "no json", "[]", '{"found": "yes"}', '{"found": false, "words": "112 euros"}'])
def test_a_reply_that_breaks_the_schema_or_finds_nothing_is_not_found(engine: FakeEngine, reply: str) -> None:
    found, _ = cell(engine, DUES, lambda _m, _o: reply)
    assert not found.found
    assert found.citation is not None, "the nearest passage"


def test_the_schema_is_enforced_by_the_decoder(engine: FakeEngine) -> None:
    seen = []

    def reply(_messages: object, options: object) -> str:
        seen.append(options.schema)  # type: ignore[attr-defined]
        return "{}"

    cell(engine, DUES, reply)
    assert seen[0]["required"] == ["found", "words"]
    assert seen[0]["additionalProperties"] is False


def test_a_summary_stops_between_two_prompts(engine: FakeEngine) -> None:
    import threading

    cancel = threading.Event()

    def reply(_messages: object, _options: object) -> str:
        cancel.set()
        return "Some text."

    documents, model = engine.documents(), FakeChatModel(context_tokens=700, reply=reply)
    work = Work(engine.desk(documents, model), cancel, "documents", 1)
    with pytest.raises(CancelledError):
        list(summarise(WholeRequest(task="summarise"), documents, work))
    assert len(model.prompts) == 1


def test_what_is_chosen_is_central_and_not_said_twice() -> None:
    texts = ["harbour dues rise", "harbour dues rise", "harbour dues fall", "pirates sing loudly at night"]
    vectors = FakeEmbedder().embed_documents(texts)
    chosen = apart(vectors, vectors @ vectors.mean(axis=0), 3)
    assert len(chosen) == 3
    assert {texts[i] for i in chosen} == set(texts)
    assert apart(vectors[:0], vectors[:0, 0], 3) == []
