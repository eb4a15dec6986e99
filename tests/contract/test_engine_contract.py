"""One contract for every `Engine`: what front ends rely on, whether it runs in process or over HTTP.

An engine under test starts empty. Its contents are made of small files written here; what is asserted holds for any
model, so nothing here depends on the words of an answer.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from strongroom.access import LOCAL_USER
from strongroom.app.appliance import Appliance
from strongroom.config import load
from strongroom.engine import Engine
from strongroom.errors import CancelledError, NotFoundError, UsageError
from strongroom.types import (
    Answer,
    ApprovalRequest,
    AskEvent,
    AskRequest,
    Citation,
    DocumentState,
    ErrorEvent,
    FileOutcome,
    IngestEvent,
    IngestOptions,
    IngestRequest,
    IngestSummary,
    SearchRequest,
    SourceFile,
    Watch,
    Withholding,
)
from strongroom.whole import Dated, Field, WholeDone, WholeEvent, WholeItem, WholeProgress, WholeRequest
from tests.appliances import open_appliance
from tests.fakes import FakeModels
from tests.fakes_engine import FakeEngine, make_pdf
from tests.server_fixtures import served

QUESTION = "What is the notice period for termination?"
SENTENCE = "The notice period for termination is thirty days."


class EngineContract:
    """Subclasses provide the fixture `engine`: an `Engine` without documents."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        folder = tmp_path / "contracts"
        folder.mkdir()
        (folder / "supply.pdf").write_bytes(make_pdf([["SUPPLY CONTRACT", SENTENCE], ["Liability is capped."]]))
        (folder / "notes ä.txt").write_text("Lunch is served at noon in the canteen of the harbour office.\n")
        return folder

    def ingest(
        self, engine: Engine, *paths: Path, prune: bool = False, dry_run: bool = False
    ) -> tuple[dict[str, FileOutcome], IngestSummary]:
        events: list[IngestEvent] = []
        request = IngestRequest(tuple(map(str, paths)), prune=prune, dry_run=dry_run)
        summary = engine.ingest(request, on_event=events.append)
        outcomes = [e for e in events if isinstance(e, FileOutcome)]
        assert len({o.path for o in outcomes}) == len(outcomes), "each file has one outcome"
        return {Path(o.path).name: o for o in outcomes}, summary

    def document_id(self, engine: Engine, name: str) -> str:
        return next(d.id for d in engine.documents() if d.name == name)

    def answer(self, events: list[AskEvent]) -> Answer:
        last = events[-1]
        assert last.kind == "answer"
        return last.answer

    # -------------------------------------------------------------------------------- ingest

    def test_ingest_reports_each_file_by_its_path_and_counts_them(self, engine: Engine, folder: Path) -> None:
        outcomes, summary = self.ingest(engine, folder)
        assert {o.path for o in outcomes.values()} == {str(folder / "supply.pdf"), str(folder / "notes ä.txt")}
        assert {o.outcome for o in outcomes.values()} == {"indexed"}
        assert outcomes["supply.pdf"].pages == 2
        assert (summary.files, summary.outcomes, summary.partial) == (2, {"indexed": 2}, False)
        assert summary.chunks == sum(o.chunks for o in outcomes.values()) > 0

    def test_ingesting_again_changes_nothing(self, engine: Engine, folder: Path) -> None:
        self.ingest(engine, folder)
        before = engine.documents()
        outcomes, summary = self.ingest(engine, folder)
        assert {o.outcome for o in outcomes.values()} == {"unchanged"}
        assert summary.outcomes == {"unchanged": 2}
        assert engine.documents() == before

    def test_a_changed_file_is_a_new_version_of_the_same_document(self, engine: Engine, folder: Path) -> None:
        self.ingest(engine, folder)
        before = engine.document(self.document_id(engine, "notes ä.txt"))
        (folder / "notes ä.txt").write_text("Supper is served at six in the canteen of the harbour office.\n")
        outcomes, _ = self.ingest(engine, folder)
        after = engine.document(before.id)
        assert {name: o.outcome for name, o in outcomes.items()} == {
            "supply.pdf": "unchanged",
            "notes ä.txt": "indexed",
        }
        assert after.version != before.version
        assert "Supper" in engine.page(before.id, 0).text

    def test_vanished_files_are_reported_and_removed_only_when_asked(self, engine: Engine, folder: Path) -> None:
        # GIVEN an ingested folder that has lost a file
        self.ingest(engine, folder)
        (folder / "notes ä.txt").unlink()
        # WHEN it is ingested again THEN the loss is reported and the document stays
        outcomes, summary = self.ingest(engine, folder)
        assert outcomes["notes ä.txt"].outcome == "vanished"
        assert summary.outcomes == {"unchanged": 1, "vanished": 1}
        assert len(engine.documents()) == 2
        # WHEN it is ingested with prune THEN the document goes
        outcomes, summary = self.ingest(engine, folder, prune=True)
        assert outcomes["notes ä.txt"].outcome == "removed"
        assert [d.name for d in engine.documents()] == ["supply.pdf"]

    def test_a_dry_run_tells_and_does_nothing(self, engine: Engine, folder: Path) -> None:
        outcomes, summary = self.ingest(engine, folder, dry_run=True)
        assert summary.dry_run
        assert {o.outcome for o in outcomes.values()} == {"indexed"}
        assert all(o.reason for o in outcomes.values())
        assert engine.documents() == []

    def test_a_path_that_does_not_exist_is_refused(self, engine: Engine, tmp_path: Path) -> None:
        with pytest.raises(UsageError):
            self.ingest(engine, tmp_path / "nowhere")
        assert engine.documents() == []

    def test_watches_are_kept_until_they_are_removed(self, engine: Engine, folder: Path) -> None:
        added = engine.add_watch(Watch(paths=(str(folder),), collection="watched", groups=("legal",), prune=True))
        assert added.id
        (found,) = engine.watches()
        wanted = (added.id, (str(folder),), "watched", ("legal",), True, None)
        assert (found.id, found.paths, found.collection, found.groups, found.prune, found.poll) == wanted
        engine.remove_watch(added.id)
        assert engine.watches() == []
        with pytest.raises(NotFoundError):
            engine.remove_watch(added.id)

    def test_rules_on_personal_data_are_set_replaced_and_removed(self, engine: Engine) -> None:
        assert engine.withholding() == []
        engine.withhold(Withholding("viewer", ("iban",)))
        engine.withhold(Withholding("viewer", ("name", "card")))
        assert engine.withholding() == [Withholding("viewer", ("name", "card"))]
        engine.withhold(Withholding("viewer", ()), remove=True)
        assert engine.withholding() == []

    def test_files_at_hand_are_known_by_their_uri(self, engine: Engine, folder: Path) -> None:
        uploads = [SourceFile(str(folder / "supply.pdf"), "upload:///s%20.pdf", "s .pdf", 1)]
        for expected in ("indexed", "unchanged"):
            events: list[IngestEvent] = []
            engine.ingest_files(uploads, IngestOptions(), on_event=events.append)
            (outcome,) = [e for e in events if isinstance(e, FileOutcome)]
            assert (outcome.path, outcome.outcome) == ("upload:///s%20.pdf", expected)
        assert [(d.name, d.path) for d in engine.documents()] == [("s .pdf", "upload:///s%20.pdf")]

    def test_a_cancelled_ingest_raises(self, engine: Engine, folder: Path) -> None:
        cancel = threading.Event()
        cancel.set()
        with pytest.raises(CancelledError):
            engine.ingest(IngestRequest((str(folder),)), on_event=lambda _event: None, cancel=cancel)

    # -------------------------------------------------------------------------------- documents

    def test_documents_are_listed_with_their_facts(self, engine: Engine, folder: Path) -> None:
        self.ingest(engine, folder)
        listed = {d.name: d for d in engine.documents()}
        info = listed["supply.pdf"]
        assert engine.document(info.id) == info
        assert (info.state, info.pages, info.reason, info.collection) == (DocumentState.INDEXED, 2, None, "default")
        assert info.path == (folder / "supply.pdf").as_uri()
        assert info.size == (folder / "supply.pdf").stat().st_size
        assert info.added.tzinfo is not None
        assert engine.documents("default") == engine.documents()
        assert "default" in engine.collections()

    def test_pages_tile_the_document(self, engine: Engine, folder: Path) -> None:
        self.ingest(engine, folder)
        document = self.document_id(engine, "supply.pdf")
        first, second = (engine.page(document, index) for index in (0, 1))
        assert (first.number, second.number, first.count, second.count) == (1, 2, 2, 2)
        assert (first.start, first.end) == (0, second.start)
        assert SENTENCE in " ".join(first.text.split())
        assert (first.width, first.height) == (595, 842)

    def test_details_and_chunks_agree_with_the_list(self, engine: Engine, folder: Path) -> None:
        self.ingest(engine, folder)
        info = next(d for d in engine.documents() if d.name == "supply.pdf")
        detail, chunks = engine.details(info.id), engine.chunks(info.id)
        assert detail.document == info
        assert [page.number for page in detail.pages] == [1, 2]
        assert [(v.id, v.current) for v in detail.versions] == [(info.version, True)]
        assert [chunk.ordinal for chunk in chunks] == list(range(info.chunks))
        assert any(SENTENCE.split()[-2] in chunk.text for chunk in chunks)
        assert engine.doubtful_pages(1.0) == []  # nothing came from OCR
        for method in (engine.details, engine.chunks):
            with pytest.raises(NotFoundError):
                method("00000000-0000-4000-8000-000000000000")

    def test_page_images_are_png_and_only_for_formats_that_have_them(self, engine: Engine, folder: Path) -> None:
        self.ingest(engine, folder)
        png = engine.page_image(self.document_id(engine, "supply.pdf"), 1, dpi=72)
        assert png.startswith(b"\x89PNG\r\n\x1a\n")
        with pytest.raises(NotFoundError):
            engine.page_image(self.document_id(engine, "notes ä.txt"), 0)

    def test_originals_come_back_byte_for_byte(self, engine: Engine, folder: Path) -> None:
        self.ingest(engine, folder)
        original = engine.original(self.document_id(engine, "notes ä.txt"))
        assert original == (folder / "notes ä.txt").read_bytes()

    def test_what_does_not_exist_is_not_found(self, engine: Engine, folder: Path) -> None:
        self.ingest(engine, folder)
        document = self.document_id(engine, "supply.pdf")
        for call in (
            lambda: engine.document("no-such-id"),
            lambda: engine.page("no-such-id", 0),
            lambda: engine.page(document, 2),
            lambda: engine.page_image(document, 2),
            lambda: engine.original("no-such-id"),
            lambda: engine.delete("no-such-id"),
        ):
            with pytest.raises(NotFoundError):
                call()

    def test_deleting_gives_a_receipt_and_leaves_nothing(self, engine: Engine, folder: Path) -> None:
        self.ingest(engine, folder)
        document = self.document_id(engine, "supply.pdf")
        receipt = engine.delete(document)
        assert receipt.document_id == document
        assert receipt.destroyed
        with pytest.raises(NotFoundError):
            engine.document(document)
        hits = engine.search(SearchRequest(QUESTION)).hits
        assert document not in {hit.document.id for hit in hits}

    # -------------------------------------------------------------------------------- judgements

    def test_a_judgement_is_kept_with_the_words_at_its_place_and_goes_with_its_document(
        self, engine: Engine, folder: Path
    ) -> None:
        # GIVEN a document WHEN its words are approved as an answer
        self.ingest(engine, folder)
        document = self.document_id(engine, "supply.pdf")
        page = engine.page(document, 0)
        at = page.start + page.text.index("thirty days")
        request = ApprovalRequest(QUESTION, "approved", document, 0, at, at + len("thirty days"))
        kept = engine.approve(request)
        # THEN they are listed
        assert (kept.text, kept.question, kept.verdict, kept.page) == ("thirty days", QUESTION, "approved", 1)
        assert engine.approvals() == [kept]
        # AND can be withdrawn, once
        engine.withdraw(kept.id)
        with pytest.raises(NotFoundError):
            engine.withdraw(kept.id)
        # AND go with the document
        engine.approve(request)
        engine.delete(document)
        assert engine.approvals() == []

    def test_a_judgement_of_nothing_is_refused(self, engine: Engine, folder: Path) -> None:
        self.ingest(engine, folder)
        document = self.document_id(engine, "supply.pdf")
        end = engine.page(document, 0).end
        with pytest.raises(NotFoundError):
            engine.approve(ApprovalRequest(QUESTION, "approved", "no-such-id", 0, 0, 1))
        for start, stop in ((5, 5), (end - 1, end + 1)):
            with pytest.raises(UsageError):
                engine.approve(ApprovalRequest(QUESTION, "rejected", document, 0, start, stop))
        assert engine.approvals() == []

    # -------------------------------------------------------------------------------- questions

    def test_search_finds_the_passage_with_its_page(self, engine: Engine, folder: Path) -> None:
        self.ingest(engine, folder)
        result = engine.search(SearchRequest(QUESTION, k=1, id="q7"))
        (hit,) = result.hits
        assert (hit.document.name, hit.pages, result.id) == ("supply.pdf", (1,), "q7")
        assert "notice period" in hit.text
        assert "total" in result.timings_ms

    def test_a_search_is_no_way_to_take_everything_at_once(self, engine: Engine, folder: Path) -> None:
        self.ingest(engine, folder)
        with pytest.raises(UsageError, match="k is 101"):
            engine.search(SearchRequest(QUESTION, k=101))

    def test_an_answer_streams_in_order_and_cites_what_is_there(self, engine: Engine, folder: Path) -> None:
        # GIVEN documents that answer the question
        self.ingest(engine, folder)
        # WHEN it is asked
        events = list(engine.ask(AskRequest(QUESTION, id="q8")))
        # THEN the quotes come before the words, and the last event is the whole answer
        kinds = [e.kind for e in events]
        assert kinds[0] == "stage"
        assert kinds.count("citations") == kinds.count("answer") == 1
        assert "text" not in kinds[: kinds.index("citations")]
        answer = self.answer(events)
        assert answer.id == "q8"
        # AND every quote stands word for word where its spans say
        assert answer.citations
        for citation in answer.citations:
            pieces = []
            for span in citation.spans:
                page = engine.page(citation.document.id, span.page_index)
                assert page.start <= span.start < span.end <= page.end
                assert span.page == page.number
                pieces.append(page.text[span.start - page.start : span.end - page.start])
            assert "".join("".join(pieces).split()) == "".join(citation.quote.split())
        cited = {n for s in answer.sentences for n in s.citations}
        assert cited <= {c.n for c in answer.citations}

    def test_without_documents_the_answer_abstains(self, engine: Engine) -> None:
        answer = self.answer(list(engine.ask(AskRequest(QUESTION))))
        assert answer.abstained
        assert answer.citations == ()

    def test_closing_an_answer_early_is_allowed(self, engine: Engine, folder: Path) -> None:
        self.ingest(engine, folder)
        events = engine.ask(AskRequest(QUESTION))
        next(iter(events))
        events.close()  # type: ignore[attr-defined]
        assert self.answer(list(engine.ask(AskRequest(QUESTION))))

    def test_an_unknown_collection_releases_nothing(self, engine: Engine, folder: Path) -> None:
        self.ingest(engine, folder)
        try:
            hits = engine.search(SearchRequest(QUESTION, collection="no-such-collection")).hits
        except UsageError:
            hits = ()
        assert hits == ()

    # -------------------------------------------------------------------------------- whole documents

    def whole(self, engine: Engine, **wanted: Any) -> tuple[list[WholeItem], WholeDone]:
        events = list(engine.whole(WholeRequest(**wanted)))
        *before, done = events
        assert isinstance(done, WholeDone)
        assert not any(isinstance(e, WholeDone | ErrorEvent) for e in before)
        items = [e for e in before if not isinstance(e, WholeProgress)]
        assert any(isinstance(e, WholeProgress) for e in before)
        assert done.items == len(items)
        return items, done

    def stands(self, engine: Engine, citation: Citation) -> None:
        """The quote stands word for word where its spans say."""
        pieces = []
        for span in citation.spans:
            page = engine.page(citation.document.id, span.page_index)
            pieces.append(page.text[span.start - page.start : span.end - page.start])
        assert pieces
        assert "".join("".join(pieces).split()) == "".join(citation.quote.split())

    def test_a_summary_quotes_every_document(self, engine: Engine, folder: Path) -> None:
        self.ingest(engine, folder)
        items, done = self.whole(engine, task="summarise", points=3)
        assert {i.document.name for i in items if i.document is not None} == {"supply.pdf", "notes ä.txt"}
        assert any(i.document is None for i in items), "what stands for all of them comes too"
        for point in items:
            assert point.extract
            (citation,) = point.citations
            assert " ".join(citation.quote.split()) == point.text
            self.stands(engine, citation)
        assert (done.task, done.documents, done.left_out, done.model) == ("summarise", 2, (), "extractive")

    def test_differences_are_quoted_side_by_side(self, engine: Engine, folder: Path) -> None:
        self.ingest(engine, folder)
        (folder / "later.pdf").write_bytes(
            make_pdf([["SUPPLY CONTRACT", SENTENCE.replace("thirty", "forty")], ["Liability is capped."]])
        )
        self.ingest(engine, folder)
        ids = (self.document_id(engine, "supply.pdf"), self.document_id(engine, "later.pdf"))
        items, _ = self.whole(engine, task="compare", documents=ids)
        (difference,) = items
        assert difference.change == "facts"
        assert [side.facts for side in difference.sides] == [("30",), ("40",)]
        for side in difference.sides:
            self.stands(engine, side.citation)
        with pytest.raises(UsageError):
            self.raised(engine, WholeRequest(task="compare", documents=ids[:1]))

    def test_a_table_has_a_row_a_document_and_says_what_it_did_not_find(self, engine: Engine, folder: Path) -> None:
        self.ingest(engine, folder)
        fields = (Field("notice", question=QUESTION), Field("fee", "money", "How high is the franchise royalty?"))
        items, done = self.whole(engine, task="extract", fields=fields)
        rows = {row.document.name: row.cells for row in items}
        assert set(rows) == {"supply.pdf", "notes ä.txt"}
        for cells in rows.values():
            assert [cell.field for cell in cells] == ["notice", "fee"]
            assert all(bool(cell.value) == cell.found for cell in cells)
            for cell in cells:
                if cell.citation is not None:
                    self.stands(engine, cell.citation)
            assert not cells[1].found
        # AND a repetition is not worked out again
        again, second = self.whole(engine, task="extract", fields=fields)
        assert again == items
        assert (done.reused, second.reused) == (0, 4)

    def test_a_sheet_gets_its_answers_in_order(self, engine: Engine, folder: Path) -> None:
        self.ingest(engine, folder)
        items, _ = self.whole(engine, task="sheet", questions=(QUESTION, "Who discovered penicillin?"))
        assert [(i.index, i.question) for i in items] == [(0, QUESTION), (1, "Who discovered penicillin?")]
        assert items[1].answer.abstained

    def test_a_timeline_is_in_order_of_time(self, engine: Engine, folder: Path) -> None:
        self.ingest(engine, folder)
        (folder / "dates.txt").write_text(
            "Signed on 3 May 2021 in Bergen. It ends on 1/2/2020 at noon. Payment is due within 30 days of delivery.\n"
        )
        self.ingest(engine, folder)
        items, _ = self.whole(engine, task="timeline")
        assert [(i.date, i.flags) for i in items] == [
            ("2020-01-02", ("day or month first?",)),
            ("2021-05-03", ()),
            ("", ("relative",)),
        ]
        for dated in items:
            self.stands(engine, dated.citation)
            assert dated.text in dated.citation.quote

    def test_whole_work_on_what_is_not_there_is_not_found(self, engine: Engine, folder: Path) -> None:
        self.ingest(engine, folder)
        with pytest.raises(NotFoundError):
            self.raised(engine, WholeRequest(task="timeline", documents=("no-such-id",)))
        with pytest.raises(UsageError):
            self.raised(engine, WholeRequest(task="extract"))

    def raised(self, engine: Engine, request: WholeRequest) -> None:
        """Run it, and raise what ended it (in process it is raised, over HTTP it is the last event)."""
        for event in engine.whole(request):
            if isinstance(event, ErrorEvent):
                raise (NotFoundError if "not exist" in event.message else UsageError)(event.message)

    def test_whole_work_that_is_cancelled_ends(self, engine: Engine, folder: Path) -> None:
        self.ingest(engine, folder)
        cancel = threading.Event()
        cancel.set()
        events: list[WholeEvent] = []
        with suppress(CancelledError):
            events.extend(engine.whole(WholeRequest(task="timeline"), cancel=cancel))
        assert not any(isinstance(event, WholeDone | Dated) for event in events)

    # -------------------------------------------------------------------------------- health

    def test_status_counts_what_is_there(self, engine: Engine, folder: Path) -> None:
        self.ingest(engine, folder)
        status = engine.status()
        assert status.collections == {"default": 2}
        assert status.states == {"indexed": 2}
        assert status.chunks == status.points == sum(d.chunks for d in engine.documents())
        assert status.model
        assert status.embedder

    def test_verify_finds_nothing_wrong(self, engine: Engine, folder: Path) -> None:
        self.ingest(engine, folder)
        report = engine.verify()
        assert report.ok
        assert report.problems == ()

    def test_closing_twice_is_fine(self, engine: Engine) -> None:
        engine.close()
        engine.close()


class TestFakeEngine(EngineContract):
    """The fake keeps the contract itself, so that tests against it mean something."""

    @pytest.fixture
    def engine(self) -> Engine:
        return FakeEngine()


class TestHttpOverFakeEngine(EngineContract):
    """The client and the server between them change nothing."""

    @pytest.fixture
    def engine(self, tmp_path: Path) -> Iterator[Engine]:
        with served(tmp_path / "appliance") as up:
            yield up.client


class TestLocalEngine(EngineContract):
    """The appliance in process: real catalogue, index, parsers, pipeline, and fake models."""

    @pytest.fixture
    def engine(self, tmp_path: Path) -> Iterator[Engine]:
        settings = load({"data_dir": tmp_path / "appliance"}).settings
        with closing(Appliance(settings, purpose="test", models=FakeModels())) as opened:
            yield opened.as_user(LOCAL_USER)


class TestHttpOverLocalEngine(EngineContract):
    """The appliance behind its server. Files are parsed in this process: that is no part of it."""

    @pytest.fixture
    def engine(self, tmp_path: Path) -> Iterator[Engine]:
        data_dir = tmp_path / "appliance"
        with closing(open_appliance(data_dir)) as opened, served(data_dir, engine_for=opened.as_user) as up:
            yield up.client
