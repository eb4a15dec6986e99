"""Import rules that the contracts of `.importlinter` cannot state: standard library only, and closed lists."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.packaging.repository import PACKAGES, ROOT

PURE = ("types.py", "errors.py", "layout.py", "access.py")
UI_MAY_KNOW = {"strongroom.client", "strongroom.types", "strongroom.errors", "strongroom.wire"}
UI_MAY_ALSO_KNOW = {
    "strongroom.airgap",  # its own process: switches and guard come first
    "strongroom.listen",  # how to listen on loopback
    "strongroom.signin",  # checks one-time codes
}
ONE_IMPORTER = {
    "unstructured": "ingest/parse",
    "qdrant_client": "retrieval/index",
    "qdrant_edge": "retrieval/index",
    "llama_cpp": "models",
    "openvino": "models",
    "streamlit": "ui",
}


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Absolute module names that a file imports, wherever in it, and whether only for the type checker."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for child in node.body
        for inner in ast.walk(child)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) in typing_only
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide what a module knows"
            assert node.module is not None
            yield node.module, id(node) in typing_only
            for alias in node.names:
                yield f"{node.module}.{alias.name}", id(node) in typing_only


def python_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py") if "__pycache__" not in path.parts)


@pytest.mark.parametrize("name", PURE)
def test_domain_modules_use_the_standard_library_only(name: str) -> None:
    roots = {module.split(".")[0] for module, _ in imports(ROOT / "strongroom" / name)}
    assert roots - sys.stdlib_module_names <= {"strongroom"}
    ours = {module for module, _ in imports(ROOT / "strongroom" / name) if module.count(".") == 1}
    assert {module for module in ours if module.startswith("strongroom.")} <= {
        f"strongroom.{other.removesuffix('.py')}" for other in PURE
    }


def test_the_ui_knows_the_client_and_nothing_of_the_engine() -> None:
    files = python_files(ROOT / "ui")
    assert files
    for path in files:
        known = {module for module, _ in imports(path)}
        ours = {module for module in known if module.split(".")[0] in PACKAGES and not module.startswith("ui")}
        modules = {".".join(module.split(".")[:2]) for module in ours if module != "strongroom"}
        assert modules <= UI_MAY_KNOW | UI_MAY_ALSO_KNOW, path


@pytest.mark.parametrize(("library", "home"), ONE_IMPORTER.items())
def test_each_foreign_library_has_one_importing_package(library: str, home: str) -> None:
    importers = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in python_files(ROOT / package)
        if library in {module.split(".")[0] for module, _ in imports(path)}
    }
    assert importers, f"nothing imports {library}: drop it from the dependencies"
    assert {importer for importer in importers if not importer.startswith(f"{home}/")} == set()


@pytest.mark.parametrize("library", ["llama_cpp", "openvino"])
def test_native_engines_have_one_importing_module(library: str) -> None:
    importers = [
        path.name for path in python_files(ROOT / "models") if library in {m.split(".")[0] for m, _ in imports(path)}
    ]
    assert len(importers) == 1, importers


def test_llama_index_stays_where_it_is_allowed() -> None:
    """LlamaIndex objects do not cross borders: only retrieval and the chunker may know the library."""
    strays = [
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in python_files(ROOT / package)
        if "llama_index" in {module.split(".")[0] for module, _ in imports(path)}
    ]
    assert [stray for stray in strays if not stray.startswith(("retrieval/", "ingest/chunk"))] == []


def test_every_declared_dependency_is_imported_or_explained() -> None:
    """A dependency that nothing uses is an attack surface; one that is used must be declared."""
    import tomllib

    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    import_name = {
        "opencv-python-headless": "cv2",
        "pillow": "PIL",
        "llama-cpp-python": "llama_cpp",
        "llama-index-core": "llama_index",
        "python-multipart": "python_multipart",
        "qdrant-edge-py": "qdrant_edge",
    }
    indirect = {
        "python-multipart",  # FastAPI imports it for uploads
        "onnxruntime",  # rapidocr's engine, chosen by name
        "opencv-python-headless",  # rapidocr's image functions; pinned here so that the one with a GUI never comes
        "torch",  # sentence-transformers computes with it; pinned here for the choice of build
    }
    used = {m.split(".")[0] for package in PACKAGES for path in python_files(ROOT / package) for m, _ in imports(path)}
    names = [item.split("[")[0].split(">")[0].split("=")[0].split("<")[0].strip() for item in declared]
    unused = [
        name for name in names if name not in indirect and import_name.get(name, name.replace("-", "_")) not in used
    ]
    assert unused == []
