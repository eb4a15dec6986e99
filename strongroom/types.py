"""Domain types that every layer shares: documents, pages, chunks, hits, answers.

Frozen values, standard library only, no behaviour beyond tiny derivations. Field names are the JSON names that
scripts rely on (`strongroom.wire` turns these into JSON and back), so renaming a field here is a breaking change.

Positions: every `start`/`end` is a character offset into the whole document's text (`ParsedDocument.text`), end
exclusive. Boxes are `(x0, y0, x1, y1)` in PDF points (1/72 inch), origin at the top left of the page as displayed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, fields
from datetime import date, datetime
from enum import StrEnum
from typing import Literal, get_args

Box = tuple[float, float, float, float]
LocatorKind = Literal["page", "slide", "sheet", "section", "message", "line", "time"]
Support = Literal["supported", "partial", "unsupported"]
Style = Literal["exact", "fluent"]
Verdict = Literal["approved", "corrected", "rejected"]
Role = Literal["system", "user", "assistant"]
Effect = Literal["allow", "deny"]
Right = Literal["read", "write"]
TwoPersonAction = Literal["export", "delete"]
OcrMode = Literal["auto", "always", "never"]
IngestEngine = Literal["processes", "ray"]
GENERATED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""IPTC's term for what a trained model made: the mark of generated text (EU AI Act, Art. 50(2)). Never fetched."""
FlagKind = Literal["hidden", "characters", "encoded", "instruction"]
PersonalKind = Literal[
    "name", "address", "birth_date", "email", "phone", "ip", "iban", "card", "national_id", "medical_id"
]
PERSONAL_KINDS: tuple[PersonalKind, ...] = get_args(PersonalKind)
PersonalFilter = PersonalKind | Literal["any"]


@dataclass(frozen=True, slots=True)
class Locator:
    """What a person calls the place: page 3, slide 2, sheet "Budget", section "4.2 Fees"."""

    kind: LocatorKind
    label: str


# ------------------------------------------------------------------------------------------------ reading


@dataclass(frozen=True, slots=True)
class ReadSpan:
    """Words of a passage that may answer: `passage[start:end]`. `score` is 0..1 and ranks spans across passages."""

    start: int
    end: int
    score: float


@dataclass(frozen=True, slots=True)
class Reading:
    """What the reader says of one passage. Spans do not overlap and come best first; probabilities are 0..1.

    `answerable`: the passage holds an answer at all. `relevant`: it is the passage to show for the question.
    """

    spans: tuple[ReadSpan, ...]
    answerable: float
    relevant: float


# ------------------------------------------------------------------------------------------------ parsing


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file to ingest: where its bytes are now and the URI that identifies it for good."""

    path: str  # readable on this machine now (a spooled upload or the file itself)
    uri: str  # identity within a collection, e.g. "file:///contracts/a.pdf"
    name: str  # what people call it
    size: int


@dataclass(frozen=True, slots=True)
class Page:
    """One page, slide, sheet or section of a document, in reading order.

    `number` is 1-based and only set for formats that really have pages (PDF, slides, scans); others carry `None` and
    are found by `locator` and offsets. `layout` packs word boxes (see `strongroom.layout`); empty when there are none.
    `rotation` (0/90/180/270) and sizes describe the page as displayed.
    """

    index: int  # 0-based position in the document
    number: int | None
    locator: Locator
    start: int
    end: int
    width: float | None = None
    height: float | None = None
    layout: bytes = b""
    ocr_confidence: float | None = None  # mean 0..1 when the text came from OCR, else None


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading's own span and its level (1 is the outermost). An empty span ends the one of its level."""

    start: int
    end: int
    level: int


@dataclass(frozen=True, slots=True)
class Flag:
    """Text at `[start, end)` that people are not meant to see, or that talks to a machine; see `ingest.parse.hostile`.

    `hidden`: not visible on the page as displayed. `characters`: zero-width or direction characters that hide or
    reorder words. `encoded`: a long run of base64 or hexadecimal digits. `instruction`: reads like an instruction to a
    language model. `detail` says what was seen, and may hold words of the document.
    """

    kind: FlagKind
    start: int
    end: int
    detail: str


