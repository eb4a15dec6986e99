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
    ApprovalRequest,
    Citation,
    DeletionReceipt,
    DocumentDetail,
    DocumentInfo,
    DocumentRef,
    FileOutcome,
    IngestProgress,
    Locator,
    Message,
    PageFacts,
    PageView,
    Sentence,
    Span,
    StoredChunk,
    Style,
    Verdict,
)
from strongroom.wire import segments, shown_uri
from ui.files import image_url

UPLOAD = "upload:///"
"""How the URIs of files that came through the browser begin; the percent-encoded file name follows."""

STAGES = {
    "waiting": "Waiting for your turn",
    "retrieving": "Looking through your documents",
    "reading": "Reading the best passages",
    "writing": "Writing",
    "choosing": "Choosing words of the documents",
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
BAD = frozenset({"failed", "quarantined"})
STATE_FILTERS = {
    "All": frozenset(STATE_LABELS),
    "Ready": frozenset({"indexed"}),
    "In work": frozenset({"pending", "parsed"}),
    "Failed or set aside": BAD,
}
DOUBTFUL = 0.7
"""Pages of which OCR was less sure are marked."""
PAGES_AT_ONCE = 12
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
    judged: str = ""  # the verdict that the person gave


@dataclass(frozen=True, slots=True)
class Shown:
    """What the viewer shows: a page of a document, the citation it was opened for, and the words in it that answer."""

    document_id: str
    index: int
    citation: Citation | None = None
    exact: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class Detailed:
    """The document that the details panel is about, and its passages once they were asked for."""

    document_id: str
    wanted: bool = False
    passages: tuple[StoredChunk, ...] | None = None


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


def marked(citation: Citation, answer: Answer) -> list[dict[str, Any]]:
    """A quote in pieces, those that answer marked."""
    start = citation.spans[0].start
    places = [(s.start - start, s.end - start) for s in exact_spans(answer, citation.n)]
    return segments(citation.quote, places)


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


def exact_spans(answer: Answer, n: int) -> tuple[Span, ...]:
    """Where the words that answer stand in the quote of citation `n`."""
    return tuple(span for found in answer.exact if found.citation == n for span in found.spans)


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
        "bad": str(info.state) in BAD,
    }


def in_state(documents: Sequence[DocumentInfo], choice: str) -> list[DocumentInfo]:
    """Documents that one of `STATE_FILTERS` lets through."""
    return [info for info in documents if str(info.state) in STATE_FILTERS[choice]]


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


def file_name(path: str) -> str:
    """What people call a file that an outcome names by its path, or by the URI that its upload was given."""
    return unquote(path.removeprefix(UPLOAD)) if path.startswith(UPLOAD) else path


def outcomes_data(outcomes: Sequence[FileOutcome]) -> dict[str, Any]:
    """What the outcomes component shows: files by outcome and reason, what went wrong first."""
    groups: dict[tuple[str, str], list[FileOutcome]] = {}
    for outcome in outcomes:
        groups.setdefault((outcome.outcome, outcome.reason or ""), []).append(outcome)
    ordered = sorted(groups.items(), key=lambda item: (item[0][0] not in BAD, -len(item[1]), item[0]))
    counts: dict[str, int] = {}
    for (kind, _), found in ordered:
        counts[kind] = counts.get(kind, 0) + len(found)
    return {
        "total": ", ".join(f"{count:,} {OUTCOME_LABELS.get(kind, kind)}" for kind, count in counts.items()),
        "groups": [
            {
                "outcome": kind,
                "label": OUTCOME_LABELS.get(kind, kind),
                "words": reason or f"{_counted(len(found), 'file')}, {_counted(sum(o.pages for o in found), 'page')}",
                "names": [file_name(o.path) for o in found],
                "open": kind in BAD or len(found) <= 5,
            }
            for (kind, reason), found in ordered
        ],
    }


