"""`strongroom search`: the passages that match a question."""

from __future__ import annotations

from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Annotated

import typer

from strongroom.cli.common import (
    AsUser,
    Collection,
    ConfigFile,
    DataDir,
    Documents,
    Json,
    Pii,
    Since,
    Types,
    Until,
    engine,
    load_settings,
    print_json,
    say_why_nothing,
    scope_of,
    to_json,
)
from strongroom.errors import UsageError
from strongroom.types import MOST_HITS, SearchRequest
from strongroom.words import counted, place

if TYPE_CHECKING:
    from strongroom.types import SearchResult


def search(
    question: Annotated[str | None, typer.Argument(help="What to look for.", show_default=False)] = None,
    k: Annotated[int | None, typer.Option("-k", min=1, max=MOST_HITS, help="How many passages.")] = None,
    collection: Collection = None,
    documents: Documents = None,
    since: Since = None,
    until: Until = None,
    types: Types = None,
    pii: Pii = None,
    batch: Annotated[
        Path | None, typer.Option("--batch", help='JSON lines {"id", "question"}; one result a line. `-` reads stdin.')
    ] = None,
    as_user: AsUser = None,
    json_output: Json = False,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Find the passages that match a question, best first.

    Examples:

        strongroom search "notice period for termination"

        strongroom search "liability cap" -k 3 --collection contracts --json

        strongroom search "termination" --type pdf --since 2026-01-01

        strongroom search "bank details" --pii iban --pii card

        strongroom search --batch questions.jsonl > results.jsonl
    """
    from strongroom.cli.batch import each_of

    if (question is None) == (batch is None):
        raise UsageError("give either a question or --batch FILE", hint="See `strongroom search --help`.")
    scope = scope_of(documents, since, until, types, pii)
    settings = load_settings(data_dir, config).settings
    request = SearchRequest(question or "", k=k or settings.search_k, collection=collection, scope=scope)
    with engine(settings, purpose="strongroom search", as_user=as_user) as opened:
        if batch is not None:
            each_of(batch, request, opened.search)
            return
        result = opened.search(request)
        if not result.hits:
            say_why_nothing(opened, scope)
    if json_output:
        print_json(to_json(result))
    else:
        _show(result)


def _show(result: SearchResult) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(soft_wrap=False)
    if not result.hits:
        console.print("No passage matches.")
    for n, hit in enumerate(result.hits, start=1):
        where = place(hit.pages[0] if hit.pages else None, hit.locator)
        console.print(
            Text.assemble((f"{n}. ", "bold"), (hit.document.name, "bold"), f", {where}", (f"  {hit.score:.3f}", "dim"))
        )
        console.print(Text("   " + shorten(hit.text, 400, placeholder=" …")))
        console.print()
    console.print(Text(f"{counted(len(result.hits), 'passage')} in {result.timings_ms['total']:.0f} ms", style="dim"))
