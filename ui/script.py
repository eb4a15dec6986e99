"""The Streamlit script: page frame, navigation, status. Runs from top to bottom for every interaction."""

from __future__ import annotations

import time
from pathlib import Path

import streamlit as st

from strongroom.errors import StrongroomError
from strongroom.types import Status
from strongroom.words import counted
from ui import chat, documents
from ui.connection import engine, is_local, whose
from ui.theme import CSS
from ui.words import say

_ASSETS = Path(__file__).parent / "assets"
_ACCOUNT = (
    '<p class="sr-status"><a href="/account" target="_self">Account</a> · '
    '<a href="/logout" target="_self">Sign out</a></p>'
)
_FRESH = 10.0  # seconds for which a status is good enough


def _status() -> Status:
    cached = st.session_state.get("status")
    if cached is None or time.monotonic() - cached[0] > _FRESH:
        cached = st.session_state["status"] = (time.monotonic(), engine().status())
    found: Status = cached[1]
    return found


def _footer() -> None:
    status = _status()
    ready = status.states.get("indexed", 0)
    safe = "Nothing leaves this machine" if is_local() else "Nothing leaves your network"
    with st.container(key="footer"):
        st.html(
            say(safe, "sr-status sr-safe")
            + say(f"{counted(ready, 'document')} ready, {counted(status.chunks, 'passage')}", "sr-status")
            + say(f"Model: {status.model}", "sr-status")
            + _ACCOUNT
        )


def _keep_apart() -> None:
    """Forget what this page held of another person: a browser that signs in anew may find its old page again."""
    try:
        mine = whose()
    except StrongroomError:
        st.session_state.clear()
        return
    if st.session_state.setdefault("whose", mine) != mine:
        st.session_state.clear()
        st.session_state["whose"] = mine


def main() -> None:
    """Draw the page that is asked for."""
    # A `:material/…:` page icon would make the browser fetch a picture from a font service.
    st.set_page_config(page_title="Strongroom", page_icon=_ASSETS / "icon.svg", layout="wide")
    _keep_apart()
    st.html(f"<style>{CSS}</style>")
    st.logo(_ASSETS / "logo.svg", size="large")
    chosen = st.navigation(
        [
            st.Page(chat.page, title="Ask", icon=":material/forum:", url_path="ask", default=True),
            st.Page(documents.page, title="Documents", icon=":material/folder_open:", url_path="documents"),
        ]
    )
    try:
        with st.sidebar:
            _footer()
        chosen.run()
    except StrongroomError as exc:
        st.html(say(str(exc), "sr-doc") + say(exc.hint, "sr-where") + _ACCOUNT)


main()
