"""Sentences, names, numbers and small edits of English text, by rules alone: what synthetic examples are made with."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[A-Z\"'(\[0-9])|\n{2,}")
_ABBREVIATION = re.compile(
    r"\b(?:[A-Z]|Mr|Mrs|Dr|St|Inc|Ltd|Co|Corp|No|vs|etc|e\.g|i\.e|U\.S|Jr|Sec|Art|pp?|ca?|al|approx)\.$"
)

MONTH = r"(?:January|February|March|April|May|June|July|August|September|October|November|December)"
DATE = re.compile(rf"(?:\d{{1,2}} )?{MONTH}(?: \d{{1,2}}\b)?(?:,? \d{{4}})?|\b(?:1[0-9]|20)\d{{2}}s?\b")
NUMBER = re.compile(
    r"(?:[$£€] ?)?\b\d[\d,]*(?:\.\d+)?(?: ?%| percent| million| billion| thousand| years?| months?| days?| hours?"
    r"| miles?| km| metres?| meters?| people)?"
    r"|\b(?:two|three|four|five|six|seven|eight|nine|ten|twelve|twenty|thirty|forty|fifty|hundred)\b"
)
NAME = re.compile(
    r"\b[A-Z][\w'’\-]+(?:(?: (?:of|de|the|and|von|van|la|for) (?=[A-Z]))?(?: ?[A-Z][\w'’\-]*\.?)| [A-Z][\w'’\-]+)*"
)
_PHRASE = re.compile(
    r"\b(?:the|a|an|his|her|their|its|of|by|with|from|into|for) ((?:[a-z][a-z\-]+ ){0,3}[a-z][a-z\-]{3,})\b"
)
_BREAKS = re.compile(
    r"\b(?:is|are|was|were|be|been|has|have|had|and|or|but|that|which|who|to|in|on|at|by|with|from|into|for|as|of|than"
    r"|the|a|an|when|while|where|this|these|those|it|they|not|can|may|will|would|could|should|must|shall)\b"
)
_COMMON = frozenset(
    [
        "The",
        "A",
        "An",
        "In",
        "On",
        "At",
        "By",
        "For",
        "With",
        "From",
        "It",
        "He",
        "She",
        "They",
        "This",
        "That",
        "These",
        "Those",
        "There",
        "When",
        "While",
        "Where",
        "After",
        "Before",
        "As",
        "If",
        "And",
        "But",
        "Or",
        "However",
        "Although",
        "Since",
        "During",
        "Its",
        "His",
        "Her",
        "Their",
        "Our",
        "We",
        "I",
        "You",
        "Both",
        "Each",
        "Many",
        "Most",
        "Some",
        "Such",
        "All",
        "No",
        "Not",
        "To",
        "Under",
        "Upon",
        "Until",
        "One",
        "Also",
        "Another",
        "Other",
        "Because",
        "Despite",
        "Thus",
        "Therefore",
        "Then",
        "Within",
        "Between",
    ]
)


@dataclass(frozen=True, slots=True)
class Found:
    """A piece of a text that could be an answer. `kind` is date, number, name or phrase."""

    start: int
    end: int
    kind: str


def sentences(text: str) -> list[tuple[int, int]]:
    """Character spans of the sentences of `text`."""
    out, at = [], 0
    for match in _END.finditer(text):
        if _ABBREVIATION.search(text[at : match.start()]):
            continue
        out.append((at, match.start()))
        at = match.end()
    out.append((at, len(text)))
    return [(a, b) for a, b in out if text[a:b].strip()]


def pieces(sentence: str) -> list[Found]:
    """Dates, numbers, names and short noun phrases, without overlaps; the first kind that fits wins."""
    taken: list[Found] = []

    def add(start: int, end: int, kind: str) -> None:
        if end > start and all(end <= f.start or start >= f.end for f in taken):
            taken.append(Found(start, end, kind))

    for match in DATE.finditer(sentence):
        if match.group() != "May":
            add(match.start(), match.end(), "date")
    for match in NUMBER.finditer(sentence):
        add(match.start(), match.end(), "number")
    for match in NAME.finditer(sentence):
        start, words = match.start(), match.group().split(" ")
        while words and words[0] in _COMMON:
            start += len(words[0]) + 1
            words = words[1:]
        if words and (start > 0 or len(words) > 1):
            add(start, start + len(" ".join(words)), "name")
    for match in _PHRASE.finditer(sentence):
        border = _BREAKS.search(match.group(1))
        end = match.start(1) + border.start() if border else match.end(1)
        start = match.start(1)
        while end > start and sentence[end - 1] == " ":
            end -= 1
        if end - start > 3:
            add(start, end, "phrase")
    return sorted(taken, key=lambda f: f.start)


def other_number(text: str, rng: random.Random) -> str:
    """Another number or date of the same look: one or two digits differ, number words are replaced."""
    words = [
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "twelve",
        "twenty",
        "thirty",
        "forty",
        "fifty",
        "hundred",
    ]
    if text.lower() in words:
        return rng.choice([w for w in words if w != text.lower()])
    digits = [n for n, c in enumerate(text) if c.isdigit()]
    if not digits:
        months = re.search(MONTH, text)
        names = MONTH[3:-1].split("|")
        return text.replace(months.group(), rng.choice([m for m in names if m != months.group()])) if months else text
    out = list(text)
    for n in rng.sample(digits, min(len(digits), rng.choice([1, 1, 2]))):
        out[n] = rng.choice([d for d in "123456789" if d != out[n]])
    return "".join(out)


_NEGATE = re.compile(
    r"\b(is|are|was|were|has|have|had|can|may|will|would|could|should|must|shall|did|does|do)\b(?! not)"
)
_NEGATED = re.compile(r"\b(not|never) |n't\b")
_PLAIN_VERB = re.compile(r"\b([a-z]{3,}ed)\b")
_OPPOSITES = [
    pair.split("/")
    for pair in [
        "increase/decrease",
        "increased/decreased",
        "increases/decreases",
        "increasing/decreasing",
        "before/after",
        "more/less",
        "first/last",
        "largest/smallest",
        "larger/smaller",
        "higher/lower",
        "highest/lowest",
        "north/south",
        "northern/southern",
        "east/west",
        "eastern/western",
        "early/late",
        "earlier/later",
        "most/least",
        "all/none",
        "always/never",
        "allowed/forbidden",
        "may/must",
        "begin/end",
        "began/ended",
        "buyer/seller",
        "landlord/tenant",
        "lender/borrower",
        "licensor/licensee",
        "supplier/customer",
        "employer/employee",
        "include/exclude",
        "includes/excludes",
        "including/excluding",
        "maximum/minimum",
        "public/private",
        "positive/negative",
        "accept/reject",
        "accepted/rejected",
        "won/lost",
        "gained/lost",
        "rise/fall",
        "rose/fell",
        "above/below",
        "over/under",
        "with/without",
        "same/different",
        "old/new",
        "strong/weak",
        "long/short",
        "many/few",
        "only/also",
        "significant/insignificant",
        "better/worse",
        "monthly/yearly",
        "annual/monthly",
        "upper/lower",
        "internal/external",
        "major/minor",
    ]
]
OPPOSITE = {a: b for pair in _OPPOSITES for a, b in (pair, pair[::-1])}


def negated(sentence: str, rng: random.Random) -> str | None:
    """The sentence with one negation more or one less, or with a word turned into its opposite; `None` if none fits."""
    if _NEGATED.search(sentence) and rng.random() < 0.7:
        return _NEGATED.sub("", sentence, count=1)
    opposite = [m for m in re.finditer(r"\b[a-z]+\b", sentence) if m.group() in OPPOSITE]
    auxiliary = list(_NEGATE.finditer(sentence))
    if opposite and (not auxiliary or rng.random() < 0.5):
        match = rng.choice(opposite)
        return sentence[: match.start()] + OPPOSITE[match.group()] + sentence[match.end() :]
    if auxiliary:
        match = rng.choice(auxiliary[:3])
        return sentence[: match.end()] + rng.choice([" not", " not", " never", " no longer"]) + sentence[match.end() :]
    plain = _PLAIN_VERB.search(sentence)
    return sentence[: plain.start()] + "never " + sentence[plain.start() :] if plain else None
