"""Many people at once: search, ask, upload and page views over HTTP, with every answer checked for whose it is.

    python -m benchmarks.load [DOCUMENTS] [--people 50] [--seconds 600] [--kill-every 120]

Starts the product as a user starts it (`strongroom up`) on a fresh data directory, ingests DOCUMENTS (the samples by
default), measures searches one at a time, then lets `--people` act at once, each with pauses like a person's (5 s on
average). With `--kill-every`, the server is killed (SIGKILL) and started again in between, and at the end every
document whose upload was acknowledged must be there and be found.

Each person has an account and a token of their own, reads DOCUMENTS through a group, and has a collection and words of
their own besides. Any reply, search, answer, list or page, that shows another's document is cross-talk, and so is one
that carries another request's id.
Needs the default models. Everything stays on loopback. The report is JSON on stdout; the exit status is 1 when there
was an error, cross-talk, a lost upload, or a search ten times slower (p95) than on the idle server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from strongroom.client.server_info import ServerInfo, read_server_info
from strongroom.wire import parse_sse

ROOT = Path(__file__).resolve().parent.parent
QUESTIONS = (
    "How long are vessel traffic recordings kept?",
    "What is the notice period for termination?",
    "Who approves the budget of the crane?",
    "By when must claims for damaged gear be made?",
    "Which berths have shore power?",
)
EVERYBODY = "everybody"
MIX = (("search", 50), ("page", 30), ("ask", 12), ("upload", 8))


class Server:
    """The product on a data directory; killed and started again as often as wanted."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.up = asyncio.Event()
        self.log = (data_dir.parent / "server.log").open("ab")
        self.info: ServerInfo | None = None
        self.starts: list[float] = []
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start and wait until it is ready to answer."""
        started = time.monotonic()
        command = [sys.executable, "-m", "strongroom", "up", "--no-ui", "--port", "0", "--data-dir", str(self.data_dir)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=self.log, stderr=self.log)
        while True:
            if self._process.poll() is not None:
                raise SystemExit(f"the server ended: see {self.log.name}")
            info = read_server_info(self.data_dir)
            if info is not None and info.pid == self._process.pid:
                self.info = info
                break
            await asyncio.sleep(0.05)
        self.starts.append(round(time.monotonic() - started, 2))
        self.up.set()

    def kill(self) -> None:
        """SIGKILL, in the middle of whatever it does."""
        assert self._process is not None
        self.up.clear()
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(60)

    def memory_mib(self) -> int:
        """Resident memory now, without its parser processes."""
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) >> 10


@dataclass(slots=True)
class Record:
    """What happened, over all people."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    crossed: list[str] = field(default_factory=list)
    kept: dict[str, tuple[str, str]] = field(default_factory=dict)  # acknowledged: document id -> (collection, word)
    places: list[int] = field(default_factory=list)
    cut_off: int = 0

    def took(self, kind: str, seconds: float) -> None:
        self.seconds.setdefault(kind, []).append(seconds)


