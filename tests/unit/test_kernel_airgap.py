"""The socket guard refuses everything but loopback and the allow-list, and writes down what it refused."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from strongroom import airgap
from strongroom.errors import EgressBlockedError


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "::1", "[::1]", "::ffff:127.0.0.1", "", None]
)
def test_loopback_is_allowed(host: str | None) -> None:
    assert airgap.is_allowed(host)


@pytest.mark.parametrize(
    "host",
    [
        "example.org",
        "10.0.0.1",
        "192.168.1.1",
        "::ffff:10.0.0.1",
        "fe80::1%eth0",
        "0.0.0.0",
        "localhost.evil.org",
        "8.8.8.8",
    ],
)
def test_everything_else_is_refused(host: str) -> None:
    assert not airgap.is_allowed(host)


@pytest.mark.egress
def test_name_lookups_and_connections_are_refused_before_they_happen() -> None:
    before = airgap.attempts()
    with pytest.raises(EgressBlockedError):
        socket.getaddrinfo("example.org", 443)
    with pytest.raises(EgressBlockedError), socket.socket() as sock:
        sock.connect(("192.0.2.1", 80))
    with pytest.raises(EgressBlockedError), socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.sendto(b"x", ("192.0.2.1", 53))
    assert airgap.attempts() == before + 3


@pytest.mark.egress
def test_a_refused_attempt_is_written_to_the_log(tmp_path: Path) -> None:
    log = tmp_path / "egress.log"
    airgap.enforce(log=log)
    try:
        with pytest.raises(EgressBlockedError):
            socket.getaddrinfo("telemetry.example.org", 443)
    finally:
        airgap.enforce()
    entry = json.loads(log.read_text())
    assert "telemetry.example.org" in entry["host"]
    assert entry["pid"] == os.getpid()
    assert log.stat().st_mode & 0o077 == 0


def test_the_allow_list_admits_only_its_hosts() -> None:
    airgap.enforce(["qdrant.internal", "10.1.2.3"])
    try:
        assert airgap.is_allowed("QDRANT.internal")
        assert airgap.is_allowed("10.1.2.3")
        assert not airgap.is_allowed("10.1.2.4")
    finally:
        airgap.enforce()


def test_where_our_server_listens_is_this_machine_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    # GIVEN an address of documentation (RFC 5737), which no machine has, and a name
    airgap.enforce(listening=["203.0.113.77", "evil.example", ""])
    assert not airgap.is_allowed("203.0.113.77")
    assert not airgap.is_allowed("evil.example")
    # WHEN a socket can be bound to it THEN it is ours
    monkeypatch.setattr(airgap, "_is_own", lambda host: host == "203.0.113.77")
    airgap.enforce(listening=["203.0.113.77"])
    assert airgap.is_allowed("203.0.113.77")
    assert not airgap.is_allowed("203.0.113.78")


def test_switches_override_what_an_operator_left_in_the_environment() -> None:
    # GIVEN a stray setting that would turn reporting on, WHEN the command starts, THEN it is overridden
    code = (
        "from strongroom import airgap; airgap.prepare_environment();"
        "import os; print(os.environ['STREAMLIT_BROWSER_GATHER_USAGE_STATS'], os.environ['HF_HUB_OFFLINE'])"
    )
    env = {**os.environ, "STREAMLIT_BROWSER_GATHER_USAGE_STATS": "true", "HF_HUB_OFFLINE": "0"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["false", "1"]


def test_reporting_packages_cannot_be_imported() -> None:
    code = (
        "from strongroom import airgap; airgap.prepare_environment()\n"
        "for name in airgap.BLOCKED_IMPORTS:\n"
        "    try: __import__(name)\n"
        "    except ImportError: print('refused')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["refused"] * len(airgap.BLOCKED_IMPORTS)


@pytest.mark.egress
def test_a_name_on_the_allow_list_admits_the_addresses_it_stands_for(monkeypatch: pytest.MonkeyPatch) -> None:
    # GIVEN a name that stands for one address, as a library resolves it before it connects
    book = {"qdrant.internal": "10.1.2.3"}

    def look_up(host: str, *_: object, **__: object) -> list[object]:
        if host not in book:
            raise socket.gaierror("unknown")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (book[host], 0))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    airgap.enforce(["qdrant.internal", "down.internal"])
    try:
        # THEN that address passes and its neighbour does not
        assert airgap.is_allowed("10.1.2.3")
        assert airgap.is_allowed("::ffff:10.1.2.3")
        assert not airgap.is_allowed("10.1.2.4")
    finally:
        airgap.enforce()
    assert not airgap.is_allowed("10.1.2.3")
