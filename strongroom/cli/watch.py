"""`strongroom watch`: folders that the server keeps in step."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from strongroom.cli.common import ConfigFile, DataDir, Json, engine, engine_of, load_settings, print_json, to_json
from strongroom.types import Watch

app = typer.Typer(help="Folders that the server keeps in step while it runs.", no_args_is_help=True)


@app.command("add")
def add(
    paths: Annotated[list[Path], typer.Argument(help="Folders and files of this machine.", show_default=False)],
    collection: Annotated[str, typer.Option("--collection", "-c", help="Collection to put them in.")] = "default",
    group: Annotated[
        list[str] | None, typer.Option("--group", "-g", help="Group that may read them; repeatable.")
    ] = None,
    prune: Annotated[bool, typer.Option("--prune", help="Delete documents whose files have vanished.")] = False,
    poll: Annotated[
        float | None, typer.Option("--poll", min=1, metavar="SECONDS", help="Look at everything that often.")
    ] = None,
    json_output: Json = False,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Let the server follow folders from now on, also after it was started again.

    Example:

        strongroom watch add /archive --collection archive --prune
    """
    settings = load_settings(data_dir, config).settings
    watch = Watch(
        paths=tuple(str(path.absolute()) for path in paths),
        collection=collection,
        groups=tuple(group or ()),
        prune=prune,
        poll=poll,
    )
    with engine(settings, purpose="strongroom watch") as opened:
        added = opened.add_watch(watch)
    if json_output:
        print_json(to_json(added))
    else:
        typer.echo(f"{added.id}  {added.state}")


@app.command("list")
def list_watches(json_output: Json = False, data_dir: DataDir = None, config: ConfigFile = None) -> None:
    """List what is watched and how it stands.

    Example:

        strongroom watch list
    """
    with engine_of("watch", data_dir, config) as opened:
        found = opened.watches()
    for watch in found:
        if json_output:
            print_json(to_json(watch))
        else:
            prune = ", prune" if watch.prune else ""
            typer.echo(f"{watch.id}  {', '.join(watch.paths)}  ({watch.collection}{prune}): {watch.state}")
    if not found and not json_output:
        typer.echo("No folder is watched.")


@app.command("remove")
def remove(
    watch_id: Annotated[str, typer.Argument(help="Id, from `strongroom watch list`.", show_default=False)],
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Stop watching. The documents stay.

    Example:

        strongroom watch remove 6f1e2a9c-1f0b-4a5e-9b1f-3a2f6f0c9d11
    """
    with engine_of("watch", data_dir, config) as opened:
        opened.remove_watch(watch_id)
