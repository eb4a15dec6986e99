"""Words to BM25 term weights, the same for every adapter, for documents and for questions.

The weights come from `qdrant_edge.Bm25`; what this module adds is the clean-up without which its multilingual
tokenizer loses words (each found by measurement, see docs/decisions/fusion.md):

- a no-break space is no word boundary to it, and PDFs are full of them: text is NFKC-normalised first;
- it drops numbers that stand alone, so that neither a year nor "10.13" nor an amount could be found: a number is
  spelt in consonants, which no segmenter cuts and no stemmer shortens (`2020` -> `zqdbdb`), and a dotted one becomes
  a word of its own beside its parts;
- it leaves `WomensGolf_ISO9001` in one piece, and file names look like that: words are cut where the case or the kind
  of character changes, and the uncut word is kept beside its parts.

The words of a document's name are kept apart from those of its passages (fields, as in BM25F: Robertson, Zaragoza,
Taylor 2004). They say which document is meant, not which passage of it: what a passage repeats of them counts nothing,
or every heading and signature page that spells the agreement's name would come before the clause that was asked for.

Term frequencies are weighted here; inverse document frequency belongs to the engine, which alone knows the corpus.
Changing anything that changes the terms must change `SPARSE_FINGERPRINT`, or old and new points would not match.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from dataclasses import dataclass
from typing import Any

# Passages are short and of similar length, and want less normalisation than BM25's 1.2 / 0.75, which was tuned on
# articles. All of these figures: docs/decisions/retrieval.md.
_K, _B, _AVERAGE_LENGTH = 0.9, 0.6, 256.0
# A name's word weighs as much as one that a short passage repeats. A question that says little besides a document's
# name is about what the document opens with: title, parties, date.
NAME_WEIGHT, OPENING = 1.5, 1.13
SPARSE_FINGERPRINT = f"bm25-multilingual-v2:k={_K}:b={_B}:len={_AVERAGE_LENGTH:g}:name={NAME_WEIGHT}:opening={OPENING}"

_LETTERS = "A-Za-z\u00c0-\u024f\u0370-\u03ff\u0400-\u04ff"
_LOWER, _UPPER = "a-z\u00df-\u00f6\u00f8-\u00ff\u0430-\u045f", "A-Z\u00c0-\u00d6\u00d8-\u00de\u0400-\u042f"
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff]")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_DOTTED = re.compile(r"(?<![\d.])\d{1,12}(?:\.\d{1,12}){1,8}(?![\d.]*\d)")
_OTHER_DIGIT = re.compile(r"[^\D0-9]")
_SPELT = str.maketrans("0123456789.", "bcdfghjklmx")
_WORD = re.compile(f"[{_LETTERS}0-9]+")
_CUT = re.compile(f"(?<=[{_LOWER}])(?=[{_UPPER}])|(?<=[{_LETTERS}])(?=[0-9])|(?<=[0-9])(?=[{_LETTERS}])")


@dataclass(frozen=True, slots=True)
class SparseTerms:
    """Term ids and weights, in matching order; empty when the text holds no searchable word."""

    indices: tuple[int, ...]
    values: tuple[float, ...]


class SparseEncoder:
    """BM25 term weights for documents and questions. Safe to share between threads."""

    def __init__(self) -> None:
        from qdrant_edge import Bm25, Bm25Config, TokenizerType

        config = Bm25Config(k=_K, b=_B, avg_len=_AVERAGE_LENGTH, tokenizer=TokenizerType.Multilingual)
        self._bm25: Any = Bm25(config)
        self._lock = threading.Lock()

    def document(self, text: str, *, name: str = "", opening: bool = False) -> SparseTerms:
        """Weights of a passage: term frequency, saturated and normalised by length.

        Words of the document's `name` have one weight in all of its passages, a little more in the `opening` one.
        """
        weights = self._weights(self._bm25.embed_document, text)
        called = NAME_WEIGHT * (OPENING if opening else 1.0)
        weights |= dict.fromkeys(self._weights(self._bm25.embed_query, name), called)
        return SparseTerms(tuple(weights), tuple(weights.values()))

    def query(self, text: str) -> SparseTerms:
        """Weights of a question: 1 for each distinct term."""
        weights = self._weights(self._bm25.embed_query, text)
        return SparseTerms(tuple(weights), tuple(weights.values()))

    def _weights(self, embed: Any, text: str) -> dict[int, float]:
        with self._lock:
            vector = embed(normalise(text))
        return dict(zip(vector.indices, vector.values, strict=True))


def normalise(text: str) -> str:
    """Rewrite `text` so that the tokenizer sees every word and every number. Idempotence is not promised."""
    text = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text)).replace("_", " ")
    text = _OTHER_DIGIT.sub(lambda m: str(unicodedata.decimal(m[0])), text)
    text = _THOUSANDS.sub("", text)
    dotted = " ".join(_spell(number) for number in _DOTTED.findall(text))
    return " ".join(f"{_WORD.sub(_split_word, text)} {dotted}".split())


def _split_word(match: re.Match[str]) -> str:
    word = match[0]
    parts = _CUT.split(word)
    split = " ".join(_spell(part) if part[0].isdigit() else part for part in parts)
    return f" {split} {word} " if len(parts) > 1 else f" {split} " if word[0].isdigit() else word


def _spell(number: str) -> str:
    return "zq" + number.translate(_SPELT)
