"""The command tree. Each command lives in the module named after what it is about."""

from __future__ import annotations

from typing import Annotated

import typer

from strongroom import __version__
from strongroom.cli import (
    admin,
    approvals,
    ask,
    audit,
    collections,
    compliance,
    documents,
    evaluation,
    ingest,
    keeping,
    keys,
    models,
    permissions,
    privacy,
    search,
    up,
    users,
    watch,
    whole,
)

app = typer.Typer(
    name="strongroom",
    help=(
        "Ask questions of private documents and get exact quotes, on your own hardware.\n\n"
        "Nothing leaves this machine. Start with `strongroom up`, or with `strongroom ingest PATH` and then "
        "`strongroom ask QUESTION`."
    ),
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:  # typer's callback signature
    if value:
        typer.echo(f"strongroom {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Ask questions of private documents and get exact quotes, on your own hardware."""


app.command()(up.up)
app.command()(up.link)
app.command()(ingest.ingest)
app.add_typer(watch.app, name="watch")
app.command()(search.search)
app.command()(ask.ask)
app.command()(whole.summarise)
app.command()(whole.compare)
app.command()(whole.extract)
app.command()(whole.sheet)
app.command()(whole.timeline)
app.add_typer(documents.documents_app, name="documents")
app.command()(collections.collections)
app.add_typer(models.app, name="models")
app.add_typer(approvals.app, name="approvals")
app.add_typer(evaluation.app, name="eval")
app.add_typer(users.users_app, name="users")
app.add_typer(users.sessions_app, name="sessions")
app.add_typer(users.tokens_app, name="tokens")
app.add_typer(permissions.groups_app, name="groups")
app.add_typer(permissions.grants_app, name="grants")
app.add_typer(permissions.walls_app, name="walls")
app.add_typer(permissions.clearances_app, name="clearances")
app.add_typer(audit.app, name="audit")
app.add_typer(keys.app, name="keys")
app.add_typer(keeping.holds_app, name="holds")
app.add_typer(keeping.retention_app, name="retention")
app.add_typer(keeping.receipts_app, name="receipts")
app.add_typer(privacy.app, name="privacy")
app.add_typer(admin.index_app, name="index")
app.add_typer(admin.config_app, name="config")
app.command()(compliance.report)
app.command()(admin.check)
app.command()(admin.verify)
app.command()(admin.reindex)
app.command()(admin.status)
