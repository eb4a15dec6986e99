"""Copies of the log for a file and for syslog: each entry once, in order, whatever the collector does."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from strongroom.audit.forward import FileTarget, Forwarder, SyslogTarget, syslog_message
from strongroom.errors import ConfigError

LINE = {
    "seq": 3,
    "at": "2026-11-25T13:00:00.123456+00:00",
    "actor": "ann",
    "action": "read",
    "subject": "d",
    "outcome": "refused",
    "detail": {"name": "Zoë"},
    "hash": "00",
}


class Source:
    """Entries to export, growing."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __call__(self, after: int) -> Generator[dict[str, Any]]:
        for seq in range(after + 1, self.count + 1):
            yield {**LINE, "seq": seq}


def eventually(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline, "did not happen"
        time.sleep(0.01)


def seqs(path: Path) -> list[int]:
    return [json.loads(line)["seq"] for line in path.read_text().splitlines()] if path.exists() else []


def test_the_file_gets_every_entry_once_over_restarts(tmp_path: Path) -> None:
    target, cursor = tmp_path / "siem.jsonl", tmp_path / "cursor"
    source = Source(3)
    first = Forwarder(source, [FileTarget(target)], cursor)
    eventually(lambda: seqs(target) == [1, 2, 3])
    source.count = 5
    first.notify()
    first.close()
    assert seqs(target) == [1, 2, 3, 4, 5]
    source.count = 6
    Forwarder(source, [FileTarget(target)], cursor).close()
    assert seqs(target) == [1, 2, 3, 4, 5, 6]


def test_a_message_is_rfc_5424() -> None:
    message = syslog_message(LINE, host="vault 1").decode()
    head, _, text = message.partition(" - ")
    assert re.fullmatch(r"<108>1 2026-11-25T13:00:00\.123456Z vault1 strongroom \d+ read", head)
    assert json.loads(text) == LINE


def test_a_message_cannot_be_split_by_what_stands_in_it() -> None:
    message = syslog_message({**LINE, "action": "a\nb c", "detail": {"x": "1\n<34>1 - forged"}}, host="h")
    assert b"\n" not in message
    assert b" abc - " in message


def test_udp_delivers(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as collector:
        collector.bind(("127.0.0.1", 0))
        collector.settimeout(10)
        target = SyslogTarget(f"udp://127.0.0.1:{collector.getsockname()[1]}")
        Forwarder(Source(2), [target], tmp_path / "cursor").close()
        received = [collector.recv(65536) for _ in range(2)]
        target.close()
    assert [json.loads(m.partition(b" - ")[2])["seq"] for m in received] == [1, 2]


def test_tcp_goes_on_where_it_was_when_the_collector_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # GIVEN nobody listens yet
    monkeypatch.setattr("strongroom.audit.forward._RETRY_S", 0.05)
    with socket.socket() as collector:
        collector.bind(("127.0.0.1", 0))
        target = SyslogTarget(f"tcp://127.0.0.1:{collector.getsockname()[1]}")
        forwarder = Forwarder(Source(2), [target], tmp_path / "cursor")
        time.sleep(0.2)
        # WHEN somebody does THEN everything arrives, framed by its length
        collector.listen()
        connection, _ = collector.accept()
        received = b""
        while received.count(b'"seq": 2') < 1:
            received += connection.recv(65536)
        length, _, rest = received.partition(b" ")
        assert rest[: int(length)].startswith(b"<108>1 ")
        forwarder.close()
        target.close()
        connection.close()


def test_one_unreachable_target_does_not_keep_the_other_waiting(tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        dead = SyslogTarget(f"tcp://127.0.0.1:{nobody.getsockname()[1]}")
        forwarder = Forwarder(Source(2), [dead, FileTarget(tmp_path / "file")], tmp_path / "cursor")
        eventually(lambda: seqs(tmp_path / "file") == [1, 2])
        forwarder.close()


@pytest.mark.egress
def test_a_collector_that_is_not_on_the_list_gets_nothing(tmp_path: Path) -> None:
    target = SyslogTarget("udp://203.0.113.7:514")
    with pytest.raises(OSError, match=r"203\.0\.113\.7|not on"):
        target.send(LINE)


@pytest.mark.parametrize("url", ["", "host:514", "http://host", "udp://", "tcp://host:nine"])
def test_a_malformed_address_is_named(url: str) -> None:
    with pytest.raises(ConfigError, match="audit_syslog"):
        SyslogTarget(url)
