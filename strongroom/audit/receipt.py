"""Receipts of deletions: signed statements that verify anywhere with the appliance's public key.

The signature is Ed25519 over canonical JSON of the receipt with `kind` and `version`, without `signature`.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from strongroom.crypto import SigningKey, canonical
from strongroom.errors import StrongroomError, UsageError
from strongroom.types import DeletionReceipt
from strongroom.wire import loads, to_data

KIND = "strongroom.deletion.receipt"
VERSION = 1


def sign(receipt: DeletionReceipt, signing: SigningKey) -> DeletionReceipt:
    """The receipt with the key it was signed with and the signature, both hexadecimal."""
    named = replace(receipt, key=signing.public, signature="")
    return replace(named, signature=signing.sign(_statement(named)))


def genuine(receipt: DeletionReceipt, public_key: str | None = None) -> bool:
    """True when the signature holds, and is that of `public_key` where one is given (hexadecimal)."""
    if public_key is not None and public_key.lower() != receipt.key:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(receipt.key)).verify(
            bytes.fromhex(receipt.signature), _statement(receipt)
        )
    except (InvalidSignature, ValueError):
        return False
    return True


def read(path: Path) -> list[DeletionReceipt]:
    """Receipts from a file with one a line. Raises `UsageError` when it holds none or something else."""
    try:
        found = [parse(line) for line in path.read_bytes().splitlines() if line.strip()]
        if not found:
            raise UsageError("it is empty")
        return found
    except (OSError, StrongroomError) as exc:
        raise UsageError(f"{path} is not a receipt: {exc}", hint="Give a file that `--json` wrote.") from exc


def parse(data: bytes | str) -> DeletionReceipt:
    """A receipt from its JSON. Raises `StrongroomError`."""
    return loads(DeletionReceipt, data)


def dumps(receipt: DeletionReceipt) -> str:
    """One line of JSON, as it is stored and printed."""
    return json.dumps(to_data(receipt), sort_keys=True)


def _statement(receipt: DeletionReceipt) -> bytes:
    said = {k: v for k, v in to_data(receipt).items() if k != "signature"}
    return canonical({**said, "kind": KIND, "version": VERSION}).encode()
