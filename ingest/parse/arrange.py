"""A page's words in the order and form they are read in: tables as rows of labelled cells, captions marked.

A row reads `Total revenue | 2023: 383,285 | 2022: 394,328`, as the rows of spreadsheets do, so that search, grounding
and quotes treat both alike. A repeated label keeps the box of the head's words: a highlighted row shows its columns.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ingest.parse.build import Boxes, Mark, Words
from ingest.parse.order import reading_order, same_row
from ingest.parse.rows import CELL_GAP, TABLE_LINES, Row, Segment, segments, visual_rows, wide_gaps
from ingest.parse.rulings import Rulings
from ingest.parse.tables import Cell, Table, find_tables

CAPTION_LEVEL = 9  # below every heading of running text
LABEL_CHARACTERS = 60
_CAPTION = re.compile(r"(table|exhibit|schedule|figure|appendix|annex|chart)\b", re.I)
_CAPTION_LINES = 4
_COLUMN_LINES = 4
_CAPTION_WORDS = 40

Token = tuple[str, int | str]  # the white space before it; a word of the page, or a mark that is not on the page


@dataclass(frozen=True, slots=True)
class Carried:
    """The head of a table that may go on at the top of the next page without repeating it."""

    labels: tuple[str, ...]
    edges: tuple[float, ...]  # where each column ends on the right


@dataclass(frozen=True, slots=True)
class Arranged:
    """Words as they are written into the document's text."""

    words: Words
    marks: tuple[Mark, ...] = ()
    carried: Carried | None = None


def arrange(
    words: Words,
    rulings: Rulings,
    carried: Carried | None = None,
    *,
    keeps_hyphen: Callable[[str, str], bool] = lambda _left, _right: True,
    by_place: bool = False,
    gaps: int | None = None,
) -> Arranged:
    """Put a page's tables into rows and columns of text one after the other.

    Everything else stays in the order it came in, unless `by_place` says that this order means nothing. `keeps_hyphen`
    decides about words that the reordering brings together over a line end. `gaps`: `wide_gaps` of `words`, if known.
    """
    if by_place:
        words = _by_place(words, keeps_hyphen)
    gaps = wide_gaps(words.boxes) if gaps is None or by_place else gaps
    tables = find_tables(words, rulings) if gaps >= TABLE_LINES else []
    if not tables:
        if not by_place and gaps >= _COLUMN_LINES:
            words = _columns_apart(words, keeps_hyphen)
        return Arranged(words, (), carried if not words.texts else None)
    writer = _Writer(words)
    owner = {word: table for table in tables for word in table.words()}
    written: set[int] = set()
    labels: list[list[int | str]] = []
    for word in range(len(words.texts)):
        table = owner.get(word)
        if table is None:
            writer.word(word)
        elif id(table) not in written:
            written.add(id(table))
            labels = column_labels(words, table)
            edges = _edges(words, table)
            if not any(labels) and carried is not None and _goes_on(carried.edges, edges):
                labels = [[label] if label else [] for label in carried.labels]
            texts = (" ".join(words.texts[w] if isinstance(w, int) else w for w in label) for label in labels)
            carried = Carried(tuple(texts), edges) if any(labels) else None
            writer.table(table, labels, _caption(words, table, owner))
    return Arranged(writer.words(), tuple(writer.marks), carried)


def _edges(words: Words, table: Table) -> tuple[float, ...]:
    held = ([c.words for c in table.cells if c.column == c.column_end == i] for i in range(table.columns))
    return tuple(max((float(words.boxes[cell, 2].max()) for cell in cells), default=0.0) for cells in held)


def _goes_on(before: tuple[float, ...], now: tuple[float, ...]) -> bool:
    """True when a table without a head has the columns of the one before it, at the same places."""
    return len(before) == len(now) and all(abs(a - b) < 12 for a, b in list(zip(before, now, strict=True))[1:])


