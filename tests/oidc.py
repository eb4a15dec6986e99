"""Identity providers for tests: a real one in a process of its own, and one that answers whatever the test wants."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import httpx
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

from strongroom.listen import bind

PEOPLE = (
    {"sub": "s-anna", "preferred_username": "anna", "groups": ["Legal", "Admins"]},
    {"sub": "s-ben", "preferred_username": "ben", "groups": ["Legal"]},
    {"sub": "s-eve", "preferred_username": "local", "groups": []},
)


@contextmanager
def real_provider() -> Iterator[str]:
    """`oidc-provider-mock` as a process; yields its issuer."""
    sock = bind("127.0.0.1", 0)
    port = sock.getsockname()[1]
    sock.close()
    command = [sys.executable, "-m", "oidc_provider_mock", "--port", str(port), "--require-nonce", "true"]
    for person in PEOPLE:
        command += ["--user-claims", json.dumps(person)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    issuer, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 30
    try:
        while True:
            try:
                httpx.get(f"{issuer}/.well-known/openid-configuration", trust_env=False).raise_for_status()
                break
            except httpx.HTTPError:
                assert process.poll() is None, "the provider ended"
                assert time.monotonic() < deadline, "the provider did not start"
                time.sleep(0.1)
        yield issuer
    finally:
        process.terminate()
        process.wait(20)


@dataclass
class Forger:
    """A provider under the test's hand. `claims` replace those of the token, `None` leaves one out."""

    issuer: str = ""
    nonce: str = ""
    challenge: str = ""
    claims: dict[str, Any] = field(default_factory=dict)
    algorithm: str = "RS256"
    key: Any = field(default_factory=lambda: RSAKey.generate_key(2048, parameters={"kid": "one"}))
    published: Any = None
    facts: dict[str, Any] = field(default_factory=dict)
    verifier: str = ""

    def token(self) -> str:
        """An ID token as the test wants it."""
        now = int(time.time())
        made: dict[str, Any] = {
            "iss": self.issuer,
            "sub": "s-anna",
            "aud": "strongroom",
            "exp": now + 300,
            "iat": now,
            "nonce": self.nonce,
            "preferred_username": "anna",
            "groups": ["Legal"],
            **self.claims,
        }
        made = {name: value for name, value in made.items() if value is not None}
        if self.algorithm in ("none", "HS256"):  # what the library refuses to make
            parts = ".".join(_base64(json.dumps(p).encode()) for p in ({"alg": self.algorithm, "kid": "one"}, made))
            mac = hmac.new(self.key.as_pem(private=False), parts.encode(), hashlib.sha256).digest()
            return f"{parts}.{_base64(mac) if self.algorithm == 'HS256' else ''}"
        return jwt.encode({"alg": self.algorithm, "kid": "one"}, made, self.key, algorithms=[self.algorithm])


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@contextmanager
def forger() -> Iterator[Forger]:
    """A provider that checks PKCE and signs what the test says."""
    made = Forger()

    class Handler(BaseHTTPRequestHandler):
        def _send(self, body: dict[str, Any], status: int = 200) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self) -> None:
            if self.path == "/jwks":
                key = made.published or made.key
                self._send(KeySet([key]).as_dict(private=False))  # type: ignore[arg-type]
                return
            facts = {
                "issuer": made.issuer,
                "authorization_endpoint": f"{made.issuer}/authorize",
                "token_endpoint": f"{made.issuer}/token",
                "jwks_uri": f"{made.issuer}/jwks",
            }
            self._send({**facts, **made.facts})

        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            made.verifier = form.get("code_verifier", [""])[0]
            digest = hashlib.sha256(made.verifier.encode()).digest()
            if _base64(digest) != made.challenge:
                self._send({"error": "invalid_grant"}, 400)
                return
            self._send({"access_token": "x", "token_type": "Bearer", "id_token": made.token()})

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.issuer = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
