"""Citation marks leave the text, whatever the pieces; nothing that a browser would fetch stays in it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.stream import REMOVED, AnswerStream, Mark, plain


def run(text: str, size: int = 10**6, known: str = "") -> tuple[str, list[tuple[int, ...]]]:
    cleaner = AnswerStream(known)
    items = [item for i in range(0, len(text), size) for item in cleaner.feed(text[i : i + size])]
    items += cleaner.close()
    words = "".join(item for item in items if isinstance(item, str))
    return words, [item.numbers for item in items if isinstance(item, Mark)]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    ("text", "words", "marks"),
    [
        ("The fee is 5 [1].", "The fee is 5.", [(1,)]),
        ("The fee is 5. [1] It rose.", "The fee is 5. It rose.", [(1,)]),
        ("A [1, 2]. B [1][3].", "A. B.", [(1, 2), (1,), (3,)]),
        ("A【1】 b【2†source】.", "A b.", [(1,), (2,)]),
        ("A [citation 1], b [Passages 2 and 3], c [^4].", "A, b, c.", [(1,), (2, 3), (4,)]),
        ("A [1-3]. B [98].", "A. B.", [(1, 2, 3), (98,)]),
        ("Great![1] Yes", "Great! Yes", [(1,)]),
        ("In [sic] the year [1999].", "In [sic] the year [1999].", []),
        ("5 < 6 and 7 > 2 [", "5 < 6 and 7 > 2 [", []),
        ("See [the site](https://evil.example/x?q=1).", "See the site.", []),
        ("![pixel](https://evil.example/p.png)Hi", "pixelHi", []),
        ("[![a](u)](v) b", "a b", []),
        ("a <img src=x onerror=y> b<br/>c", "a bc", []),
        ("a <script", "a ‹script", []),
        ("go to https://evil.example/a?b=c. Now", f"go to {REMOVED}. Now", []),
        ("ab\u202ecd\u200b\x07e", "abcde", []),
    ],
)
def test_marks_and_markup_leave_the_text(text: str, words: str, marks: list[tuple[int, ...]], size: int) -> None:
    found, numbers = run(text, size)
    assert re.sub(r" +", " ", found) == words
    assert numbers == marks


def test_an_address_from_the_documents_may_be_repeated_exactly() -> None:
    known = "Write to https://acme.example/help, please."
    assert run("https://acme.example/help.", known=known)[0] == "https://acme.example/help."
    assert run("https://acme.example/helpx", known=known)[0] == REMOVED
    assert run("https://acme.example/", known=known)[0] == REMOVED


_TRICKY = st.text(alphabet=st.sampled_from("ab1 ![]()<>/:.\n【】\"'htpsw"), max_size=80)


@given(_TRICKY, st.lists(st.integers(min_value=1, max_value=9), min_size=1, max_size=20))
def test_no_markup_survives_however_the_text_is_cut(text: str, sizes: list[int]) -> None:
    cleaner, items, at = AnswerStream(), [], 0
    while at < len(text):
        size = sizes[at % len(sizes)]
        items += cleaner.feed(text[at : at + size])
        at += size
    items += cleaner.close()
    words = "".join(item for item in items if isinstance(item, str))
    assert "![" not in words
    assert "](" not in words
    assert not re.search(r"<[A-Za-z/!?]", words)
    assert not re.search(r"https?:", words)


@given(st.text(alphabet=st.sampled_from("abc .,12[]"), max_size=60), st.integers(min_value=1, max_value=5))
def test_cutting_the_text_differently_changes_nothing(text: str, size: int) -> None:
    whole, pieces = run(text), run(text, size)
    assert "".join(whole[0].split()) == "".join(pieces[0].split())
    assert whole[1] == pieces[1]


def test_a_quote_becomes_one_plain_line() -> None:
    assert plain("a\r\n  b <img src=x> ![c](d)\u202e") == "a b ‹img src=x> ! [c] (d)"


@pytest.mark.parametrize("text", ["a < [1]!-- hidden", "a < [1]?xml"])
def test_taking_a_mark_out_opens_no_comment(text: str) -> None:
    shown, _ = run(text)
    assert "<!" not in shown
    assert "<?" not in shown
