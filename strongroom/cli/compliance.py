"""`strongroom report`: what this installation can show about itself, for the organisation's own assessment.

Self-contained and inert like every page that is written here: no script, nothing fetched, every word escaped.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from strongroom.cli.common import ConfigFile, DataDir, Json, ask_passphrase, load_settings, print_json, printable
from strongroom.cli.report import require_page
from strongroom.errors import UsageError
from strongroom.files import replace_file

TITLES = {
    "version": "Versions",
    "configuration": "Configuration",
    "models": "Models",
    "documents": "Documents",
    "personal_data": "Personal data",
    "access": "Access",
    "sign_in": "Signing in",
    "audit": "Audit log",
    "egress": "Attempts to connect",
    "encryption": "Encryption at rest",
    "deletion": "Deletion, holds and retention",
    "materials": "Bill of materials",
}


def report(
    out: Annotated[
        Path, typer.Option("--out", help="A folder for report.html, report.json and sbom.cdx.json, or FILE.html.")
    ],
    json_output: Json = False,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Write an evidence report: configuration, models, access, audit log, deletions, bill of materials, by article.

    GDPR, HIPAA and EU AI Act articles point at the evidence and at what only you can do. It certifies nothing and is no
    legal advice. Works beside a running server. Print the page from a browser for a PDF.

    Examples:

        strongroom report --out evidence/

        strongroom report --out evidence.html
    """
    from strongroom.app.evidence import collect, dumps
    from strongroom.app.opening import open_audit, open_keys
    from strongroom.catalog import Catalog, Store
    from strongroom.crypto import Vault
    from strongroom.lock import own_data_dir

    loaded = load_settings(data_dir, config)
    settings = loaded.settings
    if not settings.catalogue.exists():
        raise UsageError(f"there is no catalogue in {settings.data_dir}", hint="Check `--data-dir`.")
    single = out.suffix.lower() in (".html", ".htm")
    if single:
        require_page(out)
    else:
        _make(out)
    own_data_dir(settings.data_dir)
    keys = open_keys(settings, ask_passphrase)
    store = Store(settings.catalogue)
    try:
        vault = Vault(keys)
        at = datetime.now(UTC).isoformat(timespec="seconds")
        evidence = collect(loaded, Catalog(store, vault), open_audit(settings, store, vault), at=at)
    finally:
        store.close()
        keys.close()
    if single:
        replace_file(out, render(evidence).encode())
    else:
        facts = {k: v for k, v in evidence.items() if k != "materials"}
        for name, text in (
            ("report.html", render(evidence)),
            ("report.json", dumps(facts)),
            ("sbom.cdx.json", dumps(evidence["materials"])),
        ):
            replace_file(out / name, text.encode())
    problems = attention(evidence)
    if json_output:
        print_json({"out": str(out), "attention": problems})
        return
    typer.echo(f"wrote {out}")
    for problem in problems:
        typer.echo(f"look at: {printable(problem)}", err=True)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise UsageError(
            f"cannot write {folder}: {exc.strerror}", hint="Name a folder, or a file that ends in .html."
        ) from exc


def attention(evidence: Mapping[str, Any]) -> list[str]:
    """What in the evidence an assessor would ask about first."""
    found = [f"audit log: {problem['what']}" for problem in evidence["audit"]["problems"]]
    settings = {row["key"]: row["value"] for row in evidence["configuration"]}
    if evidence["deletion"]["not_genuine"]:
        found.append(f"{evidence['deletion']['not_genuine']} deletion receipts are not genuine")
    if evidence["deletion"]["unsettled"]:
        found.append(
            f"{evidence['deletion']['unsettled']} deletions are not settled: start the appliance to finish them"
        )
    if evidence["egress"]["count"] or evidence["egress"]["waiting"]:
        found.append("something tried to connect to a host that is not allowed")
    for name, facts in evidence["personal_data"]["collections"].items():
        unseen = facts["documents"] - facts["looked_into"]
        if unseen:
            found.append(f"{unseen} documents of {name} were not looked into for personal data")
    without = evidence["sign_in"]["administrators_without"]
    if without:
        found.append(f"administrators without a second factor: {', '.join(without)} (second_factor)")
    if not settings["audit_checkpoint_dir"]:
        found.append("no checkpoints of the audit log are kept elsewhere (audit_checkpoint_dir)")
    if not evidence["deletion"]["retention"]:
        found.append("no collection has a retention rule")
    if not evidence["encryption"]["keys_apart"] and evidence["encryption"]["key_source"] == "file":
        found.append("the appliance key lies in the data directory (keys_dir, key_source)")
    return found


def render(evidence: Mapping[str, Any]) -> str:
    """The report as one HTML page."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from evals.plots import POLICY, STYLE
    from strongroom.app.articles import FRAMEWORKS

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["row"] = lambda item, *keys: tuple(item[key] for key in keys)
    environment.filters["shown"] = _shown
    bill = evidence["materials"]
    audit, personal = evidence["audit"], evidence["personal_data"]
    return environment.get_template("evidence.html.j2").render(
        policy=POLICY,
        style=STYLE,
        e=evidence,
        titles=TITLES,
        frameworks=FRAMEWORKS,
        attention=[(problem,) for problem in attention(evidence)],
        personal=[
            (name, facts["documents"], facts["looked_into"], facts["findings"])
            for name, facts in personal["collections"].items()
        ],
        rules=[
            (rule["role"], rule["collection"] or "all without a rule of their own", rule["kinds"])
            for rule in personal["rules"]
        ],
        actions=[(action, n, audit["refused"].get(action, 0)) for action, n in audit["actions"].items()],
        materials=[
            (c["name"], c["version"], c["type"], _licence(c))
            for c in [bill["metadata"]["component"], *bill["components"]]
        ],
    )


def _licence(component: Mapping[str, Any]) -> str:
    stated = [entry.get("expression") or entry["license"]["name"] for entry in component.get("licenses", ())]
    return ", ".join(stated) or "not stated"


def _shown(value: object) -> str:
    """A cell's text, without characters that could turn or hide what stands beside it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{v} {k}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return printable(value if isinstance(value, str) else json.dumps(value))
