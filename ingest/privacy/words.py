"""Names, addresses, dates of birth and record numbers: word lists and rules of our own.

Names: the given and family names of the United States census of 1990 (a work of the US government, as the package
`names` carries it), and whatever follows a title or words that introduce a person. A word that the same text also
writes in lower case is no name. A name that is in no list and that nothing introduces is not found.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files

from ingest.privacy.lexicon import MORE_OFTEN_NO_NAME, NO_NAMES, TITLES
from strongroom.types import PersonalSpan

_UPPER = "A-ZÀ-ÖØ-ÞĀĂĄĆĈĊČĎĐĒĔĖĘĚĜĞĠĢĤĦĨĪĬĮİĴĶĹĻĽĿŁŃŅŇŌŎŐŒŔŖŘŚŜŞŠŢŤŦŨŪŬŮŰŲŴŶŸŹŻŽΑ-ΫЀ-Я"
_WORD = rf"[{_UPPER}][\w’'-]{{0,40}}"  # bounded, like all that repeats here: a text must not make the search slow
_PARTICLE = r"(?:van|von|der|den|de|del|della|di|da|dos|das|du|la|le|el|al|bin|ibn|ben|zu|zum|ter|ten|af|av|y)"
_RUN = re.compile(rf"{_WORD}\.?(?:[ \t]+(?:{_PARTICLE}[ \t]+){{0,2}}{_WORD}\.?){{0,15}}")
_TOKEN = re.compile(rf"{_WORD}\.?|\b{_PARTICLE}\b")
_INTRODUCED = re.compile(
    r"(?:\b[Mm]y name is|\b[Tt]his is|\bI am|\bI'm|\bname:|\bName:|\bDear|\b[Ss]igned by|\b[Pp]atient:?|\bEmployee:|"
    rf"\bAttn:?|\bAttention:|\bc/o)[ \t]+({_WORD}(?:[ \t]+{_WORD}\.?){{0,2}})"
)


def find(text: str) -> Iterator[PersonalSpan]:
    """Names, addresses, dates of birth and record numbers. They may overlap; scores are 0..1."""
    yield from names(text)
    yield from addresses(text)
    yield from birth_dates(text)
    yield from record_numbers(text)


# ------------------------------------------------------------------------------------------------ names


@cache
def _lists() -> tuple[dict[str, float], frozenset[str]]:
    """Given names with their share of the population in per cent, and family names, in lower case."""
    given: dict[str, float] = {}
    for file in ("dist.female.first", "dist.male.first"):
        for name, share in _rows(file):
            given[name] = max(given.get(name, 0.0), share)
    return given, frozenset(name for name, _ in _rows("dist.all.last"))


def _rows(file: str) -> Iterator[tuple[str, float]]:
    for line in files("names").joinpath(file).read_text(encoding="ascii").splitlines():
        name, share, *_ = line.split()
        yield name.lower(), float(share)


def names(text: str) -> Iterator[PersonalSpan]:
    """People's names, by titles, by words that introduce them and by the lists."""
    common = frozenset(
        re.findall(r"(?<![^\s(\"'“‘])[a-z]{2,}(?=[,;:.!?)\"'”’]*(?:\s|$))", text)
    )  # no part of an address
    found = list(_first_mentions(text, common))
    yield from found
    yield from _later_mentions(text, found, common)


def _first_mentions(text: str, common: frozenset[str]) -> Iterator[PersonalSpan]:
    for hit in _INTRODUCED.finditer(text):
        first, *rest = map(_core, hit[1].split())
        other = NO_NAMES | TITLES | common
        if len(first) > 1 and first not in other and not other.intersection(rest):
            yield PersonalSpan("name", hit.start(1), _trimmed(text, hit.start(1), hit.end(1)), 0.7)
    for run in _RUN.finditer(text):
        tokens = [(run.start() + t.start(), t[0]) for t in _TOKEN.finditer(run[0])]
        yield from _in_run(text, tokens, common)


def _later_mentions(text: str, found: list[PersonalSpan], common: frozenset[str]) -> Iterator[PersonalSpan]:
    """Where the last word of a name of several words stands alone: who is called Paul Roberts is Roberts later on."""
    lasts = {words[-1] for span in found if span.score >= 0.6 and len(words := text[span.start : span.end].split()) > 1}
    lasts = {w for w in lasts if len(w) > 2 and w[0].isupper() and _core(w) not in common and _core(w) not in NO_NAMES}
    if lasts:
        for hit in re.finditer(rf"\b(?:{'|'.join(map(re.escape, sorted(lasts)))})\b", text):
            yield PersonalSpan("name", hit.start(), hit.end(), 0.55)


