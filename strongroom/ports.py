"""The Protocols that rooms talk through, so that ingest, retrieval and models never import each other.

`strongroom.app` is the one place that picks adapters. Each Protocol has one contract test class under
`tests/contract/`, run against every adapter. Unless a method says otherwise it may be called from any thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from strongroom.access import AccessFilter
from strongroom.people import (
    Account,
    AccountChange,
    Invitation,
    NewAccount,
    NewToken,
    PasswordChange,
    RecoveryCodes,
    Session,
    Token,
    TokenRequest,
    TotpSetup,
)
from strongroom.types import (
    Approval,
    ApprovalRequest,
    AskEvent,
    AskRequest,
    Clearance,
    ClearanceRequest,
    DeletionReceipt,
    DocumentDetail,
    DocumentInfo,
    DoubtfulPage,
    FileOutcome,
    Grant,
    GrantRequest,
    Group,
    Hold,
    HoldRequest,
    IndexHit,
    IngestOptions,
    IngestRequest,
    IngestSummary,
    Message,
    OcrMode,
    OnEvent,
    PageView,
    ParsedDocument,
    Reading,
    Retention,
    RetentionRun,
    SearchRequest,
    SearchResult,
    SourceFile,
    Status,
    StoredChunk,
    Usage,
    VerifyReport,
    Wall,
    Watch,
    Withholding,
)
from strongroom.whole import WholeEvent, WholeRequest

Vectors = NDArray[np.float32]
Vector = NDArray[np.float32]


# ------------------------------------------------------------------------------------------------ models


class Tokenizer(Protocol):
    """The embedder's tokenizer, cheap enough to live in every parser process."""

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """Character spans of the content tokens of `text` (no special tokens), in order."""
        ...

    def count(self, text: str) -> int:
        """Number of content tokens in `text`."""
        ...


class SpeechModel(Protocol):
    """Speech to text. Picklable; nothing is loaded before the first call, so every parser process can have one."""

    @property
    def name(self) -> str: ...

    @property
    def installed(self) -> bool:
        """False when the weights are not on this machine; `transcribe` must not be called then."""
        ...

    @property
    def sample_rate(self) -> int: ...

    def transcribe(self, samples: NDArray[np.float32]) -> list[str]:
        """The sentences spoken in up to 30 s of mono sound, in order. Raises `ModelError`."""
        ...


