"""Tables against human truth: cells and their neighbours, for the product, pdfplumber and `unstructured` fast.

    python -m benchmarks.tables FOLDER [--python-path build/bench] [--show]

FOLDER holds PDFs and, beside each, the truth of the ICDAR 2013 table competition (`NAME-str.xml`). Prints JSON.

Two figures, each averaged over documents (as the competition did) and pooled over all:

- cells: a cell is right when its text is that of a true cell on the same page and the two boxes touch. Text is compared
  without white space and dot leaders.
- relations: pairs of neighbouring cells with their direction, blank cells skipped (Göbel, Hassan, Oro, Orsi, "A
  methodology for evaluating algorithms for table understanding in PDF documents", 2012; used in ICDAR 2013). Finding
  the table counts too: what is found outside true tables lowers precision.

`unstructured` fast finds no tables: its elements stand for cells, and it has no relations.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
import unicodedata
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import pypdfium2 as pdfium

Box = tuple[float, float, float, float]


class FoundCell(NamedTuple):
    """A cell as a system reports it: page (1-based), table, rows and columns inclusive, text, box from the top left."""

    page: int
    table: int
    row: int
    row_end: int
    column: int
    column_end: int
    text: str
    box: Box


def main() -> None:
    """Parse arguments, run each system over each document, print the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder with PDFs and their -str.xml truth")
    parser.add_argument("--python-path", type=Path, help="folder with the other systems' packages")
    parser.add_argument("--show", action="store_true", help="name what the product got wrong, on stderr")
    args = parser.parse_args()
    if args.python_path:
        sys.path.append(str(args.python_path))
    documents = {
        pdf: truth(pdf, pdf.with_name(f"{pdf.stem}-str.xml"))
        for pdf in sorted(args.folder.glob("*.pdf"))
        if pdf.with_name(f"{pdf.stem}-str.xml").exists()
    }
    if not documents:
        parser.error(f"{args.folder} holds no PDF with a -str.xml beside it")
    figures: dict[str, Any] = {"documents": len(documents), "cells": sum(map(len, documents.values()))}
    for name, system in (("product", product), ("pdfplumber", pdfplumber), ("unstructured_fast", unstructured)):
        try:
            figures[name] = measure(documents, system, show=args.show and name == "product")
        except ImportError as exc:
            print(f"{name}: not installed ({exc.name})", file=sys.stderr)
    print(json.dumps(figures, indent=2))


def measure(
    documents: dict[Path, list[FoundCell]], system: Callable[[Path], list[FoundCell]], *, show: bool
) -> dict[str, Any]:
    """Scores of one system over all documents."""
    cells: list[tuple[int, int, int]] = []
    pairs: list[tuple[int, int, int]] = []
    started, spent = 0.0, 0.0
    for path, true in documents.items():
        started = time.perf_counter()
        found = system(path)
        spent += time.perf_counter() - started
        cells.append((matched(true, found), len(found), len(true)))
        true_pairs, found_pairs = relations(true), relations(found)
        pairs.append(((true_pairs & found_pairs).total(), found_pairs.total(), true_pairs.total()))
        if show:
            print(f"{path.name}: cells {_scores([cells[-1]])} relations {_scores([pairs[-1]])}", file=sys.stderr)
    return {"cells": _scores(cells), "relations": _scores(pairs), "seconds": round(spent, 2)}


def _scores(counts: list[tuple[int, int, int]]) -> dict[str, float]:
    def f1(right: int, found: int, true: int) -> float:
        return 2 * right / (found + true) if found + true else 0.0

    right, found, true = (sum(column) for column in zip(*counts, strict=True))
    return {
        "f1": round(sum(f1(*count) for count in counts) / len(counts), 3),
        "pooled_f1": round(f1(right, found, true), 3),
        "pooled_precision": round(right / found, 3) if found else 0.0,
        "pooled_recall": round(right / true, 3) if true else 0.0,
    }


def matched(true: list[FoundCell], found: list[FoundCell]) -> int:
    """How many true cells have a found cell of the same text in the same place; each found cell serves once."""
    waiting: dict[tuple[int, str], list[FoundCell]] = {}
    for cell in found:
        waiting.setdefault((cell.page, plain(cell.text)), []).append(cell)
    right = 0
    for cell in true:
        for candidate in waiting.get((cell.page, plain(cell.text)), ()):
            if _touch(cell.box, candidate.box):
                waiting[cell.page, plain(cell.text)].remove(candidate)
                right += 1
                break
    return right


def _touch(a: Box, b: Box) -> bool:
    return a[0] <= b[2] + 1 and b[0] <= a[2] + 1 and a[1] <= b[3] + 1 and b[1] <= a[3] + 1


def plain(text: str) -> str:
    return re.sub(r"\s+|[.…]{3,}", "", re.sub(r"(\s*\.){3,}", "", unicodedata.normalize("NFKC", text)))


