"""Tables without a drawn grid: blocks of lines that white space cuts into columns."""

from __future__ import annotations

import re
from bisect import bisect_right
from statistics import median

import numpy as np

from ingest.parse.rows import CELL_GAP, WORD_GAP, Row, Segment
from ingest.parse.rulings import clusters
from ingest.parse.tables.body import body_rows, is_prose
from ingest.parse.tables.cells import MOST_COLUMNS, SIGN, Cell, Table, TablePage, finished
from ingest.parse.tables.head import centered, head_cells, head_lines

_SENTENCE_LINES = 4
_NAMES = 3  # columns that a line must name to be told again as a head
_TAIL = re.compile(r"(%|\)|\(\d\)|[*†‡§]+)$")
_TITLE = re.compile(r"(table|exhibit|schedule|figure|appendix|annex|chart)\s+[A-Z]?[-.]?\d", re.I)


def blocks(page: TablePage, rows: list[Row]) -> list[list[Row]]:
    """Runs of lines of print of which most are broken by wide gaps."""
    parts = [page.segments(row, CELL_GAP) for row in rows]
    blocks: list[list[Row]] = []
    i = 0
    while i < len(rows):
        if len(parts[i]) < 2:
            i += 1
            continue
        last, single = i, 0
        for k in range(i + 1, len(rows)):
            if rows[k].y0 - rows[k - 1].y1 > 2.5 * max(rows[k].em, rows[k - 1].em):
                break
            if len(parts[k]) > 1:
                last, single = k, 0
                continue
            single += 1
            prose = len(rows[k].words) > 9 and rows[k].x1 > _second(parts[i:k]) + 2 * rows[k].em
            if single > 3 or prose:
                break
        if last == i:
            i += 1
            continue
        first = _with_head(rows, parts, i, last)
        blocks.append(rows[first : last + 1])
        i = last + 1
    return blocks


def _second(parts: list[list[Segment]]) -> float:
    """Where the second column begins, as most lines of print have it."""
    return median(part[1].x0 for part in parts if len(part) > 1)