def _columns_apart(words: Words, keeps_hyphen: Callable[[str, str], bool]) -> Words:
    """Columns of text one after the other where the file runs on across the gap between them."""
    if _runs_across(words.boxes) < _COLUMN_LINES:
        return words
    ordered = _pieces(words)
    place = {piece.words[0]: number for number, piece in enumerate(ordered)}
    apart = across = 0
    places = words.boxes.tolist()
    for row in visual_rows(words.boxes):
        for left, right in pairwise(segments(row, places, CELL_GAP)):
            if place[right.words[0]] != place[left.words[0]] + 1:
                apart += 1
                across += right.words[0] == left.words[-1] + 1
    return _by_place(words, keeps_hyphen) if across >= _COLUMN_LINES and 2 * across > apart else words


def _runs_across(boxes: Boxes) -> int:
    """How often the file goes on across one and the same gap in the middle of the page."""
    heights = boxes[:, 3] - boxes[:, 1]
    level = np.abs(boxes[1:, 3] - boxes[:-1, 3]) < 0.3 * heights[1:]
    wide = level & (boxes[1:, 0] - boxes[:-1, 2] > CELL_GAP * heights[1:])
    starts, ends = boxes[:-1, 2][wide], boxes[1:, 0][wide]
    if len(starts) < _COLUMN_LINES:
        return 0
    left, right = float(np.nanmin(boxes[:, 0])), float(np.nanmax(boxes[:, 2]))
    at = ends[(ends > left + 0.2 * (right - left)) & (starts < right - 0.2 * (right - left))] - 0.1
    return int(max((((starts <= x) & (x <= ends)).sum() for x in at), default=0))


def _pieces(words: Words) -> list[Segment]:
    rows, places = visual_rows(words.boxes), words.boxes.tolist()
    return reading_order([piece for row in rows for piece in segments(row, places, CELL_GAP)])


def _by_place(words: Words, keeps_hyphen: Callable[[str, str], bool]) -> Words:
    """Words in the order of their places; those without one are left at the end."""
    spaces: list[str] = []
    order: list[int] = []
    texts = list(words.texts)
    last: Segment | None = None
    for piece in _pieces(words):
        for number, word in enumerate(piece.words):
            space = " "
            if number == 0 and last is not None and not same_row(last, piece):
                far = piece.y0 - last.y1 > 0.7 * min(piece.y1 - piece.y0, last.y1 - last.y0)
                space = "\n\n" if far or piece.y1 < last.y0 else "\n"
                if space == "\n" and texts[order[-1]][-1:] == "-" and texts[word][:1].islower():
                    space = ""
                    if not keeps_hyphen(texts[order[-1]][:-1], texts[word]):
                        texts[order[-1]] = texts[order[-1]][:-1]
            elif word and words.spaces[word] == "" and order and order[-1] == word - 1:
                space = ""
            spaces.append(space if order else "")
            order.append(word)
        last = piece
    for word in sorted(set(range(len(texts))) - set(order)):
        spaces.append("\n" if order else "")
        order.append(word)
    return Words(spaces, [texts[word] for word in order], words.boxes[order])


def column_labels(words: Words, table: Table) -> list[list[int | str]]:
    """What names each column: the head's words above it, outermost first, cut to a length that rows can repeat."""
    labels: list[list[int | str]] = []
    for column in range(table.columns):
        levels = [c.words for c in table.cells if c.row < table.head and c.column <= column <= c.column_end]
        while len(levels) > 1 and sum(len(words.texts[w]) + 1 for level in levels for w in level) > LABEL_CHARACTERS:
            levels = levels[1:]
        label: list[int | str] = []
        size = 0
        for word in (word for level in levels for word in level):
            size += len(words.texts[word]) + 1
            if size > LABEL_CHARACTERS and label:
                break
            label.append(word)
        labels.append(label)
    return labels


