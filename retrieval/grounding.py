"""How far the quotes carry each sentence of an answer, and which quotes it cites.

Words and meaning must be near those of a cited quote, and what can be checked exactly is: numbers with their units,
dates and names that stand in no cited quote can never be "supported". The reader must agree, and a model of natural
language inference where one is installed: they can take support away, never give it. Wrong in the careful direction: an
honest paraphrase may come out as "partial". Must not change a sentence and must not drop a number that the model
invented.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from retrieval import lexical
from retrieval.evidence import Evidence
from retrieval.facts import facts
from retrieval.sentences import split_sentences
from strongroom.ports import Embedder, Entailment, Reader, Vector, Vectors
from strongroom.types import Sentence, Support

SUPPORTED_WORDS, SUPPORTED_COSINE = 0.75, 0.60  # both, and no foreign fact
PARTIAL_WORDS, PARTIAL_COSINE = 0.40, 0.55  # either
Row = list[tuple[set[str], set[str]]]
ATTACH_WORDS, ATTACH_COSINE = 0.65, 0.60  # a sentence that cites nothing gets the quote that carries it
READ_SUPPORTED = 0.5  # the reader's probability below which a sentence is not "supported"
READ_UNSUPPORTED = 0.1  # and below which it is not even "partial"
APART = 3  # words within which the parts of a name stand in a quote ("Jane A. Doe", "Doe, Jane")
INFERRED = 0.5  # the probability from which a sentence follows from its quotes, or goes against them


def check(
    text: str,
    marks: Sequence[tuple[int, int]],
    evidence: Sequence[Evidence],
    question: str,
    embedder: Embedder,
    reader: Reader,
    *,
    nli: Entailment | None = None,
    shown: int | None = None,
) -> tuple[Sentence, ...]:
    """Cut `text` into sentences, give each its citations from `marks` (offset, number), and judge its support.

    The model was shown the first `shown` quotes (all of them unless said): other numbers are its invention and become
    `Sentence.invalid`. One embedding call for all sentences, and for each that cites one to the reader and to `nli`.
    """
    spans = [(s.start, s.end) for s in split_sentences(text)]
    if not spans:
        return ()
    cited = assign(text, spans, marks)
    pieces = [text[start:end] for start, end in spans]
    quotes = _Quotes(evidence, len(evidence) if shown is None else shown)
    vectors = embedder.embed_documents(pieces)
    judged = (
        _judge(piece, numbers, quotes, cosines, question)
        for piece, numbers, cosines in zip(pieces, cited, quotes.cosines(vectors), strict=True)
    )
    return tuple(_agreed(sentence, evidence, quotes, reader, nli) for sentence in judged)


def _agreed(
    sentence: Sentence, evidence: Sequence[Evidence], quotes: _Quotes, reader: Reader, nli: Entailment | None
) -> Sentence:
    """The sentence with the models' say: words that look carried may stand in a wrong relation."""
    chosen = [n - 1 for n in sentence.citations]
    if sentence.support == "unsupported" or not chosen or _word_for_word(sentence.text, chosen, quotes):
        return sentence
    texts = [evidence[i].text for i in chosen]
    sure = max(reader.support(sentence.text, texts))
    denied, doubted = sure < READ_UNSUPPORTED, sure < READ_SUPPORTED
    if nli is not None:
        # Also all quotes in a row: a sentence may draw on two of them.
        said = nli.infer(sentence.text, texts if len(texts) == 1 else [*texts, " ".join(texts)])
        follows = any(one.entails >= INFERRED for one in said)
        denied = denied or (not follows and any(one.contradicts >= INFERRED for one in said))
        doubted = doubted or not follows
    if denied:
        return replace(sentence, support="unsupported")
    return replace(sentence, support="partial") if doubted else sentence


