"""A questionnaire answered: each question is put to the documents as `ask` would, and comes back at its place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from retrieval.whole.desk import Opened, Work
from strongroom.types import Answer, DocumentInfo
from strongroom.whole import SheetAnswer, WholeItem, WholeProgress, WholeRequest

Asked = Callable[[str, Sequence[Opened]], Answer]
"""Answers one question from the opened documents, or from all that may be read when there are none."""


def sheet(
    request: WholeRequest, documents: Sequence[DocumentInfo], work: Work, ask: Asked
) -> Iterator[WholeProgress | WholeItem]:
    """One answer a question, in order, as soon as it is there."""
    opened = [one for one in map(work.open, documents) if one is not None] if request.documents else []
    for index, question in enumerate(request.questions):
        work.go_on()
        yield work.progress(question)
        yield SheetAnswer(index, question, ask(question, opened))
        work.done += 1
    yield work.progress()
