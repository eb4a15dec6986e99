"""Ingest on a Ray cluster: the same parsing, in the same sandboxed children, on other machines; embedding beside it.

The only module that imports Ray. Workers parse and embed; they hold no keys, open no catalogue and write nothing: the
owner of the data directory does that, as in any other run, so a worker that dies costs time and nothing else. Whoever
reaches Ray's ports can run code on every machine of the cluster, this one included; see
docs/how-to/ingest-on-several-machines.md and docs/adr/0011-ray-cluster.md.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import os
import signal
import socket
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ingest import wire
from ingest.chunk import MAX_TOKENS, OVERLAP_TOKENS
from ingest.limits import Limits
from ingest.members import forget
from ingest.parse.formats import format_of
from ingest.sandbox import ParserPool
from strongroom import airgap
from strongroom.errors import (
    CancelledError,
    ConfigError,
    ModelError,
    ParseError,
    QuarantineError,
    StrongroomError,
    UsageError,
)
from strongroom.types import Chunk, OcrMode, ParsedDocument

if TYPE_CHECKING:
    from strongroom.ports import Embedder, SpeechModel, Tokenizer, Vector, Vectors

log = logging.getLogger(__name__)

Parsed = tuple[ParsedDocument, list[Chunk]]

_LOOPBACK = "127.0.0.1"
_CONNECT_SECONDS = 10.0
_SHARD = 64  # texts that one call of an actor embeds: enough for full batches, few enough to spread evenly
_IN_FLIGHT = 2  # calls waiting at each actor, so that none is idle while its next texts travel
_SELDOM = frozenset({"application/pdf"})  # hold other documents now and then: workers read them until one does
_RETRIES = 5  # workers that one document may lose before it is given up
_OBJECT_STORE = 512 << 20  # of the cluster that is started here when no address is given
_HINT = "Run `ray status` on a machine of the cluster, then run the same ingest again: finished files are not repeated."
_KINDS: dict[str, type[StrongroomError]] = {
    "quarantine": QuarantineError,
    "parse": ParseError,
    "model": ModelError,
}


class WorkerModels(Protocol):
    """How a worker opens the models it needs: picklable, and opens nothing before it is asked."""

    def embedder(self, *, gpu: bool) -> Embedder: ...

    def tokenizer(self) -> Tokenizer: ...

    def speech(self) -> SpeechModel: ...


@dataclass(frozen=True, slots=True)
class ParseSetup:
    """What a worker must know to parse as the owner would."""

    models: WorkerModels
    limits: Limits
    chunk_tokens: int = MAX_TOKENS
    overlap_tokens: int = OVERLAP_TOKENS
    ocr: OcrMode = "auto"
    personal: bool = False


# ------------------------------------------------------------------------------------------------ on the workers

_pools: dict[ParseSetup, ParserPool] = {}  # of this Ray worker process, so that children are reused across files


def parse_bytes(setup: ParseSetup, name: str, mime: str, content: bytes) -> tuple[int, bytes]:
    """Parse one file in this machine's sandbox: a RESULT or REFUSED frame, as `ingest.wire` defines them.

    An empty MEMBER frame says that it holds other documents, which the owner's own parsers must take out of it.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="strongroom-ray-") as folder:
            path = Path(folder, f"document{Path(name).suffix[:12]}")
            path.write_bytes(content)
            document, chunks = _pool(setup).submit(path, mime).result()
        if document.members:
            forget(document.members)
            return wire.MEMBER, b""
        return wire.RESULT, wire.encode_result(document, chunks)
    except StrongroomError as exc:
        kind = next((kind for kind, error in _KINDS.items() if isinstance(exc, error)), "worker")
        return wire.REFUSED, json.dumps({"kind": kind, "message": str(exc), "hint": exc.hint}).encode()


def _pool(setup: ParseSetup) -> ParserPool:
    if setup not in _pools:
        for old in _pools.values():
            old.close()
        _pools.clear()
        _pools[setup] = ParserPool(
            1,
            tokenizer=setup.models.tokenizer(),
            speech=setup.models.speech(),
            limits=setup.limits,
            chunk_tokens=setup.chunk_tokens,
            overlap_tokens=setup.overlap_tokens,
            ocr=setup.ocr,
            personal=setup.personal,
        )
        atexit.register(_pools[setup].close)
    return _pools[setup]


