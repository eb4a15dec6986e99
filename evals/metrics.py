"""What one question scores: ranks, words of the answer, quotes and citations. Pure functions over plain values.

Answers are compared as SQuAD does it (Rajpurkar et al. 2016, 2018: lower case, no punctuation, no articles, best of the
acceptable answers). A gain counts once: a second passage from the same gold page adds nothing to nDCG.
"""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Sequence

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = frozenset(string.punctuation + "“”‘’„«»…。，、；：？！（）《》")
_CJK = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_TOKEN = re.compile(rf"[{_CJK}]|[^\W{_CJK}]+")
RUN = 5  # words in a row that must agree when a gold passage and a quote overlap only in part


# ------------------------------------------------------------------------------------------------ words


def normalise(text: str) -> list[str]:
    """SQuAD's normalisation as a list of tokens; scripts without spaces count by character."""
    bare = "".join(c for c in text.lower() if c not in _PUNCTUATION)
    bare = _ARTICLES.sub(" ", bare)
    return [token for word in bare.split() for token in (re.findall(rf"[{_CJK}]|[^{_CJK}]+", word))]


def exact_match(answer: str, accepted: Sequence[str]) -> float:
    """1 when the answer equals one of `accepted` after normalisation. Raises `ValueError` without any."""
    if not accepted:
        raise ValueError("no accepted answer to compare with")
    return float(any(normalise(answer) == normalise(gold) for gold in accepted))


def token_f1(answer: str, accepted: Sequence[str]) -> float:
    """Best F1 of token overlap with one of `accepted`. Raises `ValueError` without any."""
    if not accepted:
        raise ValueError("no accepted answer to compare with")
    return max(_f1(normalise(answer), normalise(gold)) for gold in accepted)


def _f1(said: list[str], gold: list[str]) -> float:
    if not said or not gold:
        return float(said == gold)
    common = sum((Counter(said) & Counter(gold)).values())
    return 2 * common / (len(said) + len(gold))


def holds(text: str, gold: str) -> bool:
    """Whether `text` carries the gold passage: all of it, or half of either in runs of five words.

    The second case is for clauses longer than a quote, or cut by a passage's edge.
    """
    words, wanted = _words(text), _words(gold)
    if not wanted:
        return False
    if f" {' '.join(wanted)} " in f" {' '.join(words)} ":
        return True
    if min(len(words), len(wanted)) < 2 * RUN:
        return False
    ours, theirs = _runs(words), _runs(wanted)
    return len(ours & theirs) >= 0.5 * min(len(ours), len(theirs))


def _words(text: str) -> list[str]:
    return _TOKEN.findall(text.casefold())


def _runs(words: list[str]) -> set[tuple[str, ...]]:
    return {tuple(words[i : i + RUN]) for i in range(len(words) - RUN + 1)}


# ------------------------------------------------------------------------------------------------ ranks


def gains(found: Sequence[frozenset[int]]) -> list[bool]:
    """Whether each result shows a gold item that none before it showed; `found` holds gold items by result."""
    seen: set[int] = set()
    out: list[bool] = []
    for items in found:
        out.append(bool(items - seen))
        seen |= items
    return out


def hit(found: Sequence[frozenset[int]], depth: int) -> float:
    """1 when one of the first `depth` results shows a gold item."""
    return float(any(found[:depth]))


def reciprocal_rank(found: Sequence[frozenset[int]]) -> float:
    """1 over the rank of the first result that shows a gold item, 0 when none does."""
    return next((1 / rank for rank, items in enumerate(found, start=1) if items), 0.0)


def ndcg(found: Sequence[frozenset[int]], gold: int, depth: int) -> float:
    """Discounted cumulative gain of the first `depth` results over the best possible (Järvelin and Kekäläinen 2002).

    The ideal shows one of the `gold` items by result. Raises `ValueError` when there is none.
    """
    if gold < 1:
        raise ValueError("no gold item to find")
    got = sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains(found[:depth]), start=1))
    ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(gold, depth) + 1))
    return got / ideal


def share_right(found: Sequence[frozenset[int]]) -> float | None:
    """Precision: share of results that show a gold item; `None` without results."""
    return sum(map(bool, found)) / len(found) if found else None


def share_found(found: Sequence[frozenset[int]], gold: int) -> float:
    """Recall: share of the gold items that some result shows."""
    return len(frozenset().union(*found)) / gold
