"""Parser children: one bad file costs itself and nothing else.

The mischief sits in a tokenizer, because that is code of ours that runs in the child; what a hostile document makes a
parser do looks the same from outside.
"""

from __future__ import annotations

import os
import queue
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest import sandbox
from ingest.confine import landlock_version, namespaces_work
from ingest.limits import Limits
from ingest.sandbox import ParserPool
from strongroom.errors import CancelledError, ModelError, ParseError, QuarantineError, UsageError
from tests.fakes import FakeTokenizer
from tests.ingest_samples import text_pdf

ROOT = Path(__file__).parents[2]
QUICK = Limits(memory_bytes=700 << 20, seconds=10, output_bytes=1 << 20, total_seconds=30)


class Mischief(FakeTokenizer):
    """Does what the document's text asks for."""

    def offsets(self, text: str) -> list[tuple[int, int]]:
        if "CRASH" in text:
            os.kill(os.getpid(), signal.SIGSEGV)
        if "HANG" in text:
            time.sleep(600)
        if "EAT" in text:
            hoard = [bytearray(64 << 20) for _ in range(1000)]
            assert hoard
        if "SPIN" in text:
            raise RecursionError
        if "DIAL" in text:
            socket.create_connection(("192.0.2.1", 80), timeout=1)
        if "RESOLVE" in text:
            socket.getaddrinfo("example.org", 80)
        if "RAW" in text:
            # Past Python's guard, as native code would: a datagram to an address that only a route could reach.
            import ctypes

            libc = ctypes.CDLL(None, use_errno=True)
            handle = libc.socket(socket.AF_INET, socket.SOCK_DGRAM, 0)
            address = b"\x02\x00\x00\x35" + bytes([192, 0, 2, 1]) + bytes(8)
            if libc.connect(handle, address, 16) == 0:
                raise ValueError("the kernel had a route")
        if "UNIX" in text:
            # A running server of this user (an agent, a database, a session bus), reached by native code.
            import ctypes

            libc = ctypes.CDLL(None, use_errno=True)
            for place in text.split()[1:]:
                handle = libc.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0)
                name = place.replace("@", "\0").encode()
                if libc.connect(handle, b"\x01\x00" + name + b"\0" * (not place.startswith("@")), 2 + len(name)) == 0:
                    raise ValueError(f"it reached {place}")
            if libc.syscall(425, 1, ctypes.create_string_buffer(256)) >= 0:
                raise ValueError("io_uring, which connects without the call, can be had")
            left, right = socket.socketpair()  # what programs talk to their own children by
            left.send(b"x")
            assert right.recv(1) == b"x"
        if "FILL" in text:
            with open("big", "wb") as file:
                for _ in range(200):
                    file.write(b"0" * (1 << 20))
        if "LITTER" in text:
            Path("left-behind").write_text("secret of another document")
        if "INSPECT" in text and list(Path.cwd().iterdir()):
            raise ValueError("the folder is not empty")
        if "PEEK" in text:
            for place in text.split()[1:]:
                try:
                    list(Path(place).iterdir()) if Path(place).is_dir() else Path(place).read_text()
                except PermissionError:
                    continue
                raise ValueError(f"it could read {place}")
        if "SCRIBBLE" in text:
            for place in text.split()[1:]:
                try:
                    Path(place).write_text("x")
                except PermissionError:
                    continue
                raise ValueError(f"it could write {place}")
        if "BOMB" in text:
            while True:
                os.fork()
        if "BREED" in text:
            if os.fork() == 0:
                os.setsid()
                time.sleep(600)
            os._exit(3)
        if "PRIVILEGES" in text:
            status = Path("/proc/self/status").read_text()
            if "CapEff:\t0000000000000000" not in status or "NoNewPrivs:\t1" not in status:
                raise ValueError("it has privileges")
        if "PRINT" in text:
            print("noise on standard output " * 1000, flush=True)
            os.write(1, b"more noise")
        return super().offsets(text)


@pytest.fixture(scope="module")
def pool() -> Iterator[ParserPool]:
    with ParserPool(1, tokenizer=Mischief(), limits=QUICK) as opened:
        yield opened


def _run(pool: ParserPool, folder: Path, text: str) -> str:
    """The text of a document that says `text`, parsed in the pool."""
    document, chunks = pool.submit(text_pdf(folder / "doc.pdf", text), "application/pdf").result(timeout=90)
    assert [chunk.text for chunk in chunks] == [document.text.strip()]
    return document.text.strip()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("CRASH", r"crashed.*SIGSEGV"),
        ("HANG", r"took longer than \d+ s"),
        ("EAT", r"more than 700 MiB of memory"),
        ("SPIN", r"nested too deeply"),
        ("DIAL", r"192\.0\.2\.1"),
        ("RESOLVE", r"example\.org"),
    ],
)
def test_a_file_that_misbehaves_is_quarantined_by_reason_and_the_next_one_is_fine(
    pool: ParserPool, tmp_path: Path, text: str, reason: str
) -> None:
    with pytest.raises(QuarantineError, match=reason) as caught:
        _run(pool, tmp_path, text)
    assert caught.value.hint
    assert _run(pool, tmp_path, "All is well.") == "All is well."


