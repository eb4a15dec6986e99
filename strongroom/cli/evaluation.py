"""`strongroom eval`: measure answers on questions with known answers, compare configurations, report."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    printable,
)
from strongroom.cli.progress import LINE_EVERY_S
from strongroom.errors import CancelledError, ExitCode, UsageError
from strongroom.files import require_writable

if TYPE_CHECKING:
    from evals.questions import QuestionSet
    from evals.runs import Progress, Run
    from strongroom.config import Settings
    from strongroom.engine import Engine

app = typer.Typer(help="Measure answers on questions with known answers; compare configurations.", no_args_is_help=True)

Language = Annotated[str | None, typer.Option("--language", help="XQuAD: language of the questions.")]
_NAMED = 5  # questions that are named in a warning
RunFolder = Annotated[Path, typer.Argument(help="Folder of a run.", show_default=False)]


@app.command()
def run(
    source: Annotated[
        Path,
        typer.Argument(
            help="A data folder (cuad, squad2, xquad, pubmedqa, kg10q), a SQuAD-style .json, or a question file "
            "(.jsonl, .csv).",
            show_default=False,
        ),
    ],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder of the run (default: eval-NAME).")] = None,
    documents: Annotated[
        Path | None,
        typer.Option("--documents", help="Ingest these files for the run, instead of asking what is stored already."),
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only so many questions, evenly drawn.")] = None,
    search_only: Annotated[bool, typer.Option("--search-only", help="Measure the search, ask for no answers.")] = False,
    assign: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Measure with this setting; repeatable.")
    ] = None,
    language: Language = None,
    document_language: Annotated[
        str | None, typer.Option("--document-language", help="XQuAD: language of the paragraphs.")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget the results in the folder and begin again.")] = False,
    cache: Annotated[
        Path | None, typer.Option("--cache", help="Where documents of question sets stay ingested between runs.")
    ] = None,
    collection: Collection = None,
    as_user: AsUser = None,
    json_output: Json = False,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Ask every question and score hits, quotes, citations, words and confidence, with 95 % intervals by document.

    Results are kept question by question: a run that was broken off goes on where it stopped. The folder holds words of
    documents in the clear, for its owner alone. A data folder brings its documents; they are ingested into an appliance
    of their own, once. A question file asks the organisation's own, or what `--documents` names. A question file looks
    like samples/questions.jsonl: question, document, pages, answers, unanswerable. Exit code 3: some questions failed.

    Examples:

        strongroom eval run samples/questions.jsonl --documents samples/documents

        strongroom eval run ./our-questions.csv --collection contracts --out eval-contracts

        strongroom eval run /data/cuad --search-only --set search_k=8 --json

        strongroom eval run /data/xquad --language de --document-language en --out eval-de-en
    """
    from evals import datasets, figures, report, runs

    settings = load_settings(data_dir, config, **_assigned(assign)).settings
    questions = _questions(datasets.load(source, language=language, document_language=document_language), documents)
    if search_only:
        questions = _answerable(questions)
    questions = questions.sample(limit)
    folder = out or Path(f"eval-{questions.name}")
    with (
        _going_on("Repeat the command to go on."),
        _opened(questions, settings, cache=cache, as_user=as_user, assigned=bool(assign)) as (opened, named),
    ):
        _warn_astray(questions, opened, collection)
        about = runs.describe(questions, settings, documents=named, answers=not search_only)
        with _reporting() as on_progress:
            done = runs.run(
                questions,
                opened,
                folder=folder,
                about=about,
                collection=collection,
                fresh=fresh,
                on_progress=on_progress,
            )
    found = figures.of_run(done)
    _keep(done, found)
    if json_output:
        print_json(found)
    else:
        _show(found)
        typer.echo(f"report: {folder / report.NAME}", err=True)
    if found["failed"]:
        first = next(row["error"] for row in done.rows if "error" in row)
        typer.echo(f"the first of them: {first}", err=True)
        raise typer.Exit(int(ExitCode.PARTIAL))