@dataclass(frozen=True, slots=True)
class Member:
    """A document inside another: an attachment of a mail, a member of an archive or a mailbox.

    Its bytes wait at `file`; one that was not taken out has none, and `refused` says why.
    """

    path: str  # inside its container, "/" between folders, unique there
    file: str | None
    size: int
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class PersonalSpan:
    """Personal data at `[start, end)` of a document's text. `score` is 0..1: how sure the recogniser is."""

    kind: PersonalKind
    start: int
    end: int
    score: float


@dataclass(frozen=True, slots=True)
class PersonalData:
    """All personal data that was found in a text, in its order, and the name of the rules that looked for it."""

    detector: str
    spans: tuple[PersonalSpan, ...]


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """What a parser returns: one text, its pages (which tile it in order), headings, and facts about the file.

    `members` become documents of their own; a container whose text is only a list of them has no chunks. `personal` is
    the personal data that was found, or `None` when nobody looked for it.
    """

    text: str
    pages: tuple[Page, ...]
    mime: str
    title: str | None = None
    headings: tuple[Heading, ...] = ()
    warnings: tuple[str, ...] = ()
    members: tuple[Member, ...] = ()
    flags: tuple[Flag, ...] = ()  # in order of their starts
    personal: PersonalData | None = None


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage of a document as the chunker cut it: `text == document.text[start:end]` exactly."""

    ordinal: int
    start: int
    end: int
    text: str
    headings: tuple[str, ...] = ()  # heading path, outermost first
    pages: tuple[int, ...] = ()  # 0-based page indexes that the span touches


# ------------------------------------------------------------------------------------------------ catalogue


class DocumentState(StrEnum):
    """Where a document stands. Only `INDEXED` documents answer questions."""

    PENDING = "pending"
    PARSED = "parsed"
    INDEXED = "indexed"
    FAILED = "failed"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True)
class DocumentRef:
    """The part of a document that results show."""

    id: str
    name: str
    path: str  # the source URI


@dataclass(frozen=True, slots=True)
class DocumentInfo:
    """A document as lists and the documents page show it."""

    id: str
    name: str
    path: str
    collection: str
    state: DocumentState
    mime: str
    size: int
    pages: int
    chunks: int
    reason: str | None
    added: datetime
    updated: datetime
    version: str  # id of the version that answers questions (or, before the first is whole, the one being made)
    parent: str | None = None  # id of the document it was taken out of: an archive, a mailbox or a mail
    personal: dict[str, int] | None = None  # findings of personal data by kind; `None` when nobody looked for any

    def holds(self, kinds: Collection[str]) -> bool:
        """Whether personal data of one of these kinds was found in it; `any` stands for every kind."""
        found = self.personal or {}
        return bool(found) if "any" in kinds else any(kind in found for kind in kinds)


@dataclass(frozen=True, slots=True)
class DocumentVersion:
    """One state of a document's content. `current` marks the version that answers questions."""

    id: str
    state: DocumentState
    mime: str
    size: int
    pages: int
    chunks: int
    recipe: str  # what read it: parser, OCR and chunker versions
    reason: str | None
    added: datetime
    current: bool


@dataclass(frozen=True, slots=True)
class PageFacts:
    """A page without its text: its place, how much text and how many chunks it has, how sure OCR was of it."""

    index: int
    number: int | None
    locator: Locator
    characters: int
    chunks: int
    ocr_confidence: float | None = None
    flags: tuple[Flag, ...] = ()


@dataclass(frozen=True, slots=True)
class DocumentDetail:
    """Everything about a document but its words. `members` are the documents inside it that the asker may read."""

    document: DocumentInfo
    versions: tuple[DocumentVersion, ...]  # oldest first
    pages: tuple[PageFacts, ...]
    parent: DocumentRef | None = None
    members: tuple[DocumentRef, ...] = ()