class EmbedWorker:
    """One machine's embedder. Refuses to start with other weights than the owner's."""

    def __init__(self, models: WorkerModels, fingerprint: str, *, gpu: bool) -> None:
        self._models, self._fingerprint, self._gpu = models, fingerprint, gpu
        self._embedder: Embedder | None = None

    def embed(self, texts: list[str]) -> Vectors:
        """Unit vectors of `texts`; none open the model only. Raises `ModelError`."""
        if self._embedder is None:  # here and not at the start: what goes wrong reaches the owner as it is
            opened = self._models.embedder(gpu=self._gpu)
            if opened.fingerprint != self._fingerprint:
                raise ModelError(
                    f"{opened.name} on a worker has other weights than here",
                    hint="Install the same version on every machine of the cluster: `strongroom models pull`.",
                )
            self._embedder = opened
        return self._embedder.embed_documents(texts)


# ------------------------------------------------------------------------------------------------ on the owner


class Cluster:
    """A connection to a Ray cluster, or a small one of this machine's own. One per process; `close` ends it."""

    def __init__(self, address: str | None = None) -> None:
        """Connect, or start. Raises `ConfigError` (Ray missing, address not allowed) or `StrongroomError`."""
        airgap.prepare_environment()  # usage statistics are off before Ray is imported
        host, port = _host_and_port(address)
        if host == _LOOPBACK:
            # Ray's name for "stay on loopback": else it looks for this machine's address by way of the internet.
            os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        _check_reachable(host, port)
        try:
            import ray
        except ImportError as exc:
            raise ConfigError("Ray is not installed", hint="Install it: pip install 'strongroom[cluster]'.") from exc
        self._ray = ray
        self._actors: list[Any] = []
        own = {"object_store_memory": _OBJECT_STORE} if port is None else {"address": f"{host}:{port}"}
        with _mapped("no Ray cluster could be reached"), _signals_kept():
            ray.init(include_dashboard=False, configure_logging=False, log_to_driver=False, **own)
            self.cpus = int(ray.cluster_resources().get("CPU", 0))
            self.gpus = int(ray.cluster_resources().get("GPU", 0))
        if self.cpus < 1:
            self.close()
            raise StrongroomError("the Ray cluster has no processors to give", hint=_HINT)

    @property
    def nodes(self) -> list[str]:
        """Ids of the machines that are alive and may be given work."""
        return [node["NodeID"] for node in self._ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]

    @property
    def node(self) -> str:
        """Id of the node that this process is joined to: the one machine of the cluster whose death ends the run."""
        return str(self._ray.get_runtime_context().get_node_id())

    @property
    def embedders(self) -> int:
        """How many embedders work at once."""
        return len(self._actors)

    def pool(
        self, setup: ParseSetup, workers: int | None = None, *, here: Callable[[], ParserPool] | None = None
    ) -> RayParserPool:
        """Parsers on the machines of the cluster: one for each processor, or as many as `workers` says."""
        return RayParserPool(self._ray, setup, workers=min(workers or self.cpus, self.cpus), here=here)

    def embedder(self, local: Embedder, models: WorkerModels) -> RayEmbedder:
        """An embedder whose bulk work is done by one actor a machine, or one a GPU. Questions are embedded here.

        Raises `ModelError` when a machine lacks the model or has another version of it.
        """
        if not self._actors:
            self._actors = list(self._start_actors(local, models))
            with _mapped("an embedder could not start on the cluster"):
                self._ray.get([actor.embed.remote([]) for actor in self._actors])
        return RayEmbedder(self._ray, local, self._actors)

    def _start_actors(self, local: Embedder, models: WorkerModels) -> Iterator[Any]:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        forever = {"max_restarts": -1, "max_task_retries": -1}
        remote = self._ray.remote(EmbedWorker)
        if self.gpus:
            for _ in range(self.gpus):
                yield remote.options(num_gpus=1, num_cpus=0, **forever).remote(models, local.fingerprint, gpu=True)
            return
        for node in self.nodes:
            # No processor is reserved: parsers and embedder share a machine's cores, as they do without a cluster.
            # Something must be, or Ray puts the actor where it likes: a little memory.
            strategy = NodeAffinitySchedulingStrategy(node, soft=True)
            yield remote.options(num_cpus=0, memory=1 << 20, scheduling_strategy=strategy, **forever).remote(
                models, local.fingerprint, gpu=False
            )

    def close(self) -> None:
        """Leave the cluster. What runs there for this process ends with the connection. Safe to call twice."""
        self._actors = []
        self._ray.shutdown()


