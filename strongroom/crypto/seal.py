"""Authenticated encryption of small values and of files, with AES-256-GCM (NIST SP 800-38D).

A sealed value is `0x01 | key id (16 bytes) | nonce (12 bytes) | ciphertext and tag`. Its associated data name the row
it belongs to, so a ciphertext moved to another row or column does not open.

A file is sealed in segments of 1 MiB after the STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár 2015):
the nonce of segment i is a 7-byte random prefix, a 4-byte counter and a final-segment byte, so that reordering,
dropping or cutting segments is detected.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from strongroom.errors import IntegrityError

VERSION = 1
KEY_BYTES = 32
NONCE_BYTES = 12
PREFIX_BYTES = 7
SEGMENT_BYTES = 1 << 20
TAG_BYTES = 16


class Sealed(bytes):
    """Ciphertext produced by `seal`. Encrypted columns accept nothing else, so plaintext cannot reach them."""

    @property
    def key_id(self) -> str:
        return str(uuid.UUID(bytes=bytes(self[1:17])))


def seal(key: bytes, key_id: str, plaintext: bytes, aad: str) -> Sealed:
    """Encrypt `plaintext`, bound to `aad`."""
    nonce = os.urandom(NONCE_BYTES)
    body = AESGCM(key).encrypt(nonce, plaintext, aad.encode())
    return Sealed(bytes([VERSION]) + uuid.UUID(key_id).bytes + nonce + body)


def unseal(key: bytes, sealed: bytes, aad: str) -> bytes:
    """Decrypt. Raises `IntegrityError` when value, key or `aad` do not belong together."""
    if len(sealed) < 17 + NONCE_BYTES + TAG_BYTES or sealed[0] != VERSION:
        raise IntegrityError(f"{aad}: not a sealed value", hint="Restore the catalogue from a backup.")
    try:
        return AESGCM(key).decrypt(bytes(sealed[17:29]), bytes(sealed[29:]), aad.encode())
    except InvalidTag as exc:
        raise IntegrityError(
            f"{aad}: the stored value does not open with its key",
            hint="The catalogue or the key store was changed from outside; restore both from the same backup.",
        ) from exc


def seal_stream(key: bytes, source: BinaryIO, sink: BinaryIO, aad: str) -> int:
    """Encrypt `source` into `sink` in segments; returns the number of plaintext bytes."""
    prefix = os.urandom(PREFIX_BYTES)
    sink.write(bytes([VERSION]) + prefix)
    cipher, counter, total = AESGCM(key), 0, 0
    segment = source.read(SEGMENT_BYTES)
    while True:
        following = source.read(SEGMENT_BYTES)
        total += len(segment)
        sink.write(cipher.encrypt(_nonce(prefix, counter, last=not following), segment, aad.encode()))
        if not following:
            return total
        segment, counter = following, counter + 1


def open_stream(key: bytes, source: BinaryIO, aad: str) -> Iterator[bytes]:
    """Decrypt segment by segment. Raises `IntegrityError` at the first segment that is not what was written."""
    header = source.read(1 + PREFIX_BYTES)
    if len(header) != 1 + PREFIX_BYTES or header[0] != VERSION:
        raise IntegrityError(f"{aad}: not an encrypted original", hint="Restore it from a backup.")
    cipher, counter = AESGCM(key), 0
    segment = source.read(SEGMENT_BYTES + TAG_BYTES)
    while True:
        following = source.read(SEGMENT_BYTES + TAG_BYTES)
        try:
            yield cipher.decrypt(_nonce(header[1:], counter, last=not following), segment, aad.encode())
        except InvalidTag as exc:
            raise IntegrityError(
                f"{aad}: the encrypted original is damaged at segment {counter}", hint="Restore it from a backup."
            ) from exc
        if not following:
            return
        segment, counter = following, counter + 1


def _nonce(prefix: bytes, counter: int, *, last: bool) -> bytes:
    return prefix + counter.to_bytes(4, "big") + (b"\x01" if last else b"\x00")
