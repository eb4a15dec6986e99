"""From a question to its answer: retrieve once, read, decide, quote, write, check.

The one path from words to `AskEvent`s, in one of two styles. *Exact*: the words of the documents that answer, each in
its sentence, and no model writes. *Fluent*: a language model writes from these sentences, and every sentence of its own
is checked against them. Whether to answer at all is decided before either. Must not search twice, must not cite what
was not in the list that was found, and never passes a model's text on uncleaned.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from retrieval import abstain, clarify, condense, context, differ, exact, grounding, prompt, stream
from retrieval.citations import PageLookup, PageReader
from retrieval.context import RankedChunk, Reading
from retrieval.evidence import Evidence
from strongroom.access import AccessFilter
from strongroom.errors import CancelledError
from strongroom.flags import described, touching
from strongroom.ports import QUOTE_SEPARATOR, ChatModel, Embedder, Entailment, GenerationOptions, Reader
from strongroom.types import (
    EXTRACTIVE,
    GENERATED,
    Answer,
    AnswerEvent,
    AskEvent,
    AskRequest,
    Citation,
    CitationsEvent,
    Clarification,
    Exact,
    Message,
    Sentence,
    StageEvent,
    Style,
    TextEvent,
    Usage,
)
from strongroom.words import counted

K = 8  # passages read for one question
QUOTES = 5  # in the list of citations
PROMPT_TOKENS = 600  # for all of them: on two cores every hundred tokens cost the reader about a second of waiting
SHOWN_QUOTES = 3  # of an exact answer
CLOSE_BEHIND = 0.12  # a further quote is shown when its score is within this of the best
NEAREST = 3  # passages shown with "not found"
MOST_WARNINGS = 10


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
    where: str = ""
    searched: str = ""
    clarify: Clarification | None = None
    warnings: tuple[str, ...] = ()
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
    """Answers questions over released passages: fluently with a language model, exactly without one.

    Stateless between questions; may be used from several threads.
    """

    def __init__(
        self,
        searcher: Retriever,
        embedder: Embedder,
        reader: Reader,
        llm: ChatModel | None,
        pages: PageLookup,
        *,
        answer_tokens: int = 160,
        abstain_below: float = abstain.THRESHOLD,
        calibration: abstain.Calibration = abstain.DEFAULT,
        quotes_only: bool = False,
        nli: Entailment | None = None,
    ) -> None:
        """With `quotes_only` the language model chooses among the documents' words instead of writing; what it writes
        is checked by `nli` too, where there is one."""
        self._searcher = searcher
        self._embedder = embedder
        self._reader = reader
        self._llm = llm
        self._pages = pages
        self._answer_tokens = answer_tokens
        self._abstain_below = abstain_below
        self._calibration = calibration
        self._quotes_only = quotes_only
        self._nli = nli

    def answer(
        self, request: AskRequest, *, access: AccessFilter, cancel: threading.Event | None = None, where: str = ""
    ) -> Iterator[AskEvent]:
        """Yield the stages, the citations, the words and last the checked answer.

        The citations come before the first word. Raises `StrongroomError`s, among them `CancelledError` when `cancel`
        is set; closing the iterator stops generation. `where` says what is searched, in words.
        """
        run = _Run(request, cancel, where)
        run.go_on()
        yield StageEvent("retrieving")
        question = condense.condense(request.question, request.history, self._embedder)
        ranked, _ = self._searcher.search(question, access=access, k=K)
        run.timings["retrieve"] = run.elapsed()
        run.go_on()
        yield StageEvent("reading", f"{len(ranked)} passages")
        question, own = condense.asked(question), condense.asked(request.question)
        pages = PageReader(self._pages)
        reading = context.read(question, ranked, pages, self._embedder, self._reader, own=own)
        confidence = self._calibration.probability(abstain.features(question, reading)) if reading.candidates else 0.0
        run.searched = _searched(run.where, reading)
        run.go_on()
        if confidence < self._abstain_below or not reading.candidates:
            yield from self._not_found(run, reading, pages, confidence)
        elif (back := clarify.unresolved(request.question, request.history, _nearest(reading))) is not None:
            yield from self._asked_back(run, back, reading, pages, confidence)
        else:
            yield from self._found(run, question, reading, pages, confidence)

    # ------------------------------------------------------------------------------------------------ the two ends

    def _not_found(self, run: _Run, reading: Reading, pages: PageReader, confidence: float) -> Iterator[AskEvent]:
        """Say so, with the nearest passages. The model is not asked."""
        citations = _cite(_nearest(reading), pages)
        yield CitationsEvent(citations)
        yield run.say(abstain.NOT_FOUND)
        yield _finish(run, EXTRACTIVE, confidence, (), citations, abstained=True)

    def _asked_back(
        self, run: _Run, back: Clarification, reading: Reading, pages: PageReader, confidence: float
    ) -> Iterator[AskEvent]:
        """Ask instead of answering, with the nearest passages."""
        run.clarify = back
        citations = _cite(_nearest(reading), pages)
        yield CitationsEvent(citations)
        yield run.say(back.question)
        yield _finish(run, EXTRACTIVE, confidence, (), citations, abstained=True)

    def _found(
        self, run: _Run, question: str, reading: Reading, pages: PageReader, confidence: float
    ) -> Iterator[AskEvent]:
        llm = self._llm
        different = differ.answers(question, reading)
        evidence = context.choose(
            reading,
            count_tokens=llm.count_tokens if llm else len,
            budget=PROMPT_TOKENS if llm else 1 << 20,
            max_quotes=QUOTES,
            first=[one.best for one in different],
        )
        run.clarify = differ.asked(different)
        run.warnings = (*differ.warnings(question, different), *_warnings(evidence))
        citations = _cite(evidence, pages)
        yield CitationsEvent(citations)
        if llm is None or self._quotes_only:
            yield from self._exactly(run, question, evidence, citations, pages, confidence, len(different))
        else:
            yield from self._fluently(run, question, evidence, citations, llm, confidence)

    def _exactly(
        self,
        run: _Run,
        question: str,
        evidence: tuple[Evidence, ...],
        citations: tuple[Citation, ...],
        pages: PageReader,
        confidence: float,
        different: int,
    ) -> Iterator[AskEvent]:
        """The words that answer, and the quotes they stand in: by the reader, or by a model that may only quote.

        Where the first `different` quotes answer differently, all of these answers, and no model chooses among them.
        """
        found, by = exact.find(question, evidence, pages, each=different), EXTRACTIVE
        if self._llm is not None and not different:
            yield StageEvent("choosing", self._llm.name)
            picked = self._choose(run, evidence, pages, self._llm)
            found, by = (picked, self._llm.name) if picked else (found, by)
        yield run.say("; ".join(e.text for e in found))
        used = {e.citation for e in found}
        shown = [n for n, e in enumerate(evidence, start=1) if n in used or e in _shown(evidence)]
        sentences = [
            Sentence(f"“{stream.plain(evidence[n - 1].text)}”", "supported", (n,), verbatim=True) for n in shown
        ]
        yield _finish(run, by, confidence, tuple(sentences), citations, exact=found)

    def _choose(
        self, run: _Run, evidence: tuple[Evidence, ...], pages: PageReader, llm: ChatModel
    ) -> tuple[Exact, ...]:
        """The model's choice of words. Its decoder offers nothing else, so it cannot invent any."""
        messages, given = self._prompt(run.request, evidence, llm)
        options = GenerationOptions(max_tokens=self._answer_tokens, allowed=exact.choices(given))
        text = "".join(llm.stream(messages, options, cancel=run.cancel, on_usage=run.took))
        run.go_on()
        return exact.chosen(text.split(QUOTE_SEPARATOR), given, pages)

    def _fluently(
        self,
        run: _Run,
        question: str,
        evidence: tuple[Evidence, ...],
        citations: tuple[Citation, ...],
        llm: ChatModel,
        confidence: float,
    ) -> Iterator[AskEvent]:
        """The model's words, each sentence checked."""
        run.go_on()
        yield StageEvent("writing", llm.name)
        messages, given = self._prompt(run.request, evidence, llm)
        prose = stream.Prose()
        for words in self._write(run, llm, messages, given, prose):
            yield run.say(words)
        run.go_on()
        yield StageEvent("checking")
        sentences = grounding.check(
            prose.text, prose.marks, evidence, question, self._embedder, self._reader, nli=self._nli, shown=len(given)
        )
        yield _finish(run, llm.name, confidence, sentences, citations, style="fluent")

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


