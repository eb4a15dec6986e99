"""The appliance's own signature: Ed25519 (RFC 8032), its secret kept in the key store like any data key."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from strongroom.crypto.keys import KeyStore

SIGNING_KEY = str(uuid.uuid5(uuid.NAMESPACE_URL, "strongroom:signing-key"))


class SigningKey:
    """Signs what leaves the appliance and must be believed elsewhere: checkpoints and receipts."""

    def __init__(self, keys: KeyStore) -> None:
        if not keys.has(SIGNING_KEY):
            keys.create(SIGNING_KEY)
        self._key = Ed25519PrivateKey.from_private_bytes(keys.get(SIGNING_KEY))
        self.public = self._key.public_key().public_bytes_raw().hex()

    def sign(self, message: bytes) -> str:
        """The signature, hexadecimal."""
        return self._key.sign(message).hex()


def canonical(value: Mapping[str, Any]) -> str:
    """The one JSON spelling that is hashed and signed: keys sorted, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
