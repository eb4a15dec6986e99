"""Ingest folders of hostile files through the real command, and account for every one of them.

Each file must end as indexed with text (or with documents inside it), or with a reason; the run must end in time, keep
within its memory, leave the spool empty, and leave a data directory that `strongroom verify` finds sound.

    python -m tests.campaigns.hostile FOLDER... [--limit-mb 3072] [--minutes 30] [--report FILE]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
_SAMPLE_S = 0.2


class Memory(threading.Thread):
    """Highest memory of a process and everything below it, in bytes. Shared pages count once (PSS)."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid = pid
        self._ended = threading.Event()
        self.peak = 0

    def run(self) -> None:
        while not self._ended.wait(_SAMPLE_S):
            self.peak = max(self.peak, tree_memory(self._pid))

    def stop(self) -> int:
        self._ended.set()
        self.join()
        return self.peak


def tree_memory(pid: int) -> int:
    """Memory of a process and everything below it now, in bytes, shared pages once (PSS)."""
    return sum(_pss(each) for each in _tree(pid))


def _tree(pid: int) -> list[int]:
    found, below = [], [pid]
    while below:
        each = below.pop()
        found.append(each)
        for children in Path(f"/proc/{each}/task").glob("*/children"):
            with suppress(OSError):
                below += map(int, children.read_text().split())
    return found


def _pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))


def problems(files: list[Path], outcomes: list[dict[str, Any]]) -> list[str]:
    """What is not accounted for."""
    by_path: dict[str, list[dict[str, Any]]] = {}
    for outcome in outcomes:
        by_path.setdefault(outcome["path"], []).append(outcome)
    inside = {path.split("!/")[0] for path in by_path if "!/" in path}
    found = [f"no outcome: {file}" for file in files if str(file) not in by_path]
    for path, ends in by_path.items():
        if len(ends) > 1:
            found.append(f"{len(ends)} outcomes: {path}")
        for end in ends:
            if end["outcome"] != "indexed" and not end["reason"]:
                found.append(f"{end['outcome']} without a reason: {path}")
            if end["outcome"] == "indexed" and not end["chunks"] and path.split("!/")[0] not in inside:
                found.append(f"indexed and empty: {path}")
            if "defect in Strongroom" in (end["reason"] or ""):
                found.append(f"a defect: {path}: {end['reason']}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--limit-mb", type=int, default=3072, help="most memory of the whole process tree")
    parser.add_argument("--minutes", type=float, default=30.0, help="longest time for the whole run")
    parser.add_argument("--report", type=Path, help="keep the run's own report here, one JSON object a line")
    parser.add_argument("--password-file", type=Path, help="passwords to hand to the run")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    folders = [folder.absolute() for folder in options.folders]
    files = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    with tempfile.TemporaryDirectory(prefix="hostile-") as scratch:
        data = Path(scratch, "data")
        command = [sys.executable, "-m", "strongroom", "ingest", *map(str, folders), "--json", "--data-dir", str(data)]
        command += ["--workers", str(options.workers)]
        if options.password_file:
            command += ["--password-file", str(options.password_file)]
        begun = time.monotonic()
        report, errors = options.report or Path(scratch, "report.jsonl"), Path(scratch, "errors")
        with report.open("wb") as out, errors.open("wb") as err:
            run = subprocess.Popen(command, stdout=out, stderr=err, cwd=ROOT)
            memory = Memory(run.pid)
            memory.start()
            try:
                run.wait(timeout=options.minutes * 60)
            except subprocess.TimeoutExpired:
                run.kill()
                print(f"the run did not end within {options.minutes} minutes", file=sys.stderr)
                return 1
            peak = memory.stop()
        seconds = time.monotonic() - begun
        lines = [json.loads(line) for line in report.read_text(encoding="utf-8").splitlines()]
        outcomes = [line for line in lines if "path" in line]
        found = problems(files, outcomes)
        if run.returncode not in (0, 3):
            found.append(f"the run ended with exit code {run.returncode}: {errors.read_text(errors='replace')[-2000:]}")
        spool = data / "spool"
        if spool.exists() and list(spool.iterdir()):
            found.append(f"left in the spool: {len(list(spool.iterdir()))}")
        checked = [sys.executable, "-m", "strongroom", "verify", "--data-dir", str(data)]
        verify = subprocess.run(checked, capture_output=True, text=True, cwd=ROOT, check=False)
        if verify.returncode != 0:
            found.append(f"verify: {verify.stdout[-1000:]} {verify.stderr[-1000:]}")
    if peak > options.limit_mb << 20:
        found.append(f"peak memory {peak >> 20} MiB is over {options.limit_mb} MiB")
    for kind, count in Counter(outcome["outcome"] for outcome in outcomes).most_common():
        print(f"{count:6} {kind}")
    for reason, count in Counter(outcome["reason"] for outcome in outcomes if outcome["reason"]).most_common():
        print(f"{count:6} {reason}")
    print(f"{len(files)} files, {len(outcomes)} documents, {seconds:.0f} s, peak {peak >> 20} MiB")
    for problem in found:
        print(f"PROBLEM {problem}")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
