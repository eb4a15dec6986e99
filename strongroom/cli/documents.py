"""`strongroom documents`: what is in there, what failed, and how it goes away."""

from __future__ import annotations

from collections import defaultdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import unquote_to_bytes, urlsplit

import typer

from strongroom.cli.common import (
    AsUser,
    Collection,
    ConfigFile,
    DataDir,
    Json,
    Pii,
    engine_of,
    personal_of,
    print_json,
    printable,
    to_json,
)
from strongroom.cli.documents_output import print_chunk, print_detail, print_list, write_thumbnails
from strongroom.cli.ingest import show_summary
from strongroom.cli.naming import file_name, find, like
from strongroom.cli.progress import reporting
from strongroom.cli.report import doubtful, library_page, require_page
from strongroom.errors import ExitCode, UsageError
from strongroom.files import replace_file
from strongroom.types import (
    DocumentInfo,
    DocumentState,
    IngestOptions,
    IngestSummary,
    SourceFile,
)
from strongroom.words import size

if TYPE_CHECKING:
    from strongroom.engine import Engine

documents_app = typer.Typer(help="List, show, retry, report, export and delete documents.", no_args_is_help=True)

DocumentId = Annotated[
    str,
    typer.Argument(
        metavar="DOCUMENT", help="Its id, the beginning of it, its name or the end of its path.", show_default=False
    ),
]

_FAILED = frozenset({DocumentState.FAILED, DocumentState.QUARANTINED})


class Order(StrEnum):
    """What `documents list --sort` takes."""

    NAME = "name"
    ADDED = "added"
    UPDATED = "updated"
    SIZE = "size"
    PAGES = "pages"
    STATE = "state"


@documents_app.command("list")
def list_documents(
    collection: Collection = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only those that failed or were quarantined.")] = False,
    state: Annotated[DocumentState | None, typer.Option("--state", help="Only those in this state.")] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="GLOB", help="Only names or paths like this, in any case.")
    ] = None,
    pii: Pii = None,
    sort: Annotated[Order, typer.Option("--sort", help="Order; largest and newest first.")] = Order.NAME,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="At most so many.")] = None,
    as_user: AsUser = None,
    json_output: Json = False,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """List documents with their state, pages and chunks; failed ones with the reason.

    Examples:

        strongroom documents list --collection contracts

        strongroom documents list --failed

        strongroom documents list --pii iban --pii card

        strongroom documents list --name '*.pdf' --sort size --limit 20
    """
    kinds = personal_of(pii)
    with engine_of("documents", data_dir, config, as_user) as opened:
        found = opened.documents(collection)
    found = [
        d
        for d in found
        if (not failed or d.state in _FAILED) and state in (None, d.state) and (name is None or like(d, name))
        if not kinds or d.holds(kinds)
    ]
    if sort is not Order.NAME:
        found.sort(key=lambda d: getattr(d, sort.value), reverse=sort is not Order.STATE)
    shown = found[:limit]
    if json_output:
        for document in shown:
            print_json(to_json(document))
        return
    print_list(shown, found)


