"""A run: every question searched and answered through the engine, its values kept line by line so that it can go on.

A run's folder holds `run.json` (what was measured), `results.jsonl` (one question a line), `figures.json` and
`report.html`. It holds words of documents in the clear, so it is readable by its owner alone.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from evals import scoring
from evals.questions import Question, QuestionSet, write_private
from strongroom import __version__
from strongroom.app.asking import final_answer
from strongroom.config import SECRET_KEYS, Settings
from strongroom.engine import Engine
from strongroom.errors import CancelledError, LockedError, StrongroomError, UsageError
from strongroom.types import AskRequest, Citation, SearchRequest

Row = dict[str, Any]
_PLACES = ("data_dir", "models_dir", "keys_dir", "host", "port", "ui_host", "ui_port")  # say nothing about quality
_PACKAGES = ("ingest", "retrieval", "models", "evals")
_IN_A_ROW = 10  # so many failures one after the other are not the questions' fault
_SHOWN = 300  # characters of a quote kept for the report


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is; `seconds` counts from its start and `fresh` the questions answered since then."""

    done: int
    total: int
    fresh: int
    seconds: float

    @property
    def seconds_left(self) -> float | None:
        return self.seconds / self.fresh * (self.total - self.done) if self.fresh else None


OnProgress = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Run:
    """A run as it lies on disk."""

    folder: Path
    about: dict[str, Any]
    rows: tuple[Row, ...]


def describe(questions: QuestionSet, settings: Settings, *, documents: str, answers: bool) -> dict[str, Any]:
    """What a run measures. Two runs with the same description may share results; any other may not.

    `documents` names the corpus. The code's own hash is part of it: an answer of yesterday's code says nothing today.
    """
    dump = settings.model_dump(mode="json", exclude={*_PLACES, *SECRET_KEYS})
    return {
        "set": questions.name,
        "questions": len(questions.questions),
        "questions_digest": questions.digest(),
        "documents": documents,
        "answers": answers,
        "version": __version__,
        "code": code_digest(),
        "settings": dump,
    }


def code_digest() -> str:
    """Hash of the code that makes and scores answers."""
    state = hashlib.blake2b(digest_size=12)

    def visit(folder: Traversable) -> None:
        for entry in sorted(folder.iterdir(), key=lambda e: e.name):
            if entry.is_dir() and entry.name != "__pycache__":
                visit(entry)
            elif entry.name.endswith((".py", ".toml", ".safetensors")):
                state.update(entry.read_bytes())

    for package in _PACKAGES:
        visit(files(package))
    return state.hexdigest()


def load(folder: Path) -> Run:
    """Read a run. Raises `UsageError` when the folder holds none."""
    try:
        about = dict(json.loads((folder / "run.json").read_text(encoding="utf-8")))
        rows = _read_rows(folder)
    except (OSError, ValueError, TypeError) as exc:
        raise UsageError(f"{folder} holds no run", hint="Make one with `strongroom eval run`.") from exc
    return Run(folder, about, tuple(rows))


def _read_rows(folder: Path) -> list[Row]:
    """Whole lines only: a run that was killed may have left half of one."""
    path = folder / "results.jsonl"
    if not path.exists():
        return []
    rows: dict[str, Row] = {}
    for line in path.read_bytes().split(b"\n")[:-1]:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and isinstance(row.get("id"), str):
            rows[row["id"]] = row
    return list(rows.values())


def run(
    questions: QuestionSet,
    engine: Engine,
    *,
    folder: Path,
    about: dict[str, Any],
    collection: str | None = None,
    fresh: bool = False,
    on_progress: OnProgress,
    cancel: threading.Event | None = None,
) -> Run:
    """Ask what has no result yet and keep each result as soon as it is there.

    A question that fails is kept with its error and asked again the next time; `fresh` forgets all results. Raises
    `UsageError` when the folder holds results of something else, and what went wrong when ten questions fail in a row.
    """
    done = _begin(folder, about, fresh=fresh)
    todo = [q for q in questions.questions if q.id not in done]
    started, failed = time.monotonic(), 0
    on_progress(Progress(len(done), len(questions.questions), 0, 0.0))
    with _appending(folder / "results.jsonl") as write:
        for asked, question in enumerate(todo, start=1):
            if cancel is not None and cancel.is_set():
                raise CancelledError("the run was stopped", hint="Repeat the command to go on.")
            try:
                row = ask(question, engine, collection=collection, answers=about["answers"])
                failed = 0
            except CancelledError:
                raise
            except StrongroomError as exc:
                failed += 1
                if failed >= _IN_A_ROW:
                    raise
                row = {**_identity(question), "error": str(exc)}
            write(row)
            on_progress(Progress(len(done) + asked, len(questions.questions), asked, time.monotonic() - started))
    by_id = {row["id"]: row for row in _read_rows(folder)}
    return Run(folder, about, tuple(by_id[q.id] for q in questions.questions if q.id in by_id))


