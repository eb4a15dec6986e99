"""The command tree. Each command lives in the module named after what it is about."""

from __future__ import annotations

from collections.abc import Callable
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


Part = Callable[..., None] | tuple[typer.Typer, str]
PANELS: dict[str, tuple[Part, ...]] = {
    "Start": (up.up, up.link, admin.status, admin.check),
    "Documents": (ingest.ingest, (watch.app, "watch"), (documents.documents_app, "documents"), collections.collections),
    "Ask": (search.search, ask.ask, (approvals.app, "approvals"), (evaluation.app, "eval")),
    "Work over whole documents": (whole.summarise, whole.compare, whole.extract, whole.sheet, whole.timeline),
    "People, and what they may see": (
        (users.users_app, "users"),
        (users.sessions_app, "sessions"),
        (users.tokens_app, "tokens"),
        (permissions.groups_app, "groups"),
        (permissions.grants_app, "grants"),
        (permissions.walls_app, "walls"),
        (permissions.clearances_app, "clearances"),
        (privacy.app, "privacy"),
    ),
    "Prove, keep, delete": (
        admin.verify,
        (audit.app, "audit"),
        compliance.report,
        (keeping.holds_app, "holds"),
        (keeping.retention_app, "retention"),
        (keeping.receipts_app, "receipts"),
    ),
    "Keys, models, index, settings": (
        (keys.app, "keys"),
        (models.app, "models"),
        (admin.index_app, "index"),
        admin.reindex,
        (admin.config_app, "config"),
    ),
}
for panel, parts in PANELS.items():
    for part in parts:
        if isinstance(part, tuple):
            app.add_typer(part[0], name=part[1], rich_help_panel=panel)
        else:
            app.command(rich_help_panel=panel)(part)
