"""A questionnaire answered: each question is put to the documents as `ask` would, and comes back at its place."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from retrieval.whole.desk import Work
from strongroom.errors import UsageError
from strongroom.types import Answer
from strongroom.whole import SheetAnswer, WholeItem, WholeProgress, WholeRequest

Asked = Callable[[str], Answer]
"""Answers one question from the documents that were chosen. Raises `UsageError` for one that cannot be asked."""

LONGEST = 2_000  # characters of a question
_SHOWN = 60  # of them, where one is named


def sheet(request: WholeRequest, work: Work, ask: Asked) -> Iterator[WholeProgress | WholeItem]:
    """One answer a question, in order, as soon as it is there. One that cannot be asked stops none of the others."""
    for index, question in enumerate(request.questions):
        work.go_on()
        yield work.progress(question[:_SHOWN])
        try:
            if len(question) > LONGEST:
                raise UsageError(f"the question is longer than {LONGEST:,} characters")
            yield SheetAnswer(index, question, ask(question))
        except UsageError as exc:
            work.left_out.append((f"question {index + 1}: {question[:_SHOWN]}", str(exc)))
            yield SheetAnswer(index, question, None, str(exc))
        work.done += 1
    yield work.progress()
