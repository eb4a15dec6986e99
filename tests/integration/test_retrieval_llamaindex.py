"""An organisation's LlamaIndex code over the appliance: retriever, post-processor, synthesis, splitter, streaming."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import llama_index.core
import pytest
from llama_index.core import PromptTemplate
from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.postprocessor import KeywordNodePostprocessor
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import MetadataMode

from retrieval.index.edge import EdgeIndex
from retrieval.llamaindex import StrongroomEmbedding, StrongroomLLM, StrongroomRetriever
from retrieval.search import Searcher
from strongroom import airgap
from strongroom.access import AccessFilter
from strongroom.errors import UsageError
from strongroom.ports import IndexPoint
from strongroom.types import DocumentRef, Locator, StoredChunk
from tests.fakes import FakeChatModel, FakeEmbedder

TEXTS = {
    "lease": "The lease of the warehouse ends on 31 December 2027.",
    "fees": "Port fees are due within thirty days of the invoice.",
    "crane": "The crane was inspected in May and found safe.",
    "secret": "The port fees will be doubled in secret next year.",
}
ANN = AccessFilter(frozenset({"user:ann"}))


@pytest.fixture(autouse=True)
def _own_tokenizer_setting() -> Iterator[None]:
    """Leave LlamaIndex's global tokenizer as it was found."""
    before, llama_index.core.global_tokenizer = llama_index.core.global_tokenizer, None
    yield
    llama_index.core.global_tokenizer = before


@pytest.fixture
def searcher(tmp_path: Path) -> Iterator[Searcher]:
    embedder = FakeEmbedder()
    index = EdgeIndex(tmp_path / "index", embedder.dimension)
    ids = {name: str(uuid.uuid5(uuid.NAMESPACE_URL, name)) for name in TEXTS}
    names = {id: name for name, id in ids.items()}
    index.upsert(
        [
            IndexPoint(
                ids[name],
                embedder.embed_query(text),
                text,
                name,
                "v",
                "c",
                ("user:bob",) if name == "secret" else ("user:ann",),
            )
            for name, text in TEXTS.items()
        ]
    )

    def release(chunk_ids: Sequence[str], access: AccessFilter) -> list[StoredChunk]:
        return [_chunk(i, names[i]) for i in chunk_ids]

    yield Searcher(index=index, embedder=embedder, release=release)
    index.close()


def _chunk(id: str, name: str) -> StoredChunk:
    return StoredChunk(
        id=id,
        document=DocumentRef(name, f"{name}.pdf", f"file:///{name}.pdf"),
        version_id="v",
        ordinal=0,
        start=100,
        end=100 + len(TEXTS[name]),
        text=TEXTS[name],
        headings=("Part A", "Terms"),
        pages=(4,),
        page_numbers=(5,),
        locator=Locator("page", "5"),
    )


def test_query_engine_with_postprocessor_answers_from_what_the_person_may_read(searcher: Searcher) -> None:
    # GIVEN LlamaIndex's own query engine and a post-processor over our retriever and model
    refused = airgap.attempts()
    model = FakeChatModel()
    engine = RetrieverQueryEngine.from_args(
        StrongroomRetriever(searcher, access=ANN, k=3),
        llm=StrongroomLLM(model),
        node_postprocessors=[KeywordNodePostprocessor(exclude_keywords=["crane"])],
        text_qa_template=PromptTemplate("{context_str}\n{query_str}"),
    )
    # WHEN it is asked
    response = engine.query("When are the port fees due?")
    # THEN it answers from the right passage, the post-processor has worked, and the hidden passage is in no prompt
    assert str(response).strip() == TEXTS["fees"]
    sources = {node.node.metadata["document"] for node in response.source_nodes}
    assert sources == {"fees.pdf", "lease.pdf"}
    prompts = "\n".join(m.content for prompt in model.prompts for m in prompt)
    assert TEXTS["fees"] in prompts
    assert "secret" not in prompts
    assert airgap.attempts() == refused  # the guard is on: no tokenizer, model or telemetry was reached for


