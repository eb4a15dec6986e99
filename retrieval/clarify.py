"""When to ask back: one question, and only where an answer would be a guess between documents.

Two cases. A pronoun that nothing was said before about, while the passages found are of several documents: asked back
instead of an answer. Several documents that answer a question equally well and differently, while the question names
none of them: the answer is given, and the question back goes with it. Must not ask twice, and must not ask where one
document is clearly the nearest.
"""

from __future__ import annotations

from collections.abc import Sequence

from retrieval import condense, lexical
from retrieval.evidence import Evidence
from strongroom.types import Clarification, Message

FEW_TERMS = 2  # content words, up to which a question with a pronoun says nothing by itself
CLOSE = 0.05  # scores this near are equal
SURE = 0.5  # the reader's score from which a span is an answer
_MOST = 5


def unresolved(question: str, history: Sequence[Message], evidence: Sequence[Evidence]) -> Clarification | None:
    """What to ask when the question's pronoun stands for nothing that was said."""
    word = condense.pronoun(question)
    if word is None or any(m.role == "user" for m in history) or len(set(lexical.terms(question))) > FEW_TERMS:
        return None
    names = _documents(evidence)
    if len(names) < 2 or lexical.names(question):
        return None
    return Clarification(f"What does “{word}” stand for? These documents may be meant.", names)


def differing(question: str, evidence: Sequence[Evidence]) -> Clarification | None:
    """What to ask when documents answer a question equally well and differently."""
    best: dict[str, Evidence] = {}
    for item in evidence:
        best.setdefault(item.chunk.document.id, item)
    leading = [
        e for e in best.values() if e.score >= evidence[0].score - CLOSE and e.spans and e.spans[0].score >= SURE
    ]
    if len(leading) < 2:
        return None
    said = {" ".join(lexical.words(_answer(e))) for e in leading}
    asked = set(lexical.terms(question))
    names = [set(lexical.terms(e.chunk.document.name)) for e in leading]
    told_apart = set[str]().union(*names) - set[str].intersection(*names)
    if len(said) < 2 or asked & told_apart:
        return None
    return Clarification("Several documents answer this, and not alike. Which one is meant?", _documents(leading))


def _answer(evidence: Evidence) -> str:
    span = evidence.spans[0]
    return evidence.text[span.start - evidence.start : span.end - evidence.start]


def _documents(evidence: Sequence[Evidence]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(e.chunk.document.name for e in evidence))[:_MOST]
