"""What a rule withholds reaches its reader nowhere: text, quotes, answers, prompts, names, page images, originals."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from strongroom.access import LOCAL_USER
from strongroom.app.appliance import Appliance
from strongroom.app.engine import LocalEngine
from strongroom.app.personal import scan
from strongroom.catalog.personal import BLACK
from strongroom.config import load
from strongroom.errors import NotFoundError, NotPermittedError, StrongroomError, UsageError
from strongroom.layout import boxes_for
from strongroom.types import (
    ApprovalRequest,
    AskRequest,
    DocumentInfo,
    IngestRequest,
    SearchRequest,
    StoredChunk,
    Withholding,
)
from strongroom.whole import Field, WholeRequest
from strongroom.wire import to_data
from tests.fakes import FakeModels
from tests.ingest_samples import text_pdf

NAME, MAIL, IBAN = "Darcy Davenport", "darcy.d@example.org", "DE89370400440532013000"
WITHHELD = (NAME, "Davenport", MAIL, IBAN)
LINES = (
    "Personnel file of the night watch.",
    f"The salary of Mr {NAME} is paid monthly to IBAN {IBAN}.",
    f"The watchman's address for the tender is {MAIL} in the evening.",
    "Mr Davenport guards the eastern gate of the warehouse.",
)


class Models(FakeModels):
    """Keeps the one language model, so that its prompts can be looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.model = super().llm("capable")

    def llm(self, model_id: str) -> Any:
        return self.model


