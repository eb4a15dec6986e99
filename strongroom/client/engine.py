"""`HttpEngine` speaks the `Engine` Protocol to a running server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from strongroom.client.connection import Connection, ServerUnreachableError, segment
from strongroom.client.keeping import HttpKeeping
from strongroom.client.permissions import HttpPermissions
from strongroom.errors import CancelledError, UsageError
from strongroom.types import (
    Approval,
    ApprovalRequest,
    AskEvent,
    AskRequest,
    Box,
    DeletionReceipt,
    DocumentDetail,
    DocumentInfo,
    DoubtfulPage,
    ErrorEvent,
    FileOutcome,
    IngestOptions,
    IngestRequest,
    IngestSummary,
    OcrMode,
    OnEvent,
    PageView,
    SearchRequest,
    SearchResult,
    SourceFile,
    Status,
    StoredChunk,
    VerifyReport,
    Watch,
    Withholding,
)
from strongroom.whole import WholeEvent, WholeRequest
from strongroom.wire import (
    PageReply,
    UnchangedRequest,
    dumps,
    error_event,
    load_ask_event,
    load_whole_event,
    loads,
    parse_sse,
)

T = TypeVar("T")
E = TypeVar("E")
Discover = Callable[[Sequence[str]], Iterable[SourceFile | FileOutcome]]


def _no_discover(_paths: Sequence[str]) -> Iterable[SourceFile | FileOutcome]:
    raise UsageError("this client cannot read folders", hint="Use `strongroom ingest`.")


class HttpEngine:
    """The `Engine` Protocol over HTTP. Methods may be called from any thread.

    `discover` walks the caller's files for `ingest`; it is injected because walking is ingest's business, not ours.
    """

    def __init__(
        self,
        base_url: str,
        token: str,
        *,
        discover: Discover = _no_discover,
        as_user: str | None = None,
        timeout: float = 120.0,
        certificate: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """`as_user` acts as another user, which the server permits to administrators and audits.

        `certificate` (PEM) is the only one that is accepted from an `https://` address, as `ServerInfo` tells it.
        """
        self._http = Connection(
            base_url, token, as_user=as_user, timeout=timeout, certificate=certificate, headers=headers
        )
        self._discover = discover

    # -------------------------------------------------------------------------------- ingest

    def ingest(
        self, request: IngestRequest, *, on_event: OnEvent, cancel: threading.Event | None = None
    ) -> IngestSummary:
        """Send files and folders of this machine to the server, a few at a time; `on_event` runs in this thread."""
        # Path.as_uri would quote other characters than the walk does; roots are compared decoded, so that is fine.
        if request.passwords:
            raise UsageError(
                "passwords are not sent to a server: --password-file works only where the data directory is opened",
                hint="Stop the server for this ingest, and run it as the user that owns the data directory.",
            )
        roots = tuple(Path(path).absolute().as_uri() for path in request.paths)
        files = self._discover(request.paths)
        return self.ingest_files(files, request.options(roots), on_event=on_event, cancel=cancel)

    def ingest_files(
        self,
        files: Iterable[SourceFile | FileOutcome],
        options: IngestOptions,
        *,
        on_event: OnEvent,
        cancel: threading.Event | None = None,
    ) -> IngestSummary:
        """Send files that are already at hand, identified by their `uri`; `on_event` runs in this thread."""
        from strongroom.client.upload import Upload

        return Upload(self._http, options, on_event=on_event, cancel=cancel).run(files)

    def unchanged(
        self, offers: Iterable[tuple[str, str]], *, collection: str, ocr: OcrMode | None = None
    ) -> dict[str, FileOutcome]:
        """Outcomes by URI of those `(uri, sha256)` offers that hold nothing new."""
        body = UnchangedRequest(collection, tuple(offers), ocr)
        response = self._http.send("POST", "/api/ingest/unchanged", content=dumps(body))
        return loads(dict[str, FileOutcome], response.content)

    def watches(self) -> list[Watch]:
        return loads(list[Watch], self._http.send("GET", "/api/watches").content)

    def add_watch(self, watch: Watch) -> Watch:
        return self._post("/api/watches", watch, Watch)

    def remove_watch(self, watch_id: str) -> None:
        self._http.send("DELETE", f"/api/watches/{segment(watch_id)}", timeout=self._http.patient)

    # -------------------------------------------------------------------------------- questions

    def search(self, request: SearchRequest) -> SearchResult:
        return self._post("/api/search", request, SearchResult)

    def ask(self, request: AskRequest, *, cancel: threading.Event | None = None) -> Iterator[AskEvent]:
        """Stream the answer. Closing the iterator, or setting `cancel`, stops the generation on the server."""
        stopped = CancelledError("the answer was cancelled")
        broken = ServerUnreachableError("the answer broke off", hint="See the server's log, then ask again.")
        return self._events("/api/ask", request, load_ask_event, last="answer", cancel=cancel, ends=(stopped, broken))

    def whole(self, request: WholeRequest, *, cancel: threading.Event | None = None) -> Iterator[WholeEvent]:
        """Stream the work. Closing the iterator, or setting `cancel`, stops it; what is done is kept on the server."""
        stopped = CancelledError("the work was cancelled", hint="Run it again: it goes on where it stopped.")
        broken = ServerUnreachableError("the work broke off", hint="See the server's log, then run it again.")
        return self._events("/api/whole", request, load_whole_event, last="done", cancel=cancel, ends=(stopped, broken))

    def approve(self, request: ApprovalRequest) -> Approval:
        return self._post("/api/approvals", request, Approval)

    def approvals(self) -> list[Approval]:
        return loads(list[Approval], self._http.send("GET", "/api/approvals").content)

    def withdraw(self, approval_id: str) -> None:
        self._http.send("DELETE", f"/api/approvals/{segment(approval_id)}")

    # -------------------------------------------------------------------------------- documents

    def documents(self, collection: str | None = None) -> list[DocumentInfo]:
        params = {} if collection is None else {"collection": collection}
        return loads(list[DocumentInfo], self._http.send("GET", "/api/documents", params=params).content)

    def document(self, document_id: str) -> DocumentInfo:
        return loads(DocumentInfo, self._http.send("GET", _document(document_id)).content)

    def details(self, document_id: str) -> DocumentDetail:
        return loads(DocumentDetail, self._http.send("GET", f"{_document(document_id)}/details").content)

    def chunks(self, document_id: str) -> list[StoredChunk]:
        return loads(list[StoredChunk], self._http.send("GET", f"{_document(document_id)}/chunks").content)

    def doubtful_pages(self, below: float, *, collection: str | None = None) -> list[DoubtfulPage]:
        params = {"below": below} if collection is None else {"below": below, "collection": collection}
        return loads(list[DoubtfulPage], self._http.send("GET", "/api/doubtful-pages", params=params).content)

    def page(self, document_id: str, index: int) -> PageView:
        """The page at 0-based `index`, without its packed layout: ask `page_boxes` for the boxes of a span."""
        return loads(PageReply, self._http.send("GET", f"{_document(document_id)}/pages/{index}").content).page

    def page_boxes(self, document_id: str, index: int, *, start: int, end: int) -> tuple[Box, ...]:
        """Boxes on that page of the words in `[start, end)`, which are document offsets."""
        params = {"start": start, "end": end}
        response = self._http.send("GET", f"{_document(document_id)}/pages/{index}", params=params)
        return loads(PageReply, response.content).boxes

    def page_image(self, document_id: str, index: int, *, dpi: int = 110) -> bytes:
        path = f"{_document(document_id)}/pages/{index}/image.png"
        return self._http.send("GET", path, params={"dpi": dpi}).content

    def original(self, document_id: str) -> bytes:
        return self._http.send("GET", f"{_document(document_id)}/original").content

    def withholding(self) -> list[Withholding]:
        return loads(list[Withholding], self._http.send("GET", "/api/withholding").content)

    def withhold(self, rule: Withholding, *, remove: bool = False) -> None:
        self._http.send("DELETE" if remove else "PUT", "/api/withholding", content=dumps(rule))

    def delete(self, document_id: str) -> DeletionReceipt:
        response = self._http.send("DELETE", _document(document_id), timeout=self._http.patient)
        return loads(DeletionReceipt, response.content)

    # -------------------------------------------------------------------------------- the appliance

    def collections(self) -> list[str]:
        return loads(list[str], self._http.send("GET", "/api/collections").content)

    @property
    def keeping(self) -> HttpKeeping:
        return HttpKeeping(self._http)

    @property
    def permissions(self) -> HttpPermissions:
        return HttpPermissions(self._http)

    def status(self) -> Status:
        return loads(Status, self._http.send("GET", "/api/status").content)

    def verify(self) -> VerifyReport:
        response = self._http.send("POST", "/api/verify", timeout=self._http.patient)
        return loads(VerifyReport, response.content)

    def close(self) -> None:
        """Close the connections. Safe to call twice."""
        with suppress(RuntimeError):
            self._http.close()

    def _post(self, path: str, body: Any, kind: type[T]) -> T:
        return loads(kind, self._http.send("POST", path, content=dumps(body)).content)

    def _events(
        self,
        path: str,
        body: AskRequest | WholeRequest,
        load: Callable[[str, str], E | None],
        *,
        last: str,
        cancel: threading.Event | None,
        ends: tuple[CancelledError, ServerUnreachableError],
    ) -> Iterator[E | ErrorEvent]:
        """Events up to the one of kind `last`, or an error. `ends`: what stopping and breaking off make of it."""
        stopped, broken = ends
        with self._http.stream("POST", path, content=dumps(body), timeout=self._http.patient) as lines:
            for kind, data in parse_sse(lines):
                if cancel is not None and cancel.is_set():
                    yield error_event(stopped)
                    return
                event = load(kind, data) if kind else None
                if event is not None:
                    yield event
                    if kind in (last, "error"):
                        return
        raise broken


def _document(document_id: str) -> str:
    return f"/api/documents/{segment(document_id)}"
