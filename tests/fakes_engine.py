"""A small, deterministic `Engine` whose answers depend on its documents, for tests of the server and the UI.

It keeps documents in memory, reads PDFs by PDFium and everything else as UTF-8 text, finds passages by shared words
and "writes" an answer by quoting. No models, no index.
"""

from __future__ import annotations

import hashlib
import io
import re
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from retrieval.whole.desk import Desk
from retrieval.whole.run import check, run
from strongroom.engine import Keeping, Permissions
from strongroom.errors import CancelledError, NotFoundError, NotPermittedError, UsageError
from strongroom.layout import boxes_for, pack_words
from strongroom.types import (
    MOST_HITS,
    Answer,
    AnswerEvent,
    Approval,
    ApprovalRequest,
    AskEvent,
    AskRequest,
    Citation,
    CitationsEvent,
    DeletionReceipt,
    DocumentDetail,
    DocumentInfo,
    DocumentRef,
    DocumentState,
    DocumentVersion,
    DoubtfulPage,
    FileOutcome,
    IngestProgress,
    IngestRequest,
    IngestSummary,
    Locator,
    OcrMode,
    PageFacts,
    PageView,
    SearchHit,
    SearchRequest,
    SearchResult,
    Sentence,
    SourceFile,
    Span,
    StageEvent,
    Status,
    StoredChunk,
    TextEvent,
    Usage,
    VerifyReport,
    Watch,
    Withholding,
)
from strongroom.whole import WholeEvent, WholeRequest
from strongroom.wire import shown_uri
from tests.fakes import FakeChatModel, FakeEmbedder, FakeReader

_DRAWING = threading.Lock()  # PDFium takes one thread at a time, and a page of thumbnails asks from several

_EPOCH = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
_STOP = frozenset(["the", "a", "an", "of", "is", "are", "what", "which", "who", "when", "how", "to", "in", "on", "for"])


def make_pdf(pages: Sequence[Sequence[str]]) -> bytes:
    """A PDF with one text line for each string, 12 point Helvetica on A4, made by hand so that tests need no tool."""
    objects: list[bytes] = [b"", b"", b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    kids = []
    for lines in pages:
        escaped = [line.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)") for line in lines]
        body = "BT /F1 12 Tf 72 770 Td 18 TL\n" + "".join(f"({line}) Tj T*\n" for line in escaped) + "ET"
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(body), body.encode("latin-1")))
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents %d 0 R "
            b"/Resources << /Font << /F1 3 0 R >> >> >>" % len(objects)
        )
        kids.append(b"%d 0 R" % len(objects))
    objects[0] = b"<< /Type /Catalog /Pages 2 0 R >>"
    objects[1] = b"<< /Type /Pages /Kids [%s] /Count %d >>" % (b" ".join(kids), len(kids))
    out, offsets = bytearray(b"%PDF-1.4\n"), []
    for number, content in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    return bytes(out)


@dataclass(frozen=True, slots=True)
class _Page:
    start: int
    end: int
    number: int | None
    width: float | None
    height: float | None
    layout: bytes


@dataclass(slots=True)
class _Document:
    info: DocumentInfo
    data: bytes
    text: str
    pages: list[_Page]

    @property
    def ref(self) -> DocumentRef:
        return DocumentRef(self.info.id, self.info.name, self.info.path)


class KeptInMemory:
    """`retrieval.whole.desk.Kept` in a dictionary."""

    def __init__(self) -> None:
        self.bodies: dict[tuple[str, str], str] = {}

    def get(self, version_id: str, name: str) -> str | None:
        return self.bodies.get((version_id, name))

    def put(self, version_id: str, name: str, body: str) -> None:
        self.bodies[version_id, name] = body