def opened(folder: Path, **settings: Any) -> Appliance:
    models = Models()
    return Appliance(
        load({"data_dir": folder, "abstain_below": 0.0, **settings}).settings, purpose="test", models=models
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("in")
    text_pdf(place / f"{NAME.replace(' ', '_')}.pdf", "\n".join(LINES))
    (place / "note.md").write_text(f"# {NAME}\n\nThe night watch of {NAME} ends at six; write to {MAIL}.\n")
    (place / "plain.txt").write_text("The eastern gate of the warehouse is painted green.\n")
    return place


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Iterator[Appliance]:
    made = opened(tmp_path_factory.mktemp("own") / "data", detect_personal_data=True)
    made.catalog.ensure_user("vera", "viewer", ("staff",))
    everything = IngestRequest((str(folder),), groups=("staff",), collection="personnel")
    made.as_user(LOCAL_USER).ingest(everything, on_event=lambda _event: None)
    yield made
    made.close()


@pytest.fixture
def appliance(shared: Appliance) -> Iterator[Appliance]:
    """The documents of `folder`, and no rule."""
    yield shared
    admin = shared.as_user(LOCAL_USER)
    for rule in admin.withholding():
        admin.withhold(rule, remove=True)


@pytest.fixture
def vera(appliance: Appliance) -> LocalEngine:
    return appliance.as_user("vera")


def withhold(appliance: Appliance, *kinds: Any, collection: str | None = "personnel") -> None:
    appliance.as_user(LOCAL_USER).withhold(Withholding("viewer", kinds, collection))


def by_ending(engine: LocalEngine, ending: str) -> DocumentInfo:
    (found,) = [d for d in engine.documents() if d.mime.endswith(ending)]
    return found


def everything_read(engine: LocalEngine, models: Models | None = None) -> str:
    """All that a reader can get out of an engine as words, in one string."""
    seen: list[Any] = [to_data(engine.documents(), kind=list[DocumentInfo]), engine.collections(), engine.status()]
    for question in ("Where is the salary paid to?", f"What is the address for the tender of {NAME}?"):
        seen.append(to_data(engine.search(SearchRequest(question))))
        for style in ("exact", "fluent"):
            events = list(engine.ask(AskRequest(question, style=style)))  # type: ignore[arg-type]
            seen += [repr(event) for event in events]
    for task in ("summarise", "timeline", "extract"):
        fields = (Field("salary account"),) if task == "extract" else ()
        asked = WholeRequest(task=task, fields=fields)  # type: ignore[arg-type]
        seen += [repr(event) for event in engine.whole(asked)]
    for document in engine.documents():
        seen.append(to_data(engine.document(document.id)))
        seen.append(to_data(engine.details(document.id)))
        seen.append(to_data(engine.chunks(document.id), kind=list[StoredChunk]))
        seen += [repr(engine.page(document.id, n)) for n in range(document.pages)]
    seen += [repr(engine.doubtful_pages(1.0)), repr(engine.approvals())]
    ids = tuple(document.id for document in engine.documents())
    columns = (Field("salary", question="Where is the salary paid to?"), Field("tender", question="Whose address?"))
    for whole in (
        WholeRequest(task="summarise"),
        WholeRequest(task="summarise", model="capable"),
        WholeRequest(task="compare", documents=ids),
        WholeRequest(task="extract", fields=columns),
        WholeRequest(task="extract", fields=columns, model="capable"),
        WholeRequest(task="sheet", documents=ids, questions=("Where is the salary paid to?",)),
        WholeRequest(task="timeline"),
    ):
        seen += [repr(event) for event in engine.whole(whole)]
    return json.dumps([s if isinstance(s, (str, list, dict)) else repr(s) for s in seen], ensure_ascii=False)


def test_findings_are_counted_by_document(vera: LocalEngine) -> None:
    assert by_ending(vera, "pdf").personal == {"name": 2, "email": 1, "iban": 1}
    assert by_ending(vera, "plain").personal == {}


def test_without_a_rule_everything_is_shown(vera: LocalEngine) -> None:
    seen = everything_read(vera)
    assert [value for value in WITHHELD if value not in seen] == []
    assert BLACK not in seen


def test_what_is_withheld_is_on_no_path_and_in_no_prompt(appliance: Appliance, vera: LocalEngine) -> None:
    # GIVEN a judgement about the words, made while they could be seen
    admin = appliance.as_user(LOCAL_USER)
    pdf = by_ending(admin, "pdf")
    text = admin.page(pdf.id, 0).text
    at = text.index(IBAN)
    admin.approve(ApprovalRequest(f"Where is {NAME} paid?", "approved", pdf.id, 0, at, at + len(IBAN)))
    assert IBAN in everything_read(admin)  # what was worked out over whole documents is kept from now on
    # WHEN a rule withholds three kinds from viewers
    withhold(appliance, "name", "email", "iban")
    appliance.models.model.prompts.clear()  # type: ignore[attr-defined]
    seen = everything_read(vera)
    prompts = "\n".join(m.content for call in appliance.models.model.prompts for m in call)  # type: ignore[attr-defined]
    # THEN none of the words comes out, but in the reader's own question
    asked = f"What is the address for the tender of {NAME}?"
    for value in WITHHELD:
        assert value not in seen
        assert value not in prompts.replace(asked, "")
    assert prompts != ""
    # AND all the rest does, at the same places
    assert "guards the eastern gate of the warehouse" in seen
    shown = vera.page(pdf.id, 0)
    assert len(shown.text) == len(text)
    assert shown.text.replace(BLACK, "") in text or BLACK in shown.text
    assert [text[a:b] for a, b in shown.withheld] == [NAME, IBAN, MAIL, "Davenport"]
    # AND an administrator sees it as before
    assert IBAN in everything_read(admin)


def test_a_name_in_the_name_of_the_file_goes_too(appliance: Appliance, vera: LocalEngine) -> None:
    withhold(appliance, "name")
    names = {d.name for d in vera.documents()}
    assert names == {f"{BLACK * len(NAME)}.pdf", "note.md", "plain.txt"}
    assert all("Davenport" not in d.path for d in vera.documents())


def test_on_the_page_image_the_words_are_black(appliance: Appliance, vera: LocalEngine) -> None:
    admin = appliance.as_user(LOCAL_USER)
    pdf = by_ending(admin, "pdf")
    view = admin.page(pdf.id, 0)
    ((x0, y0, x1, y1),) = boxes_for(view.layout, view.text.index(IBAN), view.text.index(IBAN) + len(IBAN))
    withhold(appliance, "iban")
    ink = {}
    for who in (admin, vera):
        image = Image.open(io.BytesIO(who.page_image(pdf.id, 0, dpi=72))).convert("L")
        box = image.crop((int(x0), int(y0), int(x1), int(y1)))
        ink[who] = sum(1 for value in box.tobytes() if value < 64) / (box.width * box.height)
    assert ink[vera] == 1.0
    assert 0.0 < ink[admin] < 0.6


def test_the_original_is_refused_where_it_holds_what_is_withheld(appliance: Appliance, vera: LocalEngine) -> None:
    withhold(appliance, "iban")
    with pytest.raises(NotPermittedError, match="withheld"):
        vera.original(by_ending(vera, "pdf").id)
    refused = list(appliance.audit.entries())[-1]
    assert (refused.actor, refused.action, refused.outcome) == ("vera", "export", "refused")
    assert b"painted green" in vera.original(by_ending(vera, "plain").id)


def test_a_collections_own_rule_replaces_the_one_for_all(appliance: Appliance, vera: LocalEngine) -> None:
    withhold(appliance, "iban", "email", collection=None)
    assert MAIL not in everything_read(vera)
    withhold(appliance, "iban")
    seen = everything_read(vera)
    assert MAIL in seen
    assert IBAN not in seen
    withhold(appliance)
    assert IBAN in everything_read(vera)
    appliance.as_user(LOCAL_USER).withhold(Withholding("viewer", (), "personnel"), remove=True)
    assert IBAN not in everything_read(vera)


def test_a_document_that_was_not_looked_into_is_withheld_whole_until_it_is(tmp_path: Path, folder: Path) -> None:
    # GIVEN documents that were ingested without a search, and a rule made later
    appliance = opened(tmp_path / "later")
    try:
        appliance.catalog.ensure_user("vera", "viewer", ("staff",))
        request = IngestRequest((str(folder),), groups=("staff",), collection="personnel")
        appliance.as_user(LOCAL_USER).ingest(request, on_event=lambda _event: None)
        vera = appliance.as_user("vera")
        assert IBAN in everything_read(vera)
        withhold(appliance, "card")
        # THEN nothing of them is shown, nor drawn, nor given away
        seen = everything_read(vera)
        assert "warehouse" not in seen
        assert "plain" not in {d.name for d in vera.documents()}
        pdf = by_ending(vera, "pdf")
        with pytest.raises(NotFoundError):
            vera.page_image(pdf.id, 0)
        with pytest.raises(NotPermittedError):
            vera.original(pdf.id)
        # WHEN they are looked into, all is shown but what the rule names
        steps: list[tuple[int, int]] = []
        assert scan(appliance, lambda done, total: steps.append((done, total))) == (3, [])
        assert steps == [(1, 3), (2, 3), (3, 3)]
        assert IBAN in everything_read(vera)
        withhold(appliance, "iban")
        assert IBAN not in everything_read(vera)
        assert scan(appliance, lambda _done, _total: None) == (0, [])
    finally:
        appliance.close()


def test_a_rule_makes_later_ingests_look_whatever_the_settings_say(tmp_path: Path, folder: Path) -> None:
    appliance = opened(tmp_path / "rule")
    try:
        appliance.catalog.ensure_user("vera", "viewer", ("staff",))
        withhold(appliance, "iban", collection=None)
        request = IngestRequest((str(folder),), groups=("staff",))
        appliance.as_user(LOCAL_USER).ingest(request, on_event=lambda _event: None)
        seen = everything_read(appliance.as_user("vera"))
        assert IBAN not in seen
        assert MAIL in seen
    finally:
        appliance.close()


def test_a_copy_keeps_what_was_found_in_its_twin(appliance: Appliance, folder: Path) -> None:
    copy = folder / "copy.pdf"
    copy.write_bytes((folder / f"{NAME.replace(' ', '_')}.pdf").read_bytes())
    admin = appliance.as_user(LOCAL_USER)
    admin.ingest(IngestRequest((str(folder),), groups=("staff",), collection="personnel"), on_event=lambda _event: None)
    withhold(appliance, "iban")
    (found,) = [d for d in appliance.as_user("vera").documents() if d.name == "copy.pdf"]
    assert found.personal == {"name": 2, "email": 1, "iban": 1}
    assert IBAN not in everything_read(appliance.as_user("vera"))
    copy.unlink()
    admin.delete(found.id)


def test_rules_are_for_administrators_and_on_record(appliance: Appliance, vera: LocalEngine) -> None:
    for attempt in (vera.withholding, lambda: vera.withhold(Withholding("viewer", ()))):
        with pytest.raises(NotPermittedError):
            attempt()
    withhold(appliance, "iban", "name")
    entry = list(appliance.audit.entries())[-1]
    assert (entry.action, entry.detail["role"], entry.detail["kinds"]) == ("privacy.rule", "viewer", ["iban", "name"])
    admin = appliance.as_user(LOCAL_USER)
    assert admin.withholding() == [Withholding("viewer", ("name", "iban"), "personnel")]
    bad: list[tuple[Withholding, type[StrongroomError]]] = [
        (Withholding("viewer", ("shoe size",)), UsageError),  # type: ignore[arg-type]
        (Withholding("viewer", ("iban",), "nonsuch"), NotFoundError),
        (Withholding("vieweer", ("iban",)), UsageError),
    ]
    for rule, error in bad:
        with pytest.raises(error):
            admin.withhold(rule)


def test_no_word_that_was_found_stands_in_the_catalogue_in_the_clear(appliance: Appliance) -> None:
    withhold(appliance, "iban")
    for file in appliance.settings.data_dir.glob("catalog.sqlite*"):
        data = file.read_bytes()
        assert [value for value in WITHHELD if value.encode() in data] == []
