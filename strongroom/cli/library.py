"""`strongroom documents` and `strongroom collections`: what is in there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from strongroom.cli.common import (
    AsUser,
    Collection,
    ConfigFile,
    DataDir,
    Json,
    engine,
    load_settings,
    print_json,
    to_json,
)

if TYPE_CHECKING:
    from strongroom.types import DocumentInfo

documents_app = typer.Typer(help="List, show and delete documents.", no_args_is_help=True)

DocumentId = Annotated[str, typer.Argument(help="Document id, from `strongroom documents list`.", show_default=False)]


@documents_app.command("list")
def list_documents(
    collection: Collection = None,
    as_user: AsUser = None,
    json_output: Json = False,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """List documents with their state, pages and chunks.

    Example:

        strongroom documents list --collection contracts
    """
    settings = load_settings(data_dir, config).settings
    with engine(settings, purpose="strongroom documents", as_user=as_user) as opened:
        found = opened.documents(collection)
    if json_output:
        for document in found:
            print_json(to_json(document))
        return
    from rich.console import Console
    from rich.table import Column, Table

    # whole ids, even in a narrow terminal: they are there to be copied
    columns = (Column("id", no_wrap=True, min_width=36), Column("name", overflow="fold"), "state", "pages", "chunks")
    table = Table(*columns, "collection", box=None, header_style="bold")
    for d in found:
        table.add_row(d.id, d.name, d.state.value, str(d.pages), str(d.chunks), d.collection)
    Console().print(table if found else "No documents.")


@documents_app.command("show")
def show_document(
    document_id: DocumentId,
    as_user: AsUser = None,
    json_output: Json = False,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Show one document: where it came from, its state and, if it failed, why."""
    settings = load_settings(data_dir, config).settings
    with engine(settings, purpose="strongroom documents", as_user=as_user) as opened:
        document: DocumentInfo = opened.document(document_id)
    if json_output:
        print_json(to_json(document))
        return
    for key, value in to_json(document).items():
        typer.echo(f"{key:12} {value}")


@documents_app.command("delete")
def delete_document(
    document_id: DocumentId,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_user: AsUser = None,
    json_output: Json = False,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Delete a document for good: its key, text, pages and index points. Prints a receipt."""
    settings = load_settings(data_dir, config).settings
    with engine(settings, purpose="strongroom documents delete", as_user=as_user) as opened:
        document = opened.document(document_id)
        if not yes:
            typer.confirm(f"Delete {document.name} for good?", abort=True, err=True)
        receipt = opened.delete(document_id)
    if json_output:
        print_json(to_json(receipt))
        return
    counts = ", ".join(f"{n} {what}" for what, n in receipt.destroyed.items())
    typer.echo(f"deleted {receipt.document_id} at {receipt.at.isoformat()} by {receipt.by}: {counts}")
    for copy in receipt.out_of_reach:
        typer.echo(f"  not reached: {copy}")


def collections(
    as_user: AsUser = None, json_output: Json = False, data_dir: DataDir = None, config: ConfigFile = None
) -> None:
    """List the collections you can read."""
    settings = load_settings(data_dir, config).settings
    with engine(settings, purpose="strongroom collections", as_user=as_user) as opened:
        names = opened.collections()
    for name in names:
        if json_output:
            print_json({"collection": name})
        else:
            typer.echo(name)
