"""A questionnaire file and its answered copy: the same rows and columns, with the answers in columns to the right."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from strongroom.cli.common import to_json
from strongroom.errors import UsageError
from strongroom.spreadsheet import Grid, fill_xlsx, neutral, read_grid, suffix_of, write_table
from strongroom.types import Answer
from strongroom.whole import SheetAnswer
from strongroom.words import place

COLUMNS = ("Answer", "Confidence", "Sources", "Quotes", "Note")
NOT_FOUND = "not found in the documents"


@dataclass(slots=True)
class Questionnaire:
    """The rows of a questionnaire with what was answered so far."""

    path: Path
    grid: Grid
    column: int
    out: Path
    _answers: dict[int, list[str]] = field(default_factory=dict)  # by row
    _items: dict[int, Any] = field(default_factory=dict)  # for JSON
    _asked: list[int] = field(default_factory=list)
    answered: int = 0
    silent: int = 0

    @classmethod
    def read(cls, path: Path, *, column: str | None, out: Path, resume: bool) -> Questionnaire:
        """Read the questions and, to resume, the answers that are there. Raises `UsageError`."""
        suffix = suffix_of(out)
        if path.resolve() == out.resolve():
            raise UsageError("the answers would overwrite the questions", hint="Give `--out` another name.")
        if resume and suffix == ".json":
            raise UsageError("only .csv and .xlsx can be resumed", hint="Leave `--resume` out.")
        grid = read_grid(path)
        form = cls(path, grid, grid.column(column), out)
        if not any(True for _ in form.open_questions()):
            raise UsageError(f"{path} holds no questions", hint="The first row holds titles; questions follow it.")
        if resume and out.exists():
            form._take_back(read_grid(out))
        elif out.exists():
            raise UsageError(f"{out} is there already", hint="Give `--resume` to go on with it, or another name.")
        return form

    def _take_back(self, old: Grid) -> None:
        """Answers of an earlier run, where question and row are still the same."""
        for row, _ in list(self.open_questions()):
            own = tuple(map(neutral, self._own(row)))
            if row < len(old.rows) and tuple(map(neutral, old.rows[row][: self.grid.width])) == own:
                cells = [*old.rows[row][self.grid.width :], *[""] * len(COLUMNS)][: len(COLUMNS)]
                if cells[0]:
                    self._answers[row] = cells

    def open_questions(self) -> Iterator[tuple[int, str]]:
        """Rows and questions that have no answer yet."""
        for row in range(1, len(self.grid.rows)):
            cells = self.grid.rows[row]
            text = cells[self.column].strip() if self.column < len(cells) else ""
            if text and row not in self._answers:
                yield row, text

    def take(self, item: SheetAnswer) -> None:
        """Put an answer at its place."""
        if not self._asked:
            self._asked = [row for row, _ in self.open_questions()]
        row = self._asked[item.index]
        self._answers[row] = cells_of(item.answer)
        self._items[row] = to_json(item)
        self.silent += item.answer.abstained
        self.answered += not item.answer.abstained

    def write(self) -> None:
        """Write the answered copy; an XLSX sheet keeps its own formats."""
        if self.path.suffix.lower() == self.out.suffix.lower() == ".xlsx":
            fill_xlsx(self.path, self.out, first=self.grid.width, columns=COLUMNS, rows=self._answers)
            return
        rows = [
            [*self._own(row), *self._answers.get(row, [""] * len(COLUMNS))] for row in range(1, len(self.grid.rows))
        ]
        data = [self._items[row] for row in sorted(self._items)]
        write_table(
            self.out, [*self._own(0), *COLUMNS], rows, data=data if self.out.suffix.lower() == ".json" else None
        )

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
    if answer.abstained:
        notes.insert(0, "sources are the nearest passages, not evidence")
    notes += [f"{s.support}: {' '.join(s.text.split())}" for s in answer.sentences if s.support != "supported"]
    text = NOT_FOUND if answer.abstained else answer.answer
    return [text, f"{answer.confidence:.2f}", sources, quotes, "\n".join(notes)]
