"""The page viewer beside a conversation or a list: one page, the quote highlighted, pages to turn."""

from __future__ import annotations

import streamlit as st

from strongroom.client.engine import HttpEngine
from strongroom.errors import StrongroomError
from strongroom.flags import described
from strongroom.types import Citation, PageView, Span
from strongroom.words import place
from ui import components
from ui.answer_view import Shown, page_data
from ui.files import image_url, original_url
from ui.words import say

_KEY = "shown"
_MOST_FLAGS = 20


def shown() -> Shown | None:
    """What is open in the viewer, if anything."""
    found: Shown | None = st.session_state.get(_KEY)
    return found


def open_citation(citation: Citation, exact: tuple[Span, ...] = ()) -> None:
    """Show the page that a quote stands on, with the words in it that answer."""
    first = (exact or citation.spans)[0].page_index if citation.spans else 0
    st.session_state[_KEY] = Shown(citation.document.id, first, citation, exact)


def open_document(document_id: str, index: int = 0) -> None:
    """Show a document from its first page, or from another."""
    st.session_state[_KEY] = Shown(document_id, index)


def close() -> None:
    """Show nothing."""
    st.session_state.pop(_KEY, None)


def _turn(to: int) -> None:
    now = shown()
    if now is not None:
        st.session_state[_KEY] = Shown(now.document_id, to, now.citation, now.exact)


def draw(engine: HttpEngine) -> None:
    """Draw the viewer for what is open."""
    now = shown()
    if now is None:
        return
    with st.container(key="viewer"):
        try:
            page = engine.page(now.document_id, now.index)
        except StrongroomError as exc:
            st.error(str(exc), icon=":material/error:")
            st.button("Close", on_click=close, icon=":material/close:")
            return
        _header(page)
        citation = _with_boxes(engine, page, now.citation)
        image = image_url(now.document_id, now.index) if page.width and page.height else None
        components.page(page_data(page, citation, image, exact=now.exact), key="page-view")


def _header(page: PageView) -> None:
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.html(say(page.document.name, "sr-doc"), width="stretch")
        # The address is ours and holds a quoted id, nothing of the document.
        st.html(f'<a class="sr-where" href="{original_url(page.document.id)}" download>Download</a>', width="content")
        st.button("Close", key="viewer-close", on_click=close, icon=":material/close:", type="tertiary")
    where = place(page.number, page.locator)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.button(
            "Previous",
            key="viewer-previous",
            icon=":material/chevron_left:",
            disabled=page.index == 0,
            on_click=_turn,
            args=(page.index - 1,),
        )
        st.button(
            "Next",
            key="viewer-next",
            icon=":material/chevron_right:",
            disabled=page.index + 1 >= page.count,
            on_click=_turn,
            args=(page.index + 1,),
        )
        total = f" of {page.count}" if page.number is not None else ""
        if page.ocr_confidence is not None:
            total += f", read by OCR, {page.ocr_confidence:.0%} sure"
        st.html(say(f"{where[:1].upper()}{where[1:]}{total}", "sr-where"), width="content")
    for line in dict.fromkeys(described(flag) for flag in page.flags[:_MOST_FLAGS]):
        st.html(say(f"Suspicious on this page: {line}", "sr-where"))


def _with_boxes(engine: HttpEngine, page: PageView, citation: Citation | None) -> Citation | None:
    """The citation, with boxes fetched where it came without any for this page."""
    from dataclasses import replace

    if citation is None or not (page.width and page.height):
        return citation
    spans = []
    for span in citation.spans:
        if span.page_index == page.index and not span.boxes:
            boxes = engine.page_boxes(page.document.id, page.index, start=span.start, end=span.end)
            span = replace(span, boxes=boxes)
        spans.append(span)
    return replace(citation, spans=tuple(spans))
