"""The `Engine` in process: the appliance as one user sees it. Every call is checked, and what matters is audited."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from strongroom import __version__
from strongroom.access import AccessFilter
from strongroom.app import deleting
from strongroom.app.acting import Acting
from strongroom.app.disk import disk_use
from strongroom.app.keeping import LocalKeeping
from strongroom.app.permissions import LocalPermissions
from strongroom.app.scoping import described, mentioned, narrowed, without_marks
from strongroom.app.verify import verify
from strongroom.errors import CancelledError, NotFoundError, NotPermittedError, UsageError
from strongroom.people import ROLES
from strongroom.types import (
    MOST_HITS,
    AnswerEvent,
    Approval,
    ApprovalRequest,
    AskEvent,
    AskRequest,
    CitationsEvent,
    Clarification,
    DeletionReceipt,
    DocumentDetail,
    DocumentInfo,
    DocumentState,
    DoubtfulPage,
    FileOutcome,
    IngestEvent,
    IngestOptions,
    IngestRequest,
    IngestRun,
    IngestSummary,
    OcrMode,
    OnEvent,
    PageView,
    SearchRequest,
    SearchResult,
    SourceFile,
    Status,
    StoredChunk,
    Style,
    TwoPersonAction,
    VerifyReport,
    Watch,
    Withholding,
)

if TYPE_CHECKING:
    from strongroom.app.appliance import Appliance
    from strongroom.whole import WholeEvent, WholeRequest

WRITERS = frozenset({"admin", "editor"})


class LocalEngine(Acting):
    """Implements `strongroom.engine.Engine`. Thread-safe; searches and answers may run while an ingest runs."""

    def __init__(self, appliance: Appliance, user: str, *, by: str | None = None) -> None:
        """`by` is who acts as the user, where that is somebody else."""
        super().__init__(appliance, user)
        self._by = user if by is None else by
        self.owns_appliance = False

    # ------------------------------------------------------------------------------------------------ ingest

    def ingest(
        self, request: IngestRequest, *, on_event: OnEvent, cancel: threading.Event | None = None
    ) -> IngestSummary:
        from ingest.discover import discover, file_uri

        for path in request.paths:
            if not Path(path).exists():
                raise UsageError(f"{path} does not exist", hint="Check the path; nothing was ingested.")
        return self.ingest_files(
            discover(request.paths, max_bytes=self._appliance.settings.max_file_mb << 20),
            request.options(tuple(file_uri(str(Path(path).absolute())) for path in request.paths)),
            on_event=on_event,
            cancel=cancel,
            passwords=request.passwords,
        )

    def ingest_files(
        self,
        files: Iterable[SourceFile | FileOutcome],
        options: IngestOptions,
        *,
        on_event: OnEvent,
        cancel: threading.Event | None = None,
        passwords: Sequence[str] = (),
    ) -> IngestSummary:
        from ingest.finish import NO_LONGER_INSIDE

        self._require_writer("ingest")
        if not options.collection.strip():
            raise UsageError("the collection has no name", hint="Give `--collection NAME`.")

        def recorded(event: IngestEvent) -> None:
            gone = event.document_id if isinstance(event, FileOutcome) and event.outcome == "removed" else None
            if gone and isinstance(event, FileOutcome) and not options.dry_run:
                self._audit("delete", gone, reason="replaced" if event.reason == NO_LONGER_INSIDE else "prune")
                self._appliance.forget_images(gone)
            on_event(event)

        catalog = self._appliance.catalog
        if not options.dry_run:
            catalog.open_collection(options.collection, user=self._user, groups=options.groups)
        elif catalog.collection_id(options.collection) is not None:
            self._require_write(options.collection)
        if options.prune and not options.dry_run:
            self._require_clearance("delete", options.collection)
        hidden = catalog.hidden_within(options.collection, catalog.access_for(self._user))
        try:
            summary = self._appliance.pipeline.run(
                files, options, on_event=recorded, cancel=cancel, passwords=passwords, hidden=hidden
            )
        except CancelledError:
            self._audit("ingest.cancelled")
            raise
        if not options.dry_run:
            deleting.settle(self._appliance)
            self._audit("ingest", outcomes=summary.outcomes, pages=summary.pages, chunks=summary.chunks)
            self._appliance.catalog.note_ingest(
                IngestRun(datetime.now(UTC).replace(microsecond=0), self._user, options.collection, summary)
            )
        return summary

    def unchanged(
        self, offers: Iterable[tuple[str, str]], *, collection: str, ocr: OcrMode | None = None
    ) -> dict[str, FileOutcome]:
        self._require_writer("ingest")
        if not self._may_write(collection):
            return {}  # as for a collection that does not exist
        return self._appliance.pipeline.settled(offers, collection=collection, ocr=ocr)

    def watches(self) -> list[Watch]:
        self._require_admin("watch.list", "watch folders")
        return [self._appliance.watching.shown(watch) for watch in self._appliance.catalog.watches()]

    def add_watch(self, watch: Watch) -> Watch:
        self._require_admin("watch.add", "watch folders")
        for path in watch.paths:
            if not Path(path).is_absolute() or not Path(path).exists():
                raise UsageError(f"{path} is no path of this machine", hint="Give an absolute path that exists here.")
        if not watch.paths or not watch.collection.strip():
            raise UsageError("a watch needs paths and a collection", hint="See `strongroom watch add --help`.")
        self._appliance.catalog.open_collection(watch.collection, user=self._user, groups=watch.groups)
        added = self._appliance.catalog.add_watch(replace(watch, by=self._user))
        self._audit("watch.add", added.id)
        if self._appliance.serving:
            self._appliance.watching.take_up(added)
        return self._appliance.watching.shown(added)

    def remove_watch(self, watch_id: str) -> None:
        self._require_admin("watch.remove", "watch folders")
        self._appliance.catalog.remove_watch(watch_id)
        self._appliance.watching.drop(watch_id)
        self._audit("watch.remove", watch_id)

    # ------------------------------------------------------------------------------------------------ questions

    def search(self, request: SearchRequest) -> SearchResult:
        from retrieval.search import to_search_result

        if request.k > MOST_HITS:
            raise UsageError(f"k is {request.k:,}", hint=f"Ask for at most {MOST_HITS} passages.")
        asked = self._appliance.audit.question(request.question, self._appliance.settings.audit_questions)
        with self._recording_refusals("search", **asked):
            access, back = self._within(request)
        if back is not None:
            options = f"Write one of: {'; '.join(back.options)}." if back.options else "Leave the mark # out."
            raise UsageError(back.question, hint=options)
        question = without_marks(request.question)
        scored, timings = self._appliance.searcher.search(question, access=access, k=request.k, history=request.history)
        result = to_search_result(scored, timings, id=request.id)
        self._audit("search", **asked, documents=_distinct(hit.document.id for hit in result.hits))
        return result

    def ask(self, request: AskRequest, *, cancel: threading.Event | None = None) -> Iterator[AskEvent]:
        from retrieval.answer import asked_back

        asked = self._appliance.audit.question(request.question, self._appliance.settings.audit_questions)
        with self._recording_refusals("ask", **asked):
            access, back = self._within(request)
        if back is not None:
            events = asked_back(request, back)
        else:
            answers = self._appliance.answers(self._style(request), access, request)
            plain = replace(request, question=without_marks(request.question))
            where = described(request.collection, request.scope)
            events = answers.answer(plain, access=access, cancel=cancel, where=where)
        for event in events:
            # before it is released: who leaves after the quotes, or in the middle of the words, has read them
            if isinstance(event, CitationsEvent):
                self._audit("ask", **asked, documents=_distinct(c.document.id for c in event.citations))
            elif isinstance(event, AnswerEvent):
                self._audit("answer", abstained=event.answer.abstained, model=event.answer.model)
            yield event

    def _access(self, collection: str | None = None) -> AccessFilter:
        """The reader's filter. A collection that is not there, or not theirs, is a refusal on record."""
        with self._recording_refusals("read"):
            return self._appliance.catalog.access_for(self._user, collection)

    def _document(self, document_id: str, access: AccessFilter) -> DocumentInfo:
        """Raises the same `NotFoundError` for unknown and unreadable ones."""
        return self._appliance.catalog.document(document_id, access)

    def _asking(self, collection: str | None) -> AccessFilter:
        """The asker's filter, once the index knows of every grant that has changed."""
        self._appliance.tell_index()
        return self._appliance.catalog.access_for(self._user, collection)

    def _within(self, request: SearchRequest | AskRequest) -> tuple[AccessFilter, Clarification | None]:
        """The asker's filter, narrowed to the request's scope and to the documents that it mentions.

        A question that does not stand alone keeps to the document that the conversation is about.
        """
        access = self._asking(request.collection)
        catalog = self._appliance.catalog
        access = narrowed(access, request.scope, lambda: catalog.documents(access))
        texts = [request.question]
        if "#" not in request.question and request.history:
            from retrieval.condense import stands_alone

            if not stands_alone(request.question):
                texts += [m.content for m in reversed(request.history) if m.role == "user"]
        return mentioned(access, texts, lambda: catalog.documents(access))

    def _style(self, request: AskRequest) -> Style:
        """Who names a model wants its words, unless the answer is to be exact: then it chooses among the documents'.

        Raises `UsageError` for a style that contradicts the rest.
        """
        if request.verbatim and request.style == "fluent":
            raise UsageError("verbatim answers are exact, and no model writes them", hint="Leave one of the two out.")
        if request.verbatim or request.style == "exact":
            return "exact"
        if request.model is not None:
            return "fluent"
        return request.style or self._appliance.style()

    def whole(self, request: WholeRequest, *, cancel: threading.Event | None = None) -> Iterator[WholeEvent]:
        from strongroom.app.whole import whole

        self._appliance.tell_index()  # its questions search
        return whole(self._appliance, self._user, request, cancel=cancel)

    def approve(self, request: ApprovalRequest) -> Approval:
        with self._recording_refusals("approve", request.document_id):
            kept = self._appliance.catalog.approve(request, self._access(), by=self._user)
        self._audit("approve", kept.document.id, approval=kept.id, verdict=kept.verdict)
        return kept

    def approvals(self) -> list[Approval]:
        return self._appliance.catalog.approvals(self._access())

    def withdraw(self, approval_id: str) -> None:
        self._require_writer("withdraw")
        self._appliance.catalog.withdraw(approval_id, self._access())
        self._audit("withdraw", approval_id)

    # ------------------------------------------------------------------------------------------------ documents

    def documents(self, collection: str | None = None) -> list[DocumentInfo]:
        return self._appliance.catalog.documents(self._access(collection))

    def document(self, document_id: str) -> DocumentInfo:
        with self._recording_refusals("read", document_id):
            return self._document(document_id, self._access())

    def details(self, document_id: str) -> DocumentDetail:
        with self._recording_refusals("read", document_id):
            return self._appliance.catalog.details(document_id, self._access())

    def chunks(self, document_id: str) -> list[StoredChunk]:
        with self._recording_refusals("read", document_id):
            found = self._appliance.catalog.chunks_of(document_id, self._access())
        self._audit("read", document_id, chunks=len(found))
        return found

    def doubtful_pages(self, below: float, *, collection: str | None = None) -> list[DoubtfulPage]:
        return self._appliance.catalog.doubtful_pages(below, self._access(collection))

    def page(self, document_id: str, index: int) -> PageView:
        with self._recording_refusals("read", document_id):
            view = self._appliance.catalog.page(document_id, index, self._access())
        self._audit("read", document_id, page=index)
        return view

    def page_image(self, document_id: str, index: int, *, dpi: int = 110) -> bytes:
        with self._recording_refusals("read", document_id):
            view = self._appliance.catalog.page(document_id, index, self._access())
        image = self._appliance.renderer.page(view, dpi=dpi)  # what is withheld is blacked out before it is drawn
        self._audit("read", document_id, page=index)
        return image

    def original(self, document_id: str) -> bytes:
        access = self._access()
        with self._recording_refusals("export", document_id):
            document = self._document(document_id, access)
            if not self._appliance.blobs.exists(document.version):
                raise NotFoundError(f"document {document_id} has no original", hint="It was not read completely.")
            veil = self._appliance.catalog.veil(document_id, access)
        if veil.whole or veil.spans:
            self._audit("export", document_id, outcome="refused")
            raise NotPermittedError(
                "the original holds personal data that is withheld from you",
                hint="Read it page by page, or ask an administrator for the file.",
            )
        clearance = self._require_clearance("export", document.collection, document_id)
        self._audit("export", document_id, outcome="ok", **clearance)
        return self._appliance.blobs.read(document_id, document.version)

    def withholding(self) -> list[Withholding]:
        self._require_admin("privacy.list", "list rules on personal data")
        return self._appliance.catalog.withholding()

    def withhold(self, rule: Withholding, *, remove: bool = False) -> None:
        self._require_admin("privacy.rule", "set rules on personal data")
        if rule.role not in ROLES:  # a rule that binds nobody would look like protection
            raise UsageError(f"there is no role {rule.role!r}", hint=f"Choose of {', '.join(ROLES)}.")
        self._appliance.catalog.withhold(rule, remove=remove)
        place = None if rule.collection is None else self._appliance.catalog.collection(rule.collection).id
        kinds = None if remove else list(rule.kinds)
        self._audit("privacy.rule", place or "", role=rule.role, kinds=kinds)

    def delete(self, document_id: str) -> DeletionReceipt:
        self._require_writer("delete")
        with self._recording_refusals("delete", document_id):
            document = self._document(document_id, self._access())
        self._require_write(document.collection, document_id)
        settings = self._appliance.settings
        if self._appliance.catalog.deleted_lately(self._user) >= settings.two_person_deletions:
            self._require_clearance("delete", document.collection, document_id)
        return deleting.delete(self._appliance, document_id, by=self._user)

    def collections(self) -> list[str]:
        readable = {d.collection for d in self.documents()}
        if self._appliance.catalog.role(self._user) == "admin":
            readable |= {c.name for c in self._appliance.catalog.collections()}
        return sorted(readable, key=str.casefold)

    @property
    def keeping(self) -> LocalKeeping:
        return LocalKeeping(self._appliance, self._user)

    @property
    def permissions(self) -> LocalPermissions:
        return LocalPermissions(self._appliance, self._user, by=self._by)

    # ------------------------------------------------------------------------------------------------ health

    def status(self) -> Status:
        settings = self._appliance.settings
        last, disk = None, dict[str, int]()
        if self._appliance.catalog.role(self._user) == "admin":
            last, disk = self._appliance.catalog.last_ingest(), disk_use(settings)
            collections, states, chunks = self._appliance.catalog.counts()
            points = self._appliance.raw_index.count()
        else:  # whoever does not administer counts what they may read: a total tells of what is hidden
            readable = self.documents()
            collections = dict(Counter(d.collection for d in readable))
            states = dict(Counter(str(d.state) for d in readable))
            points = chunks = sum(d.chunks for d in readable if d.state == DocumentState.INDEXED)
        return Status(
            version=__version__,
            mode="local" if self.owns_appliance else "server",
            data_dir=str(settings.data_dir),
            collections=collections,
            states=states,
            chunks=chunks,
            points=points,
            embedder=settings.embedder,
            model=settings.model,
            last_ingest=last,
            disk=disk,
        )

    def verify(self) -> VerifyReport:
        self._require_admin("verify", "verify")
        return verify(self._appliance)

    def close(self) -> None:
        if self.owns_appliance:
            self._appliance.close()

    # ------------------------------------------------------------------------------------------------

    def _may_write(self, collection: str, document_id: str | None = None) -> bool:
        catalog = self._appliance.catalog
        return catalog.may_write(catalog.access_for(self._user), collection, document_id)

    def _require_write(self, collection: str, document_id: str | None = None) -> None:
        if not self._may_write(collection, document_id):
            self._audit("write", document_id or "", outcome="refused")
            raise NotPermittedError(
                f"{self._user} may not write into a collection called {collection!r}",
                hint="Ask an administrator for a grant to write.",
            )

    def _require_writer(self, action: str) -> None:
        if self._appliance.catalog.role(self._user) not in WRITERS:
            self._audit(action, outcome="refused")
            raise NotPermittedError(f"{self._user} may not {action}", hint="Ask an administrator.")

    def _require_clearance(
        self, action: TwoPersonAction, collection: str, document_id: str | None = None
    ) -> dict[str, str]:
        """What to put on record of a second person's consent, where one is needed. Raises `NotPermittedError`."""
        if action not in self._appliance.settings.two_person:
            return {}
        found = self._appliance.catalog.cleared(action, collection, document_id, by=self._user)
        if found is None:
            self._audit(action, document_id or "", outcome="refused", reason="no clearance")
            raise NotPermittedError(
                f"to {action} this, {self._user} needs the consent of a second person",
                hint="Ask for it with `strongroom clearances ask`.",
            )
        return {"clearance": found}

    @contextmanager
    def _recording_refusals(self, action: str, document_id: str | None = None, **asked: object) -> Iterator[None]:
        """Put what is refused on record. What is hidden and what never was look the same."""
        try:
            yield
        except NotFoundError:
            self._audit(action, "" if document_id is None else as_id(document_id), outcome="refused", **asked)
            raise


def as_id(text: str) -> str:
    """An id as it may stand in the log; what is none could hold anything."""
    try:
        return str(UUID(text))
    except ValueError:
        return "(no id)"


def _distinct(ids: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(ids))
