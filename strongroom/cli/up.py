"""`strongroom up`: server and UI on loopback, until interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from strongroom.cli.common import ConfigFile, DataDir, load_settings


def up(
    samples: Annotated[
        Path | None,
        typer.Option("--samples", help="First ingest this folder and ask it one question, to show that all works."),
    ] = None,
    question: Annotated[str | None, typer.Option("--question", help="The question for --samples.")] = None,
    port: Annotated[int | None, typer.Option("--port", help="Port of the server.")] = None,
    ui_port: Annotated[int | None, typer.Option("--ui-port", help="Port of the UI.")] = None,
    ui: Annotated[bool, typer.Option("--ui/--no-ui", help="Whether to start the UI.")] = True,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Start the server and the UI on this machine and print the address. Opens nothing to the network.

    Example:

        strongroom up

        strongroom up --port 9000 --ui-port 9001
    """
    settings = load_settings(data_dir, config, port=port, ui_port=ui_port).settings
    from strongroom.cli.serve import serve

    serve(settings, samples=samples, question=question, ui=ui)


def link(data_dir: DataDir = None, config: ConfigFile = None) -> None:
    """Print a fresh sign-in link for the running UI. Each link works once.

    Example:

        strongroom link
    """
    from strongroom.cli.serve import sign_in_address
    from strongroom.client.server_info import read_server_info
    from strongroom.errors import UsageError

    settings = load_settings(data_dir, config).settings
    served = read_server_info(settings.data_dir)
    if served is None:
        raise UsageError(f"no server runs for {settings.data_dir}", hint="Start it with `strongroom up`.")
    typer.echo(sign_in_address(settings, served.token))
