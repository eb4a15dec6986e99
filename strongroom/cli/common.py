"""What commands share: options, settings, the choice of engine, JSON output."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

if TYPE_CHECKING:
    from strongroom.app.appliance import Appliance
    from strongroom.config import Loaded, Settings
    from strongroom.engine import Engine
    from strongroom.types import PersonalFilter, Problem, Scope

DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Data directory (default: STRONGROOM_DATA_DIR, else the user's data home)."),
]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="TOML configuration file.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
AsUser = Annotated[
    str | None, typer.Option("--as", metavar="USER", help="Act as another user; administrators only, and audited.")
]
Documents = Annotated[
    list[str] | None,
    typer.Option("--document", "-d", help="Only this document: an id, a name, or words of one. Repeatable."),
]
Since = Annotated[
    datetime | None,
    typer.Option("--since", formats=["%Y-%m-%d"], metavar="DAY", help="Only documents taken in on this day or later."),
]
Until = Annotated[
    datetime | None,
    typer.Option("--until", formats=["%Y-%m-%d"], metavar="DAY", help="Only documents taken in on this day or before."),
]
Types = Annotated[
    list[str] | None, typer.Option("--type", metavar="ENDING", help="Only files of this type, as in pdf. Repeatable.")
]
Pii = Annotated[
    list[str] | None,
    typer.Option("--pii", metavar="KIND", help="Only documents with this kind of personal data, or `any`. Repeatable."),
]
Collection = Annotated[str | None, typer.Option("--collection", "-c", help="Only this collection.")]


def scope_of(
    documents: list[str] | None,
    since: datetime | None,
    until: datetime | None,
    types: list[str] | None,
    pii: list[str] | None,
) -> Scope:
    """The scope that the options name. Raises `UsageError` for days in the wrong order and unknown kinds."""
    from strongroom.errors import UsageError
    from strongroom.types import Scope

    if since is not None and until is not None and since > until:
        raise UsageError("--since is after --until", hint="Nothing can lie between them.")
    return Scope(
        documents=tuple(documents or ()),
        since=since.date() if since else None,
        until=until.date() if until else None,
        types=tuple(types or ()),
        personal=personal_of(pii),
    )


def personal_of(pii: list[str] | None) -> tuple[PersonalFilter, ...]:
    """What `--pii` names. Raises `UsageError` for an unknown kind."""
    from strongroom.errors import UsageError
    from strongroom.types import PERSONAL_KINDS

    unknown = sorted({*(pii or ())} - {"any", *PERSONAL_KINDS})
    if unknown:
        raise UsageError(
            f"no such kind of personal data: {unknown[0]}", hint=f"Kinds: {', '.join(PERSONAL_KINDS)}, any."
        )
    return cast("tuple[PersonalFilter, ...]", tuple(pii or ()))


def say_why_nothing(opened: Engine, scope: Scope) -> None:
    """After a search or a question without any passage: what the reason may be other than the documents' silence."""
    status = opened.status()
    if not status.states.get("indexed"):
        typer.echo("hint: there are no documents to search yet; `strongroom ingest PATH` adds some.", err=True)
    elif scope.personal:
        typer.echo(
            "hint: personal data is known only where somebody looked: `strongroom privacy report` counts the rest.",
            err=True,
        )


def load_settings(data_dir: Path | None, config: Path | None, **overrides: Any) -> Loaded:
    """Settings for a command, with the socket guard set to their allow-list."""
    from strongroom import airgap
    from strongroom.config import load

    loaded = load({"data_dir": data_dir, **overrides}, config_file=config)
    settings = loaded.settings
    # set even where the data directory is only about to be made: its first run must be on record too
    own = (settings.host, settings.ui_host)
    airgap.enforce(settings.allowed_hosts, listening=own, log=settings.data_dir / "egress.log")
    return loaded


@contextmanager
def engine(settings: Settings, *, purpose: str, as_user: str | None = None) -> Iterator[Engine]:
    """The running server's engine when there is one, else the appliance in this process under the exclusive lock."""
    from strongroom import app

    opened = app.open_engine(settings, purpose=purpose, as_user=as_user, ask=ask_passphrase)
    try:
        yield opened
    finally:
        opened.close()


@contextmanager
def engine_of(command: str, data_dir: Path | None, config: Path | None, as_user: str | None = None) -> Iterator[Engine]:
    """`engine` for a command that needs nothing else of the settings."""
    settings = load_settings(data_dir, config).settings
    with engine(settings, purpose=f"strongroom {command}", as_user=as_user) as opened:
        yield opened


def ask_passphrase(fresh: bool) -> str:
    """Read the appliance's passphrase from the terminal, a new one twice. Raises `UsageError` without a terminal."""
    import getpass

    from strongroom.errors import UsageError

    if not sys.stdin.isatty():
        raise UsageError(
            "key_source is `prompt` and there is no terminal to ask at",
            hint="Start it from a terminal, or use a credential or the environment.",
        )
    passphrase = getpass.getpass("Passphrase of this data directory: ")
    if fresh and getpass.getpass("Once more: ") != passphrase:
        raise UsageError("the two passphrases differ", hint="Nothing was written; try again.")
    return passphrase


@contextmanager
def own_appliance(command: str, data_dir: Path | None, config: Path | None) -> Iterator[Appliance]:
    """The appliance in this process, for commands that need the server stopped. Raises `LockedError` beside one."""
    from strongroom.app.appliance import Appliance
    from strongroom.client.server_info import read_server_info
    from strongroom.errors import LockedError

    settings = load_settings(data_dir, config).settings
    served = read_server_info(settings.data_dir)
    if served is not None:
        raise LockedError(
            f"a server (process {served.pid}) owns {settings.data_dir}",
            hint=f"Stop it, repeat `strongroom {command}`, and start it again.",
        )
    opened = Appliance(settings, purpose=f"strongroom {command}", ask=ask_passphrase)
    try:
        yield opened
    finally:
        opened.close()


def print_json(value: Any) -> None:
    """One JSON value on one line of stdout, flushed so that readers of a pipe see it at once."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def to_json(value: Any) -> Any:
    """A domain value as data for `print_json`."""
    from strongroom.wire import to_data

    return to_data(value)


def printable(text: str) -> str:
    """Text as it may go to a terminal: names of files must not move its cursor, change its title or its colours.

    Marks that turn the writing direction go too, since with them a name can pass for another.
    """
    return "".join(c if c.isprintable() else " " if c in "\t\r\n" else "\ufffd" for c in text)


def show_problems(problems: list[Problem], *, json_output: bool) -> None:
    """One problem a line with its hint below it."""
    for problem in problems:
        if json_output:
            print_json(to_json(problem))
        else:
            typer.echo(f"{problem.severity}: {problem.what}")
            typer.echo(f"  hint: {problem.hint}")