@app.command()
def compare(
    first: RunFolder,
    second: RunFolder,
    html: Annotated[Path | None, typer.Option("--html", help="Write a report to this file too.")] = None,
    json_output: Json = False,
) -> None:
    """Compare two runs over the same questions: differences with intervals, and how likely chance alone made them.

    p comes from flipping the signs of whole documents' differences, and is corrected for the number of metrics (Holm).

    Examples:

        strongroom eval run /data/squad2 --out a

        strongroom eval run /data/squad2 --set abstain_below=0.5 --out b

        strongroom eval compare a b --html a-b.html
    """
    from evals import figures, report, runs
    from evals.questions import write_private

    if html is not None:
        require_writable(html)
    found = figures.compared(runs.load(first), runs.load(second))
    if html is not None:
        write_private(html, report.comparison(found))
    if json_output:
        print_json(found)
    else:
        _show_comparison(found)


@app.command("report")
def report_(
    folder: RunFolder,
    html: Annotated[Path | None, typer.Option("--html", help="File to write (default: report.html in it).")] = None,
    json_output: Json = False,
) -> None:
    """Work a run's figures and its HTML report out again from its kept results, finished or not.

    Example:

        strongroom eval report eval-contracts --html contracts.html
    """
    from evals import figures, runs

    held = runs.load(folder)
    if html is not None:
        require_writable(html)
    found = figures.of_run(held)
    _keep(held, found, html)
    if json_output:
        print_json(found)
    else:
        _show(found)


@app.command()
def calibrate(
    folder: RunFolder,
    out: Annotated[Path, typer.Option("--out", "-o", help="Calibration file to write.")] = Path("calibration.json"),
    max_error: Annotated[
        float, typer.Option("--max-error", min=0.001, max=0.5, help="Share of wrong answers to stay below.")
    ] = 0.05,
    html: Annotated[
        Path | None, typer.Option("--html", help="Page with the plots (default: calibration.html in the run).")
    ] = None,
    json_output: Json = False,
) -> None:
    """Fit the confidence of answers to your own questions, from a run over them.

    Takes a run with at least 20 questions that have an answer and 20 that have none. Writes a file for the setting
    `calibration`, a page with the risk-coverage plot, and says the threshold (`abstain_below`) from which at most
    --max-error of the answers are wrong, with 95 % confidence.

    Examples:

        strongroom eval run our-questions.jsonl --collection contracts --out ours

        strongroom eval calibrate ours --out calibration.json

        strongroom eval calibrate ours --max-error 0.1 --json
    """
    from evals import calibrate as fitting
    from evals import runs
    from evals.questions import write_private

    held = runs.load(folder)
    place = html or folder / "calibration.html"
    for path in (out, place):
        require_writable(path)
    found, after = fitting.fit(held, risk=max_error)
    fitting.write(out, found, held)
    write_private(place, fitting.page(held, found, after))
    if json_output:
        print_json(fitting.summary(found))
        return
    typer.echo(f"{found.questions} questions, {found.answerable} with an answer; AUROC {found.auroc:.3f}")
    typer.echo(f"squared error {found.brier_before:.4f}, {found.brier_after:.4f} after, on documents held apart")
    if found.threshold is None:
        typer.echo(f"No threshold keeps wrong answers at or below {max_error:.0%} with 95 % confidence here.")
    else:
        typer.echo(
            f"abstain_below = {found.threshold:.2f} answers {found.coverage:.0%} of them with at most "
            f"{max_error:.0%} wrong"
        )
    typer.echo(f"{out}, {place}. Set `calibration = {str(out.absolute())!r}` to use it.", err=True)