def _caption(words: Words, table: Table, owner: dict[int, Table]) -> list[int]:
    """Words of the lines right above a table that name it: from "Table 3" on, else short lines close above."""
    x0, top, x1, _ = table.box
    boxes = words.boxes
    em = float(np.nanmedian(boxes[:, 3] - boxes[:, 1]))
    with np.errstate(invalid="ignore"):
        near = (boxes[:, 3] < top + 0.5 * em) & (boxes[:, 3] > top - 12 * em)
        near &= (boxes[:, 2] > x0) & (boxes[:, 0] < x1)
    rows = visual_rows(boxes, [w for w in np.flatnonzero(near).tolist() if w not in owner])
    taken: list[Row] = []
    edge = top
    for row in reversed(rows[-_CAPTION_LINES:]):
        if edge - row.y1 > 2.0 * em or sum(len(r.words) for r in taken) + len(row.words) > _CAPTION_WORDS:
            break
        taken.insert(0, row)
        edge = row.y0
    for index, row in enumerate(taken):
        if _CAPTION.match(words.texts[row.words[0]]):
            return [word for r in taken[index:] for word in r.words]
    short: list[int] = []
    for row in reversed(taken):
        text = [words.texts[word] for word in row.words]
        if len(text) > 14 or (text[-1].endswith((".", ";", ",")) and len(text) > 6):
            break
        short = [*row.words, *short]
    return short


class _Writer:
    """Collects tokens; `marks` are over what was written so far."""

    def __init__(self, words: Words) -> None:
        self._source = words
        self._tokens: list[Token] = []
        self._at: dict[int, int] = {}
        self._break = False
        self.marks: list[Mark] = []

    def word(self, word: int) -> None:
        space = self._source.spaces[word]
        if self._break and self._tokens:
            space = "\n\n"
        elif not self._tokens:
            space = ""
        self._break = False
        self._at[word] = len(self._tokens)
        self._tokens.append((space, word))

    def table(self, table: Table, labels: list[list[int | str]], caption: list[int]) -> None:
        marked = self._mark(caption)
        space = "\n\n" if self._tokens else ""
        for row in range(table.rows):
            for token in _row(table, row, labels):
                self._tokens.append((space + token[0], token[1]))
                space = ""
            space = "\n" if self._tokens else ""
        self._break = True
        if marked:
            end = len(self._tokens)
            self.marks.append(Mark(end, end, CAPTION_LEVEL))

    def _mark(self, caption: list[int]) -> bool:
        """Mark a caption as a heading, when its words were written one after the other."""
        at = sorted(self._at[word] for word in caption if word in self._at)
        if not at or len(at) < len(caption) or at[-1] - at[0] >= len(at):
            return False
        self.marks.append(Mark(at[0], at[-1] + 1, CAPTION_LEVEL))
        return True

    def words(self) -> Words:
        source = self._source
        texts = [source.texts[w] if isinstance(w, int) else w for _, w in self._tokens]
        boxes = np.full((len(texts), 4), np.nan, dtype=np.float32)
        placed = [(i, w) for i, (_, w) in enumerate(self._tokens) if isinstance(w, int)]
        boxes[[i for i, _ in placed]] = source.boxes[[w for _, w in placed]]
        return Words([space for space, _ in self._tokens], texts, boxes)


def _row(table: Table, row: int, labels: list[list[int | str]]) -> Iterator[Token]:
    """One line: the cells that begin in this row, and the name of a row that spans several, each after its label."""
    held = [
        c for c in table.cells if c.row == row or (c.column == 0 and c.row < row <= c.row_end and row >= table.head)
    ]
    for number, cell in enumerate(sorted(held, key=lambda c: c.column)):
        if number:
            yield " ", "|"
        label = _label(cell, row, table, labels)
        for index, word in enumerate(label):
            yield ("" if not index and not number else " "), word
        if label:
            yield "", ":"
        for index, word in enumerate(cell.words):
            yield ("" if not index and not number and not label else " "), word


def _label(cell: Cell, row: int, table: Table, labels: list[list[int | str]]) -> list[int | str]:
    """Cells of the first column name their row themselves; those over several columns have no one label."""
    if row < table.head or cell.column == 0 or cell.column != cell.column_end:
        return []
    return labels[cell.column]
