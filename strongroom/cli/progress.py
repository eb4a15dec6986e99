"""What a long run shows while it goes on and when it ends: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import typer

from strongroom.cli.common import print_json, printable, to_json
from strongroom.types import FileOutcome, IngestEvent, IngestProgress, IngestSummary
from strongroom.words import duration, size

if TYPE_CHECKING:
    from collections.abc import Callable

LINE_EVERY_S = 10.0
GONE_WELL = frozenset({"indexed", "unchanged", "moved"})  # outcomes that went well: counted, not listed


@dataclass(slots=True)
class Reasons:
    """Files that did not go well by outcome and reason, with one example of each."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    examples: dict[tuple[str, str], str] = field(default_factory=dict)

    def add(self, outcome: FileOutcome) -> None:
        if outcome.outcome not in GONE_WELL:
            key = (outcome.outcome, outcome.reason or "no reason given")
            self.counts[key] += 1
            self.examples.setdefault(key, outcome.path)


def show_reasons(reasons: Reasons, summary: IngestSummary) -> None:
    """A table on stderr of what did not go well, and what to run next."""
    if reasons.counts:
        from rich.console import Console
        from rich.table import Column, Table
        from rich.text import Text

        columns = (Column("files", justify="right"), "outcome", Column("reason", ratio=3), Column("example", ratio=2))
        table = Table(*columns, box=None, header_style="bold", expand=True)
        for (outcome, reason), count in reasons.counts.most_common():
            example = Text(printable(reasons.examples[outcome, reason]), overflow="fold")
            table.add_row(str(count), outcome, Text(printable(reason), overflow="fold"), example)
        Console(stderr=True).print(table)
    if (summary.outcomes.get("failed") or summary.outcomes.get("quarantined")) and not summary.dry_run:
        typer.echo(
            "See them with `strongroom documents list --failed`, try again with `strongroom documents retry`.", err=True
        )


def eta(progress: IngestProgress) -> float | None:
    """Seconds left at the pace so far, by bytes where those are known, else by files; `None` before there is a pace."""
    done, total = progress.bytes_done, progress.bytes_total
    if not total:
        done, total = progress.files_done, progress.files_total
    if not total or not done or progress.seconds <= 0:
        return None
    return progress.seconds * max(0, total - done) / done


def progress_line(progress: IngestProgress) -> str:
    """One line of where a run stands."""
    total = "?" if progress.files_total is None else f"{progress.files_total:,}"
    rate = progress.pages_done / progress.seconds if progress.seconds > 0 else 0.0
    parts = [
        f"{progress.stage or 'working'}: {progress.files_done:,} of {total} files",
        f"{progress.pages_done:,} pages ({rate:.1f} pages/s)",
    ]
    if progress.bytes_total:
        parts.append(f"{size(progress.bytes_done)} of {size(progress.bytes_total)}")
    left = eta(progress)
    if left:
        parts.append(f"about {duration(left)} left")
    if progress.failed:
        parts.append(f"{progress.failed:,} failed")
    if progress.current:
        parts.append("at " + _name(progress.current[0]))
    return ", ".join(parts)


@contextmanager
def reporting(
    *, json_output: bool, quiet: bool = False, seen: Callable[[FileOutcome], None] | None = None
) -> Iterator[Callable[[IngestEvent], None]]:
    """Events to stdout (JSON lines) and stderr (people). `quiet` keeps stderr free; `seen` gets every outcome."""
    shown = _lines() if quiet or not sys.stderr.isatty() else _bar()
    with shown as (progress, write):

        def on_event(event: IngestEvent) -> None:
            if isinstance(event, IngestProgress):
                if not quiet:
                    progress(event)
                return
            if seen is not None:
                seen(event)
            if json_output:
                print_json(to_json(event))
            elif event.outcome not in GONE_WELL and not quiet:
                reason = f" ({event.reason})" if event.reason else ""
                write(printable(f"{event.outcome}: {event.path}{reason}"))

        yield on_event


@contextmanager
def _lines() -> Iterator[tuple[Callable[[IngestProgress], None], Callable[[str], None]]]:
    def write(line: str) -> None:
        typer.echo(line, err=True)

    due = time.monotonic() + LINE_EVERY_S

    def progress(event: IngestProgress) -> None:
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + LINE_EVERY_S
            write(progress_line(event))

    yield progress, write


@contextmanager
def _bar() -> Iterator[tuple[Callable[[IngestProgress], None], Callable[[str], None]]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
    from rich.text import Text

    columns = (
        SpinnerColumn(),
        TextColumn("{task.fields[stage]}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[counts]}", markup=False),
        TextColumn("{task.fields[current]}", markup=False, style="dim"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("files", total=None, stage="starting", counts="", current="")

        def progress(event: IngestProgress) -> None:
            stage, _, counts = progress_line(event).partition(": ")
            by_bytes = bool(event.bytes_total)
            bar.update(
                task,
                total=event.bytes_total if by_bytes else event.files_total,
                completed=event.bytes_done if by_bytes else event.files_done,
                stage=stage,
                counts=counts.partition(", at ")[0],
                current=_name(event.current[0]) if event.current else "",
            )

        def write(line: str) -> None:
            bar.console.print(Text(line), soft_wrap=True)

        yield progress, write


def _name(path: str) -> str:
    name = printable(PurePosixPath(path).name or path)
    return name if len(name) <= 40 else name[:25] + "…" + name[-14:]
