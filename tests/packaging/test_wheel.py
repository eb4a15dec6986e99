"""The wheel holds the product's packages, what they read at run time, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.packaging.repository import PACKAGES, ROOT, script

LARGEST_FILE = 8 << 20  # bytes; no weights ride in the wheel but the reader's differences


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Build with the back end of this environment: nothing is fetched."""
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = out.glob("*.whl")
    return zipfile.ZipFile(built)


def test_top_level_names_are_the_packages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    metadata = {top for top in tops if top.endswith(".dist-info")}
    assert len(metadata) == 1
    assert tops - metadata == set(PACKAGES)


def test_every_module_of_the_repository_is_in_it(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    modules = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if "__pycache__" not in path.parts
    }
    assert modules - names == set()


@pytest.mark.parametrize(
    "needed",
    [
        "models/catalogue.toml",
        "models/reader/LICENSE.md",
        "models/reader/MODEL_CARD.md",
        "models/reader/reader.safetensors",
        "strongroom/catalog/migrations/script.py.mako",
    ],
)
def test_files_that_are_read_at_run_time_are_in_it(wheel: zipfile.ZipFile, needed: str) -> None:
    assert needed in wheel.namelist()


def test_no_weights_no_caches_no_secrets(wheel: zipfile.ZipFile) -> None:
    large = [info.filename for info in wheel.infolist() if info.file_size > LARGEST_FILE]
    stray = [name for name in wheel.namelist() if name.endswith((".pyc", ".key", ".pem", ".gguf", ".db", ".log"))]
    assert (large, stray) == ([], [])


def test_metadata_name_licence_python_and_command(wheel: zipfile.ZipFile) -> None:
    folder = next(name.split("/")[0] for name in wheel.namelist() if ".dist-info/" in name)
    metadata = wheel.read(f"{folder}/METADATA").decode()
    assert "License-Expression: Apache-2.0" in metadata
    assert "Requires-Python: <3.14,>=3.11" in metadata
    assert {f"{folder}/licenses/LICENSE", f"{folder}/licenses/NOTICE"} <= set(wheel.namelist())
    assert "strongroom = strongroom.__main__:main" in wheel.read(f"{folder}/entry_points.txt").decode()


def test_each_python_has_a_pin_for_every_declared_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lock = script("lock")
    declared = {
        lock.canonical(item.split("[")[0].split(">")[0].split("=")[0].split("<")[0]) for item in lock.requirements()
    }
    assert len(declared) >= len(project["dependencies"])
    for version in lock.VERSIONS:
        pins = lock.read_pins(ROOT / "constraints" / f"py{version.replace('.', '')}.txt")
        assert declared - set(pins) == set(), version
        assert {"pip", "torch"} <= set(pins), version


@pytest.mark.parametrize("path", sorted((ROOT / "constraints").glob("*.txt")), ids=lambda path: path.name)
def test_constraints_hold_names_and_versions_alone(path: Path) -> None:
    """No index, no path, no local version: the same file works with any mirror."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            name, separator, version = line.partition("==")
            assert separator, line
            assert not set(name + version) & set("/:@+ "), line


def test_this_environment_is_what_the_constraints_say() -> None:
    """Tests run on what users get: an unpinned or drifted package would hide a failure."""
    import importlib.metadata

    lock = script("lock")
    pins = lock.read_pins(ROOT / "constraints" / f"py{sys.version_info[0]}{sys.version_info[1]}.txt")
    drift = {
        (name, distribution.version, pins.get(name))
        for distribution in importlib.metadata.distributions()
        if (name := lock.canonical(distribution.metadata["Name"])) not in {"strongroom", "pip"}
        and distribution.version.split("+")[0] != pins.get(name)
    }
    assert drift == set()


def test_pins_accept_the_oldest_patch_release_that_users_have() -> None:
    """Debian 12 ships 3.11.2; a package that asks for 3.11.5 would make `make setup` fail there and nowhere else."""
    import importlib.metadata

    from packaging.specifiers import SpecifierSet

    oldest = {(3, 11): "3.11.2", (3, 12): "3.12.1", (3, 13): "3.13.0"}[sys.version_info[:2]]
    refusing = {
        (distribution.metadata["Name"], needed)
        for distribution in importlib.metadata.distributions()
        if (needed := distribution.metadata.get("Requires-Python")) and oldest not in SpecifierSet(needed)
    }
    assert refusing == set()
