"""Questions of several steps: decomposed, each part answered as `ask` answers, and the answers put together.

A LlamaIndex workflow: decompose, answer (once for each part), gather. Each step is shown as a stage and keeps its own
citations. Bounded in steps and in tokens; what the bounds cut off is named in the warnings. Nothing is concluded from
the parts: the answer is what the documents say to each.

Importing this module imports LlamaIndex (about a second): import it only where it is used.
"""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

from llama_index.core.workflow import Context, Event, StartEvent, StopEvent, Workflow, step

from retrieval.stream import plain
from strongroom.access import AccessFilter
from strongroom.errors import CancelledError
from strongroom.types import (
    Answer,
    AnswerEvent,
    AskEvent,
    AskRequest,
    Citation,
    CitationsEvent,
    Exact,
    Sentence,
    StageEvent,
    TextEvent,
    Usage,
)

MOST_TOKENS = 12_000  # of all steps together, prompts included
_TIMEOUT_S = 3600.0  # of a workflow; steps are ended by `cancel` before that


class Answers(Protocol):
    """What a step needs of `retrieval.answer.Answerer`."""

    def answer(
        self, request: AskRequest, *, access: AccessFilter, cancel: threading.Event | None = None, where: str = ""
    ) -> Iterator[AskEvent]: ...


Decompose = Callable[[str, int], Sequence[str]]


class _Parts(Event):  # type: ignore[misc]  # LlamaIndex is untyped to mypy here
    """Questions that wait for their answer, and those that have one."""

    waiting: list[str]
    answered: list[Any]


@dataclass(frozen=True, slots=True)
class _Failed:
    error: BaseException


class Stepper:
    """Answers questions in up to `most` steps. Stateless between questions; may be used from several threads."""

    def __init__(self, answers: Answers, decompose: Decompose, *, most: int, most_tokens: int = MOST_TOKENS) -> None:
        self._answers, self._decompose = answers, decompose
        self._most, self._most_tokens = most, most_tokens

    def answer(
        self, request: AskRequest, *, access: AccessFilter, cancel: threading.Event | None = None, where: str = ""
    ) -> Iterator[AskEvent]:
        """Yield the stages of all steps, then the citations of all, the words, and the whole answer.

        A question of one part is answered as ever. Closing the iterator or setting `cancel` ends the step at hand.
        """
        stop = cancel or threading.Event()
        told: queue.Queue[AskEvent | _Failed | None] = queue.Queue()
        flow = _Flow(
            self, request, partial(self._answers.answer, access=access, where=where, cancel=stop), stop, told.put
        )
        context = contextvars.copy_context()  # says which request it is, for the audit log

        async def flowing() -> None:
            await flow.run()

        def run() -> None:
            try:
                asyncio.run(flowing())
            except BaseException as exc:  # noqa: BLE001 - raised again in the caller's thread
                told.put(_Failed(flow.failed or exc))
            finally:
                told.put(None)

        thread = threading.Thread(target=lambda: context.run(run), name="steps", daemon=True)
        thread.start()
        try:
            while (event := told.get()) is not None:
                if isinstance(event, _Failed):
                    raise event.error
                yield event
        finally:
            if cancel is None:
                stop.set()
            thread.join(timeout=0.1)


