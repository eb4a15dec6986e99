"""HTTP to a server with our token, our errors and our limits. The only place that knows httpx."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from strongroom.errors import IndexUnreachableError, StrongroomError, UsageError
from strongroom.wire import error_from

if TYPE_CHECKING:
    import httpx

_PATIENT_TRIES = 5
_LONGEST_PAUSE_S = 5.0


class ServerUnreachableError(StrongroomError):
    """Nothing answers at the server's address, or it went away in the middle."""

    exit_code = IndexUnreachableError.exit_code
    http_status = 502


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


def segment(value: str) -> str:
    """A value as one segment of a path."""
    return quote(value, safe="")
