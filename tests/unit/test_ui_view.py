"""What the UI shows, from values alone: nothing of a document or an answer may become markup."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom import quotes
from strongroom.types import (
    EXTRACTIVE,
    Answer,
    ApprovalRequest,
    Citation,
    Clarification,
    DeletionReceipt,
    DocumentDetail,
    DocumentInfo,
    DocumentRef,
    DocumentState,
    DocumentVersion,
    Exact,
    FileOutcome,
    IngestProgress,
    Locator,
    PageFacts,
    PageView,
    Sentence,
    Span,
    StoredChunk,
    Usage,
)
from ui import answer_view, document_view, words
from ui.files import image_url, original_url

CITATION = Citation(
    n=2,
    document=DocumentRef("d1", "Contract.pdf", "file:///c"),
    page=4,
    locator=Locator("page", "4"),
    quote="thirty\n days",
    spans=(Span(4, 110, 121, ((10, 20, 30, 40),), page_index=3), Span(5, 200, 205, ((1, 2, 3, 4),), page_index=4)),
    score=0.5,
    chunk_id="c",
)
ANSWER = Answer(
    answer="Thirty days. As usual.",
    abstained=False,
    confidence=0.824,
    sentences=(Sentence("Thirty days.", "supported", (2,)), Sentence("As usual.", "unsupported", (), (9,))),
    citations=(CITATION, replace(CITATION, n=3)),
    model="m",
    usage=Usage(),
    timings_ms={"total": 2345.0},
)
PAGE = PageView(
    document=CITATION.document,
    version_id="v",
    index=3,
    count=5,
    number=4,
    locator=Locator("page", "4"),
    start=100,
    end=130,
    text="The term is thirty\ndays.  End.",
    width=595.0,
    height=842.0,
    layout=b"",
    mime="application/pdf",
)
INFO = DocumentInfo(
    id="d1",
    name="Lease Nord.pdf",
    path="file:///x/Lease%20Nord.pdf",
    collection="leases",
    state=DocumentState.QUARANTINED,
    mime="application/pdf",
    size=1_234_567,
    pages=3,
    chunks=9,
    reason="It is protected by a password.",
    added=datetime(2026, 2, 3, tzinfo=UTC),
    updated=datetime(2026, 2, 3, tzinfo=UTC),
    version="v",
)


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def _parsed(markup: str) -> _Tags:
    parser = _Tags()
    parser.feed(markup)
    parser.close()
    return parser


@given(st.text(alphabet=st.characters(exclude_categories=("Cs", "Cc"))))
def test_said_text_is_one_paragraph_and_nothing_else(text: str) -> None:
    parsed = _parsed(words.say(text))
    assert parsed.tags == ["p"]
    assert parsed.text == text


@pytest.mark.parametrize("text", ["<script>x</script>", '"><img src=x onerror=y>', "&lt;b&gt;", "</p><iframe>"])
def test_markup_in_text_stays_text(text: str) -> None:
    for markup in (words.say(text), answer_view.stage_line(text, text, 0)):
        assert set(_parsed(markup).tags) <= {"p", "span"}
        assert text in _parsed(markup).text


def test_an_exact_answer_marks_the_words_in_their_quote_and_says_what_it_is() -> None:
    quoted = replace(CITATION, quote="paid within thirty\n days", spans=(Span(4, 110, 134, page_index=3),))
    found = Exact("thirty days", 2, 0.9, (Span(4, 122, 134, ((1, 2, 3, 4),), page_index=3),))
    answer = replace(
        ANSWER,
        answer="thirty days",
        citations=(quoted,),
        sentences=(Sentence("“paid within thirty days”", "supported", (2,), verbatim=True),),
        exact=(found,),
    )
    data = answer_view.answer_data(answer)
    assert (data["style"], data["exact"]) == ("exact", ["thirty days"])
    assert data["styleLabel"] != answer_view.answer_data(replace(answer, style="fluent"))["styleLabel"]
    assert data["sentences"][0]["pieces"] == [
        {"text": "paid within ", "mark": False},
        {"text": "thirty\n days", "mark": True},
    ]
    shown = answer_view.page_data(PAGE, quoted, "/image", exact=quotes.exact_spans(answer, 2))
    assert shown["exact"] == [[1, 2, 3, 4]]
    assert quotes.exact_spans(answer, 3) == ()


QUOTED = replace(CITATION, quote="paid within thirty\n days", spans=(Span(4, 110, 134, page_index=3),))
EXACT = replace(ANSWER, citations=(QUOTED,), exact=(Exact("thirty days", 2, 0.9, (Span(4, 122, 134, page_index=3),)),))


@pytest.mark.parametrize(
    ("choice", "place"),
    [
        ({"verdict": "approved"}, ("approved", 122, 134)),
        ({"verdict": "rejected"}, ("rejected", 122, 134)),
        ({"verdict": "corrected", "citation": 2, "start": 0, "end": 11}, ("corrected", 110, 121)),
        ({"verdict": "corrected", "citation": 9, "start": 0, "end": 11}, None),
        ({"verdict": "corrected", "citation": 2, "start": 5, "end": 500}, None),
        ({"verdict": "corrected", "citation": 2, "start": -5, "end": 4}, None),
        ({"verdict": "corrected", "citation": 2, "start": "0", "end": None}, None),
        ({"verdict": "other"}, None),
        (None, None),
    ],
)
def test_what_the_browser_chose_becomes_a_judgement_or_nothing(
    choice: object, place: tuple[str, int, int] | None
) -> None:
    turn = answer_view.Turn("How long?", answer=EXACT)
    wanted = None if place is None else ApprovalRequest("How long?", place[0], "d1", 3, *place[1:])  # type: ignore[arg-type]
    assert answer_view.judgement(turn, choice) == wanted


def test_only_an_exact_answer_can_be_judged() -> None:
    assert answer_view.judgement(answer_view.Turn("How long?", answer=ANSWER), {"verdict": "approved"}) is None
    assert answer_view.answer_data(EXACT, judged="approved")["judged"] == "Kept as right"


def test_an_answer_says_in_words_what_is_not_supported() -> None:
    supported, unsupported = answer_view.answer_data(ANSWER)["sentences"]
    assert supported == {
        "before": "",
        "text": "Thirty days.",
        "pieces": [],
        "support": "supported",
        "label": "",
        "citations": [2],
        "invalid": [],
    }
    assert unsupported["label"] == "not supported by your documents"
    assert unsupported["invalid"] == [9]


def test_text_that_was_not_checked_sentence_by_sentence_counts_as_unsupported() -> None:
    (only,) = answer_view.answer_data(replace(ANSWER, sentences=()))["sentences"]
    assert (only["text"], only["support"]) == (ANSWER.answer, "unsupported")


def test_what_stands_in_no_quote_is_named_beside_its_sentence_even_when_the_rest_is_supported() -> None:
    first, second = ANSWER.sentences
    answer = replace(ANSWER, sentences=(replace(first, unfounded=("4,250 EUR",)), replace(second, unfounded=("May",))))
    labels = [s["label"] for s in answer_view.answer_data(answer)["sentences"]]
    assert labels == ["check: 4,250 EUR in no quote", "not supported by your documents: May in no quote"]


def test_an_answer_shows_what_is_asked_back_what_was_searched_and_what_to_beware_of() -> None:
    asked = Clarification("Which one is meant?", ("lease.pdf", "loan.pdf"))
    data = answer_view.answer_data(
        replace(ANSWER, abstained=True, clarify=asked, searched="2 documents", warnings=("memo.pdf: hidden words",))
    )
    assert data["asked"] == {"question": "Which one is meant?", "options": ["lease.pdf", "loan.pdf"]}
    assert data["searched"] == "2 documents"
    assert data["warnings"] == ["memo.pdf: hidden words"]
    assert answer_view.answer_data(ANSWER)["asked"] is None


@pytest.mark.parametrize(
    ("text", "sentences", "gaps"),
    [
        ("A b. C d.", ["A b.", "C d."], ["", " "]),
        ("A b.\n\nC d.\nE.", ["A b.", "C d.", "E."], ["", "\n\n", "\n\n"]),
        ("A b. A b.", ["A b.", "A b."], ["", " "]),
        ("something else", ["A b.", "C d."], ["", " "]),
    ],
)
def test_paragraphs_of_an_answer_stay_paragraphs(text: str, sentences: list[str], gaps: list[str]) -> None:
    assert answer_view.gaps(text, sentences) == gaps


def test_cited_and_other_passages_are_told_apart() -> None:
    first, second = answer_view.answer_data(ANSWER)["citations"]
    assert (first["n"], first["place"], first["quote"], first["cited"]) == (2, "page 4", "thirty days", True)
    assert (second["n"], second["cited"]) == (3, False)


def test_the_small_print_names_model_confidence_and_time() -> None:
    assert answer_view.answer_meta(ANSWER) == "m · confidence 82% · 2.3 s"
    assert answer_view.answer_meta(replace(ANSWER, model=EXTRACTIVE)) == "confidence 82% · 2.3 s"


def test_a_page_shows_only_the_boxes_and_words_of_its_own_spans() -> None:
    data = answer_view.page_data(PAGE, CITATION, "/files/d1/pages/3.png")
    assert data["boxes"] == [[10, 20, 30, 40]]
    assert [s["text"] for s in data["segments"] if s["mark"]] == ["s thirty\nda"]
    assert data["label"] == "Contract.pdf, page 4"
    other = answer_view.page_data(replace(PAGE, index=1), CITATION, "/files/d1/pages/1.png")
    assert (other["boxes"], other["quote"]) == ([], "")


def test_a_page_without_a_size_is_shown_as_text() -> None:
    assert answer_view.page_data(replace(PAGE, width=None, height=None), CITATION, "/x.png")["image"] is None
    assert answer_view.page_data(PAGE, None, None)["image"] is None


@given(st.text(max_size=40), st.lists(st.tuples(st.integers(-5, 45), st.integers(-5, 45)), max_size=6))
def test_segments_join_to_the_text_and_mark_exactly_the_spans(text: str, spans: list[tuple[int, int]]) -> None:
    pieces = quotes.segments(text, spans)
    assert "".join(p["text"] for p in pieces) == text
    marked = [p["mark"] for p in pieces for _ in p["text"]]
    assert marked == [any(s <= i < e for s, e in spans) for i in range(len(text))]
    assert all(p["text"] for p in pieces)


def test_a_document_row_has_words_for_state_size_and_day() -> None:
    row = document_view.document_row(INFO)
    assert (row["stateLabel"], row["size"], row["added"]) == ("set aside", "1.2 MB", "2026-02-03")
    assert row["reason"] == "It is protected by a password."


def test_every_state_and_outcome_has_a_label() -> None:
    assert set(document_view.STATE_LABELS) == {str(s) for s in DocumentState}
    for outcome in ("indexed", "unchanged", "failed", "quarantined", "skipped", "removed", "vanished"):
        assert document_view.OUTCOME_LABELS[outcome]


@pytest.mark.parametrize(
    ("words", "found"), [("", True), ("lease NORD", True), ("password leases", True), ("lease süd", False)]
)
def test_the_list_is_searched_by_name_collection_and_reason(words: str, found: bool) -> None:
    assert bool(document_view.matching([INFO], words)) is found


def test_uploads_are_named_as_they_were() -> None:
    uri = document_view.upload_uri("Plan ä/1.pdf")
    assert uri == "upload:///Plan%20%C3%A4%2F1.pdf"
    assert document_view.file_name(uri) == "Plan ä/1.pdf"
    assert document_view.file_name("/a%20b") == "/a%20b"


def test_outcomes_are_gathered_by_reason_with_the_bad_ones_first() -> None:
    torn = [FileOutcome(document_view.upload_uri(f"{n}.pdf"), "failed", reason="It is torn.") for n in range(3)]
    locked = FileOutcome("upload:///b.pdf", "quarantined", reason="It is locked.")
    good = [FileOutcome(f"upload:///{n}.txt", "indexed", pages=2) for n in range(9)]
    data = document_view.outcomes_data([*good, locked, *torn])
    assert data["total"] == "3 failed, 1 set aside, 9 added"
    assert [(g["outcome"], g["words"], g["open"]) for g in data["groups"]] == [
        ("failed", "It is torn.", True),
        ("quarantined", "It is locked.", True),
        ("indexed", "9 files, 18 pages", False),
    ]
    assert data["groups"][0]["names"] == ["0.pdf", "1.pdf", "2.pdf"]


def test_progress_of_an_upload_is_told_in_words() -> None:
    progress = IngestProgress(2, None, 30, 40, 10.0, failed=1, current=(document_view.upload_uri("Plan ä.pdf"),))
    assert document_view.progress_words(progress, 5) == "2 of 5 files, 30 pages, 3.0 pages/s, 1 failed, at Plan ä.pdf"
    assert document_view.progress_words(IngestProgress(1, None, 0, 0, 0.0), 1) == "1 of 1 file, 0 pages"


@pytest.mark.parametrize("state", DocumentState)
def test_each_state_is_found_under_all_and_one_more_filter(state: DocumentState) -> None:
    info = replace(INFO, state=state)
    assert next(name for name in document_view.STATE_FILTERS if document_view.in_state([info], name)) == "All"
    assert sum(bool(document_view.in_state([info], name)) for name in document_view.STATE_FILTERS) == 2


def test_details_name_origin_pages_versions_and_what_is_inside() -> None:
    pages = (
        PageFacts(0, 1, Locator("page", "1"), 1200, 3),
        PageFacts(1, 2, Locator("page", "2"), 1, 1, ocr_confidence=0.412),
        PageFacts(2, 3, Locator("page", "3"), 9, 1, ocr_confidence=0.95),
    )
    version = DocumentVersion("v", INFO.state, INFO.mime, 10, 3, 9, "r", None, INFO.added, current=True)
    inside = DocumentRef("m1", "letter.txt", "x")
    data = document_view.detail_data(DocumentDetail(INFO, (version,), pages, members=(inside,)), None)
    assert ["Came from", "/x/Lease Nord.pdf"] in data["facts"]
    assert data["reason"] == "It is protected by a password."
    assert [p["label"] for p in data["pages"]] == ["Page 1", "Page 2", "Page 3"]
    assert data["pages"][0]["image"] == "/files/d1/pages/0.png?dpi=36"
    assert [(p["ocr"], p["doubtful"]) for p in data["pages"]] == [
        ("", False), ("OCR 41% sure", True), ("OCR 95% sure", False)
    ]  # fmt: skip
    assert data["versions"] == [["2026-02-03 00:00", "set aside", "10 B", "3", "9", "current"]]
    assert (data["parent"], data["members"]) == (None, [{"id": "m1", "name": "letter.txt"}])
    assert (data["hasPassages"], data["passages"]) == (True, None)


def test_details_of_a_format_without_pictures_show_none() -> None:
    info = replace(INFO, mime="text/plain", path=document_view.upload_uri("a.txt"))
    data = document_view.detail_data(DocumentDetail(info, (), (PageFacts(0, None, Locator("part", "1"), 5, 1),)), None)
    assert data["pages"][0]["image"] is None
    assert data["pages"][0]["label"] == "Part 1"
    assert ["Came from", "Uploaded in the browser"] in data["facts"]


@pytest.mark.parametrize(
    ("numbers", "where"), [((4, 6), "Pages 4 to 6 › Term"), ((4,), "Page 4 › Term"), ((), "Page 4 › Term")]
)
def test_a_passage_says_where_it_stands(numbers: tuple[int, ...], where: str) -> None:
    chunk = StoredChunk(
        "c", CITATION.document, "v", 0, 0, 9, "The term.", ("Term",), (3,), numbers, Locator("page", "4")
    )
    (shown,) = document_view.detail_data(DocumentDetail(INFO, (), ()), [chunk])["passages"]
    assert shown == {"where": where, "text": "The term."}


def test_a_receipt_names_what_was_destroyed_and_what_could_not_be() -> None:
    receipt = DeletionReceipt("d", INFO.added, "local", {"index_points": 1200}, ("older backups",))
    assert document_view.receipt_lines(receipt) == ["Index points destroyed: 1,200", "Out of reach: older backups"]


def test_history_holds_the_last_answered_turns_only() -> None:
    turns = [answer_view.Turn(f"q{i}", answer=replace(ANSWER, answer=f"a{i}")) for i in range(5)]
    turns[3].answer = replace(ANSWER, abstained=True)
    turns.append(answer_view.Turn("stopped", partial="half", stopped=True))
    found = [(m.role, m.content) for m in answer_view.history(turns)]
    assert found == [(r, f"{r[0].replace('u', 'q')}{i}") for i in (1, 2, 4) for r in ("user", "assistant")]


def test_addresses_quote_ids() -> None:
    assert image_url("a/../b?c", 2) == "/files/a%2F..%2Fb%3Fc/pages/2.png?dpi=110"
    assert original_url('"><x') == "/files/%22%3E%3Cx/original"
