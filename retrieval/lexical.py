"""Words, numbers and names of a text, and how much of one text another one covers.

Plain rules, no model and no dictionary download: what abstention, evidence choice and grounding compare. Must not
decide anything itself. Scripts written without spaces (Chinese, Japanese, Thai) are compared by character pairs.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Literal

_WORD = re.compile(r"[^\W_]+(?:['’][^\W\d_]+)*")
_NUMBER = re.compile(r"(?<![\w.,])[-+]?\d+(?:[.,]\d+)*(?![\w]*\d)")
_UNSPACED = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")


def _vocabulary(text: str) -> frozenset[str]:
    return frozenset(text.split())


STOPWORDS = _vocabulary(
    """a about above after again against all also am an and any are as at be because been before being below between
    both but by can could did do does doing done down during each either else etc ever every few for from further get
    had has have having he her here hers him his how however i if in into is it its itself just many may me might more
    most much must my no nor not of off on once one only or other our ours out over own per please same shall she
    should so some such tell than that the their theirs them themselves then there these they this those through thus
    to too under until up upon us very was we were what when where whether which while who whom whose why will with
    within without would you your yours document documents find give describe explain list say says state mean
    means"""
)
# Function words of other languages, so that they do not pass for content; without those that mean something in English.
_GERMAN = _vocabulary(
    """der die das den dem des ein eine einen einem einer eines und oder ist sind wird werden wurde wurden von vom zu
    zum zur im am bei mit nach vor aus auf für über unter wie wer wann wo warum welche welcher welches welchen wem wen
    nicht auch sich als bis durch gegen ohne um es sie er wir ihr kann können muss müssen darf dürfen soll sollen
    haben lange viel viele"""
)
_OTHERS = _vocabulary(
    """le la les des du de et est une dans que qui quel quelle quels quelles sont aux avec ce cette ces ou où quand
    comment combien il elle el los las del y en un es con como cual cuál cuales quién quien cuándo cuándo dónde donde
    qué cuánto cuántos se su sus lo di che è della dei nel quando dove chi het een van zijn wat"""
)
_MONTHS = _vocabulary(
    """january february march april may june july august september october november december jan feb mar apr jun jul aug
    sep sept oct nov dec"""
)
_SMALL_NUMBERS = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
sixteen
    seventeen eighteen nineteen twenty"""
NUMBER_WORDS = {word: str(value) for value, word in enumerate(_SMALL_NUMBERS.split())} | {
    "thirty": "30",
    "forty": "40",
    "fifty": "50",
    "sixty": "60",
    "seventy": "70",
    "eighty": "80",
    "ninety": "90",
}
_NEGATIONS = frozenset({"not", "no", "never", "none", "neither", "nor", "without", "cannot", "nobody", "nothing"})