def assign(text: str, spans: Sequence[tuple[int, int]], marks: Sequence[tuple[int, int]]) -> list[tuple[int, ...]]:
    """The citation numbers of each sentence span.

    A mark belongs to the sentence it stands in or behind; at the beginning of a line, to the sentence that follows.
    """
    out: list[list[int]] = [[] for _ in spans]
    for offset, number in marks:
        index = max((i for i, (start, _) in enumerate(spans) if start < offset), default=0)
        line = text[:offset].rsplit("\n", 1)[-1]
        if not line.strip() and index + 1 < len(spans) and offset >= spans[index][1]:
            index += 1
        if number not in out[index]:
            out[index].append(number)
    return [tuple(numbers) for numbers in out]


class _Quotes:
    """The quotes as sets of words and facts, made once for a whole answer."""

    def __init__(self, evidence: Sequence[Evidence], shown: int) -> None:
        self.count, self.shown = len(evidence), shown
        self.folded = [" ".join(lexical.words(e.text)) for e in evidence]
        self.terms = [set(lexical.terms(f"{e.text} {e.chunk.document.name}")) for e in evidence]
        self.facts = [facts(e.text) for e in evidence]
        self.said = [lexical.words(f"{e.text}\n{e.chunk.document.name}") for e in evidence]
        self.words = [{lexical.stem(w) for w in lexical.words(f"{e.text} {e.chunk.document.name}")} for e in evidence]
        self.rows = [_rows(e.text) for e in evidence]
        self.sentences = [
            [(set(lexical.terms(part)), lexical.negated(part)) for part in _parts(e.text)] for e in evidence
        ]
        self._vectors = [e.vector for e in evidence]

    def cosines(self, vectors: Vectors) -> Vectors:
        """Cosine of every sentence (row) to every quote (column)."""
        if not self._vectors:
            return np.zeros((len(vectors), 0), dtype=np.float32)
        return vectors @ np.stack(self._vectors).T


def _parts(text: str) -> list[str]:
    return [text[s.start : s.end] for s in split_sentences(text)]


def _rows(text: str) -> list[Row]:
    """Lines of labelled cells (`Budget: 10 | Outturn: 12`), as the table parsers write them.

    A cell is the words that only its label has among the labels of its row, and the numbers of its value.
    """
    rows: list[Row] = []
    for line in text.split("\n"):
        cells = [cell.partition(": ") for cell in line.split(" | ")]
        labelled = [(set(lexical.terms(label)), lexical.numbers(value)) for label, mark, value in cells if mark]
        if len(labelled) > 1:
            common = Counter(term for label, _ in labelled for term in label)
            rows.append([(_own_words({t for t in label if common[t] == 1}), numbers) for label, numbers in labelled])
    return rows


def _own_words(label: set[str]) -> set[str]:
    """What a sentence calls a column by: "Budget 2026/27" is the budget; only columns of bare years need the year."""
    return {term for term in label if not term[0].isdigit()} or label


def _crossed(piece: str, row: Row) -> bool:
    """True when a sentence names one column of a row and gives the number of a column that it does not name."""
    terms, numbers = set(lexical.terms(piece)), lexical.numbers(piece)
    named = [bool(label) and 2 * len(label & terms) >= len(label) for label, _ in row]
    said = set[str]().union(*(held for (_, held), is_named in zip(row, named, strict=True) if is_named))
    unnamed = set[str]().union(*(held for (_, held), is_named in zip(row, named, strict=True) if not is_named))
    # A column that is named and whose number is not given; another's number stands in its place.
    robbed = any(held and not held & numbers for (_, held), is_named in zip(row, named, strict=True) if is_named)
    return robbed and bool((numbers & unnamed) - said)


def _judge(piece: str, cited: tuple[int, ...], quotes: _Quotes, cosines: Vector, question: str) -> Sentence:
    invalid = tuple(n for n in cited if not 1 <= n <= quotes.shown)
    valid = tuple(n for n in cited if 1 <= n <= quotes.shown)
    if not valid:
        best = _carrier(piece, quotes, cosines)
        # A quote that does not carry the sentence (the number differs) must not lend it the look of a source.
        if best and _support(piece, (best,), quotes, cosines, question) != "unsupported":
            valid = (best,)
    support = _support(piece, valid, quotes, cosines, question)
    return Sentence(piece, support, valid, invalid, unfounded=_unfounded(piece, quotes, question))


