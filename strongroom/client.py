"""The appliance over HTTP: `HttpEngine` speaks the `Engine` Protocol to a running server.

Also where a running server is found: `<data_dir>/run/server.json`, readable by its owner alone. Nothing here knows
how files are parsed or models run. Proxies of the environment are never used: no request may leave the machines that
the caller named.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from strongroom.client_keeping import HttpKeeping
from strongroom.client_permissions import HttpPermissions
from strongroom.errors import (
    CancelledError,
    IndexUnreachableError,
    NotPermittedError,
    StrongroomError,
    UsageError,
)
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
    IngestEvent,
    IngestOptions,
    IngestRequest,
    IngestSummary,
    OcrMode,
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
    error_from,
    load_ask_event,
    load_whole_event,
    loads,
    parse_sse,
)

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")
OnEvent = Callable[[IngestEvent], None]
Discover = Callable[[Sequence[str]], Iterable[SourceFile | FileOutcome]]

_PATIENT_TRIES = 5
_LONGEST_PAUSE_S = 5.0


class ServerUnreachableError(StrongroomError):
    """Nothing answers at the server's address, or it went away in the middle."""

    exit_code = IndexUnreachableError.exit_code
    http_status = 502


# ------------------------------------------------------------------------------------------------ finding the server


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """Where the server of a data directory is, which process it is, and the token that opens it."""

    url: str
    pid: int
    started: int  # the process's start time in clock ticks since boot, so that a reused pid is not taken for it
    token: str
    certificate: str = ""  # PEM of the certificate it shows, the only one that is accepted; empty without TLS

    def __repr__(self) -> str:  # the token must not reach logs by accident
        return f"ServerInfo(url={self.url!r}, pid={self.pid})"


def _info_path(data_dir: Path) -> Path:
    return data_dir / "run" / "server.json"


def write_server_info(data_dir: Path, *, url: str, token: str, certificate: str = "") -> ServerInfo:
    """Tell this user's processes where this process's server is. Replaces the file in one step, mode 0600."""
    pid = os.getpid()
    info = ServerInfo(url=url, pid=pid, started=_process_start(pid) or 0, token=token, certificate=certificate)
    path = _info_path(data_dir)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".server.{pid}.json")
    draft.unlink(missing_ok=True)
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "wb") as out:
        out.write(dumps(info))
    draft.replace(path)
    return info


def read_server_info(data_dir: Path) -> ServerInfo | None:
    """The running server of a data directory; `None` when there is none or its process is gone.

    Raises `NotPermittedError` when the file belongs to somebody else or others may read it: its token, or the address
    it sends us to, cannot be trusted then.
    """
    path = _info_path(data_dir)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise NotPermittedError(
            f"cannot read {path}: {exc.strerror}", hint="Run as the user who owns the data directory."
        ) from exc
    with os.fdopen(fd, "rb") as source:
        facts = os.fstat(fd)
        if facts.st_uid != os.geteuid() or facts.st_mode & 0o077:
            raise NotPermittedError(
                f"{path} is not private to this user", hint="Stop the server, remove the file, and start it again."
            )
        text = source.read()
    try:
        info = loads(ServerInfo, text)
    except StrongroomError:
        return None  # written by a crash or another version: no server to speak of
    started = _process_start(info.pid)
    return info if started is not None and started == info.started else None


def remove_server_info(data_dir: Path, info: ServerInfo) -> None:
    """Remove the file if it still speaks of this server."""
    if read_server_info(data_dir) == info:
        _info_path(data_dir).unlink(missing_ok=True)


def _process_start(pid: int) -> int | None:
    """Start time of a live process in clock ticks since boot (field 22 of proc(5) `stat`), or `None`."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The second field, the command in parentheses, may hold spaces; field 3 follows the last parenthesis.
    fields = text.rpartition(")")[2].split()
    return None if fields[0] == "Z" else int(fields[19])


# ------------------------------------------------------------------------------------------------ transport


@contextmanager
def _mapped(url: str) -> Iterator[None]:
    """The one place where httpx's errors become ours."""
    import httpx

    try:
        yield
    except httpx.ConnectError as exc:
        raise ServerUnreachableError(
            f"no server answers at {url}", hint="Start it with `strongroom up`, or check the address."
        ) from exc
    except httpx.TimeoutException as exc:
        raise ServerUnreachableError(
            f"the server at {url} did not answer in time", hint="It may be busy: try again, or see its log."
        ) from exc
    except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL) as exc:
        raise ServerUnreachableError(
            f"the connection to {url} broke: {type(exc).__name__}", hint="See the server's log, then try again."
        ) from exc


