"""The documents of a question set in an appliance of their own, made by the real pipeline and kept for the next time.

The folder is named after the documents' bytes and the settings that cut and embed them, so another set or another
embedder gets another one. Never touches the organisation's own data directory.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from evals.questions import QuestionSet
from strongroom.access import LOCAL_USER
from strongroom.app.models import Models
from strongroom.config import Settings
from strongroom.engine import Engine
from strongroom.errors import IndexMismatchError, UsageError
from strongroom.types import IngestRequest, OnEvent

if TYPE_CHECKING:
    from strongroom.app.appliance import Appliance

_DECIDE = ("embedder", "chunk_tokens", "chunk_overlap_tokens", "ocr")  # settings that decide what is stored


def default_cache() -> Path:
    """Where corpora stay between runs (XDG base directory specification)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "strongroom" / "eval"


def corpus_key(questions: QuestionSet, settings: Settings) -> str:
    """Changes with any document's name or bytes, and with the settings that decide what is stored of them."""
    state = hashlib.blake2b(json.dumps([str(getattr(settings, key)) for key in _DECIDE]).encode(), digest_size=12)
    for name, text in sorted(questions.texts.items()):
        state.update(f"{name}\0{text}\0".encode())
    for path in _files(questions):
        state.update(f"{path.name}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return state.hexdigest()


def _files(questions: QuestionSet) -> list[Path]:
    found: list[Path] = []
    for path in questions.files:
        if not path.exists():
            raise UsageError(f"{path} does not exist", hint="The documents of the question set are missing.")
        found += sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    return found


@contextmanager
def opened(
    questions: QuestionSet,
    settings: Settings,
    *,
    cache: Path,
    on_event: OnEvent,
    models: Models | None = None,
) -> Iterator[Engine]:
    """The engine over these documents. What is stored already costs no parsing and no embedding.

    Raises `LockedError` while another run uses the same documents.
    """
    with appliance(questions, settings, cache=cache, on_event=on_event, models=models) as held:
        yield held.as_user(LOCAL_USER)


@contextmanager
def appliance(
    questions: QuestionSet,
    settings: Settings,
    *,
    cache: Path,
    on_event: OnEvent = lambda _event: None,
    models: Models | None = None,
) -> Iterator[Appliance]:
    """The appliance that `opened` asks, for those who measure its parts."""
    from strongroom.app.appliance import Appliance

    folder = cache / f"{questions.name}-{corpus_key(questions, settings)}"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    documents = folder / "documents"
    if questions.texts and not documents.exists():
        part = folder / "documents.part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        for name, text in questions.texts.items():
            (part / name).write_text(text, encoding="utf-8")
        part.rename(documents)
    paths = [str(documents)] if questions.texts else [str(path.absolute()) for path in questions.files]
    alone = settings.model_copy(
        update={"data_dir": (folder / "appliance").absolute(), "keys_dir": None, "qdrant_url": None}
    )
    held = Appliance(alone, purpose="strongroom eval", models=models)
    try:
        try:
            _ = held.index
        except IndexMismatchError:
            held.reindex(on_event)
        held.as_user(LOCAL_USER).ingest(IngestRequest(tuple(paths)), on_event=on_event)
        yield held
    finally:
        held.close()
