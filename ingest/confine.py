"""Lock a process in before it reads a hostile byte: namespaces, Landlock, privileges, sockets, limits.

Layers that the kernel or a container runtime refuses are left out and reported (`Layers`), never silently assumed; the
limits and the socket guard always hold. Raw system calls by ctypes, because the standard library has none of these
before Python 3.12 and Landlock not at all; numbers and structures are the kernel's (include/uapi/linux/landlock.h,
prctl.h, capability.h, seccomp.h). Linux on x86-64. Standard library only.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import signal
import socket
import struct
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 24, 38
_CLONE_NEWUTS, _CLONE_NEWIPC, _CLONE_NEWUSER = 0x04000000, 0x08000000, 0x10000000
_CLONE_NEWPID, _CLONE_NEWNET = 0x20000000, 0x40000000
_NAMESPACES = _CLONE_NEWNET | _CLONE_NEWPID | _CLONE_NEWIPC | _CLONE_NEWUTS
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF, _CAPSET = 444, 445, 446, 126
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 14
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | 1 << 15
_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}  # kinds of file access that each Landlock version knows
_NET_VERSION, _SCOPE_VERSION = 4, 6
_PR_SET_SECCOMP, _SECCOMP_FILTER = 22, 2
_X86_64, _X32, _SOCKET, _IO_URING = 0xC000003E, 0x40000000, 41, 425
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06  # of classic BPF
_ALLOWED, _REFUSED = 0x7FFF0000, 0x00050000 | errno.EACCES

# What programs need to run at all. Nothing here belongs to a user; /etc only by name: no account, no host, no secret.
_SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/sbin", "/opt", "/proc", "/sys/devices/system", "/var/cache/fontconfig")
_SETTINGS = (
    "alternatives",
    "fonts",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "libreoffice",
    "localtime",
    "mime.types",
)
_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")


@dataclass(frozen=True, slots=True)
class Layers:
    """What this kernel gave: own namespaces (no network, process tree), Landlock's version (0 for none), seccomp."""

    namespaces: bool
    landlock: int
    seccomp: bool

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def die_with_parent(parent: int | None) -> None:
    """Have the kernel kill this process when the one that started it ends; end now if that was already so."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent is not None and os.getppid() != parent:
        os._exit(0)


def own_namespaces(pipes: Iterable[int]) -> bool:
    """Give this process no network and a process tree of its own, where the kernel allows it.

    Returns in a grandchild: one process stays outside and ends as the inner one did, one is the tree's first process,
    at whose end the kernel kills the whole tree, whatever has been forked in it. Both let go of `pipes`.
    """
    uid, gid = os.getuid(), os.getgid()
    if _unshare(_CLONE_NEWUSER | _NAMESPACES):
        with suppress(OSError):  # without a mapping we are nobody, which reads the installation just as well
            _write("/proc/self/setgroups", "deny")
            _write("/proc/self/uid_map", f"{uid} {uid} 1")
            _write("/proc/self/gid_map", f"{gid} {gid} 1")
    elif not _unshare(_NAMESPACES):
        return False
    if (first := os.fork()) != 0:
        _let_go(pipes)
        _end_as(os.waitpid(first, 0)[1])
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if (worker := os.fork()) != 0:
        _let_go(pipes)
        while True:
            pid, status = os.wait()  # also buries whatever was left behind in the tree
            if pid == worker:
                code = os.waitstatus_to_exitcode(status)
                os._exit(code if code >= 0 else 128 - code)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    return True


def _end_as(status: int) -> None:
    """End as the worker did: the first process of a tree cannot die of a signal, so it tells by its exit code."""
    code = os.waitstatus_to_exitcode(status)
    number = code - 128 if code > 128 else -code
    if number > 0:
        with suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.kill(os.getpid(), number)
    os._exit(code)


def no_privileges() -> None:
    """Give up every capability for good; programs started from here gain none."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    for capability in range(64):
        _prctl(_PR_CAPBSET_DROP, capability)
    header, none = struct.pack("=Ii", 0x20080522, 0), struct.pack("=6I", 0, 0, 0, 0, 0, 0)
    _libc().syscall(_CAPSET, header, none)


