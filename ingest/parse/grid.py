"""A sheet of cells to text: tables found, headers repeated cell by cell, every run of rows located by its range.

What xlsx, xls, ods and delimited text share. A row stands for itself ("Region: North | Q1: 120"), so that a passage
cut anywhere in a long sheet still says what its numbers are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from ingest.parse.build import DocumentBuilder
from strongroom.errors import ParseError

CELL_LIMIT = 2_000_000
_PAGE_ROWS = 50
_PAGE_CHARACTERS = 6000
_HEADER_ROWS = 3
_MERGED_ROWS = 1000  # a merge that fills more rows than this is a mistake, not a label
_PLAIN_NAME = re.compile(r"(?:sheet|table|tabelle|feuil|hoja|foglio|blad|лист|シート|工作表)?\s*\d*", re.IGNORECASE)

Row = Sequence[str]
Span = tuple[int, int, int, int]  # first row, first column, last row, last column; 0-based, inclusive


@dataclass(slots=True)
class Grid:
    """One sheet. `rows[i]` is the sheet's row i (0-based); rows may differ in length. All texts are as shown."""

    name: str
    rows: list[Row] = field(default_factory=list)
    hidden: bool = False
    hidden_rows: set[int] = field(default_factory=set)
    hidden_columns: set[int] = field(default_factory=set)
    merged: list[Span] = field(default_factory=list)


class CellBudget:
    """Counts the cells of a workbook. Raises `ParseError` beyond the limit."""

    def __init__(self) -> None:
        self._left = CELL_LIMIT

    def take(self, cells: int) -> None:
        self._left -= max(cells, 1)
        if self._left < 0:
            raise ParseError(
                f"the workbook has more than {CELL_LIMIT:,} cells", hint="export the sheets you need as CSV"
            )


@dataclass(frozen=True, slots=True)
class _Table:
    """A table of a sheet. `rows` are all of its rows with their numbers, `body` those below captions and header;
    `header` names the columns and is empty when there is none."""

    captions: tuple[str, ...]
    header: tuple[str, ...]
    rows: Sequence[tuple[int, Row]]
    body: Sequence[tuple[int, Row]]


def add_grid(builder: DocumentBuilder, grid: Grid) -> None:
    """Add a sheet as pages of kind "sheet", each a run of rows, labelled with name and range ("Budget!A1:D40")."""
    _warn_hidden(builder, grid)
    _spread_merged(grid)
    spanning = {top for top, left, _, right in grid.merged if right > left}
    tables = [
        table
        for group in _rejoined(_groups(grid.rows))
        for part in _side_by_side(group)
        if (table := _table(part, spanning))
    ]
    pages = _Pages(builder, grid)
    if grid.hidden or (tables and not _PLAIN_NAME.fullmatch(grid.name)):
        pages.heading(f"{grid.name} (hidden sheet)" if grid.hidden else grid.name, 1)
    captioned = False
    for table in tables:
        for caption in table.captions:
            pages.heading(caption, 2)
        if captioned and not table.captions:  # else it would stand under the caption of the table above it
            pages.heading(_range(table.rows), 2)
        captioned = captioned or bool(table.captions)
        pages.begin(table.rows[: len(table.rows) - len(table.body)])
        if table.header:
            pages.line(_join(_marked(table.header, grid.hidden_columns)))
        for number, row in table.body:
            pages.row(number, row, _line(table, row))
    pages.close()


def render_rows(rows: Iterable[Row]) -> Iterator[str]:
    """Rows as lines. A row of words above rows that differ in kind is a header: rows below repeat it cell by cell.

    A blank row ends a table; a row with one filled cell above a table is a caption and stands by itself.
    """
    for group in _groups(list(rows)):
        table = _table(group)
        if table is not None:
            yield from table.captions
            if table.header:
                yield _join(table.header)
            yield from (_line(table, row) for _, row in table.body)


# ------------------------------------------------------------------------------------------------ pages


