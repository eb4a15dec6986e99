"""Does the memory of an ingest stay flat while the corpus grows?

    python -m benchmarks.memory [--pages 500 5000 20000] [--real-embedder]

For each size a folder of ten-page PDFs is made from a fixed seed and ingested by the product's own pipeline (parser
children, catalogue, encrypted originals, embedded index) in a process of its own. All memory of its process tree is
sampled: `anonymous` is what the processes hold for themselves and what a limit counts; `resident` also counts mapped
files (libraries, the index), which the kernel takes back when it needs room. Unless `--real-embedder` is given,
vectors are hashed words instead of the network's output: it makes no difference to what grows, and the network's own
memory does not grow. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.run import machine, note
from strongroom import airgap
from strongroom.ports import Embedder, Tokenizer, Vector, Vectors

_PAGES_A_FILE = 10
_WORDS_A_PAGE = 130  # cut into five passages, as pages of contracts are
_VOCABULARY = 20_000
_EVERY_S = 0.1


def main() -> None:
    """Parse arguments, measure each size, print the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, nargs="+", default=[500, 5_000, 20_000])
    parser.add_argument("--real-embedder", action="store_true")
    parser.add_argument("--one", nargs=2, metavar=("FOLDER", "DATA_DIR"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        ingest(Path(args.one[0]), Path(args.one[1]), real=args.real_embedder)
        return
    figures: dict[str, Any] = {
        "machine": machine(),
        "embedder": "the default one" if args.real_embedder else "hashed words",
        "sizes": [measured(pages, real=args.real_embedder) for pages in args.pages],
    }
    print(json.dumps(figures, indent=1))


def measured(pages: int, *, real: bool) -> dict[str, Any]:
    """Ingest a corpus of `pages` and watch the process tree."""
    with tempfile.TemporaryDirectory(prefix="strongroom-bench-") as root:
        folder, data = Path(root, "corpus"), Path(root, "data")
        note(f"{pages} pages: writing")
        write_corpus(folder, pages)
        note(f"{pages} pages: ingesting")
        command = [sys.executable, "-m", "benchmarks.memory", "--one", str(folder), str(data)]
        started = time.perf_counter()
        child = subprocess.Popen([*command, *(["--real-embedder"] if real else [])], stdout=subprocess.PIPE, text=True)
        watch = Watch(child.pid)
        watch.start()
        out, _ = child.communicate()
        watch.ended.set()
        watch.join()
        if child.returncode:
            raise SystemExit(f"the ingest of {pages} pages exited {child.returncode}")
        summary = json.loads(out.splitlines()[-1])
        index = sum(path.stat().st_size for path in (data / "index").rglob("*") if path.is_file())
        return {
            **summary,
            "wall_s": round(time.perf_counter() - started, 1),
            "peak_anonymous_mb": {name: value >> 20 for name, value in watch.peak_anonymous.items()},
            "peak_resident_mb": {name: value >> 20 for name, value in watch.peak_resident.items()},
            "index_mb": index >> 20,
        }


def write_corpus(folder: Path, pages: int) -> None:
    """Ten-page PDFs of words that follow Zipf's law, the same for the same number of pages."""
    from reportlab.lib.pagesizes import A4
    from reportlab.pdfgen.canvas import Canvas

    rng = random.Random(7)
    words = [hashlib.blake2b(str(n).encode(), digest_size=4).hexdigest() for n in range(_VOCABULARY)]
    weights = [1 / (n + 1) for n in range(_VOCABULARY)]
    folder.mkdir()
    for first in range(0, pages, _PAGES_A_FILE):
        canvas = Canvas(str(folder / f"report-{first:06}.pdf"), pagesize=A4, pageCompression=1)
        for page in range(first, min(first + _PAGES_A_FILE, pages)):
            text = canvas.beginText(60, 780)
            drawn = rng.choices(words, weights, k=_WORDS_A_PAGE)
            text.textLine(f"Report page {page}.")
            for at in range(0, _WORDS_A_PAGE, 9):
                text.textLine(" ".join(drawn[at : at + 9]) + ".")
            canvas.drawText(text)
            canvas.showPage()
        canvas.save()


def ingest(folder: Path, data: Path, *, real: bool) -> None:
    """The run that is watched. Prints its totals."""
    airgap.prepare_environment()
    from strongroom.access import LOCAL_USER
    from strongroom.app.appliance import Appliance
    from strongroom.app.models import InstalledModels
    from strongroom.config import load
    from strongroom.types import IngestRequest

    settings = load({"data_dir": data}).settings
    installed = InstalledModels(settings)
    appliance = Appliance(settings, purpose="benchmark", models=installed if real else _Hashed(installed))
    summary = appliance.as_user(LOCAL_USER).ingest(IngestRequest((str(folder),)), on_event=lambda _event: None)
    appliance.close()
    print(
        json.dumps(
            {"outcomes": summary.outcomes, "pages": summary.pages, "chunks": summary.chunks, "s": summary.seconds}
        )
    )


class _Hashed:
    """The installed models with an embedder that costs nothing: a vector drawn from a text's hash."""

    def __init__(self, installed: Any) -> None:
        self.tokenizer = installed.tokenizer
        self.llm = installed.llm
        self.on_workers = installed.on_workers
        self.speech = installed.speech
        self.reranker = installed.reranker
        self.nli = installed.nli

    def embedder(self) -> Embedder:
        return _HashedEmbedder(self.tokenizer())


class _HashedEmbedder:
    name, dimension, max_tokens, fingerprint = "hashed", 384, 256, "hashed-words"

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        return np.stack([self.embed_query(text) for text in texts]) if texts else np.zeros((0, 384), np.float32)

    def embed_query(self, text: str) -> Vector:
        seed = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
        vector = np.random.default_rng(seed).standard_normal(self.dimension).astype(np.float32)
        return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)


class Watch(threading.Thread):
    """Samples a process and its descendants until `ended` is set."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid = pid
        self.ended = threading.Event()
        self.peak_anonymous = {"owner": 0, "whole_tree": 0}
        self.peak_resident = {"owner": 0, "whole_tree": 0}

    def run(self) -> None:
        while not self.ended.wait(_EVERY_S):
            tree = {pid: memory(pid) for pid in family(self._pid)}
            for at, peak in enumerate((self.peak_anonymous, self.peak_resident)):
                peak["owner"] = max(peak["owner"], tree.get(self._pid, (0, 0))[at])
                peak["whole_tree"] = max(peak["whole_tree"], sum(sizes[at] for sizes in tree.values()))


def family(pid: int) -> list[int]:
    """A process and everything below it."""
    found, waiting = [], [pid]
    while waiting:
        one = waiting.pop()
        found.append(one)
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            try:
                waiting += [int(child) for child in task.read_text().split()]
            except OSError:  # it ended meanwhile
                continue
    return found


def memory(pid: int) -> tuple[int, int]:
    """Anonymous and resident bytes of a process; zeros when it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0, 0
    sizes = {
        name: int(value.split()[0]) << 10 for name, _, value in (line.partition(":") for line in lines) if "kB" in value
    }
    return sizes.get("RssAnon", 0), sizes.get("VmRSS", 0)


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