class Embedder(Protocol):
    """Text to unit vectors. Deterministic up to cosine 0.9999: batch composition may change the last bits."""

    @property
    def name(self) -> str: ...

    @property
    def dimension(self) -> int: ...

    @property
    def max_tokens(self) -> int:
        """Longest input in tokens, special tokens included; longer texts are cut at the end."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes whenever vectors stop being comparable: weights hash, pooling, maximum length."""
        ...

    @property
    def tokenizer(self) -> Tokenizer: ...

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, shape `(len(texts), dimension)`, float32, in the order given; no texts give `(0, d)`."""
        ...

    def embed_query(self, text: str) -> Vector:
        """One unit vector, shape `(dimension,)`, float32."""
        ...


class Reranker(Protocol):
    """Reads question and passage together and says how well they fit: slower than vectors, and seldom worse."""

    @property
    def name(self) -> str: ...

    def scores(self, question: str, passages: Sequence[str]) -> list[float]:
        """One number from 0 to 1 for each passage, in order. Comparable within one question."""
        ...


class Reader(Protocol):
    """Finds the words of a passage that answer a question. Deterministic up to the last digits of its scores."""

    @property
    def name(self) -> str: ...

    @property
    def fingerprint(self) -> str:
        """Changes whenever scores stop being comparable: weights or calibration."""
        ...

    def read(self, question: str, passages: Sequence[str], *, spans: int = 3) -> list[Reading]:
        """One `Reading` for each passage, in order, with at most `spans` spans each.

        Offsets are exact: `passage[span.start : span.end]` is the quote. Passages of any length are read whole. A
        passage without words has no spans and is not answerable.
        """
        ...

    def support(self, claim: str, evidence: Sequence[str]) -> list[float]:
        """For each piece of evidence the probability, 0..1, that it alone supports the claim as it is worded."""
        ...


QUOTE_SEPARATOR = " …\n"  # between the runs of a text that is made of quotes


@dataclass(frozen=True, slots=True)
class GenerationOptions:
    """How to generate. `schema` constrains output to JSON of that schema; `allowed` constrains it to quote.

    `allowed` holds source texts: the output is then made of verbatim runs of these texts, joined by `QUOTE_SEPARATOR`,
    and nothing else. A run ends with a sentence, or with its text.
    """

    max_tokens: int = 256
    temperature: float = 0.0
    stop: tuple[str, ...] = ()
    seed: int = 0
    schema: Mapping[str, Any] | None = None
    allowed: tuple[str, ...] | None = None


class ChatModel(Protocol):
    """A language model that streams text. One generation at a time per context; calls queue."""

    @property
    def name(self) -> str: ...

    @property
    def context_tokens(self) -> int: ...

    def count_tokens(self, text: str) -> int:
        """Tokens of `text` by the model's own tokenizer, without special tokens."""
        ...

    def count_prompt(self, messages: Sequence[Message]) -> int:
        """Tokens of the whole prompt after the model's own chat template."""
        ...

    def stream(
        self,
        messages: Sequence[Message],
        options: GenerationOptions,
        *,
        cancel: threading.Event | None = None,
        on_usage: Callable[[Usage], None] | None = None,
    ) -> Iterator[str]:
        """Yield text pieces as they are decoded.

        Closing the iterator or setting `cancel` stops generation at the next token and frees the context.
        `on_usage` is called once when generation ends. Raises `UsageError` when the prompt does not fit.
        """
        ...

    def close(self) -> None:
        """Free the model's memory. Safe to call twice."""
        ...


# ------------------------------------------------------------------------------------------------ index


@dataclass(frozen=True, slots=True)
class IndexPoint:
    """One chunk for the index. The sparse encoder sees `text` (the passage), `name` and `opening`; no adapter stores
    a word of them."""

    id: str  # UUID
    dense: Vector
    text: str
    document_id: str
    version_id: str
    collection_id: str
    allow: tuple[str, ...] = ()  # principals that may read; set at writing, by `ingest.regrant.write_points`
    deny: tuple[str, ...] = ()  # principals that may not, whatever `allow` says
    name: str = ""  # what the document is called, in words
    opening: bool = False  # the first passage of its document


@dataclass(frozen=True, slots=True)
class IndexQuery:
    """A hybrid query: the question's dense vector and its words for BM25."""

    dense: Vector
    text: str


class VectorIndex(Protocol):
    """Ids, vectors and filter fields; derived from the catalogue and rebuildable from it. Holds no text.

    All writes are idempotent. Errors are raised as `IndexUnreachableError`.
    """

    def upsert(self, points: Sequence[IndexPoint]) -> None:
        """Insert or replace points by id."""
        ...

    def delete_versions(self, version_ids: Sequence[str]) -> None:
        """Remove all points of these versions; unknown ids are fine."""
        ...

    def delete_documents(self, document_ids: Sequence[str]) -> None:
        """Remove all points of these documents; unknown ids are fine."""
        ...

    def set_access(self, document_id: str, allow: Sequence[str], deny: Sequence[str]) -> None:
        """Replace the principals on every point of a document."""
        ...

    def search(self, query: IndexQuery, access: AccessFilter, limit: int) -> list[IndexHit]:
        """Best `limit` candidates, best first, under `access`; IDF counts only points inside `access`.

        An `AccessFilter` without principals matches nothing.
        """
        ...

    def version_points(self, version_id: str) -> set[str]:
        """Ids of the points of a version."""
        ...

    def vectors(self, ids: Sequence[str]) -> dict[str, Vector]:
        """Dense vectors by id, for those that exist."""
        ...

    def all_points(self) -> dict[str, str]:
        """Every point id with its version id (for `verify`)."""
        ...

    def count(self) -> int:
        """Number of points."""
        ...

    def flush(self) -> None:
        """Make all writes so far durable."""
        ...

    def compact(self, patience: float = 0.0) -> bool:
        """Begin to rewrite storage so that nothing of removed points is left in it; true when that is done.

        Waits up to `patience` seconds; false where it goes on in the background or is not in our hands. Idempotent.
        """
        ...

    def clear(self) -> None:
        """Remove every point (for `reindex`)."""
        ...

    def close(self) -> None:
        """Flush and release files or connections. Safe to call twice."""
        ...


