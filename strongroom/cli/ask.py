"""`strongroom ask`: an answer with quotes, streamed."""

from __future__ import annotations

import re
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

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
    engine_of,
    print_json,
    printable,
    say_why_nothing,
    scope_of,
    to_json,
)
from strongroom.errors import UsageError
from strongroom.types import EXTRACTIVE, AnswerEvent, AskRequest, ErrorEvent, StageEvent, TextEvent
from strongroom.words import place

if TYPE_CHECKING:
    from strongroom.engine import Engine
    from strongroom.types import Answer, Citation


def ask(
    question: Annotated[str | None, typer.Argument(help="The question.", show_default=False)] = None,
    collection: Collection = None,
    documents: Documents = None,
    since: Since = None,
    until: Until = None,
    types: Types = None,
    pii: Pii = None,
    model: Annotated[str | None, typer.Option("--model", "-m", help="Answer with this installed model.")] = None,
    verbatim: Annotated[
        bool,
        typer.Option(
            "--verbatim",
            help="Only words that stand in the documents: short for `--style exact`. With --model, it chooses them.",
        ),
    ] = False,
    style: Annotated[
        Literal["exact", "fluent"] | None,
        typer.Option("--style", help="`exact`: the documents' own words. `fluent`: a model's, each sentence checked."),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option("--steps", min=1, max=8, help="Take the question apart into so many at most, and answer each."),
    ] = None,
    batch: Annotated[
        Path | None,
        typer.Option("--batch", help='JSON lines {"id", "question", "history"?}; one answer a line. `-` reads stdin.'),
    ] = None,
    as_user: AsUser = None,
    json_output: Json = False,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Answer a question from the documents, with a quote, page and place for every claim.

    Examples:

        strongroom ask "When does the agreement end?"

        strongroom ask "Who approves expenses?" --verbatim --collection policies

        strongroom ask "Who approves expenses?" --verbatim --model qwen2.5-7b-instruct

        strongroom ask "What does #lease-2024 say about notice?"

        strongroom ask "Which penalties apply?" --document lease-2024.pdf --document amendment.pdf

        strongroom ask "Summarise the notice rules" --style fluent --model qwen2.5-7b-instruct

        strongroom ask "What is the notice period of the lease, and who may terminate it?" --steps 3

        strongroom ask --batch questions.jsonl > answers.jsonl
    """
    from strongroom.app.asking import final_answer
    from strongroom.cli.batch import each_of

    if (question is None) == (batch is None):
        raise UsageError("give either a question or --batch FILE", hint="See `strongroom ask --help`.")
    scope = scope_of(documents, since, until, types, pii)
    request = AskRequest(
        question or "", collection=collection, model=model, verbatim=verbatim, style=style, scope=scope, steps=steps
    )
    with engine_of("ask", data_dir, config, as_user) as opened:
        if batch is not None:
            each_of(batch, request, partial(final_answer, opened))
        elif json_output:
            print_json(to_json(final_answer(opened, request)))
        else:
            stream_answer(opened, request)


def stream_answer(opened: Engine, request: AskRequest) -> None:
    """Print words as they come, then the quotes they rest on."""
    from strongroom.wire import error_of

    answer: Answer | None = None
    begun = False
    for event in opened.ask(request):
        if isinstance(event, StageEvent) and event.stage == "step":
            typer.echo(printable(f"step {event.detail}"), err=True)
        elif isinstance(event, StageEvent) and not begun and sys.stderr.isatty():
            detail = f" ({event.detail})" if event.detail else ""
            sys.stderr.write(f"\r\x1b[2K{event.stage}{detail}…")
            sys.stderr.flush()
        elif isinstance(event, TextEvent):
            if not begun and sys.stderr.isatty():
                sys.stderr.write("\r\x1b[2K")
            begun = True
            sys.stdout.write(event.text)
            sys.stdout.flush()
        elif isinstance(event, AnswerEvent):
            answer = event.answer
        elif isinstance(event, ErrorEvent):
            raise error_of(event)
    if answer is not None:
        show_sources(answer, printed=begun)
        if answer.abstained and not answer.citations:
            say_why_nothing(opened, request.scope)


def show_sources(answer: Answer, *, printed: bool) -> None:
    """Print what the words rest on: each citation with document, page and quote, and what no quote carries."""
    from rich.console import Console
    from rich.text import Text

    console = Console()
    if not printed:
        console.print(Text(answer.answer))
    console.print()
    cited = {n for s in answer.sentences for n in s.citations}
    shown = [c for c in answer.citations if answer.abstained or c.n in cited] or list(answer.citations)
    if answer.clarify is not None:
        for option in answer.clarify.options:
            console.print(Text(f"  - {option}"))
        if not answer.abstained:
            console.print(Text(f"{answer.clarify.question} Name it as #name in the question.", style="yellow"))
    if answer.abstained and answer.searched:
        console.print(Text(f"Searched: {answer.searched}.", style="dim"))
    if answer.abstained and shown:
        console.print(Text("Nearest passages (not an answer):", style="bold"))
    for citation in shown:
        console.print(
            Text.assemble(
                (f"[{citation.n}] ", "bold"), citation.document.name, f", {place(citation.page, citation.locator)}"
            )
        )
        console.print(Text.assemble("    “", *marked(citation, answer), "”", style="italic"))
    for sentence in answer.sentences:
        if sentence.support != "supported":
            console.print(Text(f"{sentence.support}: {' '.join(sentence.text.split())}", style="yellow"))
        if sentence.unfounded:
            console.print(Text(f"    stands in no quote: {', '.join(sentence.unfounded)}", style="yellow"))
    total = answer.timings_ms.get("total", 0.0) / 1000
    who = "the documents' own words" if answer.model == EXTRACTIVE else answer.model
    facts = [*([] if answer.abstained else [who]), f"confidence {answer.confidence:.2f}", f"{total:.1f} s"]
    console.print(Text("\n" + ", ".join(facts), style="dim"))


def marked(citation: Citation, answer: Answer) -> list[tuple[str, str]]:
    """The quote as pieces with their styles: the words that answer in bold, white space made single."""
    from strongroom import quotes

    pieces = quotes.marked(citation, answer)
    return [(re.sub(r"\s+", " ", piece["text"]), "bold" if piece["mark"] else "") for piece in pieces]
