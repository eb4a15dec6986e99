"""Which end of a period a question asks for, and which end of one each date of a sentence is.

"When does it expire" asks for the date behind "expiring", not for the one behind "as of", and where only a beginning
and a term are written, for the sentence with the term. English words decide, and the place where they stand; a date
that no such word stands beside is neither. Must not read a calendar: what a term comes to is not worked out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from retrieval import lexical
from retrieval.facts import day_places

Side = Literal["start", "end"]

BESIDE = 80  # characters between a word and the date that it tells something of
TERM = 0.6  # of a date's worth is a sentence that says how long, where it is asked when something ends
_ASKS_DAY = re.compile(r"\b(?:when|dates?|day|year|until)\b", re.IGNORECASE)
_ASKS_WHEN = re.compile(r"\b(?:when|(?:what|which)\s(?:date|day|month|year))\b", re.IGNORECASE)
_ASKED: tuple[tuple[Side, re.Pattern[str]], ...] = (
    (
        "end",
        re.compile(
            r"\b(?:expires?|expired|end|ends|ended|terminates?|terminated|lapses?|lapsed|concludes?|concluded|ceases?|ceased"
            r"|finish(?:es|ed)?|runs?\sout|ran\sout|until\swhen"
            r"|(?:expiration|expiry|termination|closing|end)\s(?:date|day|year))\b",
            re.IGNORECASE,
        ),
    ),
    (
        "start",
        re.compile(
            r"\b(?:begins?|began|starts?|started|commences?|commenced|(?:take|takes|took|come|comes|came|go|goes|went)\s"
            r"(?:effect|into\s(?:effect|force))|enter(?:s|ed)?\sinto\sforce|(?:become|becomes|became)\seffective"
            r"|(?:effective|starting?|commencement|beginning)\s(?:date|day|year))\b",
            re.IGNORECASE,
        ),
    ),
)
_WORDS = re.compile(
    r"\b(?:(?P<end>expir(?:e|es|ed|ing|y|ation)|end(?:s|ed|ing)?|terminat(?:e|es|ed|ing|ion)|conclud(?:e|es|ed|ing)"
    r"|laps(?:e|es|ed|ing)|ceas(?:e|es|ed|ing)|until|till|through|finish(?:es|ed)?)"
    r"|(?P<start>beg[ia]n(?:s|ning)?|commenc(?:e|es|ed|ing|ement)|start(?:s|ed|ing)?|effective|effect|force"
    r"|entered\sinto|made|executed|signed|dated|as\sof|since|from))\b",
    re.IGNORECASE,
)
# What stands right before a date says most: "effective until", "from 1 May to 30 June"; "by 1 May" is a deadline.
_RIGHT_BEFORE = re.compile(
    r"(?:\b(?:(?P<end>until|till|thr(?:ough|u))|(?P<start>from|since|as\sof)|(?P<to>to)"
    r"|(?P<neither>by|before|after|prior\sto|no\slater\sthan|between))|(?P<dash>[-–—]))"
    r"\s*(?:and\sincluding\s)?(?:the\s)?(?:(?:mon|tues|wednes|thurs|fri|satur|sun)day,?\s)?$",
    re.IGNORECASE,
)
_POSTED = re.compile(r"^(?:Date|Sent): .*$", re.MULTILINE)
_ASKS_POSTING = re.compile(
    r"\b(?:e-?mails?|mails?|mailed|messages?|letters?|memos?|repl(?:y|ies|ied)|answered|sent?|sends?|wrote|writes?|written|writing"
    r"|received?|told|tell|informed|forwarded|announced?)\b",
    re.IGNORECASE,
)
_TERM = re.compile(
    rf"\b(?:\d+|{'|'.join(lexical.NUMBER_WORDS)}|first|second|third|fourth|fifth|tenth)\b[\s-]*(?:\(\w+\)[\s-]*)?"
    r"(?:calendar\s|consecutive\s|full\s|contract\s)?(?:day|week|month|year|anniversary)s?\b",
    re.IGNORECASE,
)
_LASTS = re.compile(
    r"\b(?:terms?|periods?|duration|remains?|continues?|continuing|in\s(?:full\s)?(?:force|effect)|valid|lasts?|extends?)\b",
    re.IGNORECASE,
)


def asked(question: str) -> Side | None:
    """The end of a period that an English question asks for; `None` where it asks for neither, or for both."""
    if not _ASKS_DAY.search(question):
        return None
    sides = [side for side, words in _ASKED if words.search(question)]
    return sides[0] if len(sides) == 1 else None


def asks_when(question: str) -> bool:
    """Whether the date alone is the answer: "when", "what date", and not what an "expiration date" clause says."""
    return bool(_ASKS_WHEN.search(question))


def dates(text: str) -> list[tuple[int, int, Side | None]]:
    """The dates of a sentence, in order, each with what it is."""
    places = day_places(text)
    return [(start, end, _side(text, places, n)) for n, (start, end) in enumerate(places)]


def without_posting(question: str, text: str) -> str:
    """A message without the day on which it was sent, unless the question is about that: white space stands there, so
    that every place stays where it was. "When is the family day" does not ask when somebody wrote of it."""
    if not _ASKS_DAY.search(question) or _ASKS_POSTING.search(question):
        return text
    return _POSTED.sub(lambda line: " " * len(line[0]), text)


def offers(text: str, side: Side) -> float:
    """How well (0..1) a sentence answers when something begins or ends."""
    if any(found == side for _, _, found in dates(text)):
        return 1.0
    return TERM if side == "end" and _TERM.search(text) and _LASTS.search(text) else 0.0


def _side(text: str, places: Sequence[tuple[int, int]], n: int) -> Side | None:
    start, end = places[n]
    after = places[n - 1][1] if n else 0  # the text between the dates is what tells them apart
    before = text[max(after, start - BESIDE) : start]
    if (found := _RIGHT_BEFORE.search(before)) is not None:
        if found["to"] or found["dash"]:
            return "end" if n and start - after <= BESIDE else None
        return "end" if found["end"] else "start" if found["start"] else None
    last = next(reversed(list(_WORDS.finditer(before))), None)
    if last is None and n + 1 < len(places):
        to = _RIGHT_BEFORE.search(text[end : places[n + 1][0]])
        if to is not None and (to["to"] or to["dash"] or to["end"]):
            return "start"
    if last is None:
        behind = text[end : min([end + BESIDE, *(at for at, _ in places[n + 1 : n + 2])])]
        last = _WORDS.search(behind)
    if last is None:
        return None
    return "end" if last["end"] else "start"
