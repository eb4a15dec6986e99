"""Constrain decoding to quotes: whatever a model prefers, the text that comes out is cut from the sources.

Method: at each step only tokens that continue some place in a source are allowed (a mask over the logits, as in
constrained decoding by tries, e.g. De Cao et al. 2021, arXiv:2010.00904). Text is never taken from the model's tokens:
a token only moves a cursor, and what is emitted is the slice of the source that the cursor passed. So every run is a
substring of a source by construction, whatever the tokenizer does.

A run starts at the beginning of a sentence (or of a word, if asked) and ends at the end of one, where the model may
stop, go on into the next sentence, or start another run; runs are joined by `SEPARATOR`. White space matches white
space, so that a line break in a page does not keep the model from reading on; the emitted text keeps the source's own.
What was quoted is not offered again.

Knows no model: it is given a vocabulary of byte strings.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from strongroom.ports import QUOTE_SEPARATOR

# No beginning of the separator is also an end of it, so a run that ends in "…" cannot blur where it stands.
SEPARATOR = QUOTE_SEPARATOR
_LONG = 300  # characters without a sentence end, after which line breaks count as ends (tables, lists)
_END = re.compile(r"(?:[.!?…]+[\"'”’)\]]*(?=\s|$))|[。！？]+[”’」』）]*|(?=\s*\n\s*\n)")
_LINE_END = re.compile(r"(?<=\S)\s*\n")
_NUMBERING = re.compile(
    r"\(?(?:[0-9]{1,3}|[A-Za-z]|[ivx]{2,4}|[IVX]{2,4})(?:\.[0-9]{1,3}){0,4}[.)]+"
)  # "4.", "(b).", "2.3.1." open a sentence
_ABBREVIATION = re.compile(
    r"(?:\b[A-Za-z]|\b(?:No|Nos|Art|Sec|Sect|Fig|Mr|Mrs|Ms|Dr|Prof|Inc|Ltd|Co|Corp|St|vs|cf|etc|approx|e\.g|i\.e))\.$"
)


class Vocabulary:
    """Byte strings by token id. Tokens without text (control tokens) have an empty string; `ends` finish the text."""

    def __init__(self, pieces: Sequence[bytes], ends: Iterable[int]) -> None:
        self.pieces = tuple(pieces)
        self.ends = tuple(sorted(set(ends)))
        self._ids: dict[bytes, list[int]] = {}
        ending = set(self.ends)
        for token, piece in enumerate(self.pieces):
            if piece and token not in ending:
                self._ids.setdefault(piece, []).append(token)
        self._longest = max((len(piece) for piece in self._ids), default=0)

    def beginnings(self, data: bytes, at: int, lead: bytes = b"") -> list[int]:
        """Tokens whose piece is `lead` and a non-empty beginning of `data[at:]`."""
        found: list[int] = []
        for length in range(1, min(self._longest - len(lead), len(data) - at) + 1):
            found += self._ids.get(lead + data[at : at + length], ())
        return found


@dataclass(slots=True)
class _Source:
    """A text, its bytes with white space folded to single spaces, and the way back.

    `upto[p]` is the number of characters of `text` that lie wholly before byte `p`.
    """

    text: str
    data: bytes
    upto: list[int]
    starts: tuple[int, ...]
    ends: frozenset[int]
    quoted: bytearray


class VerbatimConstraint:
    """One constrained generation. Not for use by several threads."""

    def __init__(self, sources: Sequence[str], vocabulary: Vocabulary, *, words: bool = False) -> None:
        """`words` lets a run start at any word instead of any sentence."""
        self._vocabulary = vocabulary
        self._sources = [_fold(text, words=words) for text in dict.fromkeys(sources) if text.strip()]
        self._openings: dict[int, list[tuple[int, int]]] | None = None
        self._length = 0  # bytes of the current run
        self._run: list[tuple[int, int]] = []  # (source, byte after the run so far) for each place that fits
        self._quoted_any = False
        self.finished = not self._sources

    def allowed(self) -> list[int]:
        """Token ids that may come next; never empty."""
        if self.finished:
            return list(self._vocabulary.ends)
        tokens = set()
        for source, at in self._run:
            if not self._blocked(source, at):
                tokens.update(self._vocabulary.beginnings(self._sources[source].data, at))
        if self._may_break():
            tokens.update(token for token, places in self._opening_tokens().items() if self._free(places))
            if self._quoted_any:
                tokens.update(self._vocabulary.ends)
        return sorted(tokens) or list(self._vocabulary.ends)

    def accept(self, token: int) -> str:
        """Move on by `token`; return the text that this adds (possibly empty). Raises `ValueError` if not allowed."""
        if token in self._vocabulary.ends:
            self.finished = True
            return ""
        piece = self._vocabulary.pieces[token] if 0 <= token < len(self._vocabulary.pieces) else b""
        going = [
            (source, at + len(piece))
            for source, at in self._run
            if piece and not self._blocked(source, at) and self._sources[source].data.startswith(piece, at)
        ]
        if going:
            return self._advance(going, len(piece))
        if not self._may_break():
            raise ValueError(f"token {token} does not continue a quote")
        opening = self._free(self._opening_tokens().get(token, []))
        if not opening:
            raise ValueError(f"token {token} does not begin a quote")
        lead = SEPARATOR if self._quoted_any else ""
        self._close_run()
        return lead + self._open(opening, piece)

    @property
    def whole(self) -> bool:
        """True where the text may end: behind a sentence, or the end of a source."""
        return self.finished or self._may_break()

    # ------------------------------------------------------------------------------------------------

    def _open(self, places: list[tuple[int, int]], piece: bytes) -> str:
        width = min(
            len(piece) if self._sources[source].data.startswith(piece, start) else len(piece) - 1
            for source, start in places
        )
        fits = [
            (source, start + width)
            for source, start in places
            if self._sources[source].data.startswith(piece[len(piece) - width :], start)
        ]
        self._quoted_any = True
        self._length = 0
        return self._advance(fits, width)

    def _advance(self, places: list[tuple[int, int]], width: int) -> str:
        """Go on with the places whose own characters (white space included) equal those of the first."""
        text = self._slice(*places[0], width)
        self._run = [place for place in places if self._slice(*place, width) == text]
        self._length += width
        return text

    def _slice(self, source: int, at: int, width: int) -> str:
        """Characters that became whole between byte `at - width` and byte `at`."""
        held = self._sources[source]
        return held.text[held.upto[at - width] : held.upto[at]]

    def _close_run(self) -> None:
        for source, at in self._run:
            held = self._sources[source]
            held.quoted[at - self._length : at] = b"\1" * self._length
        self._run = []

    def _may_break(self) -> bool:
        """True between runs and at the end of a sentence."""
        return not self._run or any(at in self._sources[source].ends for source, at in self._run)

    def _blocked(self, source: int, at: int) -> bool:
        """True when the text from here on was quoted already, or there is none."""
        held = self._sources[source]
        step = at + 1 if held.data[at : at + 1] == b" " else at
        return step >= len(held.data) or bool(held.quoted[step])

    def _free(self, places: list[tuple[int, int]]) -> list[tuple[int, int]]:
        running = {(source, start) for source, at in self._run for start in range(at - self._length, at)}
        return [
            (source, start)
            for source, start in places
            if not self._sources[source].quoted[start] and (source, start) not in running
        ]

    def _opening_tokens(self) -> dict[int, list[tuple[int, int]]]:
        """Places where each token can begin a run; a space that leads the token is dropped."""
        if self._openings is None:
            self._openings = {}
            for source, held in enumerate(self._sources):
                for start in held.starts:
                    tokens = self._vocabulary.beginnings(held.data, start)
                    tokens += self._vocabulary.beginnings(held.data, start, b" ")
                    for token in dict.fromkeys(tokens):
                        self._openings.setdefault(token, []).append((source, start))
        return self._openings


def _fold(text: str, *, words: bool) -> _Source:
    """Fold white space, and find where runs may start and end."""
    ends = _sentence_ends(text)
    data, upto, start_at, end_at = bytearray(), [0], set[int](), set[int]()
    fresh, gap, begun = True, False, False
    upto[0] = len(text) - len(text.lstrip())
    for index in range(upto[0], len(text)):
        char = text[index]
        if char.isspace():
            gap = True
        else:
            if gap and begun:
                data += b" "
                upto.append(index)
            if fresh or (words and (gap or not begun)):
                start_at.add(len(data))
            encoded = char.encode("utf-8", errors="replace")
            data += encoded
            upto += [index] * (len(encoded) - 1) + [index + 1]
            fresh, gap, begun = False, False, True
        if index + 1 in ends and begun:
            end_at.add(len(data))
            fresh = True
    end_at.add(len(data))
    return _Source(text, bytes(data), upto, tuple(sorted(start_at)), frozenset(end_at), bytearray(len(data) + 1))


def _sentence_ends(text: str) -> set[int]:
    """Character offsets just after a sentence, the end of the text included."""
    ends = set()
    last = 0
    for match in _END.finditer(text):
        stop = match.end()
        if _NUMBERING.fullmatch(text[last:stop].strip()):
            continue
        after = text[stop : stop + 40].lstrip()[:1]
        if match.group().startswith(".") and (after.islower() or _ABBREVIATION.search(text[max(0, stop - 8) : stop])):
            continue
        ends.add(stop)
        last = stop
    ends.add(len(text.rstrip()))
    previous = 0
    for end in sorted(ends):
        if end - previous > _LONG:
            ends.update(previous + match.start() for match in _LINE_END.finditer(text[previous:end]))
        previous = end
    return ends
