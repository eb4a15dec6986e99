"""Commands about accounts: users, their sessions, and API tokens."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from strongroom.cli.common import (
    ConfigFile,
    DataDir,
    Json,
    ask_passphrase,
    load_settings,
    print_json,
    printable,
    to_json,
)
from strongroom.people import SCOPES

if TYPE_CHECKING:
    from strongroom.config import Settings
    from strongroom.engine import AccountDesk
    from strongroom.people import Invitation

users_app = typer.Typer(help="Accounts: who may sign in, as what.", no_args_is_help=True)
sessions_app = typer.Typer(help="Browsers and programs that are signed in.", no_args_is_help=True)
tokens_app = typer.Typer(help="API tokens for programs.", no_args_is_help=True)

RoleName = Literal["viewer", "editor", "admin", "auditor"]
ScopeName = StrEnum("ScopeName", {scope.upper(): scope for scope in SCOPES})  # type: ignore[misc]  # from the one list
Name = Annotated[str, typer.Argument(metavar="NAME", help="The account.")]
Whose = Annotated[str | None, typer.Option("--user", metavar="NAME", help="Whose (default: the built-in user's).")]


@contextmanager
def _desk(data_dir: Path | None, config: Path | None) -> Iterator[tuple[AccountDesk, Settings]]:
    from strongroom.app import open_desk

    settings = load_settings(data_dir, config).settings
    with open_desk(settings, purpose="strongroom users", ask=ask_passphrase) as desk:
        yield desk, settings


# ------------------------------------------------------------------------------------------------ users


@users_app.command("list")
def list_users(json_output: Json = False, data_dir: DataDir = None, config: ConfigFile = None) -> None:
    """Show every account: role, groups, how it signs in, when it was last seen.

    Example:

        strongroom users list
    """
    with _desk(data_dir, config) as (desk, _):
        found = desk.users()
    for one in found:
        if json_output:
            print_json(to_json(one))
            continue
        ways = [way for way, has in (("password", one.password), ("single sign-on", one.sso)) if has]
        notes = [*ways, *one.second_factors, *(["disabled"] if one.disabled else [])]
        if one.locked_until is not None:
            notes.append(f"waits until {_time(one.locked_until)}")
        seen = "never" if one.seen is None else _time(one.seen)
        typer.echo(f"{printable(one.name):24} {one.role:8} seen {seen:17} {', '.join(notes)}")


@users_app.command()
def add(
    name: Name,
    role: Annotated[RoleName, typer.Option("--role", help="What the person may do.")] = "viewer",
    json_output: Json = False,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Make an account and print a one-time link by which the person chooses a password.

    A viewer reads and asks, an editor also ingests and deletes, an admin also administers, and an auditor sees the
    audit log and no document. What a person may read, grants say.

    Examples:

        strongroom users add anna

        strongroom users add ben --role editor
    """
    from strongroom.people import NewAccount

    with _desk(data_dir, config) as (desk, settings):
        _show_invitation(desk.add_user(NewAccount(name, role)), settings, json_output=json_output)


@users_app.command()
def invite(name: Name, json_output: Json = False, data_dir: DataDir = None, config: ConfigFile = None) -> None:
    """Print a fresh one-time link for somebody who lost theirs or forgot the password.

    When it is used, sessions and tokens of the account end.

    Example:

        strongroom users invite anna
    """
    with _desk(data_dir, config) as (desk, settings):
        _show_invitation(desk.invite(name), settings, json_output=json_output)


