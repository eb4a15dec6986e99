"""`strongroom check`: what would stop this installation from working, each with what to do about it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from strongroom import airgap
from strongroom.config import Settings
from strongroom.errors import StrongroomError
from strongroom.types import Problem

MIN_FREE_BYTES = 2 << 30
# Packages that phone home or belong to a vendor's cloud; a private appliance must not carry them. `unstructured-client`
# is a mandatory dependency of unstructured and is blocked from being imported instead (`airgap.BLOCKED_IMPORTS`).
FORBIDDEN_PACKAGES = (
    "openai",
    "anthropic",
    "boto3",
    "google-cloud-storage",
    "azure-storage-blob",
    "llama-index",
    "posthog",
)


def run_checks(settings: Settings) -> list[Problem]:
    """Every problem found, errors first. Opens no store and loads no model."""
    problems: list[Problem] = []
    for check in (_platform, _switches, _packages, _data_dir, _keys, _disk, _models, _network, _sandbox, _tools):
        problems += check(settings)
    return sorted(problems, key=lambda p: p.severity)


Check = Callable[[Settings], Iterator[Problem]]


def _platform(_settings: Settings) -> Iterator[Problem]:
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        yield Problem(
            f"this is {platform.system()} on {platform.machine()}", "Use Linux on x86-64; nothing else is tested."
        )
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        yield Problem(f"this is Python {platform.python_version()}", "Use CPython 3.11, 3.12 or 3.13.")


def _switches(_settings: Settings) -> Iterator[Problem]:
    for name, value in airgap.SWITCHES.items():
        if os.environ.get(name) != value:
            yield Problem(f"{name} is {os.environ.get(name)!r}", f"Something changed it; start with {name}={value}.")


def _packages(_settings: Settings) -> Iterator[Problem]:
    installed = {d.metadata["Name"].lower() for d in importlib.metadata.distributions() if d.metadata["Name"]}
    for name in FORBIDDEN_PACKAGES:
        if name in installed:
            yield Problem(
                f"the package {name} is installed", f"Remove it (`pip uninstall {name}`); it talks to a cloud service."
            )


def _data_dir(settings: Settings) -> Iterator[Problem]:
    path = settings.data_dir
    if not path.exists():
        yield Problem(
            f"data directory {path} does not exist", "It is made by `strongroom up` or the first ingest.", "warning"
        )
        return
    status = path.stat()
    if status.st_uid != os.geteuid():
        yield Problem(f"data directory {path} belongs to another user", "Run as its owner.")
    if stat.S_IMODE(status.st_mode) & 0o077:
        yield Problem(f"data directory {path} can be opened by other users", f"Run `chmod 700 {path}`.")
    if not os.access(path, os.W_OK):
        yield Problem(f"data directory {path} cannot be written", "Mount it writable, or fix its owner.")


def _keys(settings: Settings) -> Iterator[Problem]:
    key = settings.keys / "appliance.key"
    if key.exists() and stat.S_IMODE(key.stat().st_mode) & 0o077:
        yield Problem(f"key file {key} can be read by other users", f"Run `chmod 600 {key}` and find out who read it.")
    if key.exists() and settings.keys_dir is None:
        yield Problem(
            "keys lie in the data directory, so one backup holds both",
            "Set `keys_dir` to another disk, or leave `keys/` out of data backups.",
            "warning",
        )


def _disk(settings: Settings) -> Iterator[Problem]:
    path = _existing(settings.data_dir)
    free = shutil.disk_usage(path).free
    if free < MIN_FREE_BYTES:
        yield Problem(f"only {free / (1 << 30):.1f} GiB are free at {path}", "Free some space before ingesting.")


def _models(settings: Settings) -> Iterator[Problem]:
    from models.registry import Registry

    try:
        registry = Registry(settings.models_dir)
        for model in (settings.embedder, settings.model):
            registry.path(model)
    except StrongroomError as exc:
        yield Problem(str(exc), exc.hint)


def _network(settings: Settings) -> Iterator[Problem]:
    from strongroom.config import Settings as Defaults

    for key in ("host", "ui_host"):
        host = getattr(settings, key)
        if host != Defaults.model_fields[key].default and not settings.allow_remote:
            yield Problem(
                f"{key} is {host}", "Set `allow_remote = true` once a TLS reverse proxy stands in front.", "warning"
            )
    log = settings.data_dir / "egress.log"
    if log.exists() and log.stat().st_size:
        lines = len(log.read_text(encoding="utf-8").splitlines())
        yield Problem(
            f"{lines} connection attempts were blocked", f"Read {log} to see what tried, and where to.", "warning"
        )


def _sandbox(_settings: Settings) -> Iterator[Problem]:
    from ingest.confine import landlock_version, namespaces_work

    if not namespaces_work():
        yield Problem(
            "parsers get no namespaces of their own, so only Python's guard keeps them off the network",
            "Allow user namespaces (sysctl user.max_user_namespaces; a container runtime's seccomp profile).",
            "warning",
        )
    if landlock_version() == 0:
        yield Problem(
            "this kernel has no Landlock, so a parser could read other files of this user",
            "Use Linux 5.13 or later with `landlock` among the boot parameter lsm=.",
            "warning",
        )


def _tools(_settings: Settings) -> Iterator[Problem]:
    if shutil.which("soffice") is None and shutil.which("libreoffice") is None:
        yield Problem("LibreOffice is not installed", "Old .doc and .ppt files cannot be read without it.", "warning")


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path