def _in_run(text: str, tokens: list[tuple[int, str]], common: frozenset[str]) -> Iterator[PersonalSpan]:
    given, family = _lists()
    at = 0
    while at < len(tokens):
        start, word = tokens[at]
        core = _core(word)
        if core in TITLES and at + 1 < len(tokens):
            last = _name_end(tokens, at + 2, common, most=2)  # who is called Mr Brown may wear brown shoes
            if _core(tokens[at + 1][1]) not in NO_NAMES and not tokens[at + 1][1].islower():
                begin = tokens[at + 1][0]
                yield PersonalSpan("name", begin, _end(text, tokens[last - 1]), 0.85)
                at = last
                continue
        share = given.get(core)
        if word.isupper() and (at + 1 == len(tokens) or _core(tokens[at + 1][1]) not in family):
            share = None  # an abbreviation more often than a person
        if share is not None and core not in NO_NAMES and len(core) > 1:
            last = _name_end(tokens, at + 1, common, most=3)
            if last > at + 1 and core not in common:
                sure = _core(tokens[last - 1][1]) in family
                yield PersonalSpan("name", start, _end(text, tokens[last - 1]), 0.75 if sure else 0.6)
                at = last
                continue
            if (
                last == at + 1
                and len(tokens) == 1
                and share >= _KNOWN
                and core not in common
                and core not in MORE_OFTEN_NO_NAME
            ):
                yield PersonalSpan("name", start, _end(text, tokens[at]), 0.5)
        if share is None and (score := _unlisted(tokens, at, common, family)):
            yield PersonalSpan("name", start, _end(text, tokens[-1]), score)
            return
        at += 1


def _unlisted(tokens: list[tuple[int, str]], at: int, common: frozenset[str], family: frozenset[str]) -> float:
    """How sure a whole run is a name by its form: an initial in the middle, or a listed family name at its end."""
    if at != 0 or not 2 <= len(tokens) <= 3:
        return 0.0
    words = [_core(word) for _, word in tokens]
    other = set(words) & (NO_NAMES | common) or any(word.isupper() for _, word in (tokens[0], tokens[-1]))
    if other or len(words[0]) < 2 or len(words[-1]) < 2:
        return 0.0
    if len(words) == 3 and len(words[1]) == 1:
        return 0.6
    return 0.5 if len(words) == 2 and words[-1] in family else 0.0


_KNOWN = 0.03  # per cent of the people of a sex: a given name that alone passes for one


def _name_end(tokens: list[tuple[int, str]], at: int, common: frozenset[str], *, most: int) -> int:
    """Where the words that continue a name end: initials, particles and words that are no other thing."""
    end, words, limit = at, 0, at + 8
    while at < min(limit, len(tokens)) and words < most:
        word = tokens[at][1]
        core = _core(word)
        initial = len(core) == 1
        if not initial and not word[0].islower():
            if core in NO_NAMES or core in common:
                break
            words += 1
            end = at + 1
            if word.endswith(".") and core not in ("jr", "sr"):
                break  # the sentence ends here
        at += 1
    return end


def _core(word: str) -> str:
    return word.rstrip(".").removesuffix("'s").removesuffix("’s").lower()


def _end(text: str, token: tuple[int, str]) -> int:
    return _trimmed(text, token[0], token[0] + len(token[1]))


def _trimmed(text: str, start: int, end: int) -> int:
    """The end without a full stop or a possessive."""
    for tail in (".", "'s", "’s"):
        if text[start:end].endswith(tail):
            end -= len(tail)
    return end


# ------------------------------------------------------------------------------------------------ addresses

