"""`strongroom documents` and `strongroom collections`: what is in there."""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from enum import StrEnum
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import unquote_to_bytes, urlsplit
from uuid import UUID

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
from strongroom.cli.progress import reporting, size
from strongroom.cli.report import doubtful, library_page, require_writable, write
from strongroom.errors import ExitCode, NotFoundError, UsageError
from strongroom.flags import described
from strongroom.types import (
    DocumentInfo,
    DocumentState,
    IngestOptions,
    IngestSummary,
    SourceFile,
)

if TYPE_CHECKING:
    from strongroom.engine import Engine
    from strongroom.types import DocumentDetail, StoredChunk

documents_app = typer.Typer(help="List, show, retry, report and delete documents.", no_args_is_help=True)

DocumentId = Annotated[
    str,
    typer.Argument(
        metavar="DOCUMENT", help="Its id, the beginning of it, its name or the end of its path.", show_default=False
    ),
]

_FAILED = frozenset({DocumentState.FAILED, DocumentState.QUARANTINED})
_CANDIDATES = 10


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
        if (not failed or d.state in _FAILED) and state in (None, d.state) and (name is None or _like(d, name))
        if not kinds or d.holds(kinds)
    ]
    if sort is not Order.NAME:
        found.sort(key=lambda d: getattr(d, sort.value), reverse=sort is not Order.STATE)
    shown = found[:limit]
    if json_output:
        for document in shown:
            print_json(to_json(document))
        return
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    beginning = _distinct_length([d.id for d in found])
    # the beginning of an id is enough for every command, and leaves a narrow terminal room for names and reasons
    table = Table(
        Column("id", no_wrap=True, min_width=beginning),
        Column("name", overflow="fold", ratio=1),
        Column("state", no_wrap=True),
        Column("pages", justify="right", no_wrap=True),
        Column("chunks", justify="right", no_wrap=True),
        Column("collection", overflow="fold", max_width=20),
        box=None,
        header_style="bold",
        expand=True,
    )
    for d in shown:
        cell = Text(printable(d.name))
        if d.reason:
            cell.append("\n" + printable(d.reason), style="dim")
        rest = (d.state.value, str(d.pages), str(d.chunks), Text(printable(d.collection)))
        table.add_row(d.id[:beginning], cell, *rest)
    Console().print(table if shown else "No documents.")
    if len(shown) < len(found):
        typer.echo(f"{len(found) - len(shown)} more; raise `--limit` to see them", err=True)


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
        written = [] if thumbnails is None else _thumbnails(opened, detail, thumbnails)
    if json_output:
        facts = {**to_json(detail.document), "versions": to_json(detail.versions), "page_list": to_json(detail.pages)}
        facts |= {"parent_document": to_json(detail.parent), "members": to_json(detail.members)}
        if chunks is not None:
            facts["chunk_list"] = to_json(chunks)
        if thumbnails is not None:
            facts["thumbnails"] = [str(path) for path in written]
        print_json(facts)
        return
    _print_detail(detail)
    for chunk in chunks or ():
        _print_chunk(chunk)
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
            counts = ", ".join(f"{n} {outcome}" for outcome, n in sorted(summary.outcomes.items()) if n)
            typer.echo(f"{counts} ({summary.pages} pages, {summary.seconds:.1f} s)", err=True)
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
    require_writable(file)
    with engine_of("documents report", data_dir, config, as_user) as opened:
        found, doubts = opened.documents(collection), doubtful(opened, collection)
    write(file, library_page(found, collection, doubts))
    typer.echo(f"{len(found)} documents in {file}", err=True)


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


def collections(
    as_user: AsUser = None, json_output: Json = False, data_dir: DataDir = None, config: ConfigFile = None
) -> None:
    """List the collections you can read."""
    with engine_of("collections", data_dir, config, as_user) as opened:
        names = opened.collections()
    for name in names:
        if json_output:
            print_json({"collection": name})
        else:
            typer.echo(name)


# ------------------------------------------------------------------------------------------------ look-up


