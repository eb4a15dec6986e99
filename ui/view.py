"""From domain values to what the pages and components show. Pure functions, no Streamlit: this is where it is tested.

Components get plain data and put every word on the page as a text node, so nothing here makes HTML but `say`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any
from urllib.parse import quote, unquote

from strongroom.types import (
    Answer,
    Citation,
    DeletionReceipt,
    DocumentInfo,
    FileOutcome,
    Locator,
    Message,
    PageView,
    Sentence,
)

UPLOAD = "upload:///"
"""How the URIs of files that came through the browser begin; the percent-encoded file name follows."""

STAGES = {
    "retrieving": "Looking through your documents",
    "reading": "Reading the best passages",
    "writing": "Writing",
    "checking": "Checking each sentence against the quotes",
}
SUPPORT_LABELS = {"partial": "partly supported", "unsupported": "not supported by your documents"}
STATE_LABELS = {
    "pending": "waiting",
    "parsed": "being indexed",
    "indexed": "ready",
    "failed": "failed",
    "quarantined": "set aside",
}
OUTCOME_LABELS = {
    "indexed": "added",
    "unchanged": "already there",
    "failed": "failed",
    "quarantined": "set aside",
    "skipped": "skipped",
    "moved": "moved",
    "removed": "removed",
    "vanished": "vanished",
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


@dataclass(frozen=True, slots=True)
class Shown:
    """What the viewer shows: a page of a document, and the citation it was opened for."""

    document_id: str
    index: int
    citation: Citation | None = None


def say(text: str, css: str = "sr-say") -> str:
    """Text as one paragraph of HTML in which nothing of the text is markup."""
    return f'<p class="{css}">{escape(text)}</p>'


def stage_line(stage: str, detail: str, seconds: float) -> str:
    """The line that shows what is going on while an answer is made."""
    words = STAGES.get(stage, stage.capitalize() or "Working")
    if detail:
        words += f" ({detail})"
    if seconds >= 2:
        words += f" · {seconds:.0f} s"
    return f'<p class="sr-stage" role="status"><span class="sr-dot" aria-hidden="true"></span>{escape(words)}</p>'


def place(page: int | None, locator: Locator) -> str:
    """Where a quote stands, in words: `page 3`, `sheet Budget`."""
    if page is not None and locator.kind == "page":
        return f"page {page}"
    return f"{locator.kind} {locator.label}".strip()


def answer_data(answer: Answer) -> dict[str, Any]:
    """What the answer component shows."""
    # Text that nobody cut into sentences was not checked either, so it is shown as not supported.
    sentences = answer.sentences or (Sentence(answer.answer, "unsupported"),)
    cited = {n for sentence in sentences for n in sentence.citations}
    return {
        "abstained": answer.abstained,
        "sentences": [
            {
                "before": before,
                "text": s.text,
                "support": s.support,
                "label": SUPPORT_LABELS.get(s.support, ""),
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
    parts = [answer.model, f"confidence {answer.confidence:.0%}"]
    total = answer.timings_ms.get("total")
    if total is not None:
        parts.append(f"{total / 1000:.1f} s")
    return " · ".join(part for part in parts if part)


def page_data(page: PageView, citation: Citation | None, image: str | None) -> dict[str, Any]:
    """What the page component shows: an image with boxes, or the page's text with the quote marked.

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
        "segments": segments(page.text, [(s.start - page.start, s.end - page.start) for s in spans]),
        "label": f"{page.document.name}, {place(page.number, page.locator)}",
        "quote": " ".join(citation.quote.split()) if citation is not None and spans else "",
    }


def segments(text: str, spans: Sequence[tuple[int, int]]) -> list[dict[str, Any]]:
    """A text cut into marked and unmarked pieces; joined, the pieces are the text again.

    Spans are clipped to the text; overlapping ones are merged; empty ones are dropped.
    """
    out: list[dict[str, Any]] = []
    at = 0
    for start, end in sorted((max(0, s), min(len(text), e)) for s, e in spans):
        start = max(start, at)
        if start >= end:
            continue
        if start > at:
            out.append({"text": text[at:start], "mark": False})
        if out and out[-1]["mark"] and start == at:
            out[-1]["text"] += text[start:end]
        else:
            out.append({"text": text[start:end], "mark": True})
        at = end
    if at < len(text):
        out.append({"text": text[at:], "mark": False})
    return out


def document_row(info: DocumentInfo) -> dict[str, Any]:
    """A row of the documents table."""
    return {
        "id": info.id,
        "name": info.name,
        "collection": info.collection,
        "state": str(info.state),
        "stateLabel": STATE_LABELS.get(str(info.state), str(info.state)),
        "pages": info.pages,
        "chunks": info.chunks,
        "size": size_words(info.size),
        "added": info.added.strftime("%Y-%m-%d"),
        "reason": info.reason or "",
    }


def matching(documents: Sequence[DocumentInfo], words: str) -> list[DocumentInfo]:
    """Documents whose name, path, collection or reason holds every word, in any case."""
    wanted = words.casefold().split()

    def holds(info: DocumentInfo) -> bool:
        text = f"{info.name} {info.path} {info.collection} {info.reason or ''}".casefold()
        return all(word in text for word in wanted)

    return [info for info in documents if holds(info)]


def upload_uri(name: str) -> str:
    """The identity of an uploaded file: the same name in the same collection is a new version of the same document."""
    return UPLOAD + quote(name, safe="")


def outcome_row(outcome: FileOutcome) -> dict[str, Any]:
    """A row of the list of what became of uploaded files."""
    return {
        "name": unquote(outcome.path.removeprefix(UPLOAD)) if outcome.path.startswith(UPLOAD) else outcome.path,
        "outcome": outcome.outcome,
        "label": OUTCOME_LABELS.get(outcome.outcome, outcome.outcome),
        "detail": outcome.reason or (f"{outcome.pages} pages" if outcome.pages != 1 else "1 page"),
    }


def receipt_lines(receipt: DeletionReceipt) -> list[str]:
    """A deletion receipt in sentences."""
    lines = [f"{what.replace('_', ' ').capitalize()} destroyed: {count:,}" for what, count in receipt.destroyed.items()]
    lines += [f"Out of reach: {what}" for what in receipt.out_of_reach]
    return lines


def size_words(size: int) -> str:
    """A size in bytes as people write it."""
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{value:.0f} {unit}" if unit == "B" or value >= 10 else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError("unreachable")


def history(turns: Sequence[Turn], *, limit: int = 3) -> tuple[Message, ...]:
    """The last answered turns as conversation history. What was not found, broke off or failed is no history."""
    answered = [t for t in turns if t.answer is not None and not t.answer.abstained][-limit:]
    messages: list[Message] = []
    for turn in answered:
        if turn.answer is not None:
            messages += [Message("user", turn.question), Message("assistant", turn.answer.answer)]
    return tuple(messages)