def _unfounded(piece: str, quotes: _Quotes, question: str) -> tuple[str, ...]:
    """Numbers, dates and names of a sentence that stand in no quote at all; names of the question are no invention."""
    known = set[str]().union(*quotes.words, {lexical.stem(w) for w in lexical.words(question)})
    strange = lexical.names(piece) - known
    words = (m.group() for m in re.finditer(r"[^\W_]+", piece))
    names = [word for word in words if lexical.stem(word.casefold()) in strange]
    return tuple(dict.fromkeys([*facts(piece).unsaid(quotes.facts), *names]))


def _carrier(piece: str, quotes: _Quotes, cosines: Vector) -> int | None:
    """The number of the quote that carries an uncited sentence, if one does."""
    terms = set(lexical.terms(piece))
    best, number = 0.0, None
    for i in range(quotes.count):
        share = _share(terms, quotes.terms[i])
        whole = bool(quotes.folded[i]) and " ".join(lexical.words(piece)) in quotes.folded[i] and bool(terms)
        if whole or (share >= ATTACH_WORDS and cosines[i] >= ATTACH_COSINE):
            fit = share + float(cosines[i]) + (1.0 if whole else 0.0)
            if fit > best:
                best, number = fit, i + 1
    return number


def _share(terms: set[str], held: set[str]) -> float:
    return len(terms & held) / len(terms) if terms else 0.0


def _word_for_word(piece: str, chosen: Sequence[int], quotes: _Quotes) -> bool:
    folded = " ".join(lexical.words(piece))
    return any(f" {folded} " in f" {quotes.folded[i]} " for i in chosen)


def _support(piece: str, cited: tuple[int, ...], quotes: _Quotes, cosines: Vector, question: str) -> Support:
    """Judge one sentence by the quotes it cites."""
    terms = set(lexical.terms(piece))
    if not cited or not terms:
        return "unsupported"
    chosen = [n - 1 for n in cited]
    # Before the words, because words know no separators: "100" is a word of "100,000".
    if facts(piece).unsaid([quotes.facts[i] for i in chosen]):
        return "unsupported"  # a number or a date that no cited quote has
    if _word_for_word(piece, chosen, quotes):
        return "supported"
    held = set().union(*(quotes.words[i] for i in chosen))
    foreign = {n for n in lexical.names(piece) if n not in held}
    if foreign - {lexical.stem(w) for w in lexical.words(question)}:
        return "unsupported"  # a name from nowhere
    exact = _names_exactly(piece, [*(quotes.said[i] for i in chosen), lexical.words(question)])
    share = max(_share(terms, set().union(*(quotes.terms[i] for i in chosen))), 0.0)
    cosine = max(float(cosines[i]) for i in chosen)
    nearest = max(chosen, key=lambda i: float(cosines[i]))
    same_sense = lexical.negated(piece) == _nearest_negated(terms, quotes.sentences[nearest])
    crossed = any(_crossed(piece, row) for i in chosen for row in quotes.rows[i])
    if share >= SUPPORTED_WORDS and cosine >= SUPPORTED_COSINE and not foreign and exact and same_sense and not crossed:
        return "supported"
    if share >= PARTIAL_WORDS or cosine >= PARTIAL_COSINE:
        return "partial"
    return "unsupported"


def _names_exactly(piece: str, texts: Sequence[Sequence[str]]) -> bool:
    """Whether every name of a sentence stands in one of the texts, letter for letter, its parts beside each other.

    "Peters" is not "Peter", and "John Smith" is not said by "John Miller and his sister Anna Smith".
    """
    held = set[str]().union(*texts)
    pairs = {frozenset((a, b)) for words in texts for i, a in enumerate(words) for b in words[i + 1 : i + 1 + APART]}
    return all(
        set(name) <= held and all(frozenset(pair) in pairs for pair in pairwise(name))
        for name in lexical.full_names(piece)
    )


def _nearest_negated(terms: set[str], sentences: Sequence[tuple[set[str], bool]]) -> bool:
    """Whether the sentence of a quote that shares most words with `terms` denies something."""
    return max(sentences, key=lambda each: _share(terms, each[0]), default=(set[str](), False))[1]
