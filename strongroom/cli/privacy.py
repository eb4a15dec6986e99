"""`strongroom privacy`: what personal data the documents hold, and who does not see it."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from enum import StrEnum
from typing import Annotated

import typer

from strongroom.cli.common import (
    AsUser,
    Collection,
    ConfigFile,
    DataDir,
    Json,
    engine_of,
    own_appliance,
    print_json,
    printable,
    to_json,
)
from strongroom.cli.progress import LINE_EVERY_S
from strongroom.errors import ExitCode, UsageError
from strongroom.people import ROLES
from strongroom.types import PERSONAL_KINDS, DocumentState, Withholding
from strongroom.words import duration

app = typer.Typer(help="Personal data in documents: find it, count it, withhold it.", no_args_is_help=True)
policy_app = typer.Typer(help="Who does not see which personal data.", no_args_is_help=True)
app.add_typer(policy_app, name="policy")

Kind = StrEnum("Kind", {kind.upper(): kind for kind in PERSONAL_KINDS})  # type: ignore[misc]  # made from the one list
_READ = (DocumentState.INDEXED, DocumentState.PARSED)


Role = StrEnum("Role", {role.upper(): role for role in ROLES})  # type: ignore[misc]  # likewise


@app.command("report")
def report(
    collection: Collection = None,
    as_user: AsUser = None,
    json_output: Json = False,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Count personal data by collection and kind, and the documents that nobody looked into.

    Findings are what rules and word lists recognise: no proof that there is nothing else.

    Example:

        strongroom privacy report --collection personnel
    """
    with engine_of("privacy report", data_dir, config, as_user) as opened:
        documents = [d for d in opened.documents(collection) if d.state in _READ]
    findings: dict[str, Counter[str]] = defaultdict(Counter)
    holding: dict[str, Counter[str]] = defaultdict(Counter)
    unseen = Counter(d.collection for d in documents if d.personal is None)
    for document in documents:
        findings[document.collection].update(document.personal or {})
        holding[document.collection].update(list(document.personal or {}))
    rows = [
        {
            "collection": name,
            "documents": sum(d.collection == name for d in documents),
            "not_looked_into": unseen[name],
            "kinds": {k: {"documents": holding[name][k], "findings": n} for k, n in findings[name].items()},
        }
        for name in sorted({d.collection for d in documents}, key=str.casefold)
    ]
    for row in rows:
        if json_output:
            print_json(row)
            continue
        typer.echo(f"{printable(str(row['collection']))}: {row['documents']} documents")
        for kind in PERSONAL_KINDS:
            if n := findings[str(row["collection"])][kind]:
                typer.echo(f"  {kind:12} {n:>7,} in {holding[str(row['collection'])][kind]:,} documents")
    if not rows and not json_output:
        typer.echo("No documents.")
    if unseen and not json_output:
        typer.echo(f"{unseen.total()} documents were not looked into; `strongroom privacy scan` does so", err=True)


class _Lines:
    """A line on stderr now and then: how many documents are done, how fast, how long it still takes."""

    def __init__(self) -> None:
        self._began = self._last = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._last >= LINE_EVERY_S or (done == total and done > 1):
            self._last = now
            rate = done / max(now - self._began, 1e-6)
            left = duration((total - done) / rate)
            typer.echo(f"{done:,} of {total:,} documents, {rate:.1f} a second, {left} left", err=True)


@app.command("scan")
def scan(json_output: Json = False, data_dir: DataDir = None, config: ConfigFile = None) -> None:
    """Look for personal data in documents that are stored already. Needs the server stopped; may be interrupted.

    New documents are looked into while they are ingested, with `detect_personal_data` or as soon as a rule withholds
    something. Exit code 3 means that the search failed for some documents.

    Example:

        strongroom privacy scan
    """
    from strongroom.app.personal import scan as look

    with own_appliance("privacy scan", data_dir, config) as appliance:
        done, failed = look(appliance, _Lines())
        appliance.audit.append("local", "privacy.scan", versions=done, failed=len(failed))
    if json_output:
        print_json({"looked_into": done, "failed": failed})
    else:
        typer.echo(f"looked into {done} documents")
        for version_id in failed:
            typer.echo(f"the search failed on version {version_id}: what a rule withholds is withheld there as a whole")
    if failed:
        raise typer.Exit(int(ExitCode.PARTIAL))


@policy_app.command("show")
def show(
    as_user: AsUser = None, json_output: Json = False, data_dir: DataDir = None, config: ConfigFile = None
) -> None:
    """Show every rule. Without one, everybody who may read a document sees all of it.

    Example:

        strongroom privacy policy show
    """
    with engine_of("privacy policy", data_dir, config, as_user) as opened:
        rules = opened.withholding()
    for rule in rules:
        if json_output:
            print_json(to_json(rule))
        else:
            place = "all collections without a rule" if rule.collection is None else printable(rule.collection)
            typer.echo(f"{rule.role:8} does not see {', '.join(rule.kinds) or 'nothing less'} in {place}")
    if not rules and not json_output:
        typer.echo("Nothing is withheld from anybody.")


@policy_app.command("set")
def set_rule(
    role: Annotated[Role, typer.Option("--role", help="Whom the rule is about.")],
    withhold: Annotated[
        list[Kind] | None, typer.Option("--withhold", help="A kind that is blacked out; may be repeated.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every kind.")] = False,
    nothing: Annotated[
        bool, typer.Option("--nothing", help="Show everything, whatever the rule for all collections says.")
    ] = False,
    collection: Annotated[
        str | None, typer.Option("--collection", "-c", help="Only there; it replaces the rule for all collections.")
    ] = None,
    as_user: AsUser = None,
    json_output: Json = False,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Black out kinds of personal data for a role: in text, quotes, answers, page images and originals.

    It counts from the next reading. Documents that were not looked into are withheld as a whole until they are: run
    `strongroom privacy scan`.

    Examples:

        strongroom privacy policy set --role viewer --withhold iban --withhold national_id --collection personnel

        strongroom privacy policy set --role viewer --all
    """
    if bool(withhold) + every + nothing != 1:
        raise UsageError("say what to withhold", hint="Give `--withhold KIND`, `--all` or `--nothing`.")
    kinds = PERSONAL_KINDS if every else tuple(k for k in PERSONAL_KINDS if k in {w.value for w in withhold or ()})
    rule = Withholding(role.value, kinds, collection)
    with engine_of("privacy policy", data_dir, config, as_user) as opened:
        opened.withhold(rule)
        unseen = sum(d.personal is None and d.state in _READ for d in opened.documents(collection))
    if json_output:
        print_json({**to_json(rule), "not_looked_into": unseen})
        return
    typer.echo(f"{rule.role} no longer sees {', '.join(kinds)}" if kinds else f"{rule.role} sees everything")
    if kinds and unseen:
        typer.echo(
            f"{unseen} documents were not looked into and are withheld as a whole; run `strongroom privacy scan`",
            err=True,
        )


@policy_app.command("remove")
def remove_rule(
    role: Annotated[Role, typer.Option("--role", help="Whom the rule is about.")],
    collection: Annotated[str | None, typer.Option("--collection", "-c", help="The rule of this collection.")] = None,
    as_user: AsUser = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Remove a rule.

    Example:

        strongroom privacy policy remove --role viewer --collection personnel
    """
    with engine_of("privacy policy", data_dir, config, as_user) as opened:
        opened.withhold(Withholding(role.value, (), collection), remove=True)
    typer.echo("removed")
