"""Tables on a page: which words form a cell, in which row and column, and which rows are the head.

Drawn grids are read from their lines (as Tabula's and Camelot's lattice modes do), the rest from white space that runs
down through the lines of print (after Nurminen, "Algorithmic extraction of data in tables in PDF documents", 2013).
Geometry and the kind of content (numbers or words) only: no vocabulary, no model.
"""

from __future__ import annotations

from ingest.parse.build import Words
from ingest.parse.rows import visual_rows
from ingest.parse.rulings import Rulings, frames
from ingest.parse.tables.cells import Cell, Table, TablePage
from ingest.parse.tables.drawn import drawn
from ingest.parse.tables.undrawn import blocks, undrawn

__all__ = ["Cell", "Table", "find_tables"]


def find_tables(words: Words, rulings: Rulings) -> list[Table]:
    """The tables of a page from top to bottom. Worth its time only where `wide_gaps` finds two or more."""
    page = TablePage(words, rulings)
    tables = [table for frame in frames(page.rulings) if (table := drawn(page, *frame)) is not None]
    tables = _outermost(tables)
    taken = set().union(*(table.words() for table in tables)) if tables else set()
    rest = [row for row in visual_rows(words.boxes) if not taken.intersection(row.words)]
    for block in blocks(page, rest):
        tables += undrawn(page, block)
    return sorted(tables, key=lambda table: table.box[1])


def _outermost(tables: list[Table]) -> list[Table]:
    """Without tables that share words with a larger one."""
    kept: list[Table] = []
    for table in sorted(tables, key=lambda item: -len(item.cells)):
        if not any(table.words() & other.words() for other in kept):
            kept.append(table)
    return kept