@documents_app.command("show")
def show_document(
    document_id: DocumentId,
    with_chunks: Annotated[
        bool, typer.Option("--chunks", help="Its chunks too: text, pages, headings. Goes on record as a reading.")
    ] = False,
    thumbnails: Annotated[
        Path | None, typer.Option("--thumbnails", metavar="DIR", help="Write a small PNG of each page there.")
    ] = None,
    as_user: AsUser = None,
    json_output: Json = False,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Show one document: where it came from, its state and reason, versions, pages and what lies inside it.

    Examples:

        strongroom documents show contract.pdf

        strongroom documents show 4f1c --chunks --thumbnails pages/
    """
    with engine_of("documents", data_dir, config, as_user) as opened:
        detail = opened.details(find(opened, document_id).id)
        chunks = opened.chunks(detail.document.id) if with_chunks else None
        written = [] if thumbnails is None else write_thumbnails(opened, detail, thumbnails)
    if json_output:
        facts = {**to_json(detail.document), "versions": to_json(detail.versions), "page_list": to_json(detail.pages)}
        facts |= {"parent_document": to_json(detail.parent), "members": to_json(detail.members)}
        if chunks is not None:
            facts["chunk_list"] = to_json(chunks)
        if thumbnails is not None:
            facts["thumbnails"] = [str(path) for path in written]
        print_json(facts)
        return
    print_detail(detail)
    for chunk in chunks or ():
        print_chunk(chunk)
    if thumbnails is not None:
        typer.echo(f"{len(written)} page images in {thumbnails}", err=True)


@documents_app.command("retry")
def retry_documents(
    document_ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="[DOCUMENT]...", help="Ids, beginnings of ids, names or paths.", show_default=False),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every document that failed or was quarantined.")] = False,
    collection: Collection = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_user: AsUser = None,
    json_output: Json = False,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Read documents again that failed, from the files they came from.

    Shows the files before they are read, because whoever added a document named its path. Documents inside an archive
    or a mail are tried again with it. Exit code 3 means that some are not reachable here or failed again.

    Examples:

        strongroom documents retry scan.pdf

        strongroom documents retry --all --collection contracts --yes
    """
    if every == bool(document_ids):
        raise UsageError("nothing to retry was named", hint="Give documents, or `--all` without any.")
    with engine_of("documents retry", data_dir, config, as_user) as opened:
        if every:
            chosen = [d for d in opened.documents(collection) if d.state in _FAILED]
        else:
            chosen = [find(opened, text, collection) for text in document_ids or ()]
        reachable, unreachable = _sources(opened, chosen)
        for document, why in unreachable:
            if json_output:
                print_json({"document_id": document.id, "path": document.path, "outcome": "unreachable", "reason": why})
            else:
                typer.echo(printable(f"not reachable: {document.name} ({why})"), err=True)
        if reachable and not yes:
            for file in (file for files in reachable.values() for file in files):
                typer.echo(printable(f"  {file.path}"), err=True)
            typer.confirm(f"Read {sum(map(len, reachable.values()))} files again?", abort=True, err=True)
        summaries: list[IngestSummary] = []
        with reporting(json_output=json_output) as on_event:
            for place, files in reachable.items():
                options = IngestOptions(collection=place, retry=True)
                summaries.append(opened.ingest_files(files, options, on_event=on_event))
    for summary in summaries:
        if json_output:
            print_json({"summary": to_json(summary)})
        else:
            show_summary(summary)
    if not json_output and not chosen:
        typer.echo("No document failed.", err=True)
    if unreachable or any(summary.partial for summary in summaries):
        raise typer.Exit(int(ExitCode.PARTIAL))


@documents_app.command("report")
def report_documents(
    file: Annotated[Path, typer.Argument(metavar="FILE.html", help="Where to write it.", show_default=False)],
    collection: Collection = None,
    as_user: AsUser = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Write the state of all documents as an HTML page: totals, kinds, reasons with file names, doubtful OCR.

    The page loads nothing and runs nothing, and opens in any browser.

    Examples:

        strongroom documents report library.html --collection contracts
    """
    require_page(file)
    with engine_of("documents report", data_dir, config, as_user) as opened:
        found, doubts = opened.documents(collection), doubtful(opened, collection)
    replace_file(file, library_page(found, collection, doubts).encode())
    typer.echo(f"{len(found)} documents in {file}", err=True)


@documents_app.command("export")
def export_document(
    document_id: DocumentId,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="File or folder to write to (default: the document's name, here)."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
    as_user: AsUser = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Write a document's original, byte for byte, readable by you alone. Goes on record.

    Where exports need two people, ask for consent first: `strongroom clearances ask export`.

    Examples:

        strongroom documents export contract.pdf --out /mnt/court/

        strongroom documents export 4f1c9a02 --out merger.pdf --force
    """
    with engine_of("documents export", data_dir, config, as_user) as opened:
        document = find(opened, document_id)
        path = Path() if out is None else out
        if path.is_dir():
            path /= file_name(document)
        if path.exists() and not force:
            raise UsageError(f"{path} exists", hint="Give another name, or `--force` to replace it.")
        if not path.parent.is_dir():
            raise UsageError(f"the folder {path.parent} does not exist", hint="Make it first.")
        data = opened.original(document.id)
    replace_file(path, data)
    typer.echo(f"{path}: {size(len(data))}", err=True)


@documents_app.command("delete")
def delete_document(
    document_id: Annotated[
        str | None,
        typer.Argument(
            metavar="[DOCUMENT]",
            help="Its id, the beginning of it, its name or the end of its path.",
            show_default=False,
        ),
    ] = None,
    collection: Annotated[
        str | None, typer.Option("--collection", "-c", help="This collection with all its documents; administrators.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_user: AsUser = None,
    json_output: Json = False,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Delete a document for good: its key, text, pages and index points. Prints a receipt.

    With `--collection`, every document of it, read by you or not; the receipts are in `strongroom receipts list`.

    Examples:

        strongroom documents delete contract.pdf

        strongroom documents delete --collection contracts-2019 --yes
    """
    if (document_id is None) == (collection is None):
        raise UsageError("say what to delete", hint="Give either a document or `--collection NAME`.")
    with engine_of("documents delete", data_dir, config, as_user) as opened:
        if document_id is None:
            _delete_collection(opened, str(collection), yes=yes, json_output=json_output)
            return
        document = find(opened, document_id)
        if not yes:
            typer.confirm(f"Delete {printable(document.name)} for good?", abort=True, err=True)
        receipt = opened.delete(document.id)
    if json_output:
        print_json(to_json(receipt))
        return
    counts = ", ".join(f"{n} {what}" for what, n in receipt.destroyed.items())
    typer.echo(f"deleted {receipt.document_id} at {receipt.at.isoformat()} by {receipt.by}: {counts}")
    for copy in receipt.out_of_reach:
        typer.echo(f"  not reached: {copy}")


def _delete_collection(opened: Engine, name: str, *, yes: bool, json_output: bool) -> None:
    if not yes:
        typer.confirm(f"Delete {printable(name)} with all its documents for good?", abort=True, err=True)
    gone = opened.keeping.delete_collection(name)
    if json_output:
        print_json({"collection": name, "deleted": gone})
    else:
        typer.echo(f"deleted {printable(name)} with {len(gone)} documents")


def _sources(
    opened: Engine, chosen: list[DocumentInfo]
) -> tuple[dict[str, list[SourceFile]], list[tuple[DocumentInfo, str]]]:
    """Files to read again by collection, and the documents whose file is not to be had here, with the reason."""
    reachable: dict[str, dict[str, SourceFile]] = defaultdict(dict)
    unreachable: list[tuple[DocumentInfo, str]] = []
    for document in chosen:
        holder = document
        while holder.parent is not None:
            holder = opened.document(holder.parent)
        parts = urlsplit(holder.path)
        path = Path(unquote_to_bytes(parts.path).decode("utf-8", "surrogateescape"))
        if parts.scheme != "file" or parts.netloc:
            unreachable.append((document, "It was uploaded, and its file is not kept: add it again."))
        elif not path.is_file() or path.is_symlink():
            unreachable.append((document, f"{path} is not a file here any more."))
        else:
            file = SourceFile(str(path), holder.path, holder.name, path.stat().st_size)
            reachable[holder.collection][holder.path] = file
    return {place: list(files.values()) for place, files in reachable.items()}, unreachable
