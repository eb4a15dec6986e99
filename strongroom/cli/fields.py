"""The columns of `strongroom extract`, from a TOML, JSON or CSV file or from options."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any, get_args

from strongroom.errors import UsageError
from strongroom.spreadsheet import read_grid
from strongroom.whole import Field, FieldKind

KINDS: tuple[FieldKind, ...] = get_args(FieldKind)
_KNOWN = ("name", "kind", "question")


def read_field(text: str) -> Field:
    """`NAME` or `NAME:KIND`; what is no word belongs to the name. Raises `UsageError` for a kind that is none."""
    name, colon, kind = text.rpartition(":")
    if colon and kind.strip().isidentifier():
        return _field({"name": name, "kind": kind.strip()}, "--field")
    return _field({"name": text}, "--field")


def read_fields(path: Path) -> list[Field]:
    """Fields of a file: `[[field]]` tables in TOML, a list of objects in JSON, or columns name, kind, question in CSV.

    Raises `UsageError` naming the file and the field.
    """
    try:
        match path.suffix.lower():
            case ".toml":
                entries: Any = tomllib.loads(path.read_text(encoding="utf-8")).get("field")
            case ".json":
                entries = json.loads(path.read_text(encoding="utf-8"))
                entries = entries.get("field") if isinstance(entries, dict) else entries
            case ".csv" | ".xlsx":
                head, *rows = read_grid(path).rows or ((),)
                titles = [title.strip().casefold() for title in head]
                cells = [{t: v.strip() for t, v in zip(titles, row, strict=False) if v.strip()} for row in rows]
                entries = [entry for entry in cells if entry]
            case _:
                raise UsageError(f"{path} is no file of fields", hint="Name a .toml, .json or .csv file.")
    except OSError as exc:
        raise UsageError(f"cannot read {path}: {exc.strerror}", hint="Check the path.") from exc
    except (tomllib.TOMLDecodeError, json.JSONDecodeError, UnicodeDecodeError) as exc:
        raise UsageError(f"{path} is malformed: {exc}", hint="See `strongroom extract --help` for the form.") from exc
    if not isinstance(entries, list) or not entries:
        raise UsageError(f"{path} holds no fields", hint="See `strongroom extract --help` for the form.")
    return [_field(entry, f"{path}, field {n}") for n, entry in enumerate(entries, start=1)]


def _field(entry: Any, where: str) -> Field:
    if not isinstance(entry, dict) or not str(entry.get("name", "")).strip():
        raise UsageError(f"{where}: no name", hint=f"A field has {', '.join(_KNOWN)}.")
    unknown = sorted(set(entry) - set(_KNOWN))
    if unknown:
        raise UsageError(f"{where}: unknown {', '.join(map(str, unknown))}", hint=f"A field has {', '.join(_KNOWN)}.")
    wrong = next((key for key, value in entry.items() if not isinstance(value, str)), None)
    if wrong is not None:
        raise UsageError(f"{where}: its {wrong} is no text", hint=f"A field has {', '.join(_KNOWN)}, each a text.")
    kind = entry.get("kind", "text").strip() or "text"
    if kind not in KINDS:
        raise UsageError(f"{where}: no kind {kind!r}", hint=f"The kinds are {', '.join(KINDS)}.")
    return Field(entry["name"].strip(), kind, entry.get("question", "").strip())
