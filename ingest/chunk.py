"""Cut a document into passages by sentences, measured in the embedder's tokens, and word what is embedded for each.

A chunk is a span of the document's text, character for character, so that a quote found in it has its place. It never
crosses a page, slide, sheet or message; sections of a text without pages are soft borders only. Nothing here parses
or embeds. Why not LlamaIndex's SentenceSplitter: docs/adr/0005-parsing-in-children.md.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import NamedTuple

from ingest.running import bodies
from strongroom.ports import Tokenizer
from strongroom.types import Chunk, Heading, Page, ParsedDocument

# Part of what a version's chunks are keyed by: raise it whenever the same document would be cut differently.
CHUNKER = "chunk-2"

MAX_TOKENS = 200
OVERLAP_TOKENS = 20
MAX_CHARACTERS = 1000
# The embedder reads 256 tokens: 200 of text, two special ones, and at most this much for the headings. Counted roughly,
# see `_rough_tokens`, because the name is only known to the caller, who has no tokenizer at hand.
PREFIX_TOKENS = 48
_WINDOW = 200_000  # characters tokenised at a time, so that a text of 100 MB needs no list of 20 million pairs
_HARD_PAGES = frozenset({"page", "slide", "sheet", "message"})

_SENTENCE_END = re.compile(r"""[.!?…]+["'”’)\]]*(?=\s)|[。！？]["'”’）」]*|[;:](?=[ \t]*\n)|\n""")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\[\"“'])(?:[A-Za-z]|[A-Z]\.[A-Z]|[Nn]os?|[Ss]ecs?|[Aa]rts?|[Ff]igs?|[Pp]p?|[Vv]ols?|vs?|cf|al|Inc|Corp|Ltd|Co|"
    r"LLC|L\.L\.C|Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|e\.g|i\.e|approx|[Dd]ept|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec|U\.S|"
    r"\d{1,3}(?:\.\d{1,3})*)\.$"
)


