"""Two worlds that differ only in what a person may not read must look the same to them, byte for byte.

One data directory is copied; hidden documents go into one copy alone. So ids, keys and times of all that the person may
read are the same in both, and every response can be compared as it is: scores, counts, orders, error texts. Left out of
the comparison, as they differ between any two calls: `timings_ms` and `seconds`, heartbeats and sums of durations, and
over HTTP the headers `date` and `x-request-id`.
The index answers exactly below 20,000 points; an approximate one may choose other candidates when others are added.
"""

from __future__ import annotations

import itertools
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from retrieval.index.shard import copy as copy_sparse
from strongroom.app.appliance import Appliance
from strongroom.errors import StrongroomError
from strongroom.types import AskRequest, GrantRequest, Message, PersonalData, PersonalSpan, Scope, SearchRequest
from strongroom.whole import Field, WholeRequest
from strongroom.wire import adapter, to_data
from tests.fakes_engine import make_pdf
from tests.permissions_room import ingest, open_appliance
from tests.server_fixtures import served

SHARED = {
    "lease.txt": "The lease of the harbour crane ends in May.\nNotice of the lease is given in writing.\n",
    "crane.txt": "The harbour crane lifts forty tonnes.\nIts inspector is Mr Brandt.\nThe crane was built in 1998.\n",
    "fees.txt": "Harbour fees are paid monthly.\nThe fee of a crane is 900 euros a day.\n",
}
PLAN = [["Plan of the harbour crane.", "Berth seven has shore power."], ["Second sheet of the plan."]]
TALK = (Message("user", "What does the lease of the crane say?"), Message("assistant", "It ends in May."))
QUESTIONS = ("When does the lease of the harbour crane end?", "crane", "What is the fee of a crane?", "Who is Brandt?")
ABSENT = "00000000-0000-4000-8000-000000000000"
THEN = "2026-01-01T00:00:00+00:00"
WORDS = ["lease", "harbour", "crane", "May", "Brandt", "fee", "notice", "merger", "1998", "the", "of", "inspector"]

hidden_texts = st.lists(
    st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=9).map(" ".join), min_size=1, max_size=6).map(
        lambda lines: "".join(f"{line}.\n" for line in lines)
    ),
    min_size=1,
    max_size=4,
)


class World:
    """One data directory, opened."""

    def __init__(self, data_dir: Path, files: Path) -> None:
        self.appliance, self.data_dir, self.files = open_appliance(data_dir), data_dir, files

    def hide(self, text: str, name: str, *, way: str) -> str:
        """Add a document that bob may not read, in one of the ways there are; returns its id."""
        path = self.files / name
        path.write_bytes(make_pdf([text.splitlines()]) if name.endswith(".pdf") else text.encode())
        collection = "shared" if way == "denied" else "secret"
        (outcome,) = ingest(self.appliance, "ed", path, collection)
        document = str(outcome.document_id)
        find_an_account(self.appliance, document)
        admin = self.appliance.as_user("local").permissions
        if way == "denied":
            admin.grant(GrantRequest(principal="user:bob", document=document, effect="deny"))
        elif way == "walled":
            admin.grant(GrantRequest(principal="user:bob", document=document))
            with self.appliance.store.write() as conn:  # a wall that came later, and was got round
                conn.exec_driver_sql(f"INSERT OR IGNORE INTO walls VALUES ('harbour', 'town', 'test', '{THEN}')")
                conn.exec_driver_sql(
                    "INSERT OR IGNORE INTO grants (id, principal, resource, resource_id, effect, created_at) "
                    f"VALUES ('{document}', 'group:town', 'document', '{document}', 'allow', '{THEN}')"
                )
                conn.exec_driver_sql(f"INSERT OR REPLACE INTO regrants VALUES ('{document}', 'x')")
        return document


