"""Find the running heads and feet of a document: lines that stand at the edge of page after page.

They say nothing about their page, and embedding them again for each page costs time and makes passages look alike. So
chunks leave them out, except where each of them stands first: the document's own text, its offsets and its quotes are
untouched, and a word that only a header holds still finds the document. Must not be keen: a line that is
wrongly taken for a head is lost to search on every page but one.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from strongroom.layout import unpack_words
from strongroom.types import Page, ParsedDocument

_EDGE = 4  # lines looked at from either end of a page
_RUN = 4  # pages in a row, or every other page, on which a line must stand
_STEP = 2  # left and right pages may have heads of their own
_GAP = 0.7  # white between a head and the text, in heights of a line; lines of one block stand closer

_NUMBER = re.compile(r"\d+")
_WORD = re.compile(r"[^\W\d_]{3,}")
_PAGE_WORDS = frozenset({"page", "pages", "seite", "von", "página", "pagina", "trang", "стр", "страница"})
_BESIDE_A_BAR = re.compile(r"^\s*\d+\s*[|•·–—]|[|•·–—]\s*\d+\s*$")


class _Line(NamedTuple):
    start: int
    stop: int
    keys: tuple[str, ...]


def bodies(document: ParsedDocument) -> list[tuple[int, int]]:
    """The span of each page without the running heads and feet that an earlier page holds already.

    Only formats with pages have any, and only pages with word boxes: a head is told from the first line of a table by
    the white that separates it from the text.
    """
    spans = [(page.start, page.end) for page in document.pages]
    numbered = [page for page in document.pages if page.number is not None and page.layout]
    if len(numbered) < _RUN:
        return spans
    edges = {page.index: _edges(document.text, page) for page in numbered}
    for at_foot in (False, True):
        repeated = _repeated({index: edge[at_foot] for index, edge in edges.items()})
        for page in numbered:
            lines = edges[page.index][at_foot]
            count = 0
            while count < len(lines) and any((page.index, key) in repeated for key in lines[count].keys):
                count += 1
            start, end = spans[page.index]
            cut = _separated(page, lines, count)
            if cut is not None:
                spans[page.index] = (start, cut.start) if at_foot else (cut.stop, end)
    return [(start, max(start, end)) for start, end in spans]


def _edges(text: str, page: Page) -> tuple[list[_Line], list[_Line]]:
    """The first lines of a page, outermost first, and the last ones."""
    lines: list[tuple[int, int]] = []
    at = page.start
    for line in text[page.start : page.end].splitlines(keepends=True):
        if line.strip():
            lines.append((at, at + len(line)))
        at += len(line)
    head = [_Line(start, stop, tuple(_keys(text[start:stop], page.index))) for start, stop in lines[: _EDGE + 1]]
    foot = [_Line(start, stop, tuple(_keys(text[start:stop], page.index))) for start, stop in lines[: -_EDGE - 2 : -1]]
    return head, foot


def _keys(line: str, index: int) -> Iterator[str]:
    """What a line is told by: its words, and, for a page number, its distance to the page's own index.

    A line of figures alone is no head, whatever it repeats; and "Step 3" after "Step 2" is a heading, not a number.
    """
    plain = " ".join(line.split())
    words = [word for word in _WORD.findall(plain) if word.casefold() not in _PAGE_WORDS]
    if words and " | " not in plain:
        yield plain
    if not words or (len(words) > 1 and _BESIDE_A_BAR.search(plain)):
        numbers = list(_NUMBER.finditer(plain))
        for match in {numbers[0], numbers[-1]} if numbers else ():
            if len(match.group()) < 6:
                yield f"{plain[: match.start()]}\0{int(match.group()) - index}\0{plain[match.end() :]}"


def _repeated(edges: dict[int, list[_Line]]) -> set[tuple[int, str]]:
    """Pages and keys that an earlier page of the same run holds."""
    pages: dict[str, list[int]] = defaultdict(list)
    for index in sorted(edges):
        for key in {key for line in edges[index][:_EDGE] for key in line.keys}:
            pages[key].append(index)
    found: set[tuple[int, str]] = set()
    for key, indexes in pages.items():
        for run in _runs(indexes):
            if len(run) >= _RUN:
                found.update((index, key) for index in run[1:])
    return found


def _runs(indexes: Sequence[int]) -> Iterator[list[int]]:
    run: list[int] = []
    for index in indexes:
        if run and index - run[-1] > _STEP:
            yield run
            run = []
        run.append(index)
    yield run


def _separated(page: Page, lines: Sequence[_Line], count: int) -> _Line | None:
    """The innermost of the first `count` lines that white separates from the line after it; `None` when none is."""
    if count == 0:
        return None
    boxes = [_extent(page.layout, line) for line in lines[: count + 1]]
    for at in range(count - 1, -1, -1):
        here, following = boxes[at], boxes[at + 1] if at + 1 < len(boxes) else None
        if here is None:
            continue
        if following is None:
            if at + 1 >= len(lines):
                return lines[at]  # nothing but heads or feet on this page
            continue
        gap = max(following[0] - here[1], here[0] - following[1])
        if gap >= _GAP * (here[1] - here[0]):
            return lines[at]
    return None


def _extent(layout: bytes, line: _Line) -> tuple[float, float] | None:
    """Top and bottom of the words of a line."""
    words = [word for word in unpack_words(layout) if word[0] < line.stop and word[1] > line.start]
    return (min(word[3] for word in words), max(word[5] for word in words)) if words else None
