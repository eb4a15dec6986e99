"""Word, slides, HTML and Markdown through `unstructured`; this is its only importer.

`unstructured` reports usage at import and at every call, prints an advert, and fetches a spaCy model on first use,
unless it is told not to. All of that is switched off here before it is imported, whoever the caller is. Formats
without pages get none invented: they are cut into sections at their headings.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from ingest.mime import DOCX, PPTX
from ingest.parse.archive import check_archive
from ingest.parse.build import DocumentBuilder
from ingest.parse.hidden import Piece, hidden_in_docx, hidden_in_html
from ingest.parse.hostile import located
from ingest.parse.text import Decoded, read_text
from ingest.parse.verbs import VERBS
from strongroom.errors import ParseError, QuarantineError
from strongroom.types import ParsedDocument

_SWITCHES = {"DO_NOT_TRACK": "1", "SCARF_NO_ANALYTICS": "true", "UNSTRUCTURED_DISABLE_NOTICE": "1"}

Block = tuple[str, int | None]  # text, and the heading level when it is one


def parse_office(path: Path, mime: str) -> ParsedDocument:
    """Parse a docx, pptx, HTML or Markdown file.

    Raises `ParseError` when it is damaged, `QuarantineError` for a decompression bomb.
    """
    if mime in {DOCX, PPTX}:
        check_archive(path)
    if mime == PPTX:
        return _slides(path)
    warnings: tuple[str, ...] = ()
    hidden: list[Piece] = []
    decoded: Decoded | None = None
    if mime == DOCX:
        elements = _partition("docx", filename=str(path))
        hidden = hidden_in_docx(path)
    else:
        decoded = read_text(path)
        text, warnings = decoded.text, decoded.warnings
        elements = _partition("html" if mime == "text/html" else "md", text=text)
        if mime == "text/html":
            hidden = hidden_in_html(text)
    builder = DocumentBuilder()
    for warning in warnings:
        builder.warn(warning)
    title = add_sections(builder, blocks(elements))
    document = builder.build(mime, title=title or (_html_title(text) if mime == "text/html" else None))
    odd = decoded.flags(document.text) if decoded is not None else ()
    return replace(document, flags=(*document.flags, *odd, *located(document.text, hidden)))


def html_blocks(html: str) -> list[Block]:
    """The blocks of an HTML text, for the body of a mail."""
    return list(blocks(_partition("html", text=html)))


# ------------------------------------------------------------------------------------------------ unstructured


@lru_cache(maxsize=1)
def _prepare() -> None:
    """Silence `unstructured`, and give it a sentence model that is on this machine, so that it never fetches one."""
    os.environ.update(_SWITCHES)
    import unstructured.nlp.tokenize as tokenize

    tokenize._load_spacy_model = _language_model
    tokenize._install_spacy_model = _refuse_install


def _refuse_install() -> None:
    raise ParseError("unstructured tried to fetch a language model", hint="report this: nothing is ever fetched")


def _language_model() -> Any:
    """spaCy's small English model when it is installed, else blank English with sentence ends and a verb list.

    The tagger is only asked whether a text holds a verb, to tell prose from a title; the list answers that.
    """
    import spacy
    from spacy.language import Language

    if spacy.util.is_package("en_core_web_sm"):
        return spacy.load("en_core_web_sm", exclude=["ner", "lemmatizer", "attribute_ruler"])

    if not Language.has_factory("strongroom_verbs"):

        @Language.component("strongroom_verbs")
        def tag_verbs(doc: Any) -> Any:
            for token in doc:
                token.tag_ = "VB" if token.lower_ in VERBS else "NN"
            return doc

    model = spacy.blank("en")
    model.add_pipe("sentencizer")
    model.add_pipe("strongroom_verbs")
    return model


def _partition(kind: str, **source: str) -> list[Any]:
    """Elements of a document. Whatever a broken file makes the libraries raise becomes a `ParseError`."""
    _prepare()
    if kind == "html":
        _check_depth(source["text"])
    try:
        # languages=[""] switches off its language detection, whose result is not used and costs most of the time.
        return list(_partitioner(kind)(languages=[""], **source))
    except (ParseError, MemoryError):
        raise
    except Exception as exc:  # one file's edge: python-docx, lxml and others raise anything on bad input
        raise ParseError(
            f"damaged document: it cannot be parsed ({type(exc).__name__})", hint="get a fresh copy"
        ) from exc


def _check_depth(html: str) -> None:
    """Refuse HTML that libxml2 would only read to where its elements lie too deep, and keep silent about the rest."""
    from lxml import etree  # type: ignore[import-untyped]

    parser = etree.HTMLParser(encoding="utf-8")
    with suppress(etree.XMLSyntaxError):  # nothing in it, which shows in the text
        etree.fromstring(html.encode("utf-8", "replace"), parser)
    if any(entry.type == etree.ErrorTypes.ERR_RESOURCE_LIMIT for entry in parser.error_log):
        raise QuarantineError("HTML nested too deeply to be parsed", hint="save the page again in a browser, as PDF")


def _partitioner(kind: str) -> Callable[..., Any]:
    if kind == "docx":
        from unstructured.partition.docx import partition_docx as partition
    elif kind == "pptx":
        from unstructured.partition.pptx import partition_pptx as partition
    elif kind == "md":
        from unstructured.partition.md import partition_md as partition
    else:
        from unstructured.partition.html import partition_html as partition
    return partition  # type: ignore[no-any-return]


# ------------------------------------------------------------------------------------------------ elements to blocks


def blocks(elements: list[Any]) -> Iterator[Block]:
    """Elements as text blocks: tables as lines of cells, headings with their level, running headers left out."""
    for element in elements:
        kind = type(element).__name__
        if kind in {"Header", "Footer", "PageBreak", "Image"}:
            continue
        table = table_text(element.metadata.text_as_html) if kind == "Table" else ""
        text = table or str(element.text)
        # Word processors leave runs of spaces and tabs for layout; they mean nothing here and hide matches.
        text = "\n".join(line for raw in text.splitlines() if (line := re.sub(r"[ \t\xa0\u200b]+", " ", raw).strip()))
        if not text:
            continue
        if kind == "Title":
            yield text.replace("\n", " "), min((element.metadata.category_depth or 0) + 1, 6)
        elif kind == "ListItem" and not text.startswith(("-", "•")):
            yield f"- {text}", None
        else:
            yield text, None


def table_text(html: str | None) -> str:
    """A table as lines `header: cell | header: cell` when its first row is a header, else `cell | cell`."""
    if not html:
        return ""
    from lxml import html as lxml_html

    from ingest.parse.grid import render_rows

    root = lxml_html.fromstring(html)
    rows = []
    for row in root.iter("tr"):
        cells = [" ".join(" ".join(cell.itertext()).split()) for cell in row.iterchildren("td", "th")]
        if any(cells):
            rows.append(cells)
    return "\n".join(render_rows(rows))


def add_sections(builder: DocumentBuilder, content: Iterator[Block] | list[Block]) -> str | None:
    """Cut blocks into sections at their headings; returns the first heading when the document opens with it."""
    section: list[Block] = []
    label = "document"
    title: str | None = None
    seen = False
    for text, level in content:
        if level is not None:
            if not seen:
                title = text[:200]
            # Headings in a row open one section: the label is the innermost of them.
            if any(inner is None for _, inner in section):
                builder.add_block(section, kind="section", label=label)
                section = []
            label = text[:200]
        section.append((text, level))
        seen = True
    if section:
        builder.add_block(section, kind="section", label=label)
    return title


def _slides(path: Path) -> ParsedDocument:
    """Slides as pages: numbered as in the file, empty ones included so that numbers stay right."""
    elements = _partition("pptx", filename=str(path))
    by_slide: dict[int, list[Any]] = {}
    for element in elements:
        by_slide.setdefault(element.metadata.page_number or 1, []).append(element)
    builder = DocumentBuilder()
    title: str | None = None
    for number in range(1, max(by_slide, default=0) + 1):
        content = list(blocks(by_slide.get(number, [])))
        title = title or next((text for text, level in content if level == 1), None)
        builder.add_block(content, kind="slide", label=str(number), number=number)
    return builder.build(PPTX, title=title)


def _html_title(text: str) -> str | None:
    import html

    match = re.search(r"<title[^>]*>([^<]{3,200})</title>", text, re.IGNORECASE)
    return " ".join(html.unescape(match.group(1)).split()) if match else None
