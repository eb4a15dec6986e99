"""From answers to what the chat and the viewer show. Pure functions, no Streamlit: here it is tested.

Components get plain data and put every word on the page as a text node, so nothing here makes HTML but `stage_line`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from strongroom.quotes import marked, segments
from strongroom.types import (
    EXTRACTIVE,
    Answer,
    ApprovalRequest,
    Citation,
    Message,
    PageView,
    Sentence,
    Span,
    Style,
    Verdict,
)
from strongroom.words import place

STAGES = {
    "waiting": "Waiting for your turn",
    "retrieving": "Looking through your documents",
    "reading": "Reading the best passages",
    "writing": "Writing",
    "choosing": "Choosing words of the documents",
    "checking": "Checking each sentence against the quotes",
}
SUPPORT_LABELS = {"partial": "partly supported", "unsupported": "not supported by your documents"}
STYLE_LABELS = {
    "exact": "In your documents' own words",
    "fluent": "Written by a model; each sentence checked against your documents",
}
STYLE_CHOICES: dict[str, Style | None] = {
    "The usual way": None,
    "The documents' own words": "exact",
    "A model's words, checked": "fluent",
}
STYLE_HELP = (
    "The usual way is what this appliance is set up for. Own words: only quotes, nothing is written. "
    "A model's words: easier to read; what the quotes do not carry is marked."
)
JUDGED_LABELS = {
    "approved": "Kept as right",
    "corrected": "Kept: the words you marked are right",
    "rejected": "Kept as not right",
}


@dataclass(slots=True)
class Turn:
    """One question of a conversation and what came of it."""

    question: str
    partial: str = ""
    answer: Answer | None = None
    error: str = ""
    hint: str = ""
    stopped: bool = False
    judged: str = ""  # the verdict that the person gave


@dataclass(frozen=True, slots=True)
class Shown:
    """What the viewer shows: a page of a document, the citation it was opened for, and the words in it that answer."""

    document_id: str
    index: int
    citation: Citation | None = None
    exact: tuple[Span, ...] = ()


def stage_line(stage: str, detail: str, seconds: float) -> str:
    """The line that shows what is going on while an answer is made."""
    words = STAGES.get(stage, stage.capitalize() or "Working")
    if detail:
        words += f" ({detail})"
    if seconds >= 2:
        words += f" · {seconds:.0f} s"
    return f'<p class="sr-stage" role="status"><span class="sr-dot" aria-hidden="true"></span>{escape(words)}</p>'


def answer_data(answer: Answer, *, judged: str = "") -> dict[str, Any]:
    """What the answer component shows."""
    quotes = {c.n: c for c in answer.citations}
    # Text that nobody cut into sentences was not checked either, so it is shown as not supported.
    sentences = answer.sentences or (Sentence(answer.answer, "unsupported"),)
    cited = {n for sentence in sentences for n in sentence.citations}
    return {
        "abstained": answer.abstained,
        "style": answer.style,
        "styleLabel": STYLE_LABELS[answer.style],
        "exact": [e.text for e in answer.exact],
        "judged": JUDGED_LABELS.get(judged, ""),
        "asked": {"question": answer.clarify.question, "options": list(answer.clarify.options)}
        if answer.clarify
        else None,
        "searched": answer.searched,
        "warnings": list(answer.warnings),
        "sentences": [
            {
                "before": before,
                "text": s.text,
                "pieces": marked(quotes[s.citations[0]], answer)
                if s.verbatim and set(s.citations) <= set(quotes)
                else [],
                "support": s.support,
                "label": sentence_label(s),
                "citations": list(s.citations),
                "invalid": list(s.invalid),
            }
            for s, before in zip(sentences, gaps(answer.answer, [s.text for s in sentences]), strict=True)
        ],
        # A model that cites nothing still leaves the person the passages it was given.
        "citations": [
            {
                "n": c.n,
                "name": c.document.name,
                "place": place(c.page, c.locator),
                "quote": " ".join(c.quote.split()),
                "cited": c.n in cited,
            }
            for c in answer.citations
        ],
        "meta": answer_meta(answer),
    }


def sentence_label(sentence: Sentence) -> str:
    """What is said beside a sentence that the quotes do not carry whole; empty for one that they do."""
    label = SUPPORT_LABELS.get(sentence.support, "")
    if sentence.unfounded:
        label = f"{label or 'check'}: {', '.join(sentence.unfounded)} in no quote"
    return label


def judgement(turn: Turn, choice: object) -> ApprovalRequest | None:
    """What the person chose, as a request: a verdict on the exact answer, or other words of a quote as the right ones.

    `choice` comes from the browser: `{"verdict"}`, with `citation`, `start` and `end` (offsets in its quote) for a
    correction. `None` for what fits no exact answer.
    """
    answer = turn.answer
    if answer is None or not answer.exact or not isinstance(choice, dict):
        return None
    cited = {c.n: c for c in answer.citations}
    verdict, first = choice.get("verdict"), answer.exact[0]
    if verdict in ("approved", "rejected") and first.citation in cited:
        place = first.spans[0]
        return _judged(turn, verdict, cited[first.citation], place.start, place.end)
    n, start, end = (choice.get(name) for name in ("citation", "start", "end"))
    if verdict == "corrected" and n in cited and isinstance(start, int) and isinstance(end, int):
        at = cited[n].spans[0].start
        return _judged(turn, verdict, cited[n], at + start, at + end)
    return None


def _judged(turn: Turn, verdict: Verdict, citation: Citation, start: int, end: int) -> ApprovalRequest | None:
    span = next((s for s in citation.spans if s.start <= start < end <= s.end), None)
    if span is None:
        return None
    return ApprovalRequest(turn.question, verdict, citation.document.id, span.page_index, start, end)


def gaps(text: str, sentences: Sequence[str]) -> list[str]:
    """What to put before each sentence: a paragraph break where `text` has line breaks there, else a space."""
    out, at = [], 0
    for number, sentence in enumerate(sentences):
        found = text.find(sentence, at)
        between = text[at:found] if found >= 0 else ""
        at = found + len(sentence) if found >= 0 else at
        out.append("" if number == 0 else "\n\n" if "\n" in between else " ")
    return out


def answer_meta(answer: Answer) -> str:
    """The small print under an answer."""
    parts = ["" if answer.model == EXTRACTIVE else answer.model, f"confidence {answer.confidence:.0%}"]
    total = answer.timings_ms.get("total")
    if total is not None:
        parts.append(f"{total / 1000:.1f} s")
    return " · ".join(part for part in parts if part)


def page_data(
    page: PageView, citation: Citation | None, image: str | None, *, exact: Sequence[Span] = ()
) -> dict[str, Any]:
    """What the page component shows: an image with boxes, or the page's text with the quote marked.

    The boxes of `exact`, the words that answer, are drawn stronger.
    `image` is the address of the page image, `None` for formats that have none. Boxes are in the page's own units.
    """
    spans = [s for s in citation.spans if s.page_index == page.index] if citation is not None else []
    boxes = [list(box) for span in spans for box in span.boxes]
    sized = bool(image and page.width and page.height)
    return {
        "image": image if sized else None,
        "width": page.width,
        "height": page.height,
        "boxes": boxes,
        "exact": [list(box) for span in exact if span.page_index == page.index for box in span.boxes],
        "segments": segments(page.text, [(s.start - page.start, s.end - page.start) for s in spans]),
        "label": f"{page.document.name}, {place(page.number, page.locator)}",
        "quote": " ".join(citation.quote.split()) if citation is not None and spans else "",
    }


def history(turns: Sequence[Turn], *, limit: int = 3) -> tuple[Message, ...]:
    """The last answered turns as conversation history. What was not found, broke off or failed is no
    history; what was asked back is, because the next words reply to it."""
    answered = [t for t in turns if t.answer is not None and (t.answer.clarify or not t.answer.abstained)][-limit:]
    messages: list[Message] = []
    for turn in answered:
        if turn.answer is not None:
            messages += [Message("user", turn.question), Message("assistant", turn.answer.answer)]
    return tuple(messages)
