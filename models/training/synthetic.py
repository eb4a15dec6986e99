"""Questions made from sentences by rules, to teach the encoder what a span is before it sees people's questions.

Method: noisy cloze questions (Lewis, Denoyer and Riedel 2019, arXiv:1906.04980): an answer is taken out of a clause,
a question word that fits its kind goes in or to the front, words are dropped and moved. The questions are crude; they
are used before, never beside, real ones. Some ask with a changed name or number, or of another passage of the same
article, so that "no answer" is learnt too.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from models.training.examples import Example
from models.training.text import Found, other_number, pieces, sentences

_WORD = re.compile(r"\S+")
_SMALL = frozenset(
    [
        "the",
        "a",
        "an",
        "of",
        "and",
        "or",
        "to",
        "in",
        "on",
        "at",
        "by",
        "for",
        "with",
        "from",
        "as",
        "that",
        "which",
        "this",
        "these",
        "those",
        "it",
        "its",
        "is",
        "are",
        "was",
        "were",
        "be",
        "been",
    ]
)
_ASKING = frozenset(
    [
        "who",
        "whom",
        "what",
        "which",
        "when",
        "where",
        "why",
        "how",
        "did",
        "does",
        "do",
        "has",
        "have",
        "had",
        "many",
        "much",
    ]
)


def cloze(
    passages: Sequence[tuple[str, str]], rng: random.Random, *, each: int = 6, source: str = "cloze"
) -> list[Example]:
    """Up to `each` questions a passage; `passages` are (group, text)."""
    names: dict[str, list[str]] = {}
    texts: dict[str, list[str]] = {}
    found: list[list[tuple[int, str, Found]]] = []
    for group, text in passages:
        own = [(a, text[a:b], piece) for a, b in sentences(text) if 40 <= b - a <= 500 for piece in pieces(text[a:b])]
        names.setdefault(group, []).extend(s[p.start : p.end] for _, s, p in own if p.kind == "name")
        texts.setdefault(group, []).append(text)
        found.append(own)
    out = []
    for (group, text), own in zip(passages, found, strict=True):
        weights = [{"phrase": 0.6, "name": 1.3}.get(piece.kind, 1.2) for _, _, piece in own]
        for a, sentence, piece in _draw(own, weights, each, rng):
            question = _question(sentence, piece, rng)
            if question is None:
                continue
            answer = sentence[piece.start : piece.end]
            draw = rng.random()
            if draw < 0.15:
                changed = _changed(question, names[group], answer, rng)
                if changed is not None:
                    out.append(Example(changed, text, (), 0, None, None, group, source))
                continue
            if draw < 0.25:
                others = [t for t in texts[group] if t is not text and answer not in t]
                if others:
                    out.append(Example(question, rng.choice(others), (), 0, 0, None, group, source))
                continue
            span = (a + piece.start, a + piece.end)
            out.append(Example(question, text, (span,), 1, 1, None, group, source, answers=(answer,)))
    return out


def _draw(
    own: list[tuple[int, str, Found]], weights: list[float], each: int, rng: random.Random
) -> list[tuple[int, str, Found]]:
    """A weighted sample without replacement (Efraimidis and Spirakis 2006)."""
    keyed = sorted(((rng.random() ** (1 / w), n) for n, w in enumerate(weights)), reverse=True)
    return [own[n] for _, n in keyed[:each]]


def _question(sentence: str, piece: Found, rng: random.Random) -> str | None:
    before = _WORD.findall(sentence[: piece.start])
    after = _WORD.findall(sentence[piece.end :].rstrip(".!?"))
    cut = next((n for n in range(len(before), 0, -1) if before[n - 1][-1] in ",;:" and len(before) - n >= 4), 0)
    before = before[max(cut if rng.random() < 0.6 else 0, len(before) - 14) :]
    stop = next((n for n, w in enumerate(after) if w[-1] in ",;:" and n >= 3), len(after))
    after = after[: min(stop + 1 if rng.random() < 0.6 else len(after), 14)]
    if len(before) + len(after) < 4:
        return None
    what = _question_word(piece, before, sentence[piece.start : piece.end], rng)
    if (
        before
        and before[-1].lower() in ("in", "on", "at", "by", "the", "a", "an", "from", "of", "since")
        and rng.random() < 0.7
    ):
        before = before[:-1]
    keep = 1 - rng.choice([0.0, 0.15, 0.3, 0.4])
    before, after = ([w for w in part if rng.random() < keep or w.lower() in _SMALL] for part in (before, after))
    draw = rng.random()
    if len(before) <= 1 and after:
        words = [what, *after]  # the answer was the subject: this is nearly a person's question
    elif draw < 0.3:
        words = [*before, what, *after]
    elif draw < 0.65:
        words = [what, *after, *before]
    else:
        words = [what, *before, *after]
    if rng.random() < 0.3 and len(words) > 5:
        n = rng.randrange(1, len(words) - 1)
        words[n], words[n + 1] = words[n + 1], words[n]
    text = " ".join(w.strip(',;:()"') for w in words)
    return f"{text[0].upper()}{text[1:]}?"


def _question_word(piece: Found, before: Sequence[str], answer: str, rng: random.Random) -> str:
    last = before[-1].lower() if before else ""
    if piece.kind == "date":
        return rng.choice(["when", "when", "in what year", "what year", "on what date"])
    if piece.kind == "number":
        if any(unit in answer for unit in ("%", "percent")):
            return rng.choice(["what percentage", "how much", "what percent"])
        if answer[0] in "$£€":
            return rng.choice(["how much", "what amount", "how much money"])
        if re.search(r"year|month|day|hour", answer):
            return rng.choice(["how long", "how many years" if "year" in answer else "how long", "for what period"])
        return rng.choice(["how many", "how many", "how much", "what number"])
    if piece.kind == "name":
        if last in ("in", "at", "near", "from", "to", "into"):
            return rng.choice(["where", "in what place", "which place", "what"])
        return rng.choice(["who", "who", "what", "which", "what", "whom"])
    return rng.choice(["what", "what", "what kind", "which", "how"])


def _changed(question: str, names: Sequence[str], answer: str, rng: random.Random) -> str | None:
    """The question with another name or number in it, so that its passage no longer answers it."""
    held = [p for p in pieces(question) if p.kind in ("name", "number", "date")]
    if not held:
        return None
    piece = rng.choice(held)
    old = question[piece.start : piece.end]
    if piece.kind == "name":
        others = [n for n in names if n not in question and n != answer]
        if not others:
            return None
        new = rng.choice(others)
    else:
        new = other_number(old, rng)
    return question[: piece.start] + new + question[piece.end :] if new != old else None


def changed_questions(examples: Sequence[Example], rng: random.Random, *, share: float = 0.25) -> list[Example]:
    """People's answerable questions with another name or number of the same article: no longer answerable."""
    names: dict[str, list[str]] = {}
    for example in examples:
        if example.group not in names:
            names[example.group] = []
        names[example.group] += [
            example.question[p.start : p.end] for p in pieces(example.question) if p.kind == "name"
        ]
    out = []
    for example in examples:
        if example.answerable == 1 and rng.random() < share:
            answer = example.answers[0] if example.answers else ""
            question = _changed(example.question, names[example.group], answer, rng)
            if question is not None:
                out.append(
                    Example(question, example.passage, (), 0, None, None, example.group, f"{example.source}-changed")
                )
    return out


def as_typed(question: str, rng: random.Random) -> str:
    """The question as people type it: a letter wrong, no question mark, or the telling words alone."""
    draw = rng.random()
    if draw < 0.35:
        telling = [w for w in question.rstrip("?").split() if w.lower() not in _SMALL and w.lower() not in _ASKING]
        return " ".join(telling) if len(telling) >= 2 else question.rstrip("?")
    words = question.split()
    places = [n for n, word in enumerate(words) if len(word) >= 5 and word.isalpha()]
    if not places or draw > 0.85:
        return question.rstrip("?")
    n = rng.choice(places)
    word, at = words[n], rng.randrange(1, len(words[n]) - 1)
    wrong = rng.choice(
        [
            word[:at] + word[at + 1 :],
            word[:at] + word[at] + word[at:],
            word[:at] + word[at + 1] + word[at] + word[at + 2 :],
            word[:at] + rng.choice("abcdefghijklmnopqrstuvwxyz") + word[at + 1 :],
        ]
    )
    return " ".join([*words[:n], wrong, *words[n + 1 :]])
