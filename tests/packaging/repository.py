"""Where the repository is, and its scripts as importable modules. Not a test."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("strongroom", "ingest", "retrieval", "models", "server", "ui", "evals")


def script(name: str) -> ModuleType:
    """Import `scripts/<name>.py` under a name that cannot shadow a real package (`setup`, `check`)."""
    alias = f"strongroom_script_{name}"
    if alias not in sys.modules:
        spec = importlib.util.spec_from_file_location(alias, ROOT / "scripts" / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[alias] = module  # dataclasses look their module up while the body runs
        spec.loader.exec_module(module)
    return sys.modules[alias]
