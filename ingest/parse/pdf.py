"""PDF by PDFium: the text of each page with a box for every word, and OCR for pages that have none.

Reads all pages, then arranges each: tables as rows of labelled cells, columns one after the other, headings marked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pypdfium2 as pdfium
import pypdfium2.raw as raw

from ingest.parse.arrange import CAPTION_LEVEL, Carried, arrange
from ingest.parse.build import DocumentBuilder, Words, no_boxes
from ingest.parse.geometry import turned
from ingest.parse.headings import headings_of
from ingest.parse.inside import Members, Nowhere, Sink
from ingest.parse.notes import attachments
from ingest.parse.pdfpage import MOST_POINTS, RawPage, Vocabulary, read_page, words_of
from ingest.parse.rows import TABLE_LINES, wide_gaps
from ingest.parse.rulings import Rulings
from ingest.parse.scans import GARBAGE, gibberish, read_picture, read_scan, usable
from ingest.parse.tables import Table, find_tables
from ingest.parse.unseen import OUTSIDE, Looks
from strongroom.errors import LOCKED, LOCKED_HINT, ParseError, QuarantineError
from strongroom.types import OcrMode, ParsedDocument

LOW_CONFIDENCE = 0.75
RUNNING_HEAD_PAGES = 3
MOST_PICTURES = 50  # a document: each takes a second or more
MOST_PAGES = 100_000
PICTURE_CONFIDENCE = 0.7
PICTURE_CHARACTERS = 20  # letters and digits from which a picture holds text, and not a sign or a logo
_TITLE_NOISE = re.compile(r"^(untitled|document\s*\d*|slide \d+|powerpoint presentation|about:blank|.*[\\/].*)$", re.I)


def parse_pdf(
    path: Path,
    *,
    ocr: OcrMode = "auto",
    heartbeat: Callable[[], None] = lambda: None,
    passwords: Sequence[str] = (),
    sink: Sink | None = None,
) -> ParsedDocument:
    """Parse a PDF; `ocr` says which pages are read by OCR: those without usable text, all, or none.

    Files attached to it or to a page go to `sink`. Raises `QuarantineError` when it needs a password or has too many
    pages, `ParseError` when it is damaged or has none.

    Source of the reading order and of line-end hyphen marks: PDFium's text page. About 1 ms a page and core.
    """
    with closing(_open(path, passwords)) as document:
        count = len(document)
        if count == 0:
            raise ParseError("the PDF has no pages", hint="get a fresh copy of the file")
        if count > MOST_PAGES:
            raise QuarantineError(
                f"it has {count} pages; {MOST_PAGES} are the most", hint="split it and ingest the parts"
            )
        looks = Looks()
        pages = [read_page(document, index, ocr, looks) for index in range(count)]
        if all(page.problem and not page.ocr for page in pages):
            raise ParseError("damaged PDF: none of its pages can be read", hint="get a fresh copy of the file")
        pinned = [index for index, page in enumerate(pages) if page.attachments]
        builder = DocumentBuilder()
        words = Vocabulary([page.text for page in pages], [page.boxes for page in pages])
        carried: Carried | None = None
        pictures = 0
        for index, page in enumerate(pages):
            if page.problem:
                builder.warn(f"page {index + 1}: {page.problem}")
            if max(page.width or 0, page.height or 0) > MOST_POINTS:
                builder.warn(f"page {index + 1}: larger than any sheet of paper, so only its own text was read")
            if page.ocr:
                carried = _add_scanned(builder, document, index, page, words, carried, always=ocr == "always")
                heartbeat()
            else:
                if page.pictures:
                    pictures += _read_pictures(builder, document, index, page, MOST_PICTURES - pictures)
                    heartbeat()
                carried = _add(builder, words_of(page, words), page, words, carried, quarters=page.quarters)
                for why, boxes in page.unseen.items():
                    builder.flag_words("hidden", why, boxes)
                for what, boxes in page.odd:
                    builder.flag_words("characters", what, boxes)
                builder.flag_texts("hidden", OUTSIDE, page.outside)
            pages[index] = RawPage("", None, None)  # its text and boxes are in the builder now
        members = Members(sink or Nowhere(), packed=path.stat().st_size)
        _hand_over(builder, attachments(document, pinned), members)
        builder.drop_repeated_headings(pages=RUNNING_HEAD_PAGES, below=CAPTION_LEVEL)
        return builder.build("application/pdf", title=_title(document))


def _open(path: Path, passwords: Sequence[str] = ()) -> pdfium.PdfDocument:
    """Open with the first password that fits, or without one."""
    try:
        return pdfium.PdfDocument(path, password=passwords[0] if passwords else None)
    except pdfium.PdfiumError as exc:
        code = getattr(exc, "err_code", None)
        if code == raw.FPDF_ERR_PASSWORD:
            if len(passwords) > 1:
                return _open(path, passwords[1:])
            raise QuarantineError(LOCKED, hint=LOCKED_HINT) from exc
        if code == raw.FPDF_ERR_SECURITY:
            raise QuarantineError("encrypted in a way that cannot be opened", hint="save an unencrypted copy") from exc
        raise ParseError("damaged PDF: it cannot be opened", hint="get a fresh copy of the file") from exc


def _hand_over(builder: DocumentBuilder, attached: Iterable[tuple[str, bytes | None]], members: Members) -> None:
    """Give what is attached to the PDF to `members`; a PDF that is nothing but a cover for them lists their names."""
    for number, (name, data) in enumerate(attached, start=1):
        name = re.sub(r"[/\\]", "_", name) or f"attachment-{number}"
        if data is None:
            members.refuse(name, "it is empty or damaged")
        else:
            members.add(name, [data])
    if members.notes:
        builder.warn(f"{len(members.notes)} attachments were not read: {'; '.join(members.notes[:20])}")
    if members.listing and builder.empty:
        listing = (f"Attachments: {', '.join(members.listing)}", None)
        builder.add_block([listing], kind="section", label="attachments")


def _title(document: pdfium.PdfDocument) -> str | None:
    """The title in the metadata when it reads like one, not like a file name or a program's default."""
    try:
        title = str(document.get_metadata_value("Title"))
    except (pdfium.PdfiumError, UnicodeError):
        return None
    title = re.sub(r"^Microsoft (Word|PowerPoint|Excel) - ", "", " ".join(title.split()))
    title = re.sub(r"\.(docx?|pdf|pptx?|xlsx?|indd|qxd|rtf|txt|html?)$", "", title, flags=re.I)
    if not 3 <= len(title) <= 200 or _TITLE_NOISE.match(title) or GARBAGE.search(title):
        return None
    return title if any(c.isalpha() for c in title) else None


