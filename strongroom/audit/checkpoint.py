"""Signed statements of what the audit log held at one moment, to be kept where its owner cannot change them.

A checkpoint is canonical JSON of `{"kind", "version", "seq", "at", "hash", "chain", "key"}` and an Ed25519 signature
(RFC 8032) over those bytes. `hash` is the stored, keyed hash of entry `seq`. `chain` is an unkeyed running digest of
everything up to it, c(0) = 32 zero bytes and c(n) = SHA-256(c(n-1) | body n), so that an exported log can be checked
anywhere with nothing but the checkpoint and the public key.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from strongroom.crypto import SigningKey, canonical
from strongroom.errors import UsageError

KIND = "strongroom.audit.checkpoint"
VERSION = 1
GENESIS = bytes(32)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What the log held up to entry `seq`. `hash`, `chain`, `key` and `signature` are hexadecimal."""

    seq: int
    at: str
    hash: str
    chain: str
    key: str
    signature: str = ""
    kind: str = KIND
    version: int = VERSION

    def signed_bytes(self) -> bytes:
        return canonical({k: v for k, v in asdict(self).items() if k != "signature"}).encode()

    def genuine(self, public_key: str | None = None) -> bool:
        """True when the signature holds, and is that of `public_key` where one is given (hexadecimal)."""
        if public_key is not None and public_key.lower() != self.key:
            return False
        try:
            Ed25519PublicKey.from_public_bytes(bytes.fromhex(self.key)).verify(
                bytes.fromhex(self.signature), self.signed_bytes()
            )
        except (InvalidSignature, ValueError):
            return False
        return True


def sign(signing: SigningKey, *, seq: int, at: str, hash: str, chain: str) -> Checkpoint:
    """A checkpoint with its signature."""
    draft = Checkpoint(seq=seq, at=at, hash=hash, chain=chain, key=signing.public)
    return Checkpoint(**{**asdict(draft), "signature": signing.sign(draft.signed_bytes())})


def read(path: Path) -> Checkpoint:
    """A checkpoint from its file. Raises `UsageError` when the file holds none."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        found = Checkpoint(**data)
        wrong = found.kind != KIND or found.version != VERSION or type(found.seq) is not int
    except (OSError, ValueError, TypeError) as exc:
        raise UsageError(f"{path} is not a checkpoint: {exc}", hint="Give a file that was written as one.") from exc
    if wrong:
        raise UsageError(
            f"{path} is not a checkpoint of version {VERSION}", hint="Give a file that was written as one."
        )
    return found


def dumps(checkpoint: Checkpoint) -> str:
    """One line of JSON, as it is kept in a file or printed."""
    return json.dumps(asdict(checkpoint), sort_keys=True)


def extend(chain: bytes, bodies: Iterable[str]) -> bytes:
    """The running digest after further bodies."""
    for body in bodies:
        chain = hashlib.sha256(chain + body.encode()).digest()
    return chain


def body_of(line: Mapping[str, Any]) -> str:
    """The hashed body of an exported entry."""
    return canonical({key: value for key, value in line.items() if key not in ("hash", "question_text")})
