"""The one door to work over whole documents: checks what is asked, runs the task, and says at the end what was done."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

from retrieval.whole.compare import compare
from retrieval.whole.desk import Desk, Work
from retrieval.whole.extract import extract
from retrieval.whole.sheet import LONGEST, Asked, sheet
from retrieval.whole.summarise import summarise
from retrieval.whole.timeline import timeline
from strongroom.errors import UsageError
from strongroom.types import EXTRACTIVE, DocumentInfo
from strongroom.whole import WholeDone, WholeEvent, WholeItem, WholeProgress, WholeRequest

MOST_FIELDS, MOST_QUESTIONS, MOST_POINTS = 200, 2_000, 50


def check(request: WholeRequest) -> None:
    """Raise `UsageError` for a request that no task can carry out."""
    if request.task == "compare" and len(dict.fromkeys(request.documents)) < 2:
        raise UsageError("comparing needs two documents", hint="Name two documents or more.")
    if request.task == "extract":
        names = [field.name.strip() for field in request.fields]
        if not 0 < len(names) <= MOST_FIELDS or not all(names):
            raise UsageError("a table needs fields, each with a name", hint=f"Give 1 to {MOST_FIELDS} fields.")
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise UsageError(f"two fields are called {twice[:60]}", hint="Give each a name of its own.")
    if request.task == "sheet" and not 0 < len(request.questions) <= MOST_QUESTIONS:
        raise UsageError(
            f"the sheet holds {len(request.questions):,} questions", hint=f"Give 1 to {MOST_QUESTIONS:,} at a time."
        )
    if request.task == "sheet" and not all(question.strip() for question in request.questions):
        raise UsageError("a question of the sheet is empty", hint="Leave empty rows out.")
    if not 1 <= request.points <= MOST_POINTS:
        raise UsageError(f"{request.points} points make no summary", hint=f"Ask for 1 to {MOST_POINTS}.")
    for field in request.fields:
        if len(field.question or field.name) > LONGEST:
            raise UsageError(f"field {field.name[:60]}: too long a question", hint=f"At most {LONGEST:,} characters.")


def run(
    request: WholeRequest,
    documents: Sequence[DocumentInfo],
    desk: Desk,
    ask: Asked,
    *,
    left_out: Sequence[tuple[str, str]] = (),
    cancel: threading.Event | None = None,
) -> Iterator[WholeEvent]:
    """Yield progress and items, and last a `WholeDone`. Raises `StrongroomError`s, among them `CancelledError`.

    `documents` are those that the asker may read, as many as were chosen; `left_out` names others that were chosen and
    have no text, with the reason; `ask` answers the questions of a sheet.
    """
    check(request)
    unit, total = "documents", len(documents)
    if request.task == "extract":
        unit, total = "cells", len(documents) * len(request.fields)
    elif request.task == "sheet":
        unit, total = "questions", len(request.questions)
    elif request.task == "compare":
        unit = "sentences"
    work = Work(desk, cancel, unit, total, left_out=list(left_out))
    tasks: dict[str, Callable[[], Iterator[WholeProgress | WholeItem]]] = {
        "summarise": lambda: summarise(request, documents, work),
        "compare": lambda: compare(request, documents, work),
        "extract": lambda: extract(request, documents, work),
        "sheet": lambda: sheet(request, work, ask),
        "timeline": lambda: timeline(request, documents, work),
    }
    models: dict[str, None] = {}
    for event in tasks[request.task]():
        if not isinstance(event, WholeProgress):
            work.items += 1
            if event.kind == "sheet" and event.answer is not None:
                models[event.answer.model] = None
        yield event
    unread = 0 if request.task == "sheet" else len(work.left_out) - len(left_out)
    writes = desk.llm is not None and request.task in ("summarise", "extract")
    model = desk.llm.name if writes and desk.llm else ", ".join(models) or EXTRACTIVE
    yield WholeDone(
        request.task,
        len(documents) - unread,
        work.items,
        work.reused,
        work.progress().seconds,
        model,
        tuple(work.left_out),
        request.id,
    )
