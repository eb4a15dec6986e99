"""Commands about the appliance key: where it comes from, and replacing it."""

from __future__ import annotations

import secrets
from typing import Annotated, Literal

import typer

from strongroom.cli.common import ConfigFile, DataDir, Json, ask_passphrase, own_appliance, print_json

app = typer.Typer(help="The appliance key, which wraps the key of every document.", no_args_is_help=True)


@app.command()
def generate() -> None:
    """Print a fresh key for a systemd credential or the environment. Nothing is stored.

    Example:

        strongroom keys generate | systemd-creds encrypt --name=strongroom-appliance-key - appliance-key.cred
    """
    typer.echo(secrets.token_hex(32))


@app.command()
def status(json_output: Json = False, data_dir: DataDir = None, config: ConfigFile = None) -> None:
    """Show where the appliance key comes from and how many keys it wraps. Needs the server stopped.

    Example:

        strongroom keys status
    """
    with own_appliance("keys status", data_dir, config) as appliance:
        source, directory = appliance.settings.key_source, str(appliance.settings.keys)
        found = {"source": source, "directory": directory, "keys": len(appliance.keys.ids())}
    if json_output:
        print_json(found)
    else:
        typer.echo(f"{found['keys']} keys in {found['directory']}, wrapped by a key from: {found['source']}")


@app.command()
def rotate(
    to: Annotated[
        Literal["file", "environment", "credential", "prompt"] | None,
        typer.Option("--to", help="Where the key comes from afterwards (default: as now)."),
    ] = None,
    json_output: Json = False,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Wrap every key under a new appliance key. No document is encrypted anew. Needs the server stopped.

    An older copy of the key store opens with nothing that still exists then. A key in a file is replaced by a fresh
    one. For `environment` and `credential` the new key is read from STRONGROOM_APPLIANCE_KEY_NEW; set `key_source`, and
    give the new key at every start, afterwards.

    Examples:

        strongroom keys rotate

        STRONGROOM_APPLIANCE_KEY_NEW=$(strongroom keys generate) strongroom keys rotate --to credential
    """
    from strongroom.crypto import source

    with own_appliance("keys rotate", data_dir, config) as appliance:
        settings = appliance.settings
        target = to or settings.key_source
        if target == "file":
            count = appliance.keys.rotate(to_file=True)
        elif target == "prompt":
            passphrase = ask_passphrase(True)
            count = appliance.keys.rotate(source.derive(passphrase, source.salt_of(settings.keys), fresh=True))
        else:
            count = appliance.keys.rotate(source.from_environment(source.VARIABLE + "_NEW"))
        appliance.audit.append("local", "keys.rotate", keys=count, source=target)
    if json_output:
        print_json({"keys": count, "source": target})
        return
    typer.echo(f"{count} keys wrapped anew", err=True)
    if target != settings.key_source:
        typer.echo(f'now set key_source = "{target}"', err=True)
