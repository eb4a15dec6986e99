"""A question cut into the questions that it is made of: by rules, or by a language model that writes well.

The rules know comparisons ("A compared to B", "the difference between A and B"), lists of things that are asked of one
by one ("for each of A, B and C", "of both A and B") and questions joined by "and". They only move words that are in the
question. In doubt there is one question, the one that was asked. Must not search.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Sequence

from retrieval import lexical
from retrieval.condense import condense
from retrieval.prompt import disarm
from strongroom.ports import ChatModel, Embedder, GenerationOptions
from strongroom.types import Message

MOST = 8  # sub-questions, whatever was asked for
_LONGEST = 300  # characters of one that a model wrote
_MODEL_TOKENS = 300
_ASKING = r"(?:what|which|who|whom|whose|when|where|why|how|did|does|do|is|are|was|were|has|have|can|may)\b"
_JOINED = re.compile(rf",?\s+(?:and|as well as)\s+(?={_ASKING})", re.IGNORECASE)
_LIST = r"(?P<list>[^,;?]+?(?:,\s*[^,;?]+?)*,?\s+(?:and|or)\s+[^,;?]+?)"
_EACH = re.compile(rf"\b(?:for\s+)?(?:each|both|all)\s+(?:of\s+)?(?:the\s+)?{_LIST}(?=[,;?]|\s*$)", re.IGNORECASE)
_BETWEEN = re.compile(
    r"^(?:what\s+(?:is|are|was|were)\s+)?(?:the\s+)?(?:differences?|relationship|correlation)\s+between\s+"
    r"(?P<a>.+?)\s+and\s+(?P<b>.+?)[?.]?$",
    re.IGNORECASE,
)
_COMPARE = re.compile(
    r"^(?:please\s+)?compare\s+(?P<a>.+?)\s+(?:and|with|to|against)\s+(?P<b>.+?)[?.]?$", re.IGNORECASE
)
_HOW_COMPARE = re.compile(
    r"^(?P<lead>.*?,\s*)?how\s+(?:does|do|did)\s+(?P<a>.+?)\s+(?:compare|relate)\s+(?:to|with)\s+(?P<b>.+?)[?.]?$",
    re.IGNORECASE,
)
_OF = re.compile(r"^(?P<head>(?:the\s+)?[\w\s'’-]+?)\s+(?P<link>of|in|for|under|by)\s+(?P<tail>.+)$", re.IGNORECASE)
_WHEN = re.compile(r"^(?P<thing>.+?)\s+(?P<tail>(?:in|for|at|during|on)\s+.+)$", re.IGNORECASE)
_RELATIVE = re.compile(r"(?:the\s+)?(?:previous|prior|earlier|preceding|last|same|other)\b", re.IGNORECASE)
_POINTER = re.compile(r"(?:it|its|this|that|they|them|their|these|those|he|his|him|she|her)[,.?]?", re.IGNORECASE)
_SCHEMA = {
    "type": "object",
    "properties": {"questions": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": MOST}},
    "required": ["questions"],
    "additionalProperties": False,
}
_INSTRUCTIONS = (
    "Split the question into the fewest simple questions whose answers together answer it. Each must stand alone, with "
    "all names and dates that it needs. Use only words of the question. A simple question stays as it is. Answer "
    "in JSON."
)


def by_rules(question: str, most: int, embedder: Embedder) -> list[str]:
    """The sub-questions, at most `most`; the question alone where no rule knows it."""
    whole = " ".join(question.split())
    parts: list[str] = []
    # "... performance? List this by period." is one question: what follows it asks nothing by itself.
    for sentence in re.split(r"(?<=\?)\s+(?=\S.*\?)|;\s+", whole):
        for piece in _JOINED.split(sentence):
            parts += _taken_apart(piece.strip(" ,"))
    found = list(dict.fromkeys(_asked(part) for part in _standing_alone(parts, embedder) if part))
    return found[: min(most, MOST)] if len(found) > 1 else [whole]


def _taken_apart(question: str) -> list[str]:
    """A comparison or a list as one question for each thing."""
    for pattern in (_BETWEEN, _COMPARE, _HOW_COMPARE):
        match = pattern.match(question)
        if match and not _RELATIVE.match(match["b"]):  # "compared to previous quarters" names nothing to look for
            lead = (match.groupdict().get("lead") or "").strip()
            return [f"{lead} what is {thing}".strip() for thing in _sides(match["a"], match["b"])]
    match = _EACH.search(question)
    if match:
        things = [t.strip() for t in re.split(r",\s*(?:and\s+|or\s+)?|\s+(?:and|or)\s+", match["list"]) if t.strip()]
        preposition = "for " if question[match.start() :].casefold().startswith("for ") else ""
        if 1 < len(things) <= MOST:
            return [f"{question[: match.start()]}{preposition}{t}{question[match.end() :]}" for t in things]
    return [question]


def _sides(a: str, b: str) -> list[str]:
    """The two things compared. What is said of both ("the revenue of Apple and Intel in 2020") goes to each."""
    if _POINTER.fullmatch(a.split()[0]):
        return [b]  # "how does this compare to …": what it points to was asked before
    head = _OF.match(a)
    if head and (pointed := re.match(r"(?:that|those|the ones?)\b", b, re.IGNORECASE)):
        return [a, head["head"] + b[pointed.end() :]]
    when = _WHEN.match(b)
    thing, tail = (when["thing"], f" {when['tail']}") if when else (b, "")
    if head and _named(thing):
        return [f"{a}{tail}", f"{head['head']} {head['link']} {thing}{tail}"]
    if when and _named(thing) and _named(a):
        return [f"{a}{tail}", b]
    return [a, b]


def _named(text: str) -> bool:
    """A name or a number, not a description: "Intel", "2021", "Annex B"."""
    words = text.split()
    return 0 < len(words) <= 4 and (words[0][0].isupper() or words[0][0].isdigit())


def _standing_alone(parts: Sequence[str], embedder: Embedder) -> list[str]:
    """Parts with what they lean on: "and who signs it" takes words of the part before, and so does "and why"."""
    out: list[str] = []
    for part in parts:
        leans = out and (any(map(_POINTER.fullmatch, part.split())) or len(set(lexical.terms(part))) < 2)
        out.append(condense(part, [Message("user", out[-1])], embedder) if leans else part)
    return out


def _asked(part: str) -> str:
    part = part.strip(" ,.?")
    return f"{part[:1].upper()}{part[1:]}?" if part else ""


def by_model(question: str, most: int, llm: ChatModel, cancel: threading.Event | None = None) -> list[str]:
    """The sub-questions that a model writes, held to a JSON schema; the question alone where it writes none."""
    messages = [Message("system", _INSTRUCTIONS), Message("user", disarm(question))]
    options = GenerationOptions(max_tokens=_MODEL_TOKENS, schema=_SCHEMA)
    try:
        said = json.loads("".join(llm.stream(messages, options, cancel=cancel)))
        found = [" ".join(str(q).split())[:_LONGEST] for q in said["questions"]]
    except (json.JSONDecodeError, KeyError, TypeError):  # cut off at its longest
        found = []
    found = list(dict.fromkeys(q for q in found if q))[: min(most, MOST)]
    return found if len(found) > 1 else [question]