def find(opened: Engine, text: str, collection: str | None = None) -> DocumentInfo:
    """The one document that `text` names: an id, the beginning of one, a name, or the end of a path.

    Raises `NotFoundError` when there is none that the asker may read, and `UsageError` naming the candidates when there
    are several.
    """
    if _is_id(text):  # a name is asked for by its list: as an id it would be a refusal on record
        with suppress(NotFoundError):
            return opened.document(text)
    readable = opened.documents(collection)
    wanted = text.removeprefix("./")
    ways = (
        lambda d: len(text) >= 4 and d.id.startswith(text.lower()),
        lambda d: d.name == text,
        lambda d: _shown_path(d).endswith("/" + wanted.lstrip("/")) or text in (d.path, _shown_path(d)),
    )
    for way in ways:
        found = [d for d in readable if way(d)]
        if len(found) == 1:
            return found[0]
        if found:
            some = "; ".join(f"{d.id} {printable(_shown_path(d))} ({d.collection})" for d in found[:_CANDIDATES])
            more = f" and {len(found) - _CANDIDATES} more" if len(found) > _CANDIDATES else ""
            raise UsageError(f"{text!r} names {len(found)} documents", hint=f"Give one id: {some}{more}.")
    raise NotFoundError(f"document {text!r} does not exist", hint="`strongroom documents list` lists them.")


def _is_id(text: str) -> bool:
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False


def _shown_path(document: DocumentInfo) -> str:
    from strongroom.wire import shown_uri

    return shown_uri(document.path)


def _distinct_length(ids: list[str]) -> int:
    """How many characters, 8 at least, tell these ids apart."""
    return next((n for n in range(8, 36) if len({i[:n] for i in ids}) == len(ids)), 36)


def _like(document: DocumentInfo, glob: str) -> bool:
    return any(fnmatch(text.casefold(), glob.casefold()) for text in (document.name, _shown_path(document)))


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


# ------------------------------------------------------------------------------------------------ what is printed


def _thumbnails(opened: Engine, detail: DocumentDetail, folder: Path) -> list[Path]:
    """A small PNG of each page. Raises `NotFoundError` for formats that have no page images."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for page in detail.pages:
        path = folder / f"page-{page.index + 1:04}.png"
        path.write_bytes(opened.page_image(detail.document.id, page.index, dpi=40))
        written.append(path)
    return written


def _print_detail(detail: DocumentDetail) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    d = detail.document
    facts = {
        "id": d.id,
        "name": d.name,
        "path": _shown_path(d),
        "collection": d.collection,
        "state": d.state.value,
        "reason": d.reason,
        "type": d.mime,
        "size": size(d.size),
        "pages": d.pages,
        "chunks": d.chunks,
        "added": f"{d.added:%Y-%m-%d %H:%M} UTC",
        "updated": f"{d.updated:%Y-%m-%d %H:%M} UTC",
        "personal": d.personal and ", ".join(f"{n} {kind}" for kind, n in d.personal.items()),
        "inside": detail.parent and f"{detail.parent.name} ({detail.parent.id})",
    }
    for key, value in facts.items():
        if value is not None:
            typer.echo(printable(f"{key:12} {value}"))
    console = Console()

    def section(title: str, header: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
        if not rows:
            return
        table = Table(*header, box=None, header_style="bold")
        for row in rows:
            table.add_row(*(Text(printable("" if cell is None else str(cell)), overflow="fold") for cell in row))
        typer.echo(f"\n{title}")
        console.print(table)

    section(
        "Versions",
        ("version", "added", "state", "size", "pages", "chunks", ""),
        [
            (
                v.id[:12],
                f"{v.added:%Y-%m-%d %H:%M}",
                v.state.value,
                size(v.size),
                v.pages,
                v.chunks,
                "current" if v.current else "",
            )
            for v in detail.versions
        ],
    )
    section(
        "Pages",
        ("place", "characters", "chunks", "OCR confidence"),
        [
            (
                f"{p.locator.kind} {p.locator.label}",
                f"{p.characters:,}",
                p.chunks,
                None if p.ocr_confidence is None else f"{p.ocr_confidence:.2f}",
            )
            for p in detail.pages
        ],
    )
    section(
        "Suspicious text",
        ("place", "what"),
        [(f"{p.locator.kind} {p.locator.label}", described(flag)) for p in detail.pages for flag in p.flags],
    )
    section("Inside it", ("id", "name"), [(m.id, m.name) for m in detail.members])


def _print_chunk(chunk: StoredChunk) -> None:
    numbers = chunk.page_numbers or tuple(page + 1 for page in chunk.pages)
    pages = f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]}-{numbers[-1]}"
    heading = " > ".join(chunk.headings)
    typer.echo(printable(f"\n[{chunk.ordinal}] page {pages}" + (f" | {heading}" if heading else "")))
    typer.echo("\n".join(printable(line) for line in chunk.text.splitlines()))
