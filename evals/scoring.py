"""One question's search result and answer against what would be right: the values that means are taken of.

Three levels: *document*, *page* (where the set knows pages) and *passage* (where the answer stands in a document word
for word). A level that the set knows nothing of gives no value, so that it cannot pass for a bad one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from evals import metrics
from evals.questions import Question
from strongroom.types import Answer, Citation, DocumentRef, SearchResult

DEPTHS = (1, 3, 5, 8)
DEPTH = DEPTHS[-1]
QUOTES = 3  # an answer is right when one of so many quotes holds what was asked for
LEVELS = ("page", "passage", "document")

Found = list[frozenset[int]]


@dataclass(frozen=True, slots=True)
class Metric:
    """What a value means, for tables and reports."""

    label: str
    meaning: str
    lower_is_better: bool = False


def _ranked(level: str, gold: str) -> dict[str, Metric]:
    out = {
        f"{level}_hit@{depth}": Metric(
            f"{level} hit@{depth}", f"{f'one of the first {depth} hits' if depth > 1 else 'the first hit'} is {gold}"
        )
        for depth in DEPTHS
    }
    out[f"{level}_mrr"] = Metric(f"{level} MRR", f"1 over the rank of the first hit that is {gold}")
    out[f"{level}_ndcg@{DEPTH}"] = Metric(f"{level} nDCG@{DEPTH}", "all that belongs to the answer, early")
    return out


METRICS: dict[str, Metric] = {
    **_ranked("page", "on a page that answers"),
    "page_one": Metric("always page 1", "hit@1 of naming the right document's first page without reading"),
    **_ranked("passage", "a passage that holds the answer"),
    **_ranked("document", "from a document that answers"),
    "quote@1": Metric("gold in quote@1", "the first quote holds the answer"),
    f"quote@{QUOTES}": Metric(f"gold in quote@{QUOTES}", f"one of the first {QUOTES} quotes holds the answer"),
    "citation_precision": Metric("citation precision", "share of an answer's citations that stand where the answer is"),
    "citation_recall": Metric("citation recall", "share of the places that belong to the answer which are cited"),
    "em": Metric("exact match", "the answer's words are those of an accepted answer (SQuAD normalisation)"),
    "f1": Metric("token F1", "overlap of the answer's words with the best accepted answer (SQuAD normalisation)"),
    "f1_no_answer": Metric("F1 with no-answer", "as F1; an unanswerable question counts 1 when it was not answered"),
    "answered": Metric("answered", "share of questions that were answered and not turned down"),
    "false_answer": Metric("false answers", "share of unanswerable questions that were answered", lower_is_better=True),
    "missed": Metric("missed", "share of answerable questions that were turned down", lower_is_better=True),
    "supported": Metric("sentences carried", "share of an answer's sentences that its quotes carry"),
    "written_supported": Metric("written and carried", "the same, of the sentences that a model wrote"),
}


# ------------------------------------------------------------------------------------------------ places


def _levels(question: Question) -> dict[str, int]:
    """Levels that the question has gold for, with how many gold items there are."""
    sizes = {"page": len(question.pages), "passage": len(question.gold), "document": len(question.documents)}
    return {level: sizes[level] for level in LEVELS if sizes[level]}


def _shows(question: Question, level: str, document: DocumentRef, pages: Iterable[int], text: str) -> frozenset[int]:
    """Gold items of a level that a result shows."""
    number = question.is_about(document)
    if level == "document":
        return frozenset() if number is None else frozenset({number})
    if number is None and question.documents:
        return frozenset()
    if level == "page":
        return frozenset(pages) & frozenset(question.pages)
    return frozenset(i for i, texts in enumerate(question.gold) if any(metrics.holds(text, gold) for gold in texts))


def _cited(question: Question, level: str, citations: Sequence[Citation]) -> Found:
    return [
        _shows(question, level, c.document, [s.page for s in c.spans if s.page is not None], c.quote) for c in citations
    ]


# ------------------------------------------------------------------------------------------------ values


def of_search(question: Question, result: SearchResult) -> dict[str, float]:
    """Values of a search; none for an unanswerable question."""
    values: dict[str, float] = {}
    if question.unanswerable:
        return values
    for level, gold in _levels(question).items():
        found = [_shows(question, level, hit.document, hit.pages, hit.text) for hit in result.hits[:DEPTH]]
        values |= {f"{level}_hit@{depth}": metrics.hit(found, depth) for depth in DEPTHS}
        values[f"{level}_mrr"] = metrics.reciprocal_rank(found)
        values[f"{level}_ndcg@{DEPTH}"] = metrics.ndcg(found, gold, DEPTH)
    if question.pages:
        values["page_one"] = float(1 in question.pages)
    return values


def of_answer(question: Question, answer: Answer) -> dict[str, float]:
    """Values of an answer, as far as the question says what would be right."""
    values = {"answered": float(not answer.abstained), **_words(question, answer), **_support(answer)}
    if question.unanswerable:
        values["false_answer"] = values["answered"]
        return values
    values["missed"] = float(answer.abstained)
    levels = _levels(question)
    if "passage" in levels:
        found = _cited(question, "passage", answer.citations)
        values["quote@1"] = metrics.hit(found, 1)
        values[f"quote@{QUOTES}"] = metrics.hit(found, QUOTES)
    if levels and not answer.abstained:
        level = next(iter(levels))
        used = {n for sentence in answer.sentences for n in sentence.citations}
        found = _cited(question, level, [c for c in answer.citations if c.n in used])
        precision = metrics.share_right(found)
        if precision is not None:
            values["citation_precision"] = precision
        values["citation_recall"] = metrics.share_found(found, levels[level])
    return values


def is_wrong(question: Question, answer: Answer) -> bool:
    """Whether showing this answer would be an error: the question has none, or the first quotes do not hold it.

    Looks at the quotes of a refused answer too, so that every threshold can be judged from one run.
    """
    if question.unanswerable:
        return True
    levels = _levels(question)
    level = "passage" if "passage" in levels else next(iter(levels), None)
    if level is None:
        return not question.answers or metrics.token_f1(answer.answer, question.answers) < 0.5
    return not metrics.hit(_cited(question, level, answer.citations), QUOTES)


def _words(question: Question, answer: Answer) -> dict[str, float]:
    if question.unanswerable:
        return {"f1_no_answer": float(answer.abstained)}
    if not question.answers:
        return {}
    if answer.abstained:
        return {"em": 0.0, "f1": 0.0, "f1_no_answer": 0.0}
    f1 = metrics.token_f1(answer.answer, question.answers)
    return {"em": metrics.exact_match(answer.answer, question.answers), "f1": f1, "f1_no_answer": f1}


def _support(answer: Answer) -> dict[str, float]:
    values: dict[str, float] = {}
    for name, sentences in (
        ("supported", answer.sentences),
        ("written_supported", [s for s in answer.sentences if not s.verbatim]),
    ):
        if sentences:
            values[name] = sum(s.support == "supported" for s in sentences) / len(sentences)
    return values
