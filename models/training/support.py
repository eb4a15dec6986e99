"""Claims with evidence, supported and not, built from the same data: what the support head learns from.

Supported: the sentence itself in fewer words, and question with right answer put as a statement. Not supported: the
neighbouring sentence, a changed number, a changed name, a negation or opposite, and question with a wrong answer.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from models.training.examples import Example
from models.training.text import negated, other_number, pieces, sentences

_AUXILIARY = re.compile(r"^(did|does|do|is|are|was|were|has|have|had|can|could|will|would|should|may|must|shall)\b")
_ASKED = re.compile(
    r"^(?P<before>.*?)\b(?P<wh>what (?:kind|type|sort) of [\w\-]+"
    r"|(?:what|which) [\w\-]+(?= (?:did|does|do|is|are|was|were|has|have|had|can))"
    r"|who|whom|what|which|when|where|how (?:many|much|long|old|far) ?[\w\-]*|how|why)\b(?P<rest>.*)$",
    re.IGNORECASE,
)


def statement(question: str, answer: str) -> str | None:
    """The question with its answer as one sentence, clumsy where English needs more than moving words."""
    match = _ASKED.match(question.strip().rstrip("?").strip())
    if match is None:
        return None
    before, rest = match["before"].strip(), match["rest"].strip()
    auxiliary = _AUXILIARY.match(rest)
    if auxiliary is None:
        text = f"{before} {answer} {rest}"
    elif auxiliary[1].lower() in ("did", "does", "do"):
        text = f"{rest[auxiliary.end() :]} {before} {answer}"
    elif match["wh"].lower() in ("who", "what", "which") and not before:
        text = f"{answer} {rest}"
    else:
        words = rest[auxiliary.end() :].split()
        middle = max(1, len(words) // 2)
        text = " ".join([*words[:middle], auxiliary[1], *words[middle:], before, answer])
    text = re.sub(r"\s+", " ", text).strip()
    return f"{text[0].upper()}{text[1:]}." if text else None


def support(passages: Sequence[tuple[str, str]], rng: random.Random, *, each: int = 3) -> list[Example]:
    """Claims from sentences, about half of them supported; `passages` are (group, text)."""
    names: dict[str, list[str]] = {}
    split: list[list[str]] = []
    for group, text in passages:
        own = [text[a:b] for a, b in sentences(text) if 30 <= b - a <= 400]
        split.append(own)
        names.setdefault(group, []).extend(s[p.start : p.end] for s in own for p in pieces(s) if p.kind == "name")
    out = []
    for (group, _), own in zip(passages, split, strict=True):
        for n in rng.sample(range(len(own)), min(each, len(own))):
            sentence, evidence = own[n], _evidence(own, n, rng)
            claim = _shorter(sentence, rng)
            out.append(_example(claim, evidence, 1, group))
            wrong = _wrong(claim, own, n, names[group], rng)
            if wrong is not None:
                false_claim, false_evidence = wrong
                out.append(_example(false_claim, false_evidence or evidence, 0, group))
    return out


def support_from_answers(examples: Sequence[Example], wrong: dict[str, str], rng: random.Random) -> list[Example]:
    """Statements from questions: with the right answer, with another answer of the passage, with a tempting one."""
    answers: dict[str, list[str]] = {}
    for example in examples:
        if example.answers:
            answers.setdefault(example.passage, []).append(example.answers[0])
    out = []
    for example in examples:
        tempting = wrong.get(example.id)
        if example.answerable == 1 and example.spans:
            evidence = _sentence_at(example.passage, example.spans[0][0])
            right = statement(example.question, example.answers[0])
            if right is not None:
                out.append(_example(right, evidence, 1, example.group))
            others = [a for a in answers[example.passage] if a.lower() not in evidence.lower()] or [
                a for a in answers[example.passage] if a not in example.answers
            ]
            in_sentence = [evidence[p.start : p.end] for p in pieces(evidence)]
            in_sentence = [a for a in in_sentence if not any(a in b or b in a for b in example.answers)]
            pool = in_sentence if in_sentence and rng.random() < 0.6 else others
            false = statement(example.question, rng.choice(pool)) if pool else None
            if false is not None:
                out.append(_example(false, evidence, 0, example.group))
        elif tempting and tempting in example.passage:
            false = statement(example.question, tempting)
            if false is not None:
                out.append(
                    _example(false, _sentence_at(example.passage, example.passage.find(tempting)), 0, example.group)
                )
    return out


def _example(claim: str, evidence: str, label: int, group: str) -> Example:
    return Example(claim, evidence, None, None, None, label, group, "support")


def _sentence_at(text: str, place: int) -> str:
    for a, b in sentences(text):
        if a <= place < b:
            return text[a:b]
    return text


def _evidence(own: Sequence[str], n: int, rng: random.Random) -> str:
    """The sentence, sometimes with its neighbours."""
    wide = rng.random()
    a = n - 1 if wide < 0.2 and n > 0 else n
    b = n + 2 if 0.1 < wide < 0.3 else n + 1
    return " ".join(own[a:b])


def _shorter(sentence: str, rng: random.Random) -> str:
    """The sentence without a bracket, a trailing clause or an opening one, or a few small words; or as it is."""
    draw = rng.random()
    text = sentence
    if draw < 0.25:
        text = re.sub(r"\s*\([^)]*\)", "", text)
    elif draw < 0.5:
        parts = re.split(r"(?<=[a-z]), (?:which|who|where|and|but|while|although|with|as|including) ", text)
        text = parts[0] if len(parts) > 1 and len(parts[0]) > 30 else text
    elif draw < 0.65:
        text = re.sub(r"^[^,]{3,40}, ", "", text)
    elif draw < 0.85:
        words = text.split()
        text = " ".join(w for w in words if not (w.endswith("ly") or w.lower() in ("also", "very", "however,")))
    text = text.strip().rstrip(",;")
    return f"{text[0].upper()}{text[1:]}" + ("" if text.endswith((".", "!", "?")) else ".") if text else sentence


def _wrong(
    claim: str, own: Sequence[str], n: int, names: Sequence[str], rng: random.Random
) -> tuple[str, str | None] | None:
    """A claim that the evidence does not support, with other evidence where that is what is wrong."""
    held = pieces(claim)
    ways = ["neighbour", "negation", "negation"]
    ways += ["number"] * 3 if any(p.kind in ("number", "date") for p in held) else []
    ways += ["name"] * 3 if any(p.kind == "name" for p in held) else []
    way = rng.choice(ways)
    if way == "neighbour":
        near = [m for m in (n - 1, n + 1, n + 2) if 0 <= m < len(own)]
        return (claim, own[rng.choice(near)]) if near else None
    if way == "negation":
        changed = negated(claim, rng)
        return (changed, None) if changed else None
    piece = rng.choice([p for p in held if (p.kind == "name") == (way == "name") and p.kind != "phrase"])
    old = claim[piece.start : piece.end]
    if way == "number":
        new = other_number(old, rng)
    else:
        inside = [x for m in own for x in [m[p.start : p.end] for p in pieces(m) if p.kind == "name"]]
        others = [x for x in (inside if rng.random() < 0.7 else names) if x not in claim and x not in old]
        new = rng.choice(others) if others else old
    return (claim[: piece.start] + new + claim[piece.end :], None) if new != old else None
