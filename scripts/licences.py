"""Report the licence of every installed package, and fail on one that a private appliance must not carry.

A licence is read from the package's own metadata: the SPDX expression first, then the classifiers, then the free text.
Every part of an expression must be allowed. What cannot be read that way is judged by hand in `BY_HAND`, with the
reason; an unknown licence fails, so that somebody looks.
"""

from __future__ import annotations

import importlib.metadata
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass

ALLOWED = frozenset(
    {
        *("MIT", "MIT-0", "MIT-CMU", "0BSD", "BSD-2-Clause", "BSD-3-Clause", "BSD", "ISC", "Apache-2.0", "BSL-1.0"),
        *("PSF-2.0", "CNRI-Python", "Zlib", "CC0-1.0", "Unlicense", "AFL-2.1"),
        *("MPL-2.0",),  # file-level copyleft, met by installing the files unmodified
        *("Apache-2.0 WITH LLVM-exception",),
    }
)
REFUSED = re.compile(
    r"AGPL|Affero|SSPL|BUSL|Business Source|\bGPL|General Public|Commons Clause|Proprietary|NonCommercial"
)
CLASSIFIERS = {
    "MIT License": "MIT",
    "MIT No Attribution License (MIT-0)": "MIT-0",
    "BSD License": "BSD",
    "Apache Software License": "Apache-2.0",
    "ISC License (ISCL)": "ISC",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "Academic Free License (AFL)": "AFL-2.1",
    "The Unlicense (Unlicense)": "Unlicense",
}
FREE_TEXT = {
    "MIT License": "MIT",
    "The MIT License (MIT)": "MIT",
    "ISC License": "ISC",
    "3-Clause BSD License": "BSD-3-Clause",
    "BSD 3-Clause License": "BSD-3-Clause",
    "BSD 2-Clause License": "BSD-2-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache 2.0 License": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
}
# package: (licence, why its metadata does not say so in a form that can be read)
BY_HAND = {
    "pi_heif": ("BSD-3-Clause", "its classifier is that of libheif in the wheel (LGPL-3.0), for which see NOTICE"),
    "pypandoc-binary": (
        "MIT",
        "its pandoc is GPL and only ever runs as a process of its own, see NOTICE",
    ),
    "pypdfium2": ("BSD-3-Clause AND Apache-2.0", "its field adds 'dependency licenses'; PDFium itself is BSD-3-Clause"),
}
# Packages under the LGPL: imported unmodified, by parser children alone, from files that anyone may replace. In NOTICE.
LESSER = frozenset({"py7zr", "pyppmd", "pybcj", "multivolumefile", "inflate64"})


@dataclass(frozen=True, slots=True)
class Finding:
    """One package: its licence as understood, and what is wrong with it (empty when nothing is)."""

    name: str
    version: str
    licence: str
    problem: str


def main() -> int:
    """Print one line a package; 1 when a licence is refused or unknown."""
    findings = sorted(examine(importlib.metadata.distributions()), key=lambda finding: finding.name.lower())
    bad = [finding for finding in findings if finding.problem]
    if "--quiet" not in sys.argv[1:]:
        for finding in findings:
            print(f"{finding.name:32} {finding.version:16} {finding.licence}")
    for finding in bad:
        print(f"{finding.name} {finding.version}: {finding.problem}", file=sys.stderr)
    print(f"{len(findings)} packages, {len(bad)} with a licence that is refused or unknown", file=sys.stderr)
    return 1 if bad else 0


def examine(distributions: Iterable[importlib.metadata.Distribution]) -> list[Finding]:
    """Judge each installed distribution once."""
    findings: dict[str, Finding] = {}
    for distribution in distributions:
        name = distribution.metadata["Name"]
        licence = BY_HAND[name][0] if name in BY_HAND else read_licence(distribution)
        problem = "" if name in LESSER else judge(licence)
        findings.setdefault(name, Finding(name, distribution.version, licence or "unknown", problem))
    return list(findings.values())


def read_licence(distribution: importlib.metadata.Distribution) -> str:
    """SPDX expression of a distribution as its metadata tell it; empty when they do not."""
    metadata = distribution.metadata
    if expression := metadata.get("License-Expression"):
        return str(expression)
    classifiers = [item.split(" :: ")[-1] for item in metadata.get_all("Classifier") or [] if "License ::" in item]
    named = [CLASSIFIERS.get(item, item) for item in classifiers if item != "OSI Approved"]
    if named:
        return " OR ".join(named)
    lines = str(metadata.get("License") or "").strip().splitlines()
    return FREE_TEXT.get(lines[0], lines[0]) if lines else ""


def judge(licence: str) -> str:
    """What is wrong with an expression; empty when some choice (OR) has only allowed parts (AND)."""
    if not licence:
        return "the metadata name no licence: look, then add it to BY_HAND with the reason"
    choices = [re.split(r"\s+AND\s+", choice.strip("() ")) for choice in re.split(r"\s+OR\s+", licence)]
    if any(all(part.strip("() ") in ALLOWED for part in choice) for choice in choices):
        return ""
    verdict = "refused" if REFUSED.search(licence) else "not on the list of allowed licences"
    return f"{licence}: {verdict}"


if __name__ == "__main__":
    raise SystemExit(main())
