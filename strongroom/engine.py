"""What a front end can ask of the appliance as one person, as Protocols: `Engine` with its parts, and `AccountDesk`.

Each is implemented twice, in process (`strongroom.app`, `strongroom.accounts`) and over HTTP (`strongroom.client`), and
both are held to one contract suite under `tests/contract/`. Errors are `StrongroomError`s in both. Unless a method says
otherwise it may be called from any thread.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

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
    IngestOptions,
    IngestRequest,
    IngestSummary,
    OcrMode,
    OnEvent,
    PageView,
    Retention,
    RetentionRun,
    SearchRequest,
    SearchResult,
    SourceFile,
    Status,
    StoredChunk,
    VerifyReport,
    Wall,
    Watch,
    Withholding,
)
from strongroom.whole import WholeEvent, WholeRequest


class Engine(Protocol):
    """Documents, questions and the appliance's health; `permissions` and `keeping` are parts of it."""

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


class Permissions(Protocol):
    """Who may read and write what, as one person may see and change it.

    Administrators decide about everything. Whoever may write into a collection, or a document, decides about its
    grants; what a person may not decide about answers like what does not exist.
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

    def delete_collection(self, name: str) -> list[str]:
        """Destroy a collection with all its documents; returns their ids. Needs a grant to write it.

        Raises `NotFoundError`, and `HeldError`, before anything is deleted, where a hold covers one of them.
        """
        ...

    def receipts(self) -> list[str]:
        """The receipt of every deletion, each as the canonical JSON that was signed."""
        ...


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