@dataclass(slots=True)
class FakeEngine:
    """`pause` is slept before each word of an answer and each ingested file, in seconds."""

    pause: float = 0.0
    asked_cancel: threading.Event = field(default_factory=threading.Event)  # set when an answer was stopped early
    requests: list[object] = field(default_factory=list)
    rules: dict[tuple[str | None, str], Withholding] = field(default_factory=dict)
    ocr_modes: list[str | None] = field(default_factory=list)  # what each ingest and each comparison asked for
    _documents: dict[str, _Document] = field(default_factory=dict)
    _watches: dict[str, Watch] = field(default_factory=dict)
    _approvals: list[Approval] = field(default_factory=list)
    _kept: KeptInMemory = field(default_factory=lambda: KeptInMemory())

    # -------------------------------------------------------------------------------- ingest

    def ingest(self, request: IngestRequest, *, on_event, cancel=None) -> IngestSummary:  # type: ignore[no-untyped-def]
        roots = tuple(Path(path).absolute().as_uri() for path in request.paths)
        return self.ingest_files(walk(request.paths), request.options(roots), on_event=on_event, cancel=cancel)

    def ingest_files(self, files, options, *, on_event, cancel=None) -> IngestSummary:  # type: ignore[no-untyped-def]
        self.ocr_modes.append(options.ocr)
        collection, dry_run = options.collection, options.dry_run
        counts: Counter[str] = Counter()
        pages = chunks = 0
        seen = set()

        def report(outcome: FileOutcome) -> None:
            nonlocal pages, chunks
            counts[outcome.outcome] += 1
            pages, chunks = pages + outcome.pages, chunks + outcome.chunks
            on_event(outcome)
            on_event(IngestProgress(counts.total(), None, pages, chunks, 0.5, "embed"))

        for file in files:
            if cancel is not None and cancel.is_set():
                raise CancelledError("the ingest was cancelled")
            if isinstance(file, FileOutcome):
                seen.add(file.path)
                report(file)
                continue
            time.sleep(self.pause)
            seen.add(shown_uri(file.uri))
            report(self._take(file, collection, dry_run=dry_run))
        for info in self.documents(collection):
            path = shown_uri(info.path)
            if path not in seen and any(path.startswith(shown_uri(root)) for root in options.roots):
                if options.prune and not dry_run:
                    self.delete(info.id)
                report(FileOutcome(path, "removed" if options.prune else "vanished", info.id))
        return IngestSummary(dict(counts), counts.total(), pages, chunks, 0.5, dry_run)

    def _take(self, file: SourceFile, collection: str, *, dry_run: bool) -> FileOutcome:
        data = Path(file.path).read_bytes()
        shown = shown_uri(file.uri)
        if b"\0BAD" in data:
            return FileOutcome(
                shown, "quarantined", reason="The file is damaged. Open it in its program and save it again."
            )
        document_id = hashlib.sha256(f"{collection}\n{file.uri}".encode()).hexdigest()[:16]
        version = hashlib.sha256(data).hexdigest()
        known = self._documents.get(document_id)
        if known is not None and known.info.version == version:
            return FileOutcome(shown, "unchanged", document_id, known.info.pages, known.info.chunks)
        if dry_run:
            return FileOutcome(shown, "indexed", reason="Would be read.")
        text, pages, mime = _parse(data)
        info = DocumentInfo(
            id=document_id, name=file.name, path=file.uri, collection=collection, state=DocumentState.INDEXED,
            mime=mime, size=len(data), pages=len(pages), chunks=len(_sentences(text)), reason=None,
            added=_EPOCH, updated=_EPOCH, version=version,
        )  # fmt: skip
        self._documents[document_id] = _Document(info, data, text, pages)
        return FileOutcome(shown, "indexed", document_id, info.pages, info.chunks)

    def unchanged(
        self, offers: Iterable[tuple[str, str]], *, collection: str, ocr: OcrMode | None = None
    ) -> dict[str, FileOutcome]:
        self.ocr_modes.append(ocr)
        found = {}
        for uri, sha256 in offers:
            for document in self._documents.values():
                i = document.info
                if (i.collection, i.path, i.version) == (collection, uri, sha256):
                    found[uri] = FileOutcome(shown_uri(i.path), "unchanged", i.id, i.pages, i.chunks)
        return found

    # -------------------------------------------------------------------------------- questions

    def _passages(self, question: str, collection: str | None) -> list[tuple[float, _Document, int, int]]:
        words = set(re.findall(r"\w+", question.lower())) - _STOP
        found = []
        for document in self._documents.values():
            if collection is not None and document.info.collection != collection:
                continue
            for start, end in _sentences(document.text):
                has = set(re.findall(r"\w+", document.text[start:end].lower()))
                if words:
                    found.append((round(len(words & has) / len(words), 4), document, start, end))
        return sorted((p for p in found if p[0] > 0), key=lambda p: (-p[0], p[1].info.name, p[2]))

    def search(self, request: SearchRequest) -> SearchResult:
        self.requests.append(request)
        if not request.question.strip():
            raise UsageError("the question is empty", hint="Ask something.")
        if request.k > MOST_HITS:
            raise UsageError(f"k is {request.k}", hint="Ask for fewer.")
        hits = []
        for score, document, start, end in self._passages(request.question, request.collection)[: request.k]:
            page = document.pages[self._page_of(document, start)]
            numbers = () if page.number is None else (page.number,)
            text = document.text[start:end]
            hits.append(SearchHit(document.ref, numbers, _locator(page), text, score, f"{document.info.id}:{start}"))
        return SearchResult(tuple(hits), {"total": 1.0}, id=request.id)

    def _citations(self, request: AskRequest) -> tuple[Citation, ...]:
        out = []
        for n, (score, document, start, end) in enumerate(self._passages(request.question, request.collection)[:3], 1):
            index = self._page_of(document, start)
            page = document.pages[index]
            span = Span(page.number, start, end, boxes_for(page.layout, start, end), page_index=index)
            out.append(
                Citation(n, document.ref, page.number, _locator(page), document.text[start:end], (span,), score,
                         f"{document.info.id}:{start}")
            )  # fmt: skip
        return tuple(out)

    def ask(self, request: AskRequest, *, cancel: threading.Event | None = None) -> Iterator[AskEvent]:
        self.requests.append(request)
        if not request.question.strip():
            raise UsageError("the question is empty", hint="Ask something.")
        finished = False
        try:
            yield StageEvent("retrieving")
            citations = self._citations(request)
            yield StageEvent("reading", f"{len(citations)} passages")
            yield CitationsEvent(citations)
            best = citations[0].score if citations else 0.0
            sentences: tuple[Sentence, ...]
            if best < 0.5:
                answer, sentences = "Not found in your documents.", ()
            else:
                quote = " ".join(citations[0].quote.split())
                sentences = (
                    Sentence(quote, "supported", (1,)),
                    Sentence(
                        "Other passages touch on this as well.", "partial", tuple(c.n for c in citations[1:3]), (9,)
                    ),
                    Sentence("This is customary in the trade.", "unsupported"),
                )
                answer = " ".join(s.text for s in sentences)
                yield StageEvent("writing")
                for word in re.findall(r"\S+\s*", answer):
                    if cancel is not None and cancel.is_set():
                        return
                    time.sleep(self.pause)
                    yield TextEvent(word)
            yield StageEvent("checking")
            finished = True
            yield AnswerEvent(
                Answer(answer, best < 0.5, best, sentences, citations, "fake-1", Usage(10, len(answer.split())),
                       {"retrieve": 1.0, "first_token": 2.0, "total": 3.0}, id=request.id, style="fluent")
            )  # fmt: skip
        finally:
            if not finished:
                self.asked_cancel.set()

    def desk(self, chosen: Sequence[DocumentInfo], llm: FakeChatModel | None = None) -> Desk:
        """What work over these documents needs."""
        embedder = FakeEmbedder()
        chunks = {c.id: c for d in chosen for c in self.chunks(d.id)}
        return Desk(
            chunks=lambda document_id: [c for c in chunks.values() if c.document.id == document_id],
            pages=lambda document_id, _version, index: self.page(document_id, index),
            vectors=lambda ids: {i: embedder.embed_query(chunks[i].text) for i in ids},
            embedder=embedder,
            reader=FakeReader(),
            llm=llm,
            kept=self._kept,
        )

    def whole(self, request: WholeRequest, *, cancel: threading.Event | None = None) -> Iterator[WholeEvent]:
        """The product's own work over this engine's documents, with models that are fakes."""
        self.requests.append(request)
        check(request)
        if request.documents:
            chosen = [self.document(document_id) for document_id in request.documents]
        else:
            chosen = self.documents(request.collection)

        def ask(question: str) -> Answer:
            *_, last = self.ask(AskRequest(question, collection=request.collection))
            assert isinstance(last, AnswerEvent)
            return last.answer

        for event in run(request, chosen, self.desk(chosen), ask, cancel=cancel):
            time.sleep(self.pause)
            yield event

    # -------------------------------------------------------------------------------- documents

    def documents(self, collection: str | None = None) -> list[DocumentInfo]:
        infos = [d.info for d in self._documents.values() if collection in (None, d.info.collection)]
        return sorted(infos, key=lambda i: (i.name, i.id))

    def _get(self, document_id: str) -> _Document:
        if document_id not in self._documents:
            raise NotFoundError(f"document {document_id} does not exist", hint="Look at the list.")
        return self._documents[document_id]

    def document(self, document_id: str) -> DocumentInfo:
        return self._get(document_id).info

    def details(self, document_id: str) -> DocumentDetail:
        document = self._get(document_id)
        i = document.info
        facts = tuple(
            PageFacts(n, p.number, _locator(p), p.end - p.start, 1, 0.5 if b"SCAN" in document.data else None)
            for n, p in enumerate(document.pages)
        )
        version = DocumentVersion(
            i.version, i.state, i.mime, i.size, i.pages, i.chunks, "fake", i.reason, i.added, current=not i.reason
        )
        return DocumentDetail(i, (version,), facts)

    def chunks(self, document_id: str) -> list[StoredChunk]:
        self.requests.append(("chunks", document_id))
        d = self._get(document_id)
        return [
            StoredChunk(f"{document_id}-{n}", d.ref, d.info.version, n, start, end, d.text[start:end], ("Heading",),
                        (self._page_of(d, start),), (), _locator(d.pages[self._page_of(d, start)]))
            for n, (start, end) in enumerate(_sentences(d.text))
        ]  # fmt: skip

    def withholding(self) -> list[Withholding]:
        return list(self.rules.values())

    def withhold(self, rule: Withholding, *, remove: bool = False) -> None:
        self.rules.pop((rule.collection, rule.role), None)
        if not remove:
            self.rules[rule.collection, rule.role] = rule

    def doubtful_pages(self, below: float, *, collection: str | None = None) -> list[DoubtfulPage]:
        return [
            DoubtfulPage(self._get(i.id).ref, p.index, p.locator, p.ocr_confidence)
            for i in self.documents(collection)
            for p in self.details(i.id).pages
            if p.ocr_confidence is not None and p.ocr_confidence < below
        ]

    def page(self, document_id: str, index: int) -> PageView:
        document = self._get(document_id)
        if not 0 <= index < len(document.pages):
            raise NotFoundError(f"page {index} of {document_id} does not exist")
        page = document.pages[index]
        return PageView(
            document.ref, document.info.version, index, len(document.pages), page.number, _locator(page), page.start,
            page.end, document.text[page.start : page.end], page.width, page.height, page.layout, document.info.mime,
        )  # fmt: skip

    def page_image(self, document_id: str, index: int, *, dpi: int = 110) -> bytes:
        import pypdfium2 as pdfium

        document = self._get(document_id)
        if document.info.mime != "application/pdf" or not 0 <= index < len(document.pages):
            raise NotFoundError("this format has no page images")
        out = io.BytesIO()
        with _DRAWING:
            pdf = pdfium.PdfDocument(document.data)
            pdf[index].render(scale=dpi / 72).to_pil().save(out, "PNG")
            pdf.close()
        return out.getvalue()

    def original(self, document_id: str) -> bytes:
        return self._get(document_id).data

    def approve(self, request: ApprovalRequest) -> Approval:
        self.requests.append(request)
        page = self.page(request.document_id, request.page_index)
        if not page.start <= request.start < request.end <= page.end:
            raise UsageError("not on the page")
        text = page.text[request.start - page.start : request.end - page.start]
        kept = Approval(
            f"a{len(self._approvals)}",
            request.verdict,
            request.question,
            text,
            page.document,
            page.number,
            "local",
            _EPOCH,
        )
        self._approvals.append(kept)
        return kept

    def approvals(self) -> list[Approval]:
        return [a for a in self._approvals if a.document.id in self._documents]

    def withdraw(self, approval_id: str) -> None:
        if approval_id not in {a.id for a in self.approvals()}:
            raise NotFoundError("no such approval")
        self._approvals = [a for a in self._approvals if a.id != approval_id]

    def delete(self, document_id: str) -> DeletionReceipt:
        document = self._get(document_id)
        del self._documents[document_id]
        destroyed = {"originals": 1, "pages": len(document.pages), "vectors": document.info.chunks}
        return DeletionReceipt(document_id, _EPOCH, "local", destroyed, ("older backups of the key store",))

    def collections(self) -> list[str]:
        return sorted({d.info.collection for d in self._documents.values()} | {"default"})

    @property
    def keeping(self) -> Keeping:
        raise NotPermittedError("nothing is kept here", hint="Use a real engine.")

    @property
    def permissions(self) -> Permissions:
        raise NotPermittedError("everybody reads everything here", hint="Use the appliance.")

    def status(self) -> Status:
        infos = self.documents()
        return Status(
            "0.1.0", "server", "data", dict(Counter(i.collection for i in infos)),
            dict(Counter(str(i.state) for i in infos)), sum(i.chunks for i in infos), sum(i.chunks for i in infos),
            "fake-embedder", "fake-1",
        )  # fmt: skip

    def verify(self) -> VerifyReport:
        return VerifyReport({"documents": len(self._documents)}, ())

    def watches(self) -> list[Watch]:
        return list(self._watches.values())

    def add_watch(self, watch: Watch) -> Watch:
        added = replace(watch, id=f"watch-{len(self._watches)}")
        self._watches[added.id] = added
        return added

    def remove_watch(self, watch_id: str) -> None:
        if self._watches.pop(watch_id, None) is None:
            raise NotFoundError(f"watch {watch_id} does not exist")

    def close(self) -> None:
        return None

    def _page_of(self, document: _Document, offset: int) -> int:
        return next((i for i, p in enumerate(document.pages) if p.start <= offset < p.end), 0)


