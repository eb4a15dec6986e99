"""Commands for whoever answers for the record: read, verify, sign, export and rotate the audit log."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from strongroom.cli.common import (
    ConfigFile,
    DataDir,
    Json,
    ask_passphrase,
    load_settings,
    own_appliance,
    print_json,
    printable,
    show_problems,
    to_json,
)
from strongroom.errors import ExitCode, UsageError
from strongroom.files import replace_file

if TYPE_CHECKING:
    from strongroom.audit import Audit

app = typer.Typer(help="Read, verify, sign and export the audit log.", no_args_is_help=True)

After = Annotated[int, typer.Option("--after", min=0, help="Only entries after this number.")]
Held = Annotated[
    list[Path] | None, typer.Option("--checkpoint", help="A checkpoint that was kept elsewhere (repeatable).")
]


@app.command()
def show(after: After = 0, json_output: Json = False, data_dir: DataDir = None, config: ConfigFile = None) -> None:
    """Print audit entries, oldest first; `--json` is the export format, one entry a line.

    Example:

        strongroom audit show --json > audit.jsonl
    """
    with _audit(data_dir, config) as log:
        for line in log.export(after=after):
            text = log.open_question(line)
            if json_output:
                print_json(line if text is None else {**line, "question_text": text})
                continue
            outcome = "" if line.get("outcome", "ok") == "ok" else f" {line['outcome'].upper()}"
            facts = {k: v for k, v in line["detail"].items() if k != "question_sealed"}
            if text is not None:
                facts["question"] = repr(text)
            detail = " ".join(f"{k}={v}" for k, v in facts.items())
            at = line["at"][:19].replace("T", " ")
            who = f"{line['seq']:6} {at} {line['actor']:10} {line['action']:16}{outcome}"
            typer.echo(printable(f"{who} {line['subject']} {detail}".rstrip()))


@app.command()
def verify(
    checkpoint: Held = None,
    export: Annotated[
        list[Path] | None,
        typer.Option("--export", help="Check exported files instead, first ones first: no data directory is needed."),
    ] = None,
    public_key: Annotated[
        str | None, typer.Option("--public-key", metavar="HEX", help="The key that checkpoints must be signed with.")
    ] = None,
    json_output: Json = False,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Walk the hash chain. Any edit, removal, insertion, reordering or truncation exits 14.

    Without `--checkpoint` this finds what was done without the keys of this appliance. With checkpoints that were kept
    elsewhere it also finds what somebody with all its keys but the signing key did, up to the newest of them. Exported
    files are checked against checkpoints alone.

    Examples:

        strongroom audit verify

        strongroom audit verify --checkpoint /mnt/usb/audit-000000001000.json

        strongroom audit verify --export audit.jsonl --checkpoint audit-000000001000.json --public-key HEX
    """
    from strongroom.audit import checkpoint as checkpoints
    from strongroom.audit.log import verify_export

    held = [checkpoints.read(path) for path in checkpoint or []]
    if export:
        if not held or public_key is None:
            raise UsageError(
                "an exported log is checked against a checkpoint and the public key",
                hint="Give `--checkpoint FILE` and `--public-key HEX` (`strongroom audit public-key` prints it).",
            )
        count, problems = verify_export(_lines(export), held, public_key)
    else:
        with _audit(data_dir, config) as log:
            if public_key is not None and public_key.lower() != log.public_key:
                raise UsageError(
                    f"this appliance signs with {log.public_key}", hint="Compare it with the key that you were given."
                )
            count, problems = log.verify(held)
    if json_output:
        print_json({"entries": count, "problems": to_json(problems), "ok": not problems})
    else:
        show_problems(problems, json_output=False)
        if not problems:
            upto = max((c.seq for c in held), default=0)
            typer.echo(f"{count} entries, unbroken" + (f"; signed up to entry {upto}" if upto else ""))
    if problems:
        raise typer.Exit(int(ExitCode.INTEGRITY))


