"""Commands for the operator and the security officer: health, integrity, configuration."""

from __future__ import annotations

import typer

from strongroom.cli.common import (
    AsUser,
    ConfigFile,
    DataDir,
    Json,
    engine,
    engine_of,
    load_settings,
    own_appliance,
    print_json,
    printable,
    show_problems,
    to_json,
)
from strongroom.errors import ExitCode
from strongroom.words import duration, size

index_app = typer.Typer(help="Facts about the vector index.", no_args_is_help=True)
config_app = typer.Typer(help="Show the configuration.", no_args_is_help=True)


def check(json_output: Json = False, data_dir: DataDir = None, config: ConfigFile = None) -> None:
    """Look for problems in this installation, each with what to do. Exits 1 when there is an error.

    Example:

        strongroom check
    """
    settings = load_settings(data_dir, config).settings
    from strongroom.app.checks import run_checks

    problems = run_checks(settings)
    show_problems(problems, json_output=json_output)
    if not problems and not json_output:
        typer.echo("no problems found")
    if any(p.severity == "error" for p in problems):
        raise typer.Exit(int(ExitCode.UNEXPECTED))


def verify(
    as_user: AsUser = None, json_output: Json = False, data_dir: DataDir = None, config: ConfigFile = None
) -> None:
    """Prove that catalogue, index, originals, keys and audit log agree. Exits 14 when they do not.

    Example:

        strongroom verify --json
    """
    with engine_of("verify", data_dir, config, as_user) as opened:
        report = opened.verify()
    if json_output:
        print_json({**to_json(report), "ok": report.ok})
    else:
        typer.echo("checked " + ", ".join(f"{n:,} {what}" for what, n in report.checked.items()))
        show_problems(list(report.problems), json_output=False)
        if report.ok:
            typer.echo("all stores agree, but for the warnings above" if report.problems else "everything agrees")
    if not report.ok:
        raise typer.Exit(int(ExitCode.INTEGRITY))


def reindex(json_output: Json = False, data_dir: DataDir = None, config: ConfigFile = None) -> None:
    """Rebuild the vector index from the catalogue, for example after changing the embedder. Needs the server stopped.

    Example:

        strongroom reindex
    """
    from strongroom.cli.progress import reporting

    with own_appliance("reindex", data_dir, config) as appliance:
        with reporting(json_output=False) as on_event:
            summary = appliance.reindex(on_event)
        appliance.audit.append("local", "reindex", chunks=summary.chunks)
    if json_output:
        print_json({"summary": to_json(summary)})
    else:
        typer.echo(f"rebuilt the index: {summary.chunks} chunks in {summary.seconds:.1f} s", err=True)


def status(
    as_user: AsUser = None, json_output: Json = False, data_dir: DataDir = None, config: ConfigFile = None
) -> None:
    """Show what this data directory holds and whether a server serves it.

    Example:

        strongroom status --json
    """
    from strongroom.client.server_info import read_server_info

    settings = load_settings(data_dir, config).settings
    served = read_server_info(settings.data_dir)
    with engine(settings, purpose="strongroom status", as_user=as_user) as opened:
        found = opened.status()
    if json_output:
        print_json({**to_json(found), "server": served.url if served else None})
        return
    typer.echo(f"Strongroom {found.version}, {'served at ' + served.url if served else 'no server running'}")
    typer.echo(f"data       {found.data_dir}")
    typer.echo(f"documents  {sum(found.collections.values())} ({_counts(found.states)})")
    for name, count in sorted(found.collections.items(), key=lambda item: (-item[1], item[0])):
        typer.echo(f"           {count:>7,} in {printable(name)}")
    pending = sum(found.states.get(state, 0) for state in ("pending", "parsed"))
    if pending:
        typer.echo(f"pending    {pending} not finished; the next `strongroom ingest` goes on with them")
    if found.last_ingest is not None:
        run, summary = found.last_ingest, found.last_ingest.summary
        typer.echo(
            f"last run   {run.ended:%Y-%m-%d %H:%M} UTC by {run.by} into {printable(run.collection)}: "
            f"{_counts(summary.outcomes)}, {summary.pages} pages in {duration(summary.seconds)}"
        )
    typer.echo(f"chunks     {found.chunks}, index points {found.points}")
    typer.echo(f"models     {found.embedder}, {found.model}")
    if found.disk:
        typer.echo("disk       " + ", ".join(f"{what} {size(count)}" for what, count in found.disk.items()))


@index_app.command("info")
def index_info(json_output: Json = False, data_dir: DataDir = None, config: ConfigFile = None) -> None:
    """Show which embedder and text format the index was built with, and how many points it holds.

    Needs the server stopped.

    Example:

        strongroom index info
    """
    from strongroom.app.appliance import INDEX_META

    with own_appliance("index info", data_dir, config) as appliance:
        info = {"fingerprint": appliance.catalog.get_meta(INDEX_META), "points": appliance.raw_index.count()}
    if json_output:
        print_json(info)
    else:
        typer.echo(f"built with {info['fingerprint'] or 'nothing yet'}, {info['points']} points")


@config_app.command("show")
def config_show(json_output: Json = False, data_dir: DataDir = None, config: ConfigFile = None) -> None:
    """Print every setting, its value and where the value came from. Secrets are not shown.

    Example:

        strongroom config show
    """
    from strongroom.config import SECRET_KEYS

    loaded = load_settings(data_dir, config)
    for key in type(loaded.settings).model_fields:
        value = getattr(loaded.settings, key)
        shown = "(set)" if key in SECRET_KEYS and value else value
        if json_output:
            print_json({"key": key, "value": to_plain(shown), "origin": loaded.origins[key]})
        else:
            typer.echo(f"{key:24} {written(shown):44} {loaded.origins[key]}")


def written(value: object) -> str:
    """A setting's value as a configuration file spells it; `-` where none is set."""
    plain = to_plain(value)
    if plain is None:
        return "-"
    return str(plain).lower() if isinstance(plain, bool) else str(plain)


def to_plain(value: object) -> object:
    """Paths and tuples as JSON can hold them."""
    if isinstance(value, tuple):
        return list(value)
    return value if isinstance(value, (str, int, float, bool)) or value is None else str(value)


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{n} {what}" for what, n in sorted(counts.items())) or "none"
