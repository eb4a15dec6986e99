"""Cut text into sentences without losing track of where each one stands.

Offsets are exact: every sentence is `text[start:end]`, sentences are in order and do not overlap, and only white space
lies between them. Rules instead of a model, because a quote must be found again in the document character by character
and the parser's text may be a wrapped PDF line, a bullet, a table row or Chinese. Standard library only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_CHARS = 700  # longer stretches (table dumps, text without stops) are cut at the best break before this


def _vocabulary(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Never the end of a sentence: something always follows.
_OPEN = _vocabulary(
    """mr mrs ms dr prof rev hon gen col sgt capt lt sen rep gov st no nos nr art arts sec secs § para paras cl ch fig
    figs vol pp p vs v e.g i.e cf viz approx ca eq ref refs tel fax est incl resp exh ex sched app ann bzw z.b d.h"""
)
# May end one: then the next word must look like the start of another.
_MAYBE = _vocabulary(
    """inc ltd corp co llc llp plc l.p n.a s.a b.v n.v u.s u.s.a u.k e.u u.n etc al a.m p.m jr sr ph.d m.d d.c b.sc
    m.sc jan feb mar apr jun jul aug sep sept oct nov dec bros dept ave blvd rd gmbh bhd sdn pty"""
)
_STARTERS = _vocabulary(
    """the this that these those it its he she they we i you in on at by for from if when while although however as
    after before each all any no there here such both during under upon without with and but or to our their his her
    what who where why how a an section article subject unless except notwithstanding neither either most many some
    one"""
)
_STOP = re.compile(r"[.!?…؟۔।։]+[\"'”’»)\]]*(?:\[[^\]\s]{1,16}\])*(?=\s|$)|[。！？｡][”’」』）\"']*")
_BULLET = re.compile(
    r"[ \t]*(?:[-–—*•·▪◦●○■□➢✓]|\(?(?:\d{1,3}|[a-zA-Z]|[ivxlcIVXLC]{1,5})[.)]|\d+(?:\.\d+)+\.?|§+)"
    r"(?:[ \t]+\S|(?=[A-Z(]))"
)
_ENUMERATOR = re.compile(r"\(?(?:\d{1,3}|[A-Za-z]|[ivxlcIVXLC]{1,5})[.)]|\d+(?:\.\d+)+\.?|§+")
_HEADING_WORDS = 12


@dataclass(frozen=True, slots=True)
class SentenceSpan:
    """A sentence at `[start, end)` of the text that was cut."""

    start: int
    end: int


def split_sentences(text: str, *, max_chars: int = MAX_CHARS) -> list[SentenceSpan]:
    """Return the sentences of `text` in order. Nothing but white space is left out."""
    out: list[SentenceSpan] = []
    for start, end in _blocks(text):
        for s, e in _stops(text, start, end):
            out.extend(_bounded(text, s, e, max_chars))
    return out


def _strip(text: str, start: int, end: int) -> tuple[int, int]:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


# ------------------------------------------------------------------------------------------------ lines


def _blocks(text: str) -> list[tuple[int, int]]:
    """Join wrapped lines into blocks; break at blank lines, bullets, headings and table rows."""
    lines = [(m.start(), m.end()) for m in re.finditer(r"[^\n\r\f\v\x1c-\x1e\x85\u2028\u2029]+", text)]
    width = _typical_width(text, lines)
    blocks: list[tuple[int, int]] = []
    begin: int | None = None
    for i, (start, end) in enumerate(lines):
        if not text[start:end].strip():
            begin = None
            continue
        if begin is None or _breaks(text, lines[i - 1], (start, end), width):
            blocks.append((start, end))
            begin = start
        else:
            blocks[-1] = (begin, end)
    return blocks


def _typical_width(text: str, lines: list[tuple[int, int]]) -> int:
    """The width of a full line: the 80th percentile, so that short last lines do not count."""
    widths = sorted(len(text[s:e].rstrip()) for s, e in lines if text[s:e].strip())
    return widths[int(0.8 * (len(widths) - 1))] if widths else 0


def _breaks(text: str, before: tuple[int, int], here: tuple[int, int], width: int) -> bool:
    """True when a new block starts at the line `here`."""
    gap = text[before[1] : here[0]]
    if "\f" in gap or gap.replace("\r\n", "\n").count("\n") + gap.replace("\r\n", "\n").count("\r") > 1:
        return True
    first, second = text[before[0] : before[1]].strip(), text[here[0] : here[1]].strip()
    if _BULLET.match(second) and not first.endswith((",", "and", "or", "of", "Section", "Article")):
        return True
    if _row(first) or _row(second):
        return True
    if first.isupper() and not second.isupper() and len(first.split()) <= _HEADING_WORDS:
        return True
    # A short line without a stop before a capital: a heading, a label or an address line, not a wrapped sentence.
    short = len(first) < 0.6 * width and len(first.split()) <= _HEADING_WORDS
    return short and not first.endswith((",", ";", "-", "–")) and second[0].isupper()


def _row(line: str) -> bool:
    return "\t" in line or line.count(" | ") >= 1 or line.startswith("|")


# ------------------------------------------------------------------------------------------------ stops


def _stops(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Cut one block at the marks that end sentences."""
    out: list[tuple[int, int]] = []
    begin = start
    for match in _STOP.finditer(text, start, end):
        if match.start() < begin or not _ends(text, begin, match, end):
            continue
        s, e = _strip(text, begin, match.end())
        if e > s:
            out.append((s, e))
        begin = match.end()
    s, e = _strip(text, begin, end)
    if e > s:
        out.append((s, e))
    return out


