"""Everything `make check` asks of the source: form, lint, types, import rules, licences, generated pages, changelog.

All checks run, also after a failure, and a table says at the end which held. Exits 1 when one did not.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
CHECKS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("format", (str(BIN / "ruff"), "format", "--check", "--quiet", ".")),
    ("lint", (str(BIN / "ruff"), "check", "--quiet", ".")),
    ("types", (str(BIN / "mypy"),)),
    ("imports", (str(BIN / "lint-imports"), "--no-cache")),
    ("licences", (sys.executable, "scripts/licences.py", "--quiet")),
    ("generated pages", (sys.executable, "docs/generate.py", "--check")),
    ("changelog", (sys.executable, "scripts/changelog.py", "lint")),
)


def main() -> int:
    """Run every check; the output of those that hold is kept quiet."""
    held: list[tuple[str, bool, float]] = []
    for name, command in CHECKS:
        started = time.monotonic()
        done = subprocess.run(
            command, cwd=ROOT, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        elapsed = time.monotonic() - started
        ok = done.returncode == 0
        held.append((name, ok, elapsed))
        if not ok:
            print(f"--- {name}: {' '.join(command)}\n{done.stdout.decode(errors='replace').rstrip()}\n", flush=True)
    for name, ok, elapsed in held:
        print(f"check: {name:16} {'ok' if ok else 'FAILED':6} {elapsed:5.1f} s")
    return 0 if all(ok for _, ok, _ in held) else 1


if __name__ == "__main__":
    raise SystemExit(main())
