"""Where the appliance key comes from: a file beside the keys, the environment, a systemd credential, or a person.

Only the file can be replaced by the program itself; for the others the operator keeps the key and gives it at each
start. A passphrase becomes a key through scrypt (RFC 7914) with a salt that lies beside the keys.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from strongroom.crypto.seal import KEY_BYTES
from strongroom.errors import IntegrityError, NotPermittedError, UsageError

Source = Literal["file", "environment", "credential", "prompt"]

Ask = Callable[[bool], str]
"""Reads a passphrase from a person; with true, a new one, twice."""

VARIABLE = "STRONGROOM_APPLIANCE_KEY"
CREDENTIAL = "strongroom-appliance-key"
FEWEST_CHARACTERS = 15
_SALT_BYTES = 16
_SALT_FILE = "appliance.salt"
_SCRYPT = {"n": 1 << 17, "r": 8, "p": 1}  # 128 MiB, about half a second


def given_key(source: Source, keys_dir: Path, *, ask: Ask | None = None) -> bytes | None:
    """The key that the operator gives; `None` for a key in a file, which the key store reads itself.

    `ask(fresh)` reads a passphrase from a person, twice when it is a new one. Raises `UsageError` when there is nothing
    to read and `IntegrityError` when it is no key.
    """
    if source == "file":
        return None
    if source == "environment":
        return from_environment(VARIABLE)
    if source == "credential":
        folder = os.environ.get("CREDENTIALS_DIRECTORY")
        path = Path(folder or "/nonexistent") / CREDENTIAL
        try:
            return decode(path.read_bytes(), f"the credential {CREDENTIAL}")
        except OSError as exc:
            raise UsageError(
                f"key_source is `credential` and there is no credential {CREDENTIAL}",
                hint=f"Start it by systemd with LoadCredentialEncrypted={CREDENTIAL}:… in the unit.",
            ) from exc
    if ask is None:
        raise UsageError(
            "key_source is `prompt` and nobody can be asked here",
            hint="Start it from a terminal, or use a credential or the environment.",
        )
    return from_passphrase(ask, keys_dir)


def from_environment(variable: str) -> bytes:
    """The key in an environment variable, taken out of the environment so that no child inherits it."""
    value = os.environ.pop(variable, None)
    if value is None:
        raise UsageError(
            f"{variable} is not set",
            hint="Set it to the key of this data directory; for a new one, `strongroom keys generate` makes a key.",
        )
    return decode(value.encode(), variable)


def decode(data: bytes, what: str) -> bytes:
    """32 bytes as they are, in hexadecimal or in base64. Raises `IntegrityError`; the message never holds the value."""
    if len(data) == KEY_BYTES:
        return data
    text = data.strip()
    for read in (binascii.unhexlify, lambda t: base64.b64decode(t, validate=True)):
        try:
            key = bytes(read(text))
        except (binascii.Error, ValueError):
            continue
        if len(key) == KEY_BYTES:
            return key
    raise IntegrityError(f"{what} holds no key", hint="It must be 32 bytes, or 64 hexadecimal digits, or base64 of it.")


def from_passphrase(ask: Ask, keys_dir: Path) -> bytes:
    """The key that a passphrase stands for."""
    fresh = not (keys_dir / _SALT_FILE).exists()
    return derive(ask(fresh), salt_of(keys_dir), fresh=fresh)


def salt_of(keys_dir: Path) -> bytes:
    """The salt of this key store, made once. It stays when the passphrase changes: a kill between the two would leave
    a key without its salt, and what a salt is for, being another one everywhere, holds all the same."""
    path = keys_dir / _SALT_FILE
    if not path.exists():
        keys_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_secret(path, os.urandom(_SALT_BYTES))
    return path.read_bytes()


def derive(passphrase: str, salt: bytes, *, fresh: bool = False) -> bytes:
    """The key of a passphrase. Raises `UsageError` for a new one that is too short."""
    if fresh and len(passphrase) < FEWEST_CHARACTERS:
        raise UsageError(
            f"the passphrase has fewer than {FEWEST_CHARACTERS} characters",
            hint="Several words that nobody would put together are good.",
        )
    return Scrypt(salt=salt, length=KEY_BYTES, **_SCRYPT).derive(passphrase.encode())


def read_key_file(path: Path) -> bytes:
    """The key in a file of its owner alone. Raises `NotPermittedError` or `IntegrityError`."""
    if path.stat().st_mode & 0o077:
        raise NotPermittedError(
            f"key file {path} can be read by other users", hint=f"Run `chmod 600 {path}` and find out who read it."
        )
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise IntegrityError(f"key file {path} is damaged", hint="Restore the key store from its own backup.")
    return key


def write_secret(path: Path, data: bytes) -> None:
    """Write a file for its owner alone, whole or not at all, and durable when this returns."""
    draft = path.with_name(path.name + ".new")  # a crash in here must not leave half a key for the next start to find
    draft.unlink(missing_ok=True)
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    draft.rename(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make names in a folder durable."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
