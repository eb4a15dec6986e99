"""`strongroom groups`, `grants`, `walls` and `clearances`: who may read and write what, and what needs two people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from strongroom.cli.common import (
    AsUser,
    ConfigFile,
    DataDir,
    Json,
    engine_of,
    print_json,
    printable,
    to_json,
)
from strongroom.cli.naming import id_of
from strongroom.errors import UsageError
from strongroom.types import ClearanceRequest, Effect, Grant, GrantRequest, Right, TwoPersonAction

groups_app = typer.Typer(help="Groups of people: list them, add and remove members.", no_args_is_help=True)
grants_app = typer.Typer(help="Who may read and write which collection or document.", no_args_is_help=True)
clearances_app = typer.Typer(help="What needs a second person's consent (`two_person`).", no_args_is_help=True)
walls_app = typer.Typer(help="Walls between groups that must have nothing in common.", no_args_is_help=True)

GroupName = Annotated[str, typer.Argument(help="Name of the group.", show_default=False)]
UserName = Annotated[str, typer.Argument(help="Name of the user.", show_default=False)]
OnCollection = Annotated[str | None, typer.Option("--collection", "-c", help="About this collection.")]
OnDocument = Annotated[
    str | None, typer.Option("--document", metavar="DOCUMENT", help="About one document: its id, name or path.")
]


@groups_app.command("list")
def list_groups(
    as_user: AsUser = None, json_output: Json = False, data_dir: DataDir = None, config: ConfigFile = None
) -> None:
    """List the groups that have members or grants.

    Example:

        strongroom groups list
    """
    with engine_of("groups", data_dir, config, as_user) as opened:
        found = opened.permissions.groups()
    for group in found:
        if json_output:
            print_json(to_json(group))
        else:
            members = ", ".join(map(printable, group.members)) or "nobody"
            typer.echo(f"{printable(group.name)}: {members}")
    if not found and not json_output:
        typer.echo("No groups.")


@groups_app.command("add")
def add_member(
    group: GroupName,
    user: UserName,
    as_user: AsUser = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Put a user into a group. The group begins to exist with its first member or grant.

    Example:

        strongroom groups add legal ada
    """
    with engine_of("groups", data_dir, config, as_user) as opened:
        opened.permissions.join(group, user)
    typer.echo(f"{user} is in {group}", err=True)