def walk(paths: Sequence[str]) -> Iterator[SourceFile | FileOutcome]:
    """A stand-in for the product's own file walk: every regular file, hidden ones passed over with a reason."""
    for root in paths:
        top = Path(root).absolute()
        if not top.exists():
            raise UsageError(f"no such file or folder: {root}", hint="check the path and run again")
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if path.name.startswith("."):
                yield FileOutcome(str(path), "skipped", reason="hidden")
            elif path.is_file():
                yield SourceFile(str(path), path.as_uri(), path.name, path.stat().st_size)


def _locator(page: _Page) -> Locator:
    return Locator("section", "start") if page.number is None else Locator("page", str(page.number))


def _sentences(text: str) -> list[tuple[int, int]]:
    return [(m.start(), m.end()) for m in re.finditer(r"[^.!?\s][^.!?]*[.!?]?", text)]


def _parse(data: bytes) -> tuple[str, list[_Page], str]:
    if not data.startswith(b"%PDF"):
        text = data.decode("utf-8", "replace")
        return text, [_Page(0, len(text), None, None, None, b"")], "text/plain"
    import pypdfium2 as pdfium

    pdf = pdfium.PdfDocument(data)
    text, pages = "", []
    for index in range(len(pdf)):
        page = pdf[index]
        width, height = page.get_size()
        textpage = page.get_textpage()
        words, start = [], len(text)
        content = textpage.get_text_range().replace("\r", " ")
        for match in re.finditer(r"\S+", content):
            boxes = [textpage.get_charbox(i) for i in range(match.start(), match.end())]
            x0, x1 = min(b[0] for b in boxes), max(b[2] for b in boxes)
            y0, y1 = height - max(b[3] for b in boxes), height - min(b[1] for b in boxes)
            words.append((start + match.start(), start + match.end(), x0, y0, x1, y1))
        text += content + "\n"
        pages.append(_Page(start, len(text), index + 1, width, height, pack_words(words)))
    return text, pages, "application/pdf"