class _Flow(Workflow):  # type: ignore[misc]
    """One question on its way."""

    def __init__(
        self,
        stepper: Stepper,
        request: AskRequest,
        answer: Callable[[AskRequest], Iterator[AskEvent]],
        cancel: threading.Event,
        tell: Callable[[AskEvent], None],
    ) -> None:
        super().__init__(timeout=_TIMEOUT_S)
        self._stepper, self._request, self._answer = stepper, request, answer
        self._cancelled, self._tell = cancel, tell
        self._total = 0
        self.failed: BaseException | None = None

    @step  # type: ignore[untyped-decorator]
    async def decompose(self, ctx: Context, ev: StartEvent) -> _Parts:
        """The parts of the question, one at least."""
        self._tell(StageEvent("decomposing"))
        parts = await self._blocking(self._stepper._decompose, self._request.question, self._stepper._most)
        waiting = list(parts)[: self._stepper._most] or [self._request.question]
        self._total = len(waiting)
        return _Parts(waiting=waiting, answered=[])

    @step  # type: ignore[untyped-decorator]
    async def answer_one(self, ctx: Context, ev: _Parts) -> _Parts | StopEvent:
        """Answer the next part; stop after the last, or when the tokens are used up."""
        if not ev.waiting or (ev.answered and _tokens(ev.answered) >= self._stepper._most_tokens):
            if self._total > 1:
                for event in _gathered(self._request, ev.answered, ev.waiting):
                    self._tell(event)
            return StopEvent(result=None)
        question, *rest = ev.waiting
        answer = await self._blocking(self._answered, question, len(ev.answered) + 1)
        return _Parts(waiting=rest, answered=[*ev.answered, (question, answer)])

    def _answered(self, question: str, number: int) -> Answer:
        alone = self._total == 1
        if not alone:
            self._tell(StageEvent("step", f"{number} of {self._total}: {question}"))
        asked = self._request if alone else replace(self._request, question=question)
        for event in self._answer(asked):
            if self._cancelled.is_set():
                raise CancelledError("the question was cancelled")
            if alone or isinstance(event, StageEvent):
                self._tell(event)
            if isinstance(event, AnswerEvent):
                return event.answer
        raise CancelledError("the question was cancelled")

    async def _blocking(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return await asyncio.to_thread(function, *arguments)
        except BaseException as exc:
            self.failed = exc
            raise


def _tokens(answered: Sequence[tuple[str, Answer]]) -> int:
    return sum(a.usage.prompt_tokens + a.usage.completion_tokens for _, a in answered)


def _gathered(request: AskRequest, answered: Sequence[tuple[str, Answer]], left: Sequence[str]) -> Iterator[AskEvent]:
    """The answers of all steps as one: citations numbered through, a line for each part."""
    citations: list[Citation] = []
    sentences: list[Sentence] = []
    exact: list[Exact] = []
    lines: list[str] = []
    warnings: list[str] = []
    for question, answer in answered:
        shift = len(citations)
        citations += [replace(c, n=c.n + shift) for c in answer.citations]
        sentences += [
            replace(s, citations=tuple(n + shift for n in s.citations), invalid=tuple(n + shift for n in s.invalid))
            for s in answer.sentences
        ]
        exact += [replace(e, citation=e.citation + shift) for e in answer.exact]
        lines.append(f"{plain(question)} {answer.answer}")
        warnings += answer.warnings
        if answer.abstained:
            warnings.append(f"not found: {plain(question)}")
    warnings += [f"not asked, for the steps before took all tokens: {plain(question)}" for question in left]
    found = [a for _, a in answered if not a.abstained]
    yield CitationsEvent(tuple(citations))
    text = "\n".join(lines)
    yield TextEvent(text)
    models = list(dict.fromkeys(a.model for _, a in answered))
    timings = {"total": sum(a.timings_ms.get("total", 0.0) for _, a in answered)}
    timings["first_token"] = timings["total"]
    first = answered[0][1]
    yield AnswerEvent(
        replace(
            first,
            answer=text,
            abstained=not found,
            confidence=min((a.confidence for a in found), default=max(a.confidence for _, a in answered)),
            sentences=tuple(sentences),
            citations=tuple(citations),
            model=", ".join(models),
            usage=Usage(
                sum(a.usage.prompt_tokens for _, a in answered), sum(a.usage.completion_tokens for _, a in answered)
            ),
            timings_ms={k: round(v, 2) for k, v in timings.items()},
            id=request.id,
            warnings=tuple(dict.fromkeys(warnings)),
            exact=tuple(exact),
        )
    )