class Person:
    """Somebody at work. What they upload holds a word that nobody else's documents hold."""

    def __init__(self, number: int, server: Server, record: Record, *, seed: int, pause: float) -> None:
        self.token = ""
        self.name = f"person-{number:03d}"
        self._server = server
        self._record = record
        self._random = random.Random(seed * 1000 + number)
        self._own: set[str] = set()
        self._seen: list[str] = []
        self._pause = pause
        self._made = 0

    async def enrol(self, owner: httpx.AsyncClient) -> None:
        """Get an account, a token, and what everybody may read."""
        _json(await owner.post("/api/users", json={"name": self.name, "role": "editor"}))
        (await owner.put(f"/api/groups/{EVERYBODY}/members/{self.name}")).raise_for_status()
        wanted = {"name": "load", "scopes": ["read", "ask", "ingest"], "days": 1}
        self.token = _json(await owner.post("/api/tokens", params={"user": self.name}, json=wanted))["secret"]

    async def work(self, until: float) -> None:
        await asyncio.sleep(self._random.uniform(0, self._pause))
        client: httpx.AsyncClient | None = None
        at = ""
        while time.monotonic() < until:
            await self._server.up.wait()
            info = self._server.info
            assert info is not None
            if client is None or at != info.url:
                if client is not None:
                    await client.aclose()
                at = info.url
                headers = {"Authorization": f"Bearer {self.token}"}
                client = httpx.AsyncClient(base_url=at, headers=headers, trust_env=False, timeout=120)
            kind = "upload" if not self._own else self._random.choices(*zip(*MIX, strict=True))[0]
            started = time.monotonic()
            try:
                await getattr(self, f"_{kind}")(client, info)
                self._record.took(kind, time.monotonic() - started)
                self._record.counts[kind] += 1
            except (httpx.TransportError, _BrokenOffError) as exc:
                if self._server.up.is_set() and self._server.info is info:
                    self._record.errors[f"{kind}: {type(exc).__name__} {exc}"] += 1
                else:
                    self._record.cut_off += 1
            except _WrongError as exc:
                self._record.errors[f"{kind}: {exc}"] += 1
            await asyncio.sleep(self._random.expovariate(1 / self._pause))
        if client is not None:
            await client.aclose()

    async def _search(self, client: httpx.AsyncClient, _info: ServerInfo) -> None:
        own = self._random.random() < 0.5
        body = {"question": f"What does {self.name} say?" if own else self._random.choice(QUESTIONS), "k": 8}
        if own:
            body["collection"] = self.name
        body["id"] = f"{self.name}-{self._random.random()}"
        reply = _json(await client.post("/api/search", json=body))
        found = [h["document"]["id"] for h in reply["hits"]]
        self._check(found, body["id"], reply["id"])
        if not own and not found:
            raise _WrongError("a question that the shared documents answer found nothing")
        self._seen = found or self._seen

    async def _ask(self, client: httpx.AsyncClient, _info: ServerInfo) -> None:
        own = self._random.random() < 0.5
        body = {"question": f"What did {self.name} count?" if own else self._random.choice(QUESTIONS)}
        if own:
            body["collection"] = self.name
        body["id"] = f"{self.name}-{self._random.random()}"
        answer = None
        async with client.stream("POST", "/api/ask", json=body) as response:
            if response.status_code != 200:
                raise _WrongError(f"HTTP {response.status_code}")
            text = (await response.aread()).decode()
        for kind, data in parse_sse(text.split("\n")):
            if kind == "stage" and (stage := json.loads(data))["stage"] == "waiting":
                self._record.places.append(int(stage["detail"].split()[0]))
            elif kind == "error":
                raise _WrongError(f"answered with an error: {json.loads(data)['message']}")
            elif kind == "answer":
                answer = json.loads(data)["answer"]
        if answer is None:
            raise _BrokenOffError("the answer broke off")
        self._check([c["document"]["id"] for c in answer["citations"]], body["id"], answer["id"])

    async def _page(self, client: httpx.AsyncClient, _info: ServerInfo) -> None:
        listed = [d["id"] for d in _json(await client.get("/api/documents"))]
        self._check(listed, "", "")
        if self._own - set(listed):
            raise _WrongError("a document of one's own is not in the list")
        shown = self._random.choice([*self._seen, *self._own])
        page = _json(await client.get(f"/api/documents/{shown}/pages/0"))
        if page["page"]["width"]:
            image = await client.get(f"/api/documents/{shown}/pages/0/image.png", params={"dpi": 72})
            if image.status_code != 200 or not image.content.startswith(b"\x89PNG"):
                raise _WrongError(f"page image: HTTP {image.status_code}")

    async def _upload(self, client: httpx.AsyncClient, _info: ServerInfo) -> None:
        self._made += 1
        word = f"{self.name} counted {self._random.randrange(10**9)} ropes"
        body = f"Report {self._made} of {self.name}.\n\n{word} on the quay.\n\n{' '.join(QUESTIONS)}\n".encode()
        name = f"{self.name}-{self._made}.txt"
        job = _json(await client.post("/api/ingest/jobs", json={"collection": self.name}))["id"]
        headers = {"X-Strongroom-Uri": quote(f"browser:{name}", safe=""), "X-Strongroom-Name": name}
        sent = await client.put(f"/api/ingest/jobs/{job}/files", headers=headers, content=body)
        if sent.status_code != 202:
            raise _WrongError(f"file refused: HTTP {sent.status_code}")
        await client.post(f"/api/ingest/jobs/{job}/close")
        ended = False
        async with client.stream("GET", f"/api/ingest/jobs/{job}/events") as response:
            async for line in response.aiter_lines():
                event = json.loads(line)
                if "outcome" in event:
                    if event["outcome"]["outcome"] != "indexed":
                        raise _WrongError(f"upload was {event['outcome']['outcome']}: {event['outcome']['reason']}")
                    document = event["outcome"]["document_id"]
                    self._own.add(document)
                    self._record.kept[document] = (self.name, word)  # from here on it must never be lost
                elif "error" in event:
                    raise _WrongError(f"ingest ended with: {event['error']['message']}")
                elif "progress" in event and event["progress"]["stage"].startswith("waiting"):
                    self._record.places.append(int(event["progress"]["stage"].split()[1]))
                ended = ended or "summary" in event
        if not ended:
            raise _BrokenOffError("the events broke off")

    def _check(self, documents: list[str], sent: str, replied: str) -> None:
        if sent != replied:
            self._record.crossed.append(f"{self.name} sent {sent} and was answered {replied}")
        kept = self._record.kept
        others = [d for d in documents if d in kept and kept[d][0] != self.name]
        self._record.crossed += [f"{self.name} was shown {kept[d][0]}'s {d}" for d in others]


class _WrongError(Exception):
    """A reply that is not what was asked for."""


class _BrokenOffError(Exception):
    """A stream that ended before its end."""


def _json(response: httpx.Response) -> Any:
    if response.status_code != 200:
        raise _WrongError(f"HTTP {response.status_code} at {response.request.url.path.split('/')[2]}")
    return response.json()


