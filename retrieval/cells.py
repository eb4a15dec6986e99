"""Which cell of a table's row answers a question: the one whose label the question names.

Parsers write a row as labelled cells ("Line: Insurance | Budget: 1,415", or "Insurance | Budget: 1,415"). A reader that
learned from prose marks the row's name as readily as its value, so its words are moved to the cell that is meant. What
the question says itself points to the row and is never the answer. Must not add a word: a cell is a piece of its row.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from retrieval import lexical
from retrieval.facts import facts

BETWEEN = " | "  # cells of a row, as the parsers write it
UNNAMED = 0.1  # of the weight of a label's other words, off what the question names: the plainest label wins
YEARS = 0.9  # of the weight of a word
_WHEN = re.compile(r"\b(?:when|date|day)\b", re.IGNORECASE)
_HOW_MUCH = re.compile(r"\bhow\s(?:much|many)\b", re.IGNORECASE)
_CODE = re.compile(r"[^\W\d_][-/.]?\d")  # the number of a file or a type: no amount
POINTED = 0.3  # of the words of a value
_ENDINGS = frozenset(("", "s", "d", "ed", "er", "ers", "or", "ing", "ion", "ions"))
AS_GOOD = 0.75  # a cell named nearly as well as the best one may be asked for too


@dataclass(frozen=True, slots=True)
class Cell:
    """A value at `row[start:end]` with the label of its column, empty where it has none."""

    label: str
    value: str
    start: int
    end: int


def cells(row: str) -> list[Cell]:
    """The cells of a line with their labels; none where the line is no row of a table with a head."""
    out: list[Cell] = []
    at = 0
    for piece in row.split(BETWEEN):
        label, mark, value = piece.partition(": ")
        label, value = (label, value) if mark else ("", piece)
        begin = at + len(piece) - len(value)
        start = begin + len(value) - len(value.lstrip())
        out.append(Cell(label.strip(), value.strip(), start, start + len(value.strip())))
        at += len(piece) + len(BETWEEN)
    return out if len(out) > 1 and any(cell.label for cell in out) else []


def pointed(question: str, row: str) -> frozenset[str] | None:
    """Words by which the question points to the row: those that its values hold. `None` for what is no row."""
    held = cells(row)
    said = frozenset[str]().union(*(lexical.terms(cell.value) for cell in held))
    return said.intersection(lexical.terms(question)) if held else None


@dataclass(frozen=True, slots=True)
class Choice:
    """Cells that answer, best first, and the words (`lexical.terms`) by which the question points to row and column.

    `name` is what the row is called, `label` what the best cell is; each is empty where the question does not say it.
    """

    places: tuple[tuple[int, int], ...]
    name: frozenset[str]
    label: frozenset[str]


def answering(question: str, row: str, spans: Sequence[tuple[int, int]], *, own: str | None = None) -> Choice | None:
    """The cells of `row` that answer, where a reader marked `spans` in it.

    Words that the question borrows from an earlier one point to the row; what is asked of it, `own` says alone.
    `None` where nothing is known better than the reader does: the line is no row, or neither it nor the question points
    to a cell that may be the answer.
    """
    held = cells(row)
    if not held:
        return None
    asked, own = frozenset(lexical.terms(question)), own or question
    said = [frozenset(lexical.terms(cell.value)) for cell in held]
    points = [_points(cell, words, asked) for cell, words in zip(held, said, strict=True)]
    may = [cell for i, cell in enumerate(held) if not points[i] and cell.value and (cell.label or i > 0)]
    may = _of_kind(own, may) or may
    marked = [next((c for c in may if start < c.end and end > c.start), None) for start, end in spans]
    name = asked.intersection(word for words, so in zip(said, points, strict=True) if so for word in words)
    seen = [cell for cell in dict.fromkeys(marked) if cell is not None]
    seen = seen or (may[:1] if len(may) == 1 or (name and _HOW_MUCH.search(own)) else [])
    # What the question says of the row's name, or of the value that the reader marks, names no label.
    of_label = frozenset(lexical.terms(own)) or asked
    weighed = _weighed(of_label.difference(name, *(lexical.terms(cell.value) for cell in seen)), may)
    best = max(weighed.values(), default=0.0)
    if best > 0:
        order = sorted(may, key=lambda c: (-weighed[c], seen.index(c) if c in seen else len(seen), c.start))
        seen = [cell for cell in order if weighed[cell] >= AS_GOOD * best]
    if not seen:
        return None
    label = frozenset[str]()
    if best > 0:
        label = frozenset(lexical.terms(seen[0].label))
        name = name or max(said, key=lambda words: len(words & asked) / max(1, len(words)))
    return Choice(tuple((cell.start, cell.end) for cell in seen), name, label)


def _points(cell: Cell, words: frozenset[str], asked: frozenset[str]) -> bool:
    """True where the question repeats a value, or some of it with its label ("the measure about snap-back zones"): it
    says which row is meant."""
    said = bool(_named(frozenset(lexical.terms(cell.label)), asked))
    part = [word for word in words & asked if not word[0].isdigit()]  # "4" of "4.3" says nothing
    return bool(words) and (words <= asked or (said and len(part) >= POINTED * len(words)))


def _of_kind(question: str, held: Sequence[Cell]) -> list[Cell]:
    """The cells that hold what the question asks for: a date, a figure, a name, or anything."""
    kind = lexical.wanted(question)
    if kind == "name":
        return [cell for cell in held if lexical.names(cell.value) and not any(ch.isdigit() for ch in cell.value)]
    if kind is None:
        return list(held)
    figures = [cell for cell in held if _is_figure(cell.value)]
    if _HOW_MUCH.search(question):
        return [cell for cell in figures if not facts(cell.value).days and not _CODE.search(cell.value)]
    dates = [cell for cell in figures if facts(cell.value).days] if _WHEN.search(question) else []
    return dates or figures


def _is_figure(value: str) -> bool:
    """True for what has digits, and for a dash: that a cell is empty is an answer, another column's number is none."""
    return any(ch.isdigit() for ch in value) or not any(ch.isalpha() for ch in value)


def _weighed(asked: frozenset[str], held: Sequence[Cell]) -> dict[Cell, float]:
    """How much of each label the question names, by how rare its words are among the labels of the row.

    Years count a little less, so that "the change between 2018 and 2019" is the change.
    """
    labels = {cell: frozenset(lexical.terms(cell.label)) for cell in held}
    said = {cell: _named(label, asked) for cell, label in labels.items()}
    rarity = lexical.rarity(list(labels.values()))
    rarity = {term: weight * (YEARS if term[0].isdigit() else 1.0) for term, weight in rarity.items()}
    return {
        # rounded, because a sum over a set may end in another bit each time
        cell: round(sum(rarity[t] for t in said[cell]) - UNNAMED * sum(rarity[t] for t in label - said[cell]), 6)
        for cell, label in labels.items()
    }


def _named(label: frozenset[str], asked: frozenset[str]) -> frozenset[str]:
    """Words of a label that the question says, in that form or another: who *owns* it is its *owner*."""
    return frozenset(term for term in label if term in asked or any(_kin(term, word) for word in asked))


def _kin(a: str, b: str) -> bool:
    """True when two words are one but for an ending."""
    x, y = ({word.removesuffix(ending) for ending in _ENDINGS} for word in (a, b))
    return any(len(stem) >= 3 for stem in x & y)
