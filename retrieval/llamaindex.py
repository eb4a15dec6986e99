"""LlamaIndex over the appliance's own parts, so that an organisation's LlamaIndex code runs here unchanged.

`StrongroomRetriever` searches as one person (the access filter is fixed when it is made), `StrongroomEmbedding` and
`StrongroomLLM` wrap the model ports. Nothing here opens a connection. LlamaIndex counts tokens with a tokenizer that it
downloads unless one is set, so making any of these sets it to ours where nothing else was chosen.

Importing this module imports LlamaIndex (about a second): import it only where it is used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import llama_index.core
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseGen,
    LLMMetadata,
    MessageRole,
)
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index.core.llms.custom import CustomLLM
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeRelationship, NodeWithScore, QueryBundle, RelatedNodeInfo, TextNode
from llama_index.core.utils import set_global_tokenizer

from retrieval.search import ScoredChunk, Searcher
from strongroom.access import AccessFilter
from strongroom.errors import UsageError
from strongroom.ports import ChatModel, Embedder, GenerationOptions
from strongroom.types import Message, Role

_ROLES: dict[MessageRole, Role] = {
    MessageRole.SYSTEM: "system",
    MessageRole.DEVELOPER: "system",
    MessageRole.USER: "user",
    MessageRole.ASSISTANT: "assistant",
    MessageRole.CHATBOT: "assistant",
    MessageRole.MODEL: "assistant",
}
_FOR_MACHINES = ["document_id", "chunk_id", "version_id", "cosine", "bm25"]  # metadata no prompt should spend tokens on


class StrongroomRetriever(BaseRetriever):  # type: ignore[misc]  # LlamaIndex is untyped to mypy here
    """`BaseRetriever` over `Searcher`, as the person that `access` stands for.

    A node's score is the fused score, which orders the hits of one search and may be negative: a post-processor with
    an absolute cut-off should use `metadata["cosine"]`.
    """

    def __init__(self, searcher: Searcher, *, access: AccessFilter, k: int = 8, **kwargs: Any) -> None:
        self._searcher, self._access, self._k = searcher, access, k
        super().__init__(**kwargs)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        found, _ = self._searcher.search(query_bundle.query_str, access=self._access, k=self._k)
        return [to_node(item) for item in found]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)


class StrongroomEmbedding(BaseEmbedding):  # type: ignore[misc]
    """`BaseEmbedding` over the `Embedder` port."""

    _embedder: Embedder = PrivateAttr()

    def __init__(self, embedder: Embedder, **kwargs: Any) -> None:
        super().__init__(model_name=embedder.name, **kwargs)
        self._embedder = embedder
        _claim_tokenizer(embedder.tokenizer.count)

    def _get_query_embedding(self, query: str) -> list[float]:
        return [float(x) for x in self._embedder.embed_query(query)]

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return [[float(x) for x in row] for row in self._embedder.embed_documents(texts)]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await asyncio.to_thread(self._get_query_embedding, query)

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return await asyncio.to_thread(self._get_text_embedding, text)


class StrongroomLLM(CustomLLM):  # type: ignore[misc]
    """`CustomLLM` over the `ChatModel` port: the model's own chat template, real token streaming, per-call options.

    Calls take `max_tokens`, `temperature`, `stop` and `seed`; anything else raises `UsageError` rather than being
    ignored. Closing a stream stops the generation.
    """

    max_tokens: int = 256
    temperature: float = 0.0
    _model: ChatModel = PrivateAttr()

    def __init__(self, model: ChatModel, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._model = model
        _claim_tokenizer(model.count_tokens)

    @classmethod
    def class_name(cls) -> str:
        return "StrongroomLLM"

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(
            context_window=self._model.context_tokens,
            num_output=self.max_tokens,
            is_chat_model=True,
            model_name=self._model.name,
        )

    @llm_completion_callback()  # type: ignore[untyped-decorator]
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return CompletionResponse(text=self._whole([Message("user", prompt)], kwargs))

    @llm_completion_callback()  # type: ignore[untyped-decorator]
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        def generate() -> CompletionResponseGen:
            text = ""
            for piece in self._model.stream([Message("user", prompt)], options):
                text += piece
                yield CompletionResponse(text=text, delta=piece)

        options = self._options(kwargs)
        return generate()

    @llm_chat_callback()  # type: ignore[untyped-decorator]
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        text = self._whole(_to_messages(messages), kwargs)
        return ChatResponse(message=ChatMessage(role=MessageRole.ASSISTANT, content=text))

    @llm_chat_callback()  # type: ignore[untyped-decorator]
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        def generate() -> ChatResponseGen:
            text = ""
            for piece in self._model.stream(ours, options):
                text += piece
                yield ChatResponse(message=ChatMessage(role=MessageRole.ASSISTANT, content=text), delta=piece)

        ours, options = _to_messages(messages), self._options(kwargs)
        return generate()

    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return await asyncio.to_thread(self.chat, messages, **kwargs)

    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return await asyncio.to_thread(self.complete, prompt, formatted, **kwargs)

    def _whole(self, messages: Sequence[Message], kwargs: dict[str, Any]) -> str:
        return "".join(self._model.stream(messages, self._options(kwargs)))

    def _options(self, kwargs: dict[str, Any]) -> GenerationOptions:
        known = {"max_tokens": self.max_tokens, "temperature": self.temperature, "stop": (), "seed": 0}
        unknown = sorted(kwargs.keys() - known.keys())
        if unknown:
            raise UsageError(
                f"the model takes no option {', '.join(unknown)}", hint=f"It takes {', '.join(sorted(known))}."
            )
        chosen: dict[str, Any] = known | kwargs
        stop = chosen["stop"] or ()
        return GenerationOptions(
            max_tokens=int(chosen["max_tokens"]),
            temperature=float(chosen["temperature"]),
            stop=(stop,) if isinstance(stop, str) else tuple(stop),
            seed=int(chosen["seed"]),
        )


def to_node(item: ScoredChunk) -> NodeWithScore:
    """A released passage as a LlamaIndex node that knows its document, pages and offsets."""
    chunk = item.chunk
    metadata: dict[str, Any] = {
        "document": chunk.document.name,
        "place": f"{chunk.locator.kind} {chunk.locator.label}",
        "pages": list(chunk.page_numbers),
        "headings": " > ".join(chunk.headings),
        "document_id": chunk.document.id,
        "version_id": chunk.version_id,
        "chunk_id": chunk.id,
        "cosine": item.dense,
        "bm25": item.sparse,
    }
    node = TextNode(
        id_=chunk.id,
        text=chunk.text,
        start_char_idx=chunk.start,
        end_char_idx=chunk.end,
        metadata=metadata,
        excluded_llm_metadata_keys=_FOR_MACHINES,
        excluded_embed_metadata_keys=list(metadata),
        relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=chunk.document.id)},
    )
    return NodeWithScore(node=node, score=item.score)


def _to_messages(messages: Sequence[ChatMessage]) -> list[Message]:
    ours = []
    for message in messages:
        role = _ROLES.get(message.role)
        if role is None:
            raise UsageError(
                f"the model takes no message of role {message.role.value}",
                hint="Use system, user and assistant messages.",
            )
        ours.append(Message(role, message.content or ""))
    return ours


def _claim_tokenizer(count: Callable[[str], int]) -> None:
    """Make LlamaIndex count with ours unless a tokenizer was chosen; its own default fetches one from the network.

    LlamaIndex only ever takes the length of the list.
    """
    if llama_index.core.global_tokenizer is None:
        set_global_tokenizer(lambda text: [0] * count(text))
