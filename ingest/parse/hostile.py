"""Text that people are not meant to see, or that talks to a machine: found while a document is read, and flagged.

A flag protects nobody by itself: the viewer shows it, answers carry it as a warning, and no language model is given the
words that it covers. What is looked for in any text: long runs of base64 or hexadecimal digits, and phrases that
instruct a language model (a list: other words for the same are not found). Formats add what they alone can know, such
as text without ink (`unseen` for PDF, `hidden` for HTML and Word). Cost is linear in the text, the number of flags
bounded. Must not change or remove a word.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from strongroom.types import Flag, FlagKind, ParsedDocument

MOST = 300  # flags of one document; after that many its pages have said what they are
_SHOWN = 120  # characters of the document in a flag's detail

_DIGITS = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{40,}={0,2}")  # base64 or hexadecimal
_DATA = 400  # digits from which a run is flagged even where no text is in it

_ORDER = r"(?:ignore|disregard|forget|override|bypass|do not follow|stop following)"
_EARLIER = r"(?:previous|prior|preceding|earlier|above|foregoing|all|your|existing|original|system)"
_RULES = r"(?:instruction|prompt|rule|direction|guideline|directive|command|context|constraint|programming)s?"
_MACHINE = r"(?:AI|A\.I\.|assistant|chat\s?bot|language model|LLM|GPT|model)"
_INSTRUCTIONS = re.compile(
    "|".join(
        (
            # with what they are about: contracts say "disregard any previous notice" and "act as agent"
            rf"\b{_ORDER}\s+(?:\w+\s+){{0,3}}?{_EARLIER}\s+(?:\w+\s+){{0,3}}?{_RULES}\b",
            rf"\b{_ORDER}\s+(?:everything|anything|all)\s+(?:\w+\s+){{0,3}}?(?:above|before|told|said|instructed)\b",
            r"\byou\s+are\s+now\s+(?:a|an|the|in|no\s+longer|my|acting|operating|called)\b",
            r"\bfrom\s+now\s+on,?\s+(?:you|act|answer|respond|reply|always|only)\b",
            r"\bpretend\s+(?:to\s+be|that\s+you|you\s+are)\b",
            rf"\bact\s+as\s+(?:if\s+you\s+(?:are|were)\s+)?(?:a|an|the|my)\s+(?:\w+\s+){{0,2}}?{_MACHINE}\b",
            r"\b(?:system|developer|hidden|secret)\s+(?:prompt|message|instruction)s?\s*[:=]",
            r"\b(?:reveal|print|repeat|show|output|leak|exfiltrate)\s+(?:\w+\s+){0,3}?(?:system\s+prompt|your\s+"
            r"(?:prompt|instructions|rules)|(?:hidden|secret)\s+(?:prompt|instructions?))\b",
            r"\b(?:do\s+not|don't|never)\s+(?:tell|inform|mention|reveal|show|alert)\b.{0,30}?\bthe\s+(?:user|human|reader)\b",
            r"\b(?:respond|reply|answer)\s+(?:\w+\s+){0,2}?(?:only|exactly|instead)\s+(?:with|by|in)\b",
            r"\b(?:respond|reply|answer|begin|start|end)\s+(?:\w+\s+){0,3}?with\s+the\s+(?:exact\s+)?"
            r"(?:words?|phrase|text|string|sentence)\b",
            r"\bnew\s+(?:system\s+)?instructions?\s*:",
            rf"\b(?:dear|attention|hey|hello|note\s+to|message\s+(?:to|for)|instructions?\s+(?:to|for))[\s,:]+"
            rf"(?:the\s+|any\s+|all\s+|an\s+)?(?:{_MACHINE}|AIs|assistants|language\s+models|LLMs)\b(?!\s+(?:of|for|number|no\b))",
            r"\b(?:as|if\s+you\s+are)\s+an?\s+(?:AI|language\s+model|LLM|AI\s+assistant)\b,?\s+(?:you|please|do|always|never)\b",
            r"\byour\s+(?:new|real|actual|only)\s+(?:task|goal|instruction|objective|job)\s+is\b",
            r"\b(?:jailbreak|DAN\s+mode|developer\s+mode\s+(?:enabled|on))\b",
            r"<\|[a-z_]{2,20}\|>|\[/?INST\]|<<SYS>>|<start_of_turn>|<｜",
            # the commonest form in other languages
            r"\bignorier(?:e|en|t)\s+(?:sie\s+)?(?:alle\s+)?(?:vorherigen|bisherigen|obigen|früheren|vorigen)\b",
            r"\bignor(?:ez|e|er)\s+(?:toutes\s+)?(?:les|tes|vos)\s+(?:instructions|consignes|directives)\b",
            r"\bignor(?:a|e|ar|en)\s+(?:todas\s+)?(?:las|tus|sus)\s+(?:instrucciones|órdenes|indicaciones)\b",
            r"игнориру(?:й|йте)\s+(?:все\s+)?(?:предыдущие\s+)?(?:инструкции|указания)",
            r"忽略(?:以上|之前|前面|先前|所有)",
        )
    ),
    re.IGNORECASE,
)

_AROUND = 160  # characters before and after a cue in which its phrase lies
_MOST_TRIED = 2_000
# A word of each alternative above, in lower case.
_CUES = (
    *("ignor", "disregard", "forget", "override", "bypass", "not follow", "stop following", "are now", "from now on"),
    *(
        "pretend",
        "act as",
        "system prompt",
        "system message",
        "system instruction",
        "developer mode",
        "developer prompt",
    ),
    *("developer message", "developer instruction", "hidden prompt", "hidden message", "hidden instruction"),
    *("secret prompt", "secret message", "secret instruction", "your prompt", "your instructions", "your rules"),
    *("the user", "the human", "the reader", "respond", "reply", "answer", "with the word", "with the exact"),
    *("with the phrase", "with the text", "with the string", "with the sentence", "instructions:", "instruction:"),
    *(
        "assistant",
        "chatbot",
        "chat bot",
        "language model",
        " llm",
        " gpt",
        " ai",
        "the model",
        "your new",
        "your real",
    ),
    *("your actual", "your only", "jailbreak", "dan mode", "<|", "inst]", "<<sys>>", "<start_of_turn>", "<｜"),
    *("игнориру", "忽略"),
)
_BLANKS = str.maketrans("\n\r\t\xa0", "    ")


def flagged(document: ParsedDocument) -> ParsedDocument:
    """The document with flags for what its text says, besides those that its format gave."""
    found = [*document.flags, *_found(document.text)]
    kept = sorted(dict.fromkeys(found), key=lambda flag: (flag.start, flag.end))[:MOST]
    return replace(document, flags=tuple(kept)) if kept else document


def _found(text: str) -> Iterator[Flag]:
    for start, end in _instructions(text):
        yield Flag("instruction", *_sentence(text, start, end), shown(text[start:end]))
    for match in _DIGITS.finditer(text):
        run = match.group()
        words = _decoded(run)
        if words is not None:
            yield Flag("encoded", match.start(), match.end(), f"stands for “{shown(words)}”")
        elif len(run) >= _DATA and all(re.search(kind, run) for kind in ("[a-z]", "[A-Z]", "[0-9+/]")):
            yield Flag("encoded", match.start(), match.end(), f"{len(run)} digits of base64")


def _instructions(text: str) -> Iterator[tuple[int, int]]:
    """Places of phrases that instruct. The patterns are only tried around one of their words: texts are long."""
    low = text.lower()
    if len(low) != len(text):  # a few letters have two lower-case ones
        low = "".join(c.lower() if len(c.lower()) == 1 else c for c in text)
    low = low.translate(_BLANKS)
    windows: list[tuple[int, int]] = []
    for word in _CUES:
        at = low.find(word)
        while at >= 0 and len(windows) < _MOST_TRIED:
            windows.append((max(at - _AROUND, 0), at + _AROUND))
            at = low.find(word, at + len(word))
    reached = 0
    for start, end in sorted(windows):
        if end <= reached:
            continue
        for match in _INSTRUCTIONS.finditer(text, start, min(end, len(text))):
            if match.start() >= reached - _AROUND:
                yield match.span()
        reached = end


def shown(text: str) -> str:
    """Words of a document as a flag's detail shows them: one line, short."""
    plain = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return plain if len(plain) <= _SHOWN else plain[: _SHOWN - 1] + "…"


