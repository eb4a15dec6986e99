"""Headings on a PDF page: numbered clauses, lines of capitals, lines in larger type.

By how they are written and placed; no vocabulary but "article" and "section". Must not be keen: whatever is marked
stands over every passage below it, in its chunk and in its citation.
"""

from __future__ import annotations

import re

from ingest.parse.build import Mark, Words

_MOST_WORDS = 10
_MOST_CHARACTERS = 80
_LARGER = 1.18  # times the height of the document's usual words
_PART = re.compile(r"(article|section|part|chapter)$", re.I)
_PART_NUMBER = re.compile(r"([IVXLC]+|\d{1,2}(\.\d{1,2})*|[A-Z])[.:]?$")
_CLAUSE = re.compile(r"\d{1,2}((\.\d{1,2}){1,3}\.?|\.)$")
_SMALL = frozenset(
    {"a", "an", "and", "as", "at", "by", "for", "from", "in", "into", "of", "on", "or", "per", "the", "to", "upon"}
)
_NUMBERED, _OUTER = 2, 1


def headings_of(words: Words, taken: tuple[Mark, ...], *, usual: float | None) -> tuple[Mark, ...]:
    """Marks over the headings of a page, besides those `taken` and outside the rows of tables.

    `usual` is the height of the document's words; `None` where heights say nothing, as after OCR.
    """
    starts = [i for i, space in enumerate(words.spaces) if i == 0 or "\n" in space]
    found: list[Mark] = []
    for number, first in enumerate(starts):
        stop = starts[number + 1] if number + 1 < len(starts) else len(words.texts)
        if any(mark.first < stop and first < mark.stop for mark in (*taken, *found[-1:])):
            continue
        line = words.texts[first:stop]
        following = words.texts[stop] if stop < len(words.texts) else ""
        mark = _numbered(line, first, following)
        if mark is not None and mark.stop == stop == first + 2 and number + 2 < len(starts):
            # "ARTICLE IV" over its title
            title = words.texts[stop : starts[number + 2]]
            if _title_end(title, 0, words.texts[starts[number + 2]]) == len(title):
                mark = mark._replace(stop=stop + len(title))
        if mark is None and _alone(words, first, stop) and _set_apart(words, line, first, stop, usual):
            mark = Mark(first, stop, _NUMBERED)
        if mark is not None:
            found.append(mark)
    return tuple(found)


def _numbered(line: list[str], first: int, following: str) -> Mark | None:
    """ "ARTICLE IV", "12. Governing Law", and "4.2 Fees." before the text that goes on in the same line."""
    head = line[0]
    if _PART.match(head):
        if len(line) < 2 or not _PART_NUMBER.match(line[1]):
            return None
        title, level = 2, _OUTER if head.isupper() else _NUMBERED
        if len(line) == 2:
            return Mark(first, first + 2, level)
    elif _CLAUSE.match(head):
        title, level = 1, _NUMBERED + head.rstrip(".").count(".")
    else:
        return None
    end = _title_end(line, title, following)
    return Mark(first, first + end, level) if end > title else None


def _title_end(line: list[str], begin: int, following: str) -> int:
    """Where a title ends that begins there: at its full stop or colon, or with a short line; 0 when it is none.

    `following` is the first word of the next line, which may go on with the sentence.
    """
    for index in range(begin, min(len(line), begin + _MOST_WORDS)):
        word = line[index]
        if word == "|":
            return 0
        bare = word.strip("\"'“”‘’()[].,;:/&-–—")
        if bare and not bare[0].isupper() and (index == begin or bare not in _SMALL):
            return 0
        if word.endswith((".", ":", ".”", '."')) and len(bare) > 2:
            return index + 1
    whole = len(line) <= begin + _MOST_WORDS and not line[-1].endswith((",", ";")) and not following[:1].islower()
    return len(line) if whole and line[-1].lower() not in _SMALL else 0


def _alone(words: Words, first: int, stop: int) -> bool:
    """True for a short line with white above and below it."""
    above = first == 0 or words.spaces[first] == "\n\n"
    below = stop < len(words.texts) and words.spaces[stop] == "\n\n"
    return above and below and stop - first <= _MOST_WORDS


def _set_apart(words: Words, line: list[str], first: int, stop: int, usual: float | None) -> bool:
    """True for words in capitals or in larger type that are no row of a table, no sentence, and hold no number."""
    text = " ".join(line)
    letters = sum(character.isalpha() for character in text)
    plain = letters >= 4 and 2 * letters > len(text) and not any(character.isdigit() for character in text)
    if not plain or len(text) > _MOST_CHARACTERS or "|" in line or text[-1] in ",;.-–—_":
        return False
    if text.isupper():
        return True
    heights = words.boxes[first:stop, 3] - words.boxes[first:stop, 1]
    return usual is not None and text[0].isupper() and bool((heights > _LARGER * usual).all())
