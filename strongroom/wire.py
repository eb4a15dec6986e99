"""Domain values as JSON and back, for the server, its client and every `--json`.

Field names are the dataclasses' own, so the JSON is exactly what `strongroom.types` says. pydantic does the checking
and is imported on first use: `strongroom --help` must not pay for it. Reading is tolerant of unknown fields in what a
server sends (a newer server may say more) and strict in what a client sends (a misspelled `collection` must not
silently search everything).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote_to_bytes

from strongroom import errors
from strongroom.errors import ExitCode, StrongroomError, UsageError
from strongroom.types import (
    AnswerEvent,
    AskEvent,
    Box,
    CitationsEvent,
    ErrorEvent,
    FileOutcome,
    IngestEvent,
    IngestProgress,
    IngestSummary,
    OcrMode,
    PageView,
    StageEvent,
    TextEvent,
)
from strongroom.whole import (
    Dated,
    Difference,
    Point,
    Row,
    SheetAnswer,
    WholeDone,
    WholeEvent,
    WholeProgress,
)

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")

ASK_EVENTS: dict[str, type] = {
    "stage": StageEvent,
    "citations": CitationsEvent,
    "text": TextEvent,
    "answer": AnswerEvent,
    "error": ErrorEvent,
}
"""The class of each event of an answer, by its `kind` (which is also the name of the server-sent event)."""

WHOLE_EVENTS: dict[str, type] = {
    "progress": WholeProgress,
    "point": Point,
    "difference": Difference,
    "row": Row,
    "sheet": SheetAnswer,
    "dated": Dated,
    "done": WholeDone,
    "error": ErrorEvent,
}
"""The class of each event of work over whole documents, by its `kind`."""


# ------------------------------------------------------------------------------------------------ wire-only values


@dataclass(frozen=True, slots=True)
class JobRef:
    """An open job: its id, to be used in the job's other routes."""

    id: str


@dataclass(frozen=True, slots=True)
class FileOffer:
    """A file that a client could send. `sha256` is of the content, in lower-case hexadecimal."""

    uri: str
    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class OfferRequest:
    """What a client has: files it could send, and entries that it passed over or could not send, with the reason."""

    files: tuple[FileOffer, ...] = ()
    passed_over: tuple[FileOutcome, ...] = ()


@dataclass(frozen=True, slots=True)
class RetentionRule:
    """How many days the documents of a collection are kept after their last change; 0 keeps them for good."""

    collection: str
    keep_days: int


@dataclass(frozen=True, slots=True)
class UnchangedRequest:
    """`(uri, sha256)` pairs to compare with a collection's current versions."""

    collection: str
    offers: tuple[tuple[str, str], ...]
    ocr: OcrMode | None = None


@dataclass(frozen=True, slots=True)
class OfferReply:
    """URIs that the server wants sent. The others need no work and are reported among the events."""

    wanted: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PageReply:
    """A page without its packed layout, and the boxes of the span that was asked for."""

    page: PageView
    boxes: tuple[Box, ...] = ()


# ------------------------------------------------------------------------------------------------ encoding


_adapters: dict[Any, TypeAdapter[Any]] = {}


def adapter(kind: Any) -> TypeAdapter[Any]:
    """The (cached) pydantic adapter of a type of `strongroom.types` or of this module."""
    from pydantic import TypeAdapter

    found = _adapters.get(kind)
    if found is None:
        found = _adapters[kind] = TypeAdapter(kind)
    return found


def dumps(value: Any, *, kind: Any = None) -> bytes:
    """JSON bytes of a dataclass value; `kind` is needed for containers such as `list[DocumentInfo]`."""
    return adapter(kind if kind is not None else type(value)).dump_json(value)


def to_data(value: Any, *, kind: Any = None) -> Any:
    """JSON-able Python data of a dataclass value, for `--json` lines that add fields of their own."""
    return adapter(kind if kind is not None else type(value)).dump_python(value, mode="json")


def loads(kind: type[T], data: bytes | str) -> T:
    """Read a value that the server sent. Raises `StrongroomError` when it is not what the protocol promises."""
    from pydantic import ValidationError

    try:
        value: T = adapter(kind).validate_json(data, extra="ignore")
    except ValidationError as exc:
        raise StrongroomError(
            f"the server sent a malformed {_name(kind)} ({_first(exc)})",
            hint="Client and server may be of different versions: install the same version on both.",
        ) from exc
    return value


def loads_request(kind: type[T], data: bytes | str) -> T:
    """Read a value that a client sent. Unknown fields are refused. Raises `UsageError` naming the field."""
    from pydantic import ValidationError

    try:
        value: T = adapter(kind).validate_json(data, extra="forbid")
    except ValidationError as exc:
        raise UsageError(
            f"malformed request: {_first(exc)}", hint=f"Send JSON with the fields of {_name(kind)}."
        ) from exc
    return value


def _name(kind: Any) -> str:
    return str(getattr(kind, "__name__", kind))


def _first(exc: Any) -> str:
    # The input itself is left out: it may hold words of a document or a question.
    error = exc.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in error["loc"])
    return f"{where}: {error['msg']}" if where else str(error["msg"])