class Connection:
    """HTTP with our token, our errors and our limits; shared by the parts of `HttpEngine`."""

    def __init__(
        self,
        base_url: str,
        token: str,
        *,
        as_user: str | None = None,
        timeout: float = 120.0,
        certificate: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """`timeout` is the longest silence on one request, in seconds; `certificate` is the only one accepted (PEM).

        `headers` go with every request.

        Raises `UsageError` for a malformed address.
        """
        import httpx

        from strongroom.tls import pinned

        self.url = base_url.rstrip("/")
        if not self.url.startswith(("http://", "https://")):
            raise UsageError(f"not an address of a server: {base_url}", hint="Use http://HOST:PORT.")
        self._client: httpx.Client = httpx.Client(
            base_url=self.url,
            headers={
                **({"Authorization": f"Bearer {token}"} if token else {}),
                **(headers or {}),
                **({} if as_user is None else {"X-Strongroom-As": quote(as_user, safe="")}),
            },
            timeout=httpx.Timeout(timeout, connect=5.0),
            trust_env=False,
            follow_redirects=False,
            verify=pinned(certificate) if certificate else True,
        )
        self.patient = httpx.Timeout(None, connect=5.0)
        """For requests that may wait their turn; heartbeats or the peer's death end them."""

    def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request, repeated for a while when the server asks to slow down.

        Raises the `StrongroomError` that the server answered with.
        """
        for _ in range(_PATIENT_TRIES):
            with _mapped(self.url):
                response = self._client.request(method, path, **options)
            if response.status_code != 429:
                break
            time.sleep(min(float(response.headers.get("retry-after", 1)), _LONGEST_PAUSE_S))
        _raise_for(response)
        return response

    @contextmanager
    def stream(self, method: str, path: str, **options: Any) -> Iterator[Iterator[str]]:
        """A response as lines. Leaving the block closes the connection, which tells the server to stop."""
        with _mapped(self.url), self._client.stream(method, path, **options) as response:
            if response.status_code >= 400:
                response.read()
                _raise_for(response)
            yield _lines(response.iter_bytes())

    def close(self) -> None:
        self._client.close()


def _lines(pieces: Iterable[bytes]) -> Iterator[str]:
    """Lines that end in LF, decoded. (`httpx.Response.iter_lines` also splits at U+2028 and friends.)"""
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield line.decode("utf-8")


def _raise_for(response: httpx.Response) -> None:
    if response.status_code < 400:
        return
    try:
        body = response.json()
    except json.JSONDecodeError:
        body = None
    raise error_from(body, status=response.status_code)


def _segment(value: str) -> str:
    return quote(value, safe="")


def _no_discover(_paths: Sequence[str]) -> Iterable[SourceFile | FileOutcome]:
    raise UsageError("this client cannot read folders", hint="Use `strongroom ingest`.")


# ------------------------------------------------------------------------------------------------ the engine


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
        return self._upload(request.options(roots), self._discover(request.paths), on_event, cancel)

    def ingest_files(
        self,
        files: Iterable[SourceFile | FileOutcome],
        options: IngestOptions,
        *,
        on_event: OnEvent,
        cancel: threading.Event | None = None,
    ) -> IngestSummary:
        """Send files that are already at hand, identified by their `uri`; `on_event` runs in this thread."""
        return self._upload(options, files, on_event, cancel)

    def unchanged(
        self, offers: Iterable[tuple[str, str]], *, collection: str, ocr: OcrMode | None = None
    ) -> dict[str, FileOutcome]:
        """Outcomes by URI of those `(uri, sha256)` offers that hold nothing new."""
        body = UnchangedRequest(collection, tuple(offers), ocr)
        response = self._http.send("POST", "/api/ingest/unchanged", content=dumps(body))
        return loads(dict[str, FileOutcome], response.content)

    def _upload(
        self,
        options: IngestOptions,
        files: Iterable[SourceFile | FileOutcome],
        on_event: OnEvent,
        cancel: threading.Event | None,
    ) -> IngestSummary:
        from strongroom.upload import Upload

        return Upload(self._http, options, on_event=on_event, cancel=cancel).run(files)

    def watches(self) -> list[Watch]:
        return loads(list[Watch], self._http.send("GET", "/api/watches").content)

    def add_watch(self, watch: Watch) -> Watch:
        return self._post("/api/watches", watch, Watch)

    def remove_watch(self, watch_id: str) -> None:
        self._http.send("DELETE", f"/api/watches/{_segment(watch_id)}", timeout=self._http.patient)

    # -------------------------------------------------------------------------------- questions

    def search(self, request: SearchRequest) -> SearchResult:
        return self._post("/api/search", request, SearchResult)

    def ask(self, request: AskRequest, *, cancel: threading.Event | None = None) -> Iterator[AskEvent]:
        """Stream the answer. Closing the iterator, or setting `cancel`, stops the generation on the server."""
        options = {"content": dumps(request), "timeout": self._http.patient}
        with self._http.stream("POST", "/api/ask", **options) as lines:
            for kind, data in parse_sse(lines):
                if cancel is not None and cancel.is_set():
                    stopped = CancelledError("the answer was cancelled")
                    yield ErrorEvent(str(stopped), stopped.hint, int(stopped.exit_code))
                    return
                event = load_ask_event(kind, data) if kind else None
                if event is not None:
                    yield event
                    if event.kind in ("answer", "error"):
                        return
        raise ServerUnreachableError("the answer broke off", hint="See the server's log, then ask again.")

    def whole(self, request: WholeRequest, *, cancel: threading.Event | None = None) -> Iterator[WholeEvent]:
        """Stream the work. Closing the iterator, or setting `cancel`, stops it; what is done is kept on the server."""
        options = {"content": dumps(request), "timeout": self._http.patient}
        with self._http.stream("POST", "/api/whole", **options) as lines:
            for kind, data in parse_sse(lines):
                if cancel is not None and cancel.is_set():
                    stopped = CancelledError(
                        "the work was cancelled", hint="Run it again: it goes on where it stopped."
                    )
                    yield ErrorEvent(str(stopped), stopped.hint, int(stopped.exit_code))
                    return
                event = load_whole_event(kind, data) if kind else None
                if event is not None:
                    yield event
                    if event.kind in ("done", "error"):
                        return
        raise ServerUnreachableError("the work broke off", hint="See the server's log, then run it again.")

    def approve(self, request: ApprovalRequest) -> Approval:
        return self._post("/api/approvals", request, Approval)

    def approvals(self) -> list[Approval]:
        return loads(list[Approval], self._http.send("GET", "/api/approvals").content)

    def withdraw(self, approval_id: str) -> None:
        self._http.send("DELETE", f"/api/approvals/{quote(approval_id, safe='')}")

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


def _document(document_id: str) -> str:
    return f"/api/documents/{_segment(document_id)}"
