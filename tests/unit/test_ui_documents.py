"""The documents page, run by Streamlit's test harness against a real server over a fake engine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from strongroom.types import DocumentInfo, DocumentState, IngestOptions, IngestRequest, SourceFile
from tests.fakes_engine import FakeEngine
from tests.server_fixtures import look_at, served, write_documents
from ui.document_view import Detailed

REASON = "It is protected by a password."


@dataclass(slots=True)
class Recorded(FakeEngine):
    """A fake engine that keeps what it was sent."""

    sent: list[tuple[str, str, bytes, IngestOptions]] = field(default_factory=list)

    def ingest_files(self, files: Any, options: IngestOptions, **rest: Any) -> Any:
        def noted() -> Iterator[Any]:
            for file in files:
                if isinstance(file, SourceFile):
                    self.sent.append((file.uri, file.name, Path(file.path).read_bytes(), options))
                yield file

        return FakeEngine.ingest_files(self, noted(), options, **rest)


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorded]:
    """A contract, a note that has failed, and a server over both."""
    fake = Recorded()
    fake.ingest(
        IngestRequest((str(write_documents(tmp_path / "docs")),), collection="leases"), on_event=lambda _event: None
    )
    fake.sent.clear()
    note = fake._documents[_named(fake, "canteen.txt").id]
    note.info = replace(note.info, state=DocumentState.FAILED, reason=REASON, version="")
    with served(tmp_path, engine=fake) as running:
        look_at(running, monkeypatch)
        yield fake


def _named(engine: FakeEngine, name: str) -> DocumentInfo:
    (found,) = (d for d in engine.documents() if d.name == name)
    return found


def _script() -> None:
    from ui import documents

    documents.page()


def _page(**state: object) -> AppTest:
    page = AppTest.from_function(_script, default_timeout=30)
    for key, value in state.items():
        page.session_state[key] = value
    return page.run()


def _markup(page: AppTest) -> str:
    return " ".join(str(e.proto.body) for e in page.get("html"))


def test_the_list_is_filtered_by_state(engine: Recorded) -> None:
    page = _page()
    assert not page.exception
    assert "2 documents" in _markup(page)
    page.selectbox[0].select("Failed or set aside").run()
    assert "1 of 2 documents" in _markup(page)


def test_trying_again_asks_for_the_file_and_keeps_what_the_document_is(engine: Recorded, tmp_path: Path) -> None:
    failed = _named(engine, "canteen.txt")
    # GIVEN other bytes at the path that the document came from
    (tmp_path / "docs" / "canteen.txt").write_text("a secret of the server")
    page = _page(again=failed.id)
    assert not page.exception
    assert REASON in _markup(page)
    button = next(b for b in page.button if b.label == "Try again")
    assert button.disabled  # nothing is read before a file is chosen
    # WHEN a person gives a file of another name (the harness draws whole pages, a browser only the open dialog)
    page.session_state["again"] = failed.id
    uploader = next(u for u in page.file_uploader if u.label == "The file to read again")
    uploader.upload("mended.txt", b"Lunch is served at one.", "text/plain").run()
    page.session_state["again"] = failed.id
    next(b for b in page.button if b.label == "Try again").click().run()
    assert not page.exception
    # THEN its bytes become the document, under its old name, URI and collection, though it has failed before
    ((uri, name, data, options),) = engine.sent
    assert (uri, name, data) == (failed.path, "canteen.txt", b"Lunch is served at one.")
    assert (options.collection, options.retry, options.roots) == ("leases", True, ())
    assert _named(engine, "canteen.txt").state is DocumentState.INDEXED


def test_a_document_inside_another_is_tried_again_with_it(engine: Recorded) -> None:
    holder, inner = _named(engine, "Supply contract.pdf"), _named(engine, "canteen.txt")
    engine._documents[inner.id].info = replace(inner, parent=holder.id)
    markup = _markup(_page(again=inner.id))
    assert "canteen.txt lies inside this file" in markup
    assert "Supply contract.pdf" in markup


def test_details_are_fetched_and_passages_only_when_asked_for(engine: Recorded) -> None:
    contract = _named(engine, "Supply contract.pdf")
    page = _page(detailed=Detailed(contract.id))
    assert not page.exception
    assert "Supply contract.pdf" in _markup(page)
    assert ("chunks", contract.id) not in engine.requests
    # WHEN they are asked for THEN they are read once, however often the page is drawn
    page.session_state["detailed"] = Detailed(contract.id, wanted=True)
    page.run()
    page.run()
    assert not page.exception
    assert engine.requests.count(("chunks", contract.id)) == 1


def test_details_of_a_failed_document_offer_to_try_again(engine: Recorded) -> None:
    page = _page(detailed=Detailed(_named(engine, "canteen.txt").id))
    assert "Download" not in _markup(page)
    next(b for b in page.button if b.key == "details-again").click().run()
    assert not page.exception
    assert any(u.label == "The file to read again" for u in page.file_uploader)


def test_details_of_a_document_that_is_gone_close_cleanly(engine: Recorded) -> None:
    page = _page(detailed=Detailed("no-such-id"))
    assert not page.exception
    next(b for b in page.button if b.key == "details-close").click().run()
    assert "detailed" not in page.session_state