def owner_of(server: Server) -> httpx.AsyncClient:
    """The server as the owner of its data directory reaches it."""
    assert server.info is not None
    headers = {"Authorization": f"Bearer {server.info.token}"}
    return httpx.AsyncClient(base_url=server.info.url, headers=headers, trust_env=False, timeout=60)


async def idle_searches(server: Server, count: int) -> list[float]:
    """Searches one at a time on the idle server, in seconds."""
    taken = []
    async with owner_of(server) as client:
        for n in range(count + 10):
            started = time.perf_counter()
            _json(await client.post("/api/search", json={"question": QUESTIONS[n % len(QUESTIONS)], "k": 8}))
            taken.append(time.perf_counter() - started)
    return taken[10:]


async def lost(server: Server, record: Record, people: list[Person]) -> list[str]:
    """Acknowledged uploads that their person does not find any more, or whose words are not in them."""
    tokens, missing = {person.name: person.token for person in people}, []
    async with owner_of(server) as client:
        for document, (name, word) in record.kept.items():
            headers = {"Authorization": f"Bearer {tokens[name]}"}
            response = await client.get(f"/api/documents/{document}/pages/0", headers=headers)
            if response.status_code != 200 or word not in response.json()["page"]["text"]:
                missing.append(f"{document} of {name}: HTTP {response.status_code}")
        verified = _json(await client.post("/api/verify"))
    return missing + [f"verify: {p}" for p in verified["problems"]]


async def run(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The whole measurement; returns the report."""
    server, record = Server(folder / "data"), Record()
    ingest = [sys.executable, "-m", "strongroom", "ingest", str(args.documents), "--group", EVERYBODY]
    ingest += ["--data-dir", str(server.data_dir)]
    subprocess.run(ingest, cwd=ROOT, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    await server.start()
    try:
        idle = await idle_searches(server, args.idle_searches)
        note(f"idle: search p95 {percentile(idle, 95) * 1000:.1f} ms; {args.people} people for {args.seconds} s")
        everybody = [Person(n, server, record, seed=args.seed, pause=args.pause) for n in range(args.people)]
        async with owner_of(server) as owner:
            for person in everybody:
                await person.enrol(owner)
        until = time.monotonic() + args.seconds
        people = [asyncio.create_task(person.work(until)) for person in everybody]
        kills, memory, kept = 0, 0, 0
        while time.monotonic() < until:
            await asyncio.sleep(min(args.kill_every or 5.0, max(0.1, until - time.monotonic())))
            if args.kill_every and len(record.kept) > kept and time.monotonic() < until:
                kept = len(record.kept)
                server.kill()
                kills += 1
                await server.start()
            memory = max(memory, server.memory_mib())
            note(f"{sum(record.counts.values())} done, {kills} kills, errors: {dict(record.errors)}")
        await asyncio.gather(*people)
        missing = await lost(server, record, everybody)
    finally:
        server.stop()
    searching = record.seconds.get("search", [])
    ratio = percentile(searching, 95) / percentile(idle, 95) if searching else 0.0
    return {
        "people": args.people,
        "seconds": args.seconds,
        "cpus": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "idle_search_ms": spread(idle),
        "ms": {kind: spread(taken) for kind, taken in sorted(record.seconds.items())},
        "search_p95_ratio": round(ratio, 1),
        "done": dict(record.counts),
        "errors": dict(record.errors),
        "cross_talk": record.crossed,
        "told_their_place": len(record.places),
        "longest_line": max(record.places, default=0),
        "kills": kills,
        "start_seconds": server.starts,
        "cut_off_by_kills": record.cut_off,
        "uploads_acknowledged": len(record.kept),
        "lost": missing,
        "memory_mib": memory,
    }


def percentile(values: list[float], percent: int) -> float:
    """Nearest-rank percentile."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


def spread(values: list[float]) -> dict[str, float]:
    """Count, median, p95 and the longest, in milliseconds."""
    return {
        "n": len(values),
        "p50": round(statistics.median(values) * 1000, 1),
        "p95": round(percentile(values, 95) * 1000, 1),
        "max": round(max(values) * 1000, 1),
    }


def note(text: str) -> None:
    """Progress on stderr."""
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """Parse arguments, run, print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("documents", nargs="?", type=Path, default=ROOT / "samples" / "documents")
    parser.add_argument("--people", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--kill-every", type=float, default=0, metavar="SECONDS")
    parser.add_argument("--pause", type=float, default=5.0, metavar="SECONDS")
    parser.add_argument("--idle-searches", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--most", type=float, default=10.0, help="times that a search's p95 may grow; 0: any")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="strongroom-load-") as folder:
        report = asyncio.run(run(args, Path(folder)))
    print(json.dumps(report, indent=2))
    slow = args.most and report["search_p95_ratio"] > args.most
    return int(bool(report["errors"] or report["cross_talk"] or report["lost"] or slow))


if __name__ == "__main__":
    sys.exit(main())
