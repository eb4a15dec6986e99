"""The conversation: a question in, an answer streamed, its citations to click."""

from __future__ import annotations

import queue
import threading
import time
from typing import Any

import streamlit as st

from strongroom.client.engine import HttpEngine
from strongroom.errors import StrongroomError
from strongroom.quotes import exact_spans
from strongroom.types import AskEvent, AskRequest, Style
from strongroom.wire import error_event
from strongroom.words import counted
from ui import components, viewer
from ui.answer_view import STYLE_CHOICES, STYLE_HELP, Turn, answer_data, history, judgement, stage_line
from ui.connection import engine
from ui.theme import NARROW
from ui.words import say

_TICK = 0.25  # seconds between looks at the clock, and at whether the person pressed stop
_STOPPED = "Stopped. Nothing above was checked against your documents."
_FRAME = 0.06  # seconds between redraws of streaming text


def page() -> None:
    """The chat page."""
    turns: list[Turn] = st.session_state.setdefault("turns", [])
    server = engine()
    question = st.chat_input("Ask your documents", key="question", max_chars=4000, submit_mode="stop")
    with st.sidebar:
        _choices(server, turns)
    if viewer.shown() is not None:
        talk, side = st.columns([1, 1], gap="medium")
    else:
        st.html(f"<style>{NARROW}</style>")
        talk, side = st.container(), None
    with talk:
        if not turns and not question:
            _welcome(server)
        for number, turn in enumerate(turns):
            _draw(turn, number)
        if question and question.strip():
            turns.append(Turn(question.strip()))
            _ask(server, turns)
    if side is not None:
        with side:
            viewer.draw(server)


def _choices(server: HttpEngine, turns: list[Turn]) -> None:
    if st.button("New conversation", icon=":material/add_comment:", width="stretch", disabled=not turns):
        turns.clear()
        viewer.close()
        st.rerun()
    names = server.collections()
    if len(names) > 1:
        st.selectbox("Search in", ["All collections", *names], key="collection")
    st.selectbox("Answer in", list(STYLE_CHOICES), key="style", help=STYLE_HELP)


def _collection() -> str | None:
    chosen = st.session_state.get("collection", "All collections")
    return None if chosen == "All collections" else str(chosen)


def _style() -> Style | None:
    return STYLE_CHOICES.get(st.session_state.get("style", ""))


def _welcome(server: HttpEngine) -> None:
    count = server.status().states.get("indexed", 0)
    if count:
        mine = counted(count, "document")
        st.html(
            '<div class="sr-empty"><h2>What do you want to know?</h2>'
            f"<p>Answers come from your {mine}, with the page and the words they rest on.</p></div>"
        )
        return
    st.html(
        '<div class="sr-empty"><h2>No documents yet</h2>'
        "<p>Add some on the Documents page, or a whole folder with <code>strongroom ingest</code>.</p></div>"
    )


def _draw(turn: Turn, number: int) -> None:
    with st.chat_message("user", avatar=":material/person:"):
        st.html(say(turn.question, "sr-question"))
    with st.chat_message("assistant", avatar=":material/shield_lock:"):
        if turn.answer is not None:
            key = f"answer-{number}"
            components.answer(
                answer_data(turn.answer, judged=turn.judged),
                key=key,
                on_cite=lambda: _cite(turn, key),
                on_judge=lambda: _judge(turn, key),
            )
            return
        if turn.partial:
            st.html(say(turn.partial))
        if turn.error:
            st.error(f"{_plain(turn.error)}  \n{_plain(turn.hint)}", icon=":material/error:")
        elif turn.stopped:
            st.html(say(_STOPPED, "sr-where"))


def _cite(turn: Turn, key: str) -> None:
    chosen = st.session_state[key].cite
    for citation in turn.answer.citations if turn.answer is not None else ():
        if citation.n == chosen and turn.answer is not None:
            viewer.open_citation(citation, exact_spans(turn.answer, citation.n))


def _judge(turn: Turn, key: str) -> None:
    """Keep what the person said of the answer."""
    request = judgement(turn, st.session_state[key].judge)
    if request is None:
        return
    try:
        engine().approve(request)
        turn.judged = request.verdict
    except StrongroomError as exc:
        st.toast(_plain(str(exc)), icon=":material/error:")


def _plain(text: str) -> str:
    """Text for Streamlit's own message boxes, which read Markdown: every character that could be markup is escaped."""
    return "".join(f"\\{c}" if c in r"\`*_{}[]()#+-.!|~<>$:^&" else c for c in text)


def _ask(server: HttpEngine, turns: list[Turn]) -> None:
    """Stream the answer to the last turn, then draw the page again with it in place."""
    turn = turns[-1]
    request = AskRequest(turn.question, collection=_collection(), history=history(turns[:-1]), style=_style())
    with st.chat_message("user", avatar=":material/person:"):
        st.html(say(turn.question, "sr-question"))
    with st.chat_message("assistant", avatar=":material/shield_lock:"):
        stage_box, text_box = st.empty(), st.empty()
        stage_box.html(stage_line("retrieving", "", 0))
        st.html(say(_STOPPED, "sr-stopped"))  # the style sheet shows it when the script was stopped and did not redraw
        stream = _Stream(server, request)
        turn.stopped = True  # until the end says otherwise: pressing stop ends this function at any st call
        try:
            _follow(stream, turn, stage_box, text_box)
            turn.stopped = False
        finally:
            stream.cancel.set()
    st.rerun()


def _follow(stream: _Stream, turn: Turn, stage_box: Any, text_box: Any) -> None:
    stage, detail, started, drawn = "retrieving", "", time.monotonic(), 0.0
    while True:
        try:
            event = stream.events.get(timeout=_TICK)
        except queue.Empty:
            stage_box.html(stage_line(stage, detail, time.monotonic() - started))
            continue
        if event is None:
            return
        if event.kind == "stage":
            stage, detail = event.stage, event.detail
            stage_box.html(stage_line(stage, detail, time.monotonic() - started))
        elif event.kind == "text":
            turn.partial += event.text
            if time.monotonic() - drawn > _FRAME:
                drawn = time.monotonic()
                text_box.html(say(turn.partial))
        elif event.kind == "answer":
            turn.answer = event.answer
        elif event.kind == "error":
            turn.error, turn.hint = event.message, event.hint


class _Stream:
    """Reads the answer in a thread, so that the page can show the clock and notice a stop while nothing comes."""

    def __init__(self, server: HttpEngine, request: AskRequest) -> None:
        self.events: queue.Queue[AskEvent | None] = queue.Queue()
        self.cancel = threading.Event()
        self._server = server
        self._request = request
        threading.Thread(target=self._read, name="answer", daemon=True).start()

    def _read(self) -> None:
        try:
            for event in self._server.ask(self._request, cancel=self.cancel):
                self.events.put(event)
        except StrongroomError as exc:
            self.events.put(error_event(exc))
        finally:
            self.events.put(None)
