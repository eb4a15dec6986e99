"""Measure the reader: the passages of one question, fast backend beside fp32 torch in the same run; print JSON.

    python benchmarks/reader.py TEXT [--models-dir DIR] [--passages 8] [--tokens 250] [--rounds 15]

TEXT is a file or a folder of .txt files whose words make the passages, each cut to the number of tokens. The backends
take turns and the median round counts. `cpu_s` is processor time of the process, which a busy machine disturbs less.
Agreement is checked on the same passages: the same best quote, and the largest difference in probability.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from strongroom import airgap

airgap.prepare_environment()

QUESTION = "What is the most that a party can be liable for?"


def make_passages(source: Path, tokenizer: Path, count: int, tokens: int) -> list[str]:
    """`count` passages of `tokens` content tokens each, one after the other from the text at `source`."""
    from models.tokenizer import FileTokenizer

    files = sorted(source.rglob("*.txt")) if source.is_dir() else [source]
    text = "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in files[:20])
    offsets = FileTokenizer(tokenizer).offsets(text)
    if len(offsets) < count * tokens:
        raise SystemExit(f"{source} has only {len(offsets)} tokens, {count * tokens} are needed")
    pieces = [offsets[n * tokens : (n + 1) * tokens] for n in range(count)]
    return [text[piece[0][0] : piece[-1][1]] for piece in pieces]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path)
    parser.add_argument("--models-dir", type=Path)
    parser.add_argument("--passages", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=250)
    parser.add_argument("--rounds", type=int, default=15)
    asked = parser.parse_args(arguments)
    from models.cpu import usable_cpus
    from models.defaults import DEFAULT_EMBEDDER, open_reader, tokenizer_path
    from strongroom.config import load

    models_dir = asked.models_dir or load().settings.models_dir
    readers = {
        "fast": open_reader(models_dir, backend="fast"),
        "fp32 torch": open_reader(models_dir, backend="reference"),
    }
    passages = make_passages(asked.text, tokenizer_path(models_dir, DEFAULT_EMBEDDER), asked.passages, asked.tokens)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in readers}
    found = {name: reader.read(QUESTION, passages) for name, reader in readers.items()}  # also warms up
    for _ in range(asked.rounds):
        for name, reader in readers.items():
            wall, cpu = time.perf_counter(), time.process_time()
            reader.read(QUESTION, passages)
            times[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    out: dict[str, object] = {"cpus": usable_cpus(), "passages": asked.passages, "tokens": asked.tokens}
    for name, values in times.items():
        seconds = sorted(value[0] for value in values)
        out[name] = {
            "median_s": round(statistics.median(seconds), 4),
            "best_s": round(seconds[0], 4),
            "cpu_s": round(statistics.median(value[1] for value in values), 4),
        }
    pairs = list(zip(found["fast"], found["fp32 torch"], strict=True))
    out["ratio"] = round(
        statistics.median(v[0] for v in times["fp32 torch"]) / statistics.median(v[0] for v in times["fast"]), 2
    )
    out["same_best_quote"] = sum(
        a.spans[0].start == b.spans[0].start and a.spans[0].end == b.spans[0].end for a, b in pairs
    )
    out["largest_difference"] = round(max(abs(a.answerable - b.answerable) for a, b in pairs), 4)
    print(json.dumps(out, indent=1))


if __name__ == "__main__":
    main()
