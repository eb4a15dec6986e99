"""Write constraints/pyXY.txt: an exact pin for everything the product and its development tools bring along.

    scripts/lock.py                      keep today's pins, add what pyproject.toml newly needs
    scripts/lock.py --upgrade            forget the pins and take the newest that fit
    scripts/lock.py --upgrade-package P  forget the pins of one package
    scripts/lock.py --interpreter 3.12=/opt/python3.12/bin/python3

Each version is resolved by that version's own interpreter and plain pip, so environment markers mean what they say. Use
the oldest patch release that users have (Debian 12 has 3.11.2): some packages ask for a later one.
torch is resolved as the index's default build, so that the CUDA libraries of a machine with a GPU are pinned too; a CPU
build of the same version satisfies the same pin. The files hold names and versions alone: no index, no path.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = ("3.11", "3.12", "3.13")
HEADER = "# Exact pins for CPython {version}, Linux x86-64. Written by scripts/lock.py; do not edit.\n"


def main() -> int:
    """Resolve each version that has an interpreter here; exit 3 when one was left out."""
    args = _arguments()
    interpreters = dict(item.split("=", 1) for item in args.interpreter)
    left_out = []
    for version in args.version or VERSIONS:
        interpreter = interpreters.get(version) or shutil.which(f"python{version}")
        if interpreter is None or not _runs(interpreter, version):
            print(f"{version}: no interpreter here, constraints left as they are", file=sys.stderr)
            left_out.append(version)
            continue
        target = ROOT / "constraints" / f"py{version.replace('.', '')}.txt"
        pins = {} if args.upgrade else read_pins(target)
        for name in args.upgrade_package:
            pins.pop(canonical(name), None)
        resolved = resolve(interpreter, pins)
        lines = [f"{name}=={resolved[name]}\n" for name in sorted(resolved)]
        target.write_text(HEADER.format(version=version) + "".join(lines), encoding="utf-8")
        print(f"{version}: {len(resolved)} pins in {target.relative_to(ROOT)}", file=sys.stderr)
    return 3 if left_out else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="append", choices=VERSIONS, help="only this version (repeatable)")
    parser.add_argument("--upgrade", action="store_true", help="forget all pins")
    parser.add_argument("--upgrade-package", action="append", default=[], metavar="NAME")
    parser.add_argument("--interpreter", action="append", default=[], metavar="X.Y=PATH")
    return parser.parse_args()


def canonical(name: str) -> str:
    """A package's name as the index compares it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_pins(path: Path) -> dict[str, str]:
    """Pins of a constraints file; empty when there is no such file."""
    if not path.exists():
        return {}
    lines = (line.split("#", 1)[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return {canonical(name): version for name, _, version in (line.partition("==") for line in lines if line)}


def requirements() -> list[str]:
    """Everything pyproject.toml asks for, extras included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project.get("optional-dependencies", {})
    return [*project["dependencies"], *(item for extra in sorted(extras) for item in extras[extra])]


def resolve(interpreter: str, pins: dict[str, str]) -> dict[str, str]:
    """Versions that pip would install into an empty environment under `pins`. Raises `CalledProcessError`."""
    with tempfile.TemporaryDirectory(prefix="strongroom-lock-") as folder:
        work = Path(folder)
        subprocess.run([interpreter, "-m", "venv", str(work / "venv")], check=True)
        python = str(work / "venv" / "bin" / "python")
        pip = f"pip=={pins['pip']}" if "pip" in pins else "pip"
        subprocess.run([python, "-m", "pip", "install", "-q", "--upgrade", pip], check=True)
        wanted = [
            re.sub(r"^torch==([\d.]+)$", r"torch===\1", item) for item in requirements()
        ]  # === : no local version
        (work / "wanted.txt").write_text("\n".join(wanted) + "\n", encoding="utf-8")
        kept = "".join(f"{name}=={version}\n" for name, version in pins.items() if name != "torch")
        (work / "kept.txt").write_text(kept, encoding="utf-8")
        command = [python, "-m", "pip", "install", "-q", "--dry-run", "--ignore-installed"]
        command += ["--report", str(work / "report.json"), "-r", str(work / "wanted.txt"), "-c", str(work / "kept.txt")]
        subprocess.run(command, check=True)
        report = json.loads((work / "report.json").read_text(encoding="utf-8"))
        found = {item["metadata"]["name"]: item["metadata"]["version"] for item in report["install"]}
        own = subprocess.run([python, "-m", "pip", "--version"], check=True, capture_output=True, text=True).stdout
    found["pip"] = own.split()[1]
    return {canonical(name): version.split("+", 1)[0] for name, version in found.items()}


def _runs(interpreter: str, version: str) -> bool:
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    done = subprocess.run([interpreter, "-c", code], check=False, capture_output=True, text=True)
    return done.returncode == 0 and done.stdout.strip() == version


if __name__ == "__main__":
    raise SystemExit(main())
