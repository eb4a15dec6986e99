"""The installed models an appliance works with, opened on demand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from strongroom.config import Settings
    from strongroom.ports import ChatModel, Embedder, Reader, Tokenizer


class Models(Protocol):
    """Where the appliance gets its models. All methods raise `ModelError` for what is missing or changed."""

    def embedder(self) -> Embedder: ...

    def tokenizer(self) -> Tokenizer:
        """The embedder's tokenizer for parser processes: picklable."""
        ...

    def llm(self, model_id: str) -> ChatModel: ...

    def reader(self) -> Reader: ...


class InstalledModels:
    """Models from the registry, as the settings name them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def embedder(self) -> Embedder:
        from models.defaults import open_embedder

        settings = self._settings
        return open_embedder(
            settings.models_dir, settings.embedder, backend=settings.embedder_backend, threads=settings.threads
        )

    def tokenizer(self) -> Tokenizer:
        from models.defaults import tokenizer_path
        from models.tokenizer import FileTokenizer

        return FileTokenizer(tokenizer_path(self._settings.models_dir, self._settings.embedder))

    def llm(self, model_id: str) -> ChatModel:
        from models.defaults import open_llm

        settings = self._settings
        return open_llm(settings.models_dir, model_id, context_tokens=settings.context_tokens, threads=settings.threads)

    def reader(self) -> Reader:
        from models.defaults import open_reader

        settings = self._settings
        return open_reader(settings.models_dir, backend=settings.embedder_backend, threads=settings.threads)
