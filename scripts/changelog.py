"""Changelog by fragments: one small file a user-visible change, gathered into CHANGELOG.md at a release.

    scripts/changelog.py lint               every fragment is well formed (part of `make check`)
    scripts/changelog.py preview            what the next release would say
    scripts/changelog.py release 1.2.0      write it into CHANGELOG.md and delete the fragments

A fragment is docs/changelog/<slug>.md: one or two sentences in the user's words, no heading, no list. Fragments do not
touch each other, so two branches never conflict in the changelog.
"""

from __future__ import annotations

import argparse
import datetime
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FRAGMENTS = ROOT / "docs" / "changelog"
CHANGELOG = ROOT / "CHANGELOG.md"
MARK = "<!-- releases -->\n"
LONGEST = 500
SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
VERSION = re.compile(r"\d+\.\d+\.\d+")


def main() -> int:
    """Run one of the three commands; 1 when a fragment is malformed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("lint", "preview", "release"))
    parser.add_argument("version", nargs="?")
    args = parser.parse_args()
    fragments = read_fragments(FRAGMENTS)
    problems = [problem for name, text in fragments.items() for problem in lint(name, text)]
    if problems:
        print("\n".join(problems), file=sys.stderr)
        return 1
    if args.command == "lint":
        print(f"{len(fragments)} changelog fragments are well formed", file=sys.stderr)
    elif args.command == "preview":
        print(section("Unreleased", "", fragments), end="")
    else:
        return _release(args.version, fragments)
    return 0


def _release(version: str | None, fragments: dict[str, str]) -> int:
    if version is None or not VERSION.fullmatch(version):
        print(f"release: {version!r} is not a version such as 1.2.0", file=sys.stderr)
        return 2
    if not fragments:
        print("release: there is no fragment to release", file=sys.stderr)
        return 1
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    text = CHANGELOG.read_text(encoding="utf-8")
    CHANGELOG.write_text(insert(text, section(version, today, fragments)), encoding="utf-8")
    for name in fragments:
        (FRAGMENTS / name).unlink()
    print(f"{len(fragments)} fragments moved into CHANGELOG.md as {version}", file=sys.stderr)
    return 0


def read_fragments(folder: Path) -> dict[str, str]:
    """Names and texts of the fragments, in order; of files that are not Markdown too, so that lint names them."""
    files = sorted(path for path in folder.glob("*") if path.is_file() and not path.name.startswith("."))
    return {path.name: path.read_text(encoding="utf-8") for path in files}


def lint(name: str, text: str) -> list[str]:
    """What is wrong with one fragment."""
    where = f"docs/changelog/{name}"
    problems = []
    if not name.endswith(".md") or not SLUG.fullmatch(name.removesuffix(".md")):
        problems.append(f"{where}: name it like-this.md")
    body = text.strip()
    if not body:
        problems.append(f"{where}: it is empty")
        return problems
    if len(body) > LONGEST:
        problems.append(f"{where}: {len(body)} characters, at most {LONGEST}: one or two sentences")
    if body.startswith(("#", "-", "*")) or "\n\n" in body:
        problems.append(f"{where}: one paragraph, no heading and no list")
    if body[-1] not in ".!":
        problems.append(f"{where}: end it like a sentence")
    return problems


def section(version: str, date: str, fragments: dict[str, str]) -> str:
    """One release as Markdown, a bullet a fragment."""
    title = f"## {version}" + (f" ({date})" if date else "")
    bullets = "".join(f"- {' '.join(text.split())}\n" for text in fragments.values())
    return f"{title}\n\n{bullets}\n"


def insert(changelog: str, release: str) -> str:
    """Put a release under the mark, above older ones. Raises `ValueError` when the mark is gone."""
    head, mark, tail = changelog.partition(MARK)
    if not mark:
        raise ValueError(f"CHANGELOG.md has no line {MARK.strip()!r}")
    return f"{head}{mark}\n{release}{tail.lstrip()}"


if __name__ == "__main__":
    raise SystemExit(main())
