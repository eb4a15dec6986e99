"""The pages' own logic, run by Streamlit's test harness against a real server over a fake engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from strongroom.access import LOCAL_USER
from strongroom.accounts import Desk
from strongroom.people import Identity, NewAccount, RedeemRequest
from strongroom.types import IngestRequest
from tests.fakes_engine import FakeEngine
from tests.server_fixtures import Served, look_at, served, write_documents
from ui import connection
from ui.answer_view import Turn

SCRIPT = Path(__file__).parents[2] / "ui" / "script.py"
QUESTION = "What is the notice period for termination?"


@pytest.fixture
def up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    engine = FakeEngine()
    engine.ingest(IngestRequest((str(write_documents(tmp_path / "docs")),)), on_event=lambda _event: None)
    with served(tmp_path, engine=engine) as running:
        look_at(running, monkeypatch)
        yield running


def _page() -> AppTest:
    return AppTest.from_file(str(SCRIPT), default_timeout=30).run()


def _markup(page: AppTest) -> str:
    return " ".join(str(e.proto.body) for e in page.get("html"))


def test_the_first_page_invites_a_question_and_shows_the_status(up: Served) -> None:
    page = _page()
    assert not page.exception
    markup = _markup(page)
    assert "your 2 documents" in markup
    assert "Nothing leaves this machine" in markup
    assert "fake-1" in markup


def test_an_empty_appliance_says_how_to_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(tmp_path) as running:
        look_at(running, monkeypatch)
        assert "No documents yet" in _markup(_page())


@pytest.mark.parametrize(
    ("choice", "style"),
    [("The usual way", None), ("The documents' own words", "exact"), ("A model's words, checked", "fluent")],
)
def test_the_style_that_was_chosen_is_asked_for(up: Served, choice: str, style: str | None) -> None:
    page = _page()
    page.selectbox(key="style").select(choice).run()
    page.chat_input[0].set_value(QUESTION).run()
    assert not page.exception
    assert up.engine.requests[-1].style == style


def test_a_question_becomes_an_answered_turn(up: Served) -> None:
    page = _page()
    page.chat_input[0].set_value(QUESTION).run()
    assert not page.exception
    (turn,) = page.session_state["turns"]
    assert turn.question == QUESTION
    assert "notice period for termination is thirty days" in turn.answer.citations[0].quote
    assert turn.stopped is False


def test_the_conversation_so_far_goes_along_with_the_next_question(up: Served) -> None:
    page = _page()
    for question in (QUESTION, "Is lunch served at noon?"):
        page.chat_input[0].set_value(question).run()
    history = [r for r in up.engine.requests if hasattr(r, "history")][-1].history
    assert [m.role for m in history] == ["user", "assistant"]
    assert history[0].content == QUESTION


def test_a_new_conversation_forgets_the_old_one(up: Served) -> None:
    page = _page()
    page.chat_input[0].set_value(QUESTION).run()
    next(b for b in page.button if b.label == "New conversation").click().run()
    assert page.session_state["turns"] == []


def test_an_error_is_shown_with_its_hint_and_as_plain_text(up: Served) -> None:
    page = _page()
    page.session_state["turns"] = [Turn("q", error="![x](http://evil.example/a.png) **broke**", hint="Try `again`.")]
    page.run()
    (shown,) = page.error
    assert "![x]" not in shown.value
    assert r"\!\[x\]\(http\:" in shown.value
    assert "Try" in shown.value


def test_a_stopped_answer_says_that_it_was_not_checked(up: Served) -> None:
    page = _page()
    page.session_state["turns"] = [Turn("q", partial="Half a <b>sentence", stopped=True)]
    page.run()
    markup = _markup(page)
    assert "Half a &lt;b&gt;sentence" in markup
    assert "not checked" not in markup
    assert "Nothing above was checked" in markup


def test_an_open_page_is_fetched_for_the_viewer(up: Served) -> None:
    page = _page()
    page.chat_input[0].set_value(QUESTION).run()
    citation = page.session_state["turns"][0].answer.citations[0]
    from ui.answer_view import Shown

    page.session_state["shown"] = Shown(citation.document.id, 0, citation)
    page.run()
    assert not page.exception
    assert "Page 1 of 2" in _markup(page)
    next(b for b in page.button if b.label == "Next").click().run()
    assert "Page 2 of 2" in _markup(page)
    next(b for b in page.button if b.label == "Close").click().run()
    assert "shown" not in page.session_state


def test_a_document_that_is_gone_closes_cleanly(up: Served) -> None:
    from ui.answer_view import Shown

    page = _page()
    page.session_state["shown"] = Shown("no-such-id", 0)
    page.run()
    assert not page.exception
    assert "no such document" in page.error[0].value


def test_a_server_that_is_gone_is_said_clearly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(tmp_path) as running:
        look_at(running, monkeypatch)
    page = _page()
    assert not page.exception
    assert "no server answers" in _markup(page)
    assert "strongroom up" in _markup(page)


def test_who_has_to_set_up_a_second_factor_first_is_shown_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # GIVEN somebody signed in by password where everybody must have a second factor
    with served(tmp_path, accounts=True) as running:
        assert running.accounts is not None
        owner = Desk(running.accounts, Identity(LOCAL_USER, "owner"))
        code = owner.add_user(NewAccount("anna", "viewer")).code
        session = running.accounts.redeem(RedeemRequest(code, "seven grey herons at dawn")).session
        running.accounts.second_factor_rule = "everybody"
        look_at(running, monkeypatch)
        monkeypatch.setattr(connection, "session_of_browser", lambda: session)
        # THEN the page says so, and where
        page = _page()
        assert not page.exception
        assert "your account needs a second factor first" in _markup(page)
        assert 'href="/account"' in _markup(page)
