"""A question and a passage as one sequence of tokens with places: what the reader sees, in training and at run time.

`[CLS] question [SEP] passage [SEP]`, the passage cut into overlapping windows when it is longer than the rest of the
sequence. Imports `tokenizers` only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from models.tokenizer import FileTokenizer
from strongroom.errors import ModelError

MAX_QUESTION = 64  # tokens; a longer question is cut at its end
MAX_TOKENS = 320  # of a whole sequence; position embeddings go to 512, but training never went above this
OVERLAP = 96  # tokens that a window shares with the one before: longer than nearly every answer


@dataclass(frozen=True, slots=True)
class Window:
    """One sequence. `places` are the character spans of its passage tokens, which start at `first` in `ids`."""

    passage: int
    ids: list[int]
    first: int
    places: list[tuple[int, int]]

    @property
    def types(self) -> list[int]:
        """Segment numbers: 0 for question and special tokens before the passage, 1 from the passage on."""
        return [0] * self.first + [1] * (len(self.ids) - self.first)


class PairTokenizer:
    """Turns questions with passages into windows. Threads may share one instance."""

    def __init__(self, path: Path, *, max_tokens: int = MAX_TOKENS, overlap: int = OVERLAP) -> None:
        """Load `tokenizer.json` at `path`. Raises `ModelError`."""
        self._tokenizer = FileTokenizer(path)._tokenizer
        start, end = (self._tokenizer.token_to_id(token) for token in ("[CLS]", "[SEP]"))
        if start is None or end is None:
            raise ModelError(f"the tokenizer {path} has no [CLS] and [SEP]", hint="The reader needs a BERT tokenizer.")
        self._start, self._end = start, end
        self._max_tokens, self._overlap = max_tokens, overlap

    def windows(self, pairs: Sequence[tuple[str, str]]) -> list[list[Window]]:
        """The windows of each (question, passage), in order; a passage without tokens gives one empty window."""
        questions = {question: None for question, _ in pairs}
        coded = self._tokenizer.encode_batch(list(questions), add_special_tokens=False)
        heads = {q: [self._start, *e.ids[:MAX_QUESTION], self._end] for q, e in zip(questions, coded, strict=True)}
        passages = self._tokenizer.encode_batch([passage for _, passage in pairs], add_special_tokens=False)
        out = []
        for number, ((question, _), passage) in enumerate(zip(pairs, passages, strict=True)):
            head = heads[question]
            room = self._max_tokens - len(head) - 1
            ids, places = passage.ids, passage.offsets
            found, at = [], 0
            while True:
                part = slice(at, at + room)
                found.append(Window(number, [*head, *ids[part], self._end], len(head), list(places[part])))
                if at + room >= len(ids):
                    break
                at += room - self._overlap
            out.append(found)
        return out
