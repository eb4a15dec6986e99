"""Dates, amounts and numbers in running text, written one way. Rules only; nothing is guessed in silence.

What is ambiguous ("03/04/2014") is normalised by the reading that the caller prefers and flagged. English and German
month names; numeric dates of any language. Must not read a clause number or a section as a date.
"""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass

from retrieval import lexical

AMBIGUOUS, TWO_DIGITS, RELATIVE, RANGE = "day or month first?", "two-digit year", "relative", "range"

_NAMES = (
    ("january", "jan", "januar"), ("february", "feb", "februar"), ("march", "mar", "märz"), ("april", "apr"),
    ("may", "mai"), ("june", "jun", "juni"), ("july", "jul", "juli"), ("august", "aug"),
    ("september", "sep", "sept"), ("october", "oct", "oktober", "okt"), ("november", "nov"),
    ("december", "dec", "dezember", "dez"),
)  # fmt: skip
_MONTHS = {name: number for number, names in enumerate(_NAMES, start=1) for name in names}
_MONTH = "(?:" + "|".join(sorted(_MONTHS, key=len, reverse=True)) + r")\b\.?"
_DAY = r"(?:0?[1-9]|[12]\d|3[01])"
_YEAR = r"(?:1[6-9]|20|21)\d\d"
_ORDINAL = rf"{_DAY}(?:\s?(?:s\s?t|n\s?d|r\s?d|t\s?h)\b)?\.?"  # superscripts come out of PDFs with spaces in them

_DATE = re.compile(
    rf"""(?<![\w/.])(?:
      (?<!-)(?P<iso>{_YEAR}-(?:0[1-9]|1[0-2])(?:-(?:0[1-9]|[12]\d|3[01]))?)(?![\w-])
    | (?P<d1>{_ORDINAL})\s+(?:day\s+of\s+|of\s+)?(?P<m1>{_MONTH})(?:,?\s+(?:in\s+the\s+year\s+)?(?P<y1>{_YEAR}))?(?!\d)
    | (?P<m2>{_MONTH})\s+(?P<d2>{_DAY})(?:st|nd|rd|th)?(?!\d)(?:\s*,?\s+(?P<y2>{_YEAR})(?!\d))?
    | (?P<m3>{_MONTH})(?:\s+of)?,?\s+(?P<y3>{_YEAR})(?!\d)
    | (?<!-)(?<!ection\ )(?<!lause\ )(?<!rticle\ )
        (?P<a>\d{{1,2}})(?P<sep>[/.-])(?P<b>\d{{1,2}})(?P=sep)(?P<y4>{_YEAR}|\d\d)
        (?![\w/-]|\.\d)
    | Q(?P<q>[1-4])\s*(?:of\s+)?(?P<y5>{_YEAR})(?!\d)
    )""",
    re.IGNORECASE | re.VERBOSE,
)
_YEAR_ALONE = re.compile(
    rf"\b(?:in|since|until|by|during|of|year|from|before|after|through|to|fiscal|FY)\s+(?P<y>{_YEAR})(?![\w./,-]\d|\w)",
    re.IGNORECASE,
)
_COUNT = (
    r"(?:\d{1,4}|[a-z]+(?:[- ][a-z]+)?\s*\(\s*\d{1,4}\s*\)|one|two|three|four|five|six|seven|eight|nine|ten|twelve)"
)
_UNIT = r"(?:calendar\s+|business\s+|working\s+|consecutive\s+)?(?:day|week|month|quarter|year|anniversar)(?:s|y|ies)?"
_RELATIVE = re.compile(
    rf"""\b(?:
      (?:within|not\s+(?:later|less)\s+than|at\s+least|no\s+later\s+than)\s+{_COUNT}\s+{_UNIT}'?
        (?:\s+(?:of|after|from|before|prior\s+to|following)\b[^.;:]{{0,60}})?
    | {_COUNT}\s+{_UNIT}'?\s+(?:after|before|from|following|prior\s+to)\b[^.;:]{{0,60}}
    | (?:the\s+)?(?:\w+\s+)?anniversary\s+of\b[^.;:]{{0,60}}
    )""",
    re.IGNORECASE | re.VERBOSE,
)
_JOINS = re.compile(
    r"\s*(?:-|–|—|to|until|till|through|thru|and\s+ending(?:\s+on)?|and\s+ends(?:\s+on)?|bis)\s*(?:the\s+)?",
    re.IGNORECASE,
)
_BETWEEN = re.compile(r"(?:between|zwischen)\s+(?:the\s+)?$", re.IGNORECASE)
_AND = re.compile(r"\s*(?:and|und)\s+(?:the\s+)?", re.IGNORECASE)
_PROSE_MAY = re.compile(r"^may\b")


@dataclass(frozen=True, slots=True)
class FoundDate:
    """A date at `text[start:end]`: `date` in ISO 8601 as exactly as written, empty when it is relative only."""

    start: int
    end: int
    date: str
    until: str = ""
    flags: tuple[str, ...] = ()


