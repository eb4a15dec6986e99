"""Work over whole documents for one user: what may be read, on record before it is, and the parts that the work needs.

Must not read a document that the user may not: which documents there are is asked of the catalogue, and so is each
chunk again when its document is opened.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from strongroom.app.engine import as_id
from strongroom.errors import NotFoundError, StrongroomError
from strongroom.types import AnswerEvent, AskRequest, DocumentInfo, DocumentState, ErrorEvent
from strongroom.whole import WholeEvent, WholeRequest

if TYPE_CHECKING:
    from retrieval.whole.desk import Desk
    from strongroom.access import AccessFilter
    from strongroom.app.appliance import Appliance
    from strongroom.catalog import Catalog
    from strongroom.ports import ChatModel
    from strongroom.types import Answer, Style

_ON_RECORD = 200  # document ids in one entry of the audit log


@dataclass(frozen=True, slots=True)
class _Kept:
    """`retrieval.whole.desk.Kept` over the catalogue."""

    catalog: Catalog

    def get(self, version_id: str, name: str) -> str | None:
        return self.catalog.kept_work(version_id, name)

    def put(self, version_id: str, name: str, body: str) -> None:
        self.catalog.keep_work(version_id, name, body)


def whole(
    appliance: Appliance, user: str, request: WholeRequest, *, cancel: threading.Event | None = None
) -> Iterator[WholeEvent]:
    """Carry the request out as `user`. What will be read is on record before the first word of it is."""
    from retrieval.whole.run import check, run

    check(request)
    appliance.tell_index()
    try:
        access = appliance.catalog.access_for(user, request.collection)
    except NotFoundError:
        appliance.audit.append(user, request.task, outcome="refused")
        raise
    documents, left_out = _chosen(appliance, user, request, access)
    style: Style = "fluent" if request.model is not None else appliance.style()

    scope = replace(access, documents=frozenset(d.id for d in documents)) if request.documents else access

    def ask(question: str) -> Answer:
        answerer = appliance.answerer(style, access, request.model)
        one = AskRequest(question, collection=request.collection, model=request.model)
        for event in answerer.answer(one, access=scope, cancel=cancel):
            if isinstance(event, AnswerEvent):
                cited = list(dict.fromkeys(c.document.id for c in event.answer.citations))
                words = appliance.audit.question(question, appliance.settings.audit_questions)
                appliance.audit.append(
                    user,
                    "sheet",
                    outcome="ok",
                    **words,
                    abstained=event.answer.abstained,
                    model=event.answer.model,
                    documents=cited,
                )
                return event.answer
            if isinstance(event, ErrorEvent):
                raise StrongroomError(event.message, hint=event.hint)
        raise StrongroomError("an answer broke off", hint="Run the sheet again.")

    read = [document.id for document in documents]
    if request.task != "sheet" or request.documents:
        for at in range(0, len(read), _ON_RECORD):
            appliance.audit.append(user, request.task, outcome="ok", documents=read[at : at + _ON_RECORD])
    yield from run(request, documents, _desk(appliance, request, access), ask, left_out=left_out, cancel=cancel)


def _chosen(
    appliance: Appliance, user: str, request: WholeRequest, access: AccessFilter
) -> tuple[list[DocumentInfo], list[tuple[str, str]]]:
    """The documents to work on, and names and reasons of those among all that have no text.

    Raises `NotFoundError` for one that was named and is not there or may not be read, on record.
    """
    catalog = appliance.catalog
    if not request.documents:
        if request.task == "sheet":
            return [], []  # its questions search
        everything = catalog.documents(access)
        readable = [d for d in everything if d.state == DocumentState.INDEXED and d.chunks]
        return readable, [(d.name, d.reason or d.state) for d in everything if d.state != DocumentState.INDEXED]
    found = []
    for document_id in dict.fromkeys(request.documents):
        try:
            found.append(catalog.document(document_id, access))
        except NotFoundError:
            appliance.audit.append(user, request.task, as_id(document_id), outcome="refused")
            raise
    for document in found:
        if document.state != DocumentState.INDEXED or not document.chunks:
            raise NotFoundError(
                f"{document.name} has no text that can be read", hint=document.reason or "See `documents show`."
            )
    return found, []


def _desk(appliance: Appliance, request: WholeRequest, access: AccessFilter) -> Desk:
    from retrieval.whole.desk import Desk

    llm = _writer(appliance, request)
    return Desk(
        chunks=lambda document_id: appliance.catalog.chunks_of(document_id, access),
        pages=lambda _document_id, version_id, index: appliance.catalog.cited_page(version_id, index, access),
        vectors=appliance.index.vectors,
        embedder=appliance.embedder,
        reader=appliance.reader_for(access),
        llm=llm,
        kept=_Kept(appliance.catalog),
        nli=appliance.nli if llm is not None else None,
    )


def _writer(appliance: Appliance, request: WholeRequest) -> ChatModel | None:
    """The language model that writes: the one that was asked for, or the configured one where it writes well."""
    if request.task not in ("summarise", "extract"):
        return None
    if request.model is None and appliance.style() != "fluent":
        return None
    return appliance.llm(request.model)
