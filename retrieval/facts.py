"""What of a sentence can be checked exactly: numbers with their units, and dates, in whatever notation they stand.

"1.5 million" is 1500000, "3 March 2026" is 2026-03-03 and 03/03/2026, "30 %" is thirty per cent. A number whose unit is
known does not stand for the same number of another unit. Must not guess: what cannot be read as a date or a quantity is
compared as a bare number.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from retrieval import lexical

_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "january jan",
            "february feb",
            "march mar",
            "april apr",
            "may",
            "june jun",
            "july jul",
            "august aug",
            "september sept sep",
            "october oct",
            "november nov",
            "december dec",
        ),
        start=1,
    )
    for name in names.split()
}
_MONTH = r"(?P<month>" + "|".join(sorted(_MONTHS, key=len, reverse=True)) + r")\.?"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_YEAR = r"(?P<year>(?:1[5-9]|20|21)\d\d)"
_YEAR_BEHIND = rf"(?:,?\s+{_YEAR})?"
_MONTH_FIRST = rf"{_MONTH}\s+{_DAY}\b(?!\s*:){_YEAR_BEHIND}"
_WRITTEN = tuple(
    re.compile(rf"\b{form}\b", re.IGNORECASE)
    for form in (rf"{_DAY}\s+(?:(?:day\s+)?of\s+)?{_MONTH}{_YEAR_BEHIND}", _MONTH_FIRST, rf"{_MONTH},?\s+{_YEAR}")
)
_ISO = re.compile(rf"\b{_YEAR}-(?P<month>\d{{2}})-(?P<day>\d{{2}})(?!\d)")
_SLASHED = re.compile(rf"(?<![\d/.])(?P<a>\d{{1,2}})([/.])(?P<b>\d{{1,2}})\2{_YEAR}(?!\d)")

_LONE_YEAR = re.compile(
    r"(?:\b(?:in|from|since|until|till|to|through|between|and|by|after|before)\s|(?<=\d)[-–])"
    r"(?P<year>(?:1\d|20|21)\d\d)\b(?![/%]|-(?!\d{4}\b)|[.,]\d)",
    re.IGNORECASE,
)

_SCALES = {"thousand": 3, "million": 6, "mn": 6, "billion": 9, "bn": 9, "trillion": 12}
_UNITS = {
    "percent": "% percent per-cent pct",
    "euro": "€ eur euro euros",
    "dollar": "$ usd us$ dollar dollars",
    "pound": "£ gbp pound pounds",
    "second": "second seconds sec secs",
    "minute": "minute minutes min mins",
    "hour": "hour hours hr hrs",
    "day": "day days",
    "week": "week weeks",
    "month": "month months",
    "year": "year years",
    "metre": "m metre metres meter meters",
    "kilometre": "km kilometre kilometres kilometer kilometers",
    "centimetre": "cm centimetre centimetres centimeter centimeters",
    "millimetre": "mm millimetre millimetres millimeter millimeters",
    "kilogram": "kg kilogram kilograms",
    "tonne": "t tonne tonnes ton tons",
    "litre": "l litre litres liter liters",
    "degree": "° °c degree degrees",
    "knot": "kn knot knots",
    "mile": "mile miles",
    "foot": "ft foot feet",
}
_UNIT_OF = {word: unit for unit, words in _UNITS.items() for word in words.split()}
_BY_LENGTH = sorted(_UNIT_OF, key=len, reverse=True)
_UNIT_WORD = "|".join(r"per\s?cent" if word == "per-cent" else re.escape(word) for word in _BY_LENGTH)
_QUANTITY = re.compile(
    rf"(?P<before>€|\$|£|\b(?:EUR|USD|US\$|GBP)\s?)?\s?(?<![\w.,])(?P<number>[-+]?\d+(?:[.,]\d+)*)"
    rf"(?:\s?(?P<scale>thousand|million|mn|billion|bn|trillion)\b)?"
    rf"(?:[\s-]*(?:working\s|business\s|calendar\s)?(?P<unit>{_UNIT_WORD})(?![^\W\d_]))?",
    re.IGNORECASE,
)
_WORDED = re.compile(
    rf"\b(?P<word>{'|'.join(sorted(lexical.NUMBER_WORDS, key=len, reverse=True))})\b"
    rf"(?:\s(?P<scale>thousand|million|billion|trillion)\b)?(?:\s\((?:\d+)\))?"
    rf"(?:[\s-]*(?:working\s|business\s|calendar\s)?(?P<unit>{_UNIT_WORD})(?![^\W\d_]))?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Day:
    """A date as far as it is said. `readings` are the `(month, day)` that a slashed date can mean."""

    year: int | None
    readings: frozenset[tuple[int, int | None]]

    def said_by(self, other: Day) -> bool:
        """True when the other date says all that this one does."""
        if self.year is not None and self.year != other.year:
            return False
        return any(m == om and d in (None, od) for m, d in self.readings for om, od in other.readings)


@dataclass(frozen=True, slots=True)
class Facts:
    """The checkable parts of a text, each with the words it is written in."""

    days: tuple[tuple[Day, str], ...]
    numbers: tuple[tuple[str, str | None, str], ...]  # value, unit or `None`, words

    def unsaid(self, held: list[Facts]) -> tuple[str, ...]:
        """The words of those that none of the other texts says."""
        days = [day for facts in held for day, _ in facts.days]
        lone = {value for facts in held for day, _ in facts.days for value in _parts(day)}
        by_value: dict[str, set[str | None]] = {}
        for facts in held:
            for value, unit, _ in facts.numbers:
                by_value.setdefault(value, set()).add(unit)
        out = [words for day, words in self.days if not any(day.said_by(other) for other in days)]
        for value, unit, words in self.numbers:
            units = by_value.get(value)
            if units is None:
                if unit is not None or value not in lone:
                    out.append(words)
            elif unit is not None and None not in units and unit not in units:
                out.append(words)
        return tuple(dict.fromkeys(out))


def _parts(day: Day) -> set[str]:
    """Numbers of a date that may be said alone: "in 2026"."""
    return {str(day.year)} if day.year is not None else set()


def day_places(text: str) -> list[tuple[int, int]]:
    """Where dates stand in a text, in order: whole ones, "March 2026", and the year of "in 2026"."""
    found = [(m.start(), m.end()) for pattern in (_ISO, _SLASHED, *_WRITTEN) for m in pattern.finditer(text) if _day(m)]
    found += [m.span("year") for m in _LONE_YEAR.finditer(text)]
    out: list[tuple[int, int]] = []
    for start, end in sorted(found, key=lambda place: (place[0] - place[1], place)):
        if all(end <= other[0] or start >= other[1] for other in out):
            out.append((start, end))
    return sorted(out)


def facts(text: str) -> Facts:
    """The dates and quantities of a text. What belongs to a date is no number beside it."""
    text = unicodedata.normalize("NFKC", text)
    days: list[tuple[Day, str]] = []
    for pattern in (_ISO, _SLASHED, *_WRITTEN):
        kept, at = [], 0
        for match in pattern.finditer(text):
            day = _day(match)
            if day is not None:
                days.append((day, " ".join(match.group().split())))
                kept.append(text[at : match.start()])
                at = match.end()
        text = " ; ".join([*kept, text[at:]])
    numbers: dict[tuple[str, str | None], str] = {}
    for match in _QUANTITY.finditer(text):
        _add(numbers, match, match["number"], match["before"] or match["unit"])
    for match in _WORDED.finditer(text):
        # "one" alone is mostly a pronoun
        if match["word"].casefold() != "one" or match["unit"] or match["scale"]:
            _add(numbers, match, lexical.NUMBER_WORDS[match["word"].casefold()], match["unit"])
    return Facts(tuple(days), tuple((value, unit, words) for (value, unit), words in numbers.items()))


def _add(numbers: dict[tuple[str, str | None], str], match: re.Match[str], number: str, unit: str | None) -> None:
    value = lexical.plain_number(number)
    if match["scale"]:
        value = _scaled(value, _SCALES[match["scale"].casefold()])
    known = _UNIT_OF.get(re.sub(r"per\s?cent", "percent", unit.strip().casefold())) if unit else None
    numbers.setdefault((value, known), " ".join(match.group().split()))


def _scaled(value: str, zeros: int) -> str:
    try:
        return format((Decimal(value) * 10**zeros).normalize(), "f")
    except InvalidOperation:
        return value


def _day(match: re.Match[str]) -> Day | None:
    said = {name: value for name, value in match.groupdict().items() if value is not None}
    year = int(said["year"]) if "year" in said else None
    if "a" in said:
        a, b = int(said["a"]), int(said["b"])
        readings = {(m, d) for m, d in ((a, b), (b, a)) if 1 <= m <= 12 and 1 <= d <= 31}
        return Day(year, frozenset(readings)) if readings else None
    month = said["month"].casefold()
    if month in {"may", "march", "mar", "dec"} and said["month"][0].islower() and "day" not in said:
        return None
    number = _MONTHS[month] if month in _MONTHS else int(month)
    day = int(said["day"]) if "day" in said else None
    if not 1 <= number <= 12 or (day is not None and not 1 <= day <= 31):
        return None
    return Day(year, frozenset({(number, day)}))