def test_a_file_that_writes_much_is_stopped(pool: ParserPool, tmp_path: Path) -> None:
    with pytest.raises(ParseError, match="OSError"):
        _run(pool, tmp_path, "FILL")


def test_the_child_is_reused_its_folder_emptied_and_its_noise_swallowed(pool: ParserPool, tmp_path: Path) -> None:
    _run(pool, tmp_path, "Warm up.")
    before = pool.children()
    assert _run(pool, tmp_path, "LITTER") == "LITTER"
    assert _run(pool, tmp_path, "INSPECT") == "INSPECT"
    assert _run(pool, tmp_path, "PRINT") == "PRINT"
    broken = tmp_path / "broken.pdf"
    broken.write_bytes(b"%PDF-1.7 nothing")
    with pytest.raises(ParseError, match="damaged"):
        pool.submit(broken, "application/pdf").result(timeout=60)
    assert pool.children() == before


def test_native_code_finds_no_network_where_namespaces_are_allowed(pool: ParserPool, tmp_path: Path) -> None:
    _run(pool, tmp_path, "Warm up.")
    (child,) = pool.children()
    own, theirs = (Path(f"/proc/{pid}/ns/net").readlink() for pid in ("self", child))
    if own == theirs:
        pytest.skip("this kernel or container allows no network namespace")
    assert _run(pool, tmp_path, "RAW") == "RAW"


def test_no_socket_of_another_program_on_this_machine_can_be_reached(tmp_path: Path) -> None:
    # GIVEN servers on a socket file in a folder that children may read, and on an abstract name
    readable = tmp_path / "models"
    readable.mkdir()
    name = f"strongroom-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as by_path, socket.socket(socket.AF_UNIX) as abstract:
        by_path.bind(str(readable / "agent"))
        abstract.bind(f"\0{name}")
        for server in (by_path, abstract):
            server.listen()
        # WHEN a child's native code tries to connect, THEN it cannot, and its own pairs still work
        with ParserPool(1, tokenizer=Mischief(), limits=QUICK, readable=[readable]) as pool:
            text = f"UNIX {readable}/agent @{name}"
            document, _ = pool.submit(_written(tmp_path, text), "text/plain").result(timeout=90)
            assert document.text.strip() == text


def _written(folder: Path, text: str) -> Path:
    path = folder / "doc.txt"
    path.write_text(text)
    return path


needs_landlock = pytest.mark.skipif(landlock_version() == 0, reason="this kernel has no Landlock")


@needs_landlock
def test_nothing_but_its_own_file_and_the_installation_can_be_read_or_written(tmp_path: Path) -> None:
    # GIVEN another user's file, the stores of the appliance, and a spool between them
    secret = tmp_path / "another.txt"
    secret.write_text("a secret")
    spool = tmp_path / "data" / "spool"
    (tmp_path / "data").mkdir()
    keys = tmp_path / "data" / "keys"
    keys.write_text("keys")
    log = tmp_path / "data" / "egress.log"
    with ParserPool(1, tokenizer=Mischief(), limits=QUICK, spool=spool, egress_log=log) as pool:
        # WHEN parsers look at them, and at what the system holds of its users THEN they are refused
        for place in (secret, keys, tmp_path, Path("/etc/passwd"), Path("/etc/hostname"), Path("/tmp")):
            assert "PEEK" in _run(pool, tmp_path, f"PEEK {place}")
        for place in (secret, keys, tmp_path / "new", Path("/tmp/new"), ROOT / "new", Path("/dev/shm/new")):
            assert "SCRIBBLE" in _run(pool, tmp_path, f"SCRIBBLE {place}")
        assert "PRIVILEGES" in _run(pool, tmp_path, "PRIVILEGES")
    assert secret.read_text() == "a secret"
    assert list(spool.iterdir()) == []


@pytest.mark.skipif(not namespaces_work(), reason="no namespaces here")
@pytest.mark.parametrize("text", ["BOMB", "BREED"])
def test_whatever_a_child_forks_ends_with_it(tmp_path: Path, text: str) -> None:
    # GIVEN a child that forks without end, or lets a grandchild slip out of its session
    limits = Limits(memory_bytes=700 << 20, seconds=10, processes=40)
    with ParserPool(1, tokenizer=Mischief(), limits=limits) as pool:
        text_pdf(tmp_path / "doc.pdf", text)
        with pytest.raises(ParseError):
            pool.submit(tmp_path / "doc.pdf", "application/pdf").result(timeout=90)
        # THEN nothing of it is left, and the next file is read
        patience = time.monotonic() + 20
        while _working_below(pool._spool) and time.monotonic() < patience:
            time.sleep(0.1)
        assert _working_below(pool._spool) == []
        assert "fine" in _run(pool, tmp_path, "fine again")


