"""`strongroom ingest`: files and folders into the index, with progress."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from strongroom.cli.common import AsUser, ConfigFile, DataDir, Json, engine, load_settings, print_json, to_json
from strongroom.cli.progress import Reasons, reporting, show_reasons
from strongroom.cli.report import RunRecord, doubtful, require_page, run_page
from strongroom.errors import ExitCode, UsageError
from strongroom.files import replace_file
from strongroom.types import FileOutcome, IngestEngine, IngestEvent, IngestRequest, IngestSummary, OcrMode
from strongroom.words import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from strongroom.config import Settings
    from strongroom.engine import Engine


def ingest(
    paths: Annotated[list[Path], typer.Argument(help="Files and folders.", show_default=False)],
    collection: Annotated[str, typer.Option("--collection", "-c", help="Collection to put them in.")] = "default",
    group: Annotated[
        list[str] | None, typer.Option("--group", "-g", help="Group that may read them; repeatable.")
    ] = None,
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Parser processes.")] = None,
    prune: Annotated[
        bool, typer.Option("--prune", help="Delete documents whose files have vanished from PATHS.")
    ] = False,
    prune_all: Annotated[
        bool,
        typer.Option("--prune-all", help="The same where all or most documents of a folder would go: else they stay."),
    ] = False,
    restore: Annotated[
        bool, typer.Option("--restore", help="Take files in again whose documents were deleted here.")
    ] = False,
    rehash: Annotated[
        bool, typer.Option("--rehash", help="Read every file, also where its size and times have not changed.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on until interrupted: follow what changes in PATHS.")
    ] = False,
    poll: Annotated[
        float | None,
        typer.Option(
            "--poll",
            min=1,
            metavar="SECONDS",
            help="With --watch: look at everything that often. For network drives, which do not report changes.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would happen; change nothing.")] = False,
    ocr: Annotated[
        OcrMode | None,
        typer.Option("--ocr", help="Which pages OCR reads, in this run: those without usable text, all, or none."),
    ] = None,
    engine_name: Annotated[
        IngestEngine | None,
        typer.Option("--engine", help="Parse and embed in processes here, or on a Ray cluster (default: the setting)."),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option("--address", metavar="HOST:PORT", help="The Ray cluster; without, one is started here."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE.html", help="Write a report of the run as an HTML page.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no lists; errors only.")] = False,
    password_file: Annotated[
        Path | None,
        typer.Option("--password-file", help="File of passwords, one a line, to try in order on locked files."),
    ] = None,
    as_user: AsUser = None,
    json_output: Json = False,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Read files and folders, and make them searchable.

    Unchanged files cost nothing, changed ones replace their old version, moved ones stay the same document, copies are
    read once, and a bad file is named with its reason while the rest goes on. The run can be broken off and repeated at
    any time. Exit code 3 means that some files failed.

    Examples:

        strongroom ingest ./contracts

        strongroom ingest ./policies report.pdf --collection policies --prune

        strongroom ingest /archive --dry-run --json

        strongroom ingest ./scans --ocr always

        strongroom ingest ./contracts --watch --prune

        strongroom ingest ./contracts --report contracts.html

        strongroom ingest /archive --engine ray --address 10.0.0.5:6379

        strongroom ingest ./deals --password-file ~/passwords.txt
    """
    if address is not None and engine_name is None:
        engine_name = "ray"
    if report is not None:
        require_page(report)
        if watch:
            raise UsageError("--watch never ends, so there is nothing to report", hint="Leave one of the two out.")
    settings = load_settings(data_dir, config, ingest_engine=engine_name, ray_address=address).settings
    if engine_name is not None:
        _require_no_server(settings)
    request = IngestRequest(
        paths=tuple(str(p) for p in paths),
        collection=collection,
        groups=tuple(group or ()),
        workers=workers,
        prune=prune or prune_all,
        prune_all=prune_all,
        restore=restore,
        rehash=rehash,
        dry_run=dry_run,
        ocr=ocr,
        passwords=_passwords(password_file),
    )
    cancel = threading.Event()
    reasons = Reasons()
    record = RunRecord()

    def seen(outcome: FileOutcome) -> None:
        reasons.add(outcome)
        if report is not None:
            record.add(outcome)

    with (
        engine(settings, purpose="strongroom ingest", as_user=as_user) as opened,
        reporting(json_output=json_output, quiet=quiet, seen=seen) as on_event,
    ):
        if watch:
            keep_in_step(opened, request, settings, poll=poll, on_event=on_event, json_output=json_output)
            return
        try:
            summary = opened.ingest(request, on_event=on_event, cancel=cancel)
        except KeyboardInterrupt:
            cancel.set()
            typer.echo("what is done stays; the same command goes on from there", err=True)
            raise
        doubts = [] if report is None else doubtful(opened, collection, record.documents)
    if json_output:
        print_json({"summary": to_json(summary)})
    elif not quiet:
        show_summary(summary)
        show_reasons(reasons, summary)
    if report is not None:
        replace_file(report, run_page(record, summary, request, doubts).encode())
    if summary.partial:
        raise typer.Exit(int(ExitCode.PARTIAL))