def relations(cells: list[FoundCell]) -> Counter[tuple[int, str, str, str]]:
    """Every cell with its nearest neighbour to the right in each of its rows, and below in each of its columns."""
    found: set[tuple[int, int, str, int, int]] = set()
    grid: dict[tuple[int, int, int, int], int] = {}
    texts = [plain(cell.text) for cell in cells]
    for index, cell in enumerate(cells):
        if texts[index]:
            for row in range(cell.row, cell.row_end + 1):
                for column in range(cell.column, cell.column_end + 1):
                    grid[cell.page, cell.table, row, column] = index
    lines: dict[tuple[int, int, str, int], list[tuple[int, int]]] = {}
    for (page, table, row, column), index in grid.items():
        lines.setdefault((page, table, "right", row), []).append((column, index))
        lines.setdefault((page, table, "below", column), []).append((row, index))
    for (page, table, direction, _), held in lines.items():
        held.sort()
        for (_, left), (_, right) in pairwise(held):
            if left != right:
                found.add((page, table, direction, left, right))
    return Counter((page, direction, texts[left], texts[right]) for page, _, direction, left, right in found)


def truth(pdf: Path, xml: Path) -> list[FoundCell]:
    """The human truth; its boxes count from the bottom of the page."""
    document = pdfium.PdfDocument(pdf)
    cells = []
    for number, region in enumerate(ElementTree.parse(xml).getroot().iter("region")):
        page = int(region.get("page") or 1)
        height = document[page - 1].get_height()
        for cell in region.iter("cell"):
            place = cell.find("bounding-box")
            assert place is not None
            x1, y1, x2, y2 = (_points(place.get(name)) for name in ("x1", "y1", "x2", "y2"))
            row, column = int(cell.get("start-row") or 0), int(cell.get("start-col") or 0)
            row_end, column_end = int(cell.get("end-row") or row), int(cell.get("end-col") or column)
            text = cell.findtext("content") or ""
            if text.strip():
                box = (x1, height - y2, x2, height - y1)
                cells.append(FoundCell(page, number, row, row_end, column, column_end, text, box))
    return cells


def _points(value: str | None) -> float:
    """A coordinate; one in the truth ends in a letter by mistake."""
    digits = re.match(r"-?[\d.]+", value or "")
    return float(digits.group()) if digits else 0.0


def product(pdf: Path) -> list[FoundCell]:
    """Cells as the product's parser finds them."""
    from ingest.parse.pdf import pdf_tables

    cells = []
    for number, (page, words, table) in enumerate(pdf_tables(pdf)):
        for cell in table.cells:
            boxes = words.boxes[cell.words]
            text = " ".join(words.texts[word] for word in cell.words)
            x0, y0, x1, y1 = boxes[:, 0].min(), boxes[:, 1].min(), boxes[:, 2].max(), boxes[:, 3].max()
            box = (float(x0), float(y0), float(x1), float(y1))
            cells.append(FoundCell(page, number, cell.row, cell.row_end, cell.column, cell.column_end, text, box))
    return cells


def pdfplumber(pdf: Path) -> list[FoundCell]:
    """Cells of `find_tables()` with pdfplumber's default settings; empty ones are dropped."""
    import pdfplumber as library  # type: ignore[import-not-found]

    cells = []
    with library.open(pdf) as document:
        number = 0
        for page in document.pages:
            for table in page.find_tables():
                number += 1
                texts = table.extract()
                for row, (places, held) in enumerate(zip(table.rows, texts, strict=True)):
                    for column, (place, text) in enumerate(zip(places.cells, held, strict=True)):
                        if place is not None and text and text.strip():
                            cells.append(
                                FoundCell(page.page_number, number, row, row, column, column, text, tuple(place))
                            )
    return cells


def unstructured(pdf: Path) -> list[FoundCell]:
    """Elements of the fast strategy, each as a cell of a table of its own."""
    cells = []
    for number, element in enumerate(unstructured_elements(pdf)):
        place = element.metadata.coordinates
        points = place.points if place is not None else ((0.0, 0.0), (1e4, 1e4))
        xs, ys = [float(x) for x, _ in points], [float(y) for _, y in points]
        box = (min(xs), min(ys), max(xs), max(ys))
        cells.append(FoundCell(element.metadata.page_number or 1, number, 0, 0, 0, 0, element.text, box))
    return cells


def unstructured_elements(pdf: Path) -> list[Any]:
    """What `unstructured`'s fast strategy finds, with the product's sentence model where none is installed.

    Without pikepdf it finds nothing and says nothing, so that is asked for first.
    """
    import pikepdf  # type: ignore[import-not-found]  # noqa: F401

    from ingest.parse.office import _prepare

    _prepare()
    from unstructured.partition.pdf import partition_pdf

    elements: list[Any] = partition_pdf(filename=str(pdf), strategy="fast")
    return elements


if __name__ == "__main__":
    main()