def dates(text: str, *, day_first: bool = False, relative: bool = True) -> list[FoundDate]:
    """The dates of `text` in order, ranges joined.

    A numeric date that can be read two ways is read as month/day unless `day_first` (with dots it is day first always),
    and flagged. `relative` also gives times like "thirty days after delivery".
    """
    found = [d for m in _DATE.finditer(text) if (d := _absolute(m, day_first=day_first)) is not None]
    found = _with_year_of_range(text, _joined(text, found))
    taken = [(d.start, d.end) for d in found]
    for match in _YEAR_ALONE.finditer(text):
        if not _overlaps(match.span("y"), taken):
            found.append(FoundDate(*match.span("y"), date=match["y"]))
    found = _joined(text, sorted(found, key=lambda d: d.start))
    if relative:
        taken = [(d.start, d.end) for d in found]
        for match in _RELATIVE.finditer(text):
            if not _overlaps(match.span(), taken):
                end = match.end() - len(match.group()) + len(match.group().rstrip())
                found.append(FoundDate(match.start(), end, "", flags=(RELATIVE,)))
    return sorted(found, key=lambda d: d.start)


def _overlaps(span: tuple[int, int], taken: list[tuple[int, int]]) -> bool:
    return any(span[0] < end and start < span[1] for start, end in taken)


def _absolute(match: re.Match[str], *, day_first: bool) -> FoundDate | None:
    g = match.groupdict()
    start, end = match.span()
    flags: list[str] = []
    if g["iso"]:
        return FoundDate(start, end, g["iso"]) if _real(g["iso"]) else None
    if g["q"]:
        first = 3 * int(g["q"]) - 2
        return FoundDate(start, end, f"{g['y5']}-{first:02d}", f"{g['y5']}-{first + 2:02d}", (RANGE,))
    if g["a"]:
        a, b, year = int(g["a"]), int(g["b"]), g["y4"]
        if len(year) == 2:
            year = f"{'20' if int(year) < 70 else '19'}{year}"
            flags.append(TWO_DIGITS)
        if a <= 12 and b <= 12 and a != b and g["sep"] != ".":
            flags.append(AMBIGUOUS)
        first_is_day = a > 12 or (b <= 12 and (day_first or g["sep"] == "."))
        day, month = (a, b) if first_is_day else (b, a)
        iso = f"{year}-{month:02d}-{day:02d}"
        return FoundDate(start, end, iso, flags=tuple(flags)) if _real(iso) else None
    month_word, day_word, year = next(
        (m, d, y)
        for m, d, y in ((g["m1"], g["d1"], g["y1"]), (g["m2"], g["d2"], g["y2"]), (g["m3"], None, g["y3"]))
        if m
    )
    if _PROSE_MAY.match(month_word) and not year:
        return None  # "2 may be": a verb
    month = _MONTHS[month_word.rstrip(".").casefold()]
    if day_word is None:
        return FoundDate(start, end, f"{year}-{month:02d}")
    day = int(re.match(r"\d+", day_word)[0])  # type: ignore[index]  # the pattern begins with digits
    if not year:
        return FoundDate(start, end, f"--{month:02d}-{day:02d}", flags=("no year",))
    iso = f"{year}-{month:02d}-{day:02d}"
    return FoundDate(start, end, iso) if _real(iso) else None


def _real(iso: str) -> bool:
    year, month, *day = (int(part) for part in iso.split("-"))
    return 1 <= month <= 12 and (not day or 1 <= day[0] <= monthrange(year, month)[1])


def _joined(text: str, found: list[FoundDate]) -> list[FoundDate]:
    """Neighbours with "to" or a dash between them, or "between … and …", as one range."""
    out: list[FoundDate] = []
    for date in found:
        before = out[-1] if out else None
        if before is not None and not before.until and not date.until:
            gap = text[before.end : date.start]
            opened = _BETWEEN.search(text[max(0, before.start - 14) : before.start])
            if _JOINS.fullmatch(gap) or (opened and _AND.fullmatch(gap)):
                flags = dict.fromkeys((RANGE, *before.flags, *date.flags))
                out[-1] = FoundDate(before.start, date.end, before.date, date.date, tuple(flags))
                continue
        out.append(date)
    return out


def _with_year_of_range(text: str, found: list[FoundDate]) -> list[FoundDate]:
    """ "1 May to 3 June 2014": the first date takes the year of the second. "1-3 May 2014" opens at the first day."""
    out = []
    for d in found:
        if d.until and d.date.startswith("--") and not d.until.startswith("--"):
            flags = tuple(f for f in d.flags if f != "no year")
            d = FoundDate(d.start, d.end, d.until[:4] + d.date[1:], d.until, flags)
        lead = re.search(rf"(?<![\w.,/-])({_DAY})\s*[-–]\s*$", text[: d.start])
        if lead and not d.until and re.fullmatch(r"\d{4}-\d\d-\d\d", d.date):
            opening = f"{d.date[:8]}{int(lead[1]):02d}"
            if opening < d.date:
                d = FoundDate(lead.start(1), d.end, opening, d.date, (RANGE, *d.flags))
        out.append(d)
    return out


# ------------------------------------------------------------------------------------------------ amounts