def _with_head(rows: list[Row], parts: list[list[Segment]], first: int, last: int) -> int:
    """Where a block begins when lines above it that stand over its columns, and not over its first, belong to it."""
    left = min(row.x0 for row in rows[first : last + 1])
    right = max(row.x1 for row in rows[first : last + 1])
    border = sorted(part[1].x0 for part in parts[first : last + 1] if len(part) > 1)[(last - first) // 8]
    while first > 0:
        above, below = rows[first - 1], rows[first]
        close = below.y0 - above.y1 < 0.8 * max(above.em, below.em)
        over = above.x0 > border - 2 * above.em and len(above.words) <= 8 and not centered(above, left, right)
        if not (close and over and len(parts[first - 1]) == 1):
            break
        first -= 1
    return first


def undrawn(page: TablePage, block: list[Row]) -> list[Table]:
    """The tables of a block: one as a rule, two where the head comes again with other dates over it."""
    block = _trimmed(page, block)
    again = _second_head(page, block)
    if again is not None:
        return undrawn(page, block[:again]) + undrawn(page, block[again:])
    table = _one(page, block)
    return [table] if table is not None else []


def _second_head(page: TablePage, block: list[Row]) -> int | None:
    """Where the head of a second table begins: above a line of column names that has come before."""
    named: dict[str, int] = {}
    for at, row in enumerate(block):
        parts = page.segments(row, CELL_GAP)
        if len(parts) < _NAMES or any(page.numeric(part.words) for part in parts):
            continue
        names = page.text(row.words)
        begin = at
        while begin - 1 > named.get(names, at) and not _figures(page, block[begin - 1]):
            begin -= 1
        if begin - 1 > named.get(names, at):  # numbers stand between the two
            return begin
        named.setdefault(names, at)
    return None


def _one(page: TablePage, block: list[Row]) -> Table | None:
    broken = [row for row in block if len(page.segments(row, CELL_GAP)) > 1]
    if len(broken) < 2:
        return None
    borders = _borders(page, block)
    if not 1 <= len(borders) < MOST_COLUMNS:
        return None
    if len(broken) < (3 if len(borders) == 1 else 2):
        return None
    lines = full_lines(page, block)
    if not lines and _is_justified(page, block):
        return None
    head = head_lines(page, block, borders, lines)
    body = block[head:]
    if not body:
        return None
    extents = extents_of(page, body, borders)
    cells, levels = head_cells(page, block[:head], borders, extents)
    rows = body_rows(page, body, borders)
    if not rows or is_prose(page, rows, len(borders) + 1, extents):
        return None
    for number, by_column in enumerate(rows, start=levels):
        cells += [Cell(number, start, number, end, held) for (start, end), held in sorted(by_column.items())]
    box = (
        min(row.x0 for row in block),
        block[0].y0,
        max(row.x1 for row in block),
        block[-1].y1,
    )
    return finished(page, cells, box, head=levels)


def _is_justified(page: TablePage, block: list[Row]) -> bool:
    """True for a few lines of a sentence that were stretched to the margin: no numbers, and cells that go on in lower
    case."""
    if len(block) >= _SENTENCE_LINES:
        return False
    later = [part.words for row in block for part in page.segments(row, CELL_GAP)[1:]]
    going_on = sum(page.texts[words[0]][:1].islower() for words in later)
    return 2 * going_on > len(later) and not any(page.numeric(words) for words in later)


def _trimmed(page: TablePage, block: list[Row]) -> list[Row]:
    """A block without its title above and the notes below: what a ruled table has outside its outer rules."""
    start, stop = 0, len(block)
    lines = full_lines(page, block)
    for index, row in enumerate(block[:4]):
        if _TITLE.match(page.text(row.words)):
            start = index + 1
            below = [at for at in lines if at > row.middle]
            if below and sum(other.middle < below[0] for other in block) <= start + 4:
                start = sum(other.middle < below[0] for other in block)
            break
    if lines:
        foot = sum(row.middle < lines[-1] for row in block)
        if foot > start + 2 and not any(_figures(page, row) for row in block[foot:]):
            stop = foot
    while stop > start and len(block[stop - 1].words) > 9 and not _figures(page, block[stop - 1]):
        if len(page.segments(block[stop - 1], CELL_GAP)) > 2:
            break
        stop -= 1
    return block[start:stop]


def _figures(page: TablePage, row: Row) -> bool:
    """True for a line of print that ends in columns of numbers."""
    parts = page.segments(row, CELL_GAP)
    return len(parts) > 1 and page.numeric(parts[-1].words)


def _borders(page: TablePage, block: list[Row]) -> list[float]:
    """Positions of white space that runs down through (nearly) all lines of print with the usual number of cells."""
    parts = [page.segments(row, WORD_GAP) for row in block]
    most = sorted(len(part) for part in parts)[int(0.8 * (len(parts) - 1))]
    usual = [i for i, part in enumerate(parts) if len(part) >= max(2, 0.6 * most)]
    left, right = min(row.x0 for row in block), max(row.x1 for row in block)
    ink = np.zeros(int(2 * (right - left)) + 3, dtype=np.int32)
    for i in usual:
        for part in parts[i]:
            ink[int(2 * (part.x0 - left)) : int(2 * (part.x1 - left)) + 1] += 1
    em = median(row.em for row in block)
    allowed = len(usual) // 9
    least = (0.3 if len(usual) > 5 else 0.6) * em
    free = np.concatenate(([False], ink <= allowed, [False]))
    edges = np.flatnonzero(free[1:] != free[:-1])
    borders = []
    for start, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if start > 0 and end < len(ink) - 1 and (end - start) / 2 >= least:
            borders.append(left + (start + end) / 4)
    return _without_sparse(page, [block[i] for i in usual], borders)


def _without_sparse(page: TablePage, rows: list[Row], borders: list[float]) -> list[float]:
    """Borders between columns that hold something in enough rows; currency signs and footnote marks are no columns."""
    columns: list[list[str]] = [[] for _ in range(len(borders) + 1)]
    for row in rows:
        held: dict[int, list[int]] = {}
        for word in row.words:
            x = page.centers[word]
            held.setdefault(bisect_right(borders, x), []).append(word)
        for column, words in held.items():
            columns[column].append(page.text(words))
    keep = list(borders)
    for column, texts in enumerate(columns):
        if not texts:
            continue
        if column < len(borders) and all(SIGN.match(text) for text in texts):
            _discard(keep, borders[column])
        elif (column > 0 and all(_TAIL.match(text) for text in texts)) or (
            column > 0 and len(texts) < 2 and len(rows) > 4
        ):
            _discard(keep, borders[column - 1])
    return keep


def _discard(values: list[float], value: float) -> None:
    if value in values:
        values.remove(value)


def full_lines(page: TablePage, block: list[Row]) -> list[float]:
    left, right = min(row.x0 for row in block), max(row.x1 for row in block)
    top, bottom = block[0].y0 - 4, block[-1].y1 + 4
    out = []
    by_height = clusters([line.at for line in page.rulings.horizontal], 3.0)
    for group in by_height:
        lines = [page.rulings.horizontal[i] for i in group]
        covered = sum(max(0.0, min(line.end, right) - max(line.start, left)) for line in lines)
        if top < lines[0].at < bottom and covered > 0.85 * (right - left):
            out.append(lines[0].at)
    return out


def extents_of(page: TablePage, body: list[Row], borders: list[float]) -> list[tuple[float, float]]:
    """From where to where each column's words reach in the body."""
    spans: list[list[tuple[float, float]]] = [[] for _ in range(len(borders) + 1)]
    for row in body:
        for part in page.segments(row, WORD_GAP):
            first, last = bisect_right(borders, part.x0), bisect_right(borders, part.x1)
            if first == last:
                spans[first].append((part.x0, part.x1))
    edges = [body[0].x0, *borders, max(row.x1 for row in body)]
    out = []
    for column, found in enumerate(spans):
        if found:
            out.append((min(x0 for x0, _ in found), max(x1 for _, x1 in found)))
        else:
            out.append((edges[column], edges[column + 1]))
    return out
