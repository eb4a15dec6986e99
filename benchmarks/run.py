"""Run product and quick start over the same folder and print one JSON of figures and ratios.

    python -m benchmarks.run DATA [--baseline quickstart.py] [--repeat 1]

DATA holds `cuad/pdf` and `cuad/queries.jsonl`. The product runs as a user runs it: the `strongroom` command, in a
fresh data directory, with the default configuration. The baseline runs in a process of its own with the same embedder
weights. Progress goes to stderr, the JSON to stdout.
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
import time
from pathlib import Path
from typing import Any

DEPTHS = (1, 3, 5, 8)
ROOT = Path(__file__).resolve().parent.parent
# The four categories whose answer stands on the cover page: saying "page 1" finds them without reading anything.
COVER = ("Document Name", "Parties", "Agreement Date", "Effective Date")


def main() -> None:
    """Parse arguments, run every part, print the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder that holds cuad/pdf and cuad/queries.jsonl")
    parser.add_argument("--baseline", type=Path, help="the quick start script to run beside the product")
    parser.add_argument("--python-path", type=Path, help="folder with the baseline's own packages")
    args = parser.parse_args()
    pdfs, queries = args.data / "cuad" / "pdf", args.data / "cuad" / "queries.jsonl"
    figures: dict[str, Any] = {"machine": machine(), "product": product(pdfs, queries)}
    note("embedder beside fp32 sentence-transformers")
    figures["embedder"] = json.loads(script("benchmarks.embedder", str(pdfs)))
    if args.baseline:
        note("quick start")
        figures["quickstart"] = quickstart(args.baseline, pdfs, queries, args.python_path)
        figures["ratios"] = ratios(figures["product"], figures["quickstart"])
    print(json.dumps(figures, indent=2))


def product(pdfs: Path, queries: Path) -> dict[str, Any]:
    """Ingest, ingest again, search every query, all through the command line."""
    with tempfile.TemporaryDirectory(prefix="strongroom-bench-") as folder:
        env = {**os.environ, "STRONGROOM_DATA_DIR": f"{folder}/data"}
        note("help")
        helps = [timed(["--help"], env)[0] for _ in range(5)]
        note("ingest")
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        wall, out = timed(["ingest", str(pdfs), "--json"], env, codes=(0, 3))
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        summary = json.loads(out.splitlines()[-1])["summary"]
        note("ingest again, unchanged")
        again, out_again = timed(["ingest", str(pdfs), "--json"], env, codes=(0, 3))
        note("search")
        searching, results = timed(["search", "--batch", str(queries), "-k", "8"], env)
        verified = subprocess.run([command(), "verify"], env=env, capture_output=True, check=False).returncode
    asked = [json.loads(line) for line in queries.read_text(encoding="utf-8").splitlines() if line.strip()]
    found = [json.loads(line) for line in results.splitlines()]
    latencies = sorted(r["timings_ms"]["total"] for r in found[10:])  # the first few warm the caches
    return {
        "help_s": round(statistics.median(helps), 3),
        "files": summary["files"],
        "outcomes": summary["outcomes"],
        "pages": summary["pages"],
        "chunks": summary["chunks"],
        "ingest_s": round(summary["seconds"], 2),
        "ingest_command_s": round(wall, 2),
        "ingest_command_cpu_s": round(used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime, 2),
        "second_ingest_command_s": round(again, 2),
        "second_outcomes": json.loads(out_again.splitlines()[-1])["summary"]["outcomes"],
        "search_command_s": round(searching, 2),
        "query_p50_ms": round(latencies[len(latencies) // 2], 2),
        "query_p99_ms": round(latencies[int(len(latencies) * 0.99)], 2),
        "page_hit": page_hits(asked, found),
        "page_hit_without_cover": page_hits(asked, found, skip=COVER),
        "verify_exit": verified,
        "children_peak_rss_mb": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024),
    }


def page_hits(asked: list[dict[str, Any]], found: list[dict[str, Any]], skip: tuple[str, ...] = ()) -> dict[str, float]:
    """Share of questions with a gold page of the right document among the first hits, by depth."""
    kept = [
        (a, f) for a, f in zip(asked, found, strict=True) if not any(a["question"].endswith(f"the {s}?") for s in skip)
    ]
    hits = dict.fromkeys(DEPTHS, 0)
    for question, result in kept:
        right = [
            hit["document"]["name"] == question["document"] and bool(set(hit["pages"]) & set(question["pages"]))
            for hit in result["hits"]
        ]
        for depth in DEPTHS:
            hits[depth] += any(right[:depth])
    return {"questions": len(kept), **{str(d): round(n / len(kept), 4) for d, n in hits.items()}}


def quickstart(baseline: Path, pdfs: Path, queries: Path, packages: Path | None) -> dict[str, Any]:
    """The baseline's own figures, by its own script, with the same weights."""
    from models.registry import Registry
    from strongroom.config import load

    settings = load().settings
    weights = Registry(settings.models_dir).path(settings.embedder)
    env = {**os.environ, "HF_HUB_OFFLINE": "1"}
    if packages:
        env["PYTHONPATH"] = str(packages)
    done = subprocess.run(
        [sys.executable, str(baseline), str(pdfs), str(queries), str(weights)],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"the baseline failed:\n{done.stderr[-2000:]}")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def ratios(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, float]:
    """How many times faster, and the difference in hits."""
    return {
        "ingest_speedup": round(theirs["ingest_s"] / ours["ingest_s"], 2),
        "ingest_speedup_with_start_up": round(theirs["ingest_s"] / ours["ingest_command_s"], 2),
        "query_speedup": round(theirs["query_p50_ms"] / ours["query_p50_ms"], 2),
        "page_hit_1_gain": round(ours["page_hit"]["1"] - theirs["page_hit"]["1"], 4),
        "page_hit_5_gain": round(ours["page_hit"]["5"] - theirs["page_hit"]["5"], 4),
    }


def timed(arguments: list[str], env: dict[str, str], codes: tuple[int, ...] = (0,)) -> tuple[float, str]:
    """Wall seconds and stdout of one `strongroom` command."""
    started = time.perf_counter()
    done = subprocess.run([command(), *arguments], env=env, capture_output=True, text=True, check=False)
    elapsed = time.perf_counter() - started
    if done.returncode not in codes:
        raise SystemExit(f"strongroom {arguments[0]} exited {done.returncode}:\n{done.stderr[-2000:]}")
    return elapsed, done.stdout


def script(module: str, *arguments: str) -> str:
    """Stdout of another benchmark, run by itself."""
    done = subprocess.run([sys.executable, "-m", module, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{module} failed:\n{done.stderr[-2000:]}")
    return done.stdout


def command() -> str:
    """The `strongroom` beside this interpreter."""
    return str(Path(sys.executable).with_name("strongroom"))


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        "unknown",
    )
    return {"cpu": model, "cores": len(os.sched_getaffinity(0)), "python": sys.version.split()[0]}


def note(step: str) -> None:
    """Progress for people."""
    print(f"bench: {step}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
