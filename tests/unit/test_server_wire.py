"""Values survive the wire, streams survive odd characters, errors come back as what they were."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom import errors, wire
from strongroom.types import (
    Answer,
    AnswerEvent,
    AskEvent,
    Citation,
    CitationsEvent,
    DocumentRef,
    ErrorEvent,
    FileOutcome,
    IngestProgress,
    IngestSummary,
    Locator,
    SearchRequest,
    Sentence,
    Span,
    StageEvent,
    TextEvent,
    Usage,
)

CITATION = Citation(
    n=1,
    document=DocumentRef("d1", "Vertrag Ä.pdf", "file:///a"),
    page=3,
    locator=Locator("page", "3"),
    quote="two\nlines",
    spans=(Span(3, 10, 19, ((1.5, 2.0, 3.0, 4.25),), page_index=2),),
    score=0.75,
    chunk_id="c1",
)
ANSWER = Answer(
    answer="It is so.",
    abstained=False,
    confidence=0.5,
    sentences=(Sentence("It is so.", "partial", (1,), (7,)),),
    citations=(CITATION,),
    model="m",
    usage=Usage(3, 4),
    timings_ms={"total": 1.5},
)
EVENTS: list[AskEvent] = [
    StageEvent("reading", "3 passages"),
    CitationsEvent((CITATION,)),
    TextEvent("Grüße\n"),
    AnswerEvent(ANSWER),
    ErrorEvent("m", "h", 11),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda e: e.kind)
def test_ask_events_come_back_as_they_were(event: AskEvent) -> None:
    assert wire.load_ask_event(event.kind, wire.dump_event(event)) == event


def test_an_event_of_a_newer_server_is_passed_over() -> None:
    assert wire.load_ask_event("thought", b'{"kind":"thought"}') is None


def test_fields_of_a_newer_server_are_passed_over() -> None:
    assert wire.loads(TextEvent, b'{"text":"a","kind":"text","mood":"calm"}') == TextEvent("a")


@pytest.mark.parametrize(
    "value",
    [
        FileOutcome("/a b", "failed", reason="why"),
        IngestProgress(1, None, 2, 3, 0.5, "parse"),
        IngestSummary({"indexed": 2}, 2, 3, 4, 0.5),
    ],
    ids=lambda v: type(v).__name__,
)
def test_ingest_lines_come_back_as_they_were(value: FileOutcome | IngestProgress | IngestSummary) -> None:
    assert wire.load_ingest_line(wire.dump_ingest_line(value)) == value


def test_a_heartbeat_line_is_nothing() -> None:
    assert wire.load_ingest_line(b'{"heartbeat":true}\n') is None


@given(st.lists(st.text(), max_size=5))
def test_server_sent_events_carry_any_text(texts: list[str]) -> None:
    # GIVEN texts with line breaks and separators of every kind, and a heartbeat between them
    stream = b": waiting\n\n".join(wire.dump_sse("text", wire.dump_event(TextEvent(t))) for t in texts)
    # WHEN a client that splits lines the way `str.splitlines` does (the most eager there is) reads the stream
    events = [(kind, data) for kind, data in wire.parse_sse(stream.decode().splitlines()) if kind]
    # THEN every text arrives whole
    assert [wire.load_ask_event(kind, data) for kind, data in events] == [TextEvent(t) for t in texts]


def test_a_misspelled_field_of_a_request_is_refused_by_name() -> None:
    with pytest.raises(errors.UsageError, match="colection"):
        wire.loads_request(SearchRequest, b'{"question":"q","colection":"secret"}')


def test_a_malformed_request_is_not_quoted_back() -> None:
    with pytest.raises(errors.UsageError) as caught:
        wire.loads_request(SearchRequest, b'{"question":["the secret words"]}')
    assert "secret" not in str(caught.value)


def _all_errors() -> list[type[errors.StrongroomError]]:
    found = [errors.StrongroomError]
    for cls in found:
        found += [c for c in cls.__subclasses__() if c.__module__ == errors.__name__]
    return found


@pytest.mark.parametrize("cls", _all_errors(), ids=lambda c: c.__name__)
def test_every_error_comes_back_as_its_own_class(cls: type[errors.StrongroomError]) -> None:
    found = wire.error_from(wire.error_body(cls("what", hint="do")), status=cls.http_status)
    assert (type(found), str(found), found.hint) == (cls, "what", "do")


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        (2, 404, errors.NotFoundError),
        (2, 413, errors.UsageError),
        (11, 423, errors.LockedError),
        (15, 401, errors.NotPermittedError),
        (99, 500, errors.StrongroomError),
    ],
)
def test_an_error_of_an_unknown_class_is_told_by_its_code(
    code: int, status: int, expected: type[errors.StrongroomError]
) -> None:
    body = {"error": {"message": "m", "hint": "h", "code": code, "type": "FutureError"}}
    assert type(wire.error_from(body, status=status)) is expected


def test_a_body_that_is_no_error_still_names_the_status() -> None:
    assert "502" in str(wire.error_from("<html>", status=502))


@pytest.mark.parametrize(
    ("uri", "shown"),
    [("file:///a/b%20c.pdf", "/a/b c.pdf"), ("upload:///x%20y", "upload:///x%20y"), ("file:///%FF", "/\ufffd")],
)
def test_local_uris_are_shown_as_paths(uri: str, shown: str) -> None:
    assert wire.shown_uri(uri) == shown


def test_json_names_are_the_field_names() -> None:
    data = wire.to_data(replace(ANSWER, id="q1"))
    assert data["citations"][0]["spans"][0] == {
        "page": 3,
        "start": 10,
        "end": 19,
        "boxes": [[1.5, 2.0, 3.0, 4.25]],
        "page_index": 2,
    }
    assert data["id"] == "q1"


def test_the_client_is_light_to_import() -> None:
    code = "import sys, strongroom.client; print([m for m in ('httpx', 'pydantic', 'numpy') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
