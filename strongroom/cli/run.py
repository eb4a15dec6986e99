"""Run the typer app and map every outcome to an exit code: the one place where errors become codes."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import typer

from strongroom.errors import ExitCode, StrongroomError

log = logging.getLogger("strongroom")


def run(argv: Sequence[str]) -> int:
    """Execute one command line. Unexpected errors print a short line; `STRONGROOM`'s log keeps the traceback."""
    from strongroom.cli.app import app

    try:
        result = app(args=list(argv), prog_name="strongroom", standalone_mode=False)
    except StrongroomError as exc:
        report(exc)
        return int(exc.exit_code)
    except KeyboardInterrupt:
        result = int(ExitCode.INTERRUPTED)
    except typer.Abort:  # a question was answered with no, or there was nobody to answer it
        typer.echo("not confirmed: nothing was changed", err=True)
        return int(ExitCode.INTERRUPTED)
    except typer.Exit as exc:
        return exc.exit_code
    except Exception as exc:  # the outermost edge
        show = getattr(exc, "show", None)
        if show is not None and hasattr(exc, "exit_code"):  # typer's usage errors
            show()
            return int(exc.exit_code)
        log.exception("unexpected error")
        typer.echo(f"unexpected error: {type(exc).__name__}: {exc}", err=True)
        typer.echo("hint: this is a defect; `strongroom check` may show a cause.", err=True)
        return int(ExitCode.UNEXPECTED)
    if result == ExitCode.INTERRUPTED:  # what typer makes of Ctrl-C
        typer.echo("interrupted", err=True)
    return result if isinstance(result, int) else int(ExitCode.OK)


def report(exc: StrongroomError) -> None:
    """Print an expected error with its hint."""
    typer.echo(f"error: {exc}", err=True)
    if exc.hint:
        typer.echo(f"hint: {exc.hint}", err=True)