def landlock(*, read: Iterable[Path], write: Iterable[Path]) -> int:
    """Close the file system but for what programs need, `read`, and `write`; returns Landlock's version, 0 for none.

    Where the version knows them, TCP and other processes' abstract sockets and signals are closed too. Must run before
    the process has a second thread.
    """
    libc = _libc()
    version = landlock_version()
    if version == 0:
        return 0
    rights = (1 << _RIGHTS[min(version, 5)]) - 1
    attributes = struct.pack("=QQQ", rights, 3 if version >= _NET_VERSION else 0, 3 if version >= _SCOPE_VERSION else 0)
    size = 8 if version < _NET_VERSION else 16 if version < _SCOPE_VERSION else 24
    ruleset = libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(size), ctypes.c_uint32(0))
    if ruleset < 0:
        return 0
    allowed = [(Path(path), _READ) for path in _SYSTEM]
    allowed += [(Path("/etc", name), _READ) for name in _SETTINGS]
    allowed += [(Path(path), _READ_FILE | _WRITE_FILE) for path in _DEVICES]
    allowed += [(path, _READ) for path in {*_python(), *read}]
    allowed += [(path, rights) for path in write]
    for path, access in allowed:
        _allow(ruleset, path, access & rights)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    closed = libc.syscall(_RESTRICT_SELF, ruleset, ctypes.c_uint32(0)) == 0
    os.close(ruleset)
    return version if closed else 0


def no_unix_sockets() -> bool:
    """Refuse sockets to programs of this machine, which neither namespace nor Landlock (before Linux 6.12) closes.

    A server that listens on a file would be reached by whoever may read that folder. Pairs stay, by which programs talk
    to their own children; io_uring goes, because it makes sockets without that call. After `no_privileges`, before the
    process has a second thread.
    """
    if platform.machine() != "x86_64":
        return False
    program = [  # code, where to go on when true and when false (counted from the next line), value
        (_LOAD, 0, 0, 4),  # the ABI of the call: of the others, which number calls otherwise, all are refused
        (_EQUAL, 0, 7, _X86_64),
        (_LOAD, 0, 0, 0),  # its number
        (_AT_LEAST, 5, 0, _X32),
        (_EQUAL, 4, 0, _IO_URING),
        (_EQUAL, 0, 2, _SOCKET),
        (_LOAD, 0, 0, 16),  # its first argument
        (_EQUAL, 1, 0, socket.AF_UNIX),
        (_RETURN, 0, 0, _ALLOWED),
        (_RETURN, 0, 0, _REFUSED),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in program))
    filter_ = ctypes.create_string_buffer(struct.pack("@HP", len(program), ctypes.addressof(code)))
    nothing = ctypes.c_ulong(0)
    return bool(_libc().prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_SECCOMP_FILTER), filter_, nothing, nothing) == 0)


def landlock_version() -> int:
    """The version of Landlock in this kernel, 0 when there is none or it is switched off."""
    return max(0, int(_libc().syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1))))


def namespaces_work() -> bool:
    """Whether a process of this user may have namespaces of its own, tried in one that ends right away."""
    if (child := os.fork()) == 0:
        os._exit(0 if _unshare(_CLONE_NEWUSER | _NAMESPACES) or _unshare(_NAMESPACES) else 1)
    return os.waitpid(child, 0)[1] == 0


def cap(kind: int, value: int) -> None:
    """Lower a limit, never above what the process was given."""
    _, hard = resource.getrlimit(kind)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(kind, (value, value))


def _python() -> Iterable[Path]:
    """Where this interpreter and its packages lie. The folder that somebody started it in is not among them."""
    own = Path(__file__).parents[1]
    packages = [place for place in sys.path if Path(place) == own or Path(place).name.endswith("-packages")]
    for place in (sys.prefix, sys.base_prefix, sys.exec_prefix, *packages):
        yield Path(place)
        yield Path(place).resolve()


def _allow(ruleset: int, path: Path, access: int) -> None:
    """Add a rule for a file or for everything below a folder; what does not exist needs none."""
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not path.is_dir():
            access &= _OF_FILES
        _libc().syscall(_ADD_RULE, ruleset, 1, struct.pack("=Qi", access, handle), ctypes.c_uint32(0))
    finally:
        os.close(handle)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _unshare(flags: int) -> bool:
    return bool(_libc().unshare(flags) == 0)


def _prctl(option: int, value: int) -> None:
    _libc().prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0))


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def _let_go(pipes: Iterable[int]) -> None:
    for pipe in pipes:
        os.close(pipe)