def _sentence(text: str, start: int, end: int) -> tuple[int, int]:
    """The sentence or line around a phrase, at most 300 characters to either side: the order stands in what follows."""
    before = re.split(r"(?<=[.!?。])\s|\n", text[max(0, start - 300) : start])[-1]
    after = re.search(r"[.!?。](?=\s|$)|\n|\Z", text[end : end + 300])
    return start - len(before.lstrip()), end + (after.end() if after else 0)


def _decoded(run: str) -> str | None:
    """The text that a run of digits stands for, or `None` when it is none."""
    if re.fullmatch(r"(?:[0-9a-fA-F]{2})+", run):
        return _words(bytes.fromhex(run))
    digits = run.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return _words(base64.b64decode(digits[: len(digits) // 4 * 4], validate=True))
    except (binascii.Error, ValueError):
        return None


def _words(data: bytes) -> str | None:
    """Bytes as text, where they read like words: printable, with spaces."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    spaced = 0.05 <= text.count(" ") / max(len(text), 1) <= 0.4
    return text if spaced and all(c.isprintable() or c in "\r\n\t" for c in text) else None


# ------------------------------------------------------------------------------------------------ characters

_ODD = re.compile("[\u180e\u200b\u202d\u202e\u2060-\u2064\ufeff\U000e0020-\U000e007e]")  # what all below look for
_TAGS = re.compile("[\U000e0020-\U000e007e]{3,}")  # a second, invisible ASCII; shorter runs are flags of regions
_OVERRIDE = re.compile("[\u202d\u202e]")
_INSIDE = re.compile("(?<=[^\\W\\d_])[\u180e\u200b\u2060-\u2064\ufeff]+(?=[^\\W\\d_])")
_FEW = 3  # zero-width characters inside words, below which they are typesetters' break hints
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")


def odd_characters(raw: str) -> str | None:
    """What is odd about the characters of a text before they are normalised, or `None`."""
    if raw.isascii() or not _ODD.search(raw):
        return None
    if (tags := _TAGS.search(raw)) is not None:
        return f"invisible letters for “{shown(''.join(chr(ord(c) - 0xE0000) for c in tags.group()))}”"
    if _OVERRIDE.search(raw):
        return "characters that turn the direction of writing"
    inside = len(_INSIDE.findall(raw))
    if inside >= _FEW and not _UNSPACED.search(raw):
        return f"{inside} zero-width characters inside words"
    return None


# ------------------------------------------------------------------------------------------------ places


def located(text: str, pieces: Iterable[tuple[str, str]], kind: FlagKind = "hidden") -> Iterator[Flag]:
    """Flags for pieces `(words, detail)` that a format hid, where these words stand in `text`, in its order.

    White space matches white space. Words that the parser left out of the text need no flag.
    """
    at = 0
    for words, detail in list(pieces)[:MOST]:
        parts = words.split()[:400]
        if sum(map(len, parts)) < 3:
            continue
        pattern = re.compile(r"\s+".join(map(re.escape, parts)))
        match = pattern.search(text, at) or pattern.search(text)
        if match is not None:
            at = match.end()
            yield Flag(kind, match.start(), match.end(), detail)


def merged(spans: Sequence[tuple[int, int, str]], text_between: int = 3) -> list[tuple[int, int, str]]:
    """Spans `(start, end, detail)` in order, joined where at most `text_between` characters part equal ones."""
    out: list[tuple[int, int, str]] = []
    for start, end, detail in sorted(spans):
        if out and out[-1][2] == detail and start - out[-1][1] <= text_between:
            out[-1] = (out[-1][0], max(end, out[-1][1]), detail)
        else:
            out.append((start, end, detail))
    return out
