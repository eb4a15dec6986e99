"""Open installed models by id: the functions that the wiring calls, and the ids of the two defaults.

Nothing heavy is imported until a model is opened.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from models.catalogue import Kind
from models.registry import InstalledModel, OnModelEvent, Registry
from models.spec import EmbedderSpec, read_spec
from strongroom.errors import ModelError, UsageError

if TYPE_CHECKING:
    from models.cross_encoder import CrossEncoderNli, CrossEncoderReranker
    from models.embedder import Precision
    from models.llm import LlamaChatModel
    from models.reader_weights import Artefact
    from models.speech import WhisperSpeech
    from strongroom.ports import Embedder, Reader

log = logging.getLogger(__name__)

DEFAULT_EMBEDDER = "all-minilm-l6-v2"
DEFAULT_LLM = "smollm2-135m-instruct-q4_1"
DEFAULT_MODELS = (DEFAULT_EMBEDDER, DEFAULT_LLM)

Backend = Literal["auto", "fast", "reference"]

_KINDS: dict[Kind, str] = {
    "embedder": "an embedder",
    "llm": "a language model",
    "reranker": "a reranker",
    "nli": "an NLI model",
    "speech": "a speech model",
}


def embedder_spec(models_dir: Path, model_id: str) -> EmbedderSpec:
    """What an installed embedder says about itself. Raises `ModelError`."""
    registry = Registry(models_dir)
    directory = _installed(registry, model_id, "embedder")
    receipt = registry.receipt(model_id)
    return read_spec(
        directory,
        name=model_id,
        hashes=receipt.hashes("files"),
        query_prefix=receipt.query_prefix,
        document_prefix=receipt.document_prefix,
    )


def tokenizer_path(models_dir: Path, model_id: str) -> Path:
    """The embedder's `tokenizer.json`, for `models.tokenizer.FileTokenizer`. Raises `ModelError`."""
    return embedder_spec(models_dir, model_id).tokenizer_file


def open_embedder(
    models_dir: Path,
    model_id: str,
    backend: Backend = "auto",
    *,
    threads: int = 0,
    precision: Precision = "auto",
    device: str = "cpu",
) -> Embedder:
    """Load an installed embedder. Raises `ModelError`.

    `fast` is OpenVINO, `reference` is fp32 torch; `auto` takes the fast one when the model has it and it passes its
    self-test. `threads` 0 means the CPU quota of this process. `precision` is the fast one's: `auto` embeds passages
    in 8 bits, and questions in bf16 where the processor has it. `device` is the reference's: `cpu` or `cuda`.
    """
    from models.embedder import FastEmbedder, ReferenceEmbedder

    if backend not in ("auto", "fast", "reference"):
        raise UsageError(f"unknown embedder backend {backend!r}", hint="Use auto, fast or reference.")
    spec = embedder_spec(models_dir, model_id)
    if backend == "reference":
        return ReferenceEmbedder(spec, threads=threads, device=device)
    registry = Registry(models_dir)
    fast = registry.fast_path(model_id)
    if fast is None:
        if backend == "fast":
            raise ModelError(
                f"{model_id} has no fast form: its architecture is not supported", hint="Use backend auto or reference."
            )
        log.info("embedder %s: no fast form for this architecture, using fp32 torch", model_id)
        return ReferenceEmbedder(spec, threads=threads)
    try:
        eight_bits = registry.eight_bits_path(model_id) if precision == "auto" else None
        return FastEmbedder(spec, fast, eight_bits, threads=threads, precision=precision)
    except ModelError as exc:
        if backend == "fast":
            raise
        log.warning("embedder %s: %s; using fp32 torch", model_id, exc)
        return ReferenceEmbedder(spec, threads=threads)


