"""The appliance: every part over one data directory, adapters picked here and nowhere else.

`Appliance` owns a data directory: its lock, keys, catalogue, index and models. What is slow to load is loaded on
first use, so that listing documents needs no model.
"""

from __future__ import annotations

import logging
import shutil
import threading
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from strongroom.access import LOCAL_USER, AccessFilter
from strongroom.accounts import Accounts, Desk
from strongroom.app import deleting
from strongroom.app.models import InstalledModels, Models
from strongroom.app.opening import open_audit, open_forwarder, open_keys
from strongroom.audit.forward import Forwarder
from strongroom.blobs import BlobStore
from strongroom.catalog import Catalog, Store
from strongroom.config import Settings
from strongroom.crypto import Ask, Vault
from strongroom.errors import IndexMismatchError, NotPermittedError
from strongroom.lock import DataLock, own_data_dir

if TYPE_CHECKING:
    from ingest.cluster import Cluster, RayParserPool
    from ingest.pipeline import Pipeline
    from ingest.sandbox import ParserPool
    from retrieval.abstain import Calibration
    from retrieval.answer import Answerer
    from retrieval.search import Searcher
    from retrieval.steps import Answers
    from strongroom.accounts.sso import SingleSignOn
    from strongroom.app.engine import LocalEngine
    from strongroom.app.render import Renderer
    from strongroom.app.watching import Watching
    from strongroom.people import Identity
    from strongroom.ports import ChatModel, Embedder, Entailment, Reader, VectorIndex
    from strongroom.types import AskRequest, IngestSummary, OcrMode, OnEvent, Style

log = logging.getLogger(__name__)
T = TypeVar("T")

INDEX_META = "index.fingerprint"
DIMENSION_META = "index.dimension"


class _part(cached_property[T]):
    """A part that is made on first use, and once: since Python 3.12 `cached_property` lets two threads make two."""

    def __get__(self, instance: Any, owner: Any = None) -> T:  # type: ignore[override]  # never read from the class
        with instance._opening:
            made: T = super().__get__(instance, owner)
            return made