_SIGNS = {
    "$": "USD",
    "US$": "USD",
    "€": "EUR",
    "£": "GBP",
    "¥": "JPY",
    "₹": "INR",
    "C$": "CAD",
    "A$": "AUD",
    "HK$": "HKD",
}
_WORDS = {
    "dollars": "USD",
    "dollar": "USD",
    "euros": "EUR",
    "euro": "EUR",
    "pounds": "GBP",
    "yen": "JPY",
    "francs": "CHF",
}
_CODES = "USD|EUR|GBP|JPY|CHF|CAD|AUD|INR|CNY|RMB|HKD|SEK|NOK|DKK|PLN|SGD|NZD|BRL|MXN|KRW|ZAR"
_SCALES = {"thousand": 10**3, "k": 10**3, "million": 10**6, "mn": 10**6, "mm": 10**6, "m": 10**6, "billion": 10**9,
           "bn": 10**9, "b": 10**9, "trillion": 10**12}  # fmt: skip
_FIGURE = r"\d{1,3}(?:[,.\u00a0\u202f' ]\d{3})+(?:[.,]\d{1,2})?(?!\d)|\d+(?:[.,]\d+)?"
_SCALE = r"(?:\s*(?P<scale{n}>thousand|million|billion|trillion|mn|mm|bn|[kKMB])\b)?"
_MONEY = re.compile(
    rf"(?P<sign>US\$|C\$|A\$|HK\$|[$€£¥₹])\s?(?P<n1>{_FIGURE})" + _SCALE.format(n=1)
    + rf"|\b(?P<code>{_CODES})\s?(?:[$€£¥]\s?)?(?P<n2>{_FIGURE})" + _SCALE.format(n=2)
    + rf"|(?<![\w.,])(?P<n3>{_FIGURE})" + _SCALE.format(n=3)
    + rf"\s*(?:(?P<after>{_CODES}|[€£])(?!\w)|(?:US\s+)?(?P<word>" + "|".join(_WORDS) + r")\b)"
)  # fmt: skip
_NUMBER = re.compile(
    rf"(?<![\w.,-])[-+]?(?:{_FIGURE})(?:\s*(?P<scale>thousand|million|billion|trillion)\b)?"
    r"(?P<percent>\s?%|\s+per\s?cent\b)?",
    re.IGNORECASE,
)
_NUMBER_WORD = re.compile(
    r"\b(" + "|".join(lexical.NUMBER_WORDS) + r")(?:[- ](one|two|three|four|five|six|seven|eight|nine)\b)?(?!\w)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class FoundValue:
    """A value at `text[start:end]`, written one way."""

    start: int
    end: int
    value: str
    flags: tuple[str, ...] = ()


def amounts(text: str) -> list[FoundValue]:
    """Sums of money as `CODE AMOUNT`; `$` alone is taken for USD and flagged."""
    out = []
    for m in _MONEY.finditer(text):
        figure = m["n1"] or m["n2"] or m["n3"]
        scale = m["scale1"] or m["scale2"] or m["scale3"]
        after = m["after"]
        code = (
            m["code"] or (after and _SIGNS.get(after, after)) or (m["word"] and _WORDS[m["word"]]) or _SIGNS[m["sign"]]
        )
        flags = ("which dollar?",) if m["sign"] == "$" or (m["word"] or "").startswith("dollar") else ()
        out.append(FoundValue(*m.span(), f"{code} {_plain(figure, scale)}", flags))
    return out


def numbers(text: str) -> list[FoundValue]:
    """Numbers, in digits or in words up to a hundred; percentages keep their sign."""
    out = []
    for m in _NUMBER.finditer(text):
        percent = "%" if m["percent"] else ""
        figure = re.match(rf"[-+]?(?:{_FIGURE})", m.group())
        if figure is not None:
            sign = "-" if figure[0].startswith("-") else ""
            out.append(FoundValue(*m.span(), sign + _plain(figure[0].lstrip("+-"), m["scale"]) + percent))
    if not out:
        for m in _NUMBER_WORD.finditer(text):
            parts = [int(lexical.NUMBER_WORDS[word.casefold()]) for word in m.groups() if word]
            out.append(FoundValue(*m.span(), str(sum(parts))))
    return out


def _plain(figure: str, scale: str | None) -> str:
    """A figure without separators of thousands, with a point before decimals, times its scale."""
    figure = re.sub(r"[\u00a0\u202f' ]", "", figure)
    if re.fullmatch(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?", figure):
        figure = figure.replace(",", "")
    elif re.fullmatch(r"\d{1,3}(?:\.\d{3})+(?:,\d+)?", figure) and (figure.count(".") > 1 or "," in figure):
        figure = figure.replace(".", "").replace(",", ".")
    figure = figure.replace(",", ".")
    if not scale:
        return figure
    whole, _, decimals = figure.partition(".")
    factor = len(str(_SCALES[scale.casefold()])) - 1
    digits = (whole + decimals.ljust(factor, "0")[:factor]).lstrip("0") or "0"
    rest = decimals[factor:].rstrip("0")
    return digits + (f".{rest}" if rest else "")
