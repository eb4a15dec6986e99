"""Import rules that the contracts of `.importlinter` cannot state: standard library only, and closed lists."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

from tests.packaging.repository import PACKAGES, ROOT

PURE = ("types.py", "errors.py", "layout.py", "access.py", "quotes.py")
UI_MAY_KNOW = {
    "strongroom.client",
    "strongroom.errors",
    "strongroom.people",
    "strongroom.types",
    "strongroom.wire",
}
UI_MAY_ALSO_KNOW = {
    "strongroom.flags",  # what marks of a passage mean, in words
    "strongroom.quotes",  # which words of a quote answer
    "strongroom.words",  # sizes, counts and places in words
    "strongroom.airgap",  # its own process: switches and guard come first
    "strongroom.listen",  # how to listen on loopback
    "strongroom.connections",  # deadlines for slow clients, as the server has them
    "strongroom.signin",  # proves to the server that it is its UI
    "strongroom.tls",  # its own certificate
}
ONE_IMPORTER = {
    "unstructured": "ingest/parse",
    "qdrant_client": "retrieval/index",
    "qdrant_edge": "retrieval/index",
    "llama_cpp": "models/llm.py",
    "openvino": "models",
    "rapidocr": "ingest/parse/ocr.py",
    "streamlit": "ui",
}


@cache
def imports(path: Path) -> frozenset[str]:
    """Absolute names that a file imports, wherever in it: modules, and what is taken from them."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide what a module knows"
            assert node.module is not None
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(names)


def roots(path: Path) -> set[str]:
    """Top-level packages that a file imports."""
    return {name.split(".")[0] for name in imports(path)}


def python_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py") if "__pycache__" not in path.parts)


@pytest.mark.parametrize("name", PURE)
def test_domain_modules_use_the_standard_library_only(name: str) -> None:
    path = ROOT / "strongroom" / name
    assert roots(path) - sys.stdlib_module_names <= {"strongroom"}
    ours = {module for module in imports(path) if re.fullmatch(r"strongroom\.\w+", module)}
    assert ours <= {f"strongroom.{other.removesuffix('.py')}" for other in PURE}


def test_the_ui_knows_the_client_and_nothing_of_the_engine() -> None:
    files = python_files(ROOT / "ui")
    assert files
    for path in files:
        ours = {name for name in imports(path) if name.split(".")[0] in PACKAGES and not name.startswith("ui")}
        modules = {".".join(module.split(".")[:2]) for module in ours if module != "strongroom"}
        assert modules <= UI_MAY_KNOW | UI_MAY_ALSO_KNOW, path


@pytest.mark.parametrize(("library", "home"), ONE_IMPORTER.items())
def test_each_foreign_library_has_one_importing_package(library: str, home: str) -> None:
    importers = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in python_files(ROOT / package)
        if library in roots(path)
    }
    assert importers, f"nothing imports {library}: drop it from the dependencies"
    strays = {importer for importer in importers if importer != home and not importer.startswith(f"{home}/")}
    assert strays == set()


def test_llama_index_stays_where_it_is_allowed() -> None:
    """LlamaIndex objects do not cross borders: only retrieval and the chunker may know the library."""
    strays = [
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in python_files(ROOT / package)
        if "llama_index" in roots(path)
    ]
    assert [stray for stray in strays if not stray.startswith(("retrieval/", "ingest/chunk"))] == []


IMPORT_NAME = {
    "argon2-cffi": "argon2",
    "llama-cpp-python": "llama_cpp",
    "llama-index-core": "llama_index",
    "msoffcrypto-tool": "msoffcrypto",
    "opencv-python-headless": "cv2",
    "pillow": "PIL",
    "pypandoc-binary": "pypandoc",
    "python-oxmsg": "oxmsg",
    "qdrant-edge-py": "qdrant_edge",
}
NOT_IMPORTED = {
    "accelerate",  # transformers asks for it and for gguf when it opens a GGUF file
    "gguf",
    "names",  # lists of names, read as data
    "onnxruntime",  # rapidocr's engine, chosen by name
    "opencv-python-headless",  # rapidocr's image functions; declared so that the build with a GUI never comes instead
    "python-multipart",  # FastAPI imports it for uploads
}


def test_declared_dependencies_are_those_that_are_imported() -> None:
    """One that nothing uses is an attack surface; one that is used but not declared can vanish with its bringer."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [item for extra, items in project["optional-dependencies"].items() if extra != "dev" for item in items]
    names = {re.split(r"[\[<>=]", item)[0].strip() for item in [*project["dependencies"], *extras]}
    wanted = {IMPORT_NAME.get(name, name.replace("-", "_")) for name in names - NOT_IMPORTED}
    used = {root for package in PACKAGES for path in python_files(ROOT / package) for root in roots(path)}
    foreign = used - sys.stdlib_module_names - set(PACKAGES)
    assert names >= NOT_IMPORTED
    assert (wanted - foreign, foreign - wanted) == (set(), set())
