"""The head of a table: which lines of print it takes, and what stands over which columns."""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise

from ingest.parse.rows import WORD_GAP, Row, Segment
from ingest.parse.tables.cells import YEAR, Cell, TablePage, is_number


def head_lines(page: TablePage, block: list[Row], borders: list[float], lines: list[float]) -> int:
    """How many lines of print at the top name the columns."""
    first = next((i for i, row in enumerate(block) if is_body(page, row, borders)), None)
    under = [sum(1 for row in block if row.middle < at) for at in lines]
    ruled = [count for count in under if 0 < count <= min(8, len(block) // 2 + 1)]
    if ruled and (first is None or first > 8 or all(row.x0 < borders[0] for row in block[ruled[0] : first])):
        return 1 if _shaded(page, block, ruled[0], len(lines)) else ruled[0]
    if first is not None:
        # Label lines right above the first numbers belong to the body: they stand in the first column alone.
        left, right = min(row.x0 for row in block), max(row.x1 for row in block)
        while first > 1 and (_is_label(page, block[first - 1], borders) or centered(block[first - 1], left, right)):
            first -= 1
        return first if first <= 8 else 0
    # Words only: a first line of short phrases over longer ones
    first_row = page.segments(block[0], WORD_GAP)
    return 1 if len(first_row) > 1 and all(len(part.words) <= 5 for part in first_row) and len(block) > 2 else 0


def _shaded(page: TablePage, block: list[Row], above_rule: int, rules: int) -> bool:
    """True when the first rule is the one below the first row of the body, for a rule ends every row and the head has
    colour instead: a line of short phrases, set off from the next by more than lines within a cell are."""
    if rules < 3 or above_rule < 2:
        return False
    steps = [below.middle - above.middle for above, below in pairwise(block)]
    phrases = page.segments(block[0], WORD_GAP)
    return len(phrases) > 1 and all(len(part.words) <= 5 for part in phrases) and steps[0] > 1.25 * min(steps)


def centered(row: Row, left: float, right: float) -> bool:
    """True for a line in the middle of a table: a title, or a heading of the rows below it."""
    return abs((row.x0 + row.x1) / 2 - (left + right) / 2) < 0.03 * (right - left)


def _is_label(page: TablePage, row: Row, borders: list[float]) -> bool:
    return row.x0 < borders[0] and len(page.segments(row, WORD_GAP)) == 1


def is_body(page: TablePage, row: Row, borders: list[float]) -> bool:
    """Numbers in most of the columns after the first; years are names of columns, also beside words ("Change")."""
    values, named = [], False
    for part in page.segments(row, WORD_GAP):
        if bisect_right(borders, part.center) > 0:
            values.append(part.words)
        else:
            named = True
    if not values:
        return False
    numbers = [words for words in values if page.numeric(words)]
    years = all(YEAR.match(page.texts[word]) for words in numbers for word in words)
    names = years and (not named or len(numbers) == len(values) > 1)
    return 2 * len(numbers) >= len(values) and not names


def head_cells(
    page: TablePage, rows: list[Row], borders: list[float], extents: list[tuple[float, float]]
) -> tuple[list[Cell], int]:
    """Cells of the head and how many levels they form: phrases over several columns first, single columns below."""
    placed: list[list[tuple[int, int, Segment]]] = []
    for row in rows:
        parts = [piece for part in page.segments(row, 0.4) for piece in cut(page, part, borders, row.em)]
        placed.append([(*_span(page, part, row, borders, extents), part) for part in parts])
    for i in reversed(range(len(placed) - 1)):
        _widen(placed[i], placed[i + 1], extents)
    if placed:  # "Change" may stand a line below the dates beside it; one word may begin a name that goes on below
        whole = list(placed[0])
        _widen(whole, [entry for lower in placed[1:] for entry in lower], extents)
        if all(last > first and len(part.words) > 1 for first, last, part in whole if first > 0):
            placed[0] = whole
    levels = [i for i, row in enumerate(placed) if any(last > first for first, last, _ in row)]
    cells: list[Cell] = []
    covered = [0] * len(extents)  # the level below the last spanning cell of each column
    for level, i in enumerate(levels):
        for first, last, part in placed[i]:
            if last > first:
                over = next(
                    (c for c in cells if (c.column, c.column_end) == (first, last) and c.row_end == level - 1), None
                )
                if over is not None and not _ruled_between(page, rows[levels[level - 1]], rows[i], part):
                    over.words += part.words
                    over.row_end = level
                else:
                    cells.append(Cell(level, first, level, last, list(part.words)))
                for column in range(first, last + 1):
                    covered[column] = level + 1
    total = len(levels) + any(first == last for row in placed for first, last, _ in row)
    singles: dict[int, list[int]] = {}
    for entries in placed:
        for first, last, part in entries:
            if first == last:
                singles.setdefault(first, []).extend(part.words)
    cells += [Cell(min(covered[c], total - 1), c, total - 1, c, words) for c, words in singles.items()]
    return cells, total


def _ruled_between(page: TablePage, above: Row, below: Row, part: Segment) -> bool:
    return any(above.middle < line.at < below.middle and line.covers(part.center) for line in page.rulings.horizontal)


def cut(page: TablePage, part: Segment, borders: list[float], em: float) -> list[Segment]:
    """Cut a phrase at a column border that falls into one of its gaps, unless the gap is a plain word space."""
    pieces: list[list[int]] = [[part.words[0]]]
    for left, right in zip(part.words, part.words[1:], strict=False):
        x0, x1 = page.places[left][2], page.places[right][0]
        border = any(x0 - 1 <= at <= x1 + 1 for at in borders)
        numbers = is_number(page.texts[left]) and is_number(page.texts[right])
        if numbers:
            middles = (page.centers[word] for word in (left, right))
            border = border or len({bisect_right(borders, middle) for middle in middles}) > 1
        if border and (x1 - x0 > 0.33 * em or numbers):
            pieces.append([right])
        else:
            pieces[-1].append(right)
    return [Segment(page.places[p[0]][0], page.places[p[-1]][2], tuple(p)) for p in pieces]


def _span(
    page: TablePage, part: Segment, row: Row, borders: list[float], extents: list[tuple[float, float]]
) -> tuple[int, int]:
    """The columns a phrase of the head stands over; a line drawn right under it says how far it reaches."""
    x0, x1 = part.x0, part.x1
    width = extents[-1][1] - extents[0][0]
    for line in page.rulings.horizontal:
        near = row.middle < line.at < row.y1 + 0.6 * row.em
        if near and line.start <= part.center <= line.end and line.end - line.start < 0.85 * width:
            x0, x1 = min(x0, line.start), max(x1, line.end)
            break
    over = [
        column
        for column, (start, end) in enumerate(extents)
        if min(x1, end) - max(x0, start) > 0.5 * min(end - start, x1 - x0)
    ]
    if not over:
        column = bisect_right(borders, part.center)
        return column, column
    return over[0], over[-1]


def _widen(
    upper: list[tuple[int, int, Segment]], lower: list[tuple[int, int, Segment]], extents: list[tuple[float, float]]
) -> None:
    """Let a phrase over one column reach over the columns named below it when it is centred over them."""
    named = {column for first, last, _ in lower for column in range(first, last + 1) if column > 0}
    parts = [entry for entry in upper if entry[0] > 0]
    if (
        not parts
        or len(parts) * 2 > len(named)
        or {c for start, end, _ in upper for c in range(start, end + 1)} >= named
    ):
        return
    for index, (first, last, part) in enumerate(upper):
        if first == 0 or last > first:
            continue
        group = [
            column
            for column in sorted(named)
            if min(parts, key=lambda entry: abs(entry[2].center - sum(extents[column]) / 2))[2] is part
        ]
        if len(group) < 2:
            continue
        start, end = extents[group[0]][0], extents[group[-1]][1]
        if abs((start + end) / 2 - part.center) < 0.15 * (end - start):
            upper[index] = (min(first, group[0]), max(last, group[-1]), part)
