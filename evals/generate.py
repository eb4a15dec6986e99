"""A draft question file from documents that are in the appliance already, for a person to edit.

One sentence with a fact in it gives one question, from a template or from a language model; a question put to a
document that never mentions its subject gives an unanswerable one. Everything is marked a draft: a machine that writes
both questions and answers measures itself, so a person must read them before the figures mean anything.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath

from evals.questions import Question
from retrieval import lexical
from retrieval.cells import Cell, cells
from retrieval.sentences import split_sentences
from strongroom.engine import Engine
from strongroom.errors import StrongroomError
from strongroom.ports import ChatModel, GenerationOptions
from strongroom.types import DocumentInfo, DocumentState, Message, PageView

Write = Callable[[str, str], str | None]
"""`(sentence, answer) -> question`, or `None` when nothing usable came out."""

PAGES = 40  # read of one document
_LENGTH = (40, 260)  # characters of a sentence worth asking about
_COPULA = re.compile(
    r"^(?P<subject>(?:The|This|Each|Every|All|Our|Its|Their)\s[^,;:()\n]{3,70}?)\s"
    r"(?P<verb>is|are|was|were)\s(?P<answer>(?!not\b|also\b|therefore\b)[^;:\n]{3,120})[.]$"
)
_DOES = re.compile(
    r"^(?P<subject>(?:The|This|Each|Every|Our|Its)\s[^,;:()\n]{3,70}?)\s"
    r"(?P<verb>amounts to|equals|means|includes|requires|covers|provides|contains)\s(?P<answer>[^;:\n]{3,120})[.]$"
)
_FIGURE = re.compile(r"(?:[$€£¥]\s?|\b(?:EUR|USD|GBP|CHF)\s)?\b\d[\d.,]*\d|\b\d+\b")
_UNIT = re.compile(
    r"^\s?(?:%|per cent|percent|million|billion"
    r"|(?:calendar |business |working )?(?:days?|weeks?|months?|years?|hours?|minutes?)"
    r"|(?:January|February|March|April|May|June|July|August|September|October|November|December)(?:\s\d{4})?)"
)
_INFINITIVE = {"amounts to": "amount to", "equals": "equal"}
_PROMPT = (
    "Write one short question that the sentence answers with “{answer}”. Name what it is about. Do not give the answer "
    "away. Write the question alone.\n\nSentence: {sentence}"
)


@dataclass(frozen=True, slots=True)
class _Fact:
    """A sentence with the words that a question would ask for, and the subject it speaks of."""

    document: DocumentInfo
    page: PageView
    sentence: str
    question: str
    answer: str
    subject: str


def generate(
    engine: Engine,
    *,
    count: int,
    unanswerable: int = 0,
    collection: str | None = None,
    write: Write | None = None,
    seed: int = 7,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Question]:
    """At most `count` drafts over as many documents as there are, and `unanswerable` ones put to the wrong document.

    Raises `StrongroomError` when no document can be read by whoever asks.
    """
    rng = random.Random(seed)  # noqa: S311 - sampling, not secrets
    documents = [d for d in engine.documents(collection) if d.state == DocumentState.INDEXED]
    if not documents:
        raise StrongroomError("there is no document to ask about", hint="Ingest some, or check the collection.")
    rng.shuffle(documents)
    documents = documents[: max(count, 2)]
    facts: dict[str, list[_Fact]] = {}
    texts: dict[str, frozenset[str]] = {}
    for number, document in enumerate(documents, start=1):
        pages = [engine.page(document.id, i) for i in range(min(document.pages, PAGES))]
        texts[document.id] = frozenset(lexical.terms(" ".join(page.text for page in pages)))
        facts[document.id] = [fact for page in pages for fact in _facts(document, page)]
        rng.shuffle(facts[document.id])
        on_progress(number, len(documents))
    chosen = _round_robin([facts[d.id] for d in documents], count)
    several = len(documents) > 1
    drafts = [_draft(fact, write, named=several) for fact in chosen]
    drafts += _unanswerable(chosen, documents, texts, unanswerable)
    return [replace(q, id=f"draft-{n:03d}") for n, q in enumerate(drafts, start=1)]


def model_writer(llm: ChatModel) -> Write:
    """Questions in a language model's words; what is no question, or gives the answer away, is turned down."""

    def write(sentence: str, answer: str) -> str | None:
        prompt = [Message("user", _PROMPT.format(sentence=sentence, answer=answer))]
        said = "".join(llm.stream(prompt, GenerationOptions(max_tokens=60, stop=("\n",)))).strip().strip('"“”')
        if not said.endswith("?") or len(said) > 250 or answer.casefold() in said.casefold():
            return None
        about = set(lexical.terms(sentence))
        return said if len(about & set(lexical.terms(said))) >= 2 else None

    return write