def _begin(folder: Path, about: dict[str, Any], *, fresh: bool) -> set[str]:
    """Make the folder, or find which questions it holds results of. A result that is an error does not count."""
    manifest = folder / "run.json"
    if fresh and manifest.exists():  # other things may lie there: only what a run keeps goes
        (folder / "results.jsonl").unlink(missing_ok=True)
        write_private(manifest, json.dumps(about, indent=1, ensure_ascii=False))
    if not manifest.exists():
        if folder.is_dir() and any(folder.iterdir()):
            raise UsageError(f"{folder} exists and holds no run", hint="Give another `--out`.")
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as exc:
            raise UsageError(f"cannot make the folder {folder}: {exc.strerror}", hint="Give another `--out`.") from exc
        write_private(manifest, json.dumps(about, indent=1, ensure_ascii=False))
        return set()
    held = load(folder)
    changed = sorted(key for key in about if held.about.get(key) != about[key])
    if changed:
        raise UsageError(
            f"{folder} holds results of something else: {', '.join(changed)} changed",
            hint="Give another `--out`, or `--fresh` to begin again.",
        )
    return {row["id"] for row in held.rows if "error" not in row}


class _appending:
    """Append rows, each on disk before the next question is asked; mends a half line that a kill left.

    Raises `LockedError` where another run does.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Callable[[Row], None]:
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        self._file = os.fdopen(handle, "r+b")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            self._file.close()
            raise LockedError(
                f"another run writes into {self._path.parent}", hint="Wait for it, or give another `--out`."
            ) from exc
        body = self._file.read()
        self._file.truncate(body.rfind(b"\n") + 1)
        self._file.seek(0, os.SEEK_END)
        return self._write

    def _write(self, row: Row) -> None:
        self._file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        self._file.flush()

    def __exit__(self, *_: object) -> None:
        self._file.close()


# ------------------------------------------------------------------------------------------------ one question


def ask(question: Question, engine: Engine, *, collection: str | None, answers: bool) -> Row:
    """Search for a question, have it answered, and score both."""
    found = engine.search(SearchRequest(question.text, k=scoring.DEPTH, collection=collection))
    row: Row = _identity(question) | {
        "values": scoring.of_search(question, found),
        "timings_ms": {"search": found.timings_ms["total"]},
        "hits": [_place(hit.document.name, hit.pages) for hit in found.hits[:3]],
    }
    if not answers:
        return row
    answer = final_answer(engine, AskRequest(question.text, collection=collection))
    row["values"] |= scoring.of_answer(question, answer)
    row["timings_ms"] |= {"answer": answer.timings_ms["total"], "first_token": answer.timings_ms["first_token"]}
    return row | {
        "confidence": answer.confidence,
        "wrong": scoring.is_wrong(question, answer),
        "tokens": {"prompt": answer.usage.prompt_tokens, "completion": answer.usage.completion_tokens},
        "abstained": answer.abstained,
        "answer": answer.answer,
        "quotes": [_quoted(c) for c in answer.citations[:3]],
    }


def _identity(question: Question) -> Row:
    return {
        "id": question.id,
        "question": question.text,
        "kind": question.kind,
        "cluster": question.cluster,
        "unanswerable": question.unanswerable,
        "gold": list(question.answers[:3]),
        "gold_place": [_place(name, question.pages) for name in question.documents[:3]],
    }


def _place(name: str, pages: Iterable[int]) -> str:
    numbers = ", ".join(map(str, pages))
    return f"{name}, page {numbers}" if numbers else name


def _quoted(citation: Citation) -> dict[str, str]:
    pages = [citation.page] if citation.page is not None else []
    return {"place": _place(citation.document.name, pages), "quote": citation.quote[:_SHOWN]}


def paired(first: Run, second: Run) -> list[tuple[Row, Row]]:
    """Rows of the same questions in both runs, where neither failed. Raises `UsageError` when there are none."""
    others = {row["id"]: row for row in second.rows if "error" not in row}
    pairs = [(row, others[row["id"]]) for row in first.rows if "error" not in row and row["id"] in others]
    if not pairs:
        raise UsageError(
            f"{first.folder} and {second.folder} have no question in common", hint="Run both over the same questions."
        )
    return pairs


def errors(rows: Sequence[Row]) -> list[Row]:
    """Rows of questions that failed."""
    return [row for row in rows if "error" in row]
