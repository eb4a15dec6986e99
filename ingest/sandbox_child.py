"""The parser child: confines itself, then parses one file after another until its parent is gone.

Started by `ingest.sandbox` as a fresh interpreter, never forked. Everything that limits it is in place before the
first byte of a document is read. Its standard output is the result pipe; what libraries print is thrown away.
"""

from __future__ import annotations

import json
import os
import pickle
import resource
import shutil
import struct
import sys
import time
import traceback
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ingest import wire
from ingest.confine import Layers, cap, die_with_parent, landlock, no_privileges, no_unix_sockets, own_namespaces
from strongroom.errors import ModelError, ParseError, QuarantineError, StrongroomError
from strongroom.types import PersonalData

if TYPE_CHECKING:
    from ingest.chunk import Chunker

_SPARE_ADDRESS_SPACE = 4 << 30  # shared libraries and mapped models, which are not the document's doing
_FILE_BYTES = 128 << 20  # a program that converts may write a document out whole
_PROCESSES = 128  # threads count, and LibreOffice has some dozens


def main() -> None:
    """Serve requests from standard input until it ends. Never returns to the caller's stack."""
    requests, results = _take_pipes()
    try:
        setup = pickle.loads(_receive(requests))  # noqa: S301 - from our own parent, before any document is read
        layers = confine(setup, (requests.fileno(), results.fileno()))
        chunker: Chunker = pickle.loads(setup["chunker"])  # noqa: S301 - as above
        _send(results, wire.HELLO, json.dumps(layers.as_dict()).encode())
    except BaseException as exc:  # noqa: BLE001 - the parent must learn why no child can start
        _send(results, wire.BROKEN, f"{type(exc).__name__}: {exc}".encode("utf-8", "replace"))
        os._exit(1)
    folder = Path(setup["folder"])
    while True:
        try:
            request = json.loads(_receive(requests))
        except EOFError:
            os._exit(0)
        _limit_cpu(setup["cpu_seconds"])
        _serve(request, chunker, setup, results)
        _empty(folder)


def _serve(request: dict[str, str], chunker: Chunker, setup: dict[str, Any], results: BinaryIO) -> None:
    """Parse one file and send its result or the reason why there is none."""
    from ingest.parse import LISTINGS, parse_file

    try:
        document = parse_file(
            Path(request["path"]),
            request["mime"],
            ocr=setup["ocr"],
            speech=setup["speech"],
            heartbeat=lambda: _send(results, wire.BEAT, b""),
            members=_Pipe(results),
            passwords=setup["passwords"],
        )
        if setup["personal"]:
            document = replace(document, personal=_personal(document.text))
        payload = wire.encode_result(document, [] if document.mime in LISTINGS else chunker.chunk(document))
    except MemoryError:
        _refuse(results, "memory", "", "")
    except QuarantineError as exc:
        _refuse(results, "quarantine", str(exc), exc.hint)
    except ParseError as exc:
        _refuse(results, "parse", str(exc), exc.hint)
    except ModelError as exc:
        _refuse(results, "model", str(exc), exc.hint)
    except StrongroomError as exc:
        _refuse(results, "quarantine", str(exc), exc.hint)
    except RecursionError:
        _refuse(results, "quarantine", "nested too deeply to be parsed", "check where the file comes from")
    except Exception as exc:  # noqa: BLE001 - one file's edge: libraries raise anything on broken input
        if _is_memory(exc):
            _refuse(results, "memory", "", "")
        else:
            _refuse(
                results, "parse", f"the parser failed ({_where(exc)})", "open and save the file again, or convert it"
            )
    else:
        _send(results, wire.RESULT, payload)


def _personal(text: str) -> PersonalData | None:
    """Personal data in a text, or `None` when the search failed: the document then counts as not looked into."""
    from ingest.privacy import DETECTOR, find

    try:
        return PersonalData(DETECTOR, find(text))
    except (RecursionError, ValueError, TypeError, LookupError):
        return None


class _Pipe:
    """Hands what lies inside a container to the parent, piece by piece."""

    def __init__(self, results: BinaryIO) -> None:
        self._results = results

    def write(self, data: bytes) -> None:
        _send(self._results, wire.BYTES, data)

    def end(self, path: str, refused: str | None) -> None:
        _send(self._results, wire.MEMBER, wire.encode_member(path, refused))


def _is_memory(exc: BaseException) -> bool:
    """True when memory ran out somewhere below: native libraries word it in their own ways."""
    current: BaseException | None = exc
    while current is not None:
        text = str(current).lower()
        if isinstance(current, MemoryError) or "bad_alloc" in text or "cannot allocate memory" in text:
            return True
        current = current.__cause__ or current.__context__
    return False


def _where(exc: BaseException) -> str:
    """The exception's type and place in the code: enough for a report, without a word of the document."""
    frames = traceback.extract_tb(exc.__traceback__)
    place = f" in {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(exc).__name__}{place}"


# ------------------------------------------------------------------------------------------------ confinement


def confine(setup: dict[str, Any], pipes: tuple[int, int]) -> Layers:
    """Die with the parent; lose network, files and privileges; cap memory, files, processes and processor time.

    Returns, in a process of its own where the kernel allows that, which layers hold. The limits and the socket guard
    do in any case.
    """
    folder = Path(setup["folder"])
    die_with_parent(setup["parent"])
    namespaces = own_namespaces(pipes)
    memory = int(setup["memory_bytes"])
    cap(resource.RLIMIT_DATA, memory)
    cap(resource.RLIMIT_AS, memory + _SPARE_ADDRESS_SPACE)
    cap(resource.RLIMIT_FSIZE, _FILE_BYTES)
    cap(resource.RLIMIT_CORE, 0)
    cap(resource.RLIMIT_NOFILE, 256)
    if namespaces:  # elsewhere everything that the user runs would count
        cap(resource.RLIMIT_NPROC, _PROCESSES)
    version = landlock(read=[Path(path) for path in setup["readable"]], write=[folder, *_log(setup)])
    no_privileges()
    sockets = no_unix_sockets()
    os.chdir(folder)
    os.environ["TMPDIR"] = str(folder)

    from strongroom import airgap

    airgap.prepare_environment()
    airgap.enforce(log=setup["egress_log"])
    return Layers(namespaces, version, sockets)


def _log(setup: dict[str, Any]) -> list[Path]:
    return [setup["egress_log"]] if setup["egress_log"] is not None else []


def _limit_cpu(seconds: float) -> None:
    """Allow this much more processor time from now on; the kernel ends the process after that."""
    used = time.process_time()
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = int(used + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def _empty(folder: Path) -> None:
    """Leave nothing of one document to the next."""
    os.chdir(folder)
    for entry in list(folder.iterdir()):
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)


# ------------------------------------------------------------------------------------------------ pipes


def _take_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Keep the two pipes to ourselves; libraries see /dev/null."""
    requests, results = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)
    sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115 - stays open for good
    return requests, results


def _receive(requests: BinaryIO) -> bytes:
    size = requests.read(8)
    if len(size) < 8:
        raise EOFError
    (length,) = struct.unpack("<Q", size)
    data = requests.read(length)
    if len(data) < length:
        raise EOFError
    return data


def _send(results: BinaryIO, kind: int, payload: bytes) -> None:
    results.write(wire.frame(kind, payload))
    results.flush()


def _refuse(results: BinaryIO, kind: str, message: str, hint: str) -> None:
    _send(results, wire.REFUSED, json.dumps({"kind": kind, "message": message, "hint": hint}).encode())
