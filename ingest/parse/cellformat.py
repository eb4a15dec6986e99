"""A spreadsheet's numbers and dates as people see them, by the number format of the cell.

The grammar is that of ECMA-376 part 1, 18.8.31. The usual formats are followed (percent, thousands, decimals, currency,
accounting brackets, dates, times); a format beyond them (fractions, scientific, conditions) leaves the value as it is.
"""

from __future__ import annotations

import datetime
import re
from functools import lru_cache
from typing import Any, NamedTuple

# These show what the reader's own system says, so the file does not tell how: dates stay in ISO form.
_BY_SYSTEM = frozenset({"general", "@", "mm-dd-yy", "m/d/yy h:mm", ""})
_MONTHS = ["January", "February", "March", "April", "May", "June", "July"]
_MONTHS += ["August", "September", "October", "November", "December"]
_DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
_QUOTED = re.compile(r'"([^"]*)"|\\(.)')
_NUMBER = re.compile(r"([^#0?.,%]*)([#0?,]*[#0?])(?:\.([#0?]+))?(,*)\s*(%?)([^#0?%]*)")
_DATE = re.compile(r"yyyy|yy|mmmmm|mmmm|mmm|mm|m|dddd|ddd|dd|d|hh|h|ss|s|am/pm|a/p|[\s,./:\-年月日]+", re.IGNORECASE)


class _Number(NamedTuple):
    before: str
    after: str
    decimals: int
    optional: int  # of the decimals, how many are left out when they are zero
    thousands: bool
    percent: bool
    blank: bool  # only places for digits: a zero shows nothing but what stands around it


def shown(value: Any, code: str | None = None) -> str:
    """A cell as it is shown under the number format `code`; without one: no trailing .0, dates in ISO form."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int | float):
        return _number(value, code or "")
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return _date(value, code or "")
    if isinstance(value, datetime.timedelta):
        seconds = round(value.total_seconds())
        return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return " ".join(str(value).split())


def _number(value: float, code: str) -> str:
    sections = _sections(code)
    number = sections[0]
    if value < 0 and len(sections) > 1:
        number, value = sections[1], -value
    elif value == 0 and len(sections) > 2:
        number = sections[2] or sections[0]
    if number is None:
        if isinstance(value, int):
            return str(value)
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else f"{value:.10g}"
    if value == 0 and number.blank:
        return f"{number.before}{number.after}".strip()
    scaled = value * 100 if number.percent else value
    text = f"{scaled:{',' if number.thousands else ''}.{number.decimals}f}"
    for _ in range(number.optional):
        text = text.removesuffix("0")
    if number.decimals:
        text = text.removesuffix(".")
    return f"{number.before}{text}{'%' if number.percent else ''}{number.after}".strip()


@lru_cache(maxsize=512)
def _sections(code: str) -> tuple[_Number | None, ...]:
    return tuple(_section(part) for part in code.split(";")[:3])


def _section(code: str) -> _Number | None:
    code = re.sub(r"\[\$([^\]-]*)[^\]]*\]", lambda match: f'"{match.group(1)}"', code)
    code = re.sub(r"\[[^\]]*\]|_.|\*.", "", code)
    literals: list[str] = []

    def keep(match: re.Match[str]) -> str:
        literals.append(match.group(1) if match.group(1) is not None else match.group(2))
        return chr(0xE000 + len(literals) - 1)

    def back(text: str) -> str:
        return "".join(literals[ord(c) - 0xE000] if 0xE000 <= ord(c) < 0xE000 + len(literals) else c for c in text)

    if code.strip().lower() in _BY_SYSTEM:
        return None
    match = _NUMBER.fullmatch(_QUOTED.sub(keep, code).strip())
    if match is None or match.group(4) or re.search(r"[A-Za-z/]", match.group(1) + match.group(6)):
        return None
    before, whole, decimals, _, percent, after = match.groups()
    decimals = decimals or ""
    optional = len(decimals) - len(decimals.rstrip("#"))
    blank = not set(whole + decimals) - {"?"}
    return _Number(back(before), back(after), len(decimals), optional, "," in whole, bool(percent), blank)


def _date(value: datetime.datetime | datetime.date | datetime.time, code: str) -> str:
    pieces = _date_pieces(code)
    if pieces is None:
        if isinstance(value, datetime.datetime):
            midnight = value.time() == datetime.time()
            return value.date().isoformat() if midnight else value.isoformat(sep=" ", timespec="minutes")
        return value.isoformat()
    day = value if isinstance(value, datetime.date) else datetime.date(1900, 1, 1)
    clock = value.time() if isinstance(value, datetime.datetime) else value
    if not isinstance(clock, datetime.time):
        clock = datetime.time()
    half = any(piece in {"am/pm", "a/p"} for piece in pieces)
    hour = (clock.hour % 12 or 12) if half else clock.hour
    table = {
        "yyyy": f"{day.year:04d}", "yy": f"{day.year % 100:02d}",
        "mmmmm": _MONTHS[day.month - 1][0], "mmmm": _MONTHS[day.month - 1], "mmm": _MONTHS[day.month - 1][:3],
        "mm": f"{day.month:02d}", "m": str(day.month), "minutes": f"{clock.minute:02d}",
        "dddd": _DAYS[day.weekday()], "ddd": _DAYS[day.weekday()][:3], "dd": f"{day.day:02d}", "d": str(day.day),
        "hh": f"{hour:02d}", "h": str(hour), "ss": f"{clock.second:02d}", "s": str(clock.second),
        "am/pm": "PM" if clock.hour >= 12 else "AM", "a/p": "P" if clock.hour >= 12 else "A",
    }  # fmt: skip
    return " ".join("".join(table.get(piece, piece) for piece in pieces).split())


@lru_cache(maxsize=512)
def _date_pieces(code: str) -> tuple[str, ...] | None:
    """The tokens of a date format, with the minutes told from the months; `None` for one that is not understood."""
    code = code.split(";")[0]
    if code.strip().lower() in _BY_SYSTEM:
        return None
    code = _QUOTED.sub(lambda match: match.group(1) or match.group(2) or "", re.sub(r"\[[^\]]*\]|_.|\*.", "", code))
    pieces: list[str] = []
    place = 0
    for match in _DATE.finditer(code):
        if match.start() != place:
            return None
        pieces.append(match.group().lower())
        place = match.end()
    if place != len(code) or not pieces:
        return None
    tokens = [index for index, piece in enumerate(pieces) if piece[0].isalpha()]
    for order, index in enumerate(tokens):
        if pieces[index] in {"m", "mm"}:
            before = pieces[tokens[order - 1]] if order else ""
            after = pieces[tokens[order + 1]] if order + 1 < len(tokens) else ""
            if before in {"h", "hh"} or after in {"s", "ss"}:
                pieces[index] = "minutes"
    return tuple(pieces)
