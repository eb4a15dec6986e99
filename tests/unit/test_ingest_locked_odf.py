"""OpenDocument under a password: two files that LibreOffice saved, one locked here as the proposal for 1.5 says."""

import base64
import hashlib
import io
import zipfile
import zlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from ingest.mime import detect
from ingest.parse import lockedodf, parse_file
from strongroom.errors import LOCKED, ParseError, QuarantineError

FILES = Path(__file__).parent.parent / "files"
MANIFEST = "META-INF/manifest.xml"


def locked_whole(source: Path, target: Path, password: str, *, memory: int = 1024) -> Path:
    """A package inside a package: AES-GCM with the vector in front, a key by Argon2id."""
    salt, vector = b"s" * 16, b"v" * 12
    begin = hashlib.sha256(password.encode()).digest()
    key = Argon2id(salt=salt, length=32, iterations=3, lanes=4, memory_cost=1024).derive(begin)
    packer = zlib.compressobj(wbits=-15)
    clear = packer.compress(source.read_bytes()) + packer.flush()
    ns = "urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"
    names = [base64.b64encode(value).decode() for value in (vector, salt)]
    manifest = (
        f'<m:manifest xmlns:m="{ns}" xmlns:loext="urn:org:documentfoundation:names:experimental:loext:1.0">'
        '<m:file-entry m:full-path="encrypted-package" m:size="1"><m:encryption-data>'
        '<m:algorithm m:algorithm-name="http://www.w3.org/2009/xmlenc11#aes256-gcm" '
        f'm:initialisation-vector="{names[0]}"/>'
        '<m:start-key-generation m:start-key-generation-name="http://www.w3.org/2001/04/xmlenc#sha256" '
        'm:key-size="32"/><m:key-derivation m:key-size="32" m:key-derivation-name='
        '"urn:org:documentfoundation:names:experimental:office:manifest:argon2id" loext:argon2-iterations="3" '
        f'loext:argon2-memory="{memory}" loext:argon2-lanes="4" m:salt="{names[1]}"/>'
        "</m:encryption-data></m:file-entry></m:manifest>"
    )
    with zipfile.ZipFile(source) as plain, zipfile.ZipFile(target, "w") as package:
        package.writestr("mimetype", plain.read("mimetype"))
        package.writestr("encrypted-package", vector + AESGCM(key).encrypt(vector, clear, None))
        package.writestr(MANIFEST, manifest)
    return target


def changed(source: Path, target: Path, old: bytes, new: bytes) -> Path:
    """A copy with these bytes of its manifest replaced."""
    with zipfile.ZipFile(source) as before, zipfile.ZipFile(target, "w") as after:
        for item in before.infolist():
            data = before.read(item)
            if item.filename == MANIFEST:
                assert old in data
                data = data.replace(old, new)
            after.writestr(item, data)
    return target


@pytest.mark.parametrize("name", ["locked.odt", "locked-old.odt"])  # AES and SHA-256; Blowfish and SHA-1
def test_a_file_of_libreoffice_opens_with_its_password_and_no_other(name: str) -> None:
    path = FILES / name
    for wrong in ((), ("wrong", "S3cret")):
        with pytest.raises(QuarantineError, match=LOCKED) as caught:
            parse_file(path, detect(path), passwords=wrong)
        assert "--password-file" in caught.value.hint
    document = parse_file(path, detect(path), passwords=("wrong", "s3cret"))
    clear = parse_file(FILES / "lease.odt", "application/vnd.oasis.opendocument.text")
    assert (document.text, document.pages, document.mime) == (clear.text, clear.pages, clear.mime)


@pytest.mark.parametrize("name", ["budget.ods", "slides.odp"])
def test_a_package_that_is_locked_as_a_whole(tmp_path: Path, name: str) -> None:
    path = locked_whole(FILES / name, tmp_path / name, "s3cret")
    with pytest.raises(QuarantineError, match=LOCKED):
        parse_file(path, detect(path), passwords=("wrong",))
    document = parse_file(path, detect(path), passwords=("wrong", "s3cret"))
    assert document.text == parse_file(FILES / name, detect(FILES / name)).text


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b'iteration-count="100000"', b'iteration-count="2000000000"', "more work than is reasonable"),
        (b'key-size="32"', b'key-size="3200000000"', "damaged"),
        (b"aes256-cbc", b"rot13", "method that is not known"),
        (b"manifest:salt", b"manifest:pepper", "for certain people"),
        (b"</manifest:manifest>", b"", "damaged"),
    ],
)
def test_what_a_manifest_asks_for_is_not_done_whatever_it_is(
    tmp_path: Path, old: bytes, new: bytes, reason: str
) -> None:
    path = changed(FILES / "locked.odt", tmp_path / "a.odt", old, new)
    with pytest.raises(ParseError, match=reason):
        parse_file(path, detect(path), passwords=("s3cret",))


def test_a_key_that_needs_much_memory_is_not_made(tmp_path: Path) -> None:
    path = locked_whole(FILES / "budget.ods", tmp_path / "a.ods", "s3cret", memory=1 << 24)
    with pytest.raises(ParseError, match="more work than is reasonable"):
        parse_file(path, detect(path), passwords=("s3cret",))


def test_a_bomb_under_a_password_is_a_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # GIVEN a package whose text is 8 MB of nothing, locked
    plain = io.BytesIO()
    with zipfile.ZipFile(plain, "w", zipfile.ZIP_STORED) as package:
        package.writestr("mimetype", "application/vnd.oasis.opendocument.text")
        package.writestr("content.xml", bytes(8 << 20))
    (tmp_path / "plain.odt").write_bytes(plain.getvalue())
    path = locked_whole(tmp_path / "plain.odt", tmp_path / "a.odt", "s3cret")
    # WHEN a megabyte is the most THEN it is refused as a bomb
    monkeypatch.setattr(lockedodf, "_MOST_UNPACKED", 1 << 20)
    with pytest.raises(QuarantineError, match="decompression bomb"):
        parse_file(path, detect(path), passwords=("s3cret",))
