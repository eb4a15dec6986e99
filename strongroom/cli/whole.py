"""`strongroom summarise`, `compare`, `extract`, `sheet` and `timeline`: work over whole documents."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from strongroom.cli.common import (
    AsUser,
    Collection,
    ConfigFile,
    DataDir,
    Json,
    engine_of,
    print_json,
    printable,
    to_json,
)
from strongroom.cli.naming import find
from strongroom.cli.progress import LINE_EVERY_S
from strongroom.cli.whole_output import (
    ProgressLine,
    Table,
    cell_texts,
    cited,
    print_difference,
    print_done,
    print_point,
    print_row,
)
from strongroom.errors import CancelledError, ExitCode, UsageError
from strongroom.types import ErrorEvent
from strongroom.whole import (
    Dated,
    Difference,
    Point,
    Row,
    SheetAnswer,
    WholeDone,
    WholeItem,
    WholeProgress,
    WholeRequest,
    WholeTask,
)

if TYPE_CHECKING:
    from strongroom.engine import Engine

Documents = Annotated[
    list[str] | None,
    typer.Argument(metavar="[DOCUMENT]...", help="Ids, beginnings of ids, names or paths.", show_default=False),
]
Everything = Annotated[bool, typer.Option("--all", help="Every document that you can read.")]
Again = Annotated[bool, typer.Option("--again", help="Work everything out anew, whatever was kept.")]
Model = Annotated[str | None, typer.Option("--model", "-m", help="Let this installed model write or choose the words.")]
Out = Annotated[
    Path | None, typer.Option("--out", "-o", metavar="FILE", help="Write a table there: .csv, .xlsx or .json.")
]


def summarise(
    documents: Documents = None,
    collection: Collection = None,
    everything: Everything = False,
    points: Annotated[int, typer.Option("--points", "-n", min=1, max=50, help="Points for each document.")] = 8,
    model: Model = None,
    again: Again = False,
    as_user: AsUser = None,
    json_output: Json = False,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Summarise documents or a collection, each point with its quote and page.

    Every passage is read. With the built-in models the points are sentences of the documents, chosen because they stand
    for the rest; with a model that writes well they are its words, each compared with the text. What was worked out is
    kept with its document: a run that was stopped goes on where it was.

    Examples:

        strongroom summarise contract.pdf

        strongroom summarise --collection contracts --points 5
    """
    request = WholeRequest(task="summarise", points=points, model=model, again=again)
    with _work(request, documents, collection, everything, as_user, data_dir, config) as run:
        shown: str | None = None
        for item in run(json_output):
            if isinstance(item, Point) and not json_output:
                title = item.document.name if item.document else "All documents"
                if title != shown:
                    typer.echo(("" if shown is None else "\n") + printable(title))
                    shown = title
                print_point(item)


