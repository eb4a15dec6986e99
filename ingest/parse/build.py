"""Assemble a `ParsedDocument`: one text, pages that tile it, word boxes packed by document offset.

The packed records are those of `strongroom.layout` (`<IIffff`), made a page at a time; a test holds the two together.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingest.parse.hostile import located, merged, odd_characters
from ingest.parse.letters import normalised
from strongroom.types import Flag, FlagKind, Heading, Locator, LocatorKind, Page, ParsedDocument

_PAGE_BREAK = "\n\n"
_SAME = 0.05  # points by which a box may differ after it was turned and turned back


Boxes = NDArray[np.float32]
Spans = NDArray[np.int64]  # of words in a text: begin and end, shape `(n, 2)`
_RECORD = np.dtype([("start", "<u4"), ("end", "<u4"), ("box", "<f4", (4,))])


def no_boxes() -> Boxes:
    return np.empty((0, 4), dtype=np.float32)


class Words(NamedTuple):
    """The words of a page, column by column because a contract has a quarter of a million of them.

    `spaces[i]` is the white space before `texts[i]` (`""` continues the word before). `boxes` has shape `(n, 4)`, in
    points; a row of NaN is a word without a place.
    """

    spaces: list[str]
    texts: list[str]
    boxes: Boxes


class Mark(NamedTuple):
    """A heading over the words `first` up to `stop` of a page; an empty one ends what a heading of its level began."""

    first: int
    stop: int
    level: int


class DocumentBuilder:
    """Collects pages in order. The separator between pages belongs to the page before it, so that pages tile."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._length = 0
        self._pages: list[Page] = []
        self._headings: list[Heading] = []
        self._warnings: list[str] = []
        self._flags: list[Flag] = []
        self._first = 0  # of the pieces of the page added last

    @property
    def empty(self) -> bool:
        """Whether no page has any text so far."""
        return not any(piece.strip() for piece in self._pieces)

    def warn(self, warning: str) -> None:
        self._warnings.append(warning)

    def flag_words(self, kind: FlagKind, detail: str, boxes: Boxes) -> None:
        """Flag the words of the page added last whose boxes are among `boxes`."""
        records = np.frombuffer(self._pages[-1].layout, dtype=_RECORD)
        hit = np.zeros(len(records), dtype=bool)
        for box in boxes[~np.isnan(boxes[:, 0])]:
            hit |= (np.abs(records["box"] - box) < _SAME).all(axis=1)
        spans = [(int(r["start"]), int(r["end"]), detail) for r in records[hit]]
        self._flags += [Flag(kind, start, end, why) for start, end, why in merged(spans)]

    def flag_texts(self, kind: FlagKind, detail: str, pieces: Sequence[str]) -> None:
        """Flag words of the page added last that have no box."""
        if pieces:
            start = self._pages[-1].start
            text = "".join(self._pieces[self._first :])
            self._flags += [
                replace(f, start=start + f.start, end=start + f.end)
                for f in located(text, [(piece, detail) for piece in pieces], kind)
            ]

    def add_page(
        self,
        words: Words,
        *,
        width: float | None,
        height: float | None,
        marks: Sequence[Mark] = (),
        ocr_confidence: float | None = None,
    ) -> None:
        """Add a page of words with boxes; numbered, located as "page N"."""
        begin = self._length
        texts = [text if text.isascii() else normalised(text) for text in words.texts]
        n = len(texts)
        pieces = [""] * (2 * n)
        pieces[0::2], pieces[1::2] = words.spaces, texts
        edges = begin + np.cumsum(np.fromiter(map(len, pieces), dtype=np.int64, count=2 * n))
        records = np.empty(n, dtype=_RECORD)
        records["start"], records["end"], records["box"] = edges[0::2], edges[1::2], words.boxes
        layout = records[~np.isnan(words.boxes[:, 0]) & (records["end"] > records["start"])].tobytes()
        for mark in marks:
            start = int(edges[2 * mark.first]) if mark.first < n else int(edges[-1])
            end = int(edges[2 * mark.stop - 1]) if mark.stop > mark.first else start
            self._headings.append(Heading(start, end, mark.level))
        self._first = len(self._pieces)
        self._pieces += pieces
        position = int(edges[-1]) if n else begin
        if n:
            self._pieces.append(_PAGE_BREAK)
            position += len(_PAGE_BREAK)
        self._length = position
        index = len(self._pages)
        self._pages.append(
            Page(
                index=index,
                number=index + 1,
                locator=Locator("page", str(index + 1)),
                start=begin,
                end=position,
                width=width,
                height=height,
                layout=layout,
                ocr_confidence=ocr_confidence,
            )
        )

    def add_block(
        self,
        paragraphs: Iterable[tuple[str, int | None]],
        *,
        kind: LocatorKind,
        label: str,
        number: int | None = None,
        joiner: str = "\n\n",
    ) -> None:
        """Add a page without boxes from paragraphs `(text, heading level or None)`; empty ones are left out."""
        begin = self._length
        for raw, level in paragraphs:
            text = normalised(raw)
            if (odd := odd_characters(raw)) is not None:
                self._flags.append(Flag("characters", self._length, self._length + max(len(text), 1), odd))
            if not text.strip():
                continue
            if level is not None:
                self._headings.append(Heading(self._length, self._length + len(text), level))
            self._pieces.append(text)
            self._pieces.append(joiner)
            self._length += len(text) + len(joiner)
        self._pages.append(Page(len(self._pages), number, Locator(kind, label), begin, self._length))

    def drop_repeated_headings(self, *, pages: int, below: int) -> None:
        """Forget headings of levels above `below` whose words stand on that many pages: they are running heads."""
        text = "".join(self._pieces)
        starts = [page.start for page in self._pages]
        seen: dict[str, set[int]] = {}
        keys = [re.sub(r"[\W\d]+", " ", text[h.start : h.end]).casefold() for h in self._headings]
        for heading, key in zip(self._headings, keys, strict=True):
            seen.setdefault(key, set()).add(bisect_right(starts, heading.start))
        self._headings = [
            heading
            for heading, key in zip(self._headings, keys, strict=True)
            if heading.level >= below or len(seen[key]) < pages
        ]

    def build(self, mime: str, *, title: str | None = None) -> ParsedDocument:
        last = self._length - 1  # where a paragraph of nothing but invisible characters was the last
        flags = [replace(f, start=min(f.start, last), end=min(f.end, self._length)) for f in self._flags]
        return ParsedDocument(
            text="".join(self._pieces),
            pages=tuple(self._pages),
            mime=mime,
            title=title,
            headings=tuple(self._headings),
            warnings=tuple(self._warnings),
            flags=tuple(flags) if last >= 0 else (),
        )
