"""The panel about one document: its origin and reason, pages as thumbnails, versions, passages, what lies in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import streamlit as st

from strongroom.client.engine import HttpEngine
from strongroom.errors import StrongroomError
from ui import components, viewer
from ui.document_view import BAD, Detailed, detail_data
from ui.files import original_url
from ui.words import say

_KEY = "detailed"
_VIEW = "detail-view"


def detailed() -> Detailed | None:
    """What the panel is about, if anything."""
    found: Detailed | None = st.session_state.get(_KEY)
    return found


def open_details(document_id: str) -> None:
    """Show the panel for a document, instead of a page that is open."""
    viewer.close()
    st.session_state[_KEY] = Detailed(document_id)


def close() -> None:
    """Show nothing."""
    st.session_state.pop(_KEY, None)


def draw(engine: HttpEngine, now: Detailed, *, on_again: Callable[[str], None]) -> None:
    """Draw the panel. `on_again` is called with the id of a document that is to be tried again."""
    with st.container(key="details"):
        try:
            detail = engine.details(now.document_id)
            if now.wanted and now.passages is None:  # once, because each reading goes on record
                now = st.session_state[_KEY] = replace(now, passages=tuple(engine.chunks(now.document_id)))
        except StrongroomError as exc:
            st.html(say(str(exc), "sr-doc") + say(exc.hint, "sr-where"))
            st.button("Close", key="details-close", on_click=close, icon=":material/close:")
            return
        info, kept = detail.document, now
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            st.html(say(info.name, "sr-doc"), width="stretch")
            if str(info.state) in BAD:
                st.button("Try again", key="details-again", on_click=on_again, args=(info.id,), type="tertiary")
            if str(info.state) == "indexed":
                # The address is ours and holds a quoted id, nothing of the document.
                link = f'<a class="sr-where" href="{original_url(info.id)}" download>Download</a>'
                st.html(link, width="content")
            st.button("Close", key="details-close", on_click=close, icon=":material/close:", type="tertiary")
        components.detail(
            detail_data(detail, now.passages),
            key=_VIEW,
            on_page=lambda: viewer.open_document(info.id, int(st.session_state[_VIEW].page)),
            on_document=lambda: open_details(st.session_state[_VIEW].document),
            on_passages=lambda: st.session_state.update({_KEY: replace(kept, wanted=True)}),
        )