@dataclass(frozen=True, slots=True)
class DoubtfulPage:
    """A page that OCR was not sure of."""

    document: DocumentRef
    index: int
    locator: Locator
    confidence: float


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """A chunk as the catalogue released it to someone who may read it."""

    id: str  # UUID; also the point id in the index
    document: DocumentRef
    version_id: str
    ordinal: int
    start: int
    end: int
    text: str
    headings: tuple[str, ...]
    pages: tuple[int, ...]  # 0-based page indexes
    page_numbers: tuple[int, ...]  # 1-based numbers where the format has pages, else empty
    locator: Locator  # of the first page touched
    flags: tuple[Flag, ...] = ()  # of the pages that it touches


@dataclass(frozen=True, slots=True)
class PageView:
    """One page of a stored document, for the viewer and for citations."""

    document: DocumentRef
    version_id: str
    index: int
    count: int
    number: int | None
    locator: Locator
    start: int
    end: int
    text: str
    width: float | None
    height: float | None
    layout: bytes
    mime: str
    ocr_confidence: float | None = None
    flags: tuple[Flag, ...] = ()  # that touch the page
    withheld: tuple[tuple[int, int], ...] = ()  # document offsets of what is blacked out for this reader


# ------------------------------------------------------------------------------------------------ ingest outcomes

Outcome = Literal["indexed", "unchanged", "failed", "quarantined", "skipped", "moved", "removed", "vanished"]


@dataclass(frozen=True, slots=True)
class FileOutcome:
    """What became of one file. `reason` is set for everything that did not end well, in words a person can act on."""

    path: str
    outcome: Outcome
    document_id: str | None = None
    pages: int = 0
    chunks: int = 0
    reason: str | None = None
    seconds: float = field(default=0.0, compare=False)  # from the start of its parsing to its end; 0 where none was


@dataclass(frozen=True, slots=True)
class IngestSummary:
    """Totals of one ingest run. `outcomes` counts files by outcome."""

    outcomes: dict[str, int]
    files: int
    pages: int
    chunks: int
    seconds: float
    dry_run: bool = False
    kept: int = 0  # documents that `prune` did not remove because too many would have gone

    @property
    def partial(self) -> bool:
        """True when some file failed or was quarantined, or pruning was refused (exit code 3)."""
        return bool(self.outcomes.get("failed", 0) or self.outcomes.get("quarantined", 0) or self.kept)


@dataclass(frozen=True, slots=True)
class IngestProgress:
    """A snapshot for progress bars; totals are `None` until they are known."""

    files_done: int
    files_total: int | None
    pages_done: int
    chunks_done: int
    seconds: float
    stage: str = ""
    bytes_done: int = 0
    bytes_total: int | None = None
    failed: int = 0  # failed and quarantined so far
    current: tuple[str, ...] = ()  # some of the files in work, longest in work first


IngestEvent = FileOutcome | IngestProgress
OnEvent = Callable[[IngestEvent], None]


@dataclass(frozen=True, slots=True)
class DeletionReceipt:
    """What a deletion destroyed, when and by whom, and which copies it could not reach."""

    document_id: str
    at: datetime
    by: str
    destroyed: dict[str, int]
    out_of_reach: tuple[str, ...] = ()
    members: tuple[str, ...] = ()  # ids of the documents that were inside it and went with it
    key: str = ""  # the appliance's public key, hexadecimal
    signature: str = ""  # Ed25519 over the rest, hexadecimal; see `strongroom.audit.receipt`


# ------------------------------------------------------------------------------------------------ search


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class IndexHit:
    """A candidate from the vector index: not yet checked against the catalogue, so not to be shown to anyone.

    `dense` is the cosine similarity of question and chunk where the dense search returned it, else `None`.
    """

    chunk_id: str
    score: float
    dense: float | None = None
    sparse: float | None = None


@dataclass(frozen=True, slots=True)
class SearchHit:
    """A released passage. `pages` holds 1-based page numbers, empty for formats without pages."""

    document: DocumentRef
    pages: tuple[int, ...]
    locator: Locator
    text: str
    score: float
    chunk_id: str


