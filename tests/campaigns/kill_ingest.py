"""Kill -9 a real ingest at random moments, resume, compare: `python -m tests.campaigns.kill_ingest FOLDER`.

Everything is the product's own: command line, parsers, embedder, index. A life is one data directory: the same ingest
is started and killed until one start gets through; then documents, chunks and vectors are compared with an undisturbed
run, and `strongroom verify` must find nothing. Lives follow one another until enough kills have landed. Prints one JSON
object; exit 0 only when all held.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from strongroom.app.appliance import Appliance
from strongroom.config import load
from tests.ingest_bench import disagreements, snapshot

_MOST_LIVES = 20
_WORKED = (0, 3)  # exit codes of a run that got to its end: all well, or some files failed for their own reasons


@dataclass
class Campaign:
    """Lives and kills of one folder; `problems` stays empty when every promise held."""

    folder: Path
    root: Path
    dice: random.Random
    kills_wanted: int
    kills: list[float] = field(default_factory=list)  # seconds after the start of the process
    starts: int = 0
    lives: int = 0
    problems: list[str] = field(default_factory=list)

    def run(self) -> dict[str, Any]:
        calm = self.root / "undisturbed"
        start = time.monotonic()
        process = self._start(calm)
        if process.wait() not in _WORKED:
            raise SystemExit(f"the undisturbed ingest ended with {process.returncode}")
        seconds = time.monotonic() - start
        with opened(calm) as appliance:
            expected = snapshot(appliance)
        say(f"undisturbed: {seconds:.1f} s, {len(expected)} documents")
        while len(self.kills) < self.kills_wanted and self.lives < _MOST_LIVES:
            self._live(self.root / f"life{self.lives}", expected, seconds)
            self.lives += 1
        if len(self.kills) < self.kills_wanted:
            self.problems.append(f"only {len(self.kills)} of {self.kills_wanted} kills landed in {self.lives} lives")
        return {
            "documents": len(expected),
            "chunks": sum(len(d["texts"]) for d in expected.values()),
            "undisturbed_seconds": round(seconds, 1),
            "kills": len(self.kills),
            "kill_seconds": [round(k, 2) for k in self.kills],
            "lives": self.lives,
            "starts": self.starts,
            "problems": self.problems,
        }

    def _live(self, data: Path, expected: dict[str, Any], seconds: float) -> None:
        """Kill and restart on one data directory until a start gets through, then compare."""
        while True:
            last = len(self.kills) >= self.kills_wanted
            process = self._start(data)
            start = time.monotonic()
            try:
                process.wait(None if last else self.dice.uniform(0.2, seconds))
                break
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                self.kills.append(time.monotonic() - start)
                say(f"kill {len(self.kills)} after {self.kills[-1]:.2f} s")
                self._verify(data, f"after kill {len(self.kills)}")
        if process.returncode not in _WORKED:
            self.problems.append(f"life {self.lives}: the last start ended with {process.returncode}")
        with opened(data) as appliance:
            found = disagreements(snapshot(appliance), expected)
            points, chunks = appliance.raw_index.count(), appliance.catalog.counts()[2]
        self.problems += [f"life {self.lives}: {difference}" for difference in found]
        if points != chunks:
            self.problems.append(f"life {self.lives}: {points} points for {chunks} chunks")
        self._verify(data, f"at the end of life {self.lives}")
        say(f"life {self.lives} is whole: {not found}")

    def _start(self, data: Path) -> subprocess.Popen[bytes]:
        self.starts += 1
        return subprocess.Popen(
            [*STRONGROOM, "ingest", str(self.folder), "--data-dir", str(data), "--json"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def _verify(self, data: Path, when: str) -> None:
        if not (data / "catalog.sqlite").exists():
            return  # killed before there was anything to verify
        done = subprocess.run([*STRONGROOM, "verify", "--data-dir", str(data)], capture_output=True, text=True)
        if done.returncode != 0:
            self.problems.append(
                f"verify {when} ended with {done.returncode}: {done.stdout[-400:]} {done.stderr[-400:]}"
            )


STRONGROOM = [sys.executable, "-m", "strongroom"]


@contextmanager
def opened(data: Path) -> Iterator[Any]:
    """The appliance over a data directory, as `snapshot` wants it: with `catalog` and `index`."""
    appliance = Appliance(load({"data_dir": data}).settings, purpose="kill campaign")
    try:
        yield appliance
    finally:
        appliance.close()


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def campaign(folder: Path, root: Path, *, kills: int, seed: int) -> dict[str, Any]:
    """Run it and return the figures; `problems` lists every promise that did not hold."""
    return {"seed": seed, **Campaign(folder.resolve(), root, random.Random(seed), kills).run()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=20261101)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="strongroom-kills-") as root:
        result = campaign(given.folder, Path(root), kills=given.kills, seed=given.seed)
    print(json.dumps(result, indent=2))
    return 1 if result["problems"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