# ------------------------------------------------------------------------------------------------ ingest


@runtime_checkable
class Parser(Protocol):
    """Bytes to text with pages. Pure: the same file gives the same result. Raises `ParseError`/`QuarantineError`."""

    def parse(self, path: Path, mime: str) -> ParsedDocument: ...


# ------------------------------------------------------------------------------------------------ engine


class Permissions(Protocol):
    """Who may read and write what, as one person may see and change it.

    Administrators decide about everything. Whoever may write into a collection, or a document, decides about its
    grants; what a person may not decide about answers like what does not exist. Errors as for `Engine`.
    """

    def groups(self) -> list[Group]: ...

    def join(self, group: str, user: str) -> None:
        """Put a user into a group; being there already is fine. Raises `NotFoundError`, `WallError`."""
        ...

    def leave(self, group: str, user: str) -> None: ...

    def grants(self, *, collection: str | None = None, document: str | None = None) -> list[Grant]:
        """Grants of a collection (by name) or a document (by id), or all that the asker decides about."""
        ...

    def grant(self, request: GrantRequest) -> Grant:
        """Add a grant, or change the right of the one that there is. Counts at once. Raises `WallError`."""
        ...

    def revoke(self, grant_id: str) -> None:
        """Take a grant away. Counts at once."""
        ...

    def walls(self) -> list[Wall]: ...

    def add_wall(self, one: str, other: str) -> Wall:
        """Keep two groups apart. Raises `WallError` when they have somebody or something in common."""
        ...

    def remove_wall(self, one: str, other: str) -> None: ...

    def clearances(self) -> list[Clearance]:
        """Requests for a second person's consent that the asker made or may decide on, oldest first."""
        ...

    def ask(self, request: ClearanceRequest) -> Clearance:
        """Ask a second person. Raises `NotFoundError` for what the asker may not read, `NotPermittedError` for whoever
        acts as another."""
        ...

    def decide(self, clearance_id: str, *, allow: bool) -> Clearance:
        """Allow or deny what another person asked for. Raises `NotPermittedError` for the one who asked."""
        ...


class Keeping(Protocol):
    """What must be kept and for how long. For administrators; others get `NotPermittedError`."""

    def holds(self) -> list[Hold]: ...

    def hold(self, request: HoldRequest) -> Hold:
        """Keep something as it is: nobody deletes, prunes or replaces it. Raises `NotFoundError`."""
        ...

    def lift(self, hold_id: str) -> None:
        """Raises `NotFoundError`."""
        ...

    def retention(self) -> list[Retention]: ...

    def keep_for(self, collection: str, days: int) -> None:
        """Keep a collection's documents that many days after their last change; 0 keeps them for good."""
        ...

    def apply_retention(self, *, dry_run: bool = False) -> RetentionRun:
        """Delete what outlived its rule; what a hold keeps is named and left."""
        ...

    def receipts(self) -> list[str]:
        """The receipt of every deletion, each as the canonical JSON that was signed."""
        ...


