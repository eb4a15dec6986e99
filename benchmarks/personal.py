"""What looking for personal data costs an ingest: the same folder with and without it, in one run.

    python -m benchmarks.personal FOLDER [--repeat 3]

Runs alternate, each in a process of its own on a fresh data directory, and the fastest of each kind counts, for what
disturbs a run only ever adds to it. Processor time (with that of the parsers) stands beside the wall clock: on a busy
machine that is the figure to go by. Needs the default embedder. Progress on stderr, JSON on stdout.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.cluster import processor_seconds

ROOT = Path(__file__).resolve().parent.parent
KINDS = ("with", "without")


def one(kind: str, folder: Path, data_dir: Path) -> dict[str, float]:
    """One ingest in this process."""
    from strongroom.access import LOCAL_USER
    from strongroom.app.appliance import Appliance
    from strongroom.config import load
    from strongroom.types import IngestRequest

    settings = load({"data_dir": data_dir, "detect_personal_data": kind == "with"}).settings
    appliance = Appliance(settings, purpose="benchmark")
    try:
        appliance.embedder.embed_query("warm up")
        before = most = processor_seconds(os.getpid())

        def on_event(_event: object) -> None:
            nonlocal most  # parsers end with the ingest, and nobody is told what they took: looked at while they live
            most = max(most, processor_seconds(os.getpid()))

        wall = time.perf_counter()
        summary = appliance.as_user(LOCAL_USER).ingest(IngestRequest((str(folder),)), on_event=on_event)
        wall, cpu = time.perf_counter() - wall, most - before
        found = sum(n for d in appliance.as_user(LOCAL_USER).documents() for n in (d.personal or {}).values())
    finally:
        appliance.close()
    return {"wall_s": wall, "cpu_s": cpu, "pages": summary.pages, "findings": found}


def main() -> None:
    """Alternate the two kinds and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--one", choices=KINDS, help=argparse.SUPPRESS)
    parser.add_argument("--data-dir", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(one(args.one, args.folder, args.data_dir)))
        return
    runs: dict[str, list[dict[str, float]]] = {kind: [] for kind in KINDS}
    for turn in range(args.repeat):
        for kind in KINDS if turn % 2 == 0 else KINDS[::-1]:
            with tempfile.TemporaryDirectory(prefix="strongroom-bench-") as data_dir:
                command = [sys.executable, "-m", "benchmarks.personal", str(args.folder), "--one", kind]
                command += ["--data-dir", f"{data_dir}/data"]
                out = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
            runs[kind].append(json.loads(out.splitlines()[-1]))
            print(f"{kind}: {runs[kind][-1]}", file=sys.stderr, flush=True)
    best = {kind: {key: min(run[key] for run in runs[kind]) for key in runs[kind][0]} for kind in KINDS}
    report = {
        "cpus": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "repeat": args.repeat,
        **{kind: {key: round(value, 3) for key, value in best[kind].items()} for kind in KINDS},
        "wall_ratio": round(best["with"]["wall_s"] / best["without"]["wall_s"], 3),
        "cpu_ratio": round(best["with"]["cpu_s"] / best["without"]["cpu_s"], 3),
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