class _Atom(NamedTuple):
    """A sentence or line that is not cut further: its span and its tokens."""

    start: int
    stop: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Chunker:
    """Cuts documents. `max_tokens` bounds a chunk, `overlap_tokens` what it may repeat of the one before.

    Chunks of a page are made about equally long, so that no page ends in a scrap that matches everything.
    """

    tokenizer: Tokenizer
    max_tokens: int = MAX_TOKENS
    overlap_tokens: int = OVERLAP_TOKENS
    max_characters: int = MAX_CHARACTERS

    def __post_init__(self) -> None:
        if self.max_tokens < 8 or self.max_characters < 40:
            raise ValueError("a chunk must hold at least 8 tokens and 40 characters")
        if not 0 <= self.overlap_tokens <= self.max_tokens // 2:
            raise ValueError("the overlap must be at most half of a chunk")

    @property
    def recipe(self) -> str:
        """Names the way documents are cut, apart from the tokenizer."""
        return f"{CHUNKER}/{self.max_tokens}t/{self.max_characters}c/{self.overlap_tokens}o"

    def chunk(self, document: ParsedDocument) -> list[Chunk]:
        """Chunks in order; every character that is not white space is in at least one, but for running heads and feet
        that an earlier page holds (`ingest.running`)."""
        chunks: list[Chunk] = []
        paths = _HeadingPaths(document.text, document.headings)
        starts = [page.start for page in document.pages]
        for begin, end in _regions(document.pages, bodies(document)):
            for start, stop in self._cut(document.text, begin, end):
                first = max(bisect_right(starts, start) - 1, 0)
                last = max(bisect_left(starts, stop) - 1, first)
                touched = tuple(i for i in range(first, last + 1) if document.pages[i].end > document.pages[i].start)
                text = document.text[start:stop]
                chunks.append(Chunk(len(chunks), start, stop, text, paths.at(start), touched))
        return chunks

    # -------------------------------------------------------------------------------------------- one region

    def _cut(self, text: str, begin: int, end: int) -> Iterator[tuple[int, int]]:
        """Spans of the chunks of `text[begin:end]`, trimmed of white space, in order."""
        while begin < end:
            window = end
            if end - begin > _WINDOW:
                window = text.rfind("\n", begin + _WINDOW // 2, begin + _WINDOW) + 1 or begin + _WINDOW
            yield from self._cut_window(text, begin, window)
            begin = window

    def _cut_window(self, text: str, begin: int, end: int) -> Iterator[tuple[int, int]]:
        part = text[begin:end]
        if not part.strip():
            return
        marks = [begin + start for start, _ in self.tokenizer.offsets(part)]
        atoms = list(self._atoms(text, begin, end, marks))
        left = sum(atom.tokens for atom in atoms)
        first = fresh = 0  # where the chunk begins, and its first sentence that no chunk holds yet
        while first < len(atoms):
            # An equal share of what is left, so that no page ends in a scrap.
            length = atoms[-1].stop - atoms[first].start
            share = left / max(-(-left // self.max_tokens), -(-length // self.max_characters), 1)
            last, used = fresh, sum(atom.tokens for atom in atoms[first : fresh + 1])
            while last + 1 < len(atoms):
                size = atoms[last + 1].tokens
                over = used + size > self.max_tokens
                over = over or atoms[last + 1].stop - atoms[first].start > self.max_characters
                # Past the share, stop where stopping is nearer to it than going on.
                if over or used + size - share > share - used:
                    break
                last += 1
                used += size
            yield atoms[first].start, atoms[last].stop
            if last + 1 >= len(atoms):
                return
            following = self._next_start(atoms, first, last)
            left -= sum(atom.tokens for atom in atoms[first:following])
            first, fresh = following, last + 1

    def _next_start(self, atoms: list[_Atom], first: int, last: int) -> int:
        """Where the next chunk begins: as many whole sentences back as the overlap allows, and always forward."""
        start, carried = last + 1, 0
        room = min(self.overlap_tokens, self.max_tokens - atoms[last + 1].tokens)
        while start - 1 > first and carried + atoms[start - 1].tokens <= room:
            if atoms[last + 1].stop - atoms[start - 1].start > self.max_characters:
                break
            start -= 1
            carried += atoms[start].tokens
        return start

    def _atoms(self, text: str, begin: int, end: int, marks: list[int]) -> Iterator[_Atom]:
        """Sentences and lines, trimmed; those too long for a chunk are cut between words, or between tokens."""
        for start, stop in sentences(text, begin, end):
            while start < stop:
                limit, tokens = self._fitting(text, start, stop, marks)
                trimmed = _trim(text, start, limit)
                if trimmed is not None:
                    yield _Atom(*trimmed, tokens)
                start = limit

    def _fitting(self, text: str, start: int, stop: int, marks: list[int]) -> tuple[int, int]:
        """How far from `start` a piece may reach, and its tokens."""
        limit = min(stop, start + self.max_characters)
        index = bisect_left(marks, start)
        if index + self.max_tokens < len(marks):
            limit = min(limit, marks[index + self.max_tokens])
        if limit < stop:
            limit = _word_border(text, start, limit)
        whole = bisect_left(marks, limit)
        begins = whole > index and marks[index] == start
        ends = limit == stop or text[limit - 1].isspace() or (whole < len(marks) and marks[whole] == limit)
        if begins and ends:
            return limit, whole - index
        # The cut goes through a token (a line of base64, say), and its parts are tokens of their own: count them.
        tokens = self.tokenizer.count(text[start:limit])
        while tokens > self.max_tokens:
            limit = start + (limit - start) // 2
            tokens = self.tokenizer.count(text[start:limit])
        return limit, tokens


def sentences(text: str, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Spans of the sentences and lines of `text[begin:end]`, trimmed, in order; they hold all but white space.

    Lines of running text are joined: a line break ends a unit only where a blank line or a list follows, or where the
    line is clearly short. Abbreviations, initials and clause numbers end nothing.
    """
    start = begin
    for match in _SENTENCE_END.finditer(text, begin, end):
        stop = match.end()
        if stop <= start:
            continue
        if match.group() == "\n":
            if not _ends_unit(text, stop, end):
                continue
        elif text[match.start()] == "." and _ABBREVIATION.search(text, max(start, stop - 14), stop):
            continue
        trimmed = _trim(text, start, stop)
        if trimmed is not None:
            yield trimmed
        start = stop
    trimmed = _trim(text, start, end)
    if trimmed is not None:
        yield trimmed


def _ends_unit(text: str, stop: int, end: int) -> bool:
    """True when the line break before `stop` ends a paragraph, a list item, a table row or a heading."""
    following = text[stop : min(stop + 6, end)]
    if not following.strip(" \t") or following.lstrip(" \t")[:1] in "\n-•*–·|" or following.lstrip().startswith("("):
        return True
    line = text[text.rfind("\n", 0, stop - 1) + 1 : stop - 1]
    return len(line) < 45 or " | " in line


def _word_border(text: str, start: int, limit: int) -> int:
    """The last white space in the second half of `text[start:limit]`, else `limit`; never `start`."""
    for index in range(limit, start + max((limit - start) // 2, 1), -1):
        if text[index - 1].isspace():
            return index
    return max(limit, start + 1)


def _trim(text: str, start: int, stop: int) -> tuple[int, int] | None:
    while start < stop and text[start].isspace():
        start += 1
    while stop > start and text[stop - 1].isspace():
        stop -= 1
    return (start, stop) if stop > start else None


def _regions(pages: Sequence[Page], bodies: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Spans that chunks stay inside: each page's body, slide, sheet or message; runs of sections or lines together."""
    begin: int | None = None
    for page, body in zip(pages, bodies, strict=True):
        if page.locator.kind in _HARD_PAGES or page.number is not None:
            if begin is not None:
                yield begin, page.start
                begin = None
            yield body
        elif begin is None:
            begin = page.start
    if begin is not None:
        yield begin, pages[-1].end


class _HeadingPaths:
    """The headings that a position stands under, outermost first."""

    def __init__(self, text: str, headings: Sequence[Heading]) -> None:
        self._starts: list[int] = []
        self._paths: list[tuple[str, ...]] = []
        stack: list[tuple[int, str]] = []
        for heading in sorted(headings, key=lambda item: item.start):
            words = " ".join(text[heading.start : heading.end].split())
            stack = [entry for entry in stack if entry[0] < heading.level]
            if words:  # one without words ends what a heading of its level began: the caption of a table
                stack.append((heading.level, words))
            self._starts.append(heading.start)
            self._paths.append(tuple(entry[1] for entry in stack))

    def at(self, start: int) -> tuple[str, ...]:
        """The path at a chunk's start, its own heading included when it opens with one."""
        index = bisect_right(self._starts, start) - 1
        return self._paths[index] if index >= 0 else ()


# ------------------------------------------------------------------------------------------------ embedded text


class Wording(NamedTuple):
    """A chunk in the words it is found by: what it is about, and what it says."""

    context: str  # the document's name; the same for all of its chunks, and empty when the name says nothing
    passage: str  # the heading path and the text

    @property
    def text(self) -> str:
        """Both together, as one text."""
        return f"{self.context}\n{self.passage}" if self.context else self.passage


def wording(name: str, title: str | None, headings: Sequence[str], text: str) -> Wording:
    """What a chunk is found by.

    Name and headings let a passage be found by what the document is about although the passage does not say so. The
    name is kept apart, so that it is embedded once for a document instead of once for each chunk: see
    `ingest.finish`. Headings are cut to a bound that leaves `MAX_TOKENS` of text inside the embedder's 256 tokens.
    """
    opening = text.lstrip()
    context = _within([clean_name(name) or (title or "").strip()])
    # A heading that the text opens with is not said twice; of a deep path the innermost headings say most.
    path = _within([heading for heading in headings[-2:] if not opening.startswith(heading)])
    return Wording(context, f"{path}\n{text}" if path else text)


def _within(parts: Sequence[str]) -> str:
    """The parts, as far as `PREFIX_TOKENS` go."""
    kept: list[str] = []
    room = float(PREFIX_TOKENS)
    for part in parts:
        words: list[str] = []
        for word in part.split():
            cost = _rough_tokens(word)
            if cost > room:
                room = 0.0
                break
            words.append(word)
            room -= cost
        if words:
            kept.append(" ".join(words))
    return " - ".join(kept)


def clean_name(name: str) -> str:
    """A file name as words: no extension, no underscores, single spaces; empty when it says nothing."""
    suffix = PurePath(name).suffix
    stem = name[: -len(suffix)] if suffix and len(suffix) <= 6 and suffix[1:].isalnum() else name
    words = " ".join(re.sub(r"[_\s]+", " ", stem).split())
    return words if sum(1 for character in words if character.isalpha()) >= 3 else ""


def _rough_tokens(word: str) -> float:
    """An upper guess at a word's tokens: three letters a token, one for each digit pair, mark or wide character."""
    letters = sum(1 for c in word if c.isascii() and c.isalpha())
    digits = sum(1 for c in word if c.isdigit())
    return max(1.0, letters / 3 + digits / 1.5 + (len(word) - letters - digits))