class Engine(Protocol):
    """Everything a front end can ask for, as one user.

    Two implementations are held to one contract suite: in process (`strongroom.app`) and over HTTP
    (`strongroom.client`). Errors are `StrongroomError`s in both.
    """

    def ingest(
        self, request: IngestRequest, *, on_event: OnEvent, cancel: threading.Event | None = None
    ) -> IngestSummary:
        """Ingest files and folders, reporting each file's outcome; one bad file never stops the run."""
        ...

    def ingest_files(
        self,
        files: Iterable[SourceFile | FileOutcome],
        options: IngestOptions,
        *,
        on_event: OnEvent,
        cancel: threading.Event | None = None,
    ) -> IngestSummary:
        """Ingest files that are already at hand (uploads), identified by their `uri`.

        Outcomes among the files are entries that somebody else already decided: they are reported and counted, and
        do not count as vanished.
        """
        ...

    def unchanged(
        self, offers: Iterable[tuple[str, str]], *, collection: str, ocr: OcrMode | None = None
    ) -> dict[str, FileOutcome]:
        """Outcomes by URI of those `(uri, sha256)` offers that hold nothing new, so that they need not be sent."""
        ...

    def watches(self) -> list[Watch]:
        """Folders of the engine's machine that are kept in step, and how they stand."""
        ...

    def add_watch(self, watch: Watch) -> Watch:
        """Keep folders in step as long as a server runs, now and later. Returns it with its id."""
        ...

    def remove_watch(self, watch_id: str) -> None: ...

    def search(self, request: SearchRequest) -> SearchResult: ...

    def ask(self, request: AskRequest, *, cancel: threading.Event | None = None) -> Iterator[AskEvent]:
        """Stream the answer; the last event is an `AnswerEvent` or an `ErrorEvent`."""
        ...

    def whole(self, request: WholeRequest, *, cancel: threading.Event | None = None) -> Iterator[WholeEvent]:
        """Work over whole documents; the last event is a `WholeDone` or an `ErrorEvent`.

        What was worked out for a document is kept with it, so that work which was stopped goes on where it was.
        """
        ...

    def approve(self, request: ApprovalRequest) -> Approval:
        """Keep a judgement of an answer about a document that may be read. Raises `NotFoundError` otherwise."""
        ...

    def approvals(self) -> list[Approval]:
        """Judgements about documents that may be read, oldest first."""
        ...

    def withdraw(self, approval_id: str) -> None:
        """Delete a judgement. Raises `NotFoundError`."""
        ...

    def documents(self, collection: str | None = None) -> list[DocumentInfo]: ...

    def document(self, document_id: str) -> DocumentInfo:
        """Raises `NotFoundError` for unknown and for unreadable documents alike."""
        ...

    def details(self, document_id: str) -> DocumentDetail:
        """A document with its versions, its pages' facts and what lies inside it; raises as `document` does."""
        ...

    def chunks(self, document_id: str) -> list[StoredChunk]:
        """The chunks that answer questions, in order; none unless it is indexed. Raises as `document` does."""
        ...

    def doubtful_pages(self, below: float, *, collection: str | None = None) -> list[DoubtfulPage]:
        """Pages whose OCR confidence (0..1) is below `below`, least sure first."""
        ...

    def page(self, document_id: str, index: int) -> PageView:
        """The page at 0-based `index`."""
        ...

    def page_image(self, document_id: str, index: int, *, dpi: int = 110) -> bytes:
        """PNG of the page as displayed. Raises `NotFoundError` for formats that have no page image."""
        ...

    def original(self, document_id: str) -> bytes:
        """The file as it was ingested."""
        ...

    def withholding(self) -> list[Withholding]:
        """The rules on who does not see which personal data, for administrators."""
        ...

    def withhold(self, rule: Withholding, *, remove: bool = False) -> None:
        """Set or remove the rule of a role and a collection, as an administrator."""
        ...

    def delete(self, document_id: str) -> DeletionReceipt: ...

    def collections(self) -> list[str]: ...

    @property
    def permissions(self) -> Permissions: ...

    @property
    def keeping(self) -> Keeping: ...

    def status(self) -> Status: ...

    def verify(self) -> VerifyReport: ...

    def close(self) -> None: ...


