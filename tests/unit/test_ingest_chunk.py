"""Chunks: exact spans, bounded in tokens, inside one page, covering everything."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.chunk import PREFIX_TOKENS, Chunker, clean_name, sentences, wording
from strongroom.types import Heading, Locator, LocatorKind, Page, ParsedDocument
from tests.fakes import FakeTokenizer

TOKENIZER = FakeTokenizer()

_WORDS = [
    "The fee is due. ",
    "See Sec. 4.2 of it; ",
    "word ",
    "- item one\n",
    "Inc. ",
    "条項。",
    "?! ",
    "(a) first\n",
    "12.5 ",
    "…",
    "é",
]
_pieces = st.sampled_from([*_WORDS, "\n", "\n\n", "\t", "\u00a0", "x" * 90 + " ", "A line that runs on without end\n"])
_pages = st.lists(st.lists(_pieces, max_size=60).map("".join), min_size=1, max_size=5)


def _document(texts: list[str], kind: LocatorKind = "page", headings: tuple[Heading, ...] = ()) -> ParsedDocument:
    pages, start = [], 0
    for index, text in enumerate(texts):
        number = index + 1 if kind in {"page", "slide"} else None
        pages.append(Page(index, number, Locator(kind, str(index + 1)), start, start + len(text)))
        start += len(text)
    return ParsedDocument("".join(texts), tuple(pages), "text/plain", headings=headings)


@given(
    texts=_pages,
    kind=st.sampled_from(["page", "slide", "sheet", "message", "section", "line"]),
    max_tokens=st.integers(8, 60),
    share=st.floats(0, 0.5),
    max_characters=st.integers(40, 400),
)
def test_chunks_are_exact_bounded_ordered_and_cover_everything(
    texts: list[str], kind: LocatorKind, max_tokens: int, share: float, max_characters: int
) -> None:
    document = _document(texts, kind)
    chunker = Chunker(
        TOKENIZER, max_tokens=max_tokens, overlap_tokens=int(share * max_tokens), max_characters=max_characters
    )

    chunks = chunker.chunk(document)

    covered = bytearray(len(document.text))
    for ordinal, chunk in enumerate(chunks):
        assert chunk.ordinal == ordinal
        assert chunk.text == document.text[chunk.start : chunk.end]
        assert chunk.text == chunk.text.strip() != ""
        assert TOKENIZER.count(chunk.text) <= max_tokens
        assert len(chunk.text) <= max_characters
        touched = [p.index for p in document.pages if max(p.start, chunk.start) < min(p.end, chunk.end)]
        assert chunk.pages == tuple(touched)
        if kind in {"page", "slide", "sheet", "message"}:
            assert len(touched) == 1
        covered[chunk.start : chunk.end] = b"\1" * (chunk.end - chunk.start)
    assert all(mark or character.isspace() for mark, character in zip(covered, document.text, strict=True))
    spans = [(chunk.start, chunk.end) for chunk in chunks]
    assert spans == sorted(spans)
    assert len(set(spans)) == len(spans)
    assert all(later[1] > earlier[1] for earlier, later in pairwise(spans))


def test_cuts_fall_between_sentences_and_chunks_are_about_equally_long() -> None:
    text = " ".join(f"Sentence number {n} has exactly eight words." for n in range(40))
    chunks = Chunker(TOKENIZER, max_tokens=100, overlap_tokens=0).chunk(_document([text]))
    assert all(chunk.text.endswith("words.") and chunk.text.startswith("Sentence") for chunk in chunks)
    sizes = [TOKENIZER.count(chunk.text) for chunk in chunks]
    assert max(sizes) - min(sizes) <= 24


def test_overlap_repeats_whole_sentences() -> None:
    text = " ".join(f"Sentence number {n} ends here." for n in range(30))
    chunks = Chunker(TOKENIZER, max_tokens=60, overlap_tokens=12).chunk(_document([text]))
    assert len(chunks) > 2
    for before, after in pairwise(chunks):
        shared = text[after.start : before.end]
        assert shared.startswith("Sentence")
        assert shared.endswith("here.")


def test_headings_give_each_chunk_its_path() -> None:
    text = "Lease\n\nIntro text.\n\nFees\n\nThe fee is 5.\n\nLate fees\n\nTen more.\n\nTerm\n\nOne year."
    levels = {"Lease": 1, "Fees": 2, "Late fees": 3, "Term": 2}
    headings = tuple(
        Heading(text.index(f"{name}\n"), text.index(f"{name}\n") + len(name), level) for name, level in levels.items()
    )
    chunker = Chunker(TOKENIZER, max_tokens=8, overlap_tokens=0, max_characters=40)
    chunks = chunker.chunk(_document([text], "section", headings))
    for chunk in chunks:
        before = [name for name in levels if text.index(f"{name}\n") <= chunk.start]
        assert chunk.headings[-1:] == tuple(before[-1:])
    assert chunks[0].headings == ("Lease",)


def test_a_deeper_heading_replaces_its_equals_and_keeps_its_parents() -> None:
    sections = ["A\n\n" + "word " * 20, "B\n\n" + "word " * 20, "C\n\n" + "word " * 20, "D\n\n" + "word " * 20]
    levels = (1, 2, 3, 2)
    starts = [sum(len(section) for section in sections[:i]) for i in range(4)]
    headings = tuple(Heading(start, start + 1, level) for start, level in zip(starts, levels, strict=True))
    chunks = Chunker(TOKENIZER, max_tokens=8, overlap_tokens=0).chunk(_document(sections, "section", headings))
    assert {chunk.headings for chunk in chunks} == {("A",), ("A", "B"), ("A", "B", "C"), ("A", "D")}


@pytest.mark.parametrize(
    "text",
    [
        "Payment under Sec. 4.2 is due to Acme Inc. and others.",
        "It was signed by J. R. Smith, Jr. on behalf of the U.S. government.",
        "The rate is 4.5 percent, e.g. for loans.",
    ],
)
def test_abbreviations_and_numbers_end_no_sentence(text: str) -> None:
    assert [text[a:b] for a, b in sentences(text, 0, len(text))] == [text]


def test_running_lines_are_joined_and_list_items_are_not() -> None:
    first = "This clause runs over the end of its first line and goes\non in the second one. "
    text = first + "Next sentence.\n- first\n- second"
    found = [text[a:b] for a, b in sentences(text, 0, len(text))]
    assert found == [
        "This clause runs over the end of its first line and goes\non in the second one.",
        "Next sentence.",
        "- first",
        "- second",
    ]


def test_chinese_sentences_end_without_spaces() -> None:
    text = "第一句。第二句！第三句"
    assert [text[a:b] for a, b in sentences(text, 0, len(text))] == ["第一句。", "第二句！", "第三句"]


def test_a_text_without_borders_is_still_cut() -> None:
    chunks = Chunker(TOKENIZER, max_tokens=50, max_characters=100).chunk(_document(["x" * 5000], "line"))
    assert "".join(chunk.text for chunk in chunks) == "x" * 5000


def test_settings_that_cannot_work_are_refused() -> None:
    with pytest.raises(ValueError, match="overlap"):
        Chunker(TOKENIZER, max_tokens=20, overlap_tokens=11)
    with pytest.raises(ValueError, match="at least"):
        Chunker(TOKENIZER, max_tokens=4, overlap_tokens=0)


# ------------------------------------------------------------------------------------------------ embedded text


def test_the_name_stands_apart_and_the_headings_come_before_the_text() -> None:
    made = wording("ACME_2020-Lease  Agreement.pdf", "ignored", ("1 Lease", "2 Fees", "2.1 Late"), "Ten percent.")
    assert made.context == "ACME 2020-Lease Agreement"
    assert made.passage == "2 Fees - 2.1 Late\nTen percent."
    assert made.text == "ACME 2020-Lease Agreement\n2 Fees - 2.1 Late\nTen percent."


def test_a_heading_that_the_text_opens_with_is_not_said_twice() -> None:
    assert wording("a lease.docx", None, ("Fees",), "Fees\n\nTen.").passage == "Fees\n\nTen."


def test_a_name_that_says_nothing_gives_way_to_the_title() -> None:
    assert wording("0001.pdf", "Annual report", (), "x").context == "Annual report"
    assert wording("0001.pdf", None, (), "x").text == "x"


@given(st.text(max_size=400), st.lists(st.text(max_size=300), max_size=4), st.text(min_size=1, max_size=50))
def test_the_prefix_is_bounded_and_the_text_stays_whole(name: str, headings: list[str], text: str) -> None:
    made = wording(name, None, headings, text)
    assert made.passage.endswith(text)
    assert TOKENIZER.count(made.passage[: len(made.passage) - len(text)]) <= PREFIX_TOKENS + 2 * len(headings)
    assert TOKENIZER.count(made.context) <= PREFIX_TOKENS


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a_b__c.PDF", "a b c"),
        ("report.v2", "report"),
        ("e-mail from Bob.eml", "e-mail from Bob"),
        ("12.pdf", ""),
        ("no extension here", "no extension here"),
    ],
)
def test_file_names_become_words(name: str, expected: str) -> None:
    assert clean_name(name) == expected