@dataclass(frozen=True, slots=True)
class SearchResult:
    """Hits in rank order with the time each step took in milliseconds (`total` is always present)."""

    hits: tuple[SearchHit, ...]
    timings_ms: dict[str, float]
    id: str | None = None


# ------------------------------------------------------------------------------------------------ answers


@dataclass(frozen=True, slots=True)
class Span:
    """Where a quote stands: a 1-based page (or `None`), document offsets, and boxes on that page.

    `page_index` is the 0-based position in the document, which the viewer opens; it is set for every format.
    """

    page: int | None
    start: int
    end: int
    boxes: tuple[Box, ...] = ()
    page_index: int = 0


@dataclass(frozen=True, slots=True)
class Citation:
    """A verbatim quote from a document: `quote` equals the document's text at `spans`, joined."""

    n: int
    document: DocumentRef
    page: int | None
    locator: Locator
    quote: str
    spans: tuple[Span, ...]
    score: float
    chunk_id: str


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence of an answer and how far the cited quotes carry it.

    `citations` are numbers into `Answer.citations`; `invalid` are numbers that the model invented. `verbatim` says that
    the sentence is a quote taken from a document, not words of a model. `unfounded` are its numbers, dates and names
    that stand in no quote of the answer.
    """

    text: str
    support: Support
    citations: tuple[int, ...] = ()
    invalid: tuple[int, ...] = ()
    verbatim: bool = False
    unfounded: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Exact:
    """Words that answer: `text` stands in the quote of citation number `citation`, at `spans`. `score` is 0..1."""

    text: str
    citation: int
    score: float
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that a language model read and wrote; none where none was asked."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Clarification:
    """A question back to the person. `options` are document names or places that it is about, best first."""

    question: str
    options: tuple[str, ...]


EXTRACTIVE = "extractive"
"""`Answer.model` where no language model wrote a word."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. When `abstained`, `answer` says so and `citations` are the nearest passages, not evidence.

    In the `exact` style `answer` is made of the texts of `exact` alone, best first, and `sentences` are the quotes that
    they stand in; `model` is the one that chose them, if one was named. In the `fluent` style a model wrote `answer`,
    `sentences` are its sentences, and `exact` is empty.
    """

    answer: str
    abstained: bool
    confidence: float  # 0..1, calibrated probability that the documents answer the question
    sentences: tuple[Sentence, ...]
    citations: tuple[Citation, ...]
    model: str
    usage: Usage
    timings_ms: dict[str, float]
    id: str | None = None
    warnings: tuple[str, ...] = ()  # what a reader must know, such as a passage that tries to instruct the model
    style: Style = "exact"
    exact: tuple[Exact, ...] = ()
    digital_source_type: str | None = None  # `GENERATED` where a model wrote `answer`: the mark that machines read
    clarify: Clarification | None = None  # with `abstained`, instead of an answer; else what the answer leaves open
    searched: str = ""  # what was searched and read, in words


@dataclass(frozen=True, slots=True)
class StageEvent:
    """The pipeline moved on: `waiting` (for its turn), `retrieving`, `reading`, `writing`, `checking`."""

    stage: str
    detail: str = ""
    kind: Literal["stage"] = "stage"


@dataclass(frozen=True, slots=True)
class CitationsEvent:
    """The quotes that the answer may cite; sent before the first word."""

    citations: tuple[Citation, ...]
    kind: Literal["citations"] = "citations"


@dataclass(frozen=True, slots=True)
class TextEvent:
    """Words of the answer, in order. Never holds markup for citations: those are typed events."""

    text: str
    kind: Literal["text"] = "text"


@dataclass(frozen=True, slots=True)
class AnswerEvent:
    """The last event: the whole answer, checked."""

    answer: Answer
    kind: Literal["answer"] = "answer"


@dataclass(frozen=True, slots=True)
class ErrorEvent:
    """The answer broke off. `code` is the exit code the CLI would use."""

    message: str
    hint: str
    code: int
    kind: Literal["error"] = "error"


AskEvent = StageEvent | CitationsEvent | TextEvent | AnswerEvent | ErrorEvent


# ------------------------------------------------------------------------------------------------ requests


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestOptions:
    """How to ingest: into what, for whom, and what to do besides adding and replacing.

    `roots` are the URIs of what was listed: documents below them whose file is gone are reported as vanished, or
    removed with `prune`. `retry` tries files again that failed for their content.
    """

    collection: str = "default"
    groups: tuple[str, ...] = ()
    roots: tuple[str, ...] = ()
    within: tuple[str, ...] | None = None  # only what is at or below these URIs was listed; all roots when `None`
    workers: int | None = None
    ocr: OcrMode | None = None  # overrides the configured mode, and reads files again that another mode has read
    prune: bool = False
    prune_all: bool = False  # also where all or most documents of a root would go
    retry: bool = False
    restore: bool = False  # take files in again that were deleted here
    rehash: bool = False  # read every file, also where size and times are those of the last time
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class IngestRequest(IngestOptions):
    """What to ingest, and how. `paths` are files and folders as the caller names them; they are the roots."""

    paths: tuple[str, ...]
    passwords: tuple[str, ...] = field(default=(), repr=False)  # tried on what is locked; never stored, logged or sent

    def options(self, roots: tuple[str, ...]) -> IngestOptions:
        """The same without paths and passwords, for `Engine.ingest_files`."""
        shared = {each.name: getattr(self, each.name) for each in fields(IngestOptions)}
        return IngestOptions(**{**shared, "roots": roots})


@dataclass(frozen=True, kw_only=True)
class Watch:
    """Folders that a server keeps in step. `id`, `by` and `state` are the server's to say."""

    paths: tuple[str, ...]
    collection: str = "default"
    groups: tuple[str, ...] = ()
    prune: bool = False
    poll: float | None = None  # seconds between looks at everything, instead of waiting for the system's events
    id: str = ""
    by: str = "local"  # who added it, and as whom it ingests
    state: str = "waits for a server"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Which of the documents that may be read are asked, besides their collection. It only ever narrows.

    `documents` are ids, beginnings of ids, names, or words of names; `since` and `until` (inclusive) are days on which
    a document was last taken in; `types` are endings of names (`pdf`) or media types; `personal` are kinds of personal
    data of which one was found in it, where somebody looked.
    """

    documents: tuple[str, ...] = ()
    since: date | None = None
    until: date | None = None
    types: tuple[str, ...] = ()
    personal: tuple[PersonalFilter, ...] = ()


MOST_HITS = 100
"""Passages of one search: whoever wants whole documents reads them page by page, on record as that."""


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """A search. `#name` in the question asks only the document of that name."""

    question: str
    k: int = 8
    collection: str | None = None
    history: tuple[Message, ...] = ()
    id: str | None = None
    scope: Scope = Scope()


@dataclass(frozen=True, slots=True)
class AskRequest:
    """A question. `#name` in it asks only the document of that name."""

    question: str
    collection: str | None = None
    history: tuple[Message, ...] = ()
    model: str | None = None
    verbatim: bool = False  # the exact style, whatever the settings say
    id: str | None = None
    style: Style | None = None  # `None`: as the settings say
    scope: Scope = Scope()
    steps: int | None = None  # most questions that this one may be taken apart into; 1 asks it as it is


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """A person's judgement of an answer: the words at `[start, end)` on the 0-based page `page_index` of a document.

    `approved` and `corrected` say that these words answer the question (`corrected`: others had been shown), `rejected`
    that they do not.
    """

    question: str
    verdict: Verdict
    document_id: str
    page_index: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Approval:
    """A judgement as it is kept. `text` are the words at that place, `page` the 1-based page or `None`."""

    id: str
    verdict: Verdict
    question: str
    text: str
    document: DocumentRef
    page: int | None
    by: str
    at: datetime


@dataclass(frozen=True, slots=True)
class TrainedReader:
    """A reader trained on approved answers. `scores` compare it with the one before it on documents held apart."""

    id: str
    state: Literal["candidate", "in use", "discarded", "rolled back", "stale"]
    at: datetime
    documents: int
    scores: dict[str, float]


# ------------------------------------------------------------------------------------------------ permissions


@dataclass(frozen=True, slots=True)
class Group:
    """People who are given the same grants. It is there while somebody is in it or something is granted to it."""

    name: str
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantRequest:
    """Who (`user:NAME` or `group:NAME`) may or may not do what with a collection (by name) or a document (by id).

    `write` includes reading. `deny` takes all rights away, and wins over every `allow`.
    """

    principal: str
    collection: str | None = None
    document: str | None = None
    effect: Effect = "allow"
    right: Right = "read"


@dataclass(frozen=True, slots=True)
class Grant:
    """A grant as it is kept. `name` is the collection's, or the document's for whoever may read it, else empty."""

    id: str
    principal: str
    resource: Literal["collection", "document"]
    resource_id: str
    name: str
    effect: Effect
    right: Right
    at: datetime


@dataclass(frozen=True, slots=True)
class Wall:
    """Two groups that must have no member and nothing to read in common."""

    one: str
    other: str
    by: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearanceRequest:
    """What a person asks another one to allow: to export or to delete a document (by id) or a whole collection."""

    action: TwoPersonAction
    reason: str
    collection: str | None = None
    document: str | None = None


@dataclass(frozen=True, slots=True)
class Clearance:
    """A request for a second person's consent, and what became of it."""

    id: str
    action: TwoPersonAction
    collection: str
    document: str | None
    reason: str
    by: str
    at: datetime
    expires: datetime
    state: Literal["waiting", "allowed", "denied", "expired"]
    decided_by: str | None = None
    decided_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Withholding:
    """Kinds of personal data that a role does not see, in a collection or (`None`) in all that have no rule."""

    role: str
    kinds: tuple[PersonalKind, ...]
    collection: str | None = None


