"""From a question to its answer: retrieve once, read, decide, quote, write, check.

The one path from words to `AskEvent`s. Quotes are the product: the sentences that answer are shown first, word for
word, before the language model has decoded anything; the model's own prose follows and each of its sentences is
checked against the quotes. Whether to answer at all is decided before the model is asked. Must not search twice, must
not cite what was not in the list that was found, and never passes a model's text on uncleaned.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from retrieval import abstain, condense, context, grounding, prompt, stream
from retrieval.citations import PageLookup, PageReader
from retrieval.context import RankedChunk, Reading
from retrieval.evidence import Evidence
from strongroom.access import AccessFilter
from strongroom.errors import CancelledError
from strongroom.ports import ChatModel, Embedder, GenerationOptions
from strongroom.types import (
    Answer,
    AnswerEvent,
    AskEvent,
    AskRequest,
    Citation,
    CitationsEvent,
    Message,
    Sentence,
    StageEvent,
    TextEvent,
    Usage,
)

Style = Literal["quotes", "mixed", "prose"]
"""`quotes`: the best sentences of the documents, no model. `mixed`: those, then the model's prose. `prose`: prose
alone."""

EXTRACTIVE = "extractive"  # `Answer.model` when no language model wrote a word
K = 8  # passages read for one question
QUOTES = 5  # in the list of citations
PROMPT_QUOTES = {"mixed": 3, "prose": 5}  # of these the model reads so many: a small one answers worse from more
PROMPT_TOKENS = 600  # for all of them: on two cores every hundred tokens cost the reader about a second of waiting
SHOWN_QUOTES = {"mixed": 2, "quotes": 3, "prose": 0}
CLOSE_BEHIND = 0.12  # a further quote is shown when its score is within this of the best
PROSE_SENTENCES = 3  # in the mixed style the model adds to the quotes, it does not go on about them
NEAREST = 3  # passages shown with "not found"


class Retriever(Protocol):
    """What answering needs of `retrieval.search.Searcher`."""

    def search(
        self, question: str, *, access: AccessFilter, k: int, history: Sequence[Message] = ()
    ) -> tuple[Sequence[RankedChunk], dict[str, float]]: ...


@dataclass
class _Run:
    """One question on its way: clocks and what has been said so far."""

    request: AskRequest
    cancel: threading.Event | None
    began: float = field(default_factory=time.perf_counter)
    timings: dict[str, float] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    text: list[str] = field(default_factory=list)

    def elapsed(self) -> float:
        """Milliseconds since the question came in."""
        return round((time.perf_counter() - self.began) * 1000, 2)

    def say(self, text: str) -> TextEvent:
        """Words for the reader; notes when the first of them left."""
        self.timings.setdefault("first_token", self.elapsed())
        self.text.append(text)
        return TextEvent(text)

    def go_on(self) -> None:
        """Raise `CancelledError` when the caller asked to stop."""
        if self.cancel is not None and self.cancel.is_set():
            raise CancelledError("the question was cancelled")

    def took(self, usage: Usage) -> None:
        self.usage = usage


class Answerer:
    """Answers questions over released passages. Stateless between questions; may be used from several threads."""

    def __init__(
        self,
        searcher: Retriever,
        embedder: Embedder,
        llm: ChatModel | None,
        pages: PageLookup,
        *,
        answer_tokens: int = 160,
        abstain_below: float = abstain.THRESHOLD,
        style: Style = "mixed",
        calibration: abstain.Calibration = abstain.DEFAULT,
    ) -> None:
        self._searcher = searcher
        self._embedder = embedder
        self._llm = llm
        self._pages = pages
        self._answer_tokens = answer_tokens
        self._abstain_below = abstain_below
        self._style: Style = style
        self._calibration = calibration

    def answer(
        self, request: AskRequest, *, access: AccessFilter, cancel: threading.Event | None = None
    ) -> Iterator[AskEvent]:
        """Yield the stages, the citations, the words and last the checked answer.

        The citations come before the first word. Raises `StrongroomError`s, among them `CancelledError` when `cancel`
        is set; closing the iterator stops generation.
        """
        run = _Run(request, cancel)
        run.go_on()
        yield StageEvent("retrieving")
        question = condense.condense(request.question, request.history)
        ranked, _ = self._searcher.search(question, access=access, k=K)
        run.timings["retrieve"] = run.elapsed()
        run.go_on()
        yield StageEvent("reading", f"{len(ranked)} passages")
        pages = PageReader(self._pages)
        reading = context.read(question, ranked, pages, self._embedder)
        confidence = self._calibration.probability(abstain.features(question, reading)) if reading.candidates else 0.0
        run.go_on()
        if confidence < self._abstain_below or not reading.candidates:
            yield from self._not_found(run, reading, pages, confidence)
        else:
            yield from self._found(run, question, reading, pages, confidence)

    # ------------------------------------------------------------------------------------------------ the two ends

    def _not_found(self, run: _Run, reading: Reading, pages: PageReader, confidence: float) -> Iterator[AskEvent]:
        """Say so, with the nearest passages. The model is not asked."""
        nearest = context.choose(reading, count_tokens=len, budget=1 << 20, max_quotes=NEAREST)
        citations = _cite(nearest, pages)
        yield CitationsEvent(citations)
        yield run.say(abstain.NOT_FOUND)
        yield _finish(run, EXTRACTIVE, confidence, (), citations, abstained=True)

    def _found(
        self, run: _Run, question: str, reading: Reading, pages: PageReader, confidence: float
    ) -> Iterator[AskEvent]:
        llm = None if run.request.verbatim else self._llm
        style: Style = self._style if llm is not None else "quotes"
        evidence = context.choose(
            reading,
            count_tokens=llm.count_tokens if llm else len,
            budget=PROMPT_TOKENS if llm else 1 << 20,
            max_quotes=QUOTES,
        )
        citations = _cite(evidence, pages)
        yield CitationsEvent(citations)
        sentences: list[Sentence] = []
        for n, item in enumerate(_shown(evidence, SHOWN_QUOTES[style]), start=1):
            quote = f"“{stream.plain(item.text)}”"
            yield run.say(quote if n == 1 else f"\n{quote}")
            sentences.append(Sentence(quote, "supported", (n,), verbatim=True))
        if llm is None or style == "quotes":
            yield _finish(run, EXTRACTIVE, confidence, tuple(sentences), citations, warnings=_warnings(evidence))
            return
        run.go_on()
        yield StageEvent("writing", llm.name)
        messages, given = self._prompt(run.request, evidence[: PROMPT_QUOTES[style]], llm)
        prose = stream.Prose(PROSE_SENTENCES if style == "mixed" else None)
        for words in self._write(run, llm, messages, given, prose):
            begins = "first_written" not in run.timings
            run.timings.setdefault("first_written", run.elapsed())
            yield run.say(f"\n\n{words}" if begins and sentences else words)
        run.go_on()
        yield StageEvent("checking")
        sentences += grounding.check(prose.text, prose.marks, evidence, question, self._embedder, shown=len(given))
        yield _finish(run, llm.name, confidence, tuple(sentences), citations, warnings=_warnings(evidence))

    # ------------------------------------------------------------------------------------------------ writing

    def _prompt(
        self, request: AskRequest, evidence: tuple[Evidence, ...], llm: ChatModel
    ) -> tuple[list[Message], tuple[Evidence, ...]]:
        """The messages for the model and the quotes that are in them, numbered like the citations."""
        limit = llm.context_tokens - self._answer_tokens - 8
        return prompt.fit(request.question, evidence, request.history, count_prompt=llm.count_prompt, limit=limit)

    def _write(
        self,
        run: _Run,
        llm: ChatModel,
        messages: Sequence[Message],
        evidence: Sequence[Evidence],
        prose: stream.Prose,
    ) -> Iterator[str]:
        """Stream the model's words, cleaned, and collect them with their citation marks in `prose`."""
        options = GenerationOptions(max_tokens=self._answer_tokens)
        pieces = llm.stream(messages, options, cancel=run.cancel, on_usage=run.took)
        cleaner = stream.AnswerStream("\n".join(e.text for e in evidence))
        try:
            for item in _cleaned(pieces, cleaner):
                run.go_on()
                words = prose.add(item)
                if words:
                    yield words
                if prose.over:
                    break
            words = prose.end()
            if words:
                yield words
        finally:
            close = getattr(pieces, "close", None)
            if close is not None:
                close()


