"""Sealed values, streams and the key store: round trips, and every attack that must fail."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.crypto import KeyStore, Sealed, Vault, open_stream, seal_stream
from strongroom.crypto import keys as key_module
from strongroom.crypto.seal import SEGMENT_BYTES, TAG_BYTES, seal, unseal
from strongroom.errors import IntegrityError, NotPermittedError

KEY = bytes(range(32))
KEY_ID = "00000000-0000-4000-8000-000000000001"


@given(st.binary(max_size=200), st.text(max_size=30))
def test_seal_round_trip(data: bytes, aad: str) -> None:
    sealed = seal(KEY, KEY_ID, data, aad)
    assert unseal(KEY, sealed, aad) == data
    assert sealed.key_id == KEY_ID
    assert data == b"" or len(data) < 4 or data not in sealed


@given(st.binary(min_size=1, max_size=64), st.data())
def test_any_changed_byte_is_noticed(data: bytes, draw: st.DataObject) -> None:
    sealed = bytearray(seal(KEY, KEY_ID, data, "row:1"))
    at = draw.draw(st.integers(17, len(sealed) - 1))
    sealed[at] ^= draw.draw(st.integers(1, 255))
    with pytest.raises(IntegrityError):
        unseal(KEY, bytes(sealed), "row:1")


def test_a_value_moved_to_another_row_does_not_open() -> None:
    with pytest.raises(IntegrityError, match=r"chunks\.text:2"):
        unseal(KEY, seal(KEY, KEY_ID, b"secret", "chunks.text:1"), "chunks.text:2")


@pytest.mark.parametrize("size", [0, 1, SEGMENT_BYTES - 1, SEGMENT_BYTES, SEGMENT_BYTES + 1, 2 * SEGMENT_BYTES])
def test_stream_round_trip(size: int) -> None:
    data = os.urandom(size)
    sink = io.BytesIO()
    assert seal_stream(KEY, io.BytesIO(data), sink, "blob:1") == size
    assert b"".join(open_stream(KEY, io.BytesIO(sink.getvalue()), "blob:1")) == data


def test_a_stream_cut_reordered_or_swapped_does_not_open() -> None:
    # GIVEN a blob of three segments
    sink = io.BytesIO()
    seal_stream(KEY, io.BytesIO(os.urandom(2 * SEGMENT_BYTES + 10)), sink, "blob:1")
    blob, step = sink.getvalue(), SEGMENT_BYTES + TAG_BYTES
    head, first, second, third = blob[:8], blob[8 : 8 + step], blob[8 + step : 8 + 2 * step], blob[8 + 2 * step :]
    attacks = {
        "cut at a segment": head + first + second,
        "cut inside": blob[:-1],
        "reordered": head + second + first + third,
        "dropped": head + first + third,
        "lengthened": blob + b"x",
        "emptied": b"",
    }
    # WHEN and THEN
    for name, attacked in attacks.items():
        try:
            b"".join(open_stream(KEY, io.BytesIO(attacked), "blob:1"))
        except IntegrityError:
            continue
        pytest.fail(f"a blob that was {name} opened")
    with pytest.raises(IntegrityError):
        b"".join(open_stream(KEY, io.BytesIO(blob), "blob:2"))


def test_keys_survive_reopening_and_are_never_stored_in_the_clear(tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "keys")
    key_id = store.create()
    key = store.get(key_id)
    store.close()
    again = KeyStore(tmp_path / "keys")
    assert again.get(key_id) == key
    again.close()
    assert all(key not in p.read_bytes() for p in (tmp_path / "keys").iterdir())


def test_a_destroyed_key_is_gone_from_memory_and_disk(tmp_path: Path) -> None:
    # GIVEN
    store = KeyStore(tmp_path / "keys")
    key_id = store.create()
    store.get(key_id)
    wrapped = store._db.execute("SELECT wrapped FROM keys").fetchone()[0]
    # WHEN
    assert store.destroy([key_id, "unknown"]) == 1
    # THEN
    with pytest.raises(IntegrityError, match=key_id):
        store.get(key_id)
    store.close()
    assert all(wrapped not in p.read_bytes() for p in (tmp_path / "keys").iterdir())


def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    KeyStore(tmp_path / "keys").close()
    (tmp_path / "keys" / "appliance.key").chmod(0o640)
    with pytest.raises(NotPermittedError, match=r"appliance\.key"):
        KeyStore(tmp_path / "keys")


def test_a_lost_key_file_is_never_replaced_by_a_new_one(tmp_path: Path) -> None:
    KeyStore(tmp_path / "keys").close()
    (tmp_path / "keys" / "appliance.key").unlink()
    with pytest.raises(IntegrityError, match="missing"):
        KeyStore(tmp_path / "keys")
    assert not (tmp_path / "keys" / "appliance.key").exists()


def test_keys_of_another_appliance_do_not_open_values(tmp_path: Path) -> None:
    ours, theirs = Vault(KeyStore(tmp_path / "a")), Vault(KeyStore(tmp_path / "b"))
    key_id = ours.keys.create()
    sealed = ours.seal_text(key_id, "words", "t.c:1")
    with pytest.raises(IntegrityError):
        theirs.open_text(sealed, "t.c:1")


@settings(max_examples=30)
@given(st.text(st.characters(codec=None), max_size=40))
def test_text_round_trips_even_with_lone_surrogates(text: str) -> None:
    class Keys:
        def has(self, _key_id: str) -> bool:
            return True

        def get(self, _key_id: str) -> bytes:
            return KEY

    vault = Vault(Keys())  # type: ignore[arg-type]
    assert vault.open_text(vault.seal_text(KEY_ID, text, "a"), "a") == text


def test_sealed_is_told_apart_from_plain_bytes() -> None:
    assert isinstance(seal(KEY, KEY_ID, b"", ""), Sealed)
    assert not isinstance(b"plain", Sealed)


def test_a_key_that_is_destroyed_while_it_is_read_does_not_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # GIVEN a key that is not in memory
    first = KeyStore(tmp_path)
    key_id = first.create()
    first.close()
    keys = KeyStore(tmp_path)
    # WHEN it is destroyed by another thread between being read and being kept
    destroyer = threading.Thread(target=keys.destroy, args=([key_id],))

    def slow(*args: Any) -> bytes:
        destroyer.start()
        destroyer.join(0.2)
        return unseal(*args)

    monkeypatch.setattr(key_module, "unseal", slow)
    keys.get(key_id)
    destroyer.join()
    # THEN it is gone
    with pytest.raises(IntegrityError, match="does not exist"):
        keys.get(key_id)
    keys.close()


def test_a_crash_while_the_appliance_key_is_made_leaves_nothing_in_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(_fd: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", crash)
        patched.setattr(os, "urandom", lambda _n: b"half")
        with pytest.raises(KeyboardInterrupt):
            KeyStore(tmp_path)
    keys = KeyStore(tmp_path)
    assert len(keys.get(keys.create())) == 32
    keys.close()
