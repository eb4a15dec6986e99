"""The bill of materials: what this installation is made of, as CycloneDX 1.6 JSON (ECMA-424).

Packages are those that Strongroom declares and what these need in turn, at the versions that are installed; models are
those on this machine. The same installation gives the same bytes: the serial number is made from the content.
"""

from __future__ import annotations

import importlib.metadata as metadata
import json
import re
import uuid
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.registry import InstalledModel

ROOT = "strongroom"
_LICENCE = "License :: OSI Approved :: "
_SPDX_WORD = re.compile(r"[A-Za-z0-9.+-]+(?: (?:AND|OR|WITH) [A-Za-z0-9.+-]+)*\Z")


def bill_of_materials(installed: Iterable[InstalledModel], *, at: str) -> dict[str, Any]:
    """The bill as JSON data. `at` is the time it is made at, ISO 8601 in UTC."""
    packages = closure(ROOT)
    root = _component(ROOT, packages[ROOT][0], "application")
    components = [_component(n, d, "library") for n, (d, _) in sorted(packages.items()) if n != ROOT]
    components += [_model(model) for model in sorted(installed, key=lambda m: m.id)]
    bill: dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": root},
        "components": components,
        "dependencies": [
            {"ref": _ref(n, d), "dependsOn": sorted(_ref(m, packages[m][0]) for m in needs)}
            for n, (d, needs) in sorted(packages.items())
        ],
    }
    content = json.dumps(bill, sort_keys=True)
    bill["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, content)}"
    bill["metadata"]["timestamp"] = at
    return bill


def closure(root: str) -> dict[str, tuple[metadata.Distribution, frozenset[str]]]:
    """Installed packages that `root` needs, itself included, each with the names of those it needs directly."""
    found: dict[str, tuple[metadata.Distribution, frozenset[str]]] = {}
    wanted: dict[str, set[str]] = {root: set()}
    while wanted:
        name, extras = wanted.popitem()
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # an optional one for another system
        needs = _needs(distribution, extras)
        known = found.get(name, (distribution, frozenset[str]()))[1]
        if name in found and known >= set(needs):
            continue
        found[name] = (distribution, known | set(needs))
        for needed, with_extras in needs.items():
            wanted.setdefault(needed, set()).update(with_extras)
    return {n: (d, frozenset(m for m in needs if m in found)) for n, (d, needs) in found.items()}


def _needs(distribution: metadata.Distribution, extras: set[str]) -> Mapping[str, set[str]]:
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    needs: dict[str, set[str]] = {}
    for line in distribution.requires or ():
        requirement = Requirement(line)
        chosen = [{"extra": extra} for extra in sorted(extras)] or [{"extra": ""}]
        if requirement.marker is None or any(requirement.marker.evaluate({**e}) for e in chosen):
            needs.setdefault(str(canonicalize_name(requirement.name)), set()).update(requirement.extras)
    return needs


def licence_of(distribution: metadata.Distribution) -> str | None:
    """The licence as the package states it: an SPDX expression where there is one."""
    facts = distribution.metadata
    if "License-Expression" in facts:
        return str(facts["License-Expression"])
    classified = [c.removeprefix(_LICENCE) for c in facts.get_all("Classifier") or () if c.startswith(_LICENCE)]
    if classified:
        return " and ".join(classified)
    text = str((facts.get_all("License") or [""])[0]).strip().splitlines()
    return text[0][:100] if text and text[0] != "UNKNOWN" else None


def _component(name: str, distribution: metadata.Distribution, kind: str) -> dict[str, Any]:
    component: dict[str, Any] = {
        "type": kind,
        "bom-ref": _ref(name, distribution),
        "name": name,
        "version": distribution.version,
        "purl": f"pkg:pypi/{name}@{distribution.version}",
    }
    if stated := licence_of(distribution):
        component["licenses"] = [_licence(stated, "License-Expression" in distribution.metadata)]
    return component


def _licence(stated: str, expression: bool) -> dict[str, Any]:
    if expression and _SPDX_WORD.match(stated):
        return {"expression": stated}
    return {"license": {"name": stated}}


def _ref(name: str, distribution: metadata.Distribution) -> str:
    return f"{name}@{distribution.version}"


def _model(model: InstalledModel) -> dict[str, Any]:
    return {
        "type": "machine-learning-model",
        "bom-ref": f"model:{model.id}",
        "name": model.id,
        "version": model.sha256[:12],
        "description": model.name,
        "hashes": [{"alg": "SHA-256", "content": model.sha256}],
        "licenses": [{"license": {"name": model.licence}}],
    }
