"""The dates of documents with the sentences they stand in, in order of time."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from retrieval.whole import values
from retrieval.whole.desk import Opened, Work, each_document
from strongroom.flags import described
from strongroom.types import DocumentInfo
from strongroom.whole import Dated, WholeItem, WholeProgress, WholeRequest

_FIRST = re.compile(r"(\d{1,2})[/-]\d{1,2}[/-]")


def timeline(
    request: WholeRequest, documents: Sequence[DocumentInfo], work: Work
) -> Iterator[WholeProgress | WholeItem]:
    """Every date of every document, sorted; those without a year and relative times come last."""
    found: list[Dated] = []

    def read(opened: Opened) -> Iterator[Dated]:
        rows = work.kept(opened, "timeline", lambda: _dates(opened), again=request.again)
        for date, until, text, chunk, start, end, flags in rows:
            yield Dated(date, until, text, opened.cite(chunk, start, end), tuple(flags))

    for event in each_document(work, documents, read):
        if isinstance(event, Dated):
            found.append(event)
        else:
            yield event
    found.sort(key=_when)
    yield from (replace(d, citation=replace(d.citation, n=n)) for n, d in enumerate(found, start=1))


def _when(dated: Dated) -> tuple[int, str, str, str, int]:
    rank = 2 if not dated.date else 1 if dated.date.startswith("--") else 0
    place = dated.citation.spans[0].start
    return rank, dated.date, dated.until, dated.citation.document.name.casefold(), place


def _dates(opened: Opened) -> list[list[object]]:
    """Rows of date, until, words, chunk, start and end of the sentence, flags."""
    day_first = reads_day_first(p.text for p in opened.passages)
    rows: list[list[object]] = []
    for passage in opened.passages:
        for found in values.dates(passage.text, day_first=day_first):
            words = " ".join(passage.text[found.start : found.end].split())
            place = [passage.chunk.id, passage.start, passage.end]
            seen = [described(flag) for flag in passage.flags]
            rows.append([found.date, found.until, words, *place, [*found.flags, *seen]])
    return rows


def reads_day_first(texts: Iterable[str]) -> bool:
    """Whether a document writes the day before the month, by its numeric dates that can be read one way only."""
    balance = 0
    for text in texts:
        for found in values.dates(text, relative=False):
            first = _FIRST.match(text, found.start)
            if first and values.AMBIGUOUS not in found.flags:
                balance += 1 if int(first[1]) > 12 else -1
    return balance > 0
