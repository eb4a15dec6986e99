"""Answers over a small shelf with the real default models: right quote, right page, silence where there is nothing."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from models.defaults import DEFAULT_EMBEDDER, DEFAULT_LLM, open_embedder, open_llm, open_reader
from retrieval.answer import Answerer
from retrieval.search import ScoredChunk
from strongroom.access import AccessFilter
from strongroom.config import load
from strongroom.ports import ChatModel, Embedder
from strongroom.types import EXTRACTIVE, Answer, AnswerEvent, AskRequest, Message, StoredChunk
from tests.answering import ACCESS, Shelf

pytestmark = pytest.mark.models

SHELF = Shelf(
    {
        "harbour-lease": [
            "LEASE AGREEMENT\n\nThis lease is made between Norhaven Port Authority (the landlord) and\n"
            "Selby Cranes Ltd. (the tenant) for pier seven. The yearly rent is 48,500 euros, payable\n"
            "on the first working day of March.",
            "The tenant insures the cranes against storm and fire. Either party may end the lease by\n"
            "giving nine months of written notice. The tenant may not sublet the pier without the\n"
            "written consent of the landlord.",
        ],
        "travel-policy": [
            "Travel policy. Staff book trains in second class. Flights need the approval of the head of department.\n"
            "Hotels may cost up to 140 euros a night, and receipts are handed in within thirty days of the return.",
        ],
        "minutes": [
            "Minutes of the works council. The council elected Ines Halvorsen as its chair. The canteen\n"
            "will close for repairs in the second half of August, and a food truck will stand in the yard.",
        ],
    }
)
ANSWERED = [
    ("How high is the yearly rent of pier seven?", "48,500", "harbour-lease", 1),
    ("How much notice must be given to end the lease?", "nine months", "harbour-lease", 2),
    ("Who must approve flights?", "head of department", "travel-policy", 1),
    ("Who was elected chair of the works council?", "Ines Halvorsen", "minutes", 1),
    ("When will the canteen be closed?", "August", "minutes", 1),
]
SILENT = [
    "What is the boiling point of tungsten?",
    "Which team won the ice hockey championship in 1994?",
    "What dose of ibuprofen is safe for children?",
]


class Search:
    """Exact cosine search over the shelf."""

    def __init__(self, embedder: Embedder) -> None:
        self._chunks: list[StoredChunk] = SHELF.chunks()
        self._embedder = embedder
        self._vectors = embedder.embed_documents([f"{c.document.name}\n{c.text}" for c in self._chunks])

    def search(
        self, question: str, *, access: AccessFilter, k: int, history: Sequence[Message] = ()
    ) -> tuple[list[ScoredChunk], dict[str, float]]:
        cosines = self._vectors @ self._embedder.embed_query(question)
        order = sorted(range(len(self._chunks)), key=lambda i: -cosines[i])[:k]
        return [ScoredChunk(self._chunks[i], float(cosines[i]), float(cosines[i]), None) for i in order], {}


def _answerer(llm: ChatModel | None) -> Answerer:
    models = load().settings.models_dir
    embedder = open_embedder(models, DEFAULT_EMBEDDER)
    return Answerer(Search(embedder), embedder, open_reader(models), llm, SHELF.page, answer_tokens=48)


@pytest.fixture(scope="module")
def exact() -> Answerer:
    return _answerer(None)


@pytest.fixture(scope="module")
def fluent() -> Answerer:
    return _answerer(open_llm(load().settings.models_dir, DEFAULT_LLM, context_tokens=2048))


def ask(answerer: Answerer, question: str) -> Answer:
    last = list(answerer.answer(AskRequest(question), access=ACCESS))[-1]
    assert isinstance(last, AnswerEvent)
    return last.answer


@pytest.mark.parametrize(("question", "gold", "document", "page"), ANSWERED)
def test_the_first_quote_answers_and_stands_on_its_page(
    exact: Answerer, question: str, gold: str, document: str, page: int
) -> None:
    answer = ask(exact, question)
    first = answer.citations[0]
    assert not answer.abstained
    assert gold in " ".join(first.quote.split())
    assert (first.document.id, first.page) == (document, page)
    assert first.spans[0].boxes
    assert answer.model == EXTRACTIVE


@pytest.mark.parametrize("question", SILENT)
def test_silence_where_the_documents_say_nothing(fluent: Answerer, question: str) -> None:
    answer = ask(fluent, question)
    assert answer.abstained
    assert answer.usage.completion_tokens == 0


def test_every_sentence_that_a_model_writes_is_judged(fluent: Answerer) -> None:
    answer = ask(fluent, ANSWERED[0][0])
    assert answer.style == "fluent"
    assert answer.usage.completion_tokens > 0
    assert answer.sentences
    assert not any(s.verbatim for s in answer.sentences)
    assert all(s.support == "unsupported" for s in answer.sentences if not s.citations)
