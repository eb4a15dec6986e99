"""Random sequences of users, groups, grants, walls, ingests, moves, deletions and crashes, against a small model.

The model is the rule itself, written down once more: allowed, not denied, not beyond a wall. After every step one
person, drawn at random, tries every way there is to read; what comes back must be exactly what the model says, and
must not hold a word of anything else. Every document has words that no other has, so a leak cannot pass unseen. What
goes over HTTP, page images and equal bytes are the matter of `test_permissions_worlds`.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from retrieval.index.shard import copy as copy_sparse
from strongroom.catalog import reading
from strongroom.engine import Engine
from strongroom.errors import IndexUnreachableError, NotFoundError, NotPermittedError, WallError
from strongroom.types import ApprovalRequest, AskRequest, GrantRequest, Message, Scope, SearchRequest
from strongroom.whole import WholeRequest
from strongroom.wire import dumps, to_data
from tests.permissions_room import ingest, open_appliance

EDITORS, READERS = ("ed", "eva"), ("bob", "carol", "dan")
PEOPLE = (*EDITORS, *READERS, "audrey")
GROUPS = ("red", "blue", "green")
MAKER = {"north": "ed", "south": "eva", "west": "ed"}
NAMES = ("a.txt", "b.txt", "c.txt")
QUESTION = "Which harbour notes are there?"

people, groups, collections = st.sampled_from(PEOPLE), st.sampled_from(GROUPS), st.sampled_from(sorted(MAKER))
principals = st.one_of(people.map("user:{}".format), groups.map("group:{}".format))
effects = st.sampled_from(["allow", "allow", "deny"])


@dataclass
class Document:
    id: str
    collection: str
    name: str
    secret: str  # a word of this document alone
    gone: bool = False


@dataclass
class Model:
    """Who may do what, as it should be."""

    groups: dict[str, set[str]] = field(default_factory=lambda: {p: set() for p in PEOPLE})
    grants: dict[tuple[str, str, str], str] = field(default_factory=dict)  # (principal, resource, effect): right
    walls: set[tuple[str, str]] = field(default_factory=set)
    documents: list[Document] = field(default_factory=list)
    collections: set[str] = field(default_factory=set)

    def _acts_as(self, person: str) -> set[str]:
        return {f"user:{person}", *(f"group:{g}" for g in self.groups[person])}

    def _given(self, person: str, effect: str, right: str, *resources: str) -> bool:
        own = self._acts_as(person)
        return any(
            p in own and r in resources and e == effect and right in (has, "read")
            for (p, r, e), has in self.grants.items()
        )

    def _beyond(self, person: str, *resources: str) -> bool:
        mine = self.groups[person]
        other = {b for a, b in self.walls if a in mine} | {a for a, b in self.walls if b in mine}
        return any(
            r in resources and e == "allow" and p.removeprefix("group:") in other and p.startswith("group:")
            for p, r, e in self.grants
        )

    def may(self, person: str, right: str, *resources: str) -> bool:
        return (
            person != "audrey"
            and self._given(person, "allow", right, *resources)
            and not self._given(person, "deny", "read", *resources)
            and not self._beyond(person, *resources)
        )

    def reads(self, person: str) -> list[Document]:
        return [d for d in self.documents if not d.gone and self.may(person, "read", d.collection, d.id)]

    def breached(self) -> bool:
        """Somebody, or something, on both sides of a wall."""
        sides = [set(g) for g in self.groups.values()]
        for d in [*self.documents, *(Document(c, c, "", "") for c in self.collections)]:
            open_to = {p for p, r, e in self.grants if e == "allow" and r in (d.id, d.collection)}
            side = {p.removeprefix("group:") for p in open_to if p.startswith("group:")}
            for p in open_to:
                side |= self.groups.get(p.removeprefix("user:"), set())
            if not d.gone:
                sides.append(side)
        return any(a in side and b in side for a, b in self.walls for side in sides)


class WhoReadsWhat(RuleBasedStateMachine):
    template: Path
    steps = 0  # of all runs of this process

    @initialize(sides=st.permutations(GROUPS), person=people)
    def start(self, sides: list[str], person: str) -> None:
        self.room = Path(tempfile.mkdtemp(prefix="who-reads-"))
        copy_sparse(self.template, self.room / "data")
        self.appliance = open_appliance(self.room / "data")
        self.model, self.made, self.turn = Model(), 0, 0
        self.files = self.room / "files"
        for collection, name in (("north", "a.txt"), ("north", "b.txt"), ("south", "a.txt"), ("west", "c.txt")):
            self._add_or_change(collection, name, {"green"} if name == "a.txt" else set())
        self._slip_in(0, sides[0], sides[1], person)  # once in every run: few others get behind a wall by chance

    def teardown(self) -> None:
        if hasattr(self, "appliance"):
            self.appliance.close()
            shutil.rmtree(self.room)

    @property
    def admin(self) -> Any:
        return self.appliance.as_user("local").permissions

    # ------------------------------------------------------------------------------------------ who may what

    @rule(group=groups, person=people)
    def join(self, group: str, person: str) -> None:
        before = set(self.model.groups[person])
        self.model.groups[person].add(group)
        try:
            self.admin.join(group, person)
        except WallError:
            assert self.model.breached()
            self.model.groups[person] = before
        assert not self.model.breached()

    @rule(group=groups, person=people)
    def leave(self, group: str, person: str) -> None:
        if group in self.model.groups[person]:
            self.admin.leave(group, person)
            self.model.groups[person].discard(group)
        else:
            with pytest.raises(NotFoundError):
                self.admin.leave(group, person)

    def _grant(self, principal: str, resource: str, effect: str, right: str, **about: str) -> None:
        request = GrantRequest(principal=principal, effect=effect, right=right, **about)  # type: ignore[arg-type]
        key = (principal, resource, effect)
        before = self.model.grants.get(key)
        self.model.grants[key] = right
        try:
            self.admin.grant(request)
        except WallError:
            assert self.model.breached()
            del self.model.grants[key]
            if before is not None:
                self.model.grants[key] = before
        assert not self.model.breached()

    @rule(principal=principals, collection=collections, effect=effects, write=st.booleans())
    def grant_collection(self, principal: str, collection: str, effect: str, *, write: bool) -> None:
        if collection in self.model.collections:
            right = "write" if write and effect == "allow" else "read"
            self._grant(principal, collection, effect, right, collection=collection)

    @rule(principal=principals, which=st.integers(0, 7), effect=effects)
    def grant_document(self, principal: str, which: int, effect: str) -> None:
        kept = [d for d in self.model.documents if not d.gone]
        if kept:
            chosen = kept[which % len(kept)]
            self._grant(principal, chosen.id, effect, "read", document=chosen.id)

    @rule(which=st.integers(0, 30))
    def revoke(self, which: int) -> None:
        found = sorted(self.admin.grants(), key=lambda g: (g.principal, g.name, g.effect, g.resource_id))
        assert {(g.principal, g.name or g.resource_id, g.effect): g.right for g in found} == self.model.grants
        if found:
            chosen = found[which % len(found)]
            self.admin.revoke(chosen.id)
            del self.model.grants[(chosen.principal, chosen.name or chosen.resource_id, chosen.effect)]

    @rule(one=groups, other=groups)
    def build_a_wall(self, one: str, other: str) -> None:
        self._wall(one, other)

    def _wall(self, one: str, other: str) -> None:
        if one == other:
            return
        pair = (min(one, other), max(one, other))
        known = pair in self.model.walls
        self.model.walls.add(pair)
        try:
            self.admin.add_wall(one, other)
        except WallError:
            assert self.model.breached()
            if not known:
                self.model.walls.discard(pair)
        assert not self.model.breached()

    @rule(which=st.integers(0, 2))
    def take_a_wall_down(self, which: int) -> None:
        standing = sorted(self.model.walls)
        if standing:
            pair = standing[which % len(standing)]
            self.admin.remove_wall(*pair)
            self.model.walls.discard(pair)

    # ------------------------------------------------------------------------------------------ documents

    @rule(collection=collections, name=st.sampled_from(NAMES), named=st.sets(groups, max_size=2))
    def add_or_change(self, collection: str, name: str, named: set[str]) -> None:
        self._add_or_change(collection, name, named)

    def _add_or_change(self, collection: str, name: str, named: set[str]) -> None:
        maker = MAKER[collection]
        self.made += 1
        secret = f"secret{self.made}x"
        path = self.files / collection / name
        path.parent.mkdir(parents=True, exist_ok=True)
        was = path.read_text() if path.exists() else None
        path.write_text(f"The harbour notes say {secret}.\nAll harbour notes of {secret} are kept.\n")

        def put_back() -> None:
            """What was refused must not lie there for a later run over the folder."""
            path.unlink()
            if was is not None:
                path.write_text(was)

        known = next(
            (d for d in self.model.documents if (d.collection, d.name, d.gone) == (collection, name, False)), None
        )
        fresh = collection not in self.model.collections
        before = dict(self.model.grants)
        if not fresh and not self.model.may(maker, "write", collection):
            with pytest.raises(NotPermittedError):
                ingest(self.appliance, maker, path, collection, *named)
            put_back()
            return
        if fresh:
            self.model.collections.add(collection)
            self.model.grants |= {(f"user:{maker}", collection, "allow"): "write"}
            self.model.grants |= {(f"group:{g}", collection, "allow"): "read" for g in named}
            if self.model.breached():
                with pytest.raises(WallError):
                    ingest(self.appliance, maker, path, collection, *named)
                self.model.grants = before
                self.model.collections.discard(collection)
                put_back()
                return
        document = known or Document(f"new{self.made}", collection, name, secret)
        if known is None:
            self.model.documents.append(document)
        for g in named:
            self.model.grants.setdefault((f"group:{g}", document.id, "allow"), "read")
        refused = self.model.breached()
        (outcome,) = ingest(self.appliance, maker, path, collection, *named)
        if refused:
            assert outcome.outcome == "failed"
            self.model.grants = {k: v for k, v in self.model.grants.items() if k in before or k[1] == collection}
            if known is None:
                self.model.documents.remove(document)
            put_back()
            return
        assert outcome.outcome == "indexed"
        if known is None:
            for key in [k for k in self.model.grants if k[1] == document.id]:
                self.model.grants[(key[0], outcome.document_id, key[2])] = self.model.grants.pop(key)
            document.id = outcome.document_id
        assert outcome.document_id == document.id
        document.secret = secret

    @rule(which=st.integers(0, 7))
    def move(self, which: int) -> None:
        kept = [d for d in self.model.documents if not d.gone]
        if not kept:
            return
        d = kept[which % len(kept)]
        maker = MAKER[d.collection]
        if not (self.model.may(maker, "write", d.collection) and self.model.may(maker, "read", d.collection, d.id)):
            return
        self.made += 1
        there = self.files / d.collection / f"moved{self.made}.txt"
        (self.files / d.collection / d.name).rename(there)
        outcomes = ingest(self.appliance, maker, there.parent, d.collection)
        assert [o.document_id for o in outcomes if o.outcome == "moved"] == [d.id]
        d.name = there.name

    @rule(which=st.integers(0, 7), person=st.sampled_from(EDITORS))
    def delete(self, which: int, person: str) -> None:
        kept = [d for d in self.model.documents if not d.gone]
        if not kept:
            return
        d = kept[which % len(kept)]
        engine = self.appliance.as_user(person)
        if not self.model.may(person, "read", d.collection, d.id):
            with pytest.raises(NotFoundError):
                engine.delete(d.id)
        elif not self.model.may(person, "write", d.collection, d.id):
            with pytest.raises(NotPermittedError):
                engine.delete(d.id)
        else:
            engine.delete(d.id)
            (self.files / d.collection / d.name).unlink()
            d.gone = True
            self.model.grants = {k: v for k, v in self.model.grants.items() if k[1] != d.id}

    @rule(which=st.integers(0, 7), person=people)
    def judge(self, which: int, person: str) -> None:
        """A judgement of an answer quotes its document."""
        kept = self.model.reads(person)
        if kept:
            page = self.appliance.as_user(person).page(kept[which % len(kept)].id, 0)
            request = ApprovalRequest(QUESTION, "approved", page.document.id, 0, page.start, page.end)
            self.appliance.as_user(person).approve(request)

    # ------------------------------------------------------------------------------------------ trouble

    @rule(principal=principals, which=st.integers(0, 7), effect=effects)
    def die_before_the_index_is_told(self, principal: str, which: int, effect: str) -> None:
        """The grant is committed; then the process is gone, and another one opens the data directory."""
        kept = [d for d in self.model.documents if not d.gone]
        if not kept or (principal.startswith("group:") and self.model.walls):
            return
        d = kept[which % len(kept)]
        self.model.grants.setdefault((principal, d.id, effect), "read")
        if self.model.breached():
            del self.model.grants[(principal, d.id, effect)]
            return

        def gone(*_args: object) -> None:
            raise IndexUnreachableError("the process was killed here")

        self.appliance.raw_index.set_access = gone  # type: ignore[method-assign]
        with pytest.raises(IndexUnreachableError):
            self.admin.grant(GrantRequest(principal=principal, document=d.id, effect=effect))  # type: ignore[arg-type]
        self.model.grants[(principal, d.id, effect)] = "read"
        self.appliance.close()
        self.appliance = open_appliance(self.room / "data")

    @rule(which=st.integers(0, 7), group=groups, other=groups, person=people)
    def be_slipped_in(self, which: int, group: str, other: str, person: str) -> None:
        self._slip_in(which, group, other, person)

    def _slip_in(self, which: int, group: str, other: str, person: str) -> None:
        """A membership that nobody checked, for as long as one look takes: walls hold at reading too.

        What the person may read, and the group beyond the wall as well, is hidden as long as they are on this side.
        """
        kept = [d for d in self.model.documents if not d.gone]
        if group in self.model.groups[person] or not kept:
            return
        about = kept[which % len(kept)].id
        self._wall(group, other)
        for principal in (f"user:{person}", f"group:{other}"):
            self._grant(principal, about, "allow", "read", document=about)
        mine = f"(SELECT id FROM users WHERE name = '{person}')"
        with self.appliance.store.write() as conn:
            conn.exec_driver_sql(f"INSERT INTO memberships VALUES ({mine}, '{group}')")
        self.model.groups[person].add(group)
        self._check(person)
        self.model.groups[person].discard(group)
        with self.appliance.store.write() as conn:
            conn.exec_driver_sql(f"DELETE FROM memberships WHERE user_id = {mine} AND group_name = '{group}'")

    @rule(now=st.integers(0, 9))
    def rebuild_the_index(self, now: int) -> None:
        if not now:  # it takes a second
            self.appliance.pipeline.reindex(lambda _event: None)

    # ------------------------------------------------------------------------------------------ every way to read

    @invariant()
    def one_person_reads_what_they_may_and_nothing_else(self) -> None:
        self.turn += 1
        WhoReadsWhat.steps += 1
        if WhoReadsWhat.steps % 250 == 0:  # seen with `-s`; what was done until a run was broken off counts too
            sys.stderr.write(f"{WhoReadsWhat.steps} steps, {time.process_time():.0f} s of processor time\n")
        self._check(PEOPLE[self.turn % len(PEOPLE)])

    def _check(self, person: str) -> None:
        engine = self.appliance.as_user(person)
        mine = {d.id: d for d in self.model.reads(person)}
        every = self.model.documents
        hidden = [d for d in every if d.id not in mine]
        said: list[Any] = []

        listed = engine.documents()
        assert {d.id for d in listed} == set(mine)
        assert set(engine.collections()) == {d.collection for d in mine.values()}
        found = engine.search(SearchRequest(QUESTION, k=100))
        assert {h.document.id for h in found.hits} == set(mine)
        answer = list(engine.ask(AskRequest(f"{QUESTION} {' '.join(d.secret for d in every[:3])}", style="exact")))
        judged = engine.approvals()
        assert {a.document.id for a in judged} <= set(mine)
        status = engine.status()
        assert sum(status.collections.values()) == len(mine)
        assert status.chunks == status.points == 2 * len(mine)
        said += [listed, found, answer, judged, status, engine.doubtful_pages(1.0), engine.permissions.grants()]
        said.append(self._one_way_more(engine, mine))
        for collection in MAKER:
            try:
                said.append(engine.search(SearchRequest(QUESTION, k=100, collection=collection)))
            except NotFoundError as exc:
                assert not any(d.collection == collection for d in mine.values())
                said.append(str(exc))
        for d in [every[(self.turn * 4 + n) % len(every)] for n in range(min(4, len(every)))]:
            for call in (engine.document, engine.details, engine.chunks, engine.original, lambda i: engine.page(i, 0)):
                if d.id in mine:
                    call(d.id)  # type: ignore[operator]
                else:
                    with pytest.raises(NotFoundError) as refused:
                        call(d.id)  # type: ignore[operator]
                    said.append(f"{refused.value} {refused.value.hint}".replace(d.id, "ID"))
            if d.id not in mine:
                with pytest.raises(NotFoundError):
                    list(engine.whole(WholeRequest(task="timeline", documents=(d.id,))))
                with pytest.raises(NotFoundError):
                    engine.page_image(d.id, 0)
        text = repr([to_data(s) if hasattr(s, "__dataclass_fields__") else s for s in said])
        asked = {d.secret for d in every[:3]}
        for d in hidden:
            assert d.id not in text
            assert d.secret in asked or d.secret not in text
        assert dumps(status)

    def _one_way_more(self, engine: Engine, mine: dict[str, Document]) -> Any:
        """The ways that cost more, each in its turn. Returns what was said."""
        named = self.model.documents[self.turn % len(self.model.documents)].name
        talk = (Message("user", QUESTION), Message("assistant", "There are some."))
        ways: tuple[Callable[[], Any], ...] = (
            lambda: engine.search(SearchRequest("And which of them are kept?", k=100, history=talk)),
            lambda: list(engine.ask(AskRequest("And which of them are kept?", history=talk, style="fluent"))),
            lambda: list(engine.ask(AskRequest(f"Which harbour notes does #{named} hold?", style="exact"))),
            lambda: engine.search(SearchRequest(QUESTION, k=100, scope=Scope(types=("txt",)))),
            lambda: list(engine.whole(WholeRequest(task="summarise", points=2))),
            lambda: list(engine.whole(WholeRequest(task="sheet", questions=(QUESTION,)))),
            lambda: engine.permissions.clearances(),
        )
        # not in step with the turns of the people: each of them comes to every way
        return ways[self.turn // len(PEOPLE) % len(ways)]()


@pytest.fixture(scope="module", autouse=True)
def in_no_hurry() -> Iterator[None]:
    """Without the moment that every refusal waits for: it is tested elsewhere, and would take most of the time here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "_wait_out", lambda _began: None)
        yield


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with people and nothing else."""
    data_dir = tmp_path_factory.mktemp("template") / "data"
    appliance = open_appliance(data_dir)
    for name in EDITORS:
        appliance.catalog.ensure_user(name, "editor")
    for name in READERS:
        appliance.catalog.ensure_user(name, "viewer")
    appliance.catalog.ensure_user("audrey", "auditor")
    _ = appliance.index
    appliance.close()
    return data_dir


def _run(template: Path, *, examples: int, steps: int) -> None:
    WhoReadsWhat.template = template
    run_state_machine_as_test(
        WhoReadsWhat,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            phases=[Phase.generate, Phase.shrink] if examples > 10 else [Phase.generate],
            suppress_health_check=list(HealthCheck),
            derandomize=examples <= 10,
        ),
    )


def test_nothing_leaks_on_random_paths(template: Path) -> None:
    _run(template, examples=6, steps=35)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_nothing_leaks_in_ten_thousand_steps(template: Path) -> None:
    WhoReadsWhat.steps = 0
    _run(template, examples=140, steps=80)  # some end early
    sys.stderr.write(f"{WhoReadsWhat.steps} steps without a difference\n")
    assert WhoReadsWhat.steps >= 10_000
