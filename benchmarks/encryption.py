"""What encryption at rest costs: the same ingest and the same searches with it and without, in one run.

    python -m benchmarks.encryption FOLDER [--queries FILE] [--repeat 3]

"Without" is a process in which AES-GCM is replaced by a cipher that copies its input, and the key store by one that
makes and stores no keys for documents; all else is the product. Runs alternate, each in a process of its own on a
fresh data directory; of each kind the fastest ingest and the median search of the fastest run count, for what disturbs
a run only ever adds to it. Processor time (with that of child processes) stands beside the wall clock. A last run, with
encryption, counts the processor time spent inside it: on a busy machine that is the figure to go by.
FILE holds JSON lines with a `question`. Needs the default embedder. Progress on stderr, JSON on stdout.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
KINDS = ("encrypted", "plain")
SEARCHES = 200


class CopyingCipher:
    """The interface of `AESGCM`, without a cipher; as long a result, so that files and rows have the same size."""

    def __init__(self, _key: bytes) -> None:
        pass

    def encrypt(self, _nonce: bytes, data: bytes, _aad: bytes) -> bytes:
        return bytes(data) + bytes(16)

    def decrypt(self, _nonce: bytes, data: bytes, _aad: bytes) -> bytes:
        return bytes(data[:-16])


def without_encryption() -> None:
    """Switch encryption off in this process: the cipher, and the making and looking up of documents' keys."""
    from strongroom.crypto import keys, seal, vault

    made, get, had = keys.KeyStore.create, keys.KeyStore.get, keys.KeyStore.has

    def create(self: Any, key_id: str | None = None) -> str:
        return made(self, key_id) if key_id == vault.CATALOGUE_KEY else key_id or str(uuid.uuid4())

    def constant(self: Any, key_id: str) -> bytes:
        return get(self, key_id) if key_id == vault.CATALOGUE_KEY else bytes(32)

    def has(self: Any, key_id: str) -> bool:
        return had(self, key_id) if key_id == vault.CATALOGUE_KEY else True

    seal.AESGCM = CopyingCipher  # type: ignore[misc,assignment]
    keys.KeyStore.create = create  # type: ignore[method-assign]
    keys.KeyStore.get = constant  # type: ignore[method-assign]
    keys.KeyStore.has = has  # type: ignore[method-assign]


class Inside:
    """Processor seconds of each thread inside the cipher and the making of keys, summed."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._lock = threading.Lock()

    def counted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            started = time.thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                with self._lock:
                    self.seconds += time.thread_time() - started

        return wrapped


def counting(inside: Inside) -> None:
    """Count in this process what encryption takes."""
    from strongroom.crypto import keys, seal

    real = seal.AESGCM

    class Counted:
        def __init__(self, key: bytes) -> None:
            cipher = inside.counted(real)(key)
            self.encrypt, self.decrypt = inside.counted(cipher.encrypt), inside.counted(cipher.decrypt)

    seal.AESGCM = Counted  # type: ignore[misc,assignment]
    keys.KeyStore.create = inside.counted(keys.KeyStore.create)  # type: ignore[method-assign]


def one(kind: str, folder: Path, questions: list[str], data_dir: Path) -> dict[str, float]:
    """One ingest and its searches in this process."""
    from strongroom.access import LOCAL_USER
    from strongroom.app.appliance import Appliance
    from strongroom.config import load
    from strongroom.types import IngestRequest, SearchRequest

    inside = Inside()
    if kind == "plain":
        without_encryption()
    elif kind == "counted":
        counting(inside)
    appliance = Appliance(load({"data_dir": data_dir}).settings, purpose="benchmark")
    try:
        appliance.embedder.embed_query("warm up")
        engine = appliance.as_user(LOCAL_USER)
        wall, cpu, before = time.perf_counter(), cpu_seconds(), inside.seconds
        summary = engine.ingest(IngestRequest((str(folder),)), on_event=lambda _event: None)
        figures = {
            "ingest_s": time.perf_counter() - wall,
            "ingest_cpu_s": cpu_seconds() - cpu,
            "chunks": summary.chunks,
        }
        figures["ingest_inside_s"], before = inside.seconds - before, inside.seconds
        taken = []
        for n in range(SEARCHES + 10):
            started = time.perf_counter()
            engine.search(SearchRequest(questions[n % len(questions)], k=8))
            taken.append(time.perf_counter() - started)
        figures["search_ms"] = statistics.median(taken[10:]) * 1000
        figures["search_inside_ms"] = (inside.seconds - before) / len(taken) * 1000
    finally:
        appliance.close()
    return figures


def cpu_seconds() -> float:
    """Of this process and the children that it has waited for."""
    return sum(
        u.ru_utime + u.ru_stime for u in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def main() -> None:
    """Alternate the two kinds and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--queries", type=Path, help="JSON lines with a question each (default: the samples')")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--one", choices=(*KINDS, "counted"), help=argparse.SUPPRESS)
    parser.add_argument("--data-dir", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    queries = args.queries or ROOT / "samples" / "questions.jsonl"
    questions = [json.loads(line)["question"] for line in queries.read_text().splitlines()][:100]
    if args.one:
        print(json.dumps(one(args.one, args.folder, questions, args.data_dir)))
        return
    runs: dict[str, list[dict[str, float]]] = {kind: [] for kind in (*KINDS, "counted")}
    turns = [KINDS if turn % 2 == 0 else KINDS[::-1] for turn in range(args.repeat)]
    for order in (*turns, ("counted",)):
        for kind in order:
            with tempfile.TemporaryDirectory(prefix="strongroom-bench-") as data_dir:
                command = [sys.executable, "-m", "benchmarks.encryption", str(args.folder), "--one", kind]
                command += ["--queries", str(queries), "--data-dir", f"{data_dir}/data"]
                out = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
            runs[kind].append(json.loads(out.splitlines()[-1]))
            print(f"{kind}: {runs[kind][-1]}", file=sys.stderr, flush=True)
    best = {kind: {key: min(run[key] for run in runs[kind]) for key in runs[kind][0]} for kind in KINDS}
    counted = runs["counted"][0]
    with_it, without = best["encrypted"], best["plain"]
    report = {
        "cpus": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "repeat": args.repeat,
        **{kind: {key: round(value, 3) for key, value in best[kind].items()} for kind in KINDS},
        "ingest_slower_percent": round((with_it["ingest_s"] / without["ingest_s"] - 1) * 100, 1),
        "ingest_cpu_more_percent": round((with_it["ingest_cpu_s"] / without["ingest_cpu_s"] - 1) * 100, 1),
        "search_longer_ms": round(with_it["search_ms"] - without["search_ms"], 3),
        "ingest_inside_percent_of_cpu": round(counted["ingest_inside_s"] / counted["ingest_cpu_s"] * 100, 2),
        "search_inside_ms": round(counted["search_inside_ms"], 3),
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
