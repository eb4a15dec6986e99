"""`strongroom collections`: the places that documents are put in."""

from __future__ import annotations

import typer

from strongroom.cli.common import AsUser, ConfigFile, DataDir, Json, engine_of, print_json


def collections(
    as_user: AsUser = None, json_output: Json = False, data_dir: DataDir = None, config: ConfigFile = None
) -> None:
    """List the collections you can read.

    Example:

        strongroom collections
    """
    with engine_of("collections", data_dir, config, as_user) as opened:
        names = opened.collections()
    for name in names:
        if json_output:
            print_json({"collection": name})
        else:
            typer.echo(name)
