"""The documents page: what is there and in what state, adding files, deleting with a receipt."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import streamlit as st

from strongroom.client import HttpEngine
from strongroom.errors import StrongroomError
from strongroom.types import FileOutcome, IngestOptions, IngestProgress, SourceFile
from ui import components, viewer
from ui.connection import engine
from ui.view import document_row, matching, outcome_row, receipt_lines, say, upload_uri

_ROWS = 50


def page() -> None:
    """The documents page."""
    server = engine()
    side = None
    main: Any = st.container()
    if viewer.shown() is not None:
        main, side = st.columns([1.25, 1], gap="large")
    with main:
        st.subheader("Documents", anchor=False)
        _receipt()
        _add(server)
        _outcomes()
        _list(server)
    if side is not None:
        with side:
            viewer.draw(server)


def _receipt() -> None:
    lines = st.session_state.pop("receipt", None)
    if lines:
        with st.container(border=True):
            for css, line in zip(["sr-doc"] + ["sr-where"] * len(lines), lines, strict=False):
                st.html(say(line, css))


# ------------------------------------------------------------------------------------------------ adding


def _add(server: HttpEngine) -> None:
    with st.expander("Add documents", icon=":material/upload_file:", expanded=not server.documents()):
        with st.form("add", clear_on_submit=True, border=False):
            files = st.file_uploader("Files to add", accept_multiple_files=True, help="For whole folders use the CLI.")
            collection = st.text_input("Collection", value="default", max_chars=100)
            go = st.form_submit_button("Add", type="primary", icon=":material/add:")
        if go and files:
            _upload(server, files, collection.strip() or "default")
        elif go:
            st.info("Choose files first.", icon=":material/info:")


def _outcomes() -> None:
    """What became of the files of the last upload, until it is dismissed."""
    done = st.session_state.get("outcomes")
    if not done:
        return
    with st.container(border=True):
        components.outcomes([outcome_row(o) for o in done], key="outcomes-view")
        st.button("Dismiss", on_click=lambda: st.session_state.pop("outcomes", None), type="tertiary")


def _upload(server: HttpEngine, files: list[Any], collection: str) -> None:
    """Send the browser's files to the server, showing progress; each file's outcome stays on the page."""
    bar = st.progress(0.0, text="Sending")
    outcomes: list[FileOutcome] = []

    def on_event(event: FileOutcome | IngestProgress) -> None:
        if isinstance(event, FileOutcome):
            outcomes.append(event)
            st.session_state["outcomes"] = list(outcomes)
        done = min(len(outcomes), len(files))
        bar.progress(done / len(files), text=f"{done} of {len(files)} files")

    with tempfile.TemporaryDirectory(prefix="strongroom-ui-") as folder:  # mode 0700, and gone with the block
        sources = []
        for number, file in enumerate(files):
            path = Path(folder) / str(number)
            with path.open("wb") as out:
                shutil.copyfileobj(file, out)
            sources.append(SourceFile(str(path), upload_uri(file.name), file.name, path.stat().st_size))
        try:
            server.ingest_files(sources, IngestOptions(collection=collection), on_event=on_event)
        except StrongroomError as exc:
            st.session_state["problem"] = (str(exc), exc.hint)
    st.session_state.pop("status", None)
    st.rerun()


# ------------------------------------------------------------------------------------------------ the list


def _list(server: HttpEngine) -> None:
    problem = st.session_state.pop("problem", None)
    if problem:
        st.html(say(f"{problem[0]}. {problem[1]}"))
    documents = server.documents()
    if not documents:
        st.html('<div class="sr-empty"><h2>No documents yet</h2><p>Files that you add appear here.</p></div>')
        return
    words = st.text_input("Search the list", placeholder="Name, collection or reason", key="filter")
    found = matching(documents, words)
    start = min(int(st.session_state.get("first", 0)), max(0, len(found) - 1) // _ROWS * _ROWS)
    rows = found[start : start + _ROWS]
    counted = f"{len(found):,} of {len(documents):,} documents" if words else f"{len(documents):,} documents"
    st.html(say(counted, "sr-where"))
    if rows:
        components.documents(
            [document_row(info) for info in rows],
            key="documents-view",
            on_open=lambda: viewer.open_document(st.session_state["documents-view"].open),
            on_remove=lambda: st.session_state.update(removing=st.session_state["documents-view"].remove),
        )
    if len(found) > _ROWS:
        with st.container(horizontal=True):
            st.button("Earlier", disabled=start == 0, on_click=_to, args=(start - _ROWS,))
            st.button("Later", disabled=start + _ROWS >= len(found), on_click=_to, args=(start + _ROWS,))
    removing = st.session_state.pop("removing", None)
    for info in documents:
        if info.id == removing:
            _confirm(server, info.id, info.name)


def _to(first: int) -> None:
    st.session_state["first"] = first


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
            st.session_state.pop("status", None)
            st.rerun()
        if st.button("Keep it"):
            st.rerun()