def keep_in_step(
    opened: Engine,
    request: IngestRequest,
    settings: Settings,
    *,
    poll: float | None,
    on_event: Callable[[IngestEvent], None],
    json_output: bool,
) -> None:
    """`--watch`: ingest, then follow what changes, until interrupted."""
    import signal

    from ingest.watch import follow

    for path in request.paths:
        if not Path(path).exists():
            raise UsageError(f"{path} does not exist", hint="Check the path; nothing is watched.")
    if request.dry_run:
        raise UsageError("--watch cannot be a dry run", hint="Leave one of the two out.")
    if request.passwords:
        raise UsageError("--watch takes no passwords: they are kept for one run", hint="Leave one of the two out.")
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())

    def on_summary(summary: IngestSummary) -> None:
        if json_output:
            print_json({"summary": to_json(summary)})
        elif set(summary.outcomes) - {"unchanged", "vanished", "skipped"}:
            show_summary(summary)

    typer.echo("watching; press Ctrl-C to stop", err=True)
    limit = settings.max_file_mb << 20
    follow(opened, request, on_event=on_event, on_summary=on_summary, stop=stop, max_bytes=limit, poll=poll)


def _require_no_server(settings: Settings) -> None:
    """Where work is done is decided by whoever does it: a running server has settings of its own."""
    from strongroom.client.server_info import read_server_info

    if read_server_info(settings.data_dir) is not None:
        raise UsageError(
            "a server works on this data directory, and it decides where to ingest",
            hint="Set `ingest_engine` and `ray_address` in its configuration and restart it, or stop it first.",
        )


def _passwords(path: Path | None) -> tuple[str, ...]:
    """The lines of a password file as they stand, without their ends; empty lines are none."""
    if path is None:
        return ()
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise UsageError(f"the password file {path} cannot be read", hint="Give a UTF-8 text file.") from exc
    return tuple(line for line in lines if line)


def show_summary(summary: IngestSummary) -> None:
    """One line of totals on stderr."""
    counts = ", ".join(f"{n} {outcome}" for outcome, n in sorted(summary.outcomes.items()) if n) or "nothing to do"
    facts = [f"{summary.seconds:.1f} s"]
    if summary.pages:
        rate = summary.pages / summary.seconds if summary.seconds > 0 else 0.0
        facts = [counted(summary.pages, "page"), counted(summary.chunks, "chunk"), *facts, f"{rate:.1f} pages/s"]
    typer.echo(f"would be: {counts}" if summary.dry_run else f"{counts} ({', '.join(facts)})", err=True)
    if summary.kept:
        typer.echo(
            f"{summary.kept} documents have lost their files but were kept, because all or most of a folder would go "
            "at once: check that it is mounted, or use `--prune-all`.",
            err=True,
        )