class Appliance:
    """All parts over one data directory. Closing it releases the lock; killing the process does too."""

    def __init__(
        self, settings: Settings, *, purpose: str, models: Models | None = None, ask: Ask | None = None
    ) -> None:
        """Take the exclusive lock and open the stores. `ask` reads a passphrase where the key comes from one.

        Raises `LockedError`, `NotPermittedError` (the directory or keys are not ours alone) or `IntegrityError`.
        """
        self.settings = settings
        self.models = models or InstalledModels(settings)
        self._llms: dict[str, ChatModel] = {}
        self.serving = False
        own_data_dir(settings.data_dir)
        self._lock_file = DataLock(settings.data_dir, purpose=purpose)
        self._opening = threading.RLock()
        try:
            # Uploads that a killed server left in the clear; nobody else may be serving while we hold the lock.
            shutil.rmtree(settings.spool, ignore_errors=True)
            self.keys = open_keys(settings, ask)
            self.vault = Vault(self.keys)
            self.store = Store(settings.catalogue)
            self.catalog = Catalog(self.store, self.vault)
            self.blobs = BlobStore(settings.data_dir / "blobs", self.keys, self.catalog.key_of)
            self._forwarder: Forwarder | None = None
            self.audit = open_audit(settings, self.store, self.vault, on_append=self._forward)
            self._forwarder = open_forwarder(settings, self.audit)
            self.catalog.ensure_user(LOCAL_USER, "admin")
            self.accounts = Accounts(self.store, self.vault, self.audit, second_factor=settings.second_factor)
            self.catalog.finish_deletions()
            replayed = self.catalog.replay_deletions(self.keys.destroyed(), by="restore")
            for document_id in replayed:
                self.audit.append("system", "delete", document_id, reason="its key was destroyed before")
            self.audit.fold_egress(settings.data_dir / "egress.log")
        except BaseException:
            self._lock_file.release()
            raise

    def _forward(self) -> None:
        if self._forwarder is not None:
            self._forwarder.notify()

    # ------------------------------------------------------------------------------------------------ parts

    @_part
    def embedder(self) -> Embedder:
        with self._opening:
            return self.models.embedder()

    def llm(self, model_id: str | None = None) -> ChatModel:
        """The default or another installed language model; each is loaded once. Raises `ModelError`."""
        model_id = model_id or self.settings.model
        with self._opening:
            if model_id not in self._llms:
                self._llms[model_id] = self.models.llm(model_id)
            return self._llms[model_id]

    @_part
    def raw_index(self) -> VectorIndex:
        """The index without the fingerprint check: for `verify` and deletions, which need no embedder."""
        return self._open_index(self._index_dimension(), replace_mismatched=False)

    def _open_index(self, dimension: int, *, replace_mismatched: bool) -> VectorIndex:
        from retrieval.index import open_index

        settings = self.settings
        with self._opening:
            return open_index(
                dimension=dimension,
                path=None if settings.qdrant_url else settings.data_dir / "index",
                url=settings.qdrant_url,
                api_key=settings.qdrant_api_key,
                ca=settings.qdrant_ca,
                collection=settings.qdrant_collection,
                replace_mismatched=replace_mismatched,
            )

    def _index_dimension(self) -> int:
        """The size that the index was made with; only a new index has to load the embedder to know it."""
        known = self.catalog.get_meta(DIMENSION_META)
        if known is None:
            known = str(self.embedder.dimension)
            self.catalog.set_meta(DIMENSION_META, known)
        return int(known)

    @_part
    def index(self) -> VectorIndex:
        """The index, refused when it was built with another embedder. Raises `IndexMismatchError`."""
        wanted, found = self.fingerprint(), self.catalog.get_meta(INDEX_META)
        if found is None and self.raw_index.count() == 0:
            self.catalog.set_meta(INDEX_META, wanted)
        elif found != wanted:
            raise IndexMismatchError(
                f"the index was built with {found or 'a configuration that is not known'}, and this is {wanted}",
                hint="Run `strongroom reindex` to rebuild it, or set the embedder back.",
            )
        return self.raw_index

    def fingerprint(self) -> str:
        """Names everything that makes vectors comparable: embedder, sparse encoder, chunker and its embedded text."""
        from ingest.chunk import CHUNKER
        from retrieval.index import SPARSE_FINGERPRINT

        return f"{self.embedder.name}:{self.embedder.fingerprint[:16]}/{SPARSE_FINGERPRINT}/{CHUNKER}"

    @_part
    def searcher(self) -> Searcher:
        from retrieval.search import Searcher

        return Searcher(
            index=self.index, embedder=self.embedder, release=self.catalog.release, reranker=self.models.reranker()
        )

    def style(self, model_id: str | None = None) -> Style:
        """How answers are given by default, with the default or another model."""
        chosen = self.settings.answer_style
        if chosen != "auto":
            return chosen
        return "fluent" if self.models.writes_well(model_id or self.settings.model) else "exact"

    def answerer(self, style: Style, access: AccessFilter, model_id: str | None = None) -> Answerer:
        """The answering path in a style for one reader's access, with the default or another model where one writes.

        A model that is named for an exact answer only chooses words.
        """
        from retrieval.answer import Answerer

        return Answerer(
            searcher=self.searcher,
            embedder=self.embedder,
            reader=self.reader_for(access),
            nli=self.nli if style == "fluent" else None,
            llm=self.llm(model_id) if style == "fluent" or model_id is not None else None,
            quotes_only=style == "exact",
            pages=lambda _document_id, version_id, index: self.catalog.cited_page(version_id, index, access),
            answer_tokens=self.settings.answer_tokens,
            abstain_below=self.settings.abstain_below,
            calibration=self.calibration,
        )

    def answers(self, style: Style, access: AccessFilter, request: AskRequest) -> Answers:
        """The answering path for one question: in one step, or in several where request or settings say so."""
        answerer = self.answerer(style, access, request.model)
        most = request.steps or self.settings.answer_steps
        if most < 2:
            return answerer
        from retrieval import decompose
        from retrieval.steps import Stepper

        if self.models.writes_well(request.model or self.settings.model):
            return Stepper(answerer, partial(decompose.by_model, llm=self.llm(request.model)), most=most)
        return Stepper(answerer, partial(decompose.by_rules, embedder=self.embedder), most=most)

    @_part
    def calibration(self) -> Calibration:
        """How the confidence of answers is worked out."""
        from retrieval import abstain

        path = self.settings.calibration
        return abstain.DEFAULT if path is None else abstain.calibrated(path, embedder=self.settings.embedder)

    @_part
    def reader(self) -> Reader:
        """The product's own reader."""
        return self.models.reader()

    @_part
    def nli(self) -> Entailment | None:
        """Checks what a language model wrote, where such a model is installed."""
        return self.models.nli()

    @_part
    def trained_reader(self) -> tuple[str, Reader] | None:
        """The reader that was trained on approved answers, with its id, when one is in use."""
        reader_id = self.catalog.current_reader()
        if reader_id is None:
            return None
        if not (self.keys.has(reader_id) and self.readers.exists(reader_id)):  # an older copy of the data came back
            log.warning("reader %s: its key or weights are gone; the product's own reader answers", reader_id)
            return None
        return reader_id, self.models.reader(self.readers.read(reader_id, reader_id))

    def reader_for(self, access: AccessFilter) -> Reader:
        """The trained reader for whoever may read all that it was trained on, the product's own for others."""
        trained = self.trained_reader
        if trained is not None and self.catalog.may_use_reader(trained[0], access):
            return trained[1]
        return self.reader

    def forget_readers(self) -> None:
        """Look again which trained reader is in use, the next time one is needed."""
        with self._opening:
            self.__dict__.pop("trained_reader", None)

    @_part
    def readers(self) -> BlobStore:
        """Weights of readers that were trained here, each under a key of its own that bears its id."""
        return BlobStore(self.settings.data_dir / "readers", self.keys, key_of=str)

    @_part
    def pipeline(self) -> Pipeline:
        """Ingest, recovery and re-indexing over this appliance's stores."""
        from ingest.chunk import wording
        from ingest.mime import detect
        from ingest.pipeline import Pipeline
        from ingest.work import Parts, PipelineSettings

        settings, embedder = PipelineSettings(recipe=self.recipe), self.embedder
        if self.cluster is not None:
            embedder = self.cluster.embedder(embedder, self.models.on_workers())
            settings = settings.spread(self.cluster.embedders)
        return Pipeline(
            Parts(
                catalog=self.catalog,
                blobs=self.blobs,
                index=self.index,
                embedder=embedder,
                pool=self._parser_pool,
                detect=lambda file: detect(Path(file.path)),
                wording=lambda source: wording(source.name, source.title, source.headings, source.text),
                settings=settings,
            )
        )

    @_part
    def cluster(self) -> Cluster | None:
        """The Ray cluster that ingest works on, when it is set to."""
        if self.settings.ingest_engine != "ray":
            return None
        from ingest.cluster import Cluster

        return Cluster(self.settings.ray_address)

    @_part
    def recipe(self) -> str:
        """Names everything that decides what text and chunks a file gives; another recipe means parsing again."""
        from ingest.chunk import CHUNKER
        from ingest.parse import RECIPE

        settings = self.settings
        return f"{RECIPE}/{CHUNKER}/{settings.chunk_tokens}+{settings.chunk_overlap_tokens}/ocr-{settings.ocr}"

    def _parser_pool(self, workers: int | None, ocr: OcrMode | None) -> ParserPool | RayParserPool:
        from ingest.limits import Limits
        from ingest.sandbox import ParserPool

        settings = self.settings
        workers = workers or settings.workers or None
        limits = Limits(memory_bytes=settings.parse_memory_mb << 20, seconds=settings.parse_seconds)
        personal = settings.detect_personal_data or self.catalog.withholds()

        def here() -> ParserPool:
            return ParserPool(
                workers=workers,
                limits=limits,
                tokenizer=self.models.tokenizer(),
                chunk_tokens=settings.chunk_tokens,
                overlap_tokens=settings.chunk_overlap_tokens,
                ocr=ocr or settings.ocr,
                personal=personal,
                speech=self.models.speech(),
                egress_log=settings.data_dir / "egress.log",
                spool=settings.spool,
                readable=(settings.models_dir,),
            )

        if self.cluster is not None:
            from ingest.cluster import ParseSetup

            setup = ParseSetup(
                self.models.on_workers(),
                limits,
                chunk_tokens=settings.chunk_tokens,
                overlap_tokens=settings.chunk_overlap_tokens,
                ocr=ocr or settings.ocr,
                personal=personal,
            )
            return self.cluster.pool(setup, workers, here=here)
        return here()

    @_part
    def renderer(self) -> Renderer:
        """Page images, drawn in a child process."""
        from strongroom.app.render import Renderer

        return Renderer(self.blobs)

    @_part
    def watching(self) -> Watching:
        """Watched folders; they are followed only while a server runs."""
        from strongroom.app.watching import Watching

        return Watching(self)

    def follow_folders(self) -> None:
        """Take up the watches, from now to the end of this process."""
        self.serving = True
        self.watching.start()

    def recover(self) -> None:
        """Finish what a crash left half done, and mend an index that lost points. Cheap when there is nothing to do."""
        pending = self.catalog.unindexed() or self.catalog.removals() or self.catalog.stale_points()
        if pending or self.index.count() != self.catalog.counts()[2]:
            self.pipeline.recover()
        self.tell_index()
        deleting.settle(self)
        for version_id in set(self.blobs.ids()) - {version for _, version, _ in self.catalog.version_files()}:
            self.blobs.delete(version_id)

    def tell_index(self) -> int:
        """Let the index know of grants that changed; before every search, so that a change counts from its commit."""
        from ingest.regrant import tell_index

        return tell_index(self.catalog, self.raw_index)

    def reindex(self, on_event: OnEvent) -> IngestSummary:
        """Rebuild the index from the catalogue with the embedder that is configured now."""
        self.catalog.set_meta(INDEX_META, "")  # an interrupted rebuild must not pass for either configuration
        self.catalog.set_meta(DIMENSION_META, str(self.embedder.dimension))
        self.__dict__["raw_index"] = self.__dict__["index"] = self._open_index(
            self.embedder.dimension, replace_mismatched=True
        )
        summary = self.pipeline.reindex(on_event)
        self.catalog.set_meta(INDEX_META, self.fingerprint())
        return summary

    def forget_images(self, document_id: str) -> None:
        """Drop page images of a deleted document from memory."""
        if "renderer" in self.__dict__:
            self.renderer.forget(document_id)

    def warm_up(self) -> None:
        """Finish what a crash left, then load models and index, so that the first user waits for nothing."""
        self.recover()
        self.embedder.embed_query("warm up")
        _ = self.searcher
        self.reader.read("warm up", ["warm up"])
        self.accounts.passwords.warm_up()
        if self.style() == "fluent":
            self.llm()

    def ready(self) -> bool:
        """True once models and index are loaded."""
        parts = {"searcher", "reader"}
        return parts <= set(self.__dict__) and (bool(self._llms) or self.style() == "exact")

    # ------------------------------------------------------------------------------------------------

    def as_user(self, user: str, *, by: str = LOCAL_USER) -> LocalEngine:
        """The appliance as one user sees it. Whoever asks for another (`by`) must administer, and is on record.

        Raises `NotPermittedError` for an unknown user, and for a `by` who does not administer.
        """
        from strongroom.app.engine import LocalEngine

        if user != by and self.catalog.role(by) != "admin":
            self.audit.append(by, "act-as", outcome="refused")
            raise NotPermittedError(f"{by} may not act as somebody else", hint="Leave `--as` out.")
        if self.catalog.role(user) is None:
            raise NotPermittedError(f"user {user!r} does not exist", hint="`strongroom users list` shows them.")
        if user != by:
            self.audit.append(by, "act-as", user)
        return LocalEngine(self, user, by=by)

    def desk(self, identity: Identity) -> Desk:
        """The accounts as the person of a credential may see and change them."""
        return Desk(self.accounts, identity)

    @_part
    def sso(self) -> SingleSignOn | None:
        """Single sign-on, where a provider is configured. Raises `ConfigError` for one that may not be reached."""
        from strongroom.accounts.sso import Provider, SingleSignOn

        settings = self.settings
        if settings.oidc_issuer is None:
            return None
        provider = Provider(
            settings.oidc_issuer,
            settings.oidc_client_id,
            settings.oidc_client_secret or "",
            settings.oidc_name,
            settings.oidc_name_claim,
            settings.oidc_groups_claim,
            settings.oidc_admin_group or "",
            settings.oidc_required_group or "",
        )
        return SingleSignOn(provider, self.accounts)

    def close(self) -> None:
        """Release everything. Safe to call twice."""
        if "watching" in self.__dict__:
            self.watching.close()
        if "renderer" in self.__dict__:
            self.renderer.close()
        if "raw_index" in self.__dict__:
            self.raw_index.close()
        for llm in self._llms.values():
            llm.close()
        if (cluster := self.__dict__.get("cluster")) is not None:
            cluster.close()
        if self._forwarder is not None:
            self._forwarder.close()
        self.catalog.close()
        self.keys.close()
        self._lock_file.release()
