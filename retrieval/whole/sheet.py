"""A questionnaire answered: each question is put to the documents as `ask` would, and comes back at its place."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from retrieval.whole.desk import Work
from strongroom.types import Answer
from strongroom.whole import SheetAnswer, WholeItem, WholeProgress, WholeRequest

Asked = Callable[[str], Answer]
"""Answers one question from the documents that were chosen."""


def sheet(request: WholeRequest, work: Work, ask: Asked) -> Iterator[WholeProgress | WholeItem]:
    """One answer a question, in order, as soon as it is there."""
    for index, question in enumerate(request.questions):
        work.go_on()
        yield work.progress(question)
        yield SheetAnswer(index, question, ask(question))
        work.done += 1
    yield work.progress()
