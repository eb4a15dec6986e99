"""When to ask back: one question, and only where an answer would be a guess between documents.

A pronoun that nothing was said before about, while the passages found are of several documents, is asked back instead
of an answer. Documents that answer differently are another case: `retrieval.differ`. Must not ask twice, and must not
ask where one document is clearly the nearest.
"""

from __future__ import annotations

from collections.abc import Sequence

from retrieval import condense, lexical
from retrieval.evidence import Evidence
from strongroom.types import Clarification, Message

FEW_TERMS = 2  # content words, up to which a question with a pronoun says nothing by itself
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


def _documents(evidence: Sequence[Evidence]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(e.chunk.document.name for e in evidence))[:_MOST]