def progress_words(progress: IngestProgress, files: int) -> str:
    """Where an upload of so many files stands."""
    words = f"{min(progress.files_done, files):,} of {_counted(files, 'file')}, {_counted(progress.pages_done, 'page')}"
    if progress.seconds > 0 and progress.pages_done:
        words += f", {progress.pages_done / progress.seconds:.1f} pages/s"
    if progress.failed:
        words += f", {progress.failed:,} failed"
    if progress.current:
        words += f", at {file_name(progress.current[0])}"
    return words


def detail_data(detail: DocumentDetail, passages: Sequence[StoredChunk] | None) -> dict[str, Any]:
    """What the detail component shows. `passages` are `None` until they are asked for."""
    info = detail.document
    origin = "Uploaded in the browser" if info.path.startswith(UPLOAD) else shown_uri(info.path)
    pictures = info.mime == "application/pdf" or info.mime.startswith("image/")
    return {
        "state": str(info.state),
        "stateLabel": STATE_LABELS.get(str(info.state), str(info.state)),
        "reason": info.reason or "",
        "facts": [
            ["Came from", origin],
            ["Collection", info.collection],
            ["Type", info.mime],
            ["Size", size_words(info.size)],
            ["Added", f"{info.added:%Y-%m-%d %H:%M} UTC"],
            ["Updated", f"{info.updated:%Y-%m-%d %H:%M} UTC"],
            ["Id", info.id],
        ],
        "parent": detail.parent and _ref(detail.parent),
        "members": [_ref(member) for member in detail.members],
        "pagesTitle": f"Pages or parts: {len(detail.pages):,}",
        "pages": [_page_facts(info.id, page, pictures=pictures) for page in detail.pages],
        "atOnce": PAGES_AT_ONCE,
        "versionsHead": ["Added", "State", "Size", "Pages", "Passages", ""],
        "versions": [
            [
                f"{v.added:%Y-%m-%d %H:%M}",
                STATE_LABELS.get(str(v.state), str(v.state)),
                size_words(v.size),
                f"{v.pages:,}",
                f"{v.chunks:,}",
                "current" if v.current else "",
            ]
            for v in detail.versions
        ],
        "hasPassages": info.chunks > 0,
        "passages": None if passages is None else [_passage(chunk) for chunk in passages],
    }


def _ref(document: DocumentRef) -> dict[str, str]:
    return {"id": document.id, "name": document.name}


def _page_facts(document_id: str, page: PageFacts, *, pictures: bool) -> dict[str, Any]:
    label = place(page.number, page.locator)
    facts = f"{_counted(page.characters, 'character')}, {_counted(page.chunks, 'passage')}"
    sure = page.ocr_confidence
    return {
        "index": page.index,
        "label": label[:1].upper() + label[1:],
        "image": image_url(document_id, page.index, dpi=36) if pictures else None,
        "characters": _counted(page.characters, "character"),
        "facts": facts if sure is None else f"{facts}, read by OCR",
        "ocr": "" if sure is None else f"OCR {sure:.0%} sure",
        "doubtful": sure is not None and sure < DOUBTFUL,
    }


def _passage(chunk: StoredChunk) -> dict[str, str]:
    numbers = chunk.page_numbers
    if len(numbers) > 1:
        where = f"pages {numbers[0]} to {numbers[-1]}"
    else:
        where = place(numbers[0] if numbers else None, chunk.locator)
    return {"where": " › ".join((where[:1].upper() + where[1:], *chunk.headings)), "text": chunk.text}


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


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
    """The last answered turns as conversation history. What was not found, broke off or failed is no
    history; what was asked back is, because the next words reply to it."""
    answered = [t for t in turns if t.answer is not None and (t.answer.clarify or not t.answer.abstained)][-limit:]
    messages: list[Message] = []
    for turn in answered:
        if turn.answer is not None:
            messages += [Message("user", turn.question), Message("assistant", turn.answer.answer)]
    return tuple(messages)