class RayParserPool:
    """Parser processes on the cluster, behind the same two methods as `ingest.sandbox.ParserPool`.

    A document travels to whichever machine is free. When that machine dies, Ray runs the same call elsewhere.
    """

    def __init__(
        self, ray: Any, setup: ParseSetup, *, workers: int, here: Callable[[], ParserPool] | None = None
    ) -> None:
        """`here` makes the owner's own parsers, which open what holds other documents: members do not travel."""
        self.workers = workers
        self._make_here = here
        self._here: ParserPool | None = None
        self._ray = ray
        self._parse = ray.remote(parse_bytes).options(num_cpus=1, max_retries=_RETRIES, scheduling_strategy="SPREAD")
        self._setup = ray.put(setup)
        self._lock = threading.Lock()
        self._closed = False
        self._running: dict[Future[Parsed], Any] = {}

    def submit(self, path: Path, mime: str) -> Future[Parsed]:
        """Parse and chunk a file. The future raises what the sandbox would, or `StrongroomError` for the cluster's."""
        if mime not in _SELDOM and "sink" in format_of(mime).takes and (here := self._own()) is not None:
            return here.submit(path, mime)
        content = Path(path).read_bytes()
        future: Future[Parsed] = Future()
        with self._lock:
            if self._closed:
                raise UsageError("the parser pool is closed", hint="open a new one")
            with _mapped("the cluster took no more work"):
                reference = self._parse.remote(self._setup, Path(path).name, mime, content)
            self._running[future] = reference
        reference.future().add_done_callback(lambda done: self._settle(future, done, Path(path), mime))
        return future

    def _own(self) -> ParserPool | None:
        """The owner's parsers, opened when the first file needs them."""
        with self._lock:
            if self._closed:
                raise UsageError("the parser pool is closed", hint="open a new one")
            if self._here is None and self._make_here is not None:
                self._here = self._make_here()
            return self._here

    def unlock_with(self, passwords: Sequence[str]) -> None:
        """Raises `UsageError`: passwords stay on the machine that they were given to."""
        raise UsageError("passwords are not sent to a cluster", hint="Ingest the locked files without --engine ray.")

    def close(self) -> None:
        """Cancel what is waiting or running. Safe to call twice."""
        if self._here is not None:
            self._here.close()
        with self._lock:
            if self._closed:
                return
            self._closed = True
            running, self._running = self._running, {}
        for future, reference in running.items():
            with contextlib.suppress(Exception):  # it may have ended, or the cluster may be gone
                self._ray.cancel(reference, force=True)
            if not future.done():
                future.set_exception(CancelledError("the ingest was stopped"))

    def _settle(self, future: Future[Parsed], done: Future[Any], path: Path, mime: str) -> None:
        with self._lock:
            if self._running.pop(future, None) is None:
                return  # closed meanwhile: it has its outcome
        try:
            with _mapped("the machines that read it were lost"):
                kind, payload = done.result()
            if kind == wire.MEMBER and (here := self._own()) is not None:
                here.submit(path, mime).add_done_callback(lambda own: _pass_on(own, future))
            else:
                future.set_result(_outcome(kind, payload))
        except Exception as exc:  # noqa: BLE001 - every outcome of a file goes to whoever waits for it
            future.set_exception(exc)


