"""A questionnaire file and its answered copy: the same rows and columns, with the answers in its own columns for them
where they are empty, else in columns to the right."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from strongroom.cli.common import to_json
from strongroom.errors import UsageError
from strongroom.files import require_writable
from strongroom.spreadsheet import Grid, fill_xlsx, neutral, read_grid, suffix_of, write_table
from strongroom.types import Answer
from strongroom.whole import SheetAnswer
from strongroom.words import place

COLUMNS = ("Answer", "Confidence", "Sources", "Quotes", "Note")
NOT_FOUND = "not found in the documents"
_OWN = {"Answer": re.compile(r"(?:(?:your|vendor|supplier)\s+)?(?:answer|response|antwort(?:en)?)s?", re.IGNORECASE)}


@dataclass(slots=True)
class Questionnaire:
    """The rows of a questionnaire with what was answered so far."""

    path: Path
    grid: Grid
    head: int  # row of the titles
    column: int  # of the questions
    out: Path
    places: tuple[int, ...] = ()  # columns of COLUMNS: empty ones of the sheet, else to its right
    _answers: dict[int, list[str]] = field(default_factory=dict)  # by row
    _items: dict[int, Any] = field(default_factory=dict)  # for JSON
    _asked: list[int] = field(default_factory=list)
    answered: int = 0
    silent: int = 0
    refused: int = 0

    @classmethod
    def read(cls, path: Path, *, column: str | None, out: Path, resume: bool) -> Questionnaire:
        """Read the questions and, to resume, the answers that are there. Raises `UsageError`."""
        suffix = suffix_of(out)
        if path.resolve() == out.resolve():
            raise UsageError("the answers would overwrite the questions", hint="Give `--out` another name.")
        require_writable(out)
        grid = read_grid(path)
        head, at = grid.questions(column)
        form = cls(path, grid, head, at, out)
        form.places = form._places()
        if not form.open_questions():
            raise UsageError(
                f"{path} holds no questions", hint="Questions follow their title, one a row, in the first worksheet."
            )
        if out.exists() and not resume:
            raise UsageError(f"{out} is there already", hint="Give `--resume` to go on with it, or another name.")
        if out.exists():
            form._take_back_items() if suffix == ".json" else form._take_back(read_grid(out))
        return form

    def _places(self) -> tuple[int, ...]:
        """Where each of COLUMNS goes."""
        titles, free, places = self._own(self.head), self.grid.width, []
        for name in COLUMNS:
            known = _OWN.get(name, re.compile(name, re.IGNORECASE))
            empty = (i for i, title in enumerate(titles) if known.fullmatch(title.strip()) and self._empty(i))
            places.append(next(empty, free))
            free += places[-1] == free
        return tuple(places)

    def _empty(self, column: int) -> bool:
        return not any(self._own(row)[column].strip() for row in range(self.head + 1, len(self.grid.rows)))

    def _take_back(self, old: Grid) -> None:
        """Answers of an earlier run, where question and row are still the same."""
        for row, _ in self.open_questions():
            there = [*old.rows[row], *[""] * (max(self.places) + 1)] if row < len(old.rows) else []
            kept = [i for i in range(self.grid.width) if i not in self.places]
            if there and all(neutral(there[i]) == neutral(self._own(row)[i]) for i in kept):
                cells = [there[place] for place in self.places]
                if cells[0]:
                    self._answers[row] = cells

    def _take_back_items(self) -> None:
        try:
            old = [item for item in json.loads(self.out.read_bytes()) if item["answer"] is not None]
            by_question = {item["question"]: item for item in old}
        except (OSError, ValueError, TypeError, KeyError) as exc:
            raise UsageError(f"{self.out} holds no answers of a sheet", hint="Give another name.") from exc
        for row, text in self.open_questions():
            if text in by_question:
                self._items[row], self._answers[row] = by_question[text], []

    def _questions(self) -> Iterator[tuple[int, str]]:
        """Rows and questions."""
        for row in range(self.head + 1, len(self.grid.rows)):
            text = self._own(row)[self.column].strip()
            if text:
                yield row, text

    def open_questions(self) -> list[tuple[int, str]]:
        """Rows and questions that have no answer yet."""
        return [(row, text) for row, text in self._questions() if row not in self._answers]

    def take(self, item: SheetAnswer) -> None:
        """Put an answer at its place."""
        if not self._asked:
            self._asked = [row for row, _ in self.open_questions()]
        row = self._asked[item.index]
        self._items[row] = to_json(item)
        if item.answer is None:
            self._answers[row] = ["", "", "", "", f"not asked: {item.error}"]
            self.refused += 1
            return
        self._answers[row] = cells_of(item.answer)
        self.silent += item.answer.abstained
        self.answered += not item.answer.abstained

    @property
    def begun(self) -> bool:
        """Whether there is anything to write."""
        return bool(self._answers)

    def summary(self) -> str:
        """Counts of this run, and where the answers are."""
        refused = f", {self.refused} not asked" if self.refused else ""
        return f"{self.answered} answered, {self.silent} not found in the documents{refused}: {self.out}"

    def write(self) -> None:
        """Write the answered copy; an XLSX sheet keeps its own formats."""
        if self.out.suffix.lower() == ".json":
            rows_asked = [row for row, _ in self._questions()]
            data = [{**self._items[row], "index": n} for n, row in enumerate(rows_asked) if row in self._items]
            write_table(self.out, [], [], data=data)
            return
        mine = {title.strip() for title in self._own(self.head)}
        titles = [f"{name} (from the documents)" if name in mine else name for name in COLUMNS]
        filled = {self.head: titles, **self._answers}
        cells = {(row, at): text for row, texts in filled.items() for at, text in zip(self.places, texts, strict=True)}
        for at in self.places:
            if at < self.grid.width:
                del cells[self.head, at]  # it has its own title
        if self.path.suffix.lower() == self.out.suffix.lower() == ".xlsx":
            fill_xlsx(self.path, self.out, cells)
            return
        width = max(self.grid.width, max(self.places) + 1)
        rows = [[*self._own(row), *[""] * (width - self.grid.width)] for row in range(len(self.grid.rows))]
        for (row, at), text in cells.items():
            rows[row][at] = text
        write_table(self.out, rows[0], rows[1:])

    def _own(self, row: int) -> tuple[str, ...]:
        cells = self.grid.rows[row]
        return (*cells, *[""] * (self.grid.width - len(cells)))


def cells_of(answer: Answer) -> list[str]:
    """Answer, confidence, sources, quotes, note."""
    cited = {n for s in answer.sentences for n in s.citations} | {e.citation for e in answer.exact}
    shown = [c for c in answer.citations if answer.abstained or c.n in cited]
    sources = "; ".join(dict.fromkeys(f"{c.document.name}, {place(c.page, c.locator)}" for c in shown))
    quotes = "\n".join(f"“{' '.join(c.quote.split())}”" for c in shown)
    notes = list(answer.warnings)
    if answer.clarify is not None:
        notes.insert(0, answer.clarify.question)
    if answer.digital_source_type is not None:
        notes.insert(0, f"written by a model: {answer.digital_source_type}")
    if answer.abstained and shown:
        notes.insert(0, "sources are the nearest passages, not evidence")
    notes += [f"{s.support}: {' '.join(s.text.split())}" for s in answer.sentences if s.support != "supported"]
    text = NOT_FOUND if answer.abstained else answer.answer
    return [text, f"{answer.confidence:.2f}", sources, quotes, "\n".join(notes)]