@app.command()
def checkpoint(
    out: Annotated[Path | None, typer.Option("--out", help="Write it to this file instead of stdout.")] = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Sign what the log holds now, to be kept where this machine cannot change it: a file elsewhere, or a print.

    Example:

        strongroom audit checkpoint --out /mnt/usb/checkpoint.json
    """
    from strongroom.audit import checkpoint as checkpoints

    with _audit(data_dir, config) as log:
        made = log.checkpoint()
    if made is None:
        raise UsageError("the audit log is empty", hint="There is nothing to sign yet.")
    text = checkpoints.dumps(made)
    if out is None:
        typer.echo(text)
    else:
        replace_file(out, f"{text}\n".encode())
        typer.echo(f"entry {made.seq} signed, in {out}", err=True)


@app.command("public-key")
def public_key(data_dir: DataDir = None, config: ConfigFile = None) -> None:
    """Print the key that checkpoints and receipts verify with. Keep a copy elsewhere.

    Example:

        strongroom audit public-key
    """
    with _audit(data_dir, config) as log:
        typer.echo(log.public_key)


@app.command()
def export(
    form: Annotated[
        Literal["jsonl", "syslog"], typer.Option("--format", help="JSON lines, or RFC 5424 messages.")
    ] = "jsonl",
    after: After = 0,
    out: Annotated[Path | None, typer.Option("--out", help="Write to this file instead of stdout.")] = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Write the log for another system. For a running feed set `audit_file` or `audit_syslog`.

    Examples:

        strongroom audit export --out audit.jsonl

        strongroom audit export --format syslog --after 1200
    """
    from strongroom.audit.forward import syslog_message

    def spelled(line: dict[str, Any]) -> str:
        return syslog_message(line).decode() if form == "syslog" else json.dumps(line, ensure_ascii=False)

    with _audit(data_dir, config) as log:
        sink = sys.stdout if out is None else open(out, "w", encoding="utf-8", opener=_for_its_owner)  # noqa: SIM115
        try:
            count = 0
            for line in log.export(after=after):
                sink.write(spelled(line) + "\n")
                count += 1
        finally:
            if out is not None:
                sink.close()
    if out is not None:
        typer.echo(f"{count} entries in {out}", err=True)


@app.command()
def rotate(
    archive: Annotated[Path, typer.Option("--archive", help="File to move the old entries into; must not exist.")],
    keep: Annotated[int, typer.Option("--keep", min=0, help="Newest entries that stay.")] = 10_000,
    json_output: Json = False,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Move old entries into a file. The chain goes on and names what was moved. Needs the server stopped.

    Example:

        strongroom audit rotate --keep 10000 --archive audit-2026.jsonl
    """
    with own_appliance("audit rotate", data_dir, config) as appliance:
        moved = appliance.audit.rotate(archive.absolute(), keep=keep)
        if moved:
            appliance.store.scrub()
    if json_output:
        print_json({"moved": moved, "archive": str(archive) if moved else None})
    else:
        typer.echo(
            f"{moved} entries moved" + (f" into {archive}" if moved else ": there are no more than that"), err=True
        )


def _for_its_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _lines(paths: list[Path]) -> Iterator[dict[str, Any]]:
    for path in paths:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                try:
                    entry = json.loads(line)
                    if not (isinstance(entry, dict) and isinstance(entry["seq"], int) and bytes.fromhex(entry["hash"])):
                        raise ValueError("no entry")
                except (ValueError, KeyError, TypeError) as exc:
                    raise UsageError(
                        f"{path}, line {number}: not an exported audit entry", hint="Export it again."
                    ) from exc
                yield entry


@contextmanager
def _audit(data_dir: Path | None, config: Path | None) -> Iterator[Audit]:
    """The log, read beside a running server or alone: SQLite's snapshot makes both safe."""
    settings = load_settings(data_dir, config).settings
    from strongroom.app.opening import open_audit, open_keys
    from strongroom.catalog import Store
    from strongroom.crypto import Vault
    from strongroom.lock import own_data_dir

    if not settings.catalogue.exists():
        raise UsageError(f"there is no catalogue in {settings.data_dir}", hint="Check `--data-dir`.")
    own_data_dir(settings.data_dir)
    keys = open_keys(settings, ask_passphrase)
    store = Store(settings.catalogue)
    try:
        yield open_audit(settings, store, Vault(keys))
    finally:
        store.close()
        keys.close()