@groups_app.command("remove")
def remove_member(
    group: GroupName,
    user: UserName,
    as_user: AsUser = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Take a user out of a group. Counts from the next page, search or answer on.

    Example:

        strongroom groups remove legal bob
    """
    with engine_of("groups", data_dir, config, as_user) as opened:
        opened.permissions.leave(group, user)
    typer.echo(f"{user} is no longer in {group}", err=True)


@grants_app.command("list")
def list_grants(
    collection: OnCollection = None,
    document: OnDocument = None,
    as_user: AsUser = None,
    json_output: Json = False,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """List grants: of one collection or document, or all that you may decide about.

    Examples:

        strongroom grants list

        strongroom grants list --collection contracts --json
    """
    with engine_of("grants", data_dir, config, as_user) as opened:
        if document is not None:
            document = id_of(opened, document)
        found = opened.permissions.grants(collection=collection, document=document)
    if json_output:
        for grant in found:
            print_json(to_json(grant))
        return
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    id_column = Column("id", no_wrap=True, min_width=36)  # it is copied into `grants remove`
    table = Table(id_column, "who", "may", "what", box=None, header_style="bold")
    for grant in found:
        table.add_row(grant.id, Text(printable(grant.principal)), _may(grant), Text(printable(_what(grant))))
    Console().print(table if found else "No grants.")


@grants_app.command("add")
def add_grant(
    principal: Annotated[str, typer.Argument(metavar="WHO", help="user:NAME or group:NAME.", show_default=False)],
    collection: OnCollection = None,
    document: OnDocument = None,
    deny: Annotated[bool, typer.Option("--deny", help="Take all rights away instead; wins over every grant.")] = False,
    write: Annotated[
        bool, typer.Option("--write", help="May also add, replace and delete documents, and grant.")
    ] = False,
    as_user: AsUser = None,
    json_output: Json = False,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Let somebody read (or write) a collection or a document, or deny it. Counts at once.

    A grant of a collection is about all its documents, those to come included; one of a document also about what lies
    inside it. Adding a grant that is there changes its right.

    Examples:

        strongroom grants add group:legal --collection contracts

        strongroom grants add user:ada --collection contracts --write

        strongroom grants add user:bob --document merger.pdf --deny
    """
    if deny and write:
        raise UsageError("a denial takes all rights away", hint="Leave `--write` out.")
    effect: Effect = "deny" if deny else "allow"
    right: Right = "write" if write else "read"
    with engine_of("grants", data_dir, config, as_user) as opened:
        if document is not None:
            document = id_of(opened, document)
        made = opened.permissions.grant(
            GrantRequest(principal=principal, collection=collection, document=document, effect=effect, right=right)
        )
    if json_output:
        print_json(to_json(made))
    else:
        typer.echo(f"{printable(made.principal)} {_may(made)} {printable(_what(made))}")


@grants_app.command("remove")
def remove_grant(
    grant_id: Annotated[str, typer.Argument(help="Id, from `strongroom grants list`.", show_default=False)],
    as_user: AsUser = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Take a grant or a denial away. Counts at once.

    Example:

        strongroom grants remove 6f0c1b9e-2d1a-4b57-8f43-0f6f5b1f6a10
    """
    with engine_of("grants", data_dir, config, as_user) as opened:
        opened.permissions.revoke(grant_id)
    typer.echo(f"removed {grant_id}", err=True)


@walls_app.command("list")
def list_walls(
    as_user: AsUser = None, json_output: Json = False, data_dir: DataDir = None, config: ConfigFile = None
) -> None:
    """List the walls.

    Example:

        strongroom walls list
    """
    with engine_of("walls", data_dir, config, as_user) as opened:
        found = opened.permissions.walls()
    for wall in found:
        if json_output:
            print_json(to_json(wall))
        else:
            typer.echo(f"{printable(wall.one)} | {printable(wall.other)}  since {wall.at:%Y-%m-%d} by {wall.by}")
    if not found and not json_output:
        typer.echo("No walls.")


@walls_app.command("add")
def add_wall(
    one: GroupName,
    other: GroupName,
    as_user: AsUser = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Keep two groups apart: nobody may be in both, and nothing may be open to both.

    Refused while they have a member or a document in common. From then on memberships and grants that would bring them
    together are refused, and whoever is in one of them reads nothing that is granted to the other.

    Example:

        strongroom walls add matter-17 matter-23
    """
    with engine_of("walls", data_dir, config, as_user) as opened:
        opened.permissions.add_wall(one, other)
    typer.echo(f"a wall stands between {one} and {other}", err=True)


@walls_app.command("remove")
def remove_wall(
    one: GroupName,
    other: GroupName,
    as_user: AsUser = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Take a wall away.

    Example:

        strongroom walls remove matter-17 matter-23
    """
    with engine_of("walls", data_dir, config, as_user) as opened:
        opened.permissions.remove_wall(one, other)
    typer.echo(f"no wall stands between {one} and {other}", err=True)


@clearances_app.command("list")
def list_clearances(
    as_user: AsUser = None, json_output: Json = False, data_dir: DataDir = None, config: ConfigFile = None
) -> None:
    """List requests that you made or may decide on.

    Example:

        strongroom clearances list --json
    """
    with engine_of("clearances", data_dir, config, as_user) as opened:
        found = opened.permissions.clearances()
    for one in found:
        if json_output:
            print_json(to_json(one))
        else:
            what = f"document {one.document}" if one.document else f"collection {printable(one.collection)}"
            by = f" by {one.decided_by}" if one.decided_by else ""
            typer.echo(f"{one.id}  {one.state}{by}  {one.by} asks to {one.action} {what}: {printable(one.reason)}")
    if not found and not json_output:
        typer.echo("No requests.")


@clearances_app.command("ask")
def ask_clearance(
    action: Annotated[TwoPersonAction, typer.Argument(help="What to ask for.", show_default=False)],
    reason: Annotated[str, typer.Option("--reason", help="Why; encrypted, shown to whoever decides.")],
    collection: OnCollection = None,
    document: OnDocument = None,
    json_output: Json = False,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Ask a second person to let you export or delete. Holds for 72 hours, for you alone.

    Example:

        strongroom clearances ask export --document merger.pdf --reason "Sent to the court"
    """
    with engine_of("clearances", data_dir, config) as opened:
        if document is not None:
            document = id_of(opened, document)
        request = ClearanceRequest(action=action, reason=reason, collection=collection, document=document)
        made = opened.permissions.ask(request)
    if json_output:
        print_json(to_json(made))
    else:
        typer.echo(f"{made.id} waits for a second person until {made.expires:%Y-%m-%d %H:%M} UTC")


ClearanceId = Annotated[str, typer.Argument(help="Id, from `strongroom clearances list`.", show_default=False)]


@clearances_app.command("approve")
def approve_clearance(clearance_id: ClearanceId, data_dir: DataDir = None, config: ConfigFile = None) -> None:
    """Allow what another person asked for. Nobody approves a request of their own.

    Example:

        strongroom clearances approve 4b1d0c52-7c3e-4f0e-9a55-1d2b8f6c7e90
    """
    _decide(clearance_id, data_dir, config, allow=True)


@clearances_app.command("deny")
def deny_clearance(clearance_id: ClearanceId, data_dir: DataDir = None, config: ConfigFile = None) -> None:
    """Deny what another person asked for.

    Example:

        strongroom clearances deny 4b1d0c52-7c3e-4f0e-9a55-1d2b8f6c7e90
    """
    _decide(clearance_id, data_dir, config, allow=False)


def _decide(clearance_id: str, data_dir: Path | None, config: Path | None, *, allow: bool) -> None:
    with engine_of("clearances", data_dir, config) as opened:
        decided = opened.permissions.decide(clearance_id, allow=allow)
    typer.echo(f"{decided.id} {decided.state}", err=True)


def _may(grant: Grant) -> str:
    if grant.effect == "deny":
        return "may not read or write"
    return "may read and write" if grant.right == "write" else "may read"


def _what(grant: Grant) -> str:
    return f"{grant.resource} {grant.name or grant.resource_id}"
