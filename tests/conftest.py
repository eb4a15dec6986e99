"""What every test runs under: opt-out switches set, the socket guard on, no setting of the person who runs the tests.

Must not start a model, a server or a browser; that belongs to fixtures of the tier that needs one.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from strongroom import airgap

airgap.prepare_environment()  # before any test module imports a library that would report home

import pytest  # noqa: E402

_KEPT_SETTINGS = {"STRONGROOM_MODELS_DIR"}  # weights are shared and never written by a test
_REQUIRED = "STRONGROOM_TEST_REQUIRE"  # comma-separated markers whose absence is a failure: set by the Makefile


def pytest_configure() -> None:
    """Switch the guard on before test modules are imported, so that a look-up at import is refused too."""
    for name in [name for name in os.environ if name.startswith("STRONGROOM_")]:
        if name not in _KEPT_SETTINGS and not name.startswith("STRONGROOM_TEST_"):
            del os.environ[name]
    airgap.enforce()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what this machine lacks, with the reason; a tier that the command promised must not be skipped."""
    required = {name for name in os.environ.get(_REQUIRED, "").split(",") if name}
    lacking = {
        "models": None if _default_models_present() else "the default models are not installed: run `make setup`",
        "browser": None if _chromium() else "no chromium: apt-get install chromium",
        "qdrant": None if os.environ.get("STRONGROOM_TEST_QDRANT_URL") else "STRONGROOM_TEST_QDRANT_URL is not set",
    }
    missing = {name: reason for name, reason in lacking.items() if reason}
    promised = sorted(required & set(missing))
    if promised:
        raise pytest.UsageError("; ".join(f"{name}: {missing[name]}" for name in promised))
    for item in items:
        for name, reason in missing.items():
            if item.get_closest_marker(name):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(autouse=True)
def _nothing_leaves(request: pytest.FixtureRequest) -> Iterator[None]:
    """Guard on, whatever the last test did to it; a refused attempt fails the test, for libraries swallow errors."""
    airgap.enforce()
    before = airgap.attempts()
    yield
    refused = airgap.attempts() - before
    airgap.enforce()
    if refused and not request.node.get_closest_marker("egress"):
        pytest.fail(f"{refused} connection(s) or look-up(s) beyond loopback were attempted and refused")


@pytest.fixture(autouse=True)
def _own_data_dir(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point the data directory at a fresh place, so that no test can touch the appliance of the person running it."""
    monkeypatch.setenv("STRONGROOM_DATA_DIR", str(tmp_path_factory.mktemp("data") / "strongroom"))


@pytest.fixture(autouse=True)
def _main_module() -> Iterator[None]:
    """Put `__main__` back: Streamlit's test harness leaves its script there, and a spawned child would run it."""
    before = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = before


def _default_models_present() -> bool:
    """True when the models directory holds something; the registry checks hashes when a test loads a model."""
    home = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    models = Path(os.environ.get("STRONGROOM_MODELS_DIR") or home / "strongroom" / "models")
    return models.is_dir() and any(models.iterdir())


def _chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser")
