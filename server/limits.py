"""How often one may ask: a token bucket for each address and for each person, and a line for answers.

Uploads count for neither: a job takes a file only when it has room for one. This machine's own address and those of
configured proxies have no bucket, because they speak for many people; their limit is the person's.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

from starlette.types import ASGIApp, Receive, Scope, Send

from server.errors import TooManyRequestsError, error_response
from server.guard import HEADERS

_MOST_BUCKETS = 10_000  # of the fullest, those least lately used are forgotten: they would be full again anyway
_LINE_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Rate:
    """Requests a second in the long run, and how many may come at once."""

    per_second: float
    burst: int


class Buckets:
    """Token buckets by key. Used on one event loop, without a lock."""

    def __init__(self, rate: Rate, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()  # key: (tokens, at)

    def wait(self, key: str) -> float:
        """Take a token: 0 when there was one, else the seconds until there is."""
        now = self._clock()
        tokens, at = self._levels.get(key, (float(self._rate.burst), now))
        tokens = min(float(self._rate.burst), tokens + (now - at) * self._rate.per_second)
        taken = tokens >= 1
        self._levels[key] = (tokens - 1 if taken else tokens, now)
        self._levels.move_to_end(key)
        if len(self._levels) > _MOST_BUCKETS:
            self._levels.popitem(last=False)
        return 0.0 if taken else (1 - tokens) / self._rate.per_second


class Throttle:
    """ASGI middleware: 429 with `Retry-After` for whoever asks too often. `key` says whose bucket, `None` nobody's."""

    def __init__(self, app: ASGIApp, *, rate: Rate, key: Callable[[Scope], str | None]) -> None:
        self.app = app
        self._buckets = Buckets(rate)
        self._key = key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key = self._key(scope) if scope["type"] == "http" else None
        seconds = 0.0 if key is None else self._buckets.wait(key)
        if seconds:
            refusal = error_response(TooManyRequestsError(math.ceil(seconds)))
            for name, value in HEADERS.items():
                refusal.headers.setdefault(name, value)
            await refusal(scope, receive, send)
        else:
            await self.app(scope, receive, send)


def is_upload(scope: Scope) -> bool:
    """One file of a job, which the job itself holds back."""
    return bool(scope["method"] == "PUT" and scope["path"].startswith("/api/ingest/jobs/"))


def by_address(many: frozenset[str]) -> Callable[[Scope], str | None]:
    """Whose bucket a request's address is: nobody's for those that speak for many people, and for uploads."""

    def address_of(scope: Scope) -> str | None:
        host = (scope.get("client") or ("",))[0]
        return None if host in many or is_upload(scope) else host

    return address_of


class Line:
    """Who waits for an answer: so many at a time, people in turn, one person's questions in their order.

    Used on one event loop, without a lock.
    """

    def __init__(self, places: int, *, longest_each: int) -> None:
        self._free = places
        self._longest_each = longest_each
        self._turns: OrderedDict[str, deque[Ticket]] = OrderedDict()

    def refuse_when_long(self, person: str) -> None:
        """Raise `TooManyRequestsError` when as many questions of this person wait as may."""
        if len(self._turns.get(person, ())) >= self._longest_each:
            raise TooManyRequestsError(_LINE_SECONDS)

    def enter(self, person: str) -> Ticket:
        """Take a place in line. Its `called` is set, now or later, and `leave` must follow."""
        ticket = Ticket(self, person)
        self._turns.setdefault(person, deque()).append(ticket)
        self._call()
        return ticket

    def ahead_of(self, ticket: Ticket) -> int:
        """How many of those who wait come before this one; 0 is next."""
        mine = self._turns[ticket.person].index(ticket)
        people = list(self._turns)
        before = people.index(ticket.person)
        # Everybody's turn comes once in a round: those before it in this round, and each whole round until then.
        return mine + sum(min(len(self._turns[p]), mine + (n < before)) for n, p in enumerate(people) if n != before)

    def leave(self, ticket: Ticket) -> None:
        """Give the place up, whether it was called or not. Idempotent."""
        if ticket.left:
            return
        ticket.left = True
        if ticket.called:
            self._free += 1
        else:
            self._turns[ticket.person].remove(ticket)
            if not self._turns[ticket.person]:
                del self._turns[ticket.person]
        self._call()

    def _call(self) -> None:
        while self._free and self._turns:
            person, tickets = self._turns.popitem(last=False)
            ticket = tickets.popleft()
            if tickets:
                self._turns[person] = tickets  # to the end: the others' turn comes first
            self._free -= 1
            ticket.call()


class Ticket:
    """One place in line."""

    def __init__(self, line: Line, person: str) -> None:
        self.person = person
        self.called = False
        self.left = False
        self._line = line
        self._on_call: Callable[[], object] = lambda: None

    def when_called(self, run: Callable[[], object]) -> None:
        """Run this when the turn comes; at once when it has come."""
        if self.called:
            run()
        else:
            self._on_call = run

    def call(self) -> None:
        """It is this one's turn."""
        self.called = True
        self._on_call()

    @property
    def ahead(self) -> int:
        """How many wait before this one."""
        return 0 if self.called or self.left else self._line.ahead_of(self)