class _Pages:
    """Gathers lines and ends a page between two rows once it is long enough."""

    def __init__(self, builder: DocumentBuilder, grid: Grid) -> None:
        self._builder = builder
        self._grid = grid
        self._paragraphs: list[tuple[str, int | None]] = []
        self._lines: list[str] = []
        self._rows: list[tuple[int, Row]] = []
        self._size = 0
        self._made = 0

    def heading(self, text: str, level: int) -> None:
        self._end_lines()
        self._paragraphs.append((text, level))

    def begin(self, rows: Sequence[tuple[int, Row]]) -> None:
        """Open a table whose captions and header are `rows`."""
        self._end_lines()
        self._rows += rows

    def line(self, text: str) -> None:
        self._lines.append(text)
        self._size += len(text)

    def row(self, number: int, row: Row, text: str) -> None:
        self.line(f"[hidden row] {text}" if number in self._grid.hidden_rows else text)
        self._rows.append((number, row))
        if len(self._rows) >= _PAGE_ROWS or self._size >= _PAGE_CHARACTERS:
            self._flush()

    def close(self) -> None:
        """End the last page; a sheet without cells is a page without text, so that its name is known."""
        if self._rows or self._paragraphs or not self._made:
            self._flush()

    def _flush(self) -> None:
        self._end_lines()
        label = f"{self._grid.name}!{_range(self._rows)}" if self._grid.name else _range(self._rows)
        self._builder.add_block(
            self._paragraphs, kind="sheet", label=label if self._rows else self._grid.name or "sheet"
        )
        self._paragraphs, self._rows, self._size = [], [], 0
        self._made += 1

    def _end_lines(self) -> None:
        if self._lines:
            self._paragraphs.append(("\n".join(self._lines), None))
            self._lines = []


def _warn_hidden(builder: DocumentBuilder, grid: Grid) -> None:
    if grid.hidden:
        builder.warn(f"sheet {grid.name} is hidden")
    hidden = sum(1 for row in grid.hidden_rows if row < len(grid.rows) and any(grid.rows[row]))
    if hidden:
        builder.warn(f"sheet {grid.name}: {hidden} hidden rows were read")
    width = max((len(row) for row in grid.rows), default=0)
    columns = sorted(column for column in grid.hidden_columns if column < width)
    if columns:
        builder.warn(f"sheet {grid.name}: hidden columns were read ({', '.join(map(column_name, columns[:10]))})")


def _marked(header: Row, hidden: set[int]) -> list[str]:
    return [f"{name} [hidden column]" if name and index in hidden else name for index, name in enumerate(header)]


def _range(rows: Sequence[tuple[int, Row]]) -> str:
    used = [index for _, row in rows for index, cell in enumerate(row) if cell]
    numbers = [number for number, _ in rows]
    left, right = column_name(min(used, default=0)), column_name(max(used, default=0))
    return f"{left}{min(numbers, default=0) + 1}:{right}{max(numbers, default=0) + 1}"


def column_name(index: int) -> str:
    """The letters of a column: 0 is A, 26 is AA."""
    name = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        name = chr(ord("A") + rest) + name
    return name


# ------------------------------------------------------------------------------------------------ tables


def _spread_merged(grid: Grid) -> None:
    """Give every row of a merged cell its text, so that each row carries its label.

    Across columns the text is left in the first: a header's reach is worked out in `_headers`.
    """
    for top, left, bottom, _ in grid.merged:
        if bottom == top or top >= len(grid.rows) or left >= len(grid.rows[top]):
            continue
        text = grid.rows[top][left]
        for number in range(top + 1, min(bottom, top + _MERGED_ROWS, len(grid.rows) - 1) + 1):
            row = list(grid.rows[number])
            row += [""] * (left + 1 - len(row))
            if text and not row[left] and any(row):
                row[left] = text
                grid.rows[number] = row


def _groups(rows: Sequence[Row]) -> Iterator[list[tuple[int, Row]]]:
    """Runs of rows without a blank one between them, with their numbers."""
    group: list[tuple[int, Row]] = []
    for number, row in enumerate(rows):
        if any(row):
            group.append((number, row))
        elif group:
            yield group
            group = []
    if group:
        yield group


def _rejoined(groups: Iterable[list[tuple[int, Row]]]) -> Iterator[list[tuple[int, Row]]]:
    """Put a header back on its table when one blank row sets it off: words alone above a run that has numbers."""
    held: list[tuple[int, Row]] = []
    for group in groups:
        if held and group[0][0] - held[-1][0] <= 2 and not _is_header([row for _, row in group]):
            group = held + group
            held = []
        if held:
            yield held
            held = []
        names = [cell for _, row in group for cell in row if cell]
        if len(group) <= _HEADER_ROWS and len(names) > len(group) and all(_is_name(name) for name in names):
            held = group
        else:
            yield group
    if held:
        yield held


