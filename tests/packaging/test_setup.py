"""`make setup`: refuses early and clearly, never takes CUDA unasked, repeats no work."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.packaging.repository import ROOT, script


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The script with its folders moved into the test's own."""
    module = script("setup")
    venv = tmp_path / ".venv"
    monkeypatch.setattr(module, "VENV", venv)
    monkeypatch.setattr(module, "PYTHON", venv / "bin" / "python")
    monkeypatch.setattr(module, "STAMP", venv / "setup.json")
    (venv / "bin").mkdir(parents=True)
    return module


def _fake_python(folder: Path, *, supported: bool) -> Path:
    """A `python3` that answers the version question with yes or no, and says when it is handed the script."""
    path = folder / "python3"
    path.write_text(f'#!/bin/sh\n[ "$1" = -c ] && exit {0 if supported else 1}\necho "ran $1"\n', encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(("supported", "status"), [(True, 0), (False, 1)])
def test_an_unsupported_python_is_refused_with_a_hint(tmp_path: Path, *, supported: bool, status: int) -> None:
    python = _fake_python(tmp_path, supported=supported)
    done = subprocess.run(
        [str(ROOT / "scripts" / "setup.sh")],
        env={**os.environ, "PYTHON": str(python)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status
    assert ("ran scripts/setup.py" in done.stdout) is supported
    assert ("hint: Install one" in done.stderr) is not supported


def test_another_platform_is_refused_with_the_reason(tmp_path: Path) -> None:
    uname = tmp_path / "uname"
    uname.write_text("#!/bin/sh\necho Darwin arm64\n", encoding="utf-8")
    uname.chmod(0o755)
    done = subprocess.run(
        [str(ROOT / "scripts" / "setup.sh")],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Linux x86-64" in done.stderr


def test_no_compiler_is_said_before_anything_is_downloaded(
    setup: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(setup.shutil, "which", lambda _name: None)
    with pytest.raises(setup.SetupError, match="no C\\+\\+ compiler") as caught:
        setup.check_machine()
    assert "build-essential" in caught.value.hint


def test_torch_is_the_cpu_build_of_pips_own_configuration_when_there_is_one(
    setup: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup, "has_nvidia_gpu", lambda: False)
    monkeypatch.setattr(setup, "_succeeds", lambda command: "--index-url" not in command)
    assert setup.torch_arguments("2.13.0", "auto") == ["torch==2.13.0+cpu"]


def test_torch_is_the_cpu_build_of_its_own_index_otherwise(
    setup: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup, "has_nvidia_gpu", lambda: False)
    monkeypatch.setattr(setup, "_succeeds", lambda command: "--index-url" in command)
    arguments = setup.torch_arguments("2.13.0", "auto")
    assert arguments[-1] == "torch==2.13.0+cpu"
    assert setup.TORCH_CPU_INDEX in arguments


@pytest.mark.parametrize(("gpu", "choice"), [(False, "auto"), (False, "cpu"), (True, "cpu")])
def test_no_cuda_unasked(setup: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, *, gpu: bool, choice: str) -> None:
    """GIVEN no CPU build anywhere THEN setup stops and names the choices instead of fetching gigabytes."""
    monkeypatch.setattr(setup, "has_nvidia_gpu", lambda: gpu)
    monkeypatch.setattr(setup, "_succeeds", lambda _command: False)
    with pytest.raises(setup.SetupError, match="no CPU build of torch") as caught:
        setup.torch_arguments("2.13.0", choice)
    assert "TORCH=default" in caught.value.hint


@pytest.mark.parametrize(("gpu", "choice"), [(True, "auto"), (False, "default")])
def test_the_default_build_for_a_gpu_or_on_request(
    setup: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, *, gpu: bool, choice: str
) -> None:
    monkeypatch.setattr(setup, "has_nvidia_gpu", lambda: gpu)
    assert setup.torch_arguments("2.13.0", choice) == ["torch==2.13.0"]


def test_a_local_build_satisfies_its_pin(setup: SimpleNamespace) -> None:
    site = setup.VENV / "lib" / "python3.11" / "site-packages"
    (site / "torch-2.13.0+cpu.dist-info").mkdir(parents=True)
    assert setup.installed("torch", "2.13.0")
    assert not setup.installed("torch", "2.13.1")
    assert not setup.installed("llama-cpp-python", "2.13.0")


def test_the_stamp_changes_with_pins_and_dependencies_only(
    setup: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pins = tmp_path / "pins.txt"
    pins.write_text("a==1\n", encoding="utf-8")
    first = setup.fingerprint(pins)
    assert setup.fingerprint(pins) == first
    pins.write_text("a==2\n", encoding="utf-8")
    assert setup.fingerprint(pins) != first
    pins.write_text("a==1\n", encoding="utf-8")
    changed = {**setup.project(), "dependencies": ["b>=1"]}
    monkeypatch.setattr(setup, "project", lambda: changed)
    assert setup.fingerprint(pins) != first


def test_a_broken_or_missing_stamp_means_work_to_do(setup: SimpleNamespace) -> None:
    assert setup.read_stamp() == {}
    setup.PYTHON.write_text("", encoding="utf-8")
    setup.STAMP.write_text("{", encoding="utf-8")
    assert setup.read_stamp() == {}
    setup.write_stamp({"environment": "x"})
    assert setup.read_stamp() == {"environment": "x"}


def test_a_vanished_model_is_noticed(setup: SimpleNamespace, tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    weights.write_bytes(b"1234")
    assert setup._all_present([(str(weights), 4)])
    assert not setup._all_present([(str(weights), 5)])
    weights.unlink()
    assert not setup._all_present([(str(weights), 4)])
    assert not setup._all_present([])


@pytest.mark.parametrize("name", ["STRONGROOM_MODELS_DIR", "XDG_DATA_HOME", "HOME"])
def test_models_that_lie_elsewhere_are_not_taken_for_installed(
    setup: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    weights = tmp_path / "weights"
    weights.write_bytes(b"1234")
    stamp = {"models": [(str(weights), 4)], "models_for": setup._where_models_go()}
    assert setup.models_present(stamp)
    monkeypatch.setenv(name, str(tmp_path / "another"))
    assert not setup.models_present(stamp)