_STREET_TYPES = (
    r"(?:Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct|Place|Pl|Square|Sq|Way|Parkway|Pkwy|"
    r"Highway|Hwy|Circle|Cir|Terrace|Close|Crescent|Gardens|Row|Plaza|Broadway|Trail|Alley|Mews|Quay)"
)
_UNIT = r"(?:,?\s+(?:Suite|Ste|Apt|Apartment|Unit|Floor|Fl|Room|Rm|Box|#)\.?\s*#?\w{1,6}\b)"
_TOWN = rf"(?:,?\s+{_WORD}(?:[ \t]{_WORD}){{0,3}},?\s+[A-Z]{{2}}\.?\s+\d{{5}}(?:-\d{{4}})?\b)"
_UK_POST = r"[A-Z]{1,2}\d[A-Z\d]?\s\d[ABD-HJLNP-UW-Z]{2}\b"
_ADDRESSES = tuple(
    re.compile(pattern)
    for pattern in (
        rf"\b\d{{1,6}}[A-Za-z]?,?[ \t](?:{_WORD}\.?[ \t]){{1,4}}{_STREET_TYPES}\b\.?{_UNIT}?{_TOWN}?",
        rf"\b(?:\d{{1,5}}[ \t])?{_WORD}(?:stra(?:ß|ss)e|str\.|weg|platz|allee|gasse|damm|ufer|gatan|vägen|vagen|vej|"
        rf"gade|straat|laan|tie|katu|veien|gata|stien|utca)[ \t]\d{{1,4}}[a-z]?\b(?:,?\s+\d{{4,5}}\s{_WORD})?{_UNIT}?",
        rf"\b(?:\d{{1,5}},?[ \t])?(?:Rue|rue|Avenue|avenue|Boulevard|boulevard|Via|Viale|Corso|Piazza|Calle|C/|"
        rf"Avda\.?|Avenida|Paseo|Rua|Plaza|Quai|quai|Chemin|chemin|Allée|allée|ul\.|Rúa|Carrer|Largo|Strada)[ \t]"
        rf"(?:(?:de|del|della|des|dei|du|di|da|do|la|las|los|le|les|l’|l')[ \t]?){{0,2}}{_WORD}(?:[ \t]{_WORD}){{0,3}}"
        rf"(?:,?[ \t]\d{{1,5}}\b)?(?:,?\s+\d{{4,5}}\s{_WORD})?",
        rf"\b[Pp]\.?\s?[Oo]\.?\s?[Bb]ox\s\d{{1,6}}\b{_TOWN}?",
        rf"\b\d{{1,5}}[ \t](?:{_WORD}[ \t]){{1,4}}(?:{_WORD}),?\s{_UK_POST}",
        rf"\b{_UK_POST}",
        r"\b(?:Suite|Ste\.|Apt\.?|Apartment|Unit)[ \t]\#?\d{1,5}[A-Za-z]?\b",
        rf"\b\d{{2,6}}[ \t]{_WORD}(?:[ \t]{_WORD}){{0,3}}[ \t]\d{{1,4}}\s+(?:\W\s*)?(?:Suite|Apt)\b",
    )
)


def addresses(text: str) -> Iterator[PersonalSpan]:
    """Streets with a number, post boxes, and the town that follows them."""
    for pattern in _ADDRESSES:
        for hit in pattern.finditer(text):
            house = re.search(r"\d", hit[0]) is not None
            yield PersonalSpan("address", hit.start(), hit.end(), 0.8 if house else 0.5)


# ------------------------------------------------------------------------------------------------ births, records

_MONTHS = (
    r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|januar|märz|mai|juni|juli|okt|dez|janv|févr|avr|juin|juil|août|"
    r"déc|ene|abr|ago|dic|gen|mag|giu|lug|set|ott)[\w.]*"
)
_DATE = (
    r"(?:\d{1,2}[./-]\d{1,2}[./-](?:\d{4}|\d{2})|\d{4}-\d{2}-\d{2}|"
    rf"\d{{1,2}}(?:st|nd|rd|th|\.)?\s(?:of\s|de\s)?{_MONTHS}\s(?:de\s)?\d{{4}}|{_MONTHS}\s\d{{1,2}}(?:st|nd|rd|th)?,?\s\d{{4}})"
)
_BIRTH = re.compile(
    r"(?:\bborn\b|\bdate\s+of\s+birth\b|\bbirth\s?da(?:te|y)\b|\bD\.?O\.?B\b|\bgeboren\b|\bgeb\.|\bgeburtsdatum\b|\bné(?:e|\(e\))?\s"
    r"|\bdate\s+de\s+naissance\b|\bnacid[oa]\b|\bfecha\s+de\s+nacimiento\b|\bnat[oa]\s|\bdata\s+di\s+nascita\b)"
    rf"[^\n\d]{{0,30}}?(?:\n\s*)?({_DATE})\b",
    re.IGNORECASE,
)
_RECORD = re.compile(
    r"(?:\bMRN\b|\bmedical\s+record(?:\s+(?:number|no|id|#))?|\bpatient\s+(?:number|no|id|identifier)\b|\bhospital\s+(?:number|no)\b"
    r"|\bchart\s+(?:number|no)\b|\bhealth\s+record\s+(?:number|no)\b|\bPatienten-?(?:nummer|nr|ID)\b|\bFallnummer\b|\bNHS\s+(?:number|no)\b)"
    r"[.:#\s]{0,4}(?:is\s+)?([A-Z]{0,4}-?\d(?:[\d -]{3,12})\d)\b",
    re.IGNORECASE,
)


def birth_dates(text: str) -> Iterator[PersonalSpan]:
    """Dates that a word beside them calls a date of birth."""
    for hit in _BIRTH.finditer(text):
        yield PersonalSpan("birth_date", hit.start(1), hit.end(1), 0.9)


def record_numbers(text: str) -> Iterator[PersonalSpan]:
    """Numbers that a word beside them calls a patient's or a record's."""
    for hit in _RECORD.finditer(text):
        yield PersonalSpan("medical_id", hit.start(1), hit.end(1), 0.9)
