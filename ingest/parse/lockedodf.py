"""OpenDocument files under a password: a copy with its XML parts in the clear, by the first password that fits.

After OpenDocument 1.2 and 1.3, "Packages", 3.4 (each part deflated, then encrypted: AES-CBC, Blowfish in old ones), and
the proposal for 1.5 that LibreOffice writes since 24.2 (OFFICE-4153: a whole package inside, AES-GCM, Argon2id). A
manifest is the document's own word: what it asks for is bounded before a key is made.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.decrepit.ciphers.algorithms import Blowfish
from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from lxml import etree  # type: ignore[import-untyped]

from ingest.parse.archive import check_archive
from ingest.parse.inside import BOMB_HINT
from strongroom.errors import LOCKED, LOCKED_HINT, ParseError, QuarantineError

_WHOLE = "encrypted-package"  # the one part of a file that is encrypted as a whole
_MOST_ROUNDS = 5_000_000
_MOST_MEMORY = 256 << 10  # KiB: LibreOffice asks for 64 MiB
_MOST_UNPACKED = 256 << 20
_CHECKED = 1024  # bytes that a check sum is made over


def unlocked_odf(path: Path, passwords: Sequence[str]) -> Path | None:
    """A copy without its password, in the temporary folder; `None` when it has none.

    Raises `QuarantineError` when no password fits and for a bomb, `ParseError` for damage and unknown methods.
    """
    check_archive(path, doctype=True)
    try:
        with zipfile.ZipFile(path) as package:
            parts = _encrypted_parts(package)
            if not parts:
                return None
            if "key-derivation.salt" not in parts[0]:  # an OpenPGP key each
                raise ParseError("encrypted for certain people, not by a password", hint="save an open copy")
            for password in passwords:
                try:
                    first = _opened(package, parts[0], password, _MOST_UNPACKED)
                except _WrongError:
                    continue
                return _copy(path, package, parts, first, password)
    except (KeyError, ValueError, OSError, zipfile.BadZipFile, NotImplementedError, etree.XMLSyntaxError) as exc:
        if isinstance(exc, OSError) and exc.errno is not None:
            raise  # of this machine, not of the file
        raise ParseError("damaged document: its encryption cannot be read", hint="get a fresh copy") from exc
    raise QuarantineError(LOCKED, hint=LOCKED_HINT)


class _WrongError(Exception):
    """This password does not fit."""


def _encrypted_parts(package: zipfile.ZipFile) -> list[dict[str, str]]:
    """What the manifest says of each encrypted part, by `element.attribute` without namespaces."""
    if "META-INF/manifest.xml" not in package.namelist():
        return []
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    entries = [list(e.iter()) for e in etree.fromstring(package.read("META-INF/manifest.xml"), parser)]
    return [
        {f"{_local(e.tag)}.{_local(name)}": str(value) for e in entry for name, value in e.attrib.items()}
        for entry in entries
        if any(_local(e.tag) == "encryption-data" for e in entry)
    ]


def _local(name: Any) -> str:
    return str(name).rpartition("}")[2]


def _copy(path: Path, package: zipfile.ZipFile, parts: list[dict[str, str]], first: bytes, password: str) -> Path:
    handle, name = tempfile.mkstemp(prefix="unlocked-", suffix=path.suffix, dir=os.environ.get("TMPDIR"))
    with os.fdopen(handle, "wb") as out:
        if parts[0]["file-entry.full-path"] == _WHOLE:
            out.write(first)
            return Path(name)
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as clear:
            clear.writestr("mimetype", package.read("mimetype"), zipfile.ZIP_STORED)
            left = _MOST_UNPACKED
            for part in parts:
                if not part["file-entry.full-path"].endswith(".xml"):
                    continue  # pictures and settings hold no text
                data = first if part is parts[0] else _opened(package, part, password, left)
                left -= len(data)
                clear.writestr(part["file-entry.full-path"], data)
    return Path(name)


def _opened(package: zipfile.ZipFile, part: dict[str, str], password: str, most: int) -> bytes:
    """A part's bytes. Raises `_WrongError` when the password does not fit."""
    data, algorithm = package.read(part["file-entry.full-path"]), part.get("algorithm.algorithm-name", "").lower()
    key, start = _key(part, password), _bytes(part, "algorithm.initialisation-vector")
    if algorithm.endswith("aes256-gcm"):
        try:
            return _inflated(AESGCM(key).decrypt(start, data.removeprefix(start), None), most)
        except (InvalidTag, ValueError) as exc:
            raise _WrongError from exc
    if algorithm.endswith("-cbc") and "aes" in algorithm:
        plain = _deciphered(Cipher(AES(key), CBC(start)), data)
        plain = plain[: -plain[-1]] if plain and 0 < plain[-1] <= 16 else plain
    elif algorithm.startswith("blowfish"):
        plain = _deciphered(Cipher(Blowfish(key), CFB(start)), data)
    else:
        raise ParseError("encrypted by a method that is not known", hint="save an open copy")
    method = hashlib.sha256 if "sha256" in part.get("encryption-data.checksum-type", "").lower() else hashlib.sha1
    if method(plain[:_CHECKED]).digest() != _bytes(part, "encryption-data.checksum"):
        raise _WrongError
    return _inflated(plain, most)


def _key(part: dict[str, str], password: str) -> bytes:
    size = int(part.get("key-derivation.key-size", "16"))
    if not 16 <= size <= 64:
        raise ValueError("key-size")
    modern = "sha256" in part.get("start-key-generation.start-key-generation-name", "").lower()
    begin = (hashlib.sha256 if modern else hashlib.sha1)(password.encode()).digest()
    salt = _bytes(part, "key-derivation.salt")
    if part["key-derivation.key-derivation-name"].lower().endswith("argon2id"):
        rounds, memory, lanes = (
            int(part[f"key-derivation.argon2-{name}"]) for name in ("iterations", "memory", "lanes")
        )
        if rounds > 16 or memory > _MOST_MEMORY or lanes > 16:
            raise ParseError("its key asks for more work than is reasonable", hint="save an open copy")
        kdf = Argon2id(salt=salt, length=size, iterations=rounds, lanes=lanes, memory_cost=memory)
        return kdf.derive(begin)
    rounds = int(part["key-derivation.iteration-count"])
    if rounds > _MOST_ROUNDS:
        raise ParseError("its key asks for more work than is reasonable", hint="save an open copy")
    return hashlib.pbkdf2_hmac("sha1", begin, salt, rounds, size)


def _deciphered(cipher: Cipher[Any], data: bytes) -> bytes:
    decryptor = cipher.decryptor()
    return bytes(decryptor.update(data) + decryptor.finalize())


def _inflated(data: bytes, most: int) -> bytes:
    if data[:2] == b"PK":
        return data  # a package that was stored as it is
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        plain = unpacker.decompress(data, most)
    except zlib.error as exc:
        raise _WrongError from exc
    if unpacker.unconsumed_tail:
        raise QuarantineError(f"a decompression bomb: it would unpack to more than {most} bytes", hint=BOMB_HINT)
    return plain


def _bytes(part: dict[str, str], name: str) -> bytes:
    try:
        return base64.b64decode(part.get(name, ""), validate=True)
    except binascii.Error as exc:
        raise ValueError(name) from exc