def _cleaned(pieces: Iterator[str], cleaner: stream.AnswerStream) -> Iterator[stream.Item]:
    for piece in pieces:
        yield from cleaner.feed(piece)
    yield from cleaner.close()


def _cite(evidence: Sequence[Evidence], pages: PageReader) -> tuple[Citation, ...]:
    return tuple(pages.cite(item, n) for n, item in enumerate(evidence, start=1))


def _shown(evidence: Sequence[Evidence], limit: int) -> Sequence[Evidence]:
    """The quotes that are put into the answer's text: the best one and those close behind it."""
    return [e for e in evidence[:limit] if e.score >= evidence[0].score - CLOSE_BEHIND]


def _warnings(evidence: Sequence[Evidence]) -> tuple[str, ...]:
    """One line for each passage that reads like an instruction to the model."""
    out: dict[str, None] = {}
    for item in evidence:
        words = prompt.suspicious(item.chunk.text)
        if words is not None:
            place = f"{item.chunk.document.name}, {item.chunk.locator.kind} {item.chunk.locator.label}".rstrip()
            line = f"{stream.plain(place)}: reads like an instruction to the model (“{stream.plain(words)}”)"
            out[line] = None
    return tuple(out)


def _finish(
    run: _Run,
    model: str,
    confidence: float,
    sentences: tuple[Sentence, ...],
    citations: tuple[Citation, ...],
    *,
    abstained: bool = False,
    warnings: tuple[str, ...] = (),
) -> AnswerEvent:
    run.timings.setdefault("first_token", run.elapsed())
    run.timings["total"] = run.elapsed()
    return AnswerEvent(
        Answer(
            answer="".join(run.text),
            abstained=abstained,
            confidence=round(confidence, 4),
            sentences=sentences,
            citations=citations,
            model=model,
            usage=run.usage,
            timings_ms=dict(run.timings),
            id=run.request.id,
            warnings=warnings,
        )
    )
