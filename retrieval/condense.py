"""A follow-up question made to stand alone, by rules; and a new topic told from a follow-up.

A small model asked to rewrite a question invents things, and a wrong rewrite retrieves the wrong documents. So words
are only ever added, and only words that the user wrote. A short question of its own ("Who insures the crane?") gets
none: whether it belongs to what was asked before is told by words that point back, and by its likeness to that
(docs/decisions/conversation.md). Must not call a language model.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from retrieval import lexical
from strongroom.ports import Embedder
from strongroom.types import Message

MAX_TURNS = 4  # earlier questions looked at
MAX_CHARS = 1_000  # of each of them
MAX_ADDED = 12  # words added
LONG = 40  # words, from which what a question asks is told from what is said before it
ALIKE = 0.2  # cosine to what was asked before, from which a short question without a pointer belongs to it


def _vocabulary(text: str) -> frozenset[str]:
    return frozenset(text.split())


_PRONOUNS = _vocabulary("it its they them their theirs he him his she her hers")
_POINTERS = _PRONOUNS | _vocabulary(
    """this that these those there then one ones former latter same such else another other others both either above
    mentioned said"""
)
_OPENERS = re.compile(
    r"^\s*(?:and|but|so|or|also|what about|how about|what else|why|since when|who else)\b", re.IGNORECASE
)
# "the clause that says", "those who": the word points forward, not back
_FORWARD = re.compile(
    r"\b(?:says?|said|states?|mean|means|so|ensure|such|sure|require[sd]?|provide[sd]?|agree[sd]?|\w+tion|\w+ment|clauses?|"
    r"documents?|rules?|party|parties|people|persons?|things?|ones?|those|all)\s+that\b"
    r"|\bthose\s+(?:who|that|of)\b|\bthat\s+of\b|\bis there\b|\bare there\b|\bother than\b|\beach other\b|\bsuch as\b"
    r"|\bone of\b|\bboth\s+\w+\s+and\b|\beither\s+\w+\s+or\b",
    re.IGNORECASE,
)


def points_back(question: str) -> bool:
    """True when a word of the question stands for something that was said before."""
    found = lexical.words(_FORWARD.sub(" ", question))
    return bool(_POINTERS.intersection(found))


def pronoun(question: str) -> str | None:
    """The first personal pronoun of the question, or `None`."""
    return next((w for w in lexical.words(question) if w in _PRONOUNS), None)


def stands_alone(question: str) -> bool:
    """True when the question names what it is about."""
    if _OPENERS.match(question) and len(lexical.words(question)) <= 8:
        return False
    return len(set(lexical.terms(question))) >= 3 and not points_back(question)


def _own_topic(question: str, leaned: str, embedder: Embedder) -> bool:
    """True when a question that names little names something new: no word points back, and it is unlike the rest."""
    if _OPENERS.match(question) or points_back(question) or not lexical.terms(question):
        return False
    if set(lexical.terms(question)) & set(lexical.terms(leaned)):
        return False
    return float(embedder.embed_query(question) @ embedder.embed_query(leaned)) < ALIKE


def leans_on(question: str, history: Sequence[Message], embedder: Embedder) -> list[str]:
    """The user's earlier questions that this one leans on, oldest first; none when it stands alone."""
    earlier = [m.content[:MAX_CHARS] for m in history if m.role == "user" and m.content.strip()][-MAX_TURNS:]
    if not earlier or stands_alone(question):
        return []
    leaned: list[str] = []
    for previous in reversed(earlier):
        leaned.insert(0, previous)
        if stands_alone(previous):
            break
    return [] if _own_topic(question, " ".join(leaned), embedder) else leaned


def asked(question: str) -> str:
    """What a long question asks: its last clause with a question mark, after the names that it says before.

    What someone tells before asking helps the search, but hides from a reader what is asked.
    """
    if len(lexical.words(question)) < LONG:
        return question
    clauses = re.split(r"(?<=[.!?;:。？！؟；：])\s+", question.strip())
    last = next((c for c in reversed(clauses) if c.endswith(("?", "？", "؟")) and lexical.terms(c)), question)
    known = set(lexical.words(last))
    told = dict.fromkeys(word for name in lexical.full_names(question) for word in name if word not in known)
    return f"{' '.join(list(told)[:MAX_ADDED])}: {last}" if told else last


def condense(question: str, history: Sequence[Message], embedder: Embedder) -> str:
    """The question, with content words of the last questions in front when it leans on them.

    Goes back to the last question that stands alone; adds at most `MAX_ADDED` words.
    """
    known = set(lexical.terms(question))
    added: list[str] = []
    for match in re.finditer(r"[^\W_]+(?:['’.-][^\W_]+)*", " ".join(leans_on(question, history, embedder))):
        word = match.group()
        term = lexical.terms(word)
        if term and not known.issuperset(term):
            known.update(term)
            added.append(word)
    return f"{' '.join(added[:MAX_ADDED])}: {question}" if added else question
