"""A question run to its end over any engine, for callers that want the whole answer and no stream."""

from __future__ import annotations

from strongroom.engine import Engine
from strongroom.errors import StrongroomError
from strongroom.types import Answer, AnswerEvent, AskRequest, ErrorEvent
from strongroom.wire import error_of


def final_answer(engine: Engine, request: AskRequest) -> Answer:
    """The whole answer. Raises what went wrong."""
    for event in engine.ask(request):
        if isinstance(event, AnswerEvent):
            return event.answer
        if isinstance(event, ErrorEvent):
            raise error_of(event)
    raise StrongroomError("the answer broke off", hint="Ask again; `strongroom check` may show a cause.")
