"""Pages a second of the product's PDF parser, of `unstructured` fast, and of the quick start's reader, in one run.

    python -m benchmarks.parsing FOLDER [--python-path build/bench] [--files N]

FOLDER holds PDFs. Every parser reads the same files in this one process, OCR off; the product's part includes word
boxes, tables and reading order. Ratios of CPU time are of one process each; a busy machine disturbs them less than the
clock. Ratios of the clock are of the product's two parser processes, as ingestion uses two cores, beside the others'
one. Progress goes to stderr, the JSON to stdout.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pypdfium2 as pdfium

from benchmarks.run import machine, note


def main() -> None:
    """Parse arguments, time each parser, print the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder with PDFs")
    parser.add_argument("--python-path", type=Path, help="folder with the other parsers' packages")
    parser.add_argument("--files", type=int, help="take only the first N files")
    args = parser.parse_args()
    if args.python_path:
        sys.path.append(str(args.python_path))
    files = sorted(p for p in args.folder.glob("**/*") if p.suffix.lower() == ".pdf")[: args.files]
    if not files:
        parser.error(f"{args.folder} holds no PDF")
    pages = sum(len(pdfium.PdfDocument(path)) for path in files)
    figures: dict[str, Any] = {"machine": machine(), "files": len(files), "pages": pages}
    for name, read in (("product", product), ("unstructured_fast", unstructured), ("quickstart_reader", quickstart)):
        note(name)
        try:
            figures[name] = measure(read, files, pages)
        except ImportError as exc:
            note(f"{name}: not installed ({exc.name})")
    note("product, two processes")
    figures["product_two_processes"] = in_processes(files, pages)
    for key, ours, unit in (
        ("ratios_of_cpu_time", "product", "pages_per_cpu_s"),
        ("ratios_of_the_clock", "product_two_processes", "pages_per_s"),
    ):
        figures[key] = {
            name: round(figures[ours][unit] / figures[name][unit], 1)
            for name in ("unstructured_fast", "quickstart_reader")
            if name in figures
        }
    print(json.dumps(figures, indent=2))


def measure(read: Callable[[Path], int], files: list[Path], pages: int) -> dict[str, Any]:
    """Time one parser; the first file is read once before, so that imports and caches are not counted."""
    read(files[0])
    started, cpu = time.perf_counter(), time.process_time()
    characters = sum(read(path) for path in files)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    return {
        "seconds": round(seconds, 2),
        "cpu_seconds": round(cpu, 2),
        "pages_per_s": round(pages / seconds, 1),
        "pages_per_cpu_s": round(pages / cpu, 1),
        "characters": characters,
    }


def in_processes(files: list[Path], pages: int) -> dict[str, Any]:
    """The product's parser in two processes, started and warm before the clock is."""
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        list(pool.map(product, [files[0]] * 8))
        largest_first = sorted(files, key=lambda path: -path.stat().st_size)
        started = time.perf_counter()
        characters = sum(pool.map(product, largest_first))
        seconds = time.perf_counter() - started
    return {"seconds": round(seconds, 2), "pages_per_s": round(pages / seconds, 1), "characters": characters}


def product(path: Path) -> int:
    from ingest.parse.pdf import parse_pdf

    return len(parse_pdf(path, ocr="never").text)


def unstructured(path: Path) -> int:
    from benchmarks.tables import unstructured_elements

    return sum(len(element.text) for element in unstructured_elements(path))


def quickstart(path: Path) -> int:
    from llama_index.core import SimpleDirectoryReader

    return sum(len(page.text) for page in SimpleDirectoryReader(input_files=[str(path)]).load_data())


if __name__ == "__main__":
    main()