def _facts(document: DocumentInfo, page: PageView) -> Iterator[_Fact]:
    """Sentences that state something one can ask for."""
    for span in split_sentences(page.text):
        sentence = " ".join(page.text[span.start : span.end].split())
        if not _LENGTH[0] <= len(sentence) <= _LENGTH[1] or not sentence[0].isupper() or sentence.isupper():
            continue
        found = _asked(sentence, page.text)
        if found is not None:
            yield _Fact(document, page, sentence, *found)


def _asked(sentence: str, page: str) -> tuple[str, str, str] | None:
    """Question, answer and subject of a sentence, or of a row of a table; `None` when no template fits."""
    held = cells(sentence)
    if held:
        return _asked_of_row(held, page)
    match = _COPULA.match(sentence)
    if match:
        subject = _lower(match["subject"])
        return f"what {match['verb']} {subject}?", match["answer"], match["subject"]
    match = _DOES.match(sentence)
    if match:
        verb = _INFINITIVE.get(match["verb"], match["verb"].removesuffix("s"))
        return f"what does {_lower(match['subject'])} {verb}?", match["answer"], match["subject"]
    figures = [m for m in _FIGURE.finditer(sentence) if m.start() > 20]
    if len(figures) != 1 or not sentence.endswith("."):
        return None
    start, end = figures[0].span()
    unit = _UNIT.match(sentence[end:])
    end += unit.end() if unit else 0
    gap = f"{sentence[:start]}____{sentence[end:]}"
    return f"what belongs into the gap: “{gap}”?", sentence[start:end].strip(), sentence[:start]


def _asked_of_row(held: Sequence[Cell], page: str) -> tuple[str, str, str] | None:
    """A figure of a row, by its label and the row's name: the first cell of words that the page has once."""
    names = (c.value for c in held if len(c.value) > 3 and not any(ch.isdigit() for ch in c.value))
    name = next((value for value in names if page.count(value) == 1), "")
    figures = [c for c in held if c.label and c.value[:1].isdigit()]
    if not name or not figures:
        return None
    asked = figures[len(name) % len(figures)]  # not always the first column, and the same one each time
    if asked.label[0].isdigit():  # a year
        return f"what is {name} in {asked.label}?", asked.value, name
    return f"what is the {_lower(asked.label)} for {name}?", asked.value, name


def _lower(subject: str) -> str:
    return subject[0].lower() + subject[1:]


def _round_robin(facts: Sequence[list[_Fact]], count: int) -> list[_Fact]:
    """Facts drawn evenly over documents, each sentence once."""
    chosen: list[_Fact] = []
    seen: set[str] = set()
    queues = [list(f) for f in facts]
    while len(chosen) < count and any(queues):
        for queue in queues:
            while queue:
                fact = queue.pop()
                if fact.sentence not in seen:
                    seen.add(fact.sentence)
                    chosen.append(fact)
                    break
    return chosen[:count]


def _draft(fact: _Fact, write: Write | None, *, named: bool) -> Question:
    question = write(fact.sentence, fact.answer) if write is not None else None
    text = question or _sentence_case(fact.question)
    if named:
        text = _put_to(fact.document, text)
    return Question(
        id="",
        text=text,
        documents=(fact.document.name,),
        pages=(fact.page.number,) if fact.page.number is not None else (),
        answers=(fact.answer,),
        kind="written by a model" if question else "template",
        draft=True,
    )


def _unanswerable(
    facts: Sequence[_Fact], documents: Sequence[DocumentInfo], texts: dict[str, frozenset[str]], count: int
) -> list[Question]:
    """Questions put to a document that lacks a word of their subject. A person must check them all the same."""
    out: list[Question] = []
    for number, fact in enumerate(facts):
        subject = set(lexical.terms(fact.subject))
        others = [d for d in documents if d.id != fact.document.id and subject - texts[d.id]]
        if len(out) == count:
            break
        if "gap:" in fact.question or not others:
            continue
        other = others[number % len(others)]
        text = _put_to(other, _sentence_case(fact.question))
        out.append(Question(id="", text=text, unanswerable=True, kind="put to the wrong document", draft=True))
    return out


def _put_to(document: DocumentInfo, question: str) -> str:
    return f"In {PurePath(document.name).stem}: {question}"


def _sentence_case(text: str) -> str:
    return text[0].upper() + text[1:]