@users_app.command()
def password(
    name: Name,
    stdin: Annotated[bool, typer.Option("--stdin", help="Read it from standard input instead of asking.")] = False,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Set an account's password here. Its sessions and tokens end.

    Examples:

        strongroom users password anna

        pass show strongroom/anna | strongroom users password anna --stdin
    """
    from strongroom.errors import UsageError

    if stdin:
        given = sys.stdin.readline().rstrip("\n")
    elif sys.stdin.isatty():
        given = typer.prompt(f"Password of {name}", hide_input=True, confirmation_prompt=True)
    else:
        raise UsageError("there is no terminal to ask at", hint="Use --stdin.")
    with _desk(data_dir, config) as (desk, _):
        desk.set_password(name, given)
    typer.echo(f"password of {printable(name)} set", err=True)


@users_app.command()
def role(name: Name, role: RoleName, data_dir: DataDir = None, config: ConfigFile = None) -> None:
    """Change what a person may do. Counts from now on, and ends their sessions.

    Example:

        strongroom users role anna editor
    """
    from strongroom.people import AccountChange

    with _desk(data_dir, config) as (desk, _):
        changed = desk.change_user(name, AccountChange(role=role))
    typer.echo(f"{printable(changed.name)} is {changed.role}", err=True)


@users_app.command()
def disable(name: Name, data_dir: DataDir = None, config: ConfigFile = None) -> None:
    """Keep a person out: sessions end, passwords, tokens and single sign-on no longer work.

    Example:

        strongroom users disable anna
    """
    from strongroom.people import AccountChange

    with _desk(data_dir, config) as (desk, _):
        desk.change_user(name, AccountChange(disabled=True))
    typer.echo(f"{printable(name)} is disabled", err=True)


@users_app.command()
def enable(name: Name, data_dir: DataDir = None, config: ConfigFile = None) -> None:
    """Let a disabled person in again.

    Example:

        strongroom users enable anna
    """
    from strongroom.people import AccountChange

    with _desk(data_dir, config) as (desk, _):
        desk.change_user(name, AccountChange(disabled=False))
    typer.echo(f"{printable(name)} is enabled", err=True)


@users_app.command()
def unlock(name: Name, data_dir: DataDir = None, config: ConfigFile = None) -> None:
    """End the wait after failed attempts to sign in.

    Example:

        strongroom users unlock anna
    """
    with _desk(data_dir, config) as (desk, _):
        desk.unlock(name)
    typer.echo(f"{printable(name)} need not wait", err=True)


@users_app.command("reset-factors")
def reset_factors(name: Name, data_dir: DataDir = None, config: ConfigFile = None) -> None:
    """Take the second factors off an account whose owner lost them. Sessions end.

    Example:

        strongroom users reset-factors anna
    """
    with _desk(data_dir, config) as (desk, _):
        desk.reset_factors(name)
    typer.echo(f"second factors of {printable(name)} removed", err=True)


@users_app.command()
def delete(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Delete an account with its sessions, tokens, memberships and grants. Documents stay.

    Example:

        strongroom users delete anna
    """
    if not yes:
        typer.confirm(f"Delete the account {printable(name)}?", abort=True, err=True)
    with _desk(data_dir, config) as (desk, _):
        desk.delete_user(name)
    typer.echo(f"{printable(name)} deleted", err=True)


# ------------------------------------------------------------------------------------------------ sessions


@sessions_app.command("list")
def list_sessions(
    user: Whose = None, json_output: Json = False, data_dir: DataDir = None, config: ConfigFile = None
) -> None:
    """Show live sessions of a person.

    Example:

        strongroom sessions list --user anna
    """
    with _desk(data_dir, config) as (desk, _):
        found = desk.sessions(user)
    for one in found:
        if json_output:
            print_json(to_json(one))
        else:
            line = f"{one.id}  since {_time(one.created)}, seen {_time(one.seen)}, until {_time(one.expires)}"
            typer.echo(f"{line}, {one.address or 'here'}, {printable(one.agent)}")
    if not found and not json_output:
        typer.echo("No sessions.")


@sessions_app.command("end")
def end_sessions(
    session: Annotated[str | None, typer.Argument(metavar="[ID]", help="One session (default: all of --user).")] = None,
    user: Whose = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """End one session, or all of a person.

    Example:

        strongroom sessions end --user anna
    """
    with _desk(data_dir, config) as (desk, _):
        if session is not None:
            desk.end_session(session)
            ended = 1
        else:
            ended = desk.end_sessions(user)
    typer.echo(f"{ended} ended", err=True)


# ------------------------------------------------------------------------------------------------ tokens


@tokens_app.command("list")
def list_tokens(
    user: Whose = None, json_output: Json = False, data_dir: DataDir = None, config: ConfigFile = None
) -> None:
    """Show a person's API tokens. Secrets are not kept and cannot be shown.

    Example:

        strongroom tokens list --user anna
    """
    with _desk(data_dir, config) as (desk, _):
        found = desk.tokens(user)
    for one in found:
        if json_output:
            print_json(to_json(one))
        else:
            used = "never used" if one.used is None else f"used {_time(one.used)}"
            typer.echo(f"{one.id}  {' '.join(one.scopes):22} until {_time(one.expires)}, {used}, {printable(one.name)}")
    if not found and not json_output:
        typer.echo("No tokens.")


@tokens_app.command("add")
def add_token(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the token is for.")],
    scope: Annotated[
        list[ScopeName], typer.Option("--scope", help="What it may be used for; `ingest` also deletes. Repeatable.")
    ],
    days: Annotated[int, typer.Option("--days", help="How long it lasts.")] = 90,
    user: Whose = None,
    json_output: Json = False,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Make an API token and print its secret, which is shown this once.

    A token does at most what its person may do, and of that what its scopes say.

    Examples:

        strongroom tokens add nightly-search --user anna --scope read --days 30

        curl -H "Authorization: Bearer $TOKEN" http://127.0.0.1:8600/api/documents
    """
    from strongroom.people import Scope, TokenRequest

    with _desk(data_dir, config) as (desk, _):
        made = desk.add_token(TokenRequest(name, cast("tuple[Scope, ...]", tuple(map(str, scope))), days), user)
    if json_output:
        print_json(to_json(made))
    else:
        typer.echo(made.secret)
        typer.echo(f"token {made.token.id}, until {_time(made.token.expires)}; this is shown once", err=True)


@tokens_app.command("revoke")
def revoke_token(
    token: Annotated[str, typer.Argument(metavar="ID", help="The token, by the id that `tokens list` shows.")],
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """End a token.

    Example:

        strongroom tokens revoke 6f0c2a1e-6b0f-4d55-9f0e-2f1f5d3c9b7a
    """
    with _desk(data_dir, config) as (desk, _):
        desk.revoke_token(token)
    typer.echo("revoked", err=True)


def _show_invitation(invitation: Invitation, settings: Settings, *, json_output: bool) -> None:
    from strongroom.cli.serve import page_address

    address = f"{page_address(settings)}/welcome?code={invitation.code}"
    if json_output:
        print_json({**to_json(invitation), "address": address})
    else:
        typer.echo(address)
        typer.echo(f"for {printable(invitation.name)}, until {_time(invitation.expires)}; it works once", err=True)


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
