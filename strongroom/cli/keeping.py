"""Commands about what is kept and what is erased: legal holds, retention rules, receipts of deletions."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from strongroom.cli.common import (
    ConfigFile,
    DataDir,
    Json,
    engine_of,
    print_json,
    to_json,
)
from strongroom.cli.naming import id_of
from strongroom.errors import ExitCode, UsageError
from strongroom.types import HoldRequest

if TYPE_CHECKING:
    from strongroom.engine import Keeping

holds_app = typer.Typer(help="Legal holds: what must not be deleted or replaced.", no_args_is_help=True)
retention_app = typer.Typer(help="How long collections keep their documents.", no_args_is_help=True)
receipts_app = typer.Typer(help="Signed receipts of deletions.", no_args_is_help=True)


@contextmanager
def _keeping(command: str, data_dir: Path | None, config: Path | None) -> Iterator[Keeping]:
    """The running server's, else the appliance's in this process."""
    with engine_of(command, data_dir, config) as opened:
        yield opened.keeping


@holds_app.command("add")
def add_hold(
    reason: Annotated[str, typer.Option("--reason", help="The matter; encrypted, shown in lists.")],
    document: Annotated[
        str | None, typer.Option("--document", "-d", help="Hold one document: its id, its name or the end of its path.")
    ] = None,
    collection: Annotated[
        str | None, typer.Option("--collection", "-c", help="Hold a collection with all its documents.")
    ] = None,
    json_output: Json = False,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Keep a document or a collection as it is until the hold is lifted.

    Deleting, pruning, retention and replacing by changed files are refused for what is held.

    Examples:

        strongroom holds add --collection contracts --reason "Matter 2026-114"

        strongroom holds add --document merger.pdf --reason "Matter 2026-120"
    """
    if (document is None) == (collection is None):
        raise UsageError("say what to hold", hint="Give either `--document NAME` or `--collection NAME`.")
    with engine_of("holds add", data_dir, config) as opened:
        held = None if document is None else id_of(opened, document)
        hold = opened.keeping.hold(HoldRequest(reason, held, collection))
    if json_output:
        print_json(to_json(hold))
    else:
        typer.echo(f"{hold.resource} {hold.resource_id} is under hold {hold.id}")


@holds_app.command("list")
def list_holds(json_output: Json = False, data_dir: DataDir = None, config: ConfigFile = None) -> None:
    """List every hold.

    Example:

        strongroom holds list --json
    """
    with _keeping("holds list", data_dir, config) as keeping:
        found = keeping.holds()
    for hold in found:
        if json_output:
            print_json(to_json(hold))
        else:
            typer.echo(
                f"{hold.id}  {hold.resource} {hold.resource_id}  since {hold.at:%Y-%m-%d} by {hold.by}: {hold.reason}"
            )
    if not found and not json_output:
        typer.echo("No holds.")


@holds_app.command("remove")
def remove_hold(
    hold_id: Annotated[str, typer.Argument(help="Hold id, from `strongroom holds list`.")],
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Lift a hold. The rules of retention count again at once.

    Example:

        strongroom holds remove 3d0e7f42-8a51-4c0e-9b6f-1f2e3d4c5b6a
    """
    with _keeping("holds remove", data_dir, config) as keeping:
        keeping.lift(hold_id)
    typer.echo(f"hold {hold_id} lifted")


@retention_app.command("set")
def set_retention(
    collection: Annotated[str, typer.Argument(help="Name of the collection.")],
    keep_days: Annotated[
        int, typer.Option("--keep-days", min=0, help="Days after the last change; 0 keeps documents for good.")
    ],
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Say how long a collection keeps its documents. Nothing is deleted until `strongroom retention apply` runs.

    Example:

        strongroom retention set applications --keep-days 180
    """
    with _keeping("retention set", data_dir, config) as keeping:
        keeping.keep_for(collection, keep_days)
    typer.echo(f"{collection}: " + (f"{keep_days} days" if keep_days else "kept for good"))


@retention_app.command("list")
def list_retention(json_output: Json = False, data_dir: DataDir = None, config: ConfigFile = None) -> None:
    """List the rules in force.

    Example:

        strongroom retention list
    """
    with _keeping("retention list", data_dir, config) as keeping:
        rules = keeping.retention()
    for rule in rules:
        if json_output:
            print_json({"collection": rule.collection, "keep_days": rule.keep_days})
        else:
            typer.echo(f"{rule.collection}  {rule.keep_days} days")
    if not rules and not json_output:
        typer.echo("No rules: everything is kept for good.")


@retention_app.command("apply")
def apply_retention(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be deleted.")] = False,
    json_output: Json = False,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Delete what outlived its collection's rule. What a legal hold keeps is named and left.

    Example, for a nightly job:

        strongroom retention apply --json
    """
    with _keeping("retention apply", data_dir, config) as keeping:
        run = keeping.apply_retention(dry_run=dry_run)
    if json_output:
        print_json(to_json(run))
        return
    for document_id in run.deleted:
        typer.echo(f"{'would delete' if dry_run else 'deleted'} {document_id}")
    for document_id in run.held:
        typer.echo(f"held {document_id}")
    typer.echo(f"{len(run.deleted)} deleted, {len(run.held)} held" + (" (dry run)" if dry_run else ""), err=True)


@receipts_app.command("list")
def list_receipts(data_dir: DataDir = None, config: ConfigFile = None) -> None:
    """Print the receipt of every deletion, one JSON line each.

    Example:

        strongroom receipts list > receipts.jsonl
    """
    with _keeping("receipts list", data_dir, config) as keeping:
        for text in keeping.receipts():
            sys.stdout.write(text + "\n")


@receipts_app.command("verify")
def verify_receipt(
    file: Annotated[Path, typer.Argument(help="A receipt as JSON, one a line.")],
    public_key: Annotated[
        str, typer.Option("--public-key", metavar="HEX", help="The appliance's key: `strongroom audit public-key`.")
    ],
    json_output: Json = False,
) -> None:
    """Check that receipts were signed by the appliance with this key. Needs no data directory. Exits 14 when not.

    Example:

        strongroom receipts verify receipts.jsonl --public-key HEX
    """
    from strongroom.audit import receipt as receipts

    found = receipts.read(file)
    bad = [one.document_id for one in found if not receipts.genuine(one, public_key)]
    if json_output:
        print_json({"receipts": len(found), "not_genuine": bad, "ok": not bad})
    else:
        for document_id in bad:
            typer.echo(f"not genuine: the receipt of document {document_id}")
        if not bad:
            typer.echo(f"{len(found)} receipts, genuine")
    if bad:
        raise typer.Exit(int(ExitCode.INTEGRITY))
