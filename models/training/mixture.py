"""What is trained on, in which order: synthetic questions, then people's with clauses and claims, mixed each epoch.

Synthetic questions are made by rules and, where a language model writes them (`question_writer`), by that too. A part
of all questions is asked as people type: with a letter wrong, or the telling words alone.

The split is by article and by filer. `DEV_GROUPS`, and every fourteenth filer, only calibrate; `TEST_GROUPS`, the
clause categories of `questions.UNSEEN` and the contracts of `cuad/` are not touched at all.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from models.training.data import (
    DEV_GROUPS,
    SHARE_ALIKE,
    TEST_GROUPS,
    Embed,
    cuad,
    distinct,
    hard_negatives,
    plausible,
    pubmedqa,
    split,
    squad,
    tatqa,
    texts,
)
from models.training.examples import Example
from models.training.support import support, support_from_answers
from models.training.synthetic import as_typed, changed_questions, cloze
from models.training.text import sentences
from strongroom.errors import UsageError

Passages = list[tuple[str, str]]  # (group, text)
Write = Callable[[Passages, int], list[Example]]  # questions about passages, at most so many for each

SQUAD_FILES = ("squad2/dev_public.json", "training/squad2_more.json")
KEPT = ("dev", "dev_clauses", "dev_others", "dev_claims", "test")
FILERS_KEPT = 14  # one filer in so many calibrates


@dataclass(frozen=True, slots=True)
class Amounts:
    """Examples an epoch by source, beside all questions of SQuAD, XQuAD and TAT-QA. Small values make a quick trial."""

    negatives: int = 700
    changed: float = 0.15  # share of the answerable questions asked again with a changed name or number
    clauses: int = 1300
    clauses_absent: int = 1500
    abstracts: int = 150
    abstracts_other: int = 80
    claims: int = 1200
    claims_from_answers: int = 1500
    cloze_each: int = 5  # synthetic questions a stretch of three sentences
    cloze_other: int = 700  # stretches of contracts and of reports
    write_about: int = 6000  # passages, articles aside, that a language model writes questions about
    write_each: int = 6  # questions tried for each of them; for an article's four times as many
    written: int = 8000  # of these in each later epoch
    typed: float = 0.12  # share of the questions asked as people type
    epochs: int = 3
    contracts: int | None = None  # at most so many contracts are read
    questions: int | None = None  # at most so many questions of SQuAD's form
    synthetic: int | None = None  # at most so many examples of the first stage


TRIAL = Amounts(
    20, 0.15, 20, 20, 8, 8, 20, 20, cloze_each=1, cloze_other=10, write_about=10, write_each=1, written=20,
    epochs=1, contracts=3, questions=150, synthetic=60,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mixture:
    """Epochs of the two stages, and what was kept apart."""

    first: list[list[Example]]
    second: list[list[Example]]
    dev: list[Example]
    dev_clauses: list[Example]
    dev_others: list[Example]  # questions of `dev` with passages that do not answer them
    dev_claims: list[Example]
    test: list[Example]

    def save(self, path: Path) -> None:
        """Write as JSON, so that a resumed run trains on the very same examples."""
        partial = path.with_suffix(".part")
        partial.write_text(json.dumps(asdict(self)), encoding="utf-8")
        partial.replace(path)

    @classmethod
    def load(cls, path: Path) -> Mixture:
        """Read what `save` wrote."""
        held = json.loads(path.read_text(encoding="utf-8"))
        first, second = ([[_example(e) for e in epoch] for epoch in held[key]] for key in ("first", "second"))
        return cls(first, second, *([_example(e) for e in held[key]] for key in KEPT))


def mixture(
    data: Path,
    embed: Embed,
    *,
    without: frozenset[str],
    seed: int,
    amounts: Amounts,
    tell: Callable[[str], None],
    write: Callable[[list[Example]], Write] | None = None,
    more: Path | None = None,
) -> Mixture:
    """Read the sets below `data` and mix them. `without` names sources to leave out (`SHARE_ALIKE`).

    `write`, given people's questions to learn from, gives what writes questions about passages: of the sets, and of the
    text files in the folder `more`.
    """
    rng = random.Random(seed)
    read: list[Example] = []
    wrong: dict[str, str] = {}
    for source, name in (*(("squad", name) for name in SQUAD_FILES), ("xquad", "training/xquad_en.json")):
        if _there(data / name, tell):
            read += squad(data / name, source)
            wrong |= plausible(data / name)
    read = distinct(read)
    if amounts.questions is not None:
        read = rng.sample(read, min(len(read), amounts.questions))
    others, dev = split(read, DEV_GROUPS)
    people, test = split(others, TEST_GROUPS)
    if without & SHARE_ALIKE:
        people, dev = [e for e in people if e.source not in without], [e for e in dev if e.source not in without]
    tell(f"{len(people)} questions to train on, {len(dev)} to calibrate, {len(test)} kept for the test")
    trained = frozenset(e.group for e in people)
    negatives, dev_others = [], []
    for example in hard_negatives(read, embed=embed, rng=rng):
        groups = frozenset(example.group.split("|"))
        if groups <= trained:
            negatives.append(example)
        elif groups <= frozenset(e.group for e in dev):
            dev_others.append(example)
    money = tatqa(data / "training/tatqa_dev.json") if _there(data / "training/tatqa_dev.json", tell) else []
    abstracts = pubmedqa(data / "pubmedqa/pqal_dev500.json") if _there(data / "pubmedqa/pqal_dev500.json", tell) else []
    abstracts_other = hard_negatives(abstracts, embed=embed, rng=rng) if abstracts else []
    clauses: list[Example] = []
    if _there(data / "training/cuad_spans.jsonl", tell):
        clauses = cuad(data / "training/cuad_spans.jsonl", embed=embed, rng=rng, most=amounts.contracts)
    filers = sorted({e.group for e in clauses})
    kept = frozenset(filers[::FILERS_KEPT]) if len(filers) > 1 else frozenset()
    clauses, dev_clauses = split(clauses, kept)
    tell(f"{len(clauses)} windows of contracts to train on, {len(dev_clauses)} of other filers to calibrate")
    present = [e for e in clauses if e.answerable == 1]
    absent = [e for e in clauses if e.answerable == 0]
    articles = _passages(people)
    medical = _passages(abstracts)
    reports = _passages(money)
    contracts = _passages(present)

    first = cloze(_stretches(articles), rng, each=amounts.cloze_each) + cloze(_stretches(medical), rng, each=1)
    for other in (_stretches(reports), _stretches(contracts)):
        first += cloze(rng.sample(other, min(len(other), amounts.cloze_other)), rng, each=1)
    first += support(articles + medical, rng, each=2)
    first = first if amounts.synthetic is None else rng.sample(first, min(len(first), amounts.synthetic))
    firsts, written = [first], []
    if write is not None:
        about = [*medical, *reports, *contracts, *_passages(absent), *(texts(more) if more else ())]
        writer = write(people + money)
        written = writer(articles, 4 * amounts.write_each)
        written += writer(rng.sample(about, min(len(about), amounts.write_about)), amounts.write_each)
        claims = support(articles + medical, rng, each=4)
        firsts = [written + first, written + claims]
    second = []
    for number in range(amounts.epochs):
        draw = random.Random(seed * 1000 + 100 + number)
        epoch = [*people, *money, *changed_questions(people, draw, share=amounts.changed)]
        for pool, count in (
            (negatives, amounts.negatives),
            (present, amounts.clauses),
            (absent, amounts.clauses_absent),
            (abstracts, amounts.abstracts),
            (abstracts_other, amounts.abstracts_other),
            (support(articles + medical or contracts, draw, each=2), amounts.claims),
            (support_from_answers(people, wrong, draw), amounts.claims_from_answers),
            (written, amounts.written),
        ):
            epoch += draw.sample(pool, min(len(pool), count))
        second.append(list(_typed(epoch, amounts.typed, draw)))
    firsts = [list(_typed(epoch, amounts.typed, rng)) for epoch in firsts]
    dev_claims = support(_passages(dev), rng, each=2) + support_from_answers(dev, wrong, rng)
    return Mixture(firsts, second, dev, dev_clauses, dev_others, dev_claims, test)


def free_of(mixed: Mixture, without: frozenset[str]) -> Mixture:
    """A mixture without the articles of some sources: no question, claim or cloze of their words; the test stays."""

    def is_free(example: Example) -> bool:
        return not groups & set(example.group.split("|"))

    named = [e for epoch in mixed.second for e in epoch] + mixed.dev + mixed.dev_others
    groups = {group for e in named if e.source.split("-")[0] in without for group in e.group.split("|")}
    first, second = ([[e for e in epoch if is_free(e)] for epoch in stage] for stage in (mixed.first, mixed.second))
    kept = {name: [e for e in getattr(mixed, name) if is_free(e)] for name in KEPT if name != "test"}
    return Mixture(first, second, **kept, test=mixed.test)


def thinned(mixed: Mixture, shares: Mapping[str, float], *, epochs: int, seed: int) -> Mixture:
    """The first `epochs` of a mixture, each with only a share of the examples of the sources named: other weights.

    Raises `UsageError` for a source that the mixture does not have.
    """
    known = {e.source for stage in (mixed.first, mixed.second) for epoch in stage for e in epoch}
    if unknown := sorted(set(shares) - known):
        raise UsageError(
            f"no examples of the source {', '.join(unknown)}", hint=f"Sources here: {', '.join(sorted(known))}."
        )
    rng = random.Random(seed)

    def kept(epoch: list[Example]) -> list[Example]:
        return [e for e in epoch if e.source not in shares or rng.random() < shares[e.source]]

    return replace(
        mixed, first=[kept(epoch) for epoch in mixed.first], second=[kept(epoch) for epoch in mixed.second[:epochs]]
    )


def _typed(epoch: Iterable[Example], share: float, rng: random.Random) -> Iterable[Example]:
    """The examples, some of their questions as people type them; claims, clauses and cloze questions stay."""
    for example in epoch:
        asked = example.source.split("-")[0] in ("squad", "xquad", "tatqa", "written")
        typed = asked and rng.random() < share
        yield replace(example, question=as_typed(example.question, rng)) if typed else example


def _there(path: Path, tell: Callable[[str], None]) -> bool:
    if not path.exists():
        tell(f"{path} is not there: trained without it")
    return path.exists()


def _passages(examples: Sequence[Example]) -> Passages:
    return list({(e.group, e.passage): None for e in examples})


def _stretches(passages: Passages, size: int = 3) -> Passages:
    """Runs of a few sentences, each with the sentence before it: shorter than passages, so that more fit a second."""
    out = []
    for group, text in passages:
        found = sentences(text)
        for at in range(0, len(found), size):
            part = found[max(0, at - 1) : at + size]
            stretch = text[part[0][0] : part[-1][1]][:1200]
            if len(stretch) > 80:
                out.append((group, stretch))
    return out


def _example(held: dict[str, object]) -> Example:
    spans = held["spans"]
    return Example(
        **{  # type: ignore[arg-type]
            **held,
            "spans": None if spans is None else tuple((a, b) for a, b in spans),  # type: ignore[attr-defined]
            "answers": tuple(held["answers"]),  # type: ignore[arg-type]
        }
    )