def _nearest(reading: Reading) -> tuple[Evidence, ...]:
    return context.choose(reading, count_tokens=len, budget=1 << 20, max_quotes=NEAREST)


def _searched(where: str, reading: Reading) -> str:
    """What was searched and read: `the documents in “contracts”; the 8 nearest passages, of 3 of them, were read`."""
    count, documents = len(reading.chunks), len({c.chunk.document.id for c in reading.chunks})
    if not count:
        read = "nothing was near"
    elif count == 1:
        read = "the nearest passage was read"
    else:
        read = f"the {count} nearest passages, of {counted(documents, 'document')}, were read"
    return f"{where}; {read}" if where else read


def asked_back(request: AskRequest, back: Clarification) -> Iterator[AskEvent]:
    """The events of a question that is asked back before anything was searched."""
    run = _Run(request, None, clarify=back)
    yield CitationsEvent(())
    yield run.say(back.question)
    yield _finish(run, EXTRACTIVE, 0.0, (), (), abstained=True)


def _shown(evidence: Sequence[Evidence]) -> Sequence[Evidence]:
    """The quotes that an exact answer shows: the best one and those close behind it."""
    return [e for e in evidence[:SHOWN_QUOTES] if e.score >= evidence[0].score - CLOSE_BEHIND]


def _warnings(evidence: Sequence[Evidence]) -> tuple[str, ...]:
    """One line for each thing about the quotes' passages that was flagged when their documents were read."""
    out: dict[str, None] = {}
    for item in evidence:
        chunk = item.chunk
        place = f"{chunk.document.name}, {chunk.locator.kind} {chunk.locator.label}".rstrip()
        for flag in touching(chunk.flags, min(chunk.start, item.start), max(chunk.end, item.end)):
            out[stream.plain(f"{place}: {described(flag)}")] = None
    return tuple(out)[:MOST_WARNINGS]


def _finish(
    run: _Run,
    model: str,
    confidence: float,
    sentences: tuple[Sentence, ...],
    citations: tuple[Citation, ...],
    *,
    abstained: bool = False,
    style: Style = "exact",
    exact: tuple[Exact, ...] = (),
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
            warnings=run.warnings,
            style=style,
            exact=exact,
            digital_source_type=GENERATED if style == "fluent" else None,
            clarify=run.clarify,
            searched=run.searched,
        )
    )
