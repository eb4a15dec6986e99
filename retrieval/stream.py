"""Turn a language model's raw stream into plain words and citation numbers, piece by piece.

Citation marks ([1], [1, 2], [1][2], 【1】, [citation 1], [^1]) leave the text and become typed `Mark`s, whatever the
pieces they were split over. Everything that could make a browser fetch or hide something is taken out: images, links,
HTML, control characters, bidirectional overrides, addresses that stand in no quote. Must not judge a number: a mark
that points at nothing is passed on, so that the caller can show it as invalid.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from retrieval.lexical import fold
from retrieval.sentences import split_sentences

_MARK = re.compile(
    r"""\s*\^?\s*(?:(?:citations?|cites?|sources?|quotes?|passages?|documents?|docs?|ref(?:erence)?s?|evidence)\.?[\s:\#]*)?
    \#?\d{1,3}(?:\s*(?:,|;|&|-|–|and)\s*(?:(?:citation|source|quote|passage)\s*)?\#?\d{1,3})*\s*(?:†[^\]】]{0,40})?""",
    re.IGNORECASE | re.VERBOSE,
)
_RANGE_LIMIT = 12  # "[1-4]" is four citations, "[100-250]" is not
_HOLD = 400  # an opening that is not closed within so many characters was no markup
_OPENERS = re.compile(r"[\[【!<]|https?:|www\.|ftp:", re.IGNORECASE)
_PARTIAL = re.compile(r"(?:h|ht|htt|https?|w|ww|www|f|ft|ftp)$", re.IGNORECASE)
_URL = re.compile(r"(?:https?:|ftp:|www\.)[^\s<>\"'\])}】]*", re.IGNORECASE)
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_TRAILING = ".,;:!?"
REMOVED = "(address removed)"


@dataclass(frozen=True, slots=True)
class Mark:
    """A citation mark in the text: the numbers it names, in order."""

    numbers: tuple[int, ...]


Item = str | Mark


class AnswerStream:
    """Feed pieces, get clean text and marks back in order. `known` is text whose addresses may be repeated."""

    def __init__(self, known: str = "") -> None:
        self._known = frozenset(m.group().rstrip(_TRAILING) for m in _URL.finditer(known))
        self._buffer = ""
        self._space = ""  # white space not yet passed on: a mark before a full stop takes it along
        self._last = ""  # the last character that was passed on
        self._marked = False  # a mark came after that character

    def feed(self, piece: str) -> Iterator[Item]:
        """Yield what can be told already."""
        self._buffer += _UNSAFE.sub("", piece)
        yield from self._joined(self._drain(final=False))

    def close(self) -> Iterator[Item]:
        """Yield the rest."""
        yield from self._joined(self._drain(final=True))

    def _joined(self, items: Iterator[Item]) -> Iterator[Item]:
        """Tidy the seams: no space before a stop that followed a mark, no markup that taking parts out created."""
        for item in items:
            if isinstance(item, Mark):
                self._marked = True
                yield item
                continue
            body = item.rstrip()
            if not body:
                if not (self._marked and self._space and "\n" not in item):
                    self._space += item
                continue
            space = self._space if self._last else ""
            if self._marked and (body[0] in ".,;:!?)" or (item[0].isspace() and "\n" not in space)):
                space = ""
            text = (space + (body if self._last else body.lstrip())).replace("![", "! [").replace("](", "] (")
            if self._last + text[0] in ("![", "](", "<!", "<?"):
                text = " " + text
            self._space, self._last, self._marked = item[len(body) :], text[-1], False
            yield text

    def _drain(self, *, final: bool) -> Iterator[Item]:
        while self._buffer:
            opener = _OPENERS.search(self._buffer)
            if opener is None:
                partial = None if final else _PARTIAL.search(self._buffer)
                cut = partial.start() if partial else len(self._buffer)
                if cut:
                    yield self._buffer[:cut]
                self._buffer = self._buffer[cut:]
                return
            if opener.start():
                yield self._buffer[: opener.start()]
                self._buffer = self._buffer[opener.start() :]
            taken = self._take(final=final or len(self._buffer) > _HOLD)
            if taken is None:
                return  # wait for more
            item, length = taken
            if item:
                yield item
            self._buffer = self._buffer[length:]

    def _take(self, *, final: bool) -> tuple[Item, int] | None:
        """What the opening at the buffer's start stands for and how long it is; `None` to wait for more."""
        first = self._buffer[0]
        if first == "!":
            return self._image(final=final)
        if first in "[【":
            return self._bracket(final=final)
        if first == "<":
            return self._tag(final=final)
        return self._address(final=final)

    def _image(self, *, final: bool) -> tuple[Item, int] | None:
        if len(self._buffer) == 1:
            return ("!", 1) if final else None
        if self._buffer[1] != "[":
            return "!", 1
        close = self._buffer.find("]")
        if close < 0 and not final:
            return None
        # "Yes![1]" is a sentence and its mark, "![1](address)" is an image
        cited = bool(_MARK.fullmatch(self._buffer[2:close])) and not self._buffer.startswith("(", close + 1)
        return ("!" if cited else ""), 1

    def _bracket(self, *, final: bool) -> tuple[Item, int] | None:
        close = self._buffer.find("]" if self._buffer[0] == "[" else "】")
        if close < 0:
            if final or "\n" in self._buffer:
                return self._buffer[0], 1
            return None
        inner, length = self._buffer[1:close], close + 1
        target = self._target(length, final=final)
        if target is None:
            return None
        if _MARK.fullmatch(inner):
            return Mark(_numbers(inner)), target
        if target > length:  # a link: keep its words, which may hold markup themselves
            self._buffer = inner + self._buffer[target:]
            return "", 0
        return self._buffer[0], 1  # ordinary brackets: their content is looked at in turn

    def _target(self, length: int, *, final: bool) -> int | None:
        """Length of the bracket with the link target that follows it, if one does."""
        if len(self._buffer) == length:
            return length if final else None
        if self._buffer[length] != "(":
            return length
        close = self._buffer.find(")", length)
        if close < 0:
            return length if final else None
        inside = self._buffer[length + 1 : close]
        # "[1] (see above)" or "[a](note)" with spaces is prose; a link target has none, or a quoted title after it.
        return close + 1 if re.fullmatch(r"\s*\S*(?:\s+[\"'].*)?\s*", inside) else length

    def _tag(self, *, final: bool) -> tuple[Item, int] | None:
        if len(self._buffer) == 1:
            return ("‹", 1) if final else None
        if self._buffer[1].isspace() or self._buffer[1].isdigit() or self._buffer[1] == "=":
            return "<", 1  # "less than"
        if not re.match(r"<[A-Za-z/!?]", self._buffer):
            return "‹", 1
        close = self._buffer.find(">")
        if close < 0:
            return ("‹", 1) if final else None
        return "", close + 1

    def _address(self, *, final: bool) -> tuple[Item, int] | None:
        found = _URL.match(self._buffer)
        assert found is not None
        if found.end() == len(self._buffer) and not final:  # more of it may come
            return None
        bare = found.group().rstrip(_TRAILING)
        return (bare if bare in self._known else REMOVED), len(bare) or found.end()


class Prose:
    """A model's clean words as they arrive, cut off where a small model starts to repeat itself or talks on.

    A sentence that begins like an earlier one is held back until it goes its own way; a repeated one is never passed
    on. `marks` holds `(offset into text, number)`.
    """

    def __init__(self) -> None:
        self.text = ""
        self.marks: list[tuple[int, int]] = []
        self.over = False
        self._sent = 0

    def add(self, item: Item) -> str:
        """Take the next item; return the words that may be shown now. Does nothing once `over`."""
        if self.over:
            return ""
        if isinstance(item, Mark):
            self.marks.extend((len(self.text), n) for n in item.numbers)
            return ""
        self.text += item
        return self._release(final=False)

    def end(self) -> str:
        """The words that were held back and may be shown after all."""
        shown = "" if self.over else self._release(final=True)
        self.over = True
        self.marks = [(at, n) for at, n in self.marks if at <= len(self.text)]
        return shown

    def _release(self, *, final: bool) -> str:
        spans = split_sentences(self.text)
        said: list[str] = []
        stop = len(self.text)
        for i, span in enumerate(spans):
            words = fold(self.text[span.start : span.end])
            running = i == len(spans) - 1 and not final
            repeated = any(s.startswith(words) if i == len(spans) - 1 else s == words for s in said)
            if repeated:
                stop = spans[i - 1].end
                if not running:
                    self.text, self.over = self.text[: max(stop, self._sent)], True
                break
            said.append(words)
        shown, self._sent = self.text[self._sent : stop], max(self._sent, stop)
        return shown


def _numbers(inner: str) -> tuple[int, ...]:
    """The numbers a mark names; a short range names all of its members."""
    inner = re.sub(r"†.*", "", inner)
    out: list[int] = []
    for match in re.finditer(r"(\d{1,3})(?:\s*[-–]\s*#?(\d{1,3}))?", inner):
        low = int(match.group(1))
        high = int(match.group(2)) if match.group(2) else low
        out.extend(range(low, high + 1) if low <= high <= low + _RANGE_LIMIT else (low, high))
    return tuple(dict.fromkeys(out))


def plain(text: str) -> str:
    """A quote as plain words for the answer's text: one line, nothing hidden, no markup that a renderer would act on.

    Changes no word; `Citation.quote` keeps the document's own characters.
    """
    text = " ".join(_UNSAFE.sub("", text.replace("\n", " ").replace("\r", " ")).split())
    text = re.sub(r"<(?=[A-Za-z/!?])", "‹", text)
    return text.replace("![", "! [").replace("](", "] (")
