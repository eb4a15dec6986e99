"""Where a quote stands: verbatim text re-read from the pages, page spans and boxes, and the `Citation` made of them.

A quote is never built from a chunk's copy alone: the pages are read again and must agree with it, character by
character, so that what is shown as a quote is what the viewer highlights. Fails closed when they disagree.
"""

from __future__ import annotations

from collections.abc import Callable

from retrieval.evidence import Evidence
from strongroom.errors import IntegrityError
from strongroom.layout import boxes_for
from strongroom.types import Citation, PageView, Span, StoredChunk

PageLookup = Callable[[str, str, int], PageView]
"""`(document_id, version_id, page_index) -> PageView`; raises `NotFoundError` when the page is no longer there."""

MARGIN = 400  # characters read around a chunk, to complete the sentences that its edges cut


class PageReader:
    """Reads pages once per question. One object serves one question on one thread."""

    def __init__(self, lookup: PageLookup) -> None:
        self._lookup = lookup
        self._pages: dict[tuple[str, str, int], PageView] = {}

    def page(self, chunk: StoredChunk, index: int) -> PageView:
        """The page at 0-based `index` of the chunk's document and version."""
        key = (chunk.document.id, chunk.version_id, index)
        if key not in self._pages:
            self._pages[key] = self._lookup(*key)
        return self._pages[key]

    def window(self, chunk: StoredChunk) -> tuple[int, str]:
        """Document offset and text of the chunk with up to `MARGIN` characters of its pages on either side.

        Raises `IntegrityError` when the pages do not hold the chunk's text, `NotFoundError` when a page is gone.
        """
        pages = [self.page(chunk, i) for i in sorted(chunk.pages)]
        begin = min([chunk.start, *(max(p.start, chunk.start - MARGIN) for p in pages[:1])])
        finish = max([chunk.end, *(min(p.end, chunk.end + MARGIN) for p in pages[-1:])])
        # White space that a parser left between two pages belongs to neither; the chunk has it.
        text = [" "] * (finish - begin)
        text[chunk.start - begin : chunk.end - begin] = chunk.text
        for page in pages:
            lo, hi = max(page.start, begin), min(page.end, finish)
            text[lo - begin : hi - begin] = page.text[lo - page.start : hi - page.start]
        joined = "".join(text)
        if len(joined) != finish - begin or joined[chunk.start - begin : chunk.end - begin] != chunk.text:
            raise IntegrityError(
                f"the pages of {chunk.document.name!r} do not hold the text of its passage {chunk.ordinal}",
                hint="run `strongroom verify`, then ingest this document again",
            )
        return _whole_words(begin, joined, chunk)

    def spans(self, chunk: StoredChunk, start: int, end: int) -> tuple[Span, ...]:
        """One span for each page that `[start, end)` touches, with boxes in points."""
        spans: list[Span] = []
        for index in sorted(chunk.pages):
            page = self.page(chunk, index)
            lo, hi = max(start, page.start), min(end, page.end)
            if lo < hi:
                boxes = boxes_for(page.layout, lo, hi) if page.layout else ()
                spans.append(Span(page=page.number, start=lo, end=hi, boxes=boxes, page_index=index))
        return tuple(spans)

    def cite(self, evidence: Evidence, n: int) -> Citation:
        """The citation number `n` for a piece of evidence.

        Raises `IntegrityError` when the quote is not, word for word, what stands on its pages.
        """
        chunk = evidence.chunk
        spans = self.spans(chunk, evidence.start, evidence.end)
        if not spans or not self._verbatim(evidence, spans):
            raise IntegrityError(
                f"a quote from {chunk.document.name!r} does not match the text of its pages",
                hint="run `strongroom verify`, then ingest this document again",
            )
        first = self.page(chunk, spans[0].page_index)
        return Citation(
            n=n,
            document=chunk.document,
            page=first.number,
            locator=first.locator,
            quote=evidence.text,
            spans=spans,
            score=round(evidence.score, 4),
            chunk_id=chunk.id,
        )

    def _verbatim(self, evidence: Evidence, spans: tuple[Span, ...]) -> bool:
        """True when each page holds its part of the quote and only white space lies between the parts."""
        rest = list(evidence.text)
        if len(rest) != evidence.end - evidence.start:
            return False
        for span in spans:
            page = self.page(evidence.chunk, span.page_index)
            lo, hi = span.start - evidence.start, span.end - evidence.start
            if page.text[span.start - page.start : span.end - page.start] != evidence.text[lo:hi]:
                return False
            rest[lo:hi] = " " * (hi - lo)
        return not "".join(rest).strip()


def _whole_words(begin: int, text: str, chunk: StoredChunk) -> tuple[int, str]:
    """Drop the half words that a margin of fixed length leaves at either end (never inside the chunk)."""
    lead = chunk.start - begin
    if lead == MARGIN:
        cut = next((i for i, c in enumerate(text[:lead]) if c.isspace()), 0)
        begin, text = begin + cut, text[cut:]
    tail = begin + len(text) - chunk.end
    if tail == MARGIN:
        end = next((i for i in range(len(text), len(text) - tail, -1) if text[i - 1].isspace()), len(text))
        text = text[:end]
    return begin, text