def shown_uri(uri: str) -> str:
    """A source URI as people and scripts know it: the plain path for local files, else the URI itself."""
    if uri.startswith("file:///"):
        return unquote_to_bytes(uri.removeprefix("file://")).decode("utf-8", "replace")
    return uri


def without_layout(page: PageView) -> PageView:
    """The page as it travels: word boxes stay on the server, callers ask for the boxes of a span instead."""
    return replace(page, layout=b"")


# ------------------------------------------------------------------------------------------------ events


def dump_event(event: AskEvent | WholeEvent) -> bytes:
    """JSON of one event of an answer or of work over whole documents, in ASCII.

    Line splitters of HTTP clients break at U+0085 and U+2028 too, so no such character may stand raw in a stream.
    """
    return adapter(type(event)).dump_json(event, ensure_ascii=True)


def load_ask_event(kind: str, data: bytes | str) -> AskEvent | None:
    """One event of an answer by its kind; `None` for a kind this version does not know."""
    cls = ASK_EVENTS.get(kind)
    return None if cls is None else loads(cls, data)


def load_whole_event(kind: str, data: bytes | str) -> WholeEvent | None:
    """One event of work over whole documents by its kind; `None` for a kind this version does not know."""
    cls = WHOLE_EVENTS.get(kind)
    return None if cls is None else loads(cls, data)


def dump_ingest_line(value: IngestEvent | IngestSummary | StrongroomError) -> bytes:
    """One NDJSON line of an ingest: `{"outcome": …}`, `{"progress": …}`, `{"summary": …}` or `{"error": …}`."""
    if isinstance(value, StrongroomError):
        return json.dumps(error_body(value)).encode() + b"\n"
    key = {FileOutcome: b"outcome", IngestProgress: b"progress", IngestSummary: b"summary"}[type(value)]
    return b'{"' + key + b'":' + adapter(type(value)).dump_json(value, ensure_ascii=True) + b"}\n"


def load_ingest_line(line: bytes | str) -> IngestEvent | IngestSummary | StrongroomError | None:
    """The value of one NDJSON line; `None` for a heartbeat or a line this version does not know."""
    data = json.loads(line)
    if "error" in data:
        return error_from(data, status=500)
    for key, cls in (("outcome", FileOutcome), ("progress", IngestProgress), ("summary", IngestSummary)):
        if key in data:
            value: Any = loads(cls, json.dumps(data[key]))
            return value  # type: ignore[no-any-return]
    return None


def dump_sse(kind: str, data: bytes) -> bytes:
    """One server-sent event. `data` is JSON, so it holds no line break."""
    return b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n"


def parse_sse(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """`(event, data)` pairs of a server-sent event stream; comment lines come out as `("", "")`.

    Comments are the server's heartbeats: passing them on lets the reader look up from a quiet stream.
    """
    name, data = "message", list[str]()
    for line in lines:
        if not line:
            if data:
                yield name, "\n".join(data)
            name, data = "message", []
        elif line.startswith(":"):
            yield "", ""
        else:
            key, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if key == "event":
                name = value
            elif key == "data":
                data.append(value)


# ------------------------------------------------------------------------------------------------ errors


def error_body(exc: StrongroomError) -> dict[str, dict[str, Any]]:
    """The JSON body of an error: message, hint, exit code and class name."""
    return {
        "error": {
            "message": str(exc),
            "hint": exc.hint,
            "code": int(exc.exit_code),
            "type": type(exc).__name__,
        }
    }


def error_from(body: Any, *, status: int) -> StrongroomError:
    """The error that a body stands for: by class name, else by exit code and HTTP status, else the root class."""
    detail = body.get("error") if isinstance(body, dict) else None
    if not isinstance(detail, dict):
        return StrongroomError(f"the server answered with HTTP status {status}", hint="See the server's log.")
    cls = _error_classes().get(str(detail.get("type"))) or _by_code(detail.get("code"), status)
    return cls(str(detail.get("message", "")), hint=str(detail.get("hint", "")))


def error_event(exc: StrongroomError) -> ErrorEvent:
    """The last event of a stream that an error ended."""
    return ErrorEvent(str(exc), exc.hint, int(exc.exit_code))


def error_of(event: ErrorEvent) -> StrongroomError:
    """The exception that an error event stands for."""
    return error_from({"error": {"message": event.message, "hint": event.hint, "code": event.code}}, status=500)


@lru_cache(maxsize=1)
def _error_classes() -> dict[str, type[StrongroomError]]:
    found = (getattr(errors, name) for name in dir(errors))
    return {c.__name__: c for c in found if isinstance(c, type) and issubclass(c, StrongroomError)}


def _by_code(code: object, status: int) -> type[StrongroomError]:
    if code == ExitCode.USAGE and status == errors.NotFoundError.http_status:
        return errors.NotFoundError
    for cls in _error_classes().values():
        # Only direct children: of the classes that share a code, the general one is the safe guess.
        if cls.__base__ is StrongroomError and int(cls.exit_code) == code:
            return cls
    return StrongroomError
