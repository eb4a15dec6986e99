"""From documents and ingest outcomes to what their pages show. Pure functions, no Streamlit: here it is tested.

Components get plain data and put every word on the page as a text node, so nothing here makes HTML.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from strongroom.types import (
    DeletionReceipt,
    DocumentDetail,
    DocumentInfo,
    DocumentRef,
    FileOutcome,
    IngestProgress,
    PageFacts,
    StoredChunk,
)
from strongroom.wire import shown_uri
from strongroom.words import DOUBTFUL, counted, place, places, size
from ui.files import image_url

UPLOAD = "upload:///"
"""How the URIs of files that came through the browser begin; the percent-encoded file name follows."""
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


@dataclass(frozen=True, slots=True)
class Detailed:
    """The document that the details panel is about, and its passages once they were asked for."""

    document_id: str
    wanted: bool = False
    passages: tuple[StoredChunk, ...] | None = None


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
        "size": size(info.size),
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
                "words": reason or f"{counted(len(found), 'file')}, {counted(sum(o.pages for o in found), 'page')}",
                "names": [file_name(o.path) for o in found],
                "open": kind in BAD or len(found) <= 5,
            }
            for (kind, reason), found in ordered
        ],
    }


def progress_words(progress: IngestProgress, files: int) -> str:
    """Where an upload of so many files stands."""
    words = f"{min(progress.files_done, files):,} of {counted(files, 'file')}, {counted(progress.pages_done, 'page')}"
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
            ["Size", size(info.size)],
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
                size(v.size),
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
    facts = f"{counted(page.characters, 'character')}, {counted(page.chunks, 'passage')}"
    sure = page.ocr_confidence
    return {
        "index": page.index,
        "label": label[:1].upper() + label[1:],
        "image": image_url(document_id, page.index, dpi=36) if pictures else None,
        "characters": counted(page.characters, "character"),
        "facts": facts if sure is None else f"{facts}, read by OCR",
        "ocr": "" if sure is None else f"OCR {sure:.0%} sure",
        "doubtful": sure is not None and sure < DOUBTFUL,
    }


def _passage(chunk: StoredChunk) -> dict[str, str]:
    where = places(chunk.page_numbers, chunk.locator)
    return {"where": " › ".join((where[:1].upper() + where[1:], *chunk.headings)), "text": chunk.text}


def receipt_lines(receipt: DeletionReceipt) -> list[str]:
    """A deletion receipt in sentences."""
    lines = [f"{what.replace('_', ' ').capitalize()} destroyed: {count:,}" for what, count in receipt.destroyed.items()]
    lines += [f"Out of reach: {what}" for what in receipt.out_of_reach]
    return lines