def test_nodes_know_their_place_and_keep_ids_out_of_prompts(searcher: Searcher) -> None:
    (node, *_) = StrongroomRetriever(searcher, access=ANN, k=1).retrieve("When does the warehouse lease end?")
    assert node.node.metadata["document"] == "lease.pdf"
    assert node.node.metadata["pages"] == [5]
    assert node.node.metadata["cosine"] > 0.3
    assert (node.node.start_char_idx, node.node.ref_doc_id) == (100, "lease")
    for_model = node.node.get_content(metadata_mode=MetadataMode.LLM)
    assert "lease.pdf" in for_model
    assert node.node.node_id not in for_model
    again = asyncio.run(StrongroomRetriever(searcher, access=ANN, k=1).aretrieve("When does the warehouse lease end?"))
    assert [n.node.node_id for n in again] == [node.node.node_id]


def test_retriever_without_principals_finds_nothing(searcher: Searcher) -> None:
    assert StrongroomRetriever(searcher, access=AccessFilter(frozenset())).retrieve("port fees") == []


def test_embedding_gives_the_ports_vectors() -> None:
    fake = FakeEmbedder()
    ours = StrongroomEmbedding(fake)
    assert ours.get_query_embedding("port fees") == pytest.approx(fake.embed_query("port fees").tolist())
    batch = ours.get_text_embedding_batch(["port fees", "crane"])
    assert batch[1] == pytest.approx(fake.embed_query("crane").tolist())
    assert asyncio.run(ours.aget_query_embedding("crane")) == pytest.approx(batch[1])


def test_llm_streams_chats_and_honours_options() -> None:
    model = FakeChatModel(reply=lambda messages, options: f"seed {options.seed} says one two three four")
    llm = StrongroomLLM(model)
    assert llm.complete("Hi", seed=7).text == "seed 7 says one two three four"
    assert llm.complete("Hi", max_tokens=2).text.split() == ["seed", "0"]
    assert "two" not in llm.complete("Hi", stop=["two"]).text
    pieces = list(llm.stream_complete("Hi"))
    assert "".join(p.delta or "" for p in pieces) == pieces[-1].text
    assert len(pieces) > 3
    messages = [ChatMessage(role=MessageRole.SYSTEM, content="Be brief."), ChatMessage(role="user", content="Hi")]
    assert llm.chat(messages).message.content == pieces[-1].text
    assert [m.role for m in model.prompts[-1]] == ["system", "user"]
    assert [r.message.content for r in llm.stream_chat(messages)][-1] == pieces[-1].text
    assert asyncio.run(llm.achat(messages)).message.content == pieces[-1].text
    assert asyncio.run(llm.acomplete("Hi")).text == pieces[-1].text
    assert llm.metadata.context_window == model.context_tokens


def test_llm_refuses_what_it_would_have_to_ignore() -> None:
    llm = StrongroomLLM(FakeChatModel())
    with pytest.raises(UsageError, match="top_k"):
        llm.complete("Hi", top_k=3)
    with pytest.raises(UsageError, match="tool"):
        llm.chat([ChatMessage(role=MessageRole.TOOL, content="x")])


def test_splitter_counts_with_our_tokenizer_unless_one_was_chosen() -> None:
    fake = FakeEmbedder()
    StrongroomEmbedding(fake)
    parts = SentenceSplitter(chunk_size=20, chunk_overlap=0).split_text(" ".join(TEXTS.values()))
    assert len(parts) > 1
    assert all(fake.tokenizer.count(part) <= 20 for part in parts)

    def chosen(text: str) -> list[str]:
        return text.split()

    llama_index.core.global_tokenizer = chosen
    StrongroomLLM(FakeChatModel())
    assert llama_index.core.global_tokenizer is chosen