def fold(text: str) -> str:
    """Compatibility form, case folded, white space runs as single spaces: for comparing, never for showing."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def words(text: str) -> list[str]:
    """Folded words in order. Unspaced scripts give overlapping character pairs instead."""
    out: list[str] = []
    for match in _WORD.finditer(fold(text)):
        word = match.group().replace("’", "'")
        if _UNSPACED.search(word):
            out.extend(_pairs(word))
        else:
            out.append(word.removesuffix("'s"))
    return out


def _pairs(word: str) -> list[str]:
    return [word] if len(word) < 2 else [word[i : i + 2] for i in range(len(word) - 1)]


def stem(word: str) -> str:
    """Cut the commonest English endings, so that "contracts" meets "contract". Crude on purpose."""
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    for ending in ("ations", "ation", "ings", "ing", "ers", "er", "ed", "es", "s", "ly"):
        if word.endswith(ending) and len(word) - len(ending) >= 4 and not word.endswith("ss"):
            return word[: -len(ending)].removesuffix("e")
    return word.removesuffix("e") if len(word) > 4 else word


def terms(text: str) -> list[str]:
    """Stems of the content words, in order, without stop words."""
    return [stem(w) for w in words(text) if w not in STOPWORDS and w not in _GERMAN and w not in _OTHERS]


def rarity(texts: Sequence[Iterable[str]]) -> dict[str, float]:
    """Inverse document frequency of each term within `texts` (BM25's form). Terms of no text: see `unseen`."""
    frequency: dict[str, int] = {}
    for text in texts:
        for term in set(text):
            frequency[term] = frequency.get(term, 0) + 1
    n = len(texts)
    return {t: math.log(1 + (n - f + 0.5) / (f + 0.5)) for t, f in frequency.items()}


def unseen(n_texts: int) -> float:
    """The rarity of a term that none of `n_texts` texts holds."""
    return math.log(1 + (n_texts + 0.5) / 0.5)


def coverage(question: Iterable[str], text: Iterable[str], weights: dict[str, float], missing: float) -> float:
    """Share (0..1) of the question's term weight that `text` holds; 0 when the question has no terms."""
    held = set(text)
    total = found = 0.0
    for term in set(question):
        weight = weights.get(term, missing)
        total += weight
        found += weight if term in held else 0.0
    return found / total if total else 0.0


# ------------------------------------------------------------------------------------------------ facts


def numbers(text: str) -> set[str]:
    """Numbers of a text, written one way: "1,250.00" and "1250" agree, and so do "ten" and "10"."""
    text = unicodedata.normalize("NFKC", text)
    found = {plain_number(m.group()) for m in _NUMBER.finditer(text)}
    found |= {NUMBER_WORDS[w] for w in words(text) if w in NUMBER_WORDS}
    return found


def strict_numbers(text: str) -> set[str]:
    """Numbers written in digits, and number words above one ("one" is mostly a pronoun)."""
    return numbers(text) - ({"1"} if not re.search(r"\b1\b", text) else set())


def plain_number(raw: str) -> str:
    """Normalise separators: a last group of three digits after a comma is thousands, other commas are decimals."""
    sign = "-" if raw[0] == "-" else ""
    raw = raw.lstrip("+-")
    if re.fullmatch(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?", raw):
        raw = raw.replace(",", "")
    elif re.fullmatch(r"\d{1,3}(?:\.\d{3}){2,}(?:,\d+)?", raw):
        raw = raw.replace(".", "").replace(",", ".")
    if re.fullmatch(r"\d+[.,]\d+", raw):
        raw = raw.replace(",", ".").rstrip("0").rstrip(".")
    return sign + (raw.lstrip("0") or "0")


def months(text: str) -> set[str]:
    """Month names (first three letters); "may" and "march" only where capitalised."""
    out = set()
    for match in re.finditer(r"[^\W\d_]+", text):
        word = match.group()
        if word.casefold() in _MONTHS and (word[0].isupper() or word.casefold() not in {"may", "march", "mar", "dec"}):
            out.add(word.casefold()[:3])
    return out


def names(text: str) -> set[str]:
    """Stems of the words that look like names (see `full_names`)."""
    return {stem(word) for name in full_names(text) for word in name}


def names_asked_for(question: str) -> set[str]:
    """Names of a question; none of a German one, whose nouns all begin with capitals."""
    return set() if german(question) else names(question)


def full_names(text: str) -> list[tuple[str, ...]]:
    """Names as runs of folded words: capitalised inside a sentence, or with capitals or digits inside them.

    The first word of a sentence is left out unless another name follows it directly ("Acme Corporation signed").
    """
    out: list[tuple[str, ...]] = []
    for sentence in re.split(r"(?<=[.!?…])\s+|\n+", text):
        found = list(_WORD.finditer(sentence))
        run: list[str] = []
        for i, match in enumerate(found):
            word = match.group()
            followed = i + 1 < len(found) and _joined_name(sentence, match, found[i + 1])
            inner = any(c.isupper() for c in word[1:])
            if word[0].isupper() and word.casefold() not in STOPWORDS and (i > 0 or inner or followed):
                run.append(word.casefold().replace("’", "'").removesuffix("'s"))
                if followed:
                    continue
            if run:
                out.append(tuple(run))
                run = []
    return out


def german(text: str) -> bool:
    """True for German text, whose every noun is capitalised and so looks like a name."""
    return len(_GERMAN.intersection(words(text))) >= 2


def _joined_name(sentence: str, first: re.Match[str], second: re.Match[str]) -> bool:
    word = second.group()
    return word[0].isupper() and word.casefold() not in STOPWORDS and sentence[first.end() : second.start()] == " "


_ASKS_NUMBER = re.compile(
    r"""\bhow\s(?:many|much|long|high|old|far|often|large|big|tall|deep|wide|soon|late)\b|\bwhen\b
    |\b(?:what|which)\s(?:\w+\s)?(?:year|date|day|month|percent|percentage|share|number|amount|sum|time|price|rate|fee|cost)s?\b
    |\bwhat\s(?:is|are|was|were)\s(?!.*\b(?:definition|meaning)\b)(?:[\w'’&-]+\s){0,6}?
    (?:expense|expenditure|revenue|sale|income|earning|turnover|profit|budget|salary|salaries|headcount|population)s?
    (?=\s*(?:[?,.]|$)|\s(?:as|at|by|during|for|from|in|of|on)\b)""",
    re.IGNORECASE | re.VERBOSE,
)
_OPEN = re.compile(r"\b(?:who|whom|whose|what|which|where|when|why|how)\b", re.IGNORECASE)
_ASKS_NAME = re.compile(r"\b(?:who|whom|whose)\b", re.IGNORECASE)


def wanted(question: str) -> Literal["number", "name"] | None:
    """What kind of word an English question asks for, where it says so."""
    if _ASKS_NUMBER.search(question):
        return "number"
    return "name" if _ASKS_NAME.search(question) else None


def is_open(question: str) -> bool:
    """True for an English question whose answer is not among its own words: who, what, when, and no "or"."""
    return bool(_OPEN.search(question)) and not re.search(r"\bor\b", question, re.IGNORECASE)


def echoes(text: str, question: str) -> bool:
    """True for words that say nothing but what an open question says itself: they cannot be its answer."""
    return is_open(question) and set(terms(question)).issuperset(terms(text))


def offers(text: str, kind: Literal["number", "name"] | None, question: str) -> bool:
    """True when the text has something of that kind that the question does not hold already."""
    if kind == "number":
        return bool((numbers(text) | months(text)) - numbers(question) - months(question))
    return kind == "name" and bool(names(text) - set(map(stem, words(question))))


def negated(text: str) -> bool:
    """True when the text denies something (an odd number of negations)."""
    count = sum(1 for w in words(text) if w in _NEGATIONS or w.endswith("n't"))
    return count % 2 == 1
