"""Seal and open values with keys from the key store: what the catalogue and the blob store use."""

from __future__ import annotations

import json
import uuid
import zlib
from typing import Any

from strongroom.crypto.keys import KeyStore
from strongroom.crypto.seal import Sealed, seal, unseal

# The key for values that belong to no document: collection names, look-up fingerprints, the audit chain.
CATALOGUE_KEY = str(uuid.uuid5(uuid.NAMESPACE_URL, "strongroom:catalogue-key"))


class Vault:
    """Sealing by key id. `aad` names table, column and row, e.g. `chunks.text:<id>`."""

    def __init__(self, keys: KeyStore) -> None:
        self.keys = keys
        if not keys.has(CATALOGUE_KEY):
            keys.create(CATALOGUE_KEY)

    def seal_text(self, key_id: str, text: str, aad: str) -> Sealed:
        # surrogatepass: file names that are not valid UTF-8 reach Python as lone surrogates and must survive
        return seal(self.keys.get(key_id), key_id, text.encode("utf-8", "surrogatepass"), aad)

    def open_text(self, sealed: bytes, aad: str) -> str:
        return self._open(sealed, aad).decode("utf-8", "surrogatepass")

    def seal_json(self, key_id: str, value: Any, aad: str) -> Sealed:
        return self.seal_text(key_id, json.dumps(value, ensure_ascii=True), aad)

    def open_json(self, sealed: bytes, aad: str) -> Any:
        return json.loads(self.open_text(sealed, aad))

    def seal_packed(self, key_id: str, data: bytes, aad: str) -> Sealed:
        """Seal bytes that compress well (word layouts)."""
        return seal(self.keys.get(key_id), key_id, zlib.compress(data, 1), aad)

    def open_packed(self, sealed: bytes, aad: str) -> bytes:
        return zlib.decompress(self._open(sealed, aad))

    def reseal(self, sealed: bytes, old_aad: str, key_id: str, aad: str) -> Sealed:
        """What `sealed` holds, for another place and under another key."""
        return seal(self.keys.get(key_id), key_id, self._open(sealed, old_aad), aad)

    def mac(self, purpose: str, value: str) -> bytes:
        """Look-up fingerprint of a value under the catalogue key."""
        return self.keys.mac(CATALOGUE_KEY, purpose, value.encode("utf-8", "surrogatepass"))

    def _open(self, sealed: bytes, aad: str) -> bytes:
        value = Sealed(sealed)
        return unseal(self.keys.get(value.key_id), value, aad)