def open_llm(
    models_dir: Path, model_id: str, *, context_tokens: int = 4096, threads: int = 0, cache_type: str = "f16"
) -> LlamaChatModel:
    """Load an installed language model. Raises `ModelError` (missing, changed, or without a chat template)."""
    from models.llm import LlamaChatModel

    path = _installed(Registry(models_dir), model_id, "llm")
    return LlamaChatModel(path, name=model_id, context_tokens=context_tokens, threads=threads, cache_type=cache_type)


def open_reader(
    models_dir: Path, artefact: Artefact | None = None, backend: Backend = "auto", *, threads: int = 0
) -> Reader:
    """Load a reader: the product's own, or the one in a folder, or in memory. Raises `ModelError`.

    Its base must be installed. The fast form is made on the first call and kept in the models directory, that of a
    reader in memory is not kept; where it cannot be written, or fails its self-test under `auto`, fp32 torch is used.
    """
    from models.reader import FastForm, FastReader, ReferenceReader
    from models.reader_weights import about, reader_folder

    if backend not in ("auto", "fast", "reference"):
        raise UsageError(f"unknown reader backend {backend!r}", hint="Use auto, fast or reference.")
    artefact = artefact or reader_folder()
    spec = embedder_spec(models_dir, str(about(artefact)["base"]))
    if backend != "reference":
        try:
            if isinstance(artefact, bytes):
                form = FastForm.built(artefact, spec.directory)
            else:
                registry = Registry(models_dir)
                form = FastForm.stored(registry.fast_path(prepare_reader(registry, artefact).id) or artefact)
            return FastReader(artefact, form, spec.tokenizer_file, threads=threads)
        except ModelError as exc:
            if backend == "fast":
                raise
            log.warning("reader: %s; using fp32 torch", exc)
    return ReferenceReader(artefact, spec.directory, spec.tokenizer_file, threads=threads)


def prepare_reader(
    registry: Registry, artefact: Path | None = None, *, on_event: OnModelEvent | None = None
) -> InstalledModel:
    """Merge a reader over its installed base and convert it, unless that was done before. Raises `ModelError`."""
    from models.reader_weights import about, reader_folder

    folder = artefact or reader_folder()
    base = embedder_spec(registry.models_dir, str(about(folder)["base"]))
    return registry.install_reader(folder, base, on_event)


def open_reranker(models_dir: Path, model_id: str, *, threads: int = 0) -> CrossEncoderReranker:
    """Load an installed cross-encoder. Raises `ModelError`."""
    from models.cross_encoder import CrossEncoderReranker

    folder = _installed(Registry(models_dir), model_id, "reranker")
    return CrossEncoderReranker(model_id, folder, threads=threads)


def open_nli(models_dir: Path, model_id: str, *, threads: int = 0) -> CrossEncoderNli | None:
    """Load an installed model of natural language inference; for `auto` the first of that kind, if there is one.

    Raises `ModelError`.
    """
    from models.cross_encoder import CrossEncoderNli

    registry = Registry(models_dir)
    if model_id == "auto":
        model_id = next((model.id for model in registry.installed() if model.kind == "nli"), "")
        if not model_id:
            return None
    folder = _installed(registry, model_id, "nli")
    return CrossEncoderNli(model_id, folder, threads=threads)


def open_speech(models_dir: Path, model_id: str) -> WhisperSpeech:
    """A speech model, to be loaded when the first recording comes; it says itself whether it is installed.

    Raises `ModelError` when its files changed or are of another kind.
    """
    from models.speech import WhisperSpeech

    registry = Registry(models_dir)
    if all(model.id != model_id for model in registry.installed()):
        return WhisperSpeech(model_id, None)
    return WhisperSpeech(model_id, _installed(registry, model_id, "speech"))


def _installed(registry: Registry, model_id: str, wanted: Kind) -> Path:
    """Where an installed model lies. Raises `ModelError` when it is not installed, changed, or of another kind."""
    path = registry.path(model_id)
    kind = registry.receipt(model_id).kind
    if kind != wanted:
        raise ModelError(f"{model_id} is of kind {kind}, not {_KINDS[wanted]}", hint="See `strongroom models list`.")
    return path