__all__ = [
    "AccessFilter",
    "ChatModel",
    "Embedder",
    "Engine",
    "FileOutcome",
    "GenerationOptions",
    "IndexPoint",
    "IndexQuery",
    "Keeping",
    "Parser",
    "Permissions",
    "Reader",
    "Tokenizer",
    "Vector",
    "VectorIndex",
    "Vectors",
]


# ------------------------------------------------------------------------------------------------ accounts


class AccountDesk(Protocol):
    """Accounts as one person may see and change them, in process or over HTTP.

    Every method may raise `NotPermittedError`. What is somebody else's and what does not exist raise the same
    `NotFoundError`.
    """

    def users(self) -> list[Account]:
        """Every account, by name. For administrators."""
        ...

    def add_user(self, request: NewAccount) -> Invitation:
        """Make an account; the code lets the person set its password. Raises `UsageError` for a name that is taken."""
        ...

    def invite(self, name: str) -> Invitation:
        """A fresh code for somebody who has none or forgot the password. Ends a wait after failed attempts."""
        ...

    def change_user(self, name: str, change: AccountChange) -> Account:
        """Change role or disable; sessions of the account end. Not for one's own account."""
        ...

    def unlock(self, name: str) -> None:
        """End a wait after failed attempts."""
        ...

    def delete_user(self, name: str) -> None:
        """Delete the account with its sessions, tokens, memberships and grants. Documents stay."""
        ...

    def reset_factors(self, name: str) -> None:
        """Take somebody's second factors off, and end their sessions."""
        ...

    def set_password(self, name: str, password: str) -> None:
        """Set a password without an invitation. For the owner of the data directory alone."""
        ...

    def me(self) -> Account:
        """One's own account."""
        ...

    def change_password(self, change: PasswordChange) -> None:
        """Set one's own password; other sessions end."""
        ...

    def sessions(self, user: str | None = None) -> list[Session]:
        """Live sessions of oneself or, for administrators, of somebody else."""
        ...

    def end_session(self, session_id: str) -> None:
        """End a session: one's own or, for administrators, anybody's."""
        ...

    def end_sessions(self, user: str | None = None) -> int:
        """End all sessions of a person but the one that asks; returns how many."""
        ...

    def tokens(self, user: str | None = None) -> list[Token]:
        """API tokens, without their secrets."""
        ...

    def add_token(self, request: TokenRequest, user: str | None = None) -> NewToken:
        """Make an API token. The secret is in what is returned, and nowhere else."""
        ...

    def revoke_token(self, token_id: str) -> None:
        """End a token: one's own or, for administrators, anybody's."""
        ...

    def begin_totp(self) -> TotpSetup:
        """A secret for an authenticator app. It counts after `confirm_totp`."""
        ...

    def confirm_totp(self, code: str) -> RecoveryCodes:
        """Take the secret into use; earlier recovery codes end. Raises `UsageError` for a wrong code."""
        ...

    def begin_key(self, origin: str) -> dict[str, object]:
        """What a browser at that origin needs to make a credential on a security key."""
        ...

    def add_key(self, credential: dict[str, object], origin: str) -> RecoveryCodes:
        """Keep what the key made. Recovery codes come with the first second factor."""
        ...

    def drop_factors(self, password: str) -> None:
        """Take one's own second factors off. Raises `UsageError` for a wrong password."""
        ...

    def audit(self, before: int | None = None) -> list[dict[str, Any]]:
        """A page of the audit log, newest first: the last entries, or those before a number. Reading it is on record.

        For administrators and auditors.
        """
        ...

    def sign_out(self) -> None:
        """End the session that asks; nothing for other credentials."""
        ...

    def close(self) -> None: ...
