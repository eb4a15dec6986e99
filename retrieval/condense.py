"""A follow-up question made to stand alone, by rules.

A small model asked to rewrite a question invents things, and a wrong rewrite retrieves the wrong documents. So words
are only ever added, and only words that the user wrote. Must not call a model.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from retrieval import lexical
from strongroom.types import Message

MAX_TURNS = 4  # earlier questions looked at
MAX_ADDED = 12  # words added


def _vocabulary(text: str) -> frozenset[str]:
    return frozenset(text.split())


_POINTERS = _vocabulary(
    """it its they them their theirs he him his she her hers this that these those there then one ones former latter
    same such else another other others both either above mentioned said"""
)
_OPENERS = re.compile(
    r"^\s*(?:and|but|so|or|also|what about|how about|what else|why|since when|who else)\b", re.IGNORECASE
)


def stands_alone(question: str) -> bool:
    """True when the question names what it is about."""
    found = lexical.words(question)
    if _OPENERS.match(question) and len(found) <= 8:
        return False
    return len(set(lexical.terms(question))) >= 3 and not _POINTERS.intersection(found)


def condense(question: str, history: Sequence[Message]) -> str:
    """The question, with content words of the last questions in front when it leans on them.

    Goes back to the last question that stands alone; adds at most `MAX_ADDED` words.
    """
    if stands_alone(question):
        return question
    earlier = [m.content for m in history if m.role == "user" and m.content.strip()][-MAX_TURNS:]
    leaned: list[str] = []
    for previous in reversed(earlier):
        leaned.insert(0, previous)
        if stands_alone(previous):
            break
    known = set(lexical.terms(question))
    added: list[str] = []
    for match in re.finditer(r"[^\W_]+(?:['’.-][^\W_]+)*", " ".join(leaned)):
        word = match.group()
        term = lexical.terms(word)
        if term and not known.issuperset(term):
            known.update(term)
            added.append(word)
    return f"{' '.join(added[:MAX_ADDED])}: {question}" if added else question
