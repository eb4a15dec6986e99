"""`--batch FILE.jsonl`: questions in, results out, one line each, in order."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import typer

from strongroom.cli.common import print_json, to_json
from strongroom.errors import ExitCode, UsageError
from strongroom.types import AskRequest, Message, SearchRequest

Request = TypeVar("Request", SearchRequest, AskRequest)


@dataclass(frozen=True, slots=True)
class BatchLine:
    """One question of a batch file."""

    id: str | None
    question: str
    history: tuple[Message, ...] = ()


def each_of(path: Path, request: Request, answer: Callable[[Request], object]) -> None:
    """Print the answer to each question, asked as `request` asks. One that cannot be asked gets a line with its
    `error`, and the next goes on; the command then ends with exit code 3. Raises `UsageError` where the file is broken,
    naming the line."""
    failed = False
    for line in read_batch(path):
        try:
            asked = replace(request, question=line.question, history=line.history, id=line.id)
            found = to_json(answer(asked))
        except UsageError as exc:
            found, failed = {"id": line.id, "error": str(exc), "hint": exc.hint}, True
        print_json(found)
    if failed:
        raise typer.Exit(int(ExitCode.PARTIAL))


def read_batch(path: Path) -> Iterator[BatchLine]:
    """Yield the lines of a batch file (`-` reads standard input). Raises `UsageError` naming the line."""
    try:
        lines = sys.stdin if str(path) == "-" else path.open(encoding="utf-8")
    except OSError as exc:
        raise UsageError(f"cannot read {path}: {exc.strerror}", hint="Give a JSON-lines file.") from exc
    with lines:
        try:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield _parse(line, f"{path}, line {number}")
        except UnicodeDecodeError as exc:
            raise UsageError(f"{path} is not UTF-8 text", hint="Save it as UTF-8.") from exc


def _parse(line: str, where: str) -> BatchLine:
    hint = 'Each line is an object like {"id": "q1", "question": "Who signs?"}.'
    try:
        value: Any = json.loads(line)
    except json.JSONDecodeError as exc:
        raise UsageError(f"{where}: not JSON ({exc.msg})", hint=hint) from exc
    if not isinstance(value, dict) or not isinstance(value.get("question"), str):
        raise UsageError(f"{where}: no question", hint=hint)
    history = value.get("history") or []
    try:
        turns = tuple(Message(role=turn["role"], content=str(turn["content"])) for turn in history)
    except (TypeError, KeyError) as exc:
        raise UsageError(f"{where}: history must be a list of role and content", hint=hint) from exc
    if any(turn.role not in ("user", "assistant") for turn in turns):
        raise UsageError(f"{where}: a history role is neither user nor assistant", hint=hint)
    identifier = value.get("id")
    return BatchLine(None if identifier is None else str(identifier), value["question"], turns)