def _read_pictures(builder: DocumentBuilder, document: pdfium.PdfDocument, index: int, page: RawPage, left: int) -> int:
    """Add what pictures on a page of text say to its notes; returns how many were looked at, `left` at most."""
    if left < len(page.pictures):
        builder.warn(f"page {index + 1}: text in pictures was not read, {MOST_PICTURES} pictures a document are")
    for box in page.pictures[: max(left, 0)]:
        result = read_picture(document, index, page.width or 0.0, page.height or 0.0, box)
        if result is None or result.confidence < PICTURE_CONFIDENCE:
            continue
        from ingest.parse.ocr import words_of as picture_words

        words = picture_words(result)
        if sum(map(usable, words.texts)) < PICTURE_CHARACTERS:
            continue
        spaces = ["\n\n", *words.spaces[1:]]
        words = Words(spaces, words.texts, words.boxes + np.array([box[0], box[1]] * 2, dtype=np.float32))
        page.notes = words if page.notes is None else _joined(page.notes, words)
        builder.warn(f"page {index + 1}: text in a picture was read by OCR, {result.confidence:.0%} sure of its words")
    return min(left, len(page.pictures))


def _add_scanned(
    builder: DocumentBuilder,
    document: pdfium.PdfDocument,
    index: int,
    page: RawPage,
    vocabulary: Vocabulary,
    carried: Carried | None,
    *,
    always: bool,
) -> Carried | None:
    """Read a page by OCR; keep the text layer where OCR finds less than it holds, unless `always` was asked for."""
    garbage = GARBAGE.search(page.text) is not None or gibberish(page.text)
    words = Words([], [], no_boxes()) if garbage else words_of(page, vocabulary)
    quarters, confidence = page.quarters, None
    result = read_scan(document, index, page.width or 0.0, page.height or 0.0)
    if result is not None:
        from ingest.parse.ocr import upright_words

        found = sum(usable(line.text) for line in result.lines)
        if found and (garbage or always or found >= usable(page.text)):
            words, confidence, quarters = upright_words(result), result.confidence, result.quarters
            if confidence < LOW_CONFIDENCE:
                builder.warn(f"page {index + 1}: hard to read, OCR is {confidence:.0%} sure of its words")
    if not words.texts:
        builder.warn(f"page {index + 1}: no text found" + (", by OCR either" if result is not None else ""))
    return _add(builder, words, page, vocabulary, carried, quarters=quarters, confidence=confidence)


def _add(
    builder: DocumentBuilder,
    words: Words,
    page: RawPage,
    vocabulary: Vocabulary,
    carried: Carried | None,
    *,
    quarters: int,
    confidence: float | None = None,
) -> Carried | None:
    """Arrange upright words and add them; their boxes are turned to the page as displayed."""
    width, height = page.width or 0.0, page.height or 0.0
    lying = quarters % 2 == 1
    arranged = arrange(
        words,
        page.rulings if not quarters else Rulings(),
        carried,
        keeps_hyphen=vocabulary.keeps_hyphen,
        by_place=quarters > 0 and confidence is None,
        gaps=page.gaps if len(words.boxes) == len(page.boxes) and confidence is None else None,
    )
    usual = vocabulary.height if confidence is None else None
    headings = headings_of(arranged.words, arranged.marks, usual=usual)
    boxes = turned(arranged.words.boxes, quarters, *((height, width) if lying else (width, height)))
    arranged_words = arranged.words._replace(boxes=boxes)
    builder.add_page(
        arranged_words if page.notes is None else _joined(arranged_words, page.notes),
        marks=sorted((*arranged.marks, *headings), key=lambda mark: mark.first),
        width=page.width,
        height=page.height,
        ocr_confidence=confidence,
    )
    return arranged.carried


def _joined(words: Words, notes: Words) -> Words:
    """Words of the page, then those of its forms and comments."""
    spaces = notes.spaces if words.texts else ["", *notes.spaces[1:]]
    return Words(words.spaces + spaces, words.texts + notes.texts, np.concatenate((words.boxes, notes.boxes)))


def pdf_tables(path: Path) -> Iterator[tuple[int, Words, Table]]:
    """Tables with the number of their page and the words that their cells index, for measuring; no OCR."""
    with closing(_open(path)) as document:
        pages = [read_page(document, index, "never") for index in range(len(document))]
        vocabulary = Vocabulary([page.text for page in pages])
        for number, page in enumerate(pages, start=1):
            words = words_of(page, vocabulary)
            if wide_gaps(words.boxes) >= TABLE_LINES:
                for table in find_tables(words, page.rulings):
                    yield number, words, table
