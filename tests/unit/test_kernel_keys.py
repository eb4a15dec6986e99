"""The appliance key: where it comes from, and replacing it while anything may go wrong."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from strongroom.crypto import KeyStore, Vault
from strongroom.crypto import keys as key_module
from strongroom.crypto import source as source_module
from strongroom.crypto.source import decode, derive, given_key, salt_of
from strongroom.errors import IntegrityError, UsageError

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))


def values(store: KeyStore) -> dict[str, bytes]:
    return {key_id: store.get(key_id) for key_id in store.ids()}


def filled(folder: Path, **how: Any) -> dict[str, bytes]:
    """A key store with some keys; returns them."""
    store = KeyStore(folder, **how)
    for _ in range(5):
        store.create()
    found = values(store)
    store.close()
    return found


def test_rotation_keeps_every_data_key_and_sealed_values_open(tmp_path: Path) -> None:
    store = KeyStore(tmp_path)
    vault = Vault(store)
    key_id = store.create()
    sealed = vault.seal_text(key_id, "words", "t.c:1")
    before, file = values(store), (tmp_path / "appliance.key").read_bytes()
    assert store.rotate() == 2
    assert values(store) == before
    store.close()
    assert (tmp_path / "appliance.key").read_bytes() != file
    assert (tmp_path / "appliance.key").stat().st_mode & 0o077 == 0
    again = KeyStore(tmp_path)
    assert values(again) == before
    assert Vault(again).open_text(sealed, "t.c:1") == "words"
    again.close()


def test_after_rotation_an_older_copy_of_the_store_opens_with_nothing_that_is_left(tmp_path: Path) -> None:
    filled(tmp_path / "now")
    shutil.copytree(tmp_path / "now", tmp_path / "backup")
    store = KeyStore(tmp_path / "now")
    store.rotate()
    store.close()
    (tmp_path / "backup" / "appliance.key").unlink()
    shutil.copy(tmp_path / "now" / "appliance.key", tmp_path / "backup" / "appliance.key")
    with pytest.raises(IntegrityError, match="does not open"):
        KeyStore(tmp_path / "backup")


def test_a_store_from_before_rotation_opens_and_rotates(tmp_path: Path) -> None:
    # GIVEN a store without the table that a rotation needs
    before = filled(tmp_path)
    store = KeyStore(tmp_path)
    store._db.execute("DROP TABLE wrapping")
    store.close()
    # THEN it opens, and a foreign key file is still noticed
    store = KeyStore(tmp_path)
    assert values(store) == before
    store.rotate()
    store.close()
    assert values(KeyStore(tmp_path)) == before
    (tmp_path / "appliance.key").write_bytes(KEY)
    with pytest.raises(IntegrityError, match="does not open"):
        KeyStore(tmp_path)


class Killed(BaseException):
    """Stands for the end of the process."""


def _failing_after(n: int, function: Callable[..., Any], count: list[int]) -> Callable[..., Any]:
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        count[0] += 1
        if count[0] == n:
            raise Killed
        return function(*args, **kwargs)

    return wrapped


@pytest.mark.parametrize("to", ["file", "given"])
def test_a_kill_at_any_step_of_a_rotation_leaves_a_store_that_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, to: str
) -> None:
    """Fails the n-th system call or encryption for n = 1, 2, 3 … until the rotation goes through."""
    outcomes = set()
    for n in range(1, 200):
        folder = tmp_path / str(n)
        before = filled(folder)
        store = KeyStore(folder)
        count = [0]
        with monkeypatch.context() as patched:
            for owner, name in (
                (os, "fsync"),
                (key_module, "seal"),
                (Path, "rename"),
                (Path, "unlink"),
                (os, "open"),
                (Path, "open"),
            ):
                patched.setattr(owner, name, _failing_after(n, getattr(owner, name), count))
            try:
                store.rotate(OTHER if to == "given" else None)
                done = True
            except Killed:
                done = False
        store._db.close()
        opened = None
        for given in (None, OTHER):
            try:
                opened = KeyStore(folder, given=given)
            except IntegrityError:
                continue
            outcomes.add(given)
            break
        assert opened is not None, f"nothing opens the store after step {n}"
        assert values(opened) == before
        opened.close()
        if done:
            assert not (folder / "appliance.key.next").exists()
            break
    else:
        pytest.fail("the rotation never went through")
    assert n > 8
    assert outcomes == ({None, OTHER} if to == "given" else {None})


def test_a_command_beside_the_server_survives_its_rotation(tmp_path: Path) -> None:
    before = filled(tmp_path)
    beside, server = KeyStore(tmp_path), KeyStore(tmp_path)
    server.rotate()
    assert values(beside) == before
    beside.close()
    server.close()


def test_the_key_moves_out_of_the_file_and_back(tmp_path: Path) -> None:
    before = filled(tmp_path)
    store = KeyStore(tmp_path)
    store.rotate(KEY)
    store.close()
    assert not (tmp_path / "appliance.key").exists()
    with pytest.raises(IntegrityError, match="is missing"):
        KeyStore(tmp_path)
    with pytest.raises(IntegrityError, match="does not open"):
        KeyStore(tmp_path, given=OTHER)
    store = KeyStore(tmp_path, given=KEY)
    with pytest.raises(IntegrityError, match="from outside"):
        store.rotate()
    store.rotate(to_file=True)
    store.close()
    store = KeyStore(tmp_path)
    assert values(store) == before
    store.close()


def test_a_given_key_is_never_written(tmp_path: Path) -> None:
    filled(tmp_path, given=KEY)
    assert not (tmp_path / "appliance.key").exists()
    assert all(KEY not in path.read_bytes() for path in tmp_path.iterdir())


# ---------------------------------------------------------------------------------------------------- sources


def test_the_environment_gives_the_key_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRONGROOM_APPLIANCE_KEY", KEY.hex())
    assert given_key("environment", tmp_path) == KEY
    assert "STRONGROOM_APPLIANCE_KEY" not in os.environ
    with pytest.raises(UsageError, match="STRONGROOM_APPLIANCE_KEY is not set"):
        given_key("environment", tmp_path)


def test_a_systemd_credential_gives_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="no credential"):
        given_key("credential", tmp_path)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "strongroom-appliance-key").write_text(KEY.hex() + "\n")
    assert given_key("credential", tmp_path) == KEY


@pytest.mark.parametrize("data", [KEY, KEY.hex().encode(), b"  " + KEY.hex().upper().encode() + b"\n"])
def test_spellings_of_a_key(data: bytes) -> None:
    assert decode(data, "it") == KEY


@pytest.mark.parametrize("data", [b"", b"short", KEY.hex().encode()[:-1], KEY + b"x", b"z" * 64])
def test_what_is_no_key_is_refused_and_not_repeated(data: bytes) -> None:
    with pytest.raises(IntegrityError) as caught:
        decode(data, "the thing")
    assert "the thing" in str(caught.value)
    assert not data or data.decode("latin-1") not in str(caught.value)


def test_a_passphrase_opens_what_it_made_and_nothing_else_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "_SCRYPT", {"n": 1 << 4, "r": 8, "p": 1})
    asked: list[bool] = []

    def ask(fresh: bool) -> str:
        asked.append(fresh)
        return "correct horse battery"

    first = given_key("prompt", tmp_path, ask=ask)
    assert first is not None
    before = filled(tmp_path, given=first)
    again = given_key("prompt", tmp_path, ask=ask)
    assert asked == [True, False]
    store = KeyStore(tmp_path, given=again)
    assert values(store) == before
    store.close()
    with pytest.raises(IntegrityError, match="does not open"):
        KeyStore(tmp_path, given=given_key("prompt", tmp_path, ask=lambda _: "another passphrase"))


def test_a_short_passphrase_is_refused_and_nobody_to_ask_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="fewer than 15"):
        derive("short", salt_of(tmp_path), fresh=True)
    with pytest.raises(UsageError, match="nobody can be asked"):
        given_key("prompt", tmp_path)


def test_the_salt_stays_when_the_passphrase_changes(tmp_path: Path) -> None:
    assert salt_of(tmp_path) == salt_of(tmp_path)
