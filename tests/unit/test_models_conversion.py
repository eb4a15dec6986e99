"""The forms that an embedder gets when it is installed, and what becomes of models that older versions installed."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

from models import registry as registry_module
from models.defaults import open_embedder
from models.embedder import FastEmbedder
from models.incoming import path_sha256
from models.receipt import read_receipt, write_receipt
from models.registry import Registry
from strongroom.errors import ModelError
from tests.contract.test_embedder_contract import TEXTS, make_directory

MODEL = "tiny-embedder"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models directory with one small embedder."""
    root = tmp_path_factory.mktemp("installed")
    folder = make_directory(root / "carried")
    Registry(root / "models").import_file(MODEL, folder, path_sha256(folder), kind="embedder")
    return root / "models"


@pytest.fixture
def models_dir(installed: Path, tmp_path: Path) -> Path:
    return shutil.copytree(installed, tmp_path / "models")


def as_an_older_version_left_it(models_dir: Path) -> Path:
    """Take the form in 8 bits out of the folder and the receipt."""
    folder = models_dir / MODEL
    receipt = read_receipt(folder)
    assert receipt is not None
    files = tuple(file for file in receipt.files if not file.path.startswith("eight-bits/"))
    assert len(files) == len(receipt.files) - 2
    write_receipt(folder, replace(receipt, files=files))
    shutil.rmtree(folder / "eight-bits")
    return folder


def passages_of(models_dir: Path) -> str:
    """What an opened embedder's passages were embedded in."""
    embedder = open_embedder(models_dir, MODEL, threads=1)
    assert isinstance(embedder, FastEmbedder)
    embedder.embed_documents(TEXTS)
    return embedder.passage_precision


def test_an_installed_embedder_embeds_passages_in_8_bits(models_dir: Path) -> None:
    assert passages_of(models_dir) == "i8"
    assert Registry(models_dir).verify(MODEL) == []


def test_a_stated_precision_holds_for_passages_too(models_dir: Path) -> None:
    embedder = open_embedder(models_dir, MODEL, "fast", threads=1, precision="f32")
    assert isinstance(embedder, FastEmbedder)
    vectors = embedder.embed_documents(TEXTS)
    assert embedder.passage_precision == embedder.precision == "f32"
    alone = np.stack([embedder.embed_query(text) for text in TEXTS])
    assert float((vectors * alone).sum(1).min()) >= 0.9999


def test_a_model_of_an_older_version_is_converted_once(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = as_an_older_version_left_it(models_dir)
    assert passages_of(models_dir) == "i8"
    assert Registry(models_dir).verify(MODEL) == []

    def never(*_: object) -> NoReturn:
        raise AssertionError("converted twice")

    monkeypatch.setattr(registry_module, "convert_to_eight_bits", never)
    assert passages_of(models_dir) == "i8"
    assert sorted(path.name for path in (folder / "eight-bits").iterdir()) == ["encoder.bin", "encoder.xml"]


def test_a_model_that_loses_too_much_is_not_tried_again(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def refuse(_spec: object, _converted: Path, folder: Path) -> None:
        tried.append(folder)
        folder.mkdir()
        (folder / "refused.txt").write_text("too far")

    as_an_older_version_left_it(models_dir)
    monkeypatch.setattr(registry_module, "convert_to_eight_bits", refuse)
    assert passages_of(models_dir) == passages_of(models_dir) != "i8"
    assert len(tried) == 1


def test_what_a_conversion_that_was_cut_off_left_is_never_opened(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # GIVEN a folder that no receipt knows, as after a crash between the two steps
    folder = as_an_older_version_left_it(models_dir)
    (folder / "eight-bits").mkdir()
    (folder / "eight-bits" / "encoder.xml").write_text("half")
    # WHEN the directory cannot be written THEN it is not opened; when it can THEN it is replaced
    with monkeypatch.context() as patch:

        def locked(_self: Registry) -> NoReturn:
            raise ModelError("the models directory cannot be written")

        patch.setattr(Registry, "_lock", locked)
        assert passages_of(models_dir) != "i8"
    assert passages_of(models_dir) == "i8"
    assert Registry(models_dir).verify(MODEL) == []


def test_a_changed_form_in_8_bits_is_refused(models_dir: Path) -> None:
    graph = models_dir / MODEL / "eight-bits" / "encoder.bin"
    graph.write_bytes(graph.read_bytes()[:-1] + b"\x55")
    with pytest.raises(ModelError, match=r"eight-bits/encoder\.bin was changed after it was installed"):
        open_embedder(models_dir, MODEL)