class RayEmbedder:
    """The owner's embedder with its bulk work spread over actors. Safe for threads; each call waits for its own."""

    def __init__(self, ray: Any, local: Embedder, actors: Sequence[Any]) -> None:
        self._ray = ray
        self._local = local
        self._actors = actors

    @property
    def name(self) -> str:
        return self._local.name

    @property
    def dimension(self) -> int:
        return self._local.dimension

    @property
    def max_tokens(self) -> int:
        return self._local.max_tokens

    @property
    def fingerprint(self) -> str:
        return self._local.fingerprint

    @property
    def tokenizer(self) -> Tokenizer:
        return self._local.tokenizer

    def embed_query(self, text: str) -> Vector:
        return self._local.embed_query(text)

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, shape `(len(texts), dimension)`: long texts first, each shard to whichever actor is free."""
        out = np.zeros((len(texts), self.dimension), dtype=np.float32)
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        shards = deque(order[at : at + _SHARD] for at in range(0, len(order), _SHARD))
        running: dict[Any, tuple[list[int], Any]] = {}
        free = deque(actor for _ in range(_IN_FLIGHT) for actor in self._actors)
        with _mapped("the cluster's embedders were lost", ModelError):  # ends the run: no document is at fault
            while shards or running:
                while shards and free:
                    rows, actor = shards.popleft(), free.popleft()
                    running[actor.embed.remote([texts[i] for i in rows])] = (rows, actor)
                done, _ = self._ray.wait(list(running), num_returns=1)
                for reference in done:
                    rows, actor = running.pop(reference)
                    out[rows] = self._ray.get(reference)
                    free.append(actor)
        return out


def _pass_on(done: Future[Parsed], future: Future[Parsed]) -> None:
    """Let one future end as another did."""
    if done.cancelled():
        future.set_exception(CancelledError("the ingest was stopped"))
    elif (error := done.exception()) is not None:
        future.set_exception(error)
    else:
        future.set_result(done.result())


def _outcome(kind: int, payload: bytes) -> Parsed:
    """A worker's frame as the result or the error it stands for. A worker is checked like a parser child."""
    if kind == wire.RESULT:
        try:
            return wire.decode_result(payload)
        except wire.WireError as exc:
            raise QuarantineError(
                f"the parser returned nonsense: {exc}", hint="check where the file comes from"
            ) from exc
    reason = json.loads(payload)
    error = _KINDS.get(str(reason["kind"]), StrongroomError)
    raise error(str(reason["message"])[:1000], hint=str(reason["hint"])[:1000])


@contextmanager
def _mapped(what: str, error: type[StrongroomError] = StrongroomError) -> Iterator[None]:
    """Map what Ray raises to `error`; a `ModelError` that a worker raised comes out as itself."""
    from ray.exceptions import RayError

    try:
        yield
    except RayError as exc:
        cause = getattr(exc, "cause", None)
        if isinstance(cause, ModelError):
            raise ModelError(str(cause), hint=cause.hint) from exc
        raise error(f"{what} ({type(exc).__name__})", hint=_HINT) from exc
    except (ConnectionError, RuntimeError, ValueError) as exc:
        raise error(f"{what} ({type(exc).__name__}: {str(exc)[:200]})", hint=_HINT) from exc


def _host_and_port(address: str | None) -> tuple[str, int | None]:
    """Where the cluster is; no port when one is to be started here. Raises `ConfigError`."""
    if address is None:
        return _LOOPBACK, None
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdigit():
        raise ConfigError(
            f"{address!r} is no address of a Ray cluster", hint="Give HOST:PORT, as `ray start` shows it."
        )
    if not airgap.is_allowed(host):
        raise ConfigError(
            f"the Ray cluster at {address} is not on the allow-list",
            hint=f"Add {host} to `allowed_hosts` if it is a machine of your own; documents travel to it.",
        )
    return (_LOOPBACK if host in ("localhost", "::1") else host), int(port)


def _check_reachable(host: str, port: int | None) -> None:
    """Find out at once: Ray itself tries for minutes."""
    if port is None:
        return
    try:
        socket.create_connection((host, port), timeout=_CONNECT_SECONDS).close()
    except OSError as exc:
        raise StrongroomError(
            f"no Ray cluster answers at {host}:{port} ({exc})", hint="Start it: ray start --head."
        ) from exc


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray sets a handler of its own for SIGTERM; whoever runs us has one already."""
    kept = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, kept)
