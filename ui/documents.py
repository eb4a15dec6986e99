"""The documents page: what is there and in what state, adding files, trying again, deleting with a receipt."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from strongroom.client.engine import HttpEngine
from strongroom.errors import StrongroomError
from strongroom.types import DocumentInfo, FileOutcome, IngestOptions, IngestProgress, SourceFile
from strongroom.words import counted
from ui import components, details, viewer
from ui.connection import engine
from ui.document_view import (
    STATE_FILTERS,
    document_row,
    in_state,
    matching,
    outcomes_data,
    progress_words,
    receipt_lines,
    upload_uri,
)
from ui.words import say

_ROWS = 50


def page() -> None:
    """The documents page."""
    server = engine()
    side = None
    main: Any = st.container()
    about = details.detailed()
    if viewer.shown() is not None or about is not None:
        main, side = st.columns([1.25, 1], gap="large")
    with main:
        st.subheader("Documents", anchor=False)
        _receipt()
        documents = server.documents()
        _add(server, first=not documents)
        _outcomes()
        _list(server, documents)
    if side is not None:
        with side:
            if viewer.shown() is not None:
                viewer.draw(server)
            elif about is not None:
                details.draw(server, about, on_again=_want_again)


def _receipt() -> None:
    lines = st.session_state.pop("receipt", None)
    if lines:
        with st.container(border=True):
            for css, line in zip(["sr-doc"] + ["sr-where"] * len(lines), lines, strict=False):
                st.html(say(line, css))


# ------------------------------------------------------------------------------------------------ adding


def _add(server: HttpEngine, *, first: bool) -> None:
    with st.expander("Add documents", icon=":material/upload_file:", expanded=first):
        with st.form("add", clear_on_submit=True, border=False):
            files = st.file_uploader("Files to add", accept_multiple_files=True, help="For whole folders use the CLI.")
            collection = st.text_input("Collection", value="default", max_chars=100)
            go = st.form_submit_button("Add", type="primary", icon=":material/add:")
        if go and files:
            options = IngestOptions(collection=collection.strip() or "default")
            _send(server, [_Sent(file, upload_uri(file.name), file.name) for file in files], options)
        elif go:
            st.info("Choose files first.", icon=":material/info:")


def _outcomes() -> None:
    """What became of the files of the last upload, until it is dismissed."""
    done = st.session_state.get("outcomes")
    if not done:
        return
    with st.container(border=True):
        components.outcomes(outcomes_data(done), key="outcomes-view")
        st.button("Dismiss", on_click=lambda: st.session_state.pop("outcomes", None), type="tertiary")


@dataclass(frozen=True, slots=True)
class _Sent:
    """A file that the browser sent, and the document that it is to become or to replace."""

    file: Any
    uri: str
    name: str


def _send(server: HttpEngine, files: list[_Sent], options: IngestOptions) -> None:
    """Send the browser's files to the server, showing progress; each file's outcome stays on the page."""
    bar, line = st.progress(0.0), st.empty()
    line.html(say("Sending", "sr-where"))
    outcomes: list[FileOutcome] = []

    def on_event(event: FileOutcome | IngestProgress) -> None:
        if isinstance(event, FileOutcome):
            outcomes.append(event)
            st.session_state["outcomes"] = list(outcomes)
        else:
            line.html(say(progress_words(event, len(files)), "sr-where"))
        bar.progress(min(len(outcomes), len(files)) / len(files))

    with tempfile.TemporaryDirectory(prefix="strongroom-ui-") as folder:  # mode 0700, and gone with the block
        sources = []
        for number, sent in enumerate(files):
            path = Path(folder) / str(number)
            with path.open("wb") as out:
                shutil.copyfileobj(sent.file, out)
            sources.append(SourceFile(str(path), sent.uri, sent.name, path.stat().st_size))
        try:
            server.ingest_files(sources, options, on_event=on_event)
        except StrongroomError as exc:
            st.session_state["problem"] = (str(exc), exc.hint)
    about = details.detailed()
    if about is not None:
        details.open_details(about.document_id)  # what it shows may be another version now
    st.session_state.pop("status", None)
    st.rerun()


# ------------------------------------------------------------------------------------------------ the list


def _list(server: HttpEngine, documents: list[DocumentInfo]) -> None:
    problem = st.session_state.pop("problem", None)
    if problem:
        st.html(say(f"{problem[0]}. {problem[1]}"))
    if not documents:
        st.html('<div class="sr-empty"><h2>No documents yet</h2><p>Files that you add appear here.</p></div>')
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        words = st.text_input("Search the list", placeholder="Name, collection or reason", key="filter")
        choice = st.selectbox("State", list(STATE_FILTERS), key="state", width=220)
    found = matching(in_state(documents, choice), words)
    start = min(int(st.session_state.get("first", 0)), max(0, len(found) - 1) // _ROWS * _ROWS)
    rows = found[start : start + _ROWS]
    of_all = f"{len(found):,} of " if len(found) < len(documents) else ""
    st.html(say(f"{of_all}{counted(len(documents), 'document')}", "sr-where"))
    if rows:
        components.documents(
            [document_row(info) for info in rows],
            key="documents-view",
            on_open=lambda: viewer.open_document(st.session_state["documents-view"].open),
            on_details=lambda: details.open_details(st.session_state["documents-view"].details),
            on_again=lambda: _want_again(st.session_state["documents-view"].again),
            on_remove=lambda: st.session_state.update(removing=st.session_state["documents-view"].remove),
        )
    if len(found) > _ROWS:
        with st.container(horizontal=True):
            st.button("Earlier", disabled=start == 0, on_click=_to, args=(start - _ROWS,))
            st.button("Later", disabled=start + _ROWS >= len(found), on_click=_to, args=(start + _ROWS,))
    removing, again = st.session_state.pop("removing", None), st.session_state.pop("again", None)
    for info in documents:
        if info.id == removing:
            _confirm(server, info.id, info.name)
        elif info.id == again:
            _try_again(server, info)


def _to(first: int) -> None:
    st.session_state["first"] = first


def _want_again(document_id: str) -> None:
    st.session_state["again"] = document_id


@st.dialog("Try this document again")  # type: ignore[untyped-decorator]
def _try_again(server: HttpEngine, info: DocumentInfo) -> None:
    """Ask for the file again. Where it came from is never read here: whoever added a document named that path."""
    holder = info
    try:
        while holder.parent is not None:
            holder = server.document(holder.parent)
    except StrongroomError:
        st.html(say(f"{info.name} lies inside a file that you may not read: ask whoever added it to add it again."))
        return
    st.html(say(holder.name, "sr-doc") + (say(info.reason) if info.reason else ""))
    if holder is not info:
        st.html(say(f"{info.name} lies inside this file, and is read again with it.", "sr-where"))
    st.write("Choose the file, mended or as it is. It takes the place of this document.")
    file = st.file_uploader("The file to read again", key=f"again-{holder.id}")
    if st.button("Try again", type="primary", icon=":material/refresh:", disabled=file is None):
        options = IngestOptions(collection=holder.collection, retry=True)
        _send(server, [_Sent(file, holder.path, holder.name)], options)


@st.dialog("Delete this document?")  # type: ignore[untyped-decorator]
def _confirm(server: HttpEngine, document_id: str, name: str) -> None:
    st.html(say(name, "sr-doc"))
    st.write("Its original, its text and its place in the index are destroyed. This cannot be undone.")
    with st.container(horizontal=True):
        if st.button("Delete", type="primary", icon=":material/delete:"):
            try:
                receipt = server.delete(document_id)
                st.session_state["receipt"] = [f"Deleted: {name}", *receipt_lines(receipt)]
            except StrongroomError as exc:
                st.session_state["problem"] = (str(exc), exc.hint)
            viewer.close()
            details.close()
            st.session_state.pop("status", None)
            st.rerun()
        if st.button("Keep it"):
            st.rerun()
