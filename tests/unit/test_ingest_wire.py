"""What a child may send: round trips, and everything else refused."""

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest import wire
from strongroom.layout import pack_words
from strongroom.types import Chunk, Heading, Locator, Page, ParsedDocument

DOCUMENT = ParsedDocument(
    text="One two.\n\nDrei \U0001f600.\n\n",
    pages=(
        Page(
            0, 1, Locator("page", "1"), 0, 10, 612.0, 792.0, pack_words([(0, 3, 1, 2, 3, 4), (4, 8, 5, 6, 7, 8)]), 0.9
        ),
        Page(1, 2, Locator("page", "2"), 10, 19, 612.0, 792.0),
    ),
    mime="application/pdf",
    title="Title",
    headings=(Heading(0, 3, 1), Heading(3, 3, 9)),
    warnings=("page 2: odd",),
)
CHUNKS = [Chunk(0, 0, 8, "One two.", ("One",), (0,)), Chunk(1, 10, 17, "Drei \U0001f600.", ("One",), (1,))]


def test_a_result_survives_the_trip() -> None:
    assert wire.decode_result(wire.encode_result(DOCUMENT, CHUNKS)) == (DOCUMENT, CHUNKS)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("text", 5),
        ("text", "short"),
        ("title", ["x"]),
        ("pages", []),
        ("pages", [[1, "page", "1", 1, 19, None, None, 0, None]]),
        ("pages", [[7, "page", "1", 0, 19, None, None, 0, None]]),
        ("pages", [[1, "cell", "1", 0, 19, None, None, 0, None]]),
        ("pages", [[1, "page", "1", 0, 19, None, None, 10**9, None]]),
        ("pages", [[1, "page", "1", 0, 19, "nan", None, 48, None]]),
        ("chunks", [[0, 99, [], [0]]]),
        ("chunks", [[-4, 3, [], [0]]]),
        ("chunks", [[0, 3, [], [2]]]),
        ("chunks", [[0, 3]]),
        ("headings", [[3, 2, 1]]),
    ],
)
def test_a_false_claim_is_refused(field: str, value: object) -> None:
    payload = wire.encode_result(DOCUMENT, CHUNKS)
    (size,) = struct.unpack_from("<Q", payload)
    head = json.loads(payload[8 : 8 + size])
    head[field] = value
    body = json.dumps(head).encode()
    with pytest.raises(wire.WireError):
        wire.decode_result(struct.pack("<Q", len(body)) + body + payload[8 + size :])


def test_a_word_outside_its_page_is_refused() -> None:
    pages = (Page(0, 1, Locator("page", "1"), 0, 4, 9.0, 9.0, pack_words([(2, 5, 0, 0, 1, 1)])),)
    with pytest.raises(wire.WireError, match="outside its page"):
        wire.decode_result(wire.encode_result(ParsedDocument("abcd", pages, "x/y"), []))


@given(st.binary(max_size=200))
def test_bytes_of_any_kind_are_refused_without_surprise(payload: bytes) -> None:
    with pytest.raises(wire.WireError):
        wire.decode_result(payload)


def test_a_frame_over_the_limit_is_refused_before_it_is_read() -> None:
    data = wire.frame(wire.RESULT, b"x" * 100)
    taken = []

    def read(size: int) -> bytes:
        start = sum(taken)
        taken.append(size)
        return data[start : start + size]

    with pytest.raises(wire.WireError, match="limit"):
        wire.read_frame(read, limit=99)
    assert sum(taken) == 9


def test_many_chunks_over_the_whole_text_are_refused_before_they_are_copied() -> None:
    whole = Chunk(0, 0, len(DOCUMENT.text), DOCUMENT.text, (), ())
    with pytest.raises(wire.WireError, match="repeat"):
        wire.decode_result(wire.encode_result(DOCUMENT, [whole] * 100))


def test_an_endless_number_is_nonsense_like_any_other() -> None:
    sent = wire.encode_result(DOCUMENT, CHUNKS)
    (size,) = struct.unpack_from("<Q", sent)
    head = json.loads(sent[8 : 8 + size])
    head["headings"] = [[0, 3, float("inf")]]
    body = json.dumps(head).encode()
    with pytest.raises(wire.WireError):
        wire.decode_result(struct.pack("<Q", len(body)) + body + sent[8 + size :])