def find_an_account(appliance: Appliance, document: str) -> None:
    """As if an account number had been found at the beginning of a document."""
    version = appliance.as_user("ed").document(document).version
    found = PersonalData("test", (PersonalSpan("iban", 0, 4, 1.0),))
    appliance.catalog.note_personal(version, found)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What both worlds have: bob reads the shared documents, as one of a group."""
    root = tmp_path_factory.mktemp("worlds")
    (root / "files").mkdir()
    appliance = open_appliance(root / "data")
    appliance.catalog.ensure_user("ed", "editor")
    appliance.catalog.ensure_user("bob", "viewer")
    appliance.catalog.join("harbour", "bob")
    for name, text in SHARED.items():
        (root / "files" / name).write_text(text)
        ingest(appliance, "ed", root / "files" / name, "shared", "harbour")
    (root / "files" / "plan.pdf").write_bytes(make_pdf(PLAN))
    (outcome,) = ingest(appliance, "ed", root / "files" / "plan.pdf", "shared", "harbour")
    find_an_account(appliance, str(outcome.document_id))
    appliance.close()
    return root


@pytest.fixture
def worlds(base: Path, tmp_path: Path) -> Iterator[Callable[[], tuple[World, World]]]:
    """Makes a fresh pair of equal worlds; the last one made is closed at the end."""
    numbers = itertools.count()
    opened: list[World] = []

    def close() -> None:
        for world in opened:
            world.appliance.close()
            shutil.rmtree(world.data_dir)
        opened.clear()

    def make() -> tuple[World, World]:
        close()
        n = next(numbers)
        for side in ("plain", "with"):
            copy_sparse(base / "data", tmp_path / f"{side}{n}")
            opened.append(World(tmp_path / f"{side}{n}", base / "files"))
        return opened[0], opened[1]

    yield make
    close()


def _timeless(data: Any) -> Any:
    """Without what is measured: nothing else is taken out."""
    if isinstance(data, dict):
        return {k: _timeless(v) for k, v in data.items() if k not in ("timings_ms", "seconds")}
    return [_timeless(v) for v in data] if isinstance(data, (list, tuple)) else data


def _bytes(call: Callable[[], Any]) -> bytes:
    try:
        value = call()
    except StrongroomError as exc:
        return f"{type(exc).__name__}: {exc} ({exc.hint})".encode()
    if isinstance(value, bytes):
        return value
    return repr(_timeless(adapter(Any).dump_python(value))).encode()


def whole_requests(ids: list[str]) -> list[WholeRequest]:
    """Work over all that may be read, and over documents by their ids, hidden ones included."""
    fields = (Field("fee", "money"), Field("inspector"))
    return [
        WholeRequest(task="summarise", points=2),
        WholeRequest(task="timeline"),
        WholeRequest(task="extract", fields=fields),
        WholeRequest(task="sheet", questions=QUESTIONS[:2]),
        WholeRequest(task="compare", documents=(ids[0], ids[-1])),
        *(WholeRequest(task="timeline", documents=(i,)) for i in ids[-2:]),
    ]


def seen_by_bob(world: World, ids: list[str]) -> dict[str, bytes]:
    """Everything that bob can ask of the engine in process. `ids` are documents to ask for, hidden ones included."""
    bob = world.appliance.as_user("bob")
    calls: dict[str, Callable[[], Any]] = {
        "documents": bob.documents,
        "collections": bob.collections,
        "status": lambda: (bob.status().collections, bob.status().states, bob.status().chunks, bob.status().points),
        "doubtful": lambda: bob.doubtful_pages(1.0),
        "approvals": bob.approvals,
        "grants": bob.permissions.grants,
        "groups": bob.permissions.groups,
        "verify": bob.verify,
        "watches": bob.watches,
        "walls": bob.permissions.walls,
        "clearances": bob.permissions.clearances,
        "holds": bob.keeping.holds,
        "after a talk": lambda: bob.search(SearchRequest("And who gives it?", history=TALK)),
        "asked after a talk": lambda: list(bob.ask(AskRequest("And who gives it?", history=TALK))),
        "in steps": lambda: list(bob.ask(AskRequest("When does the lease end, and who is Brandt?", steps=3))),
    }
    for scope in (Scope(types=("txt",)), Scope(personal=("iban",)), Scope(documents=("hidden",))):
        calls[f"within {scope}"] = lambda s=scope: bob.search(SearchRequest("crane", scope=s))
    for name in ("lease", "hidden", "crane.txt", "secret.txt"):
        calls[f"mentioning {name}"] = lambda n=name: list(bob.ask(AskRequest(f"What does #{n} say of the crane?")))
    for request in whole_requests(ids):
        calls[f"whole {request}"] = lambda r=request: list(bob.whole(r))
    for question in QUESTIONS:
        for k in (1, 3, 50):
            calls[f"search {question} {k}"] = lambda q=question, k=k: bob.search(SearchRequest(q, k=k))
        for style in ("exact", "fluent"):
            calls[f"ask {question} {style}"] = lambda q=question, s=style: list(bob.ask(AskRequest(q, style=s)))
    for name in ("shared", "secret", "nothing"):
        calls[f"in {name}"] = lambda n=name: bob.search(SearchRequest("crane", collection=n))
        calls[f"list {name}"] = lambda n=name: bob.documents(n)
        calls[f"grants of {name}"] = lambda n=name: bob.permissions.grants(collection=n)
    for i in ids:
        calls |= {
            f"document {i}": lambda i=i: bob.document(i),
            f"details {i}": lambda i=i: bob.details(i),
            f"chunks {i}": lambda i=i: bob.chunks(i),
            f"page {i}": lambda i=i: bob.page(i, 0),
            f"image {i}": lambda i=i: bob.page_image(i, 0),
            f"original {i}": lambda i=i: bob.original(i),
            f"delete {i}": lambda i=i: bob.delete(i),
            f"grants of document {i}": lambda i=i: bob.permissions.grants(document=i),
        }
    return {name: _bytes(call) for name, call in calls.items()}


@settings(
    max_examples=5,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(texts=hidden_texts, way=st.sampled_from(["other collection", "denied", "walled"]))
def test_hidden_documents_change_nothing_in_process(
    worlds: Callable[[], tuple[World, World]], texts: list[str], way: str
) -> None:
    # GIVEN equal worlds, and hidden documents of the same words in one of them
    plain, other = worlds()
    hidden = [other.hide(text, f"hidden{n}.txt", way=way) for n, text in enumerate(texts)]
    if way == "walled":
        with plain.appliance.store.write() as conn:
            conn.exec_driver_sql(f"INSERT OR IGNORE INTO walls VALUES ('harbour', 'town', 'test', '{THEN}')")
    shown = [d.id for d in plain.appliance.as_user("bob").documents()]
    assert len(shown) == len(SHARED) + 1
    # THEN bob sees the same in both
    assert seen_by_bob(plain, [*shown, *hidden, ABSENT]) == seen_by_bob(other, [*shown, *hidden, ABSENT])


def test_more_hidden_passages_than_are_looked_at_change_nothing(worlds: Callable[[], tuple[World, World]]) -> None:
    # GIVEN a hidden document with more and better matches than a search takes candidates
    plain, other = worlds()
    text = "".join(f"The lease of the harbour crane ends in May {n}.\n" for n in range(300))
    hidden = other.hide(text, "many.txt", way="denied")
    copy = other.hide(SHARED["lease.txt"], "copy.txt", way="other collection")
    # THEN bob sees the same
    assert seen_by_bob(plain, [hidden, copy]) == seen_by_bob(other, [hidden, copy])


def test_a_document_that_is_hidden_later_leaves_no_trace(worlds: Callable[[], tuple[World, World]]) -> None:
    # GIVEN a document that bob could read for a while, in one world
    plain, other = worlds()
    path = other.files / "later.txt"
    path.write_text("The lease of the harbour crane was renewed until June.\n")
    (outcome,) = ingest(other.appliance, "ed", path, "shared")
    document = str(outcome.document_id)
    bob = other.appliance.as_user("bob")
    assert document in {h.document.id for h in bob.search(SearchRequest("lease until June")).hits}
    list(bob.ask(AskRequest("lease until June", style="fluent")))
    # WHEN it is denied to him THEN the next answer is that of a world where it never was
    other.appliance.as_user("local").permissions.grant(
        GrantRequest(principal="user:bob", document=document, effect="deny")
    )
    assert seen_by_bob(plain, [document]) == seen_by_bob(other, [document])


def test_what_others_do_with_hidden_documents_leaves_no_trace(worlds: Callable[[], tuple[World, World]]) -> None:
    # GIVEN a hidden document with pages that are drawn
    plain, other = worlds()
    hidden = other.hide("The lease of the harbour crane ends in June.\n", "hidden.pdf", way="other collection")
    # WHEN who may read it has seen it in every way that something is kept of
    ed = other.appliance.as_user("ed")
    ed.page_image(hidden, 0)
    for style in ("exact", "fluent"):
        list(ed.ask(AskRequest(QUESTIONS[0], collection="secret", style=style)))  # type: ignore[arg-type]
    for task in ("summarise", "timeline"):
        list(ed.whole(WholeRequest(task=task, documents=(hidden,))))
    # THEN bob gets what he gets where it never was, pages drawn included
    shown = [d.id for d in plain.appliance.as_user("bob").documents()]
    one, two = seen_by_bob(plain, [*shown, hidden]), seen_by_bob(other, [*shown, hidden])
    assert one == two
    assert sum(reply.startswith(b"\x89PNG") for reply in one.values()) == 1


# ------------------------------------------------------------------------------------------------ over HTTP

_MEASURED = re.compile(
    rb'"timings_ms":\{[^}]*\}|"seconds":[\d.e-]+|: waiting\n\n|^\w+_(?:bucket|sum|created)\b.*\n', re.MULTILINE
)
_FRESH = frozenset({"date", "x-request-id"})


def _responses(appliance: Appliance, data_dir: Path, ids: list[str]) -> dict[str, tuple[Any, ...]]:
    """Raw responses of every route that bob can reach."""
    with ExitStack() as stack:
        up = stack.enter_context(served(data_dir, engine_for=appliance.as_user))
        http = stack.enter_context(
            httpx.Client(
                base_url=up.url,
                headers={"Authorization": f"Bearer {up.token}", "X-Strongroom-As": "bob"},
                trust_env=False,
                timeout=30,
            )
        )
        asked: list[tuple[str, str, Any]] = [
            ("GET", path, None)
            for path in (
                "/api/documents", "/api/documents?collection=secret", "/api/documents?collection=nothing",
                "/api/collections", "/api/approvals", "/api/doubtful-pages", "/api/grants", "/api/groups",
                "/api/grants?collection=secret", "/api/watches", "/api/walls", "/healthz", "/api/clearances",
                "/api/holds", "/api/documents?personal=any", "/api/documents?collection=secret&personal=iban",
                "/v1/models", "/openapi.json",
            )
        ]  # fmt: skip
        asked.append(("POST", "/api/verify", None))
        for question in QUESTIONS:
            asked.append(("POST", "/api/search", {"question": question, "k": 20}))
            asked.append(("POST", "/api/ask", {"question": question, "style": "exact"}))
        asked.append(("POST", "/api/search", {"question": "crane", "collection": "secret"}))
        talk = [{"role": m.role, "content": m.content} for m in TALK]
        asked.append(("POST", "/api/ask", {"question": "And who gives it?", "history": talk}))
        asked.append(("POST", "/api/search", {"question": "crane", "scope": {"personal": ["iban"]}}))
        for task in whole_requests(ids):
            asked.append(("POST", "/api/whole", to_data(task)))
        for i in ids:
            for end in ("", "/details", "/chunks", "/pages/0", "/pages/0/image.png", "/original"):
                asked.append(("GET", f"/api/documents/{i}{end}", None))
            asked.append(("GET", f"/api/grants?document={i}", None))
        asked.append(("GET", "/metrics", None))  # last: it counts all before it
        found: dict[str, tuple[Any, ...]] = {}
        for method, path, body in asked:
            reply = http.request(method, path, json=body)
            headers = {k: v for k, v in reply.headers.items() if k not in _FRESH}
            content = _MEASURED.sub(b"", reply.content)
            if content != reply.content:
                headers.pop("content-length", None)  # the length of what was measured
            found[f"{method} {path} {body}"] = (reply.status_code, headers, content)
        return found


def test_hidden_documents_change_nothing_over_http(worlds: Callable[[], tuple[World, World]]) -> None:
    plain, other = worlds()
    text = "The lease of the harbour crane ends in June.\nBrandt is the inspector of the merger.\n"
    hidden = [other.hide(text, "a.txt", way="denied"), other.hide(text, "b.pdf", way="other collection")]
    shown = [d.id for d in plain.appliance.as_user("bob").documents()]
    ids = [*shown, *hidden, ABSENT]
    one = _responses(plain.appliance, plain.data_dir, ids)
    assert one == _responses(other.appliance, other.data_dir, ids)
    assert {status for status, _, _ in one.values()} == {200, 403, 404}
