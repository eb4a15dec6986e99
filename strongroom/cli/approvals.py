"""`strongroom approvals`: what people said of answers, as a list and as a question file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from strongroom.cli.common import AsUser, ConfigFile, DataDir, Json, engine_of, print_json, to_json
from strongroom.errors import UsageError

app = typer.Typer(help="Judgements of answers: list them, use them as questions, delete them.", no_args_is_help=True)


@app.command("list")
def list_approvals(
    as_user: AsUser = None, json_output: Json = False, data_dir: DataDir = None, config: ConfigFile = None
) -> None:
    """List what people said of answers about documents that you may read.

    Example:

        strongroom approvals list --json
    """
    with engine_of("approvals", data_dir, config, as_user) as opened:
        kept = opened.approvals()
    if json_output:
        for approval in kept:
            print_json(to_json(approval))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("id", "verdict", "question", "words", "document", "by", box=None, header_style="bold")
    for a in kept:
        place = f"{a.document.name}, page {a.page}" if a.page is not None else a.document.name
        table.add_row(a.id, a.verdict, a.question, " ".join(a.text.split())[:80], place, a.by)
    Console().print(table if kept else "No judgements.")


@app.command()
def export(
    out: Annotated[Path, typer.Argument(help="Question file to write (.jsonl).", show_default=False)],
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
    as_user: AsUser = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Write approved and corrected answers as a question file for `strongroom eval run`, readable by you alone.

    Example:

        strongroom approvals export ours.jsonl
    """
    from evals.questions import approved, write_questions

    if out.exists() and not force:
        raise UsageError(f"{out} exists", hint="Give another name, or `--force` to replace it.")
    with engine_of("approvals", data_dir, config, as_user) as opened:
        questions = approved(opened.approvals())
    write_questions(out, questions)
    typer.echo(f"{out}: {len(questions)} questions", err=True)


@app.command()
def remove(
    approval_id: Annotated[str, typer.Argument(help="Id, from `strongroom approvals list`.", show_default=False)],
    as_user: AsUser = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Delete a judgement.

    Example:

        strongroom approvals remove 0d9f7c1e-5b4a-4d0e-8c1b-2a3f4e5d6c7b
    """
    with engine_of("approvals", data_dir, config, as_user) as opened:
        opened.withdraw(approval_id)
    typer.echo(f"removed {approval_id}", err=True)