def _side_by_side(group: list[tuple[int, Row]]) -> list[list[tuple[int, Row]]]:
    """Tables that stand beside each other: split at a blank column when each side has a header of its own.

    A blank column within one table only sets it off, and there the right side lacks a header over words.
    """
    width = max(len(row) for _, row in group)
    used = [False] * width
    for _, row in group:
        for index, cell in enumerate(row):
            used[index] = used[index] or bool(cell)
    parts: list[tuple[int, int]] = []
    begin: int | None = None
    for index in range(width + 1):
        filled = index < width and used[index]
        if filled and begin is None:
            begin = index
        elif not filled and begin is not None:
            parts.append((begin, index))
            begin = None
    if len(parts) < 2:
        return [group]
    cut: list[list[tuple[int, Row]]] = []
    for left, right in parts:
        part: list[tuple[int, Row]] = [
            (number, ["" if index < left else cell for index, cell in enumerate(row[:right])])
            for number, row in group
            if any(row[left:right])
        ]
        rows = [row for _, row in part]
        while rows and sum(1 for cell in rows[0] if cell) == 1:
            rows = rows[1:]
        if right - left < 2 or not _is_header(rows) or not rows[1][left]:
            return [group]
        cut.append(part)
    return cut


def _table(group: list[tuple[int, Row]], spanning: AbstractSet[int] = frozenset()) -> _Table | None:
    """The table that a run of rows is. `spanning` are the rows with cells that are merged across columns."""
    if not group:
        return None
    start = 0
    wide = max(sum(1 for cell in row if cell) for _, row in group) > 1
    captions: list[str] = []
    while wide and start < len(group) and sum(1 for cell in group[start][1] if cell) == 1:
        captions.append(next(cell for cell in group[start][1] if cell))
        start += 1
    for row in _units(group[start:]):
        captions.append(_join(row))
        start += 1
    body = group[start:]
    header, depth = _headers([row for _, row in body], reaching=bool(body) and body[0][0] in spanning)
    return _Table(tuple(captions), header, group, body[depth:])


def _units(body: list[tuple[int, Row]]) -> list[Row]:
    """Rows above the header that say what is counted and when ("In millions of CHF | January-June 2023").

    They are words, and the last row of words before the first numbers names at least twice as many columns.
    """
    lead = 0
    while lead < min(len(body), _HEADER_ROWS) and all(_is_name(cell) for cell in body[lead][1] if cell):
        lead += 1
    if lead < 2 or lead == len(body) or not _is_header([row for _, row in body[lead - 1 :]]):
        return []
    names = [sum(1 for cell in row if cell) for _, row in body[:lead]]
    return [row for _, row in body[: lead - 1]] if 2 * max(names[:-1]) <= names[-1] else []


def _headers(body: list[Row], *, reaching: bool) -> tuple[tuple[str, ...], int]:
    """Names of the columns and how many rows they take: two when names of the upper one reach over several columns."""
    if reaching and len(body) > 2 and all(_is_name(cell) for row in body[:2] for cell in row if cell):
        upper, lower = body[0], body[1]
        names: list[str] = []
        above = ""
        for index in range(max(len(upper), len(lower))):
            above = (upper[index] if index < len(upper) else "") or above
            below = lower[index] if index < len(lower) else ""
            names.append(below if below == above else f"{above} {below}".strip())
        given = [name for name in names if name]
        if len(set(given)) == len(given):
            return tuple(names), 2
    return (tuple(body[0]), 1) if _is_header(body) else ((), 0)


def _line(table: _Table, row: Row) -> str:
    cells = []
    for column, cell in enumerate(row):
        if cell:
            name = table.header[column] if column < len(table.header) else ""
            cells.append(f"{name}: {cell}" if name and name != cell else cell)
    return " | ".join(cells)


def _join(cells: Iterable[str]) -> str:
    return " | ".join(cell for cell in cells if cell)


def _is_header(body: Sequence[Row]) -> bool:
    """The first row names columns: at least two words, all different, none a number, and rows below it."""
    if len(body) < 2:
        return False
    names = [cell for cell in body[0] if cell]
    if len(names) < 2 or len(set(names)) < len(names):
        return False
    return all(_is_name(name) for name in names)


def _is_name(text: str) -> bool:
    return len(text) <= 80 and not _is_number(text)


def _is_number(text: str) -> bool:
    stripped = text.strip("()%$€£ +-").replace(",", "").replace(".", "")
    if stripped.isdigit() and len(stripped) == 4 and stripped[:2] in {"19", "20"}:
        return False  # a year makes a good column name
    return stripped.isdigit()
