"""Comparing: every edit between two versions is found, and nothing that was not edited."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from retrieval.whole.compare import compare
from retrieval.whole.desk import Work
from strongroom.types import IngestRequest
from strongroom.whole import Difference, WholeRequest
from tests.fakes_engine import FakeEngine

NOUNS = ("supplier carrier lessee buyer agent broker trustee insurer licensee contractor keeper surveyor").split()  # noqa: SIM905
VERBS = ("deliver inspect insure repair return replace certify store weigh label register notify").split()  # noqa: SIM905
THINGS = ("cargo pallets documents samples engines cranes buoys permits invoices charts ropes anchors").split()  # noqa: SIM905


def clauses(random_: random.Random, count: int, start: int = 0) -> list[str]:
    """Sentences that share few words with each other."""
    made = []
    for n in range(start, start + count):
        who, does, what = NOUNS[n % 12], VERBS[(n // 12) % 12], THINGS[(n * 5 + n // 12) % 12]
        place, days = f"quay{n}", random_.randint(10, 99)
        made.append(f"The {who} of {place} shall {does} the {what} within {days} days of each arrival at {place}.")
    return made


def differences(folder: Path, first: list[str], second: list[str]) -> list[Difference]:
    (folder / "a.txt").write_text("\n\n".join(first))
    (folder / "b.txt").write_text("\n\n".join(second))
    engine = FakeEngine()
    engine.ingest(IngestRequest((str(folder),)), on_event=lambda _e: None)
    documents = engine.documents()
    work = Work(engine.desk(documents), None, "sentences", 0)
    request = WholeRequest(task="compare", documents=tuple(d.id for d in documents))
    return [e for e in compare(request, documents, work) if isinstance(e, Difference)]


@pytest.mark.parametrize("seed", range(6))
def test_exactly_the_edits_are_found(tmp_path: Path, seed: int) -> None:
    # GIVEN a contract and a version of it with numbers changed, words changed, clauses dropped, added and moved
    random_ = random.Random(seed)
    first = clauses(random_, 40)
    picked = random_.sample(range(40), 8)
    numbers, wording, dropped, moved = picked[:2], picked[2:4], picked[4:6], picked[6:]
    second = list(first)
    for i in numbers:
        days = next(word for word in first[i].split() if word.isdigit())
        second[i] = first[i].replace(f" {days} ", f" {int(days) + 100} ")
    for i in wording:
        second[i] = first[i].replace("of each arrival", "following every landing")
    added = clauses(random_, 2, start=200)
    rest = [s for i, s in enumerate(second) if i not in {*dropped, *moved}]
    second = [*rest[:10], added[0], *rest[10:], added[1], *(first[i] for i in moved)]
    # WHEN they are compared
    found = differences(tmp_path, first, second)
    # THEN each edit is named with its kind, and nothing else is
    by_kind: dict[str, list[Difference]] = {"facts": [], "wording": [], "only": []}
    for difference in found:
        by_kind[difference.change].append(difference)

    def said(difference: Difference, side: int) -> str:
        citation = difference.sides[side].citation
        return "" if citation is None else citation.quote.strip()

    assert {said(d, 0) for d in by_kind["facts"]} == {first[i] for i in numbers}
    assert all(int(d.sides[1].facts[0]) == int(d.sides[0].facts[0]) + 100 for d in by_kind["facts"])
    assert {said(d, 0) for d in by_kind["wording"]} == {first[i] for i in wording}
    assert {said(d, 0) for d in by_kind["only"]} - {""} == {first[i] for i in dropped}
    assert {said(d, 1) for d in by_kind["only"]} - {""} == set(added)
    # AND the most telling come first
    order = [d.change for d in found]
    assert order == sorted(order, key=["facts", "wording", "only"].index)


def test_versions_without_an_edit_do_not_differ(tmp_path: Path) -> None:
    text = clauses(random.Random(1), 12)
    assert differences(tmp_path, text, [s.replace(" shall ", "  shall\n") for s in reversed(text)]) == []
