"""Our own page parts: an answer with citation chips, a page with highlights, tables. One script and one style each.

A component's data is plain values; its script turns words into text nodes and nothing else, so that no document,
answer or file name can bring markup, links or images onto the page.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st

_ASSETS = Path(__file__).parent / "assets"


@cache
def _sources(name: str) -> tuple[str, str]:
    # The scripts are modules of their own, so the shared helper is put in front of each.
    js = (_ASSETS / "dom.js").read_text(encoding="utf-8") + (_ASSETS / f"{name}.js").read_text(encoding="utf-8")
    return js, (_ASSETS / f"{name}.css").read_text(encoding="utf-8")


def _mount(name: str, *, key: str, data: dict[str, Any], **events: Any) -> Any:
    js, css = _sources(name)
    component = st.components.v2.component(
        f"strongroom.{name}", html=f'<div class="{name}"></div>', css=css, js=js, isolate_styles=True
    )
    return component(key=key, data=data, **{f"on_{event}_change": handler for event, handler in events.items()})


def answer(data: dict[str, Any], *, key: str, on_cite: Any, on_judge: Any) -> None:
    """An answer; `on_cite()` runs when a citation is chosen, with its number in the state of `key`.

    `on_judge()` runs when the person says whether the answer is right, with what they chose in that state.
    """
    _mount("answer", key=key, data=data, cite=on_cite, judge=on_judge)


def page(data: dict[str, Any], *, key: str) -> None:
    """A page image with boxes, or a page's text with the quote marked."""
    _mount("page", key=key, data=data)


def documents(
    rows: list[dict[str, Any]], *, key: str, on_open: Any, on_details: Any, on_again: Any, on_remove: Any
) -> None:
    """The documents table; the handlers run when a document is to be opened, shown, tried again or deleted."""
    _mount(
        "documents", key=key, data={"rows": rows}, open=on_open, details=on_details, again=on_again, remove=on_remove
    )


def detail(data: dict[str, Any], *, key: str, on_page: Any, on_document: Any, on_passages: Any) -> None:
    """All about one document; the handlers run when a page, another document or its passages are asked for."""
    _mount("detail", key=key, data=data, page=on_page, document=on_document, passages=on_passages)


def outcomes(data: dict[str, Any], *, key: str) -> None:
    """What became of uploaded files, by outcome and reason."""
    _mount("outcomes", key=key, data=data)