def _ends(text: str, begin: int, match: re.Match[str], end: int) -> bool:
    """True when the mark at `match` ends the sentence that began at `begin`."""
    mark = match.group()
    if mark[0] in "。！？｡؟۔।։":
        return True
    following = text[match.end() : min(end, match.end() + 60)].lstrip()
    if not following:
        return True
    if mark[0] in "!?":
        return not following[0].islower()
    if following[0].islower() or following[0] in ",;:":
        return False
    head = text[begin : match.start()].rstrip()
    word = re.search(r"\S+$", head)
    token = word.group().lstrip("(\"'“‘[").casefold() if word else ""
    if _ENUMERATOR.fullmatch(head.strip() + ".") or not token:
        return False  # "1." or "4.2." opens its sentence
    return _token_ends(token, following)


def _token_ends(token: str, following: str) -> bool:
    next_word = re.match(r"[^\W\d_]+", following)
    starter = next_word is not None and next_word.group()[0].isupper() and next_word.group().casefold() in _STARTERS
    bare = token.rstrip(".")
    if bare in _OPEN:
        return False
    if bare in _MAYBE or re.fullmatch(r"(?:[^\W\d_]\.)+[^\W\d_]", bare):
        return starter
    if len(bare) == 1 and bare.isalpha() and bare.isascii():
        return starter  # an initial: "J. Smith"
    return True


# ------------------------------------------------------------------------------------------------ length


def _bounded(text: str, start: int, end: int, max_chars: int) -> list[SentenceSpan]:
    """Cut what is longer than `max_chars` at a clause end, else at white space, else where it must be."""
    out: list[SentenceSpan] = []
    while end - start > max_chars:
        window = text[start : start + max_chars]
        cut = 0
        for pattern in (r"[;；]\s|[\n\r]", r"[,:，、]\s?", r"\s"):
            found = [m.end() for m in re.finditer(pattern, window) if m.end() > max_chars // 2]
            if found:
                cut = found[-1]
                break
        s, e = _strip(text, start, start + (cut or max_chars))
        if e > s:
            out.append(SentenceSpan(s, e))
        start += cut or max_chars
    s, e = _strip(text, start, end)
    if e > s:
        out.append(SentenceSpan(s, e))
    return out