def _working_below(folder: Path) -> list[int]:
    """Processes whose working folder lies below this one."""
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if str(link.readlink()).startswith(f"{folder}/"):
                found.append(int(link.parent.name))
        except OSError:
            continue
    return found


def test_a_result_over_the_limit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "long.txt"
    path.write_text("words and more words\n" * 20_000)
    limits = Limits(memory_bytes=QUICK.memory_bytes, seconds=30, output_bytes=100_000)
    with ParserPool(1, tokenizer=FakeTokenizer(), limits=limits) as pool:
        with pytest.raises(QuarantineError, match="limit of 100000 bytes"):
            pool.submit(path, "text/plain").result(timeout=60)
        path.write_text("short\n")
        assert pool.submit(path, "text/plain").result(timeout=60)[0].text == "short\n"


def test_many_files_over_two_children_come_back_to_the_right_futures(tmp_path: Path) -> None:
    paths = []
    for number in range(30):
        paths.append(tmp_path / f"{number}.txt")
        paths[-1].write_text(f"This is document {number}.")
    with ParserPool(2, tokenizer=FakeTokenizer(), limits=QUICK) as pool:
        futures = [pool.submit(path, "text/plain") for path in paths]
        assert [future.result(timeout=60)[0].text for future in futures] == [
            f"This is document {number}." for number in range(30)
        ]
        assert 1 <= len(pool.children()) <= 2


def test_closing_ends_children_and_cancels_what_waits(tmp_path: Path) -> None:
    hang, wait = text_pdf(tmp_path / "hang.pdf", "HANG"), text_pdf(tmp_path / "wait.pdf", "wait")
    pool = ParserPool(1, tokenizer=Mischief(), limits=Limits(seconds=300))
    running, waiting = pool.submit(hang, "application/pdf"), pool.submit(wait, "application/pdf")
    deadline = time.monotonic() + 30
    while not pool.children() and time.monotonic() < deadline:
        time.sleep(0.05)
    (child,) = pool.children()
    pool.close()
    with pytest.raises(CancelledError):
        running.result(timeout=5)
    assert waiting.cancelled()
    assert not Path(f"/proc/{child}").exists()
    pool.close()
    with pytest.raises(UsageError, match="closed"):
        pool.submit(wait, "application/pdf")


class LostTokenizer(FakeTokenizer):
    """A tokenizer whose file went away after it was opened."""

    def offsets(self, text: str) -> list[tuple[int, int]]:
        raise ModelError("the tokenizer is gone")


def test_a_lost_tokenizer_ends_as_a_model_error_not_as_the_files_fault(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("words")
    with (
        ParserPool(1, tokenizer=LostTokenizer(), limits=QUICK) as pool,
        pytest.raises(ModelError, match="the tokenizer is gone"),
    ):
        pool.submit(path, "text/plain").result(timeout=60)


def test_a_child_dies_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    """GIVEN a process whose parser child hangs on a file
    WHEN that process is killed with SIGKILL, so that it can clean up nothing
    THEN the child is gone too."""
    text_pdf(tmp_path / "hang.pdf", "HANG")
    code = textwrap.dedent(
        f"""
        import sys, time
        from pathlib import Path
        from ingest.sandbox import ParserPool
        from tests.integration.test_ingest_sandbox import Mischief
        pool = ParserPool(1, tokenizer=Mischief())
        pool.submit(Path({str(tmp_path / "hang.pdf")!r}), "application/pdf")
        while not pool.children():
            time.sleep(0.05)
        time.sleep(1)
        print(pool.children()[0], flush=True)
        time.sleep(60)
        """
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert Path(f"/proc/{child}").exists()
    finally:
        parent.kill()
        parent.wait()
    deadline = time.monotonic() + 10
    while _alive(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _alive(child)


def _alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] not in {"Z", "X"}


def test_a_child_that_was_being_started_at_the_stop_is_ended_too(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[bool] = []

    class Starting:
        def __init__(self, *_: object) -> None:
            manager.stop()
            self.process = self

        def kill(self) -> None:
            ended.append(True)

        def greet(self) -> None:
            assert ended

    monkeypatch.setattr(sandbox, "ParserProcess", Starting)
    manager = sandbox._Manager(queue.Queue(), {}, QUICK, Path("unused"), Path("unused"), number=0)
    manager._ready()
    assert ended == [True]