@app.command()
def generate(
    out: Annotated[Path, typer.Argument(help="Question file to write (.jsonl).", show_default=False)],
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="Questions to draft.")] = 50,
    unanswerable: Annotated[int, typer.Option("--unanswerable", min=0, help="And so many without an answer.")] = 10,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Have this installed model word them (default: templates).")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Another seed draws other sentences.")] = 7,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
    collection: Collection = None,
    as_user: AsUser = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Draft a question file from the stored documents. Every line is a draft: read, mend and delete before measuring.

    Examples:

        strongroom eval generate drafts.jsonl --collection contracts

        strongroom eval generate drafts.jsonl -n 100 --unanswerable 20 --model qwen2.5-7b-instruct
    """
    from evals import generate as drafting
    from evals.questions import write_questions

    if out.exists() and not force:
        raise UsageError(f"{out} exists", hint="Give another name, or `--force` to replace it: edits in it are lost.")
    require_writable(out)
    settings = load_settings(data_dir, config).settings
    write = None
    if model is not None:
        from strongroom.app.models import InstalledModels

        write = drafting.model_writer(InstalledModels(settings).llm(model))
    with engine(settings, purpose="strongroom eval generate", as_user=as_user) as opened:
        drafts = drafting.generate(
            opened,
            count=count,
            unanswerable=unanswerable,
            collection=collection,
            write=write,
            seed=seed,
            on_progress=_counting("documents read"),
        )
    write_questions(out, drafts)
    without = sum(q.unanswerable for q in drafts)
    typer.echo(f"{out}: {len(drafts)} drafts, {without} of them without an answer. Check each before use.", err=True)
    if len(drafts) < count + unanswerable:
        typer.echo(
            f"Fewer than the {count + unanswerable} that were asked for: no more sentences state enough.", err=True
        )


# ------------------------------------------------------------------------------------------------ parts


@contextmanager
def _going_on(hint: str) -> Iterator[None]:
    """Ctrl-C as an end that says what to do next."""
    try:
        yield
    except KeyboardInterrupt:
        raise CancelledError("interrupted", hint=hint) from None


def _warn_astray(questions: QuestionSet, opened: Engine, collection: str | None) -> None:
    """Name what the questions say of documents that are not there, before anything is asked.

    Raises `NotFoundError` for a collection that is not there.
    """
    documents = opened.documents(collection)
    astray = [] if questions.texts else questions.astray(documents)  # a set's own texts are there
    for line in astray[:_NAMED]:
        typer.echo(printable(f"warning: question {line}"), err=True)
    if astray:
        more = f"{len(astray) - _NAMED} more like it; " if len(astray) > _NAMED else ""
        typer.echo(f"warning: {more}what is not there counts as not found", err=True)


def _assigned(pairs: list[str] | None) -> dict[str, Any]:
    """`KEY=VALUE` options as settings; the settings model says what is wrong with a value."""
    from strongroom.config import Settings

    out: dict[str, Any] = {}
    for pair in pairs or ():
        key, sign, value = pair.partition("=")
        if not sign or key not in Settings.model_fields:
            raise UsageError(
                f"--set {pair}: not KEY=VALUE with a known key", hint="`strongroom config show` lists keys."
            )
        out[key] = value
    return out


def _questions(questions: QuestionSet, documents: Path | None) -> QuestionSet:
    from dataclasses import replace

    if documents is None:
        return questions
    if questions.has_documents:
        raise UsageError("this set brings its own documents", hint="Leave `--documents` out.")
    if not documents.exists():
        raise UsageError(
            f"{documents} does not exist", hint="Give the folder of documents that the questions are about."
        )
    return replace(questions, files=(documents,))


def _answerable(questions: QuestionSet) -> QuestionSet:
    from dataclasses import replace

    return replace(questions, questions=tuple(q for q in questions.questions if not q.unanswerable))


@contextmanager
def _opened(
    questions: QuestionSet, settings: Settings, *, cache: Path | None, as_user: str | None, assigned: bool
) -> Iterator[tuple[Engine, str]]:
    """The engine to ask and the name of what it knows: the set's own documents, or the organisation's."""
    from evals.corpus import corpus_key, default_cache, opened
    from strongroom.cli.progress import reporting
    from strongroom.client.server_info import read_server_info

    if questions.has_documents:
        if as_user is not None:
            raise UsageError("nobody else may read a set's own documents", hint="Leave `--as` out.")
        with (
            reporting(json_output=False) as on_event,
            opened(questions, settings, cache=cache or default_cache(), on_event=on_event) as own,
        ):
            yield own, corpus_key(questions, settings)
        return
    if assigned and read_server_info(settings.data_dir) is not None:
        raise UsageError(
            "the running server answers with its own settings", hint="Stop it to measure with `--set`, or leave it out."
        )
    with engine(settings, purpose="strongroom eval", as_user=as_user) as organisation:
        yield organisation, "organisation"


@contextmanager
def _reporting() -> Iterator[Callable[[Progress], None]]:
    """Progress with the time left: a bar on a terminal, else a line now and then."""
    if not sys.stderr.isatty():
        yield _lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("questions"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("questions", total=None, left="")
        yield lambda p: bar.update(task, total=p.total, completed=p.done, left=_left(p))


def _lines() -> Callable[[Progress], None]:
    count = _counting("questions")
    return lambda progress: count(progress.done, progress.total, _left(progress))


def _counting(what: str) -> Callable[..., None]:
    """A line now and then: how many of how many."""
    said = time.monotonic()

    def on_progress(done: int, total: int, left: str = "") -> None:
        nonlocal said
        if time.monotonic() - said >= LINE_EVERY_S or done == total:
            said = time.monotonic()
            typer.echo(f"{done} of {total} {what} {left}".rstrip(), err=True)

    return on_progress


def _left(progress: Progress) -> str:
    seconds = progress.seconds_left
    if seconds is None or progress.done == progress.total:
        return ""
    rate = progress.fresh / progress.seconds if progress.seconds else 0.0
    minutes, rest = divmod(round(seconds), 60)
    return f"{rate:.1f}/s, {minutes}:{rest:02d} left"


def _keep(held: Run, found: dict[str, Any], html: Path | None = None) -> None:
    import json

    from evals import report
    from evals.questions import write_private

    write_private(held.folder / "figures.json", json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    write_private(html or held.folder / report.NAME, report.page(held, found))


def _show(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Column, Table

    from evals.scoring import METRICS

    table = Table(
        Column("metric"),
        Column("mean", justify="right"),
        Column("95 % interval"),
        "questions",
        box=None,
        header_style="bold",
    )
    for name, entry in found["metrics"].items():
        table.add_row(METRICS[name].label, f"{entry['mean']:.3f}", _interval(entry), str(entry["n"]))
    abstention = found["abstention"]
    if abstention is not None:
        for label, key in (("AUROC answerable", "auroc_answerable"), ("AUROC right", "auroc_right")):
            if abstention[key]["value"] is not None:
                table.add_row(label, f"{abstention[key]['value']:.3f}", _interval(abstention[key]), "")
        promise = abstention["guarantee"]
        table.add_row(
            f"answerable at {promise['risk']:.0%} error", f"{promise['coverage']:.3f}", "", str(promise["questions"])
        )
    for name, entry in found["latency_ms"].items():
        table.add_row(f"{name} p50 / p99, ms", f"{entry['p50']:.1f}", f"{entry['p99']:.1f}", "")
    Console().print(table)
    if found["failed"]:
        typer.echo(f"{found['failed']} questions failed; repeat the command to ask them again", err=True)


def _show_comparison(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Column, Table

    from evals.scoring import METRICS

    right = [Column(name, justify="right") for name in ("first", "second", "difference")]
    table = Table("metric", *right, "95 % interval", "p", "p (Holm)", box=None, header_style="bold")
    for name, entry in found["metrics"].items():
        table.add_row(
            METRICS[name].label,
            f"{entry['first']:.3f}",
            f"{entry['second']:.3f}",
            f"{entry['difference']:+.3f}",
            _interval(entry),
            f"{entry['p']:.3f}",
            f"{entry['p_holm']:.3f}",
        )
    Console().print(table)
    for key, (a, b) in found["changed"].items():
        typer.echo(f"{key}: {a} -> {b}", err=True)


def _interval(entry: dict[str, Any]) -> str:
    return "" if entry["low"] is None else f"{entry['low']:.3f} to {entry['high']:.3f}"