# ------------------------------------------------------------------------------------------------ keeping


@dataclass(frozen=True, slots=True)
class Hold:
    """A legal hold on a document or on a collection with all its documents."""

    id: str
    resource: str  # document | collection
    resource_id: str
    reason: str
    by: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Retention:
    """How long the documents of a collection are kept after they last changed."""

    collection_id: str
    collection: str
    keep_days: int


@dataclass(frozen=True, slots=True)
class HoldRequest:
    """What to hold: one document by id, or a collection by name with all its documents."""

    reason: str
    document_id: str | None = None
    collection: str | None = None


@dataclass(frozen=True, slots=True)
class RetentionRun:
    """Ids of documents that retention deleted (or would delete), and of those that a hold keeps."""

    deleted: tuple[str, ...]
    held: tuple[str, ...]
    dry_run: bool = False


# ------------------------------------------------------------------------------------------------ health


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, which thing, and what to do about it."""

    what: str
    hint: str
    severity: Literal["error", "warning"] = "error"


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """The outcome of `strongroom verify`: counts that were compared, and every disagreement found."""

    checked: dict[str, int]
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        return not any(p.severity == "error" for p in self.problems)


@dataclass(frozen=True, slots=True)
class IngestRun:
    """The last ingest run that ended."""

    ended: datetime
    by: str
    collection: str
    summary: IngestSummary


@dataclass(frozen=True, slots=True)
class Status:
    """What `strongroom status` shows."""

    version: str
    mode: Literal["server", "local"]
    data_dir: str
    collections: dict[str, int]  # documents by collection
    states: dict[str, int]  # documents by state
    chunks: int
    points: int
    embedder: str
    model: str
    extra: dict[str, str] = field(default_factory=dict)
    last_ingest: IngestRun | None = None  # administrators only
    disk: dict[str, int] = field(default_factory=dict)  # bytes by what they hold; administrators only
