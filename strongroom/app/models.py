"""The installed models an appliance works with, opened on demand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from ingest.cluster import WorkerModels
    from strongroom.config import Settings
    from strongroom.ports import ChatModel, Embedder, Entailment, Reader, Reranker, SpeechModel, Tokenizer


class Models(Protocol):
    """Where the appliance gets its models. All methods raise `ModelError` for what is missing or changed."""

    def embedder(self) -> Embedder: ...

    def tokenizer(self) -> Tokenizer:
        """The embedder's tokenizer for parser processes: picklable."""
        ...

    def llm(self, model_id: str) -> ChatModel: ...

    def writes_well(self, model_id: str) -> bool:
        """Whether answers may be left to a model's own words, by what the catalogue says of it."""
        ...

    def reader(self, artefact: bytes | None = None) -> Reader:
        """The product's own reader, or one that was trained here."""
        ...

    def reader_artefact(self) -> bytes:
        """The product's own reader as it is stored."""
        ...

    def reader_base(self) -> Path:
        """Folder of the embedder that readers are differences to."""
        ...

    def reranker(self) -> Reranker | None:
        """The cross-encoder that the settings name, if they do."""
        ...

    def nli(self) -> Entailment | None:
        """The model of natural language inference that the settings name, or any that is installed."""
        ...

    def speech(self) -> SpeechModel:
        """The model that transcribes recordings, for parser processes: picklable, and perhaps not installed."""
        ...

    def on_workers(self) -> WorkerModels:
        """How the machines of a cluster open the embedder: picklable."""
        ...


class InstalledModels:
    """Models from the registry, as the settings name them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def embedder(self) -> Embedder:
        from models.defaults import open_embedder

        settings = self._settings
        return open_embedder(
            settings.models_dir,
            settings.embedder,
            backend=settings.embedder_backend,
            threads=settings.threads,
            precision=settings.embedder_precision,
        )

    def tokenizer(self) -> Tokenizer:
        from models.defaults import tokenizer_path
        from models.tokenizer import FileTokenizer

        return FileTokenizer(tokenizer_path(self._settings.models_dir, self._settings.embedder))

    def llm(self, model_id: str) -> ChatModel:
        from models.defaults import open_llm

        settings = self._settings
        return open_llm(settings.models_dir, model_id, context_tokens=settings.context_tokens, threads=settings.threads)

    def writes_well(self, model_id: str) -> bool:
        from models.catalogue import load_catalogue

        known = load_catalogue().get(model_id)
        return known is not None and known.writes_well

    def reader(self, artefact: bytes | None = None) -> Reader:
        from models.defaults import open_reader

        settings = self._settings
        return open_reader(settings.models_dir, artefact, settings.embedder_backend, threads=settings.threads)

    def reader_artefact(self) -> bytes:
        from models.reader_weights import WEIGHTS, reader_folder

        return (reader_folder() / WEIGHTS).read_bytes()

    def reader_base(self) -> Path:
        from models.defaults import embedder_spec
        from models.reader_weights import about, reader_folder

        return embedder_spec(self._settings.models_dir, str(about(reader_folder())["base"])).directory

    def reranker(self) -> Reranker | None:
        from models.defaults import open_reranker

        settings = self._settings
        if not settings.reranker:
            return None
        return open_reranker(settings.models_dir, settings.reranker, threads=settings.threads)

    def nli(self) -> Entailment | None:
        from models.defaults import open_nli

        settings = self._settings
        return open_nli(settings.models_dir, settings.nli, threads=settings.threads) if settings.nli != "off" else None

    def speech(self) -> SpeechModel:
        from models.defaults import open_speech

        return open_speech(self._settings.models_dir, self._settings.speech)

    def on_workers(self) -> ModelsOnWorker:
        settings = self._settings
        return ModelsOnWorker(
            settings.models_dir,
            settings.embedder,
            settings.embedder_backend,
            settings.embedder_precision,
            speech_id=settings.speech,
        )


@dataclass(frozen=True, slots=True)
class ModelsOnWorker:
    """The models as a machine of a cluster opens them: from the owner's folder when it is shared, else from its own.

    Carries no settings but these, so that nothing else of the owner's travels.
    """

    models_dir: Path
    embedder_id: str
    backend: Literal["auto", "fast", "reference"]
    precision: Literal["auto", "bf16", "f32"]
    speech_id: str

    def embedder(self, *, gpu: bool = False) -> Embedder:
        """Open it, on a GPU with fp32 torch. Raises `ModelError`."""
        from models.defaults import open_embedder

        backend = "reference" if gpu else self.backend
        device = "cuda" if gpu else "cpu"
        return open_embedder(self._folder(), self.embedder_id, backend, precision=self.precision, device=device)

    def tokenizer(self) -> Tokenizer:
        """The embedder's tokenizer, for the parser processes of this machine. Raises `ModelError`."""
        from models.defaults import tokenizer_path
        from models.tokenizer import FileTokenizer

        return FileTokenizer(tokenizer_path(self._folder(), self.embedder_id))

    def speech(self) -> SpeechModel:
        """The model that transcribes recordings, perhaps not installed. Raises `ModelError`."""
        from models.defaults import open_speech

        return open_speech(self._folder(), self.speech_id)

    def _folder(self) -> Path:
        from models.registry import Registry
        from strongroom.config import load
        from strongroom.errors import ModelError

        try:
            Registry(self.models_dir).path(self.embedder_id)
        except (ModelError, OSError):
            return load().settings.models_dir
        return self.models_dir