def compare(
    documents: Documents = None,
    out: Out = None,
    again: Again = False,
    as_user: AsUser = None,
    json_output: Json = False,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Compare the first document with each other: other numbers, dates and names, other wording, what one has alone.

    Examples:

        strongroom compare draft.docx signed.pdf

        strongroom compare 2023.pdf 2024.pdf 2025.pdf --out differences.xlsx
    """
    request = WholeRequest(task="compare", again=again)
    columns = ["topic", "change", "document", "says", "place", "other document", "other says", "other place"]
    table = Table(out, columns)
    with _work(request, documents, None, False, as_user, data_dir, config) as run:
        for item in run(json_output):
            if not isinstance(item, Difference):
                continue
            cells = [item.topic, item.change]
            for side in item.sides:
                cells += [side.document.name, *cited(side.citation)]
            table.add(item, cells)
            if out is None and not json_output:
                print_difference(item)
        table.write()


def extract(
    documents: Documents = None,
    fields: Annotated[
        Path | None, typer.Option("--fields", "-f", metavar="FILE", help="The columns: .toml, .json or .csv.")
    ] = None,
    field: Annotated[
        list[str] | None,
        typer.Option("--field", metavar="NAME[:KIND]", help="A column; text, date, money, number or yes_no."),
    ] = None,
    collection: Collection = None,
    everything: Everything = False,
    out: Out = None,
    model: Model = None,
    again: Again = False,
    as_user: AsUser = None,
    json_output: Json = False,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Read the same fields out of many documents into a table, with a quote and a page for each cell.

    A cell without a value says "not found" and names the nearest passage. Dates, money and numbers are written one way;
    what is ambiguous is flagged. Every cell is kept with its document: repeat the command to go on, or to add fields.

    Examples:

        strongroom extract --collection contracts --field "agreement date:date" --field "governing law" --out table.xlsx

        strongroom extract --all --fields fields.toml --out table.csv

    A file of fields in TOML:

        [[field]]
        name = "Notice period"
        kind = "text"
        question = "How long is the notice period for termination?"
    """
    from strongroom.cli.fields import read_field, read_fields

    chosen = [*(read_fields(fields) if fields is not None else ()), *map(read_field, field or ())]
    if not chosen:
        raise UsageError("no fields were given", hint="Give `--field NAME` or `--fields FILE`.")
    request = WholeRequest(task="extract", fields=tuple(chosen), model=model, again=again)
    per = ("", " (words)", " (confidence)", " (page)", " (quote)", " (flags)")
    table = Table(out, ["document", *(f.name + part for f in chosen for part in per)])
    with _work(request, documents, collection, everything, as_user, data_dir, config) as run:
        for item in run(json_output):
            if isinstance(item, Row):
                table.add(item, [item.document.name, *(text for cell in item.cells for text in cell_texts(cell))])
                if out is None and not json_output:
                    print_row(item)
        table.write()


def sheet(
    questions: Annotated[Path, typer.Argument(metavar="FILE", help="The questionnaire: .csv or .xlsx.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="Where the answers go: .csv, .xlsx, .json.")],
    column: Annotated[
        str | None, typer.Option("--column", help="Title or letter of the column with the questions.")
    ] = None,
    document: Annotated[
        list[str] | None, typer.Option("--document", "-d", metavar="DOCUMENT", help="Only these documents.")
    ] = None,
    collection: Collection = None,
    model: Model = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep the answers that FILE of `--out` already has, and go on.")
    ] = False,
    as_user: AsUser = None,
    json_output: Json = False,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Answer a questionnaire: the same rows and columns come back, with answers, confidence and citations beside them.

    Where the documents do not answer, the row says so. The answers go into the sheet's own column for them where it has
    an empty one ("Answer", "Response"), else into columns to the right. The file is written anew every few answers, so
    that `--resume` can go on after an interruption. Exit code 3: some questions could not be asked, as their notes say.

    Examples:

        strongroom sheet due-diligence.xlsx --out answered.xlsx --collection contracts

        strongroom sheet questions.csv --column Requirement --out answered.csv
    """
    from strongroom.cli.sheets import Questionnaire

    form = Questionnaire.read(questions, column=column, out=out, resume=resume)
    asked = tuple(text for _, text in form.open_questions())
    if not asked:
        form.write()
        typer.echo(f"every question has its answer in {out}", err=True)
        return
    request = WholeRequest(task="sheet", questions=asked, model=model)
    saved = time.monotonic()
    with _work(request, document, collection, True, as_user, data_dir, config) as run:
        try:
            for item in run(json_output):
                if isinstance(item, SheetAnswer):
                    form.take(item)
                    if time.monotonic() - saved > LINE_EVERY_S:
                        form.write()
                        saved = time.monotonic()
        finally:
            if form.begun:
                form.write()
                typer.echo(form.summary(), err=True)


def timeline(
    documents: Documents = None,
    collection: Collection = None,
    everything: Everything = False,
    relative: Annotated[
        bool, typer.Option("--relative/--no-relative", help="Also times like “30 days after”.")
    ] = False,
    out: Out = None,
    again: Again = False,
    as_user: AsUser = None,
    json_output: Json = False,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Lay out the dates of documents in order of time, each with its sentence and page.

    Dates are in ISO 8601. Flagged are ranges, years of two digits, and dates whose day and month could be exchanged.

    Examples:

        strongroom timeline contract.pdf --relative

        strongroom timeline --collection case-17 --out timeline.xlsx
    """
    request = WholeRequest(task="timeline", again=again)
    table = Table(out, ["date", "until", "as written", "flags", "document", "sentence", "place"])
    with _work(request, documents, collection, everything, as_user, data_dir, config) as run:
        for item in run(json_output, keep=lambda i: relative or not isinstance(i, Dated) or bool(i.date)):
            if not isinstance(item, Dated):
                continue
            quote, place = cited(item.citation)
            name = item.citation.document.name
            table.add(item, [item.date, item.until, item.text, ", ".join(item.flags), name, quote, place])
            if out is None and not json_output:
                when = f"{item.date}/{item.until}" if item.until else item.date or "relative"
                flags = f"  [{', '.join(item.flags)}]" if item.flags else ""
                typer.echo(printable(f"{when}  {name}, {place}{flags}\n    “{quote}”"))
        table.write()


# ------------------------------------------------------------------------------------------------ running

Run = Callable[..., Iterator[WholeItem]]
_KEPT = "What was worked out is kept: run the same command again to go on."
_GO_ON: dict[WholeTask, str] = {
    "summarise": _KEPT,
    "compare": "Run the same command again; it begins anew.",
    "extract": _KEPT,
    "sheet": "Run the same command again with `--resume` to go on.",
    "timeline": _KEPT,
}


@contextmanager
def _work(
    request: WholeRequest,
    documents: list[str] | None,
    collection: str | None,
    everything: bool,
    as_user: str | None,
    data_dir: Path | None,
    config: Path | None,
) -> Iterator[Run]:
    """Choose the documents and give a function that runs the work: items as they come, progress on stderr."""
    if not documents and collection is None and not everything:
        raise UsageError("no documents were named", hint="Name documents, or give `--collection NAME` or `--all`.")
    ends: list[WholeDone] = []
    try:
        with engine_of(request.task, data_dir, config, as_user) as opened:
            ids = tuple(find(opened, text, collection).id for text in documents or ())
            wanted = replace(request, documents=ids, collection=collection)
            yield lambda json_output, keep=lambda _i: True: _run(
                opened, wanted, ends, json_output=json_output, keep=keep
            )
    except KeyboardInterrupt:
        raise CancelledError("interrupted", hint=_GO_ON[request.task]) from None
    if any(done.left_out for done in ends):
        raise typer.Exit(int(ExitCode.PARTIAL))


def _run(
    opened: Engine,
    request: WholeRequest,
    ends: list[WholeDone],
    *,
    json_output: bool,
    keep: Callable[[WholeItem], bool],
) -> Iterator[WholeItem]:
    """Items as they come; `ends` gets the last event. Raises what went wrong."""
    from strongroom.wire import error_of

    show, shown = ProgressLine(), 0
    for event in opened.whole(request):
        if isinstance(event, WholeProgress):
            show(event)
        elif isinstance(event, ErrorEvent):
            raise error_of(event)
        elif isinstance(event, WholeDone):
            show.clear()
            done = replace(event, items=shown)  # what was left out by request is not counted
            if json_output:
                print_json(to_json(done))
            print_done(done)
            if not event.documents and not event.left_out and request.task != "sheet":
                typer.echo("hint: there are no documents here that can be read.", err=True)
            ends.append(event)
        elif keep(event):
            show.clear()
            shown += 1
            if json_output:
                print_json(to_json(event))
            yield event
